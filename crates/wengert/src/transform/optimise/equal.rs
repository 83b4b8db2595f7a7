//! Equal rows, each once.

use super::Rewrite;
use crate::ir::{Op, Tape, Value};
use crate::transform::equal::Equal;

/// A tape in which no two rows have the same op, operands and results. Guards all stay: each speaks for its line.
pub(super) fn merge(tape: Tape) -> Tape {
    let mut equal = Equal::with_capacity(tape.rows().len());
    let mut new = Rewrite::new(tape);
    while let Some(row) = new.next() {
        let index = new.count();
        let first = match row.op {
            Op::Control(_) => index,
            _ => equal.first(index, &row, row.operands.clone(), |earlier| {
                let other = new.row(Value { row: earlier, result: 0 });
                Some((other, other.operands.clone()))
            }),
        };
        if first == index {
            new.keep(row);
        } else {
            new.replace(first, row.results.len());
        }
    }
    new.finish()
}
