//! What is measured while a model is trained.

use serde::{Deserialize, Serialize};

use crate::model::Evaluation;

/// How a model does on a split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The share of images whose most probable class is their label.
    pub accuracy: f64,
    /// The mean cross-entropy.
    pub loss: f64,
}

impl From<&Evaluation> for Measure {
    fn from(found: &Evaluation) -> Self {
        Self { accuracy: found.accuracy, loss: found.loss }
    }
}

/// One evaluation in the course of a training. It has no times: a training that was taken up again has the same points as one that ran through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps made so far.
    pub step: u64,
    /// The same in epochs.
    pub epoch: f64,
    /// The mean loss of the batches since the evaluation before.
    pub loss: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// The root of the sum of all squares of the gradient on the last batch.
    pub gradient_norm: f64,
    /// On images that the model learns from.
    pub train: Measure,
    /// On those that were set apart, where there are any.
    pub validation: Option<Measure>,
    /// On the test set, where nothing is chosen.
    pub test: Option<Measure>,
}

/// The best evaluation on the validation split so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps made by then.
    pub step: u64,
    /// On the validation split.
    pub validation: Measure,
}

/// What a training tells while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A step was made, whose batch had this loss before it.
    Step {
        /// Steps made so far.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The model was evaluated.
    Evaluated(&'a Point),
}
