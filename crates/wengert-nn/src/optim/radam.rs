//! Rectified Adam.

use super::adam::means;
use super::{At, Rule, Slot};
use wengert::Var;

/// [`Adam`](crate::Adam) that divides by the root only once enough squares are known, and by how well they are known (Liu et al., "On the variance of the adaptive
/// learning rate and beyond", 2020).
///
/// ```
/// use wengert_nn::{RAdam, Rule};
/// assert_eq!(RAdam::default().name(), "radam");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    /// How much of the mean gradient stays, and of the mean square: β₁ and β₂.
    pub betas: (f64, f64),
    /// What keeps the root from being zero: ε.
    pub epsilon: f64,
}

impl Default for RAdam {
    fn default() -> Self {
        Self { betas: (0.9, 0.999), epsilon: 1e-8 }
    }
}

impl Rule for RAdam {
    fn name(&self) -> &'static str {
        "radam"
    }
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("m"), Slot::zeros("v")]
    }
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>) {
        let (m, v) = means(self.betas, at, kept);
        let b2 = self.betas.1;
        // The length of the average, as if all squares counted alike: at last, and now.
        let last = 2.0 / (1.0 - b2) - 1.0;
        let known = at.correction(b2);
        let length = last - at.step * (1.0 - known) * 2.0 / known;
        let enough = length.gt(5.0);
        let of = |x: Var<'t>| (x - 4.0) * (x - 2.0) / x;
        let most = (last - 4.0) * (last - 2.0) / last;
        // Below 5 the root is of something negative, which nobody chooses.
        let rectified = (of(enough.select(length, last)) / most * known).sqrt();
        let rate = at.rate / at.number(at.correction(self.betas.0));
        let adaptive = at.number(rectified) / (v.sqrt() + self.epsilon);
        let by = enough.select(adaptive, 1.0);
        (at.weight - m * rate * by, vec![m, v])
    }
}
