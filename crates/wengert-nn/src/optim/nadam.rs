//! Adam with Nesterov's momentum.

use super::adam::means;
use super::{At, Rule, Slot};
use wengert::Var;

/// [`Adam`](crate::Adam) whose mean gradient is taken a step further, with a momentum that grows: `μₙ = β₁ (1 − ½ · 0.96^{n ψ})` (Dozat, "Incorporating Nesterov momentum
/// into Adam", 2016).
///
/// ```
/// use wengert_nn::{NAdam, Rule};
/// assert_eq!(NAdam::default().name(), "nadam");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// How much of the mean gradient stays at last, and of the mean square: β₁ and β₂.
    pub betas: (f64, f64),
    /// What keeps the root from being zero: ε.
    pub epsilon: f64,
    /// How fast the momentum grows: ψ.
    pub momentum_decay: f64,
}

impl Default for NAdam {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), epsilon: 1e-8, momentum_decay: 0.004 }
    }
}

impl Rule for NAdam {
    fn name(&self) -> &'static str {
        "nadam"
    }
    fn slots(&self) -> Vec<Slot> {
        let product = Slot { name: "momentum", start: 1.0, single: true };
        vec![Slot::zeros("m"), Slot::zeros("v"), product]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let t = at.step.recorder();
        let (m, v) = means(self.betas, at, kept);
        let momentum = |n: Var<'t>| {
            let grown = t.constant(0.96).pow(n * self.momentum_decay);
            (1.0 - grown * 0.5) * self.betas.0
        };
        let (now, next) = (momentum(at.step), momentum(at.step + 1.0));
        let product = kept.get(2).copied().unwrap_or_else(|| t.constant(1.0)) * now;
        let root = v.sqrt() * at.number(at.correction(self.betas.1).rsqrt()) + self.epsilon;
        let by_gradient = at.rate * at.number((1.0 - now) / (1.0 - product));
        let by_mean = at.rate * at.number(next / (1.0 - product * next));
        (at.weight - (at.gradient * by_gradient + m * by_mean) / root, vec![m, v, product])
    }
}
