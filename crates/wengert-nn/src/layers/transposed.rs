//! Transposed convolutions.

use wengert::{Conv, Recorder, State, Var};

use super::Layer;
use super::convolution::{beside, taps};
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// The transpose of a convolution of images or sequences, with a bias: with a stride they become larger (Dumoulin and Visin, "A guide to convolution arithmetic for deep
/// learning", 2016).
///
/// ```
/// use wengert::{Conv, DType::F32, Program};
/// use wengert_nn::{Builder, Init, Layer, TransposedConvolution};
/// let mut b = Builder::new(F32, 1);
/// let up = TransposedConvolution::build(&mut b, (4, 2), &[2, 2], Conv::new().stride(2), Init::He)?;
/// Program::record(&b.states, |t| {
///     let y = up.forward(t, t.input(F32, [8, 4, 5, 5]));
///     assert_eq!(y.shape()[..], [8, 2, 10, 10]);
///     t.outputs(y)
/// })?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransposedConvolution {
    weights: State,
    bias: State,
    conv: Conv,
    axes: usize,
}

impl TransposedConvolution {
    /// From so many channels to so many, by kernels of these sizes: `weight` `[in, out, size…]` and a zero `bias`. An error unless there are one or two sizes.
    pub fn build(
        b: &mut Builder,
        (inputs, outputs): (usize, usize),
        sizes: &[usize],
        conv: Conv,
        init: Init,
    ) -> Result<Self> {
        let taps = taps(sizes)?;
        let fans = (inputs.saturating_mul(taps), outputs.saturating_mul(taps));
        let weights = b.parameter("weight", &[&[inputs, outputs], sizes].concat()[..], init, fans)?;
        let bias = b.parameter("bias", [outputs], Init::Constant(0.0), fans)?;
        Ok(Self { weights, bias, conv, axes: sizes.len() })
    }
}

impl Layer for TransposedConvolution {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let (weights, conv) = (t.state(self.weights), self.conv.clone());
        let y = match self.axes {
            1 => x.conv_transpose1d(weights, conv),
            _ => x.conv_transpose2d(weights, conv),
        };
        y + beside(t.state(self.bias), self.axes)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.weights, self.bias]
    }
}
