//! Layer normalization.

use wengert::{Recorder, State, Var};

use super::Layer;
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// `γ (x − mean)/√(var + ε) + β` over the last axis, with ε = 10⁻⁵ (Ba et al., "Layer normalization", 2016).
///
/// ```
/// use wengert::DType::F64;
/// use wengert_nn::{Builder, Layer, LayerNorm};
/// let mut b = Builder::new(F64, 1);
/// let norm = LayerNorm::build(&mut b, 2)?;
/// let t = wengert::Recorder::new(&b.states);
/// let y = norm.forward(&t, t.constant(ndarray::array![[1.0, 3.0]])).value()?.to_f64();
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    scale: State,
    shift: State,
}

impl LayerNorm {
    /// Of rows of so many numbers: `weight` of ones and `bias` of zeros.
    pub fn build(b: &mut Builder, size: usize) -> Result<Self> {
        let scale = b.parameter("weight", [size], Init::Constant(1.0), (1, 1))?;
        Ok(Self { scale, shift: b.parameter("bias", [size], Init::Constant(0.0), (1, 1))? })
    }
}

impl Layer for LayerNorm {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.layer_norm(-1, 1e-5) * t.state(self.scale) + t.state(self.shift)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.scale, self.shift]
    }
}
