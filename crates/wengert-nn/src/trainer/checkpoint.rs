//! A training on disk.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wengert::{State, States, Tensor};

use super::{Best, Measure, Point, Trainer};
use crate::error::{Error, Result};
use crate::optim::Plateau;
use crate::recipe::Recipe;
use crate::store::{load_checkpoint, save_checkpoint};

/// What a checkpoint says beside its tensors: no times and no paths, so that the same training has the same bytes.
#[derive(Serialize, Deserialize)]
struct Said {
    kind: String,
    recipe: Recipe,
    data: String,
    step: u64,
    sampler: Sampler,
    /// By what the schedule multiplies the rate of the next step.
    schedule: f64,
    plateau: Option<Lowered>,
    recent: (f64, u64),
    best: Option<Best>,
    waited: u64,
    history: Vec<Point>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Sampler {
    seed: String,
    epoch: u64,
    position: u64,
}

/// A [`Plateau`], whose best is infinite at first, which JSON has no number for.
#[derive(Serialize, Deserialize)]
struct Lowered {
    best: Option<f64>,
    waited: usize,
    total: f64,
}

const KIND: &str = "checkpoint";

impl Trainer {
    /// Writes all that the next step depends on to a safetensors file: parameters as `param/NAME`, statistics as `stat/NAME`, what the optimiser keeps as `optim/NAME/SLOT`,
    /// averages as `ema/NAME`, the best model as `best/NAME`, and the rest as JSON in the metadata.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut stored = States::new();
        for (state, name, value) in self.model.states.iter() {
            stored.add(&self.stored_name(state, name), value.clone())?;
        }
        for (state, value) in self.best.iter().flat_map(|(_, kept)| kept) {
            let name = self.model.states.name(*state).unwrap_or_default();
            stored.add(&format!("best/{name}"), value.clone())?;
        }
        let plateau = self.plateau.as_ref().map(|plateau| Lowered {
            best: plateau.best.is_finite().then_some(plateau.best),
            waited: plateau.waited,
            total: plateau.total,
        });
        let said = Said {
            kind: KIND.into(),
            recipe: self.recipe.clone(),
            data: self.data_checksum(),
            step: self.step,
            sampler: self.sampler(self.step),
            schedule: self.schedule.factor(self.step as usize),
            plateau,
            recent: self.recent,
            best: self.best(),
            waited: self.waited,
            history: self.history.clone(),
        };
        let said = serde_json::to_value(said).map_err(|e| Error::Argument(e.to_string()))?;
        save_checkpoint(path, &stored, &said)
    }

    /// Where a step stands in the order of the images.
    fn sampler(&self, step: u64) -> Sampler {
        let seed = self.recipe.seed.to_string();
        Sampler { seed, epoch: step / self.epoch, position: step % self.epoch }
    }

    fn stored_name(&self, state: State, name: &str) -> String {
        if self.model.stack.parameters().contains(&state) {
            format!("param/{name}")
        } else if self.model.stack.statistics().contains(&state) {
            format!("stat/{name}")
        } else {
            name.to_owned()
        }
    }

    /// Goes on from a checkpoint of the same training. An [`Error::Argument`] where it is of another recipe or other data, which names what differs, and an [`Error::Model`] where it is no
    /// sound checkpoint; both leave the training as it was.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let wrong = |what: String| Error::Model(path.to_owned(), what);
        let other = |what: String| Error::Argument(format!("{}: {what}", path.display()));
        let (stored, said) = read(path)?;
        if let Some((name, then, now)) = said.recipe.differences(&self.recipe).into_iter().next() {
            return Err(other(format!("{name} was {then} in this training, and is {now} now")));
        }
        let data = self.data_checksum();
        if said.data != data {
            return Err(other(format!(
                "the data had the checksum {} in this training, and has {data} now",
                said.data
            )));
        }
        let due = (self.sampler(said.step), self.schedule.factor(said.step as usize));
        let counts = said.step <= self.steps && said.waited <= said.step && said.recent.1 <= said.step;
        if (&said.sampler, said.schedule) != (&due.0, due.1)
            || said.plateau.is_some() != self.plateau.is_some()
            || !counts
        {
            return Err(wrong(format!("its sampler, schedule and counts are none of step {}", said.step)));
        }
        let mut states = self.model.states.clone();
        let fitting = |name: String, as_of: &Tensor| {
            let found = stored.find(&name).and_then(|found| stored.get(found).ok());
            match found {
                Some(tensor) if tensor.ty() == as_of.ty() => Ok(tensor.clone()),
                Some(tensor) => {
                    Err(wrong(format!("expected {name} to be {}, found {}", as_of.ty(), tensor.ty())))
                }
                None => Err(wrong(format!("expected a tensor {name}, found none"))),
            }
        };
        for (state, name, value) in self.model.states.iter() {
            states.set(state, fitting(self.stored_name(state, name), value)?)?;
        }
        let best = match said.best {
            None => None,
            Some(best) => {
                let kept = self.model.tensors().into_iter().map(|state| {
                    let name = self.model.states.name(state).unwrap_or_default();
                    Ok((state, fitting(format!("best/{name}"), self.model.states.get(state)?)?))
                });
                Some((best, kept.collect::<Result<Vec<_>>>()?))
            }
        };
        self.model.states = states;
        self.best = best;
        if let (Some(plateau), Some(kept)) = (&mut self.plateau, said.plateau) {
            let best = kept.best.unwrap_or(f64::INFINITY);
            *plateau = Plateau { best, waited: kept.waited, total: kept.total, ..plateau.clone() };
        }
        (self.step, self.recent, self.waited) = (said.step, said.recent, said.waited);
        self.history = said.history;
        self.last = None;
        self.ahead = self.batches.clone().ahead(self.step, self.steps, self.threads);
        Ok(())
    }

    /// The recipe of a checkpoint. An error where it is none, or is damaged.
    pub fn recipe_of(path: impl AsRef<Path>) -> Result<Recipe> {
        Ok(read(path.as_ref())?.1.recipe)
    }

    /// Writes the [result](Self::result) to a safetensors file, with the recipe, the evaluations and how it does on the test set in its metadata.
    pub fn save_result(&self, path: impl AsRef<Path>, test: &Measure) -> Result<()> {
        let said = json!({
            "kind": "model",
            "recipe": self.recipe,
            "data": self.data_checksum(),
            "step": self.step,
            "best": self.best(),
            "history": self.history,
            "test": test,
        });
        save_checkpoint(path, &self.result()?.states, &said)
    }
}

/// The tensors of a checkpoint and what it says. An error where it is a model alone, or is damaged.
fn read(path: &Path) -> Result<(States, Said)> {
    let wrong = |what: String| Error::Model(path.to_owned(), what);
    let (stored, said) = load_checkpoint(path)?;
    if said.get("kind").and_then(Value::as_str) != Some(KIND) {
        return Err(wrong("expected a checkpoint of a training, found a model".into()));
    }
    let said: Said = serde_json::from_value(said).map_err(|e| wrong(e.to_string()))?;
    said.recipe.check().map_err(|e| wrong(e.to_string()))?;
    Ok((stored, said))
}
