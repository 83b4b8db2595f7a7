//! `wengert train`.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use wengert_nn::{Dataset, Progress, Recipe, Trainer};

use crate::args::TrainArgs;
use crate::display::Display;
use crate::ending::{Took, finished, leave, report};
use crate::metrics::{METRICS, Seconds, csv, times};
use crate::run_folder::{self, RunFolder, checkpoints_newest_first};
use crate::settings::Configuration;
use crate::signals::Interrupts;
use crate::{Failure, tell};

const CONFIG: &str = "config.toml";
/// Checkpoints that are kept unless something else is said.
const KEEP: u32 = 3;

pub(crate) fn train(args: &TrainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let began = Instant::now();
    let resumed = match (&args.out, args.resume) {
        (Some(dir), true) => Some(RunFolder::resume(dir)?),
        _ => None,
    };
    let base = match (&resumed, &args.config) {
        (Some(folder), _) => begun(folder)?,
        (None, Some(path)) => Configuration::read(path)?,
        (None, None) => Configuration::default(),
    };
    let (recipe, data, config) = prepared(args, &base)?;
    if resumed.is_some() && !base.recipe.is_empty() {
        same(&base.recipe, &recipe)?;
    }
    let threads = run_folder::threads(args.threads);
    let mut trainer = Trainer::new(&recipe, &data, threads).map_err(Failure::of_settings)?;
    let loading = began.elapsed();

    let mut seconds = Seconds::new();
    let mut folder = match resumed {
        Some(folder) => {
            if let Some(told) = finished(&folder)? {
                return report((&folder, &told, None), args.json, out);
            }
            take_up(&folder, &mut trainer)?;
            seconds = times(&folder.path(METRICS), trainer.steps_made());
            folder
        }
        None => RunFolder::create(args.out.as_deref(), recipe.seed)?,
    };
    let text = config.text(&recipe)?;
    folder.write(CONFIG, &text)?;
    let start = trainer.steps_made();
    step_by_step(args, &mut trainer, &mut folder, &config, &mut seconds, out)?;

    let told = leave(&mut folder, &trainer, &data, (&text, &seconds, threads));
    if told.is_err() {
        // What was learned is not lost with a picture. The first error is the one to tell.
        let _ = checkpoint(&mut folder, &trainer, &config, &seconds);
    }
    let took = Took {
        steps: trainer.steps_made() - start,
        stepping: trainer.time_in_steps(),
        loading,
        total: began.elapsed(),
    };
    report((&folder, &told?, Some(&took)), args.json, out)
}

/// The recipe, the data, and what is kept of both, by the flags and by what was said before.
fn prepared(args: &TrainArgs, base: &Configuration) -> Result<(Recipe, Dataset, Configuration), Failure> {
    // Before anything is read: what makes no sense is told at once.
    let asked = args.settings.recipe(base.recipe.clone(), None)?;
    let label_column = args.data.label_column().or(base.label_column);
    let dir = run_folder::data_dir(args.data.data.as_deref().or(base.folder.as_deref()));
    let classes = u32::try_from(asked.classes).unwrap_or(u32::MAX);
    let threads = run_folder::threads(args.threads);
    let data = Dataset::load_by(&dir, label_column, classes, threads, &args.data.limit.options())?;
    let recipe = args.settings.recipe(base.recipe.clone(), Some(data.train.size))?;
    let config = Configuration {
        recipe: Map::new(),
        folder: Some(fs::canonicalize(&dir).unwrap_or(dir)),
        label_column,
        checkpoint_every: args.checkpoint_every.or(base.checkpoint_every),
        keep: args.keep.or(base.keep),
    };
    Ok((recipe, data, config))
}

/// Trains to the end; an interrupt that comes before leaves a checkpoint and is told as what ended it.
fn step_by_step(
    args: &TrainArgs,
    trainer: &mut Trainer,
    folder: &mut RunFolder,
    config: &Configuration,
    seconds: &mut Seconds,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let interrupts = Interrupts::watch()?;
    let mut display = Display::new(trainer, args.json);
    let before = Duration::from_secs_f64(seconds.values().copied().fold(0.0, f64::max));
    let clock = Instant::now();
    let outcome = trainer.run(|trainer, progress| {
        match progress {
            Progress::Evaluated(point) => {
                seconds.insert(point.step, (before + clock.elapsed()).as_secs_f64());
                display.evaluated(point, trainer.steps(), out);
                return Ok(ControlFlow::Continue(()));
            }
            Progress::Step { step, loss } => display.step(step, loss),
        }
        if config.checkpoint_every.is_some_and(|every| trainer.steps_made().is_multiple_of(every)) {
            checkpoint(folder, trainer, config, seconds)?;
        }
        let stop = interrupts.code().is_some() && !trainer.is_done();
        Ok::<_, Failure>(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    display.end();
    outcome?;
    let Some(code) = interrupts.code().filter(|_| !trainer.is_done()) else { return Ok(()) };
    let path = checkpoint(folder, trainer, config, seconds)?;
    let (step, path, dir) = (trainer.steps_made(), path.display(), folder.dir().display());
    Err(Failure::Interrupted(
        code,
        format!("interrupted at step {step}: {path} is written; `train --out {dir} --resume` goes on"),
    ))
}

fn checkpoint(
    folder: &mut RunFolder,
    trainer: &Trainer,
    config: &Configuration,
    seconds: &Seconds,
) -> Result<PathBuf, Failure> {
    // Before the checkpoint, so that the times of all its evaluations are known where it is taken up.
    folder.write(METRICS, &csv(trainer.history(), seconds))?;
    let keep = config.keep.unwrap_or(KEEP) as usize;
    folder.checkpoint(trainer.steps_made(), keep, |path| trainer.save(path))
}

/// What a run was begun with: the settings of its newest sound checkpoint, else of its config.toml.
fn begun(folder: &RunFolder) -> Result<Configuration, Failure> {
    let path = folder.path(CONFIG);
    let all = checkpoints_newest_first(folder.dir());
    let recipe = all.iter().find_map(|(_, path)| Trainer::recipe_of(path).ok());
    let mut found = match Configuration::read(&path) {
        Ok(found) => found,
        // It was being begun, or checkpoints say what it said.
        Err(_) if recipe.is_some() || fs::metadata(&path).map_or(true, |file| file.len() == 0) => {
            Configuration::default()
        }
        Err(e) => return Err(e),
    };
    if let Some(Value::Object(recipe)) = recipe.and_then(|recipe| serde_json::to_value(recipe).ok()) {
        found.recipe = recipe;
    }
    Ok(found)
}

/// Refuses to go on with other settings than those that a run was begun with.
fn same(begun: &Map<String, Value>, asked: &Recipe) -> Result<(), Failure> {
    let begun = Recipe::with(begun).map_err(Failure::of_settings)?;
    match begun.differences(asked).into_iter().next() {
        None => Ok(()),
        Some((name, then, now)) => {
            Err(Failure::Usage(format!("--resume: this run was begun with {name} = {then}, found {now}")))
        }
    }
}

/// Goes on from the newest sound checkpoint, and tells what it passed over.
fn take_up(folder: &RunFolder, trainer: &mut Trainer) -> Result<(), Failure> {
    for (_, path) in checkpoints_newest_first(folder.dir()) {
        match Trainer::recipe_of(&path) {
            Ok(_) => {
                trainer.resume(&path)?;
                return Ok(());
            }
            Err(e) => tell(&format!("passed over: {e}")),
        }
    }
    tell(&format!("{}: no sound checkpoint, the run begins anew", folder.dir().display()));
    Ok(())
}
