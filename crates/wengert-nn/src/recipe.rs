//! All that says how a model is trained.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wengert::DType;

use crate::architecture::Architecture;
use crate::augment::Augment;
use crate::error::{Error, Result};
use crate::optim::{Clip, Decay, Plateau, Rule, Schedule, default_rate, rule_named};

/// Pixels of an image, at most.
const MOST_PIXELS: usize = 1 << 20;
/// Classes, at most: a confusion matrix of so many is still small.
pub(crate) const MOST_CLASSES: usize = 4096;
/// Steps or epochs, at most.
const MOST_STEPS: u64 = 1 << 40;

/// All that says how a model is trained, as people write it. The same recipe and the same data give the same model, bit for bit.
///
/// ```
/// use serde_json::{Map, json};
/// use wengert_nn::Recipe;
/// let book = Recipe::default();
/// assert_eq!((book.model.as_str(), book.lr, book.iters), ("two-layer:50", 0.1, Some(10_000)));
/// let settings = Map::from_iter([("model".into(), json!("lenet")), ("epochs".into(), json!(3))]);
/// let lenet = Recipe::with(&settings)?;
/// assert_eq!((lenet.optimizer.as_str(), lenet.lr, lenet.epochs), ("adam", 0.001, Some(3)));
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// The network, as an [`Architecture`] is written.
    pub model: String,
    /// Rows of an image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Classes that are told apart.
    pub classes: usize,
    /// What it computes in: `f32` or `f64`.
    pub dtype: String,
    /// For weights, batches, dropout, variations and the choice of the validation split.
    #[serde(with = "seed")]
    pub seed: u64,
    /// The update rule: `sgd`, `momentum`, `nesterov`, `adagrad`, `adadelta`, `rmsprop`, `adam`, `amsgrad`, `adamw`, `nadam`, `radam`, `adamax` or `lion`.
    pub optimizer: String,
    /// Of the rules `momentum` and `nesterov`.
    pub momentum: f64,
    /// The learning rate, where its schedule is at 1.
    pub lr: f64,
    /// `constant`, `step:EPOCHS:FACTOR`, `cosine`, `one-cycle` or `plateau:FACTOR:PATIENCE`.
    pub schedule: String,
    /// Steps in which the rate grows from zero, before the schedule begins.
    pub warm_up: u64,
    /// How often all images are seen, each once in an epoch; instead of `iters`.
    pub epochs: Option<u64>,
    /// Steps, each with images drawn with replacement; instead of `epochs`.
    pub iters: Option<u64>,
    /// Whether inputs are brought to mean zero and deviation one, as measured on the images to learn from; else they are 0 … 1.
    pub normalize: bool,
    /// Images of a step.
    pub batch: usize,
    /// How large weights are kept small; biases and scales are not.
    pub weight_decay: f64,
    /// The share of numbers that dropout sets to zero.
    pub dropout: f64,
    /// The share of a label that is spread over all classes (Szegedy et al., "Rethinking the Inception architecture", 2016).
    pub label_smoothing: f64,
    /// How gradients are made smaller: `none`, `norm:MOST` (or `MOST` alone) or `value:MOST`.
    pub clip: String,
    /// How images are varied: `none`, or some of `shift:PIXELS,rotate:DEGREES,scale:SHARE,flip`.
    pub augment: String,
    /// The decay of the running average of the weights that is evaluated and kept in place of them; 0 for none.
    pub ema: f64,
    /// The share of the images to learn from that is set apart, to choose the best model by. With 0 nothing is chosen, and the curve is that of the test set.
    pub validation: f64,
    /// Evaluations without a better model after which training ends; 0 for none.
    pub patience: u64,
    /// Steps from one evaluation to the next; 0 for an epoch, or for several where there would be more than 200 evaluations.
    pub evaluate_every: u64,
    /// Images to learn from on which accuracy is measured, at most; 0 for all.
    pub measured: usize,
}

impl Default for Recipe {
    /// The book's.
    fn default() -> Self {
        Self {
            model: Architecture::TwoLayer(50).to_string(),
            height: 28,
            width: 28,
            classes: 10,
            dtype: "f32".into(),
            seed: 0,
            optimizer: "sgd".into(),
            momentum: 0.9,
            lr: 0.1,
            schedule: "constant".into(),
            warm_up: 0,
            epochs: None,
            iters: Some(10_000),
            normalize: false,
            batch: 100,
            weight_decay: 0.0,
            dropout: 0.0,
            label_smoothing: 0.0,
            clip: "none".into(),
            augment: "none".into(),
            ema: 0.0,
            validation: 0.0,
            patience: 0,
            evaluate_every: 0,
            measured: 0,
        }
    }
}

impl Recipe {
    /// The recipe of some settings, by the names of its fields with hyphens. What they leave open is as in the book for its network, and as people usually begin with
    /// for others: Adam, ten epochs, a tenth of the images for validation. An error names the setting that makes no sense.
    pub fn with(settings: &Map<String, Value>) -> Result<Self> {
        let text = |name: &str| settings.get(name).and_then(Value::as_str);
        let mut recipe = Self::default();
        if let Some(model) = text("model") {
            let model = model.parse::<Architecture>().map_err(|e| named("model", e))?;
            if !matches!(model, Architecture::TwoLayer(_)) {
                recipe.optimizer = "adam".into();
                (recipe.epochs, recipe.iters) = (Some(10), None);
                (recipe.validation, recipe.measured) = (0.1, 10_000);
            }
            recipe.model = model.to_string();
        }
        recipe.lr = default_rate(text("optimizer").unwrap_or(&recipe.optimizer)).unwrap_or(recipe.lr);
        for (asked, other) in [("epochs", &mut recipe.iters), ("iters", &mut recipe.epochs)] {
            if settings.get(asked).is_some_and(|n| !n.is_null()) {
                *other = None;
            }
        }
        let mut all = serde_json::to_value(&recipe).map_err(|e| Error::Argument(e.to_string()))?;
        if let Some(all) = all.as_object_mut() {
            let given = settings.iter().filter(|(_, value)| !value.is_null());
            all.extend(given.map(|(name, value)| (name.clone(), value.clone())));
            // As it is written in full.
            if text("model").is_some() {
                all.insert("model".into(), recipe.model.clone().into());
            }
        }
        let recipe: Self = serde_json::from_value(all).map_err(|e| Error::Argument(e.to_string()))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe that metadata hold.
    pub(crate) fn deserialized(said: &Value) -> Result<Self> {
        let recipe: Self =
            serde_json::from_value(said.clone()).map_err(|e| Error::Argument(e.to_string()))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// An error that names the first setting that makes no sense.
    pub fn check(&self) -> Result<()> {
        match self.architecture()? {
            Architecture::TwoLayer(_) if self.dropout > 0.0 => {
                return Err(argument("dropout: the model two-layer has none, as in the book".into()));
            }
            Architecture::Mlp(sizes) if self.dropout > 0.0 && sizes.len() == 2 => {
                return Err(argument("dropout: a single affine layer has none in front".into()));
            }
            _ => {}
        }
        if self.momentum != Self::default().momentum
            && !["momentum", "nesterov"].contains(&self.optimizer.as_str())
        {
            return Err(argument(format!("momentum: the rule {} has none", self.optimizer)));
        }
        self.rule()?;
        self.clip()?;
        self.augment()?;
        self.rates(1, 1)?;
        let wrong =
            |name: &str, due: &str, found: f64| argument(format!("{name}: expected {due}, found {found:?}"));
        let float = self.dtype()?;
        let held = if float == DType::F32 { f64::from(self.lr as f32) } else { self.lr };
        if !(held > 0.0 && held.is_finite()) {
            return Err(argument(format!(
                "lr: expected a learning rate above zero that {float} can hold, found {:?}",
                self.lr
            )));
        }
        for (name, share) in [
            ("momentum", self.momentum),
            ("dropout", self.dropout),
            ("label-smoothing", self.label_smoothing),
            ("ema", self.ema),
            ("validation", self.validation),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(wrong(name, "a number from 0 up to 1", share));
            }
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(wrong("weight-decay", "a finite number that is not negative", self.weight_decay));
        }
        match (self.epochs, self.iters) {
            (Some(0), _) | (_, Some(0)) => {
                return Err(argument("epochs and iters: expected at least one".into()));
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(argument("expected either epochs or iters".into()));
            }
            _ => {}
        }
        for (name, size, most) in [
            ("batch", self.batch, 1 << 16),
            ("height", self.height, MOST_PIXELS),
            ("width", self.width, MOST_PIXELS),
            ("classes", self.classes, MOST_CLASSES),
        ] {
            if !(1..=most).contains(&size) {
                return Err(argument(format!("{name}: expected 1 to {most}, found {size}")));
            }
        }
        if self.height * self.width > MOST_PIXELS {
            let (height, width) = (self.height, self.width);
            return Err(argument(format!(
                "expected at most {MOST_PIXELS} pixels, found {height} by {width}"
            )));
        }
        for (name, count) in [
            ("epochs", self.epochs.unwrap_or(1)),
            ("iters", self.iters.unwrap_or(1)),
            ("warm-up", self.warm_up),
            ("patience", self.patience),
            ("evaluate-every", self.evaluate_every),
        ] {
            if count > MOST_STEPS {
                return Err(argument(format!("{name}: expected at most {MOST_STEPS}, found {count}")));
            }
        }
        if self.validation == 0.0 && (self.patience > 0 || self.schedule.starts_with("plateau")) {
            let what = "patience and plateau: expected a validation split, for the test set decides nothing";
            return Err(argument(what.into()));
        }
        Ok(())
    }

    /// A setting by its name, as people write it; `None` of one that is not there.
    ///
    /// ```
    /// assert_eq!(wengert_nn::Recipe::default().setting("lr").as_deref(), Some("0.1"));
    /// ```
    pub fn setting(&self, name: &str) -> Option<String> {
        serde_json::to_value(self).ok()?.get(name).filter(|value| !value.is_null()).map(written)
    }

    /// The settings that differ from those of another recipe: name, value here, value there.
    ///
    /// ```
    /// use wengert_nn::Recipe;
    /// let (book, other) = (Recipe::default(), Recipe { lr: 0.2, ..Recipe::default() });
    /// assert_eq!(book.differences(&other), [("lr".to_owned(), "0.1".to_owned(), "0.2".to_owned())]);
    /// ```
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let (Ok(Value::Object(own)), Ok(Value::Object(others))) =
            (serde_json::to_value(self), serde_json::to_value(other))
        else {
            return Vec::new();
        };
        let pairs = own.into_iter().map(|(name, value)| (others.get(&name).cloned(), name, value));
        let differ = pairs.filter(|(theirs, _, value)| theirs.as_ref() != Some(value));
        differ
            .map(|(theirs, name, value)| (name, written(&value), written(&theirs.unwrap_or_default())))
            .collect()
    }

    /// The network.
    pub fn architecture(&self) -> Result<Architecture> {
        self.model.parse().map_err(|e| named("model", e))
    }

    /// What it computes in.
    pub fn dtype(&self) -> Result<DType> {
        match self.dtype.as_str() {
            "f32" => Ok(DType::F32),
            "f64" => Ok(DType::F64),
            other => Err(argument(format!("dtype: expected f32 or f64, found {other}"))),
        }
    }

    /// The update rule.
    pub(crate) fn rule(&self) -> Result<Box<dyn Rule>> {
        rule_named(&self.optimizer, self.momentum).map_err(|e| named("optimizer", e))
    }

    /// How weights are kept small: apart from the gradient by the rules that are made for that.
    pub(crate) fn decay(&self) -> Decay {
        match (self.weight_decay, self.optimizer.as_str()) {
            (0.0, _) => Decay::None,
            (decay, "adamw" | "lion") => Decay::Decoupled(decay),
            (decay, _) => Decay::Coupled(decay),
        }
    }

    /// How gradients are made smaller.
    pub(crate) fn clip(&self) -> Result<Option<Clip>> {
        let wrong = || argument(format!("clip: expected none, norm:MOST or value:MOST, found {}", self.clip));
        let (kind, most) = match self.clip.split_once(':') {
            None if self.clip == "none" => return Ok(None),
            None => ("norm", self.clip.as_str()),
            Some(parts) => parts,
        };
        let most =
            most.parse().ok().filter(|most: &f64| *most > 0.0 && most.is_finite()).ok_or_else(wrong)?;
        match kind {
            "norm" => Ok(Some(Clip::Norm(most))),
            "value" => Ok(Some(Clip::Value(most))),
            _ => Err(wrong()),
        }
    }

    /// How images are varied.
    pub(crate) fn augment(&self) -> Result<Augment> {
        let mut augment = Augment::none(self.height, self.width);
        if self.augment == "none" {
            return Ok(augment);
        }
        let wrong = |part: &str| {
            let due = "none, or some of shift:PIXELS,rotate:DEGREES,scale:SHARE,flip";
            argument(format!("augment: expected {due}, found {part}"))
        };
        for part in self.augment.split(',') {
            if part == "flip" {
                augment.flip = true;
                continue;
            }
            let (name, number) = part.split_once(':').ok_or_else(|| wrong(part))?;
            let most = match name {
                "shift" => self.height.max(self.width) as f64,
                "rotate" => 180.0,
                "scale" => 0.9,
                _ => 0.0,
            };
            let number =
                number.parse().ok().filter(|n| (0.0..=most).contains(n)).ok_or_else(|| wrong(part))?;
            match name {
                "shift" => augment.shift = number,
                "rotate" => augment.rotation = number,
                "scale" => augment.scale = number,
                _ => return Err(wrong(part)),
            }
        }
        Ok(augment)
    }

    /// How the learning rate changes, for so many steps an epoch and in all.
    pub(crate) fn rates(&self, epoch: u64, steps: u64) -> Result<(Schedule, Option<Plateau>)> {
        let wrong = || {
            let due = "constant, step:EPOCHS:FACTOR, cosine, one-cycle or plateau:FACTOR:PATIENCE";
            argument(format!("schedule: expected {due}, found {}", self.schedule))
        };
        let factor = |text: &str| text.parse().ok().filter(|f: &f64| *f > 0.0 && *f < 1.0).ok_or_else(wrong);
        let count =
            |text: &str| text.parse().ok().filter(|n: &u64| (1..=1 << 32).contains(n)).ok_or_else(wrong);
        let rest = steps.saturating_sub(self.warm_up) as usize;
        let mut plateau = None;
        let parts: Vec<&str> = self.schedule.split(':').collect();
        let schedule = match parts[..] {
            ["constant"] => Schedule::Constant,
            ["cosine"] => Schedule::Cosine { steps: rest },
            ["one-cycle"] => Schedule::OneCycle { steps: rest },
            ["step", every, by] => {
                Schedule::Step { every: count(every)?.saturating_mul(epoch) as usize, factor: factor(by)? }
            }
            ["plateau", by, patience] => {
                plateau = Some(Plateau::new(factor(by)?, count(patience)? as usize));
                Schedule::Constant
            }
            _ => return Err(wrong()),
        };
        let schedule = match self.warm_up {
            0 => schedule,
            steps => Schedule::WarmUp { steps: steps as usize, then: Box::new(schedule) },
        };
        Ok((schedule, plateau))
    }
}

/// A value as people write it.
fn written(value: &Value) -> String {
    if value.is_null() {
        return "none".into();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn argument(what: String) -> Error {
    Error::Argument(what)
}

fn named(name: &str, e: Error) -> Error {
    argument(format!("{name}: {e}"))
}

/// Seeds beyond what TOML has numbers for are written as text.
mod seed {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "seed: expected a number from 0 to 18446744073709551615")]
    enum Seed {
        Number(u64),
        Text(String),
    }

    pub(super) fn serialize<S: Serializer>(seed: &u64, s: S) -> Result<S::Ok, S::Error> {
        if i64::try_from(*seed).is_ok() { s.serialize_u64(*seed) } else { s.serialize_str(&seed.to_string()) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        match Seed::deserialize(d)? {
            Seed::Number(seed) => Ok(seed),
            Seed::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
