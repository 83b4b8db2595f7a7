//! Optimisers: rows that turn gradients into next values.

use wengert::{Recorder, State, Var};

/// Stochastic gradient descent: `w ← w − η ∂loss/∂w`.
///
/// ```
/// use wengert::{Program, States};
/// use wengert_nn::Sgd;
/// let mut states = States::new();
/// let w = states.add("w", 4.0)?;
/// let step = Program::record(&states, |t| {
///     let loss = t.state(w) * t.state(w);
///     Sgd { learning_rate: 0.25 }.update(t, loss, &[w]);
///     t.outputs(loss)
/// })?;
/// step.run(&mut step.workspace()?, &mut states, ())?;
/// assert_eq!(states.get(w)?.item()?, 2.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The step size η.
    pub learning_rate: f64,
}

impl Sgd {
    /// Records the gradients of a scalar by these states and their next values.
    #[track_caller]
    pub fn update<'t>(&self, t: &'t Recorder, loss: Var<'t>, parameters: &[State]) {
        let parameters: Vec<Var<'t>> = parameters.iter().map(|&p| t.state(p)).collect();
        let gradients = loss.gradients(parameters);
        t.scope("sgd", || {
            for (w, g) in gradients.iter() {
                t.update(w, w - g * self.learning_rate);
            }
        });
    }
}
