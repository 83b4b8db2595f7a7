//! How a model is trained, by flags and by a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use wengert_nn::Recipe;

use crate::Failure;

/// Flags of a network, under the names of a [`Recipe`]; what is not given is not said.
#[derive(Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Network {
    /// The network: two-layer[:HIDDEN], mlp:784-300-100-10, lenet, conv or gru[:UNITS] [default: two-layer:50, the book's]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Units of the hidden layer of two-layer [default: 50]
    #[arg(long, value_name = "N", conflicts_with = "model", value_parser = clap::value_parser!(u32).range(1..=4096))]
    #[serde(skip)]
    pub(crate) hidden: Option<u32>,
    /// Labels are below this: 10, 26, 27, 47 or 62 of EMNIST's sets [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    classes: Option<u32>,
    /// Bring inputs to mean zero and deviation one, as measured on the training images
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    normalize: Option<bool>,
    /// What to compute in: f32 or f64 [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = ["f32", "f64"])]
    dtype: Option<String>,
}

/// Flags of what makes up a step.
#[derive(Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Step {
    #[command(flatten)]
    #[serde(flatten)]
    network: Network,
    /// sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, amsgrad, adamw, nadam, radam, adamax or lion [default: sgd for
    /// two-layer, else adam]
    #[arg(long, value_name = "RULE")]
    optimizer: Option<String>,
    /// Of momentum and nesterov [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = finite, allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Images a step [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: Option<u32>,
    /// How large weights are kept small: added to the gradient, with adamw and lion taken off beside it [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = finite, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// The share of numbers that are dropped in front of affine layers [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = finite, allow_negative_numbers = true)]
    dropout: Option<f64>,
    /// The share of a label that is spread over all classes [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = finite, allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// How gradients are made smaller: none, norm:MOST (or MOST alone) or value:MOST [default: none]
    #[arg(long, value_name = "CLIP")]
    clip: Option<String>,
    /// The decay of the running average of weights that is kept in place of them; 0 for none [default: 0]
    #[arg(long, value_name = "DECAY", value_parser = finite, allow_negative_numbers = true)]
    ema: Option<f64>,
    /// For weights, batches and all else that is random. One seed gives the same bits on every processor with a fused multiply-add
    /// (AVX2 or newer), whatever the width of its registers; older ones round otherwise [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Flags of all of a recipe.
#[derive(Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Settings {
    #[command(flatten)]
    #[serde(flatten)]
    step: Step,
    /// Learning rate [default: 0.1 for sgd, 0.001 for adam]
    #[arg(long, value_name = "RATE", value_parser = learning_rate, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// How the rate changes: constant, step:EPOCHS:FACTOR, cosine, one-cycle or plateau:FACTOR:PATIENCE [default: constant]
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<String>,
    /// Steps in which the rate grows from zero before that [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    warm_up: Option<u64>,
    /// How often all images are seen, each once in an epoch [default: 10; for two-layer --iters counts]
    #[arg(long, value_name = "N", conflicts_with = "iters", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: Option<u64>,
    /// Steps, each with images drawn with replacement [default: 10000 for two-layer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    iters: Option<u64>,
    /// How images are varied: none, or some of shift:PIXELS,rotate:DEGREES,scale:SHARE,flip [default: none]
    #[arg(long, value_name = "PARTS")]
    augment: Option<String>,
    /// The share of the training images that the best model is chosen by; with 0 the curve is that of the test set [default: 0.1;
    /// 0 for two-layer]
    #[arg(long, value_name = "SHARE", value_parser = finite, allow_negative_numbers = true)]
    validation: Option<f64>,
    /// Evaluations without a better model after which training ends; 0 for none [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    patience: Option<u64>,
    /// Steps from one evaluation to the next [default: an epoch, or several where there would be more than 200 evaluations]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    evaluate_every: Option<u64>,
    /// Training images on which accuracy is measured, at most; 0 for all [default: 10000; 0 for two-layer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    measured: Option<u32>,
}

impl Network {
    /// The recipe of these flags for images of a size.
    pub(crate) fn recipe(&self, size: Option<(usize, usize)>) -> Result<Recipe, Failure> {
        recipe(given(self, self.hidden), Map::new(), size)
    }
}

impl Step {
    /// The recipe of these flags for images of a size.
    pub(crate) fn recipe(&self, size: Option<(usize, usize)>) -> Result<Recipe, Failure> {
        recipe(given(self, self.network.hidden), Map::new(), size)
    }
}

impl Settings {
    /// The recipe of a file's settings, in place of which those of flags count, for images of a size.
    pub(crate) fn recipe(
        &self,
        base: Map<String, Value>,
        size: Option<(usize, usize)>,
    ) -> Result<Recipe, Failure> {
        recipe(given(self, self.step.network.hidden), base, size)
    }
}

/// The flags that were given.
fn given(flags: &impl Serialize, hidden: Option<u32>) -> Map<String, Value> {
    let mut all = match serde_json::to_value(flags) {
        Ok(Value::Object(all)) => all,
        _ => Map::new(),
    };
    all.retain(|_, value| !value.is_null());
    if let Some(hidden) = hidden {
        all.insert("model".into(), format!("two-layer:{hidden}").into());
    }
    all
}

fn recipe(
    given: Map<String, Value>,
    mut base: Map<String, Value>,
    size: Option<(usize, usize)>,
) -> Result<Recipe, Failure> {
    for (asked, instead) in [("epochs", "iters"), ("iters", "epochs")] {
        if given.contains_key(asked) {
            base.remove(instead);
        }
    }
    base.extend(given);
    if let Some((height, width)) = size {
        for (name, found) in [("height", height), ("width", width)] {
            if let Some(due) = base.get(name).and_then(Value::as_u64).filter(|due| *due != found as u64) {
                return Err(Failure::Usage(format!(
                    "{name}: the settings say {due}, the images have {found}"
                )));
            }
        }
        base.insert("height".into(), height.into());
        base.insert("width".into(), width.into());
    }
    Recipe::with(&base).map_err(|e| Failure::Usage(e.to_string()))
}

/// JSON, by which settings are put together, has no other numbers.
fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("expected a finite number".into()),
        Err(e) => Err(e.to_string()),
    }
}

fn learning_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        Ok(_) => Err("expected a finite number above zero".into()),
        Err(e) => Err(e.to_string()),
    }
}

/// A file of settings is far smaller.
const MOST_BYTES: u64 = 1 << 20;

/// What `config.toml` holds: a recipe, where its data are, and how often it is kept.
#[derive(Default)]
pub(crate) struct Configuration {
    pub(crate) recipe: Map<String, Value>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) label_column: Option<usize>,
    pub(crate) checkpoint_every: Option<u64>,
    pub(crate) keep: Option<u32>,
}

impl Configuration {
    /// The text of a recipe and what else is here, which [`read`](Self::read) reads.
    pub(crate) fn text(&self, recipe: &Recipe) -> Result<String, Failure> {
        let failed = |e: toml::ser::Error| Failure::Work(format!("config.toml: {e}"));
        let mut table = toml::Table::try_from(recipe).map_err(failed)?;
        let mut data = toml::Table::new();
        // A name that is no text cannot be told, and is given by --data.
        if let Some(folder) = self.folder.as_deref().and_then(Path::to_str) {
            data.insert("folder".into(), folder.into());
        }
        if let Some(column) = self.label_column {
            data.insert("label-column".into(), (column as i64).into());
        }
        let mut checkpoints = toml::Table::new();
        if let Some(every) = self.checkpoint_every {
            checkpoints.insert("every".into(), (every as i64).into());
        }
        if let Some(keep) = self.keep {
            checkpoints.insert("keep".into(), i64::from(keep).into());
        }
        table.insert("data".into(), data.into());
        table.insert("checkpoints".into(), checkpoints.into());
        let text = toml::to_string(&table).map_err(failed)?;
        Ok(format!("# All that repeats this run, to the bit: wengert train --config THIS --out DIR\n{text}"))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
        let failed = |e: std::io::Error| Failure::Work(format!("{}: {e}", path.display()));
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
            .map_err(failed)?;
        let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            wrong(format!("line {}: {}", 1 + before.matches('\n').count(), e.message()))
        })?;
        let mut found = Self::default();
        for section in ["data", "checkpoints"] {
            let entries = match table.remove(section) {
                Some(toml::Value::Table(entries)) => entries,
                Some(_) => return Err(wrong(format!("{section}: expected a table"))),
                None => continue,
            };
            for (name, value) in entries {
                match (section, name.as_str(), value) {
                    ("data", "folder", toml::Value::String(folder)) => found.folder = Some(folder.into()),
                    ("data", "label-column", toml::Value::Integer(column @ 0..64)) => {
                        found.label_column = Some(column as usize);
                    }
                    ("checkpoints", "every", toml::Value::Integer(every @ 1..)) => {
                        found.checkpoint_every = Some(every as u64);
                    }
                    ("checkpoints", "keep", toml::Value::Integer(keep @ 1..=1_000_000)) => {
                        found.keep = Some(keep as u32);
                    }
                    (_, name, value) => {
                        return Err(wrong(format!("{section}.{name}: {value} makes no sense")));
                    }
                }
            }
        }
        let infinite = |value: &toml::Value| value.as_float().is_some_and(|number| !number.is_finite());
        if let Some((name, value)) = table.iter().find(|(_, value)| infinite(value)) {
            return Err(wrong(format!("{name}: expected a finite number, found {value}")));
        }
        if let Ok(Value::Object(recipe)) = serde_json::to_value(table) {
            found.recipe = recipe;
        }
        // What it says is checked in its own name, before flags change it.
        Recipe::with(&found.recipe).map_err(|e| wrong(e.to_string()))?;
        Ok(found)
    }
}
