//! `wengert train`.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use wengert_nn::{Dataset, Measure, Progress, Recipe, Trainer};

use crate::args::TrainArgs;
use crate::display::Display;
use crate::ending::{CURVES, FINAL, Outcome, REPORT, Took, report, tell_in_pictures};
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

    let text = config.text(&recipe)?;
    let mut seconds = Seconds::new();
    let mut folder = match resumed {
        Some(folder) => {
            if let Some(outcome) = Outcome::finished(&folder, &trainer, &data, threads)? {
                seconds = times(&folder.path(METRICS), u64::MAX);
                if [METRICS, CURVES, REPORT].iter().any(|name| !folder.path(name).is_file()) {
                    tell_in_pictures(&folder, &outcome, &trainer, (&data, &text, &seconds))?;
                }
                return report((&folder, &outcome, None), args.json, out);
            }
            take_up(&folder, &mut trainer)?;
            seconds = times(&folder.path(METRICS), trainer.steps_made());
            if !args.json && trainer.steps_made() > 0 {
                // Nobody has to read it.
                let _ = writeln!(out, "goes on at step {}", trainer.steps_made());
            }
            folder
        }
        None => RunFolder::create(args.out.as_deref(), recipe.seed)?,
    };
    folder.write(CONFIG, &text)?;
    let (start, interrupts) = (trainer.steps_made(), Interrupts::watch()?);
    step_by_step((args, &config, &interrupts), &mut trainer, &mut folder, &mut seconds, out)?;
    let outcome = Outcome::of(&trainer, &data, threads)?;
    end_where_interrupted(&interrupts, &trainer, &mut folder, &config, &seconds)?;
    // The model first: what was learned is not lost with a picture.
    trainer.save_result(folder.path(FINAL), &Measure::from(&outcome.found))?;
    folder.keep();
    tell_in_pictures(&folder, &outcome, &trainer, (&data, &text, &seconds))?;
    let took = Took {
        steps: trainer.steps_made() - start,
        early: trainer.steps_made() < trainer.steps(),
        stepping: trainer.time_in_steps(),
        loading,
        total: began.elapsed(),
    };
    report((&folder, &outcome, Some(&took)), args.json, out)
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

/// Trains to the end, or until an interrupt, which leaves a checkpoint and is told as what ended it.
fn step_by_step(
    (args, config, interrupts): (&TrainArgs, &Configuration, &Interrupts),
    trainer: &mut Trainer,
    folder: &mut RunFolder,
    seconds: &mut Seconds,
    out: &mut dyn Write,
) -> Result<(), Failure> {
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
        let stop = interrupts.code().is_some();
        Ok::<_, Failure>(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    display.end();
    outcome?;
    end_where_interrupted(interrupts, trainer, folder, config, seconds)
}

/// After an interrupt, writes a checkpoint and says so.
fn end_where_interrupted(
    interrupts: &Interrupts,
    trainer: &Trainer,
    folder: &mut RunFolder,
    config: &Configuration,
    seconds: &Seconds,
) -> Result<(), Failure> {
    let Some(code) = interrupts.code() else { return Ok(()) };
    let path = checkpoint(folder, trainer, config, seconds)?;
    let (step, path, dir) = (trainer.steps_made(), path.display(), quoted(folder.dir()));
    Err(Failure::Interrupted(
        code,
        format!("interrupted at step {step}: {path} is written; `train --out {dir} --resume` goes on"),
    ))
}

/// A path as a shell takes it for one.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match text.chars().all(plain) && !text.starts_with('-') {
        true => text,
        false if text.starts_with('-') => format!("'./{}'", text.replace('\'', "'\\''")),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
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

/// What a run was begun with: the settings of its newest sound checkpoint, from which those of config.toml must not differ, else those.
fn begun(folder: &RunFolder) -> Result<Configuration, Failure> {
    let path = folder.path(CONFIG);
    let all = checkpoints_newest_first(folder.dir());
    let recipe = all.iter().find_map(|(_, path)| Trainer::recipe_of(path).ok());
    let mut found = match Configuration::read(&path) {
        Ok(found) => found,
        // It was being begun, or is gone.
        Err(_) if fs::metadata(&path).map_or(true, |file| file.len() == 0) => Configuration::default(),
        Err(e) => return Err(e),
    };
    let Some(recipe) = recipe else { return Ok(found) };
    if !found.recipe.is_empty() {
        let said = Recipe::with(&found.recipe).map_err(Failure::of_settings)?;
        if let Some((name, then, now)) = recipe.differences(&said).into_iter().next() {
            let path = path.display();
            let what = format!("{path}: this run was begun with {name} = {then}, found {now}");
            return Err(Failure::Usage(what));
        }
    }
    if let Ok(Value::Object(recipe)) = serde_json::to_value(recipe) {
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
    let all = checkpoints_newest_first(folder.dir());
    for (_, path) in &all {
        match trainer.resume(path) {
            Ok(()) => return Ok(()),
            // It is sound, and of another training.
            Err(wengert_nn::Error::Argument(what)) => return Err(Failure::Work(what)),
            Err(e) => tell(&format!("passed over: {e}")),
        }
    }
    let none = if all.is_empty() { "no checkpoint yet" } else { "no sound checkpoint" };
    tell(&format!("{}: {none}, the run begins anew", folder.dir().display()));
    Ok(())
}
