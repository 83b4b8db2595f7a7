//! Adam, and what differs from it little.

use super::{At, Rule, Slot};
use wengert::Var;

/// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `w ← w − η m̂/(√v̂ + ε)` with `m̂ = m/(1 − β₁ⁿ)` and `v̂ = v/(1 − β₂ⁿ)` at step n (Kingma and Ba, "Adam: a method
/// for stochastic optimization", 2015). With [decoupled](crate::Decay::Decoupled) decay it is AdamW.
///
/// ```
/// use wengert_nn::{Adam, Rule};
/// assert_eq!(Adam::default().name(), "adam");
/// assert_eq!(Adam { amsgrad: true, ..Adam::default() }.slots().len(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// How much of the mean gradient stays, and of the mean square: β₁ and β₂.
    pub betas: (f64, f64),
    /// What keeps the root from being zero: ε.
    pub epsilon: f64,
    /// Whether the root is of the largest `v` so far (Reddi et al., "On the convergence of Adam and beyond", 2018).
    pub amsgrad: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), epsilon: 1e-8, amsgrad: false }
    }
}

/// Both means of Adam and its like.
pub(super) fn means<'t>((b1, b2): (f64, f64), at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Var<'t>) {
    let gradient = at.gradient;
    let m = at.kept(kept, 0) * b1 + gradient * (1.0 - b1);
    (m, at.kept(kept, 1) * b2 + gradient.square() * (1.0 - b2))
}

impl Rule for Adam {
    fn name(&self) -> &'static str {
        if self.amsgrad { "amsgrad" } else { "adam" }
    }
    fn slots(&self) -> Vec<Slot> {
        let all = [Slot::zeros("m"), Slot::zeros("v"), Slot::zeros("v_max")];
        all[..if self.amsgrad { 3 } else { 2 }].to_vec()
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let (m, v) = means(self.betas, at, kept);
        let mut next = vec![m, v];
        let v = match kept.get(2) {
            Some(&most) => {
                next.push(most.maximum(v));
                next[2]
            }
            None => v,
        };
        // One factor for each root and each mean, so that arrays are read once.
        let rate = at.rate / at.number(at.correction(self.betas.0));
        let root = v.sqrt() * at.number(at.correction(self.betas.1).rsqrt()) + self.epsilon;
        (at.weight - m * rate / root, next)
    }
}
