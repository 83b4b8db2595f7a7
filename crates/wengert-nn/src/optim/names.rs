//! Update rules by name.

use super::{AdaDelta, AdaGrad, AdaMax, Adam, Lion, Momentum, NAdam, RAdam, RmsProp, Rule};
use crate::error::{Error, Result};

/// The update rule of a name, with what else it has at its defaults. An error names those that there are.
///
/// ```
/// assert_eq!(wengert_nn::rule_named("adamw", 0.9)?.name(), "adam");
/// assert!(wengert_nn::rule_named("adamm", 0.9).is_err());
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn rule_named(name: &str, momentum: f64) -> Result<Box<dyn Rule>> {
    Ok(match name {
        "sgd" => Box::new(Momentum::new(0.0)),
        "momentum" => Box::new(Momentum::new(momentum)),
        "nesterov" => Box::new(Momentum::nesterov(momentum)),
        "adagrad" => Box::new(AdaGrad::default()),
        "adadelta" => Box::new(AdaDelta::default()),
        "rmsprop" => Box::new(RmsProp::default()),
        "adam" | "adamw" => Box::new(Adam::default()),
        "amsgrad" => Box::new(Adam { amsgrad: true, ..Adam::default() }),
        "nadam" => Box::new(NAdam::default()),
        "radam" => Box::new(RAdam::default()),
        "adamax" => Box::new(AdaMax::default()),
        "lion" => Box::new(Lion::default()),
        _ => {
            let known = "sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, amsgrad, adamw, nadam, radam, adamax or lion";
            return Err(Error::Argument(format!("expected {known}, found {name}")));
        }
    })
}

/// The learning rate that people begin with; the book's for its plain descent, PyTorch's for most others.
pub(crate) fn default_rate(name: &str) -> Option<f64> {
    Some(match name {
        "sgd" => 0.1,
        "momentum" | "nesterov" | "adagrad" => 0.01,
        "adadelta" => 1.0,
        "rmsprop" | "adam" | "amsgrad" | "adamw" | "radam" => 0.001,
        "nadam" | "adamax" => 0.002,
        "lion" => 0.0001,
        _ => return None,
    })
}
