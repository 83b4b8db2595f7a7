//! Named arrays that live apart from programs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dtype::SliceMut;
use crate::error::{ErrorKind, Result};
use crate::tensor::Tensor;

/// Names one state of a [`States`] store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State(pub(crate) usize);

/// A store of named arrays: the parameters and counters that programs read and update.
///
/// Programs hold no states of their own, so a training program, evaluation programs of other batch
/// sizes and many serving threads share one store: training binds it `&mut`, evaluation `&`.
/// Cloning is a snapshot; the arrays are copied only when one of the two is written.
///
/// ```
/// use ndarray::array;
/// use wengert::States;
/// let mut states = States::new();
/// let w = states.add("w", array![1.0, 2.0])?;
/// let snapshot = states.clone();
/// states.set(w, array![5.0, 6.0])?;
/// assert_eq!(states.get(w)?.as_slice::<f64>()?, &[5.0, 6.0]);
/// assert_eq!(snapshot.get(w)?.as_slice::<f64>()?, &[1.0, 2.0]);
/// assert!(states.set(w, array![1.0]).is_err(), "the shape is fixed");
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct States {
    entries: Vec<(Arc<str>, Arc<Tensor>)>,
    names: HashMap<Arc<str>, usize>,
}

impl States {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array under a name. An error where the name is taken or the array has more than
    /// eight axes.
    pub fn add<E>(&mut self, name: &str, value: impl TryInto<Tensor, Error = E>) -> Result<State>
    where
        crate::Error: From<E>,
    {
        let value = value.try_into()?;
        if self.find(name).is_some() {
            return Err(ErrorKind::State(format!("there is a state named {name} already")).into());
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), self.entries.len());
        self.entries.push((name, Arc::new(value)));
        Ok(State(self.entries.len() - 1))
    }

    /// Replaces a state's value. An error where element type or shape would change.
    pub fn set<E>(&mut self, state: State, value: impl TryInto<Tensor, Error = E>) -> Result<()>
    where
        crate::Error: From<E>,
    {
        let value = value.try_into()?;
        let ty = self.get(state)?.ty();
        if value.ty() != ty {
            return Err(ErrorKind::State(format!(
                "the state {} is {ty}, it cannot become {}",
                self.entries[state.0].0,
                value.ty()
            ))
            .into());
        }
        self.entries[state.0].1 = Arc::new(value);
        Ok(())
    }

    /// A state's value. An error where it belongs to another, larger store.
    pub fn get(&self, state: State) -> Result<&Tensor> {
        self.entries.get(state.0).map(|(_, t)| &**t).ok_or_else(|| missing(state.0))
    }

    /// A state's elements, for writing some of them in place; copied first where a snapshot shares
    /// them.
    pub fn data_mut(&mut self, state: State) -> Result<SliceMut<'_>> {
        self.get_mut(state.0).map(Tensor::data_mut)
    }

    /// A state's value for writing in place; copied first where a snapshot shares it.
    pub(crate) fn get_mut(&mut self, index: usize) -> Result<&mut Tensor> {
        self.entries.get_mut(index).map(|(_, t)| Arc::make_mut(t)).ok_or_else(|| missing(index))
    }

    /// The state of this name.
    pub fn find(&self, name: &str) -> Option<State> {
        self.names.get(name).map(|&i| State(i))
    }

    /// A state's name.
    pub fn name(&self, state: State) -> Option<&str> {
        self.entries.get(state.0).map(|(name, _)| &**name)
    }

    /// All states with their names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (State, &str, &Tensor)> {
        self.entries.iter().enumerate().map(|(i, (name, value))| (State(i), &**name, &**value))
    }
}

fn missing(index: usize) -> crate::Error {
    ErrorKind::State(format!("the store has no state number {index}")).into()
}
