//! Batch normalization.

use wengert::{Recorder, State, Var};

use super::convolution::beside;
use super::{Layer, Training};
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// `γ (x − mean)/√(var + ε) + β` of each channel of `[batch, channels, …]` (Ioffe and Szegedy, "Batch normalization", 2015): by mean and variance of the batch while the model is trained,
/// which are kept as running means; by those in use. As in PyTorch ε is 10⁻⁵, a tenth of each batch counts, and the variance that is kept is that of a sample.
///
/// ```
/// use wengert::{DType::F64, Program};
/// use wengert_nn::{BatchNorm, Builder, Layer, Training};
/// let mut b = Builder::new(F64, 1);
/// let norm = BatchNorm::build(&mut b, 2)?;
/// let step = Program::record(&b.states, |t| {
///     let (x, key) = (t.input(F64, [3, 2]), t.constant(0i64));
///     t.outputs(norm.training(&Training::new(t, key), x))
/// })?;
/// let x = ndarray::array![[1.0, 0.0], [2.0, 0.0], [3.0, 6.0]];
/// step.run(&mut step.workspace()?, &mut b.states, &x)?;
/// let mean = b.states.get(norm.statistics()[0])?.to_f64();
/// assert!((mean[0] - 0.2).abs() < 1e-15 && (mean[1] - 0.2).abs() < 1e-15);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    scale: State,
    shift: State,
    mean: State,
    variance: State,
}

impl BatchNorm {
    const EPSILON: f64 = 1e-5;
    const MOMENTUM: f64 = 0.1;

    /// Of so many channels: `weight` of ones and `bias` of zeros, and the statistics `running_mean` and `running_var`.
    pub fn build(b: &mut Builder, channels: usize) -> Result<Self> {
        Ok(Self {
            scale: b.parameter("weight", [channels], Init::Constant(1.0), (1, 1))?,
            shift: b.parameter("bias", [channels], Init::Constant(0.0), (1, 1))?,
            mean: b.statistic("running_mean", [channels], 0.0)?,
            variance: b.statistic("running_var", [channels], 1.0)?,
        })
    }

    fn scaled<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let behind = x.rank().saturating_sub(2);
        x * beside(t.state(self.scale), behind) + beside(t.state(self.shift), behind)
    }
}

impl Layer for BatchNorm {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let (mean, variance) = (t.state(self.mean), t.state(self.variance));
        self.scaled(t, x.batch_norm_with(mean, variance, Self::EPSILON))
    }
    fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        let t = training.recorder();
        let (y, mean, variance) = x.batch_norm(Self::EPSILON);
        let channels = x.shape().get(1).copied().unwrap_or(1).max(1);
        let count = (x.shape().elements() / channels) as f64;
        let sample = variance * (count / (count - 1.0).max(1.0));
        for (kept, found) in [(self.mean, mean), (self.variance, sample)] {
            let kept = t.state(kept);
            t.update(kept, kept * (1.0 - Self::MOMENTUM) + found * Self::MOMENTUM);
        }
        self.scaled(t, y)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.scale, self.shift]
    }
    fn statistics(&self) -> Vec<State> {
        vec![self.mean, self.variance]
    }
}
