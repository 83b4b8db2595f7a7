//! `wengert train`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use wengert_nn::{Dataset, Measure, Point, Progress, Recipe, Trainer};

use crate::args::TrainArgs;
use crate::curves::{draw, learning};
use crate::display::Display;
use crate::report::Report;
use crate::run_folder::{self, RunFolder, checkpoints_newest_first};
use crate::settings::Configuration;
use crate::signals::Interrupts;
use crate::{Failure, printable, tell};

const FINAL: &str = "final.safetensors";
const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.csv";

pub(crate) fn train(args: &TrainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let began = Instant::now();
    let threads = run_folder::threads(args.threads);
    let resumed = match (&args.out, args.resume) {
        (Some(dir), true) => Some(RunFolder::resume(dir)?),
        _ => None,
    };
    let base = match (&resumed, &args.config) {
        (Some(folder), _) => begun(folder)?,
        (None, Some(path)) => Configuration::read(path)?,
        (None, None) => Configuration::default(),
    };
    // Before anything is read: what makes no sense is told at once.
    let asked = args.settings.recipe(base.recipe.clone(), None)?;
    let column = args.data.label_column().or(base.label_column);
    let dir = run_folder::data_dir(args.data.data.as_deref().or(base.folder.as_deref()));
    let classes = u32::try_from(asked.classes).unwrap_or(u32::MAX);
    let data = Dataset::load_by(&dir, column, classes, threads, &args.data.limit.options())?;
    let recipe = args.settings.recipe(base.recipe.clone(), Some(data.train.size))?;
    if resumed.is_some() && !base.recipe.is_empty() {
        same(&base.recipe, &recipe)?;
    }
    let mut trainer = Trainer::new(&recipe, &data, threads).map_err(|e| match e {
        wengert_nn::Error::Argument(what) => Failure::Usage(what),
        other => other.into(),
    })?;
    let loading = began.elapsed();

    let mut seconds = BTreeMap::new();
    let mut folder = match resumed {
        Some(folder) => {
            if let Some(said) = finished(&folder)? {
                return told_again(args, out, &folder, &said);
            }
            take_up(&folder, &mut trainer)?;
            seconds = times(&folder.path(METRICS), trainer.steps_made());
            folder
        }
        None => RunFolder::create(args.out.as_deref(), recipe.seed)?,
    };
    let config = Configuration::text(&recipe, &fs::canonicalize(&dir).unwrap_or(dir), column)?;
    folder.write(CONFIG, &config)?;

    let interrupts = Interrupts::watch()?;
    let mut display = Display::new(&trainer, args.json);
    let before = Duration::from_secs_f64(seconds.values().copied().fold(0.0, f64::max));
    let clock = Instant::now();
    let outcome = trainer.run(|trainer, progress| {
        match progress {
            Progress::Evaluated(point) => {
                seconds.insert(point.step, (before + clock.elapsed()).as_secs_f64());
                display.evaluated(point, trainer.steps(), out)?;
                return Ok(ControlFlow::Continue(()));
            }
            Progress::Step { step, loss } => display.step(step, loss),
        }
        let step = trainer.steps_made();
        if args.checkpoint_every.is_some_and(|every| step % every == 0) {
            checkpoint(&mut folder, trainer, args.keep, &seconds)?;
        }
        let stop = interrupts.code().is_some() && !trainer.is_done();
        Ok::<_, Failure>(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    display.end();
    outcome?;
    if let Some(code) = interrupts.code().filter(|_| !trainer.is_done()) {
        let path = checkpoint(&mut folder, &trainer, args.keep, &seconds)?;
        let (step, dir) = (trainer.steps_made(), folder.dir().display());
        let path = path.display();
        return Err(Failure::Interrupted(
            code,
            format!("interrupted at step {step}: {path} is written; `train --out {dir} --resume` goes on"),
        ));
    }

    let model = trainer.result()?;
    let found = model.evaluate(&data.test, threads)?;
    let test = Measure::from(&found);
    if !test.loss.is_finite() {
        return Err(Failure::Work(format!("the loss of the images to test is {}", test.loss)));
    }
    folder.write(METRICS, &csv(trainer.history(), &seconds)?)?;
    folder.write("curves.svg", &draw(&title(&recipe), &learning(trainer.history()))?)?;
    let took = seconds.values().copied().reduce(f64::max);
    let (trainer, model, found) = (&trainer, &model, &found);
    let page = Report { trainer, model, found, test: &data.test, config: &config, seconds: took };
    folder.write("report.html", &page.page()?)?;
    // The last of all: where it is, the run is whole.
    trainer.save_result(folder.path(FINAL), &test)?;
    folder.keep();
    let times = (trainer.time_in_steps(), began.elapsed(), loading);
    report(args, out, &folder, &Told::of(trainer, test), Some(times))
}

/// The settings that a run was begun with: those of its newest sound checkpoint, else of its config.toml.
fn begun(folder: &RunFolder) -> Result<Configuration, Failure> {
    let path = folder.path(CONFIG);
    let mut found = match path.exists() && fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
        true => Configuration::read(&path)?,
        false => Configuration::default(),
    };
    let sound = checkpoints_newest_first(folder.dir());
    let recipe = sound.iter().find_map(|(_, path)| Trainer::recipe_of(path).ok());
    if let Some(Value::Object(recipe)) = recipe.and_then(|recipe| serde_json::to_value(recipe).ok()) {
        found.recipe = recipe;
    }
    Ok(found)
}

/// Refuses to go on with other settings than those that a run was begun with.
fn same(begun: &Map<String, Value>, asked: &Recipe) -> Result<(), Failure> {
    let begun = Recipe::with(begun).map_err(|e| Failure::Usage(e.to_string()))?;
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

fn checkpoint(
    folder: &mut RunFolder,
    trainer: &Trainer,
    keep: u32,
    seconds: &BTreeMap<u64, f64>,
) -> Result<PathBuf, Failure> {
    // Before the checkpoint, so that the times of all its evaluations are known where it is taken up.
    folder.write(METRICS, &csv(trainer.history(), seconds)?)?;
    folder.checkpoint(trainer.steps_made(), keep as usize, |path| trainer.save(path))
}

fn title(recipe: &Recipe) -> String {
    format!("{}, {}, batch {}, seed {}", recipe.model, recipe.optimizer, recipe.batch, recipe.seed)
}

/// What is told at the end.
struct Told {
    steps: u64,
    train: Measure,
    validation: Option<Measure>,
    test: Measure,
}

impl Told {
    fn of(trainer: &Trainer, test: Measure) -> Self {
        let last = trainer.history().last().map_or(test, |point| point.train);
        let validation = trainer.best().map(|best| best.validation);
        Self { steps: trainer.steps_made(), train: last, validation, test }
    }
}

/// What a finished run says of itself; `None` of one that is not. One that is damaged is told and made anew.
fn finished(folder: &RunFolder) -> Result<Option<Value>, Failure> {
    let path = folder.path(FINAL);
    if !path.exists() {
        return Ok(None);
    }
    match wengert_nn::load_checkpoint(&path) {
        Ok((_, said)) => Ok(Some(said)),
        Err(e) => {
            tell(&format!("written anew: {e}"));
            Ok(None)
        }
    }
}

fn told_again(
    args: &TrainArgs,
    out: &mut dyn Write,
    folder: &RunFolder,
    said: &Value,
) -> Result<(), Failure> {
    let measure = |at: Option<&Value>| at.and_then(|at| serde_json::from_value(at.clone()).ok());
    let last = said.get("history").and_then(Value::as_array).and_then(|points| points.last());
    let (Some(test), Some(train)) = (measure(said.get("test")), measure(last.and_then(|p| p.get("train"))))
    else {
        let path = folder.path(FINAL);
        return Err(Failure::Work(format!("{}: expected the end of a run", path.display())));
    };
    let steps = said.get("step").and_then(Value::as_u64).unwrap_or(0);
    let validation = measure(said.pointer("/best/validation"));
    if !args.json {
        writeln!(out, "this run is finished")?;
    }
    report(args, out, folder, &Told { steps, train, validation, test }, None)
}

fn report(
    args: &TrainArgs,
    out: &mut dyn Write,
    folder: &RunFolder,
    told: &Told,
    times: Option<(Duration, Duration, Duration)>,
) -> Result<(), Failure> {
    let seconds = times.map(|(stepping, total, loading)| {
        let us_per_step = stepping.as_secs_f64() * 1e6 / told.steps.max(1) as f64;
        (us_per_step, total.as_secs_f64(), loading.as_secs_f64())
    });
    let dir = printable(&folder.dir().display().to_string());
    if args.json {
        let line = json!({
            "test_accuracy": told.test.accuracy,
            "test_loss": told.test.loss,
            "validation_accuracy": told.validation.map(|found| found.accuracy),
            "train_accuracy": told.train.accuracy,
            "iters": told.steps,
            "seconds_total": seconds.map(|(_, total, _)| total),
            "us_per_step": seconds.map(|(step, ..)| step),
            "load_seconds": seconds.map(|(.., loading)| loading),
            "out": dir,
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    if let Some((step, total, loading)) = seconds {
        let steps = told.steps;
        writeln!(out, "{steps} steps in {total:.2} s ({step:.0} µs a step, {loading:.2} s to load)")?;
    }
    let validation =
        told.validation.map_or_else(String::new, |found| format!("validation {:.4}, ", found.accuracy));
    writeln!(
        out,
        "train accuracy {:.4}, {validation}test accuracy {:.4}, test loss {:.4}\n\
         {dir}: report.html, {FINAL}, {METRICS}, curves.svg, {CONFIG}",
        told.train.accuracy, told.test.accuracy, told.test.loss
    )?;
    Ok(())
}

fn csv(points: &[Point], seconds: &BTreeMap<u64, f64>) -> Result<String, Failure> {
    let mut text = String::from(
        "iteration,loss,train_accuracy,test_accuracy,seconds,epoch,train_loss,test_loss,validation_accuracy,\
         validation_loss,learning_rate,gradient_norm\n",
    );
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
    for p in points {
        let accuracy = |of: Option<Measure>| number(of.map(|found| found.accuracy));
        let loss = |of: Option<Measure>| number(of.map(|found| found.loss));
        let time = seconds.get(&p.step).map_or_else(String::new, |time| format!("{time:.3}"));
        writeln!(
            text,
            "{},{},{},{},{time},{},{},{},{},{},{},{}",
            p.step,
            p.loss,
            p.train.accuracy,
            accuracy(p.test),
            p.epoch,
            p.train.loss,
            loss(p.test),
            accuracy(p.validation),
            loss(p.validation),
            p.lr,
            p.gradient_norm
        )
        .map_err(|e| Failure::Work(e.to_string()))?;
    }
    Ok(text)
}

/// The seconds of the evaluations up to a step, as an interrupted run left them; a checkpoint has no times.
fn times(path: &Path, last: u64) -> BTreeMap<u64, f64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.split(',');
        Some((cells.next()?.parse().ok()?, cells.nth(3)?.parse().ok()?))
    };
    text.lines().skip(1).filter_map(row).filter(|(step, _)| *step <= last).collect()
}
