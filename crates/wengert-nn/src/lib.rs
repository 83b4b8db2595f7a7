//! Neural networks on the [`wengert`] tape: layers and losses are nothing but rows of it, so that
//! every derivative falls out of the tape.
//!
//! ```
//! use ndarray::array;
//! use wengert_nn::{Labels, TwoLayerNet};
//! let net = TwoLayerNet::<f64>::new(2, 3, 2, 42)?;
//! let x = array![[0.0, 1.0], [1.0, 0.0]];
//! let classes = array![0u32, 1];
//! let by_tape = net.gradient(&x, Labels::Classes(&classes))?;
//! let by_differences = net.numerical_gradient(&x, Labels::Classes(&classes))?;
//! for (name, g) in &by_tape {
//!     let difference = (g - &by_differences[name]).mapv(f64::abs).sum();
//!     assert!(difference < 1e-8, "{name}: {difference}");
//! }
//! # Ok::<(), wengert_nn::Error>(())
//! ```

#![forbid(unsafe_code)]

mod architecture;
mod augment;
mod builder;
mod data;
mod epochs;
mod error;
mod examples;
mod files;
mod init;
mod layers;
mod load;
mod metrics;
mod model;
mod npy;
mod optim;
mod prefetch;
mod recipe;
mod store;
mod summary;
mod trainer;
mod two_layer;

pub use architecture::Architecture;
pub use augment::Augment;
pub use builder::Builder;
pub use data::{Dataset, Split};
pub use epochs::Epochs;
pub use error::{Error, Result};
pub use examples::{Examples, Subset};
pub use files::{file_names, find_part};
pub use init::Init;
pub use layers::{
    Activation, Affine, Attention, AvgPool, BatchNorm, Convolution, Dropout, Embedding, Flatten,
    GlobalAvgPool, GroupNorm, Gru, Layer, LayerNorm, Lstm, MaxPool, Normalize, Recurrent, RecurrentCell,
    Relu, Residual, RmsNorm, Rnn, SoftmaxCrossEntropy, Stack, Training, TransformerBlock,
    TransposedConvolution, Unflatten,
};
pub use metrics::{ClassMetrics, class_metrics, top_k_accuracy};
pub use model::{Evaluation, Float, Model};
pub use npy::{load_npy, load_npz, save_npy, save_npz};
pub use optim::{
    Accumulation, AdaDelta, AdaGrad, AdaMax, Adam, At, Average, Clip, Decay, Group, Lion, Momentum, NAdam,
    Optimizer, Plateau, RAdam, RmsProp, Rule, Schedule, Slot, rule_named,
};
pub use prefetch::Prefetch;
pub use recipe::Recipe;
pub use store::{is_sealed, load_checkpoint, load_states, save_checkpoint, save_states};
pub use summary::{LayerSummary, ModelSummary};
pub use trainer::{Best, Measure, Point, Progress, Trainer};
pub use two_layer::{Gradients, Labels, TwoLayerNet};
