//! What a training leaves and tells at its end.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use wengert_nn::{Best, Dataset, Measure, Point, Recipe, Trainer, load_checkpoint};

use crate::curves::{draw, learning};
use crate::metrics::{METRICS, Seconds, csv};
use crate::report::Report;
use crate::run_folder::RunFolder;
use crate::{Failure, printable, tell};

pub(crate) const FINAL: &str = "final.safetensors";

/// What is told of a finished run.
pub(crate) struct Told {
    pub(crate) steps: u64,
    pub(crate) train: Measure,
    pub(crate) validation: Option<Measure>,
    pub(crate) test: Measure,
}

/// The evaluation of the model that is kept: the best, or else the last.
pub(crate) fn kept<'a>(history: &'a [Point], best: Option<&Best>) -> Option<&'a Point> {
    match best {
        Some(best) => history.iter().find(|point| point.step == best.step),
        None => history.last(),
    }
}

/// Looks at the test set, once, and writes everything; the model last of all: where it is, the run is whole.
pub(crate) fn leave(
    folder: &mut RunFolder,
    trainer: &Trainer,
    data: &Dataset,
    (config, seconds, threads): (&str, &Seconds, usize),
) -> Result<Told, Failure> {
    let model = trainer.result()?;
    let found = model.evaluate(&data.test, threads)?;
    let test = Measure::from(&found);
    if !test.loss.is_finite() {
        return Err(Failure::Work(format!("the loss of the images to test is {}", test.loss)));
    }
    folder.write(METRICS, &csv(trainer.history(), seconds))?;
    folder.write("curves.svg", &draw(&title(trainer.recipe()), &learning(trainer.history()))?)?;
    let took = seconds.values().copied().reduce(f64::max);
    let (model, found) = (&model, &found);
    let page = Report { trainer, model, found, test: &data.test, config, seconds: took }.page()?;
    folder.write("report.html", &page)?;
    trainer.save_result(folder.path(FINAL), &test)?;
    folder.keep();
    let best = trainer.best();
    let train = kept(trainer.history(), best.as_ref()).map_or(test, |point| point.train);
    Ok(Told { steps: trainer.steps_made(), train, validation: best.map(|best| best.validation), test })
}

fn title(recipe: &Recipe) -> String {
    format!("{}, {}, batch {}, seed {}", recipe.model, recipe.optimizer, recipe.batch, recipe.seed)
}

/// What a finished run says of itself; `None` of one that is not. One that is damaged is told, to be made anew.
pub(crate) fn finished(folder: &RunFolder) -> Result<Option<Told>, Failure> {
    let path = folder.path(FINAL);
    if !path.exists() {
        return Ok(None);
    }
    let said = match load_checkpoint(&path) {
        Ok((_, said)) => said,
        Err(e) => {
            tell(&format!("written anew: {e}"));
            return Ok(None);
        }
    };
    let told = || {
        let best: Option<Best> = part(&said, "best");
        let history: Vec<Point> = part(&said, "history")?;
        Some(Told {
            steps: part(&said, "step")?,
            train: kept(&history, best.as_ref())?.train,
            validation: best.map(|best| best.validation),
            test: part(&said, "test")?,
        })
    };
    let missing = || Failure::Work(format!("{}: expected the end of a run", path.display()));
    told().ok_or_else(missing).map(Some)
}

/// A part of what a file says of a training, where it is there and is what it should be.
pub(crate) fn part<T: serde::de::DeserializeOwned>(said: &Value, name: &str) -> Option<T> {
    serde_json::from_value(said.get(name)?.clone()).ok()
}

/// How long a training took here, and how many steps it made here: none of them where it was finished before.
pub(crate) struct Took {
    pub(crate) steps: u64,
    pub(crate) stepping: Duration,
    pub(crate) loading: Duration,
    pub(crate) total: Duration,
}

/// Tells how a run ended.
pub(crate) fn report(
    (folder, told, took): (&RunFolder, &Told, Option<&Took>),
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let us_per_step = took.map(|took| took.stepping.as_secs_f64() * 1e6 / took.steps.max(1) as f64);
    let dir = printable(&folder.dir().display().to_string());
    if as_json {
        let line = json!({
            "test_accuracy": told.test.accuracy,
            "test_loss": told.test.loss,
            "validation_accuracy": told.validation.map(|found| found.accuracy),
            "train_accuracy": told.train.accuracy,
            "iters": told.steps,
            "seconds_total": took.map(|took| took.total.as_secs_f64()),
            "us_per_step": us_per_step,
            "load_seconds": took.map(|took| took.loading.as_secs_f64()),
            "out": dir,
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    match (took, us_per_step) {
        (Some(took), Some(us)) => {
            let (steps, total, loading) = (took.steps, took.total.as_secs_f64(), took.loading.as_secs_f64());
            let resumed = if steps < told.steps { format!(" of {}", told.steps) } else { String::new() };
            writeln!(
                out,
                "{steps}{resumed} steps in {total:.2} s ({us:.0} µs a step, {loading:.2} s to load)"
            )?;
        }
        _ => writeln!(out, "this run is finished")?,
    }
    let validation =
        told.validation.map_or_else(String::new, |found| format!("validation {:.4}, ", found.accuracy));
    writeln!(
        out,
        "train accuracy {:.4}, {validation}test accuracy {:.4}, test loss {:.4}\n\
         {dir}: report.html, {FINAL}, {METRICS}, curves.svg, config.toml",
        told.train.accuracy, told.test.accuracy, told.test.loss
    )?;
    Ok(())
}
