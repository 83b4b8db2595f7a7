//! Rows that compute the same from the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use smallvec::SmallVec;

use crate::ir::{Op, Row, Value, ValueHasher};

/// The operands of a row, by the names under which they are compared.
pub(super) type Operands = SmallVec<[Value; 3]>;

/// The rows seen so far, by what they compute.
pub(super) struct Equal {
    /// By hash; of rows that share one the first, which is enough: hashes of 64 bits hardly ever meet.
    known: HashMap<u64, u32, BuildHasherDefault<ValueHasher>>,
}

impl Equal {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { known: HashMap::with_capacity_and_hasher(rows, BuildHasherDefault::default()) }
    }

    /// The first row with the op, the operands and the results of row `index`: itself, if there was none. `other` gives
    /// an earlier row with its operands, or none if it differs in something else.
    pub(super) fn first<'a>(
        &mut self,
        index: u32,
        row: &Row,
        operands: Operands,
        other: impl FnOnce(u32) -> Option<(&'a Row, Operands)>,
    ) -> u32 {
        let operands = ordered(&row.op, operands);
        match self.known.entry(hash(row, &operands)) {
            Entry::Vacant(free) => *free.insert(index),
            Entry::Occupied(earlier) => {
                let same = other(*earlier.get()).is_some_and(|(other, theirs)| {
                    other.results == row.results && ordered(&row.op, theirs) == operands && other.op == row.op
                });
                if same { *earlier.get() } else { index }
            }
        }
    }
}

/// The operands, in an order of their own where theirs does not matter.
fn ordered(op: &Op, mut operands: Operands) -> Operands {
    if let [a, b] = operands[..]
        && b < a
        && matches!(op, Op::Elementwise(f) if f.algebra().commutes())
    {
        operands.swap(0, 1);
    }
    operands
}

fn hash(row: &Row, operands: &[Value]) -> u64 {
    let mut hasher = ValueHasher::default();
    (&row.op, operands).hash(&mut hasher);
    row.results.iter().for_each(|ty| ty.shape.hash(&mut hasher));
    hasher.finish()
}
