//! Group normalization.

use wengert::{Recorder, State, Var};

use super::Layer;
use super::convolution::beside;
use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::init::Init;

/// `γ (x − mean)/√(var + ε) + β` of `[batch, channels, …]` over groups of channels and all axes behind them, with ε = 10⁻⁵ (Wu and He, "Group normalization", 2018).
///
/// ```
/// use wengert::DType::F64;
/// use wengert_nn::{Builder, GroupNorm, Layer};
/// let mut b = Builder::new(F64, 1);
/// let norm = GroupNorm::build(&mut b, 2, 4)?;
/// let t = wengert::Recorder::new(&b.states);
/// let y = norm.forward(&t, t.constant(ndarray::array![[1.0, 3.0, 5.0, 7.0]])).value()?.to_f64();
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[3] - 1.0).abs() < 1e-4);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    groups: usize,
    scale: State,
    shift: State,
}

impl GroupNorm {
    /// So many groups of so many channels in all: `weight` of ones and `bias` of zeros. An error unless the groups divide the channels.
    pub fn build(b: &mut Builder, groups: usize, channels: usize) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::Argument(format!("{channels} channels in {groups} groups")));
        }
        let scale = b.parameter("weight", [channels], Init::Constant(1.0), (1, 1))?;
        Ok(Self { groups, scale, shift: b.parameter("bias", [channels], Init::Constant(0.0), (1, 1))? })
    }
}

impl Layer for GroupNorm {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let behind = x.rank().saturating_sub(2);
        let (scale, shift) = (beside(t.state(self.scale), behind), beside(t.state(self.shift), behind));
        x.group_norm(self.groups, 1e-5) * scale + shift
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.scale, self.shift]
    }
}
