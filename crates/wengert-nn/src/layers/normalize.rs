//! Inputs of mean zero and deviation one.

use wengert::{Recorder, State, Var};

use super::Layer;
use crate::builder::Builder;
use crate::error::Result;

/// `y = (x − μ) / σ` with one mean and deviation of all inputs, which are measured once and not trained (LeCun et al., "Efficient backprop", 1998, §4.3).
///
/// ```
/// use wengert::DType::F64;
/// use wengert_nn::{Builder, Layer, Normalize};
/// let mut b = Builder::new(F64, 1);
/// let layer = b.within("normalize", Normalize::build)?;
/// let [mean, deviation] = layer.statistics()[..] else { unreachable!() };
/// b.states.set(mean, 3.0)?;
/// b.states.set(deviation, 2.0)?;
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(layer.forward(&t, t.constant(4.0)).value()?.item()?, 0.5);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Normalize {
    mean: State,
    deviation: State,
}

impl Normalize {
    /// `mean` and `deviation`, which leave inputs as they are until they are set.
    pub fn build(b: &mut Builder) -> Result<Self> {
        Ok(Self { mean: b.statistic("mean", [], 0.0)?, deviation: b.statistic("deviation", [], 1.0)? })
    }
}

impl Layer for Normalize {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        (x - t.state(self.mean)) / t.state(self.deviation)
    }
    fn statistics(&self) -> Vec<State> {
        vec![self.mean, self.deviation]
    }
}
