//! Convolutions.

use wengert::{Conv, Recorder, State, Var};

use super::Layer;
use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::init::Init;

/// `x ∗ W + b` of images `[batch, channels, height, width]` or sequences `[batch, channels, length]` (LeCun et al., "Gradient-based learning applied to document recognition", 1998):
/// what PyTorch calls `Conv2d` and `Conv1d`, by the sizes of its kernel.
///
/// ```
/// use wengert::{Conv, DType::F32, Program};
/// use wengert_nn::{Builder, Convolution, Init, Layer};
/// let mut b = Builder::new(F32, 1);
/// let conv = b.within("conv1", |b| Convolution::build(b, (1, 4), &[3, 3], Conv::new().padding(1), 1, Init::He))?;
/// assert_eq!(b.states.name(conv.parameters()[0]), Some("conv1.weight"));
/// Program::record(&b.states, |t| {
///     let y = conv.forward(t, t.input(F32, [8, 1, 10, 10]));
///     assert_eq!(y.shape()[..], [8, 4, 10, 10]);
///     t.outputs(y)
/// })?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Convolution {
    weights: State,
    bias: State,
    conv: Conv,
    axes: usize,
}

impl Convolution {
    /// From so many channels to so many in so many groups, by kernels of these sizes: `weight` `[out, in / groups, size…]` and a zero `bias`. An error unless there
    /// are one or two sizes, and the groups divide the channels.
    pub fn build(
        b: &mut Builder,
        (inputs, outputs): (usize, usize),
        sizes: &[usize],
        conv: Conv,
        groups: usize,
        init: Init,
    ) -> Result<Self> {
        let taps = taps(sizes)?;
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(Error::Argument(format!("{inputs} and {outputs} channels in {groups} groups")));
        }
        let fans = ((inputs / groups).saturating_mul(taps), (outputs / groups).saturating_mul(taps));
        let weights =
            b.parameter("weight", &[&[outputs, inputs / groups], sizes].concat()[..], init, fans)?;
        let bias = b.parameter("bias", [outputs], Init::Constant(0.0), fans)?;
        Ok(Self { weights, bias, conv: conv.groups(groups), axes: sizes.len() })
    }
}

/// The places of a kernel; an error unless it has one size or two.
pub(super) fn taps(sizes: &[usize]) -> Result<usize> {
    match sizes.len() {
        1 | 2 => Ok(sizes.iter().fold(1, |taps, &size| taps.saturating_mul(size))),
        found => Err(Error::Argument(format!("a kernel of {found} sizes: expected one or two"))),
    }
}

/// A bias of each channel, beside so many axes.
#[track_caller]
pub(super) fn beside<'t>(bias: Var<'t>, axes: usize) -> Var<'t> {
    (0..axes).fold(bias, |b, _| b.insert_axis(-1))
}

impl Layer for Convolution {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let (weights, conv) = (t.state(self.weights), self.conv.clone());
        let y = if self.axes == 1 { x.conv1d(weights, conv) } else { x.conv2d(weights, conv) };
        y + beside(t.state(self.bias), self.axes)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.weights, self.bias]
    }
}
