//! Long short-term memory.

use wengert::{Recorder, State, Var};

use super::recurrent::Cell;
use super::rnn::Gates;
use crate::builder::Builder;
use crate::error::Result;

/// `c ← σ(f) c + σ(i) tanh(g)`, `h ← σ(o) tanh(c)`, where each gate is `xW + hU` with biases (Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate
/// of Gers et al., "Learning to forget", 2000).
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Builder, Layer, Lstm, Recurrent};
/// let mut b = Builder::new(F32, 1);
/// let last = Recurrent::last(Lstm::build(&mut b, 3, 4)?);
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(last.forward(&t, t.full(F32, [2, 5, 3], 0.1)).shape()[..], [2, 4]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lstm(Gates);

impl Lstm {
    /// From so many inputs to so many outputs: the gates i, f, g and o side by side, as in PyTorch, in `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
    pub fn build(b: &mut Builder, inputs: usize, size: usize) -> Result<Self> {
        Gates::build(b, inputs, size, 4).map(Self)
    }
}

impl Cell for Lstm {
    fn size(&self) -> usize {
        self.0.size
    }
    fn kept(&self) -> usize {
        2
    }
    fn step<'t>(&self, t: &'t Recorder, x: Var<'t>, kept: &[Var<'t>]) -> Vec<Var<'t>> {
        let (by_input, by_output) = self.0.of(t, x, self.0.kept(kept, 0, x));
        let all = by_input + by_output;
        let gate = |n| self.0.gate(all, n);
        let cell = gate(1).sigmoid() * self.0.kept(kept, 1, x) + gate(0).sigmoid() * gate(2).tanh();
        vec![gate(3).sigmoid() * cell.tanh(), cell]
    }
    fn parameters(&self) -> Vec<State> {
        self.0.parameters()
    }
}
