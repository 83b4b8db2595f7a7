//! Lion.

use super::{At, Rule, Slot};
use wengert::Var;

/// `w ← w − η sign(β₁ m + (1 − β₁) g)`, `m ← β₂ m + (1 − β₂) g` (Chen et al., "Symbolic discovery of optimization algorithms", 2023, who decay weights
/// [decoupled](crate::Decay::Decoupled)).
///
/// ```
/// use wengert_nn::{Lion, Rule};
/// assert_eq!(Lion::default().slots().len(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// How much of the mean gradient counts for the step, and stays: β₁ and β₂.
    pub betas: (f64, f64),
}

impl Default for Lion {
    fn default() -> Self {
        Self { betas: (0.9, 0.99) }
    }
}

impl Rule for Lion {
    fn name(&self) -> &'static str {
        "lion"
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("m")]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let At { weight, gradient, rate, .. } = at;
        let mean = |beta: f64| at.kept(kept, 0) * beta + gradient * (1.0 - beta);
        (weight - mean(self.betas.0).sign() * rate, vec![mean(self.betas.1)])
    }
}
