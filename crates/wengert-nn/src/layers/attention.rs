//! Attention of several heads.

use wengert::{Recorder, State, Var};

use super::{Affine, Layer};
use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::init::Init;

/// Attention of a sequence `[batch, time, size]` to itself by several heads, each over a share of the numbers, brought together by a matrix (Vaswani et al., "Attention is all
/// you need", 2017). Where `causal` is said a step sees none behind it.
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Attention, Builder, Layer};
/// let mut b = Builder::new(F32, 1);
/// let attention = b.within("attention", |b| Attention::build(b, 8, 2, false))?;
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(attention.forward(&t, t.full(F32, [2, 5, 8], 0.1)).shape()[..], [2, 5, 8]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    query: Affine,
    key: Affine,
    value: Affine,
    output: Affine,
    heads: usize,
    causal: bool,
}

impl Attention {
    /// So many heads over rows of so many numbers: the affine layers `query`, `key`, `value` and `output`. An error unless the heads divide the numbers.
    pub fn build(b: &mut Builder, size: usize, heads: usize, causal: bool) -> Result<Self> {
        if heads == 0 || !size.is_multiple_of(heads) {
            return Err(Error::Argument(format!("{size} numbers for {heads} heads")));
        }
        let mut affine = |name| b.within(name, |b| Affine::build(b, (size, size), Init::GlorotUniform));
        let (query, key, value, output) =
            (affine("query")?, affine("key")?, affine("value")?, affine("output")?);
        Ok(Self { query, key, value, output, heads, causal })
    }
}

impl Layer for Attention {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let (batch, time, size) = (x.dim(0), x.dim(1), x.dim(2));
        let heads = |layer: &Affine| {
            let rows = layer.forward(t, x).reshape([batch, time, self.heads, size / self.heads]);
            rows.swap_axes(1, 2)
        };
        let mask = self.causal.then(|| {
            let steps = t.arange(time);
            steps.insert_axis(-1).ge(steps)
        });
        let seen = heads(&self.query).attention(heads(&self.key), heads(&self.value), mask);
        self.output.forward(t, seen.swap_axes(1, 2).reshape([batch, time, size]))
    }
    fn parameters(&self) -> Vec<State> {
        [&self.query, &self.key, &self.value, &self.output]
            .iter()
            .flat_map(|layer| layer.parameters())
            .collect()
    }
}
