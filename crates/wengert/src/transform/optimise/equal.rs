//! Rows that compute the same from the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use smallvec::SmallVec;

use super::Rewrite;
use crate::ir::{Op, Row, Tape, Value, ValueHasher};

/// A tape in which no two rows have the same op, operands and results. Guards all stay: each speaks for its line.
pub(super) fn merge(tape: Tape) -> Tape {
    // By hash; of rows that share one the first, which is enough: hashes of 64 bits hardly ever meet.
    let mut known: HashMap<u64, u32, BuildHasherDefault<ValueHasher>> =
        HashMap::with_capacity_and_hasher(tape.rows().len(), BuildHasherDefault::default());
    let mut new = Rewrite::new(tape);
    while let Some(row) = new.next() {
        if matches!(row.op, Op::Control(_)) {
            new.keep(row);
            continue;
        }
        let sorted = ordered(&row.op, &row.operands);
        let known = known.entry(hash(&row, &sorted));
        let same = |earlier: u32| {
            let other = new.row(Value { row: earlier, result: 0 });
            other.op == row.op && other.results == row.results && ordered(&row.op, &other.operands) == sorted
        };
        match known {
            Entry::Occupied(earlier) if same(*earlier.get()) => {
                new.replace(*earlier.get(), row.results.len())
            }
            known => {
                let count = new.count();
                known.or_insert(count);
                new.keep(row);
            }
        }
    }
    new.finish()
}

/// The operands, in an order of their own where theirs does not matter.
fn ordered(op: &Op, operands: &[Value]) -> SmallVec<[Value; 3]> {
    let mut operands = SmallVec::from_slice(operands);
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
