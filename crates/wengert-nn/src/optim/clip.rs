//! Gradients made smaller.

use wengert::Var;

/// How gradients are kept from being large.
///
/// ```
/// use wengert_nn::Clip;
/// let t = wengert::Recorder::default();
/// let clipped = Clip::Norm(1.0).apply(&[t.constant(3.0), t.constant(4.0)]);
/// assert!((clipped[1].value()?.item()? - 0.8).abs() < 1e-6);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Each number to within −c … c.
    Value(f64),
    /// All numbers by one factor, so that the root of the sum of their squares is at most this (Pascanu et al., "On the difficulty of training
    /// recurrent neural networks", 2013).
    Norm(f64),
}

impl Clip {
    /// Records clipped gradients.
    #[track_caller]
    pub fn apply<'t>(self, gradients: &[Var<'t>]) -> Vec<Var<'t>> {
        match self {
            Self::Value(most) => gradients.iter().map(|&g| g.clamp(-most, most)).collect(),
            Self::Norm(most) => {
                let Some(norm) = norm(gradients) else { return Vec::new() };
                // The small number is that of PyTorch, so that trajectories are alike.
                let factor = (most / (norm + 1e-6)).minimum(1.0);
                gradients.iter().map(|&g| g * factor.cast(g.dtype())).collect()
            }
        }
    }
}

/// The root of the sum of all squares; `None` of nothing.
pub(crate) fn norm<'t>(gradients: &[Var<'t>]) -> Option<Var<'t>> {
    let (&first, rest) = gradients.split_first()?;
    let squares = |g: Var<'t>| g.square().sum(()).cast(first.dtype());
    Some(rest.iter().fold(squares(first), |sum, &g| sum + squares(g)).sqrt())
}
