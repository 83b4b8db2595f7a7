//! Lists whose positions are names of their own: a buffer's is no node's.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use crate::error::ErrorKind;

/// A position in a list of one sort of things.
pub(super) trait Id: Copy {
    /// The name of a position.
    fn new(at: u32) -> Self;
    /// The position.
    fn at(self) -> usize;
}

/// Names of a sort of things.
macro_rules! id {
    ($(#[$doc:meta])* $Name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub(crate) struct $Name(u32);
        impl Id for $Name {
            fn new(at: u32) -> Self {
                Self(at)
            }
            fn at(self) -> usize {
                self.0 as usize
            }
        }
        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}
id!(
    /// Names a buffer of a graph, and where the plan has put it.
    BufferId, "b"
);
id!(
    /// Names a node of a graph.
    NodeId, "n"
);

/// A list of things with names.
#[derive(Clone, Debug)]
pub(super) struct Table<I, T> {
    items: Vec<T>,
    of: PhantomData<fn(I) -> T>,
}

impl<I: Id, T> Table<I, T> {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { items: Vec::with_capacity(count), of: PhantomData }
    }
    /// The same thing for each name of another table.
    pub(super) fn alike<U>(other: &Table<I, U>, item: T) -> Self
    where
        T: Clone,
    {
        Self { items: vec![item; other.len()], of: PhantomData }
    }
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
    /// Adds a thing. An error where there are more than names.
    pub(super) fn push(&mut self, item: T) -> Result<I, ErrorKind> {
        let at = u32::try_from(self.items.len()).ok().filter(|&at| at < u32::MAX);
        let id = I::new(at.ok_or(ErrorKind::Memory { bytes: usize::MAX })?);
        self.items.push(item);
        Ok(id)
    }
    pub(super) fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.at())
    }
    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.items.len()).map(|at| I::new(at as u32))
    }
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (I, &T)> {
        self.ids().zip(&self.items)
    }
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut()
    }
}

impl<I: Id, T> Default for Table<I, T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}
impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;
    fn index(&self, id: I) -> &T {
        &self.items[id.at()]
    }
}
impl<I: Id, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.at()]
    }
}
impl<I: Id, T> FromIterator<T> for Table<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> Self {
        Self { items: items.into_iter().collect(), of: PhantomData }
    }
}
