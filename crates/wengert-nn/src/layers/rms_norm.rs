//! Root mean square normalization.

use wengert::{Recorder, State, Var};

use super::Layer;
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// `γ x/√(mean x² + ε)` over the last axis, with ε = 10⁻⁶ (Zhang and Sennrich, "Root mean square layer normalization", 2019).
///
/// ```
/// use wengert::DType::F64;
/// use wengert_nn::{Builder, Layer, RmsNorm};
/// let mut b = Builder::new(F64, 1);
/// let norm = RmsNorm::build(&mut b, 2)?;
/// let t = wengert::Recorder::new(&b.states);
/// let y = norm.forward(&t, t.constant(ndarray::array![[2.0, -2.0]])).value()?.to_f64();
/// assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] + 1.0).abs() < 1e-6);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    scale: State,
}

impl RmsNorm {
    /// Of rows of so many numbers: `weight` of ones.
    pub fn build(b: &mut Builder, size: usize) -> Result<Self> {
        Ok(Self { scale: b.parameter("weight", [size], Init::Constant(1.0), (1, 1))? })
    }
}

impl Layer for RmsNorm {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.rms_norm(-1, 1e-6) * t.state(self.scale)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.scale]
    }
}
