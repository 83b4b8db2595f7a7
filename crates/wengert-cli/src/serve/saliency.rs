//! What a model makes of an image, and by which pixels: reverse mode at work.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;
use serde_json::{Value, json};
use wengert::{DType, Program, Workspace};
use wengert_nn::{Model, load_checkpoint};

use crate::Failure;
use crate::eval::tell_unsealed;

/// A model ready to be asked by many at once.
pub(super) struct Saliency {
    model: Model,
    program: Program,
    /// Those that nobody computes in at the moment.
    workspaces: Mutex<Vec<Workspace>>,
    described: Value,
}

/// The probability of each class, and the gradient of the largest logit by each pixel.
pub(super) struct Found {
    pub(super) probabilities: Vec<f64>,
    pub(super) gradient: Vec<f64>,
}

impl Saliency {
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let model = Model::load(path)?;
        tell_unsealed(path)?;
        let program = Program::record(&model.states, |t| {
            let x = model.pixels(t, t.input(DType::U8, [1, model.inputs]));
            let logits = model.stack.forward(t, x);
            let gradient = logits.max(1).sum(()).gradients(x)[x];
            t.outputs([logits.softmax(), gradient])
        })?;
        let (height, width) = model.size;
        let said = load_checkpoint(path).map(|(_, said)| said).unwrap_or_default();
        let name = said.pointer("/recipe/model").and_then(Value::as_str).unwrap_or("two-layer");
        let described = json!({
            "model": name, "height": height, "width": width, "classes": model.classes,
            "accuracy": said.pointer("/test/accuracy"),
        });
        let workspaces = Mutex::new(vec![program.workspace()?]);
        Ok(Self { model, program, workspaces, described })
    }

    pub(super) fn described(&self) -> Value {
        self.described.clone()
    }

    pub(super) fn inputs(&self) -> usize {
        self.model.inputs
    }

    /// Of the bytes of an image.
    pub(super) fn of(&self, pixels: &[u8]) -> Result<Found, wengert::Error> {
        let free = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = free.map_or_else(|| self.program.workspace(), Ok)?;
        let image = ArrayView2::from_shape((1, pixels.len()), pixels)
            .map_err(|e| wengert::ErrorKind::Argument(e.to_string()))?;
        let results = self.program.evaluate(&mut workspace, &self.model.states, (&image,))?;
        let (probabilities, gradient) = (results.tensor(0)?.to_f64(), results.tensor(1)?.to_f64());
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        Ok(Found { probabilities, gradient })
    }
}
