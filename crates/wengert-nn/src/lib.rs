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

mod data;
mod error;
mod layers;
mod model;
mod optim;
mod sampler;
mod store;
mod train;
mod two_layer;

pub use data::{Dataset, Split, file_names};
pub use error::{Error, Result};
pub use layers::{Affine, Init, Layer, Relu, SoftmaxCrossEntropy, Stack};
pub use model::{Evaluation, Float, Model};
pub use optim::Sgd;
pub use sampler::{BatchSampler, Sampling};
pub use store::{is_sealed, load_states, save_states};
pub use train::{Config, Event, Summary, train};
pub use two_layer::{Gradients, Labels, TwoLayerNet};
