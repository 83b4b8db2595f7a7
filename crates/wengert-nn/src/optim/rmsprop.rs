//! RMSProp.

use super::{At, Rule, Slot};
use wengert::Var;

/// `s ← ρ s + (1 − ρ) g²`, `w ← w − η g/(√s + ε)` (Tieleman and Hinton, "Lecture 6.5: RMSProp", Coursera, 2012).
///
/// ```
/// use wengert_nn::{RmsProp, Rule};
/// assert_eq!(RmsProp::default().name(), "rmsprop");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// How much of the mean square stays: ρ.
    pub decay: f64,
    /// What keeps the root from being zero: ε.
    pub epsilon: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { decay: 0.99, epsilon: 1e-8 }
    }
}

impl Rule for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("s")]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let At { weight, gradient, rate, .. } = at;
        let s = at.kept(kept, 0) * self.decay + gradient.square() * (1.0 - self.decay);
        (weight - gradient * rate / (s.sqrt() + self.epsilon), vec![s])
    }
}
