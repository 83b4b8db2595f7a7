//! Tape to tape: fewer rows, or cheaper ones, for the same results.

mod constants;
mod equal;
mod scales;

use std::collections::VecDeque;

use crate::ir::{Op, Row, Tape, Value};
use crate::shape::TensorType;

/// One way to make a tape cheaper. Every tape that it returns passes [`verify`](crate::ir::verify).
pub struct Pass {
    name: &'static str,
    exact: bool,
    run: fn(Tape) -> Tape,
}

impl Pass {
    /// What it does, in few words.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether every result keeps its bits (other than those of a NaN); otherwise results are rounded in other
    /// places.
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// The tape after this pass.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let x = t.input(F64, [3]);
    ///     t.outputs(x.exp() * x.exp())
    /// })?;
    /// let (before, equal) = (program.tape().clone(), &wengert::PASSES[1]);
    /// assert_eq!((equal.name(), equal.exact()), ("merge equal rows", true));
    /// assert_eq!((before.rows().len(), equal.apply(&before).rows().len()), (4, 3));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn apply(&self, tape: &Tape) -> Tape {
        self.rewrite(tape.clone())
    }

    fn rewrite(&self, tape: Tape) -> Tape {
        (self.run)(tape).without_dead_rows()
    }
}

/// All passes, in the order in which a program's tape goes through them before it is planned.
pub const PASSES: [Pass; 5] = [
    Pass { name: "fold constants and identities", exact: true, run: constants::fold },
    Pass { name: "merge equal rows", exact: true, run: equal::merge },
    Pass { name: "merge scales and move signs", exact: false, run: scales::gather },
    Pass { name: "fold what the scales left", exact: true, run: constants::fold },
    Pass { name: "merge what became equal", exact: true, run: equal::merge },
];

/// A tape after the passes before the first that rounds, or after all of them.
pub(crate) fn optimise(tape: Tape, rounding: bool) -> Tape {
    let exact = PASSES.iter().position(|pass| !pass.exact).unwrap_or(PASSES.len());
    let tape = PASSES[..exact].iter().fold(tape, |tape, pass| pass.rewrite(tape));
    if !rounding || !scales::any(&tape) {
        return tape;
    }
    PASSES[exact..].iter().fold(tape, |tape, pass| pass.rewrite(tape))
}

/// A tape in the making, row by row from another.
struct Rewrite {
    /// Everything but the rows; outputs and updates still have their old names.
    tape: Tape,
    /// The old rows that are left, and behind them the new ones: a long tape is not held twice.
    rows: VecDeque<Row>,
    left: usize,
    /// Where the new names of each old row's results begin.
    first: Vec<u32>,
    names: Vec<Value>,
}

impl Rewrite {
    fn new(mut tape: Tape) -> Self {
        let rows = VecDeque::from(std::mem::take(&mut tape.rows));
        let left = rows.len();
        Self { tape, rows, left, first: Vec::with_capacity(left), names: Vec::with_capacity(left) }
    }

    /// Takes the next old row. Its results have to be named before the next.
    fn take(&mut self) -> Option<Row> {
        self.left = self.left.checked_sub(1)?;
        self.rows.pop_front()
    }

    /// The same, with the new names of its operands.
    fn next(&mut self) -> Option<Row> {
        let mut row = self.take()?;
        row.operands.iter_mut().for_each(|v| *v = self.of(*v));
        Some(row)
    }

    /// The new name of an old value.
    fn of(&self, old: Value) -> Value {
        self.names[(self.first[old.row as usize] + old.result) as usize]
    }

    /// The new row that makes a value.
    fn row(&self, new: Value) -> &Row {
        &self.rows[self.left + new.row as usize]
    }

    /// The new op of a value that is the only result of its row.
    fn op(&self, new: Value) -> &Op {
        &self.row(new).op
    }

    fn ty(&self, new: Value) -> &TensorType {
        &self.row(new).results[new.result as usize]
    }

    /// How many new rows there are.
    fn count(&self) -> u32 {
        (self.rows.len() - self.left) as u32
    }

    /// Adds a row; its number.
    fn push(&mut self, row: Row) -> u32 {
        self.rows.push_back(row);
        self.count() - 1
    }

    /// Adds a row that makes the results of the next old one.
    fn keep(&mut self, row: Row) {
        let results = row.results.len();
        let row = self.push(row);
        self.replace(row, results);
    }

    /// Gives the results of the next old row the names of those of a new one.
    fn replace(&mut self, row: u32, results: usize) {
        self.first.push(self.names.len() as u32);
        self.names.extend((0..results as u32).map(|result| Value { row, result }));
    }

    /// Gives the only result of the next old row the name of another value.
    fn rename(&mut self, name: Value) {
        self.first.push(self.names.len() as u32);
        self.names.push(name);
    }

    /// The new tape, once all old rows have new names.
    fn finish(mut self) -> Tape {
        let mut tape = std::mem::take(&mut self.tape);
        let kept = tape.outputs.iter_mut().chain(tape.updates.iter_mut().map(|(_, v)| v));
        kept.for_each(|v| *v = self.of(*v));
        Tape { rows: self.rows.into(), ..tape }
    }
}
