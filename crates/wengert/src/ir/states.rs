//! Named arrays that live apart from programs.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::intern::identity;
use crate::elements::SliceMut;
use crate::error::{ErrorKind, Result};
use crate::into_tensor::IntoTensor;
use crate::tensor::Tensor;

/// Names one state of a [`States`] store, and of its clones; of no other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub(crate) index: usize,
    /// What no other state of any store has.
    identity: u64,
}

/// Where the elements of a state are: another processor's memory would be another variant.
#[derive(Clone, Debug)]
enum Storage {
    /// In memory of this program, shared with snapshots until one side writes.
    Host(Arc<Tensor>),
}

impl Storage {
    fn host(&self) -> &Arc<Tensor> {
        let Self::Host(tensor) = self;
        tensor
    }

    /// The elements for writing in place: copied first where a snapshot shares them.
    fn host_mut(&mut self) -> Result<&mut Tensor> {
        let Self::Host(tensor) = self;
        if Arc::get_mut(tensor).is_none() {
            *tensor = Arc::new(tensor.try_clone()?);
        }
        Arc::get_mut(tensor).ok_or_else(|| ErrorKind::State("a state that is shared".into()).into())
    }
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    value: Storage,
    identity: u64,
}

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
    entries: Vec<Entry>,
    names: HashMap<Arc<str>, usize>,
}

impl States {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The empty store, for programs without states.
    pub(crate) fn none() -> &'static Self {
        static NONE: LazyLock<States> = LazyLock::new(States::default);
        &NONE
    }

    /// Adds an array under a name. An error where the name is taken or the array has more than
    /// eight axes.
    pub fn add(&mut self, name: &str, value: impl IntoTensor) -> Result<State> {
        let value = value.into_tensor()?;
        if self.find(name).is_some() {
            return Err(ErrorKind::State(format!("there is a state named {name} already")).into());
        }
        let (name, state): (Arc<str>, _) =
            (name.into(), State { index: self.entries.len(), identity: identity() });
        self.names.insert(name.clone(), state.index);
        self.entries.push(Entry { name, value: Storage::Host(Arc::new(value)), identity: state.identity });
        Ok(state)
    }

    /// Replaces a state's value. An error where element type or shape would change.
    pub fn set(&mut self, state: State, value: impl IntoTensor) -> Result<()> {
        let value = value.into_tensor()?;
        let Entry { name, value: old, .. } = self.entry(state)?;
        let old = old.host();
        if value.ty() != old.ty() {
            let misfit = format!("the state {name} is {}, it cannot become {}", old.ty(), value.ty());
            return Err(ErrorKind::State(misfit).into());
        }
        self.entries[state.index].value = Storage::Host(Arc::new(value));
        Ok(())
    }

    /// A state's value. An error where it belongs to another store.
    pub fn get(&self, state: State) -> Result<&Tensor> {
        self.entry(state).map(|entry| &**entry.value.host())
    }

    fn entry(&self, state: State) -> Result<&Entry> {
        let own = self.entries.get(state.index).filter(|entry| entry.identity == state.identity);
        own.ok_or_else(|| ErrorKind::State("the state belongs to another store".into()).into())
    }

    /// A state's elements, for writing some of them in place; copied first where a snapshot shares
    /// them. An error where the allocation for that fails.
    pub fn data_mut(&mut self, state: State) -> Result<SliceMut<'_>> {
        self.entry(state)?;
        self.get_mut(state.index).map(Tensor::data_mut)
    }

    /// The value at a position for writing in place; copied first where a snapshot shares it.
    pub(crate) fn get_mut(&mut self, index: usize) -> Result<&mut Tensor> {
        self.entries.get_mut(index).ok_or_else(|| missing(index))?.value.host_mut()
    }

    /// The name and value at a position.
    pub(crate) fn at(&self, index: usize) -> Result<(&str, &Arc<Tensor>)> {
        self.entries.get(index).map(|entry| (&*entry.name, entry.value.host())).ok_or_else(|| missing(index))
    }

    /// The state of this name.
    pub fn find(&self, name: &str) -> Option<State> {
        let &index = self.names.get(name)?;
        self.entries.get(index).map(|entry| State { index, identity: entry.identity })
    }

    /// A state's name; `None` where it belongs to another store.
    pub fn name(&self, state: State) -> Option<&str> {
        self.entry(state).ok().map(|entry| &*entry.name)
    }

    /// All states with their names and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (State, &str, &Tensor)> {
        let state = |(index, entry): (usize, &Entry)| State { index, identity: entry.identity };
        self.entries.iter().enumerate().map(move |(i, e)| (state((i, e)), &*e.name, &**e.value.host()))
    }
}

fn missing(index: usize) -> crate::Error {
    ErrorKind::State(format!("the store has no state number {index}")).into()
}
