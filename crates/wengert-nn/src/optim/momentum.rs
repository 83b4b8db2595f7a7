//! Gradient descent with momentum.

use super::{At, Rule, Slot};
use wengert::Var;

/// Gradient descent by a running sum of gradients, `v ← μ v + g`, `w ← w − η v` (Polyak, "Some methods of speeding up the convergence of
/// iteration methods", 1964). Without momentum it is plain descent.
///
/// ```
/// use wengert_nn::{Momentum, Rule};
/// assert_eq!(Momentum::new(0.9).slots().len(), 1);
/// assert!(Momentum::new(0.0).slots().is_empty(), "plain descent keeps nothing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// How much of the sum stays: μ.
    pub momentum: f64,
    /// Whether the step is `g + μ v`, as if the gradient were taken further on (Sutskever et al., "On the importance of initialization and momentum
    /// in deep learning", 2013, in the form of PyTorch).
    pub nesterov: bool,
}

impl Momentum {
    /// Polyak's.
    pub fn new(momentum: f64) -> Self {
        Self { momentum, nesterov: false }
    }

    /// Nesterov's.
    pub fn nesterov(momentum: f64) -> Self {
        Self { momentum, nesterov: true }
    }
}

impl Rule for Momentum {
    fn name(&self) -> &'static str {
        match (self.momentum, self.nesterov) {
            (0.0, _) => "sgd",
            (_, false) => "momentum",
            (_, true) => "nesterov",
        }
    }
    fn slots(&self) -> Vec<Slot> {
        if self.momentum == 0.0 { Vec::new() } else { vec![Slot::zeros("v")] }
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let At { weight, gradient, rate, .. } = at;
        let Some(&v) = kept.first() else { return (weight - gradient * rate, Vec::new()) };
        let v = v * self.momentum + gradient;
        let direction = if self.nesterov { gradient + v * self.momentum } else { v };
        (weight - direction * rate, vec![v])
    }
}
