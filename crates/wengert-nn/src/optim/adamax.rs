//! AdaMax.

use super::{At, Rule, Slot};
use wengert::Var;

/// `m ← β₁ m + (1 − β₁) g`, `u ← max(β₂ u, |g| + ε)`, `w ← w − η/(1 − β₁ⁿ) · m/u` at step n (Kingma and Ba, "Adam: a method for stochastic optimization", 2015, section 7).
///
/// ```
/// use wengert_nn::{AdaMax, Rule};
/// assert_eq!(AdaMax::default().name(), "adamax");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaMax {
    /// How much of the mean gradient stays, and of the largest: β₁ and β₂.
    pub betas: (f64, f64),
    /// What keeps the largest from being zero: ε.
    pub epsilon: f64,
}

impl Default for AdaMax {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), epsilon: 1e-8 }
    }
}

impl Rule for AdaMax {
    fn name(&self) -> &'static str {
        "adamax"
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("m"), Slot::zeros("u")]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let (b1, b2) = self.betas;
        let m = at.kept(kept, 0) * b1 + at.gradient * (1.0 - b1);
        let u = (at.kept(kept, 1) * b2).maximum(at.gradient.abs() + self.epsilon);
        let rate = at.rate / at.number(at.correction(b1));
        (at.weight - m * rate / u, vec![m, u])
    }
}
