//! Models from files.

use std::path::Path;

use wengert::{States, Tensor};

use crate::error::{Error, Result};
use crate::layers::Affine;
use crate::model::Model;
use crate::recipe::{MOST_CLASSES, Recipe};
use crate::store::load;
use crate::two_layer::stack;

impl Model {
    /// Reads a model: what a [`Trainer`](crate::Trainer) came to, by the recipe in its metadata; a checkpoint, of which the best model counts, else the averages, else the last one; or the
    /// book's network from anybody, `W1 b1 W2 b2` of one float type in shapes that fit each other. The error names what was expected and found.
    ///
    /// ```no_run
    /// let model = wengert_nn::Model::load("final.safetensors")?;
    /// println!("{} pixels, {} classes", model.inputs, model.classes);
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (loaded, said) = load(path)?;
        let recipe = said.as_ref().and_then(|said| said.get("training")?.get("recipe"));
        match recipe {
            Some(recipe) => {
                let recipe = Recipe::deserialized(recipe).map_err(|e| wrong(path, e.to_string()))?;
                Self::with_weights(path, &recipe, &loaded)
            }
            None => Self::two_layer(path, &loaded),
        }
    }

    /// The network of a recipe with the parameters and statistics of a store, by their names: those that another program trained, say. An error names what is missing
    /// or has another shape; `of` is where the store comes from.
    pub fn with_weights(of: impl AsRef<Path>, recipe: &Recipe, loaded: &States) -> Result<Self> {
        let path = of.as_ref();
        // A recipe that asks for far more than the file has is not made; a little more is told by name.
        const LITTLE: usize = 1 << 24;
        let numbers = loaded.iter().map(|(_, _, tensor)| tensor.shape().elements());
        let most = numbers.fold(0, usize::saturating_add).max(LITTLE);
        let mut model = Self::blank(recipe, most).map_err(|e| wrong(path, e.to_string()))?;
        let mut known = 0;
        let statistics = model.stack.statistics();
        for state in model.tensors() {
            let (name, ty) = (model.states.name(state).unwrap_or_default(), model.states.get(state)?.ty());
            let kind = if statistics.contains(&state) { "stat" } else { "param" };
            let places =
                [name.to_owned(), format!("best/{name}"), format!("ema/{name}"), format!("{kind}/{name}")];
            let found = places.iter().find_map(|place| loaded.find(place));
            let found = found.ok_or_else(|| wrong(path, format!("expected a tensor {name}, found none")))?;
            let value = loaded.get(found)?;
            if value.ty() != ty {
                return Err(wrong(path, format!("expected {name} to be {ty}, found {}", value.ty())));
            }
            known += usize::from(loaded.name(found) == Some(name));
            model.states.set(state, value.clone())?;
        }
        let strange =
            |name: &str| model.states.find(name).is_none() && !name.ends_with(".num_batches_tracked");
        let others = loaded.iter().find(|(_, name, _)| strange(name));
        if let Some((_, name, _)) = others.filter(|_| known > 0) {
            return Err(wrong(path, format!("{name} is no tensor of {}", recipe.model)));
        }
        Ok(model)
    }

    fn two_layer(path: &Path, loaded: &States) -> Result<Self> {
        let wrong = |what: String| wrong(path, what);
        let find = |name: &str| {
            let state =
                loaded.find(name).ok_or_else(|| wrong(format!("expected a tensor {name}, found none")))?;
            Ok::<Tensor, Error>(loaded.get(state)?.clone())
        };
        let names: Vec<&str> = loaded.iter().map(|(_, name, _)| name).collect();
        if let Some(other) = names.iter().find(|name| !["W1", "b1", "W2", "b2"].contains(name)) {
            return Err(wrong(format!(
                "expected the tensors W1 b1 W2 b2, found {}: {other} is none of them",
                names.join(" ")
            )));
        }
        let (w1, b1, w2, b2) = (find("W1")?, find("b1")?, find("W2")?, find("b2")?);
        let (&[inputs, hidden], &[_, classes]) = (&w1.shape()[..], &w2.shape()[..]) else {
            return Err(wrong(format!(
                "expected W1 and W2 to be matrices, found {} and {}",
                w1.ty(),
                w2.ty()
            )));
        };
        // What two of three agree on is right.
        let (w1_hidden, b1_hidden) = (hidden, b1.shape().first().copied());
        let hidden = if b1_hidden == Some(w2.shape()[0]) { w2.shape()[0] } else { w1_hidden };
        let dtype = w1.ty().dtype;
        let expected = [
            ("W1", &w1, vec![inputs, hidden]),
            ("b1", &b1, vec![hidden]),
            ("W2", &w2, vec![hidden, classes]),
            ("b2", &b2, vec![classes]),
        ];
        for (name, tensor, shape) in expected {
            if tensor.shape()[..] != shape[..] || tensor.ty().dtype != dtype {
                return Err(wrong(format!("expected {name} to be {dtype}{shape:?}, found {}", tensor.ty())));
            }
        }
        if inputs == 0 || hidden == 0 || !(1..=MOST_CLASSES).contains(&classes) {
            let found = format!("{} and {}", w1.ty(), w2.ty());
            return Err(wrong(format!(
                "expected sizes above zero and at most {MOST_CLASSES} classes, found {found}"
            )));
        }
        let mut states = States::new();
        let first = Affine::of(&mut states, ("W1", "b1"), w1, b1)?;
        let second = Affine::of(&mut states, ("W2", "b2"), w2, b2)?;
        Ok(Self { states, stack: stack(first, second), dtype, inputs, size: square(inputs), classes })
    }
}

fn wrong(path: &Path, what: String) -> Error {
    Error::Model(path.to_owned(), what)
}

/// The sizes of a square image of so many pixels, or else of a row.
fn square(pixels: usize) -> (usize, usize) {
    let side = pixels.isqrt();
    if side * side == pixels { (side, side) } else { (1, pixels) }
}
