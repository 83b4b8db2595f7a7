//! Optimisers: rows that turn gradients into next values of parameters, over states that they keep.

mod accumulate;
mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod average;
mod clip;
mod lion;
mod momentum;
mod nadam;
mod names;
mod optimizer;
mod radam;
mod rmsprop;
mod schedule;

pub use accumulate::Accumulation;
pub use adadelta::AdaDelta;
pub use adagrad::AdaGrad;
pub use adam::Adam;
pub use adamax::AdaMax;
pub use average::Average;
pub use clip::Clip;
pub(crate) use clip::norm;
pub use lion::Lion;
pub use momentum::Momentum;
pub use nadam::NAdam;
pub(crate) use names::default_rate;
pub use names::rule_named;
pub use optimizer::{At, Decay, Group, Optimizer, Rule, Slot};
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use schedule::{Plateau, Schedule};
