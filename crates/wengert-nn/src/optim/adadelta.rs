//! AdaDelta.

use super::{At, Rule, Slot};
use wengert::Var;

/// `s ← ρ s + (1 − ρ) g²`, `d = √(u + ε)/√(s + ε) · g`, `u ← ρ u + (1 − ρ) d²`, `w ← w − η d` (Zeiler, "ADADELTA: an adaptive learning rate method",
/// 2012, where η is 1).
///
/// ```
/// use wengert_nn::{AdaDelta, Rule};
/// assert_eq!(AdaDelta::default().slots().len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaDelta {
    /// How much of the mean squares stays: ρ.
    pub decay: f64,
    /// What keeps the roots from being zero: ε.
    pub epsilon: f64,
}

impl Default for AdaDelta {
    fn default() -> Self {
        Self { decay: 0.9, epsilon: 1e-6 }
    }
}

impl Rule for AdaDelta {
    fn name(&self) -> &'static str {
        "adadelta"
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("s"), Slot::zeros("u")]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let At { weight, gradient, rate, .. } = at;
        let mean = |old: Var<'t>, x: Var<'t>| old * self.decay + x.square() * (1.0 - self.decay);
        let (s, u) = (mean(at.kept(kept, 0), gradient), at.kept(kept, 1));
        let change = (u + self.epsilon).sqrt() / (s + self.epsilon).sqrt() * gradient;
        (weight - change * rate, vec![s, mean(u, change)])
    }
}
