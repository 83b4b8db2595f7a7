//! Rows, and the list of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use super::op::{Leaf, Op};
use crate::error::{Error, ErrorKind, Site};
use crate::shape::TensorType;

/// One result of one row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value {
    /// The row, from 0.
    pub row: u32,
    /// Which of its results, from 0.
    pub result: u32,
}

/// A map from values of one tape: hashed by a multiplication, since nobody chooses them with malice.
pub(crate) type ValueMap<T> = HashMap<Value, T, BuildHasherDefault<ValueHasher>>;

/// Hashes the two numbers of a [`Value`], and other short keys that nobody chooses.
#[derive(Default)]
pub(crate) struct ValueHasher(u64);

impl Hasher for ValueHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u32(&mut self, number: u32) {
        // The golden ratio spreads neighbours (D. Knuth, "The Art of Computer Programming", volume 3, §6.4).
        self.0 = (self.0.rotate_left(32) ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write_u64(&mut self, number: u64) {
        self.write_u32(number as u32);
        self.write_u32((number >> 32) as u32);
    }
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u32(u32::from(b)));
    }
}

/// What recorded a row: the user, or the derivative of a row of the user's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The user's own computation.
    Forward,
    /// Pushes tangents forwards.
    Tangent,
    /// Pulls cotangents back.
    Cotangent,
}

/// A call in the user's code that rows were recorded for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    pub(crate) location: &'static Location<'static>,
    /// The operation that the user called, where the rows' ops have other names.
    pub(crate) operation: Option<&'static str>,
    /// The number of the scope.
    pub(crate) scope: u32,
}

/// Where a row comes from; see [`Tape::site`].
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Position among the calls of the tape; for a row of a derivative, that of the row it differentiates.
    pub(crate) call: u32,
    /// What recorded it.
    pub phase: Phase,
    /// Whether zeros of a tangent or cotangent may come from a closed gate; see [`Recorder::emit`](super::Recorder::emit).
    pub(crate) touched: bool,
}

/// The types of a row's results; rows share them.
pub type Types = Arc<[TensorType]>;

/// One typed row of a tape: an op, its operands, its results.
#[derive(Clone, Debug)]
pub struct Row {
    /// The op.
    pub op: Op,
    /// Results of earlier rows.
    pub operands: SmallVec<[Value; 3]>,
    /// Element type and shape of each result.
    pub results: Types,
    /// Where the row comes from.
    pub origin: Origin,
}

/// A state that a tape reads or updates. Stores that a program runs with must have it at this
/// position under this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedState {
    /// Its position in the store.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Its element type and shape.
    pub ty: TensorType,
}

/// The Wengert list: rows in an order in which each uses only earlier ones (R. E. Wengert, "A
/// simple automatic derivative evaluation program", CACM 1964), and which of their results are
/// inputs, outputs and updates of states. Plain data: it prints, compares row by row, and every
/// transformation makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    pub(crate) rows: Vec<Row>,
    pub(crate) states: Vec<UsedState>,
    pub(crate) inputs: Vec<TensorType>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) updates: Vec<(usize, Value)>,
    pub(crate) scopes: Vec<Arc<str>>,
    pub(crate) calls: Vec<CallSite>,
}

impl Tape {
    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The types of the arrays to bind at each run, by position.
    pub fn inputs(&self) -> &[TensorType] {
        &self.inputs
    }

    /// The states that the tape reads or updates.
    pub fn states(&self) -> &[UsedState] {
        &self.states
    }

    /// What a run returns.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// The next values of states: position in the store, and value.
    pub fn updates(&self) -> &[(usize, Value)] {
        &self.updates
    }

    /// The type of a value of this tape.
    pub fn ty(&self, value: Value) -> Option<TensorType> {
        self.rows.get(value.row as usize)?.results.get(value.result as usize).copied()
    }

    /// Where a row comes from, for people.
    pub fn site(&self, origin: &Origin) -> Site {
        let call = self.call(origin);
        let scope = self.scopes.get(call.scope as usize).cloned().unwrap_or_else(|| "".into());
        Site { location: call.location, scope }
    }

    /// The number of the scope that a row was recorded in.
    pub(super) fn scope(&self, origin: &Origin) -> u32 {
        self.call(origin).scope
    }

    fn call(&self, origin: &Origin) -> CallSite {
        let unknown = CallSite { location: Location::caller(), operation: None, scope: 0 };
        self.calls.get(origin.call as usize).copied().unwrap_or(unknown)
    }

    /// The operation that the user called when a row of this op was recorded.
    pub(crate) fn operation(&self, origin: &Origin, op: &Op) -> &'static str {
        self.call(origin).operation.unwrap_or(op.name())
    }

    /// Whether a row is an array of one number that the user asked for, not one that stands in an expression.
    pub(crate) fn asked_for(&self, row: &Row) -> bool {
        let fills = matches!(row.op, Op::Leaf(Leaf::Fill(_))) && row.origin.phase == Phase::Forward;
        fills && matches!(self.call(&row.origin).operation, Some("fill" | "full"))
    }

    /// An error of a row, named by the user's operation and line.
    pub(crate) fn blame(&self, row: &Row, kind: ErrorKind) -> Error {
        Error::at(kind, self.operation(&row.origin, &row.op), self.site(&row.origin))
    }

    /// The rows that outputs, updates or guards depend on.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.rows.len()];
        for value in self.outputs.iter().chain(self.updates.iter().map(|(_, v)| v)) {
            live[value.row as usize] = true;
        }
        for (i, row) in self.rows.iter().enumerate().rev() {
            live[i] |= matches!(row.op, Op::Control(_));
            if live[i] {
                for operand in &row.operands {
                    live[operand.row as usize] = true;
                }
            }
        }
        live
    }

    /// This tape without the rows that nothing depends on. Inputs keep their positions.
    pub fn without_dead_rows(mut self) -> Self {
        let live = self.live();
        let mut renamed = vec![u32::MAX; self.rows.len()];
        let (mut index, mut kept) = (0, 0);
        // In place: a long tape is not held twice.
        self.rows.retain_mut(|row| {
            let keep = live[index];
            if keep {
                for operand in &mut row.operands {
                    operand.row = renamed[operand.row as usize];
                }
                renamed[index] = kept;
                kept += 1;
            }
            index += 1;
            keep
        });
        for value in self.outputs.iter_mut().chain(self.updates.iter_mut().map(|(_, v)| v)) {
            value.row = renamed[value.row as usize];
        }
        self
    }

    /// The first live placeholder, if a transform left one.
    pub(crate) fn placeholder(&self) -> Option<&Row> {
        self.rows.iter().find(|r| matches!(r.op, Op::Leaf(Leaf::Placeholder)))
    }
}
