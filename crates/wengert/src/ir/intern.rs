//! What many rows of a tape have in common, kept once: the calls that recorded them, their ops, and the types of their
//! results.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem::{Discriminant, discriminant};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::kernel::ResultTypes;
use super::op::Op;
use super::tape::{CallSite, Types, ValueHasher};

/// A number that nothing else was or will be given in this process: the identity of a recorder, or of a state.
pub(super) fn identity() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// Sets a cell for as long as this lives, also where a panic ends that.
pub(super) struct Restore<'a, T: Copy> {
    cell: &'a Cell<T>,
    outer: T,
}

impl<'a, T: Copy> Restore<'a, T> {
    pub(super) fn after(cell: &'a Cell<T>, inner: T) -> Self {
        Self { outer: cell.replace(inner), cell }
    }
}

impl<T: Copy> Drop for Restore<'_, T> {
    fn drop(&mut self) {
        self.cell.set(self.outer);
    }
}

/// The call of the user's that rows are recorded for.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) location: &'static Location<'static>,
}

type Table<K, V> = RefCell<HashMap<K, V, BuildHasherDefault<ValueHasher>>>;

/// Where a line of the user's code, the name of an operation, and a scope lie in memory.
type Key = (usize, usize, u32);

/// The calls of a recording, each once.
#[derive(Default)]
pub(super) struct Calls {
    known: Table<Key, u32>,
    last: Cell<Option<(Key, u32)>>,
}

impl Calls {
    /// The position of a call among those of a tape.
    pub(super) fn of(&self, site: CallSite, all: &mut Vec<CallSite>) -> u32 {
        let name = site.operation.map_or(0, |name| name.as_ptr().addr());
        let key = (std::ptr::from_ref(site.location).addr(), name, site.scope);
        if let Some((last, call)) = self.last.get().filter(|(last, _)| *last == key) {
            let _ = last;
            return call;
        }
        let call = *self.known.borrow_mut().entry(key).or_insert_with(|| {
            all.push(site);
            all.len() as u32 - 1
        });
        self.last.set(Some((key, call)));
        call
    }
}

/// Ops of types that hold no data, each once.
#[derive(Default)]
pub(super) struct Ops {
    known: Table<(Discriminant<Op>, TypeId), Op>,
}

impl Ops {
    /// This op, as the rows before have it.
    pub(super) fn of(&self, op: Op) -> Op {
        let Some(kernel) = op.kernel().filter(|kernel| size_of_val(*kernel) == 0) else { return op };
        let key = (discriminant(&op), (kernel as &dyn Any).type_id());
        self.known.borrow_mut().entry(key).or_insert(op).clone()
    }
}

/// The types of results, those of each row once where neighbours have them too.
#[derive(Default)]
pub(super) struct Known {
    known: Table<ResultTypes, Types>,
}

impl Known {
    /// These types, as the row that has them already or as every other does.
    pub(super) fn of<'a>(&self, types: ResultTypes, mut near: impl Iterator<Item = &'a Types>) -> Types {
        if let Some(same) = near.find(|other| ***other == *types) {
            return same.clone();
        }
        self.known.borrow_mut().entry(types).or_insert_with_key(|types| Arc::from(&**types)).clone()
    }
}
