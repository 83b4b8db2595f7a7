//! Rows that compute the same from the same.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use smallvec::SmallVec;

use super::Rewrite;
use crate::ir::{Op, Row, Tape, Value};

/// A tape in which no two rows have the same op, operands and results. Guards all stay: each speaks for its line.
pub(super) fn merge(tape: &Tape) -> Tape {
    let mut new = Rewrite::new(tape);
    let mut known: HashMap<u64, SmallVec<[u32; 1]>> = HashMap::with_capacity(tape.rows().len());
    for row in tape.rows() {
        let operands = new.operands(row);
        if matches!(row.op, Op::Control(_)) {
            new.keep(row, operands);
            continue;
        }
        let sorted = ordered(&row.op, &operands);
        let alike = known.entry(hash(row, &sorted)).or_default();
        let same = |&&i: &&u32| {
            let other: &Row = &new.rows[i as usize];
            other.op == row.op && other.results == row.results && ordered(&row.op, &other.operands) == sorted
        };
        match alike.iter().find(same) {
            Some(&earlier) => new.replace(earlier, row.results.len()),
            None => {
                alike.push(new.rows.len() as u32);
                new.keep(row, operands);
            }
        }
    }
    new.finish()
}

/// The operands, in an order of their own where theirs does not matter.
fn ordered(op: &Op, operands: &[Value]) -> SmallVec<[Value; 3]> {
    let mut operands = SmallVec::from_slice(operands);
    if operands.len() == 2 && matches!(op, Op::Elementwise(f) if f.algebra().commutes()) {
        operands.sort_unstable();
    }
    operands
}

fn hash(row: &Row, operands: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&row.op, operands).hash(&mut hasher);
    row.results.iter().for_each(|ty| ty.shape.hash(&mut hasher));
    hasher.finish()
}
