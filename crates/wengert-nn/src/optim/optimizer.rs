//! An update rule with its states, for the parameters of a model.

use wengert::{ErrorKind, Recorder, State, States, Tensor, Var};

use super::Clip;
use crate::error::{Error, Result};

/// One parameter at a step: what its next value is made of.
#[derive(Clone, Copy)]
pub struct At<'t> {
    /// Its value.
    pub weight: Var<'t>,
    /// The gradient of the loss by it.
    pub gradient: Var<'t>,
    /// The learning rate, a number of the parameter's type.
    pub rate: Var<'t>,
    /// The number of the step, from 1 on, in f64.
    pub step: Var<'t>,
}

impl<'t> At<'t> {
    /// `1 − βⁿ` at step n: by what an average that began at zero is too small. Computed in f64, for f32 would keep few of its digits.
    pub(super) fn correction(self, decay: f64) -> Var<'t> {
        let t = self.step.recorder();
        1.0 - t.constant(decay).pow(self.step)
    }

    /// What is kept in the place of this slot; zeros, as at the start, where nothing is given.
    pub(super) fn kept(self, kept: &[Var<'t>], slot: usize) -> Var<'t> {
        kept.get(slot).copied().unwrap_or_else(|| self.weight.fill(0.0))
    }

    /// A number that was computed in f64, in the parameter's type.
    pub(super) fn number(self, x: Var<'t>) -> Var<'t> {
        x.cast(self.weight.dtype())
    }
}

/// What a rule keeps for each parameter between steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: &'static str,
    /// What it is at the start.
    pub start: f64,
    /// Whether it is one number in f64, and not an array like the parameter.
    pub single: bool,
}

impl Slot {
    /// An array like the parameter, of zeros at the start.
    pub const fn zeros(name: &'static str) -> Self {
        Self { name, start: 0.0, single: false }
    }
}

/// How a parameter goes on from its gradient: an algorithm, without the states that it keeps. [`Optimizer`] has those.
pub trait Rule: Send + Sync {
    /// The name, as people write it.
    fn name(&self) -> &'static str;
    /// What is kept for each parameter.
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }
    /// Records the next value of a parameter, and of what is kept for it.
    fn step<'t>(&self, at: At<'t>, kept: &[Var<'t>]) -> (Var<'t>, Vec<Var<'t>>);
}

/// How large parameters are kept small.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// Not at all.
    #[default]
    None,
    /// `λ w` is added to the gradient, as the derivative of `½ λ w²` would be.
    Coupled(f64),
    /// `η λ w` is taken off, whatever the rule makes of the gradient (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
    Decoupled(f64),
}

/// Parameters that are treated alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The states to train.
    pub parameters: Vec<State>,
    /// How they are kept small.
    pub decay: Decay,
}

impl From<Vec<State>> for Group {
    /// Parameters that are not kept small.
    fn from(parameters: Vec<State>) -> Self {
        Self { parameters, decay: Decay::None }
    }
}

/// A parameter, how it is kept small, and the states that the rule keeps for it.
struct Entry {
    parameter: State,
    decay: Decay,
    kept: Vec<State>,
}

/// An update rule and all that it keeps, as states beside the parameters: a step reads and writes them like those, in place.
///
/// ```
/// use wengert::{DType, Program, States};
/// use wengert_nn::{Adam, Optimizer};
/// let mut states = States::new();
/// let w = states.add("w", 4.0)?;
/// let adam = Optimizer::new(&mut states, Adam::default(), [vec![w].into()])?;
/// let step = Program::record(&states, |t| {
///     let rate = t.input(DType::F64, []);
///     let loss = t.state(w).square();
///     adam.update(t, loss, rate)?;
///     t.outputs(loss)
/// })?;
/// let mut workspace = step.workspace()?;
/// for _ in 0..100 {
///     step.run(&mut workspace, &mut states, &0.1)?;
/// }
/// assert!(states.get(w)?.item()?.abs() < 0.5);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub struct Optimizer {
    rule: Box<dyn Rule>,
    entries: Vec<Entry>,
    clip: Option<Clip>,
    step: State,
}

impl Optimizer {
    /// Adds the states of a rule for groups of parameters: `optim/step`, and for each parameter `optim/NAME/SLOT`. An error where a
    /// parameter is named twice, is no float, or such a state is there already.
    pub fn new(
        states: &mut States,
        rule: impl Rule + 'static,
        groups: impl IntoIterator<Item = Group>,
    ) -> Result<Self> {
        Self::boxed(states, Box::new(rule), groups)
    }

    /// The same for a rule that was chosen at run time.
    pub fn boxed(
        states: &mut States,
        rule: Box<dyn Rule>,
        groups: impl IntoIterator<Item = Group>,
    ) -> Result<Self> {
        let step = states.add("optim/step", 0.0f64)?;
        let mut entries: Vec<Entry> = Vec::new();
        for Group { parameters, decay } in groups {
            for parameter in parameters {
                let ty = states.get(parameter)?.ty();
                let name = states.name(parameter).unwrap_or_default().to_owned();
                if entries.iter().any(|entry| entry.parameter == parameter) {
                    return Err(Error::Argument(format!("the parameter {name} is in two groups")));
                }
                if !ty.dtype.is_float() {
                    return Err(Error::Argument(format!("the parameter {name} is {ty}: expected floats")));
                }
                let keep = |slot: Slot| {
                    let start = match slot.single {
                        true => Tensor::scalar(slot.start),
                        false => Tensor::filled(ty, slot.start)?,
                    };
                    states.add(&format!("optim/{name}/{}", slot.name), start)
                };
                let kept = rule.slots().into_iter().map(keep).collect::<wengert::Result<_>>()?;
                entries.push(Entry { parameter, decay, kept });
            }
        }
        Ok(Self { rule, entries, clip: None, step })
    }

    /// The same with gradients that are made smaller before the rule sees them.
    #[must_use]
    pub fn with_clip(self, clip: Clip) -> Self {
        Self { clip: Some(clip), ..self }
    }

    /// The name of the rule.
    pub fn name(&self) -> &'static str {
        self.rule.name()
    }

    /// The parameters, in the order of their groups.
    pub fn parameters(&self) -> Vec<State> {
        self.entries.iter().map(|entry| entry.parameter).collect()
    }

    /// Records the gradients of a scalar by the parameters, and the next values of those and of all that is kept. `rate` is the learning rate,
    /// one float: an input or a state. Returns the next values of the parameters. An error where the rate is an array.
    #[track_caller]
    pub fn update<'t>(&self, t: &'t Recorder, loss: Var<'t>, rate: Var<'t>) -> wengert::Result<Vec<Var<'t>>> {
        let parameters: Vec<Var<'t>> = self.entries.iter().map(|entry| t.state(entry.parameter)).collect();
        let found = loss.gradients(parameters.clone());
        let gradients: Vec<Var<'t>> = parameters.iter().map(|&w| found[w]).collect();
        self.apply(t, &gradients, rate)
    }

    /// The same for gradients that are at hand, one for each parameter in their order: those of several batches together, say. An error unless there is one of its
    /// shape for each.
    #[track_caller]
    pub fn apply<'t>(
        &self,
        t: &'t Recorder,
        gradients: &[Var<'t>],
        rate: Var<'t>,
    ) -> wengert::Result<Vec<Var<'t>>> {
        // What has another shape might be broadcast, and go unnoticed.
        let wrong = |what: String| Err(ErrorKind::Argument(what).into());
        if gradients.len() != self.entries.len() {
            let (found, due) = (gradients.len(), self.entries.len());
            return wrong(format!("expected {due} gradients, one for each parameter, found {found}"));
        }
        for (entry, gradient) in self.entries.iter().zip(gradients) {
            let (due, found) = (t.state(entry.parameter).shape(), gradient.shape());
            if due != found {
                return wrong(format!(
                    "expected a gradient of the shape {due} of its parameter, found {found}"
                ));
            }
        }
        if rate.rank() > 0 {
            return wrong(format!("expected one number as the learning rate, found {}", rate.ty()));
        }
        Ok(t.scope(self.rule.name(), || {
            let gradients = match self.clip {
                Some(clip) => clip.apply(gradients),
                None => gradients.to_vec(),
            };
            let count = t.state(self.step);
            let step = count + 1.0;
            t.update(count, step);
            let entries = self.entries.iter().zip(gradients);
            let next = entries.map(|(entry, gradient)| self.entry(t, entry, gradient, rate, step));
            next.collect()
        }))
    }

    #[track_caller]
    fn entry<'t>(
        &self,
        t: &'t Recorder,
        entry: &Entry,
        gradient: Var<'t>,
        rate: Var<'t>,
        step: Var<'t>,
    ) -> Var<'t> {
        let state = t.state(entry.parameter);
        let rate = rate.cast(state.dtype());
        let (weight, gradient) = match entry.decay {
            Decay::None => (state, gradient),
            Decay::Coupled(decay) => (state, gradient + state * decay),
            Decay::Decoupled(decay) => (state * (1.0 - rate * decay), gradient),
        };
        let kept: Vec<Var<'t>> = entry.kept.iter().map(|&kept| t.state(kept)).collect();
        let (next, keeps) = self.rule.step(At { weight, gradient, rate, step }, &kept);
        t.update(state, next);
        for (kept, next) in kept.into_iter().zip(keeps) {
            t.update(kept, next);
        }
        next
    }
}
