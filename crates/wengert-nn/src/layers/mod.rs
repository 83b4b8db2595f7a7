//! Layers as rows of the tape: each holds the states it reads, never their values.

mod activation;
mod affine;
mod attention;
mod batch_norm;
mod convolution;
mod dropout;
mod embedding;
mod group_norm;
mod gru;
mod layer_norm;
mod loss;
mod lstm;
mod normalize;
mod pool;
mod recurrent;
mod reshape;
mod residual;
mod rms_norm;
mod rnn;
mod stack;
mod transformer;
mod transposed;

use std::cell::Cell;

use wengert::{Recorder, State, Var};

pub use activation::{Activation, Relu};
pub use affine::Affine;
pub use attention::Attention;
pub use batch_norm::BatchNorm;
pub use convolution::Convolution;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use group_norm::GroupNorm;
pub use gru::Gru;
pub use layer_norm::LayerNorm;
pub use loss::SoftmaxCrossEntropy;
pub use lstm::Lstm;
pub use normalize::Normalize;
pub use pool::{AvgPool, GlobalAvgPool, MaxPool};
pub use recurrent::{Cell as RecurrentCell, Recurrent};
pub use reshape::{Flatten, Unflatten};
pub use residual::Residual;
pub use rms_norm::RmsNorm;
pub use rnn::Rnn;
pub use stack::Stack;
pub use transformer::TransformerBlock;
pub use transposed::TransposedConvolution;

/// A step from one array to the next. It holds the states it reads, never their values.
pub trait Layer: Send + Sync {
    /// Records the layer applied to a batch, one example a row: as a model in use computes it.
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t>;
    /// The same while the model is trained, where that is another: noise, statistics of the batch.
    fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        self.forward(training.recorder(), x)
    }
    /// The states that training updates, in order.
    fn parameters(&self) -> Vec<State> {
        Vec::new()
    }
    /// The states that the layer keeps beside those, such as running means.
    fn statistics(&self) -> Vec<State> {
        Vec::new()
    }
}

/// What layers are told while a model is trained: where to record, and a key of their own for what is random.
pub struct Training<'t> {
    recorder: &'t Recorder,
    key: Var<'t>,
    keys: Cell<i64>,
}

impl<'t> Training<'t> {
    /// A step whose randomness comes from this `i64` key, which is another one in each step.
    pub fn new(recorder: &'t Recorder, key: Var<'t>) -> Self {
        Self { recorder, key, keys: Cell::new(0) }
    }

    /// Where rows are recorded.
    pub fn recorder(&self) -> &'t Recorder {
        self.recorder
    }

    /// A key that nobody else gets.
    pub fn key(&self) -> Var<'t> {
        // Far apart, so that the keys of one step are not those of the next.
        const APART: i64 = 0x1e37_79b9_7f4a_7c15;
        let n = self.keys.replace(self.keys.get() + 1);
        self.key + self.recorder.constant(n.wrapping_mul(APART))
    }
}
