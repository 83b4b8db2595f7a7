//! Gated recurrent units.

use wengert::{Recorder, State, Var};

use super::recurrent::Cell;
use super::rnn::Gates;
use crate::builder::Builder;
use crate::error::Result;

/// `r = σ(xW_r + hU_r)`, `z = σ(xW_z + hU_z)`, `n = tanh(xW_n + r · hU_n)`, `h ← (1 − z) n + z h`, each with biases (Cho et al., "Learning phrase representations using RNN encoder-decoder",
/// 2014, with the reset behind the product, as PyTorch and cuDNN have it).
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Builder, Gru, RecurrentCell};
/// let mut b = Builder::new(F32, 1);
/// let gru = b.within("gru", |b| Gru::build(b, 3, 4))?;
/// assert_eq!(b.states.get(gru.parameters()[0])?.shape()[..], [3, 12]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gru(Gates);

impl Gru {
    /// From so many inputs to so many outputs: the gates r, z and n side by side in `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
    pub fn build(b: &mut Builder, inputs: usize, size: usize) -> Result<Self> {
        Gates::build(b, inputs, size, 3).map(Self)
    }
}

impl Cell for Gru {
    fn size(&self) -> usize {
        self.0.size
    }
    fn step<'t>(&self, t: &'t Recorder, x: Var<'t>, kept: &[Var<'t>]) -> Vec<Var<'t>> {
        let h = self.0.kept(kept, 0, x);
        let (by_input, by_output) = self.0.of(t, x, h);
        let both = |gate| (self.0.gate(by_input, gate), self.0.gate(by_output, gate));
        let sigmoid = |gate| {
            let (a, b) = both(gate);
            (a + b).sigmoid()
        };
        let (reset, update) = (sigmoid(0), sigmoid(1));
        let (a, b) = both(2);
        let new = (a + reset * b).tanh();
        vec![new + update * (h - new)]
    }
    fn parameters(&self) -> Vec<State> {
        self.0.parameters()
    }
}
