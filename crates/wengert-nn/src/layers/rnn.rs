//! Elman's recurrent cell.

use wengert::{Recorder, State, Var};

use super::recurrent::Cell;
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// The weights of a recurrent cell with so many gates: `x W + b` and `h U + c`, each for all gates side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gates {
    by_input: State,
    by_output: State,
    input_bias: State,
    output_bias: State,
    pub(super) size: usize,
}

impl Gates {
    /// `weight_ih` `[inputs, gates · size]`, `weight_hh` `[size, gates · size]`, `bias_ih` and `bias_hh`, uniform to 1/√size as in PyTorch.
    pub(super) fn build(b: &mut Builder, inputs: usize, size: usize, gates: usize) -> Result<Self> {
        let fans = (size, size);
        Ok(Self {
            by_input: b.parameter("weight_ih", [inputs, gates.saturating_mul(size)], Init::Fan, fans)?,
            by_output: b.parameter("weight_hh", [size, gates.saturating_mul(size)], Init::Fan, fans)?,
            input_bias: b.parameter("bias_ih", [gates.saturating_mul(size)], Init::Fan, fans)?,
            output_bias: b.parameter("bias_hh", [gates.saturating_mul(size)], Init::Fan, fans)?,
            size,
        })
    }

    /// What inputs give to all gates, and what the last output gives.
    pub(super) fn of<'t>(&self, t: &'t Recorder, x: Var<'t>, h: Var<'t>) -> (Var<'t>, Var<'t>) {
        let by_input = x.matmul(t.state(self.by_input)) + t.state(self.input_bias);
        (by_input, h.matmul(t.state(self.by_output)) + t.state(self.output_bias))
    }

    /// What is kept in this place; zeros where nothing is given.
    pub(super) fn kept<'t>(&self, kept: &[Var<'t>], place: usize, x: Var<'t>) -> Var<'t> {
        let zeros = || x.recorder().full(x.dtype(), [x.dim(0), self.size], 0.0);
        kept.get(place).copied().unwrap_or_else(zeros)
    }

    /// The numbers of one gate.
    pub(super) fn gate<'t>(&self, all: Var<'t>, gate: usize) -> Var<'t> {
        all.slice(-1, gate * self.size..(gate + 1) * self.size)
    }

    pub(super) fn parameters(&self) -> Vec<State> {
        vec![self.by_input, self.by_output, self.input_bias, self.output_bias]
    }
}

/// `h ← tanh(x W + b + h U + c)` (Elman, "Finding structure in time", 1990).
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Builder, Layer, Recurrent, Rnn};
/// let mut b = Builder::new(F32, 1);
/// let all = Recurrent::all(Rnn::build(&mut b, 3, 4)?);
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(all.forward(&t, t.full(F32, [2, 5, 3], 0.1)).shape()[..], [2, 5, 4]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rnn(Gates);

impl Rnn {
    /// From so many inputs to so many outputs, with the names of PyTorch: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
    pub fn build(b: &mut Builder, inputs: usize, size: usize) -> Result<Self> {
        Gates::build(b, inputs, size, 1).map(Self)
    }
}

impl Cell for Rnn {
    fn size(&self) -> usize {
        self.0.size
    }
    fn step<'t>(&self, t: &'t Recorder, x: Var<'t>, kept: &[Var<'t>]) -> Vec<Var<'t>> {
        let (by_input, by_output) = self.0.of(t, x, self.0.kept(kept, 0, x));
        vec![(by_input + by_output).tanh()]
    }
    fn parameters(&self) -> Vec<State> {
        self.0.parameters()
    }
}
