//! Running averages of weights.

use wengert::{ErrorKind, Recorder, State, States, Var};

use crate::error::Result;

/// An exponential average of parameters, `a ← β a + (1 − β) w`: often better than the last of them (Polyak and Juditsky, "Acceleration of stochastic
/// approximation by averaging", 1992).
///
/// ```
/// use wengert::{Program, States};
/// use wengert_nn::{Average, Momentum, Optimizer};
/// let mut states = States::new();
/// let w = states.add("w", 1.0)?;
/// let sgd = Optimizer::new(&mut states, Momentum::new(0.0), [vec![w].into()])?;
/// let average = Average::new(&mut states, &[w], 0.5)?;
/// let step = Program::record(&states, |t| {
///     let next = sgd.update(t, t.state(w), t.constant(1.0))?;
///     average.update(t, &next)?;
///     t.outputs([])
/// })?;
/// step.run(&mut step.workspace()?, &mut states, ())?;
/// assert_eq!(states.get(average.states()[0])?.item()?, 0.5, "of 1 and 0");
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Average {
    decay: f64,
    averages: Vec<State>,
}

impl Average {
    /// Adds a state `ema/NAME` for each parameter, which begins as that is; `decay` is β.
    pub fn new(states: &mut States, parameters: &[State], decay: f64) -> Result<Self> {
        let mut averages = Vec::with_capacity(parameters.len());
        for &parameter in parameters {
            let name = format!("ema/{}", states.name(parameter).unwrap_or_default());
            let value = states.get(parameter)?.clone();
            averages.push(states.add(&name, value)?);
        }
        Ok(Self { decay, averages })
    }

    /// The averages, in the order of the parameters.
    pub fn states(&self) -> &[State] {
        &self.averages
    }

    /// Records the next averages from the next values of the parameters, in their order. An error unless there is one for each.
    #[track_caller]
    pub fn update<'t>(&self, t: &'t Recorder, next: &[Var<'t>]) -> wengert::Result<()> {
        if next.len() != self.averages.len() {
            let what = format!("expected {} next values, found {}", self.averages.len(), next.len());
            return Err(ErrorKind::Argument(what).into());
        }
        for (&average, &next) in self.averages.iter().zip(next) {
            let average = t.state(average);
            t.update(average, average * self.decay + next * (1.0 - self.decay));
        }
        Ok(())
    }
}
