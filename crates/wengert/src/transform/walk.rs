//! What a derivative walks: the rows between some variables and some results, equal ones once.

use std::collections::HashSet;

use super::{carries, equal::Equal};
use crate::ir::{Leaf, Op, Phase, Recorder, Row, Tape, Value, Var};

/// The rows that depend on some variables and that some results depend on. Of rows that compute the same from the same
/// only the first is walked, and stands for all: a function that calls itself twice with the same arguments would
/// else cost what it costs without sharing. The variables themselves stand for nobody, however equal others are.
pub(super) struct Walk {
    start: usize,
    /// For each row from `start` on the one that stands for it.
    stands: Vec<u32>,
    /// Whether a row is walked.
    walked: Vec<bool>,
}

impl Walk {
    /// The walk between some variables and some results.
    pub(super) fn new(t: &Recorder, from: &HashSet<Value>, to: impl Iterator<Item = Value> + Clone) -> Self {
        let end = to.clone().map(|v| v.row as usize + 1).max().unwrap_or(0);
        let start = from.iter().map(|v| v.row as usize).min().unwrap_or(end).min(end);
        let mut walk =
            Self { start, stands: (start as u32..end as u32).collect(), walked: needed(t, to, start, end) };
        t.with_tape(|tape| walk.number(t, tape, from));
        walk
    }

    /// The value that stands for this one.
    pub(super) fn of(&self, value: Value) -> Value {
        let row = self.at(value.row).map_or(value.row, |i| self.stands[i]);
        Value { row, ..value }
    }

    /// Whether a row that stands for others depends on the variables.
    pub(super) fn reaches(&self, row: u32) -> bool {
        self.at(row).is_some_and(|i| self.walked[i])
    }

    /// The rows to walk, in their order.
    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.walked.iter().enumerate().filter(|(_, walked)| **walked).map(|(i, _)| self.start + i)
    }

    fn at(&self, row: u32) -> Option<usize> {
        (row as usize).checked_sub(self.start).filter(|i| *i < self.stands.len())
    }

    /// Finds who stands for each row that is needed, and walks those that depend on the variables.
    fn number(&mut self, t: &Recorder, tape: &Tape, from: &HashSet<Value>) {
        let rows = tape.rows();
        let mut apart: HashSet<u32> = from.iter().map(|v| v.row).collect();
        apart.extend(t.named_rows());
        let mut equal = Equal::with_capacity(self.stands.len());
        let mut walked = vec![false; self.stands.len()];
        from.iter().filter_map(|v| self.at(v.row)).for_each(|i| walked[i] = true);
        for i in (0..self.stands.len()).filter(|i| self.walked[*i]) {
            let index = (self.start + i) as u32;
            let row = &rows[index as usize];
            if !apart.contains(&index) && shared(tape, row) {
                let operands = |row: &Row| row.operands.iter().map(|&v| self.of(v)).collect();
                let first = equal.first(index, row, operands(row), |earlier| {
                    let other = &rows[earlier as usize];
                    (other.origin.touched == row.origin.touched).then(|| (other, operands(other)))
                });
                if first != index {
                    self.stands[i] = first;
                    t.take_as_one(index, first);
                    continue;
                }
            }
            walked[i] |= row.operands.iter().enumerate().any(|(o, &v)| {
                let float = rows[v.row as usize].results[v.result as usize].dtype.is_float();
                let from = self.of(v).row;
                carries(float, row, o) && self.at(from).is_some_and(|from| walked[from])
            });
        }
        self.walked = walked;
    }
}

/// One of some variables that a derivative, on which the results depend, has taken as one with another.
pub(crate) fn ambiguous<'t>(t: &Recorder, from: &[Var<'t>], to: &[Var<'t>]) -> Option<Var<'t>> {
    let taken = |x: &Var<'t>| Some((*x, t.taken_as_one(x.id()?.row)?));
    let taken: Vec<(Var<'t>, u32)> = from.iter().filter_map(taken).collect();
    if taken.is_empty() {
        return None;
    }
    let end = to.iter().filter_map(|v| v.id()).map(|v| v.row as usize + 1).max()?;
    let needed = needed(t, to.iter().filter_map(|v| v.id()), 0, end);
    t.with_tape(|tape| {
        let rows = tape.rows().iter().zip(&needed).filter(|(_, needed)| **needed).map(|(row, _)| row);
        let derived = rows.filter(|row| row.origin.phase != Phase::Forward);
        let read: HashSet<u32> =
            derived.flat_map(|row| &row.operands).filter_map(|v| t.taken_as_one(v.row)).collect();
        taken.into_iter().find(|(_, one)| read.contains(one)).map(|(x, _)| x)
    })
}

/// Which of the rows `start..end` some results depend on.
fn needed(t: &Recorder, results: impl Iterator<Item = Value>, start: usize, end: usize) -> Vec<bool> {
    let mut needed = vec![false; end - start];
    let at = |v: Value| (v.row as usize).checked_sub(start);
    results.filter_map(at).for_each(|i| needed[i] = true);
    t.with_tape(|tape| {
        for i in (0..needed.len()).rev() {
            if needed[i] {
                tape.rows()[start + i].operands.iter().filter_map(|&v| at(v)).for_each(|i| needed[i] = true);
            }
        }
    });
    needed
}

/// Whether another row may stand for this one: not for what steers, for stand-ins, and for arrays that the user asked for.
fn shared(tape: &Tape, row: &Row) -> bool {
    !matches!(row.op, Op::Control(_) | Op::Leaf(Leaf::Placeholder)) && !tape.asked_for(row)
}
