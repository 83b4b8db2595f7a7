//! Gradients of several batches as one.

use wengert::{Recorder, State, States, Tensor, Var};

use crate::error::Result;

/// Sums of gradients over micro-batches, as states: for batches that do not fit into memory at once.
///
/// ```
/// use wengert::{DType, Program, States};
/// use wengert_nn::{Accumulation, Momentum, Optimizer};
/// let mut states = States::new();
/// let w = states.add("w", 1.0)?;
/// let sgd = Optimizer::new(&mut states, Momentum::new(0.0), [vec![w].into()])?;
/// let sums = Accumulation::new(&mut states, &sgd.parameters())?;
/// // Two programs: one for each micro-batch, and one when they are done.
/// let add = Program::record(&states, |t| {
///     let x = t.input(DType::F64, []);
///     let loss = t.state(w) * x;
///     sums.add(t, loss, 0.5);
///     t.outputs(loss)
/// })?;
/// let apply = Program::record(&states, |t| {
///     sgd.apply(t, &sums.take(t), t.constant(0.1))?;
///     t.outputs([])
/// })?;
/// let mut workspace = add.workspace()?;
/// add.run(&mut workspace, &mut states, &2.0)?;
/// add.run(&mut workspace, &mut states, &4.0)?;
/// apply.run(&mut apply.workspace()?, &mut states, ())?;
/// assert!((states.get(w)?.item()? - 0.7).abs() < 1e-15, "1 − 0.1 · (2 + 4)/2");
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Accumulation {
    parameters: Vec<State>,
    sums: Vec<State>,
}

impl Accumulation {
    /// Adds a state `optim/NAME/sum` for each parameter.
    pub fn new(states: &mut States, parameters: &[State]) -> Result<Self> {
        let mut sums = Vec::with_capacity(parameters.len());
        for &parameter in parameters {
            let zeros = Tensor::filled(states.get(parameter)?.ty(), 0.0)?;
            let name = format!("optim/{}/sum", states.name(parameter).unwrap_or_default());
            sums.push(states.add(&name, zeros)?);
        }
        Ok(Self { parameters: parameters.to_vec(), sums })
    }

    /// Records that this share of the gradients of a loss is added: one over the number of micro-batches, for means.
    #[track_caller]
    pub fn add<'t>(&self, t: &'t Recorder, loss: Var<'t>, share: f64) {
        let parameters: Vec<Var<'t>> = self.parameters.iter().map(|&p| t.state(p)).collect();
        let gradients = loss.gradients(parameters.clone());
        for (&sum, w) in self.sums.iter().zip(parameters) {
            let sum = t.state(sum);
            t.update(sum, sum + gradients[w] * share);
        }
    }

    /// The sums, for [`Optimizer::apply`](crate::Optimizer::apply); they begin anew.
    #[track_caller]
    pub fn take<'t>(&self, t: &'t Recorder) -> Vec<Var<'t>> {
        let sums: Vec<Var<'t>> = self.sums.iter().map(|&sum| t.state(sum)).collect();
        for &sum in &sums {
            t.update(sum, t.full(sum.dtype(), sum.shape(), 0.0));
        }
        sums
    }
}
