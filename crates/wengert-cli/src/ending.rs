//! What a training leaves and tells at its end.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use wengert_nn::{Best, Dataset, Evaluation, Model, Point, Recipe, Trainer, load_checkpoint};

use crate::curves::{draw, learning};
use crate::metrics::{METRICS, Seconds, csv};
use crate::report::Report;
use crate::run_folder::RunFolder;
use crate::{Failure, printable, tell};

pub(crate) const FINAL: &str = "final.safetensors";
pub(crate) const CURVES: &str = "curves.svg";
pub(crate) const REPORT: &str = "report.html";

/// What a training has come to: the model that is kept, and how it came about.
pub(crate) struct Outcome {
    pub(crate) recipe: Recipe,
    pub(crate) history: Vec<Point>,
    pub(crate) best: Option<Best>,
    pub(crate) steps: u64,
    pub(crate) model: Model,
    /// On the test set.
    pub(crate) found: Evaluation,
}

impl Outcome {
    /// Of a training that is done: the one look at the test set.
    pub(crate) fn of(trainer: &Trainer, data: &Dataset, threads: usize) -> Result<Self, Failure> {
        let model = trainer.result()?;
        let found = model.evaluate(&data.test, threads)?;
        if !found.loss.is_finite() {
            return Err(Failure::Work(format!("the loss of the images to test is {}", found.loss)));
        }
        let (recipe, history) = (trainer.recipe().clone(), trainer.history().to_vec());
        Ok(Self { recipe, history, best: trainer.best(), steps: trainer.steps_made(), model, found })
    }

    /// Of a run that is finished; `None` of one that is not. A model that is damaged, or of another run, is told, to be made anew; one of other data is refused.
    pub(crate) fn finished(
        folder: &RunFolder,
        trainer: &Trainer,
        data: &Dataset,
        threads: usize,
    ) -> Result<Option<Self>, Failure> {
        let path = folder.path(FINAL);
        if !path.is_file() {
            return Ok(None);
        }
        let anew = |why: String| {
            tell(&format!("written anew: {}: {why}", path.display()));
            Ok(None)
        };
        let said = match load_checkpoint(&path) {
            Ok((_, said)) => said,
            Err(e) => {
                tell(&format!("written anew: {e}"));
                return Ok(None);
            }
        };
        let recipe: Option<Recipe> = part(&said, "recipe");
        let (Some(recipe), Some(history), Some(steps)) =
            (recipe.filter(|recipe| recipe == trainer.recipe()), part(&said, "history"), part(&said, "step"))
        else {
            return anew("it is of another run".into());
        };
        if part::<String>(&said, "data") != Some(trainer.data_checksum()) {
            let path = path.display();
            return Err(Failure::Work(format!("{path}: the data are not those that this run was made with")));
        }
        let model = Model::load(&path)?;
        let found = model.evaluate(&data.test, threads)?;
        Ok(Some(Self { recipe, history, best: part(&said, "best"), steps, model, found }))
    }

    /// The evaluation of the model that is kept.
    pub(crate) fn kept(&self) -> Option<&Point> {
        kept(&self.history, self.best.as_ref())
    }
}

/// The evaluation of the model that is kept: the best, or else the last.
pub(crate) fn kept<'a>(history: &'a [Point], best: Option<&Best>) -> Option<&'a Point> {
    match best {
        Some(best) => history.iter().find(|point| point.step == best.step),
        None => history.last(),
    }
}

/// The table, the picture and the page of a run.
pub(crate) fn tell_in_pictures(
    folder: &RunFolder,
    outcome: &Outcome,
    trainer: &Trainer,
    (data, config, seconds): (&Dataset, &str, &Seconds),
) -> Result<(), Failure> {
    folder.write(METRICS, &csv(&outcome.history, seconds))?;
    folder.write(CURVES, &draw(&title(&outcome.recipe), &learning(&outcome.history))?)?;
    let took = seconds.values().copied().reduce(f64::max);
    let (program, profile) = trainer.profile()?;
    let page =
        Report { outcome, test: &data.test, config, seconds: took, program: &program, profile: &profile };
    folder.write(REPORT, &page.page()?)
}

fn title(recipe: &Recipe) -> String {
    format!("{}, {}, batch {}, seed {}", recipe.model, recipe.optimizer, recipe.batch, recipe.seed)
}

/// A part of what a file says of a training, where it is there and is what it should be.
pub(crate) fn part<T: serde::de::DeserializeOwned>(said: &Value, name: &str) -> Option<T> {
    serde_json::from_value(said.get(name)?.clone()).ok()
}

/// How long a training took here, and how many steps it made here: none of them where it was finished before.
pub(crate) struct Took {
    pub(crate) steps: u64,
    /// Whether it has not made all steps.
    pub(crate) early: bool,
    pub(crate) stepping: Duration,
    pub(crate) loading: Duration,
    pub(crate) total: Duration,
}

/// Tells how a run ended.
pub(crate) fn report(
    (folder, outcome, took): (&RunFolder, &Outcome, Option<&Took>),
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let us_per_step = took.map(|took| took.stepping.as_secs_f64() * 1e6 / took.steps.max(1) as f64);
    let train = outcome.kept().map_or(f64::NAN, |point| point.train.accuracy);
    let validation = outcome.best.map(|best| best.validation.accuracy);
    let (test, steps) = (&outcome.found, outcome.steps);
    if as_json {
        let line = json!({
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "validation_accuracy": validation,
            "train_accuracy": train,
            "iters": steps,
            "seconds_total": took.map(|took| took.total.as_secs_f64()),
            "us_per_step": us_per_step,
            "load_seconds": took.map(|took| took.loading.as_secs_f64()),
            "out": folder.dir().to_string_lossy(),
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    match (took, us_per_step) {
        (Some(took), Some(us)) => {
            let (here, total, loading) = (took.steps, took.total.as_secs_f64(), took.loading.as_secs_f64());
            let resumed = if here < steps { format!(" of {steps}") } else { String::new() };
            let early = if took.early { ", ended early: it became no better" } else { "" };
            writeln!(
                out,
                "{here}{resumed} steps in {total:.2} s ({us:.0} µs a step, {loading:.2} s to load){early}"
            )?;
        }
        _ => writeln!(out, "this run is finished")?,
    }
    let validation = validation.map_or_else(String::new, |share| format!("validation {share:.4}, "));
    let dir = printable(&folder.dir().display().to_string());
    writeln!(
        out,
        "train accuracy {train:.4}, {validation}test accuracy {:.4}, test loss {:.4}\n\
         {dir}: {REPORT}, {FINAL}, {METRICS}, {CURVES}, config.toml",
        test.accuracy, test.loss
    )?;
    Ok(())
}
