//! Embeddings.

use wengert::{Recorder, State, Var};

use super::Layer;
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// The row of a table for each integer (Bengio et al., "A neural probabilistic language model", 2003): of `[…]` numbers `[…, size]`.
///
/// ```
/// use wengert::DType::F64;
/// use wengert_nn::{Builder, Embedding, Init, Layer};
/// let mut b = Builder::new(F64, 1);
/// let table = Embedding::build(&mut b, 10, 3, Init::Normal(1.0))?;
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(table.forward(&t, t.constant(ndarray::array![[1i64, 7]])).shape()[..], [1, 2, 3]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    table: State,
}

impl Embedding {
    /// So many rows of so many numbers: `weight`.
    pub fn build(b: &mut Builder, rows: usize, size: usize, init: Init) -> Result<Self> {
        Ok(Self { table: b.parameter("weight", [rows, size], init, (rows, size))? })
    }
}

impl Layer for Embedding {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        t.state(self.table).gather(x)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.table]
    }
}
