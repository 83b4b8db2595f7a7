//! AdaGrad.

use super::{At, Rule, Slot};
use wengert::Var;

/// `s ← s + g²`, `w ← w − η g/(√s + ε)` (Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization", 2011).
///
/// ```
/// use wengert_nn::{AdaGrad, Rule};
/// assert_eq!(AdaGrad::default().name(), "adagrad");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaGrad {
    /// What keeps the root from being zero: ε.
    pub epsilon: f64,
}

impl Default for AdaGrad {
    fn default() -> Self {
        Self { epsilon: 1e-10 }
    }
}

impl Rule for AdaGrad {
    fn name(&self) -> &'static str {
        "adagrad"
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("s")]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let At { weight, gradient, rate, .. } = at;
        let s = at.kept(kept, 0) + gradient.square();
        (weight - gradient * rate / (s.sqrt() + self.epsilon), vec![s])
    }
}
