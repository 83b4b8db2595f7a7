//! Cells applied step by step in time.

use wengert::{Recorder, State, Var};

use super::Layer;

/// What a recurrent layer does at each step.
pub trait Cell: Send + Sync {
    /// The numbers of a step's output.
    fn size(&self) -> usize;
    /// How many arrays of so many numbers are kept from step to step; the first of them is the output.
    fn kept(&self) -> usize {
        1
    }
    /// Records one step of inputs `[batch, inputs]`: the next of what is kept, `[batch, size]` each.
    fn step<'t>(&self, t: &'t Recorder, x: Var<'t>, kept: &[Var<'t>]) -> Vec<Var<'t>>;
    /// The states that training updates, in order.
    fn parameters(&self) -> Vec<State>;
}

/// A cell over a sequence `[batch, time, inputs]`, which begins with zeros: a row for each step, so that every derivative falls out of the tape. Its outputs are
/// `[batch, size]` after the last step, or `[batch, time, size]` after all.
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Builder, Gru, Layer, Recurrent};
/// let mut b = Builder::new(F32, 1);
/// let last = Recurrent::last(b.within("gru", |b| Gru::build(b, 28, 64))?);
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(last.forward(&t, t.full(F32, [2, 5, 28], 0.1)).shape()[..], [2, 64]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub struct Recurrent {
    cell: Box<dyn Cell>,
    all: bool,
}

impl Recurrent {
    /// The output after the last step.
    pub fn last(cell: impl Cell + 'static) -> Self {
        Self { cell: Box::new(cell), all: false }
    }

    /// The outputs after all steps.
    pub fn all(cell: impl Cell + 'static) -> Self {
        Self { cell: Box::new(cell), all: true }
    }
}

impl Layer for Recurrent {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let (batch, steps) = (x.dim(0), x.dim(1));
        let zeros = t.full(x.dtype(), [batch, self.cell.size()], 0.0);
        let mut kept = vec![zeros; self.cell.kept()];
        // Steps one behind the other, so that their products by the same weights are one.
        let x = x.swap_axes(0, 1);
        let mut outputs = Vec::with_capacity(steps);
        for step in 0..steps {
            kept = self.cell.step(t, x.at(step), &kept);
            outputs.extend(kept.first());
        }
        match outputs.last() {
            Some(_) if self.all => t.stack(outputs, 1),
            last => last.copied().unwrap_or(zeros),
        }
    }
    fn parameters(&self) -> Vec<State> {
        self.cell.parameters()
    }
}
