//! Tape to tape: fewer rows, or cheaper ones, for the same results.

mod constants;
mod equal;
mod scales;

use smallvec::SmallVec;

use crate::ir::{Op, Row, Tape, Value};

/// One way to make a tape cheaper. Every tape that it returns passes [`verify`](crate::ir::verify).
pub struct Pass {
    name: &'static str,
    exact: bool,
    run: fn(&Tape) -> Tape,
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
        (self.run)(tape).without_dead_rows()
    }
}

/// All passes, in the order in which a program's tape goes through them before it is planned.
pub const PASSES: [Pass; 6] = [
    Pass { name: "fold constants and identities", exact: true, run: constants::fold },
    Pass { name: "merge equal rows", exact: true, run: equal::merge },
    Pass { name: "scale where types are converted", exact: true, run: scales::absorb },
    Pass { name: "merge scales and move signs", exact: false, run: scales::gather },
    Pass { name: "fold what the scales left", exact: true, run: constants::fold },
    Pass { name: "merge what became equal", exact: true, run: equal::merge },
];

/// A tape after the passes before the first that rounds, or after all of them.
pub(crate) fn optimise(tape: &Tape, rounding: bool) -> Tape {
    let mut passes = PASSES.iter().take_while(|pass| pass.exact || rounding);
    let first = passes.next().map_or_else(|| tape.clone(), |pass| pass.apply(tape));
    passes.fold(first, |tape, pass| pass.apply(&tape))
}

/// A tape in the making, row by row from another.
struct Rewrite<'a> {
    from: &'a Tape,
    rows: Vec<Row>,
    /// Where the new names of each old row's results begin.
    first: Vec<u32>,
    names: Vec<Value>,
}

impl<'a> Rewrite<'a> {
    fn new(from: &'a Tape) -> Self {
        let count = from.rows().len();
        Self {
            from,
            rows: Vec::with_capacity(count),
            first: Vec::with_capacity(count),
            names: Vec::with_capacity(count),
        }
    }

    /// The new name of an old value.
    fn of(&self, old: Value) -> Value {
        self.names[(self.first[old.row as usize] + old.result) as usize]
    }

    /// The new names of a row's operands.
    fn operands(&self, row: &Row) -> SmallVec<[Value; 3]> {
        row.operands.iter().map(|&v| self.of(v)).collect()
    }

    /// Adds a row; its number.
    fn push(&mut self, row: Row) -> u32 {
        self.rows.push(row);
        self.rows.len() as u32 - 1
    }

    /// Adds the next old row with these operands.
    fn keep(&mut self, old: &Row, operands: SmallVec<[Value; 3]>) {
        let row = self.push(Row { operands, ..old.clone() });
        self.replace(row, old.results.len());
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

    /// The new op of a value that is the only result of its row.
    fn op(&self, value: Value) -> &Op {
        &self.rows[value.row as usize].op
    }

    /// The new tape, once all old rows have new names.
    fn finish(self) -> Tape {
        let outputs = self.from.outputs().iter().map(|&v| self.of(v)).collect();
        let updates = self.from.updates().iter().map(|&(s, v)| (s, self.of(v))).collect();
        self.with(outputs, updates)
    }

    fn with(self, outputs: Vec<Value>, updates: Vec<(usize, Value)>) -> Tape {
        let Tape { states, inputs, scopes, calls, .. } = self.from;
        Tape {
            rows: self.rows,
            states: states.clone(),
            inputs: inputs.clone(),
            outputs,
            updates,
            scopes: scopes.clone(),
            calls: calls.clone(),
        }
    }
}
