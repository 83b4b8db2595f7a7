//! What a plan takes, for people.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use super::{Placed, Plan, Run, Tiled};
use crate::error::Site;
use crate::exec::frame::Frame;
use crate::exec::graph::{Action, WriteMode};
use crate::exec::place::Place;
use crate::ir::Tape;
use crate::shape::TensorType;
use crate::sort::sort_by_key;

/// What the results of one row take.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMemory {
    /// The row of the tape.
    pub row: usize,
    /// What the memory holds: the row's op, or what is made for it.
    pub op: String,
    /// The line that recorded the row, and its scope.
    pub site: Site,
    /// Bytes of all results; of arrays that only one thread needs in part, the bytes of that part.
    pub bytes: usize,
    /// Whether each thread has memory for it, rather than all of them together.
    pub by_thread: bool,
}

/// What a program needs before it has run: all of it is in a workspace, but for the constants, which all
/// workspaces share. Arrays that are not needed at the same time may share memory, so a workspace takes less
/// than the sum of the rows. Prints as a table, the largest first.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryReport {
    /// Each row whose results need memory, in the order of the plan.
    pub rows: Vec<RowMemory>,
    /// Bytes that the threads of a workspace share.
    pub shared: usize,
    /// Bytes for each thread, scratch among them.
    pub by_thread: usize,
    /// Bytes of the constants.
    pub constants: usize,
    /// Bytes that a workspace takes beyond that for copies of inputs, once each was bound to an array that is not row-major, or of another
    /// integer type.
    pub inputs: usize,
}

impl MemoryReport {
    /// Bytes of a workspace for so many threads.
    pub fn workspace(&self, threads: usize) -> usize {
        self.by_thread.saturating_mul(threads.max(1)).saturating_add(self.shared)
    }
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<&RowMemory> = self.rows.iter().collect();
        sort_by_key(&mut rows, |r| (u64::MAX - r.bytes as u64, 0));
        writeln!(f, "{:>12}  each thread  row  op, line", "bytes")?;
        for RowMemory { row, op, site, bytes, by_thread } in rows {
            let each = if *by_thread { "yes" } else { "" };
            writeln!(f, "{bytes:>12}  {each:>11}  {row:>3}  {op} at {site}")?;
        }
        let Self { shared, by_thread, constants, inputs, .. } = self;
        writeln!(
            f,
            "a workspace takes {shared} bytes and {by_thread} for each thread; constants {constants}"
        )?;
        writeln!(f, "inputs that are not row-major, or of another integer type, are copied: {inputs} at most")
    }
}

impl Plan {
    /// Bytes by row and in all.
    pub(crate) fn memory_report(&self, tape: &Tape) -> MemoryReport {
        let of = |row: usize, op: String, bytes: usize, by_thread: bool| RowMemory {
            row,
            op,
            site: tape.site(&tape.rows()[row].origin),
            bytes,
            by_thread,
        };
        let (frame, mut rows) = (self.frame(), Vec::new());
        match self {
            Self::Rows(_, plan) => {
                let bytes = plan.held(tape).filter(|(_, bytes)| *bytes > 0);
                rows.extend(
                    bytes.map(|(row, bytes)| of(row, tape.rows()[row].op.name().into(), bytes, false)),
                );
            }
            Self::Tiled(_, plan) => rows.extend(
                plan.held(frame).map(|(row, op, bytes, own)| of(row as usize, op.into_owned(), bytes, own)),
            ),
        }
        let by_thread = frame.local + frame.scratch;
        let inputs = frame.inputs.iter().map(TensorType::bytes).sum();
        MemoryReport { rows, shared: frame.arena, by_thread, constants: self.constant_bytes(), inputs }
    }
}

impl Tiled {
    /// What each result takes: the row, what makes it, bytes, and whether each thread has its own.
    fn held(&self, frame: &Frame) -> impl Iterator<Item = (u32, Cow<'static, str>, usize, bool)> {
        let arena = frame.arena;
        self.walk().flat_map(move |(group, tiles, run)| {
            let mut held: SmallVec<[_; 1]> = SmallVec::new();
            match run {
                Run::Micro(at) => {
                    let ((row, function), (address, bytes)) = (self.described(at), self.result(at));
                    held.push((row, function.name().into(), bytes, self.addresses.place(address).1 >= arena));
                }
                Run::Call(_, call) => {
                    // What is added to, or joined, lies where it did.
                    let fresh = call.mode == WriteMode::Overwrite && !matches!(call.action, Action::Join);
                    for part in call.results.iter().filter(|_| fresh) {
                        let Placed { place, ty, .. } = &self.buffers[part.buffer];
                        let part = |chunks: usize| ty.bytes() / group.chunks.max(1) * chunks;
                        let (bytes, own) = match *place {
                            Place::Tile(_) => (part(tiles.tile.min(group.chunks)), true),
                            Place::Task(_) => (part(group.chunks.div_ceil(group.tasks)), true),
                            Place::Arena(_) => (ty.bytes(), false),
                            Place::Home(_) => continue,
                        };
                        held.push((call.row, call.action.name(), bytes, own));
                    }
                }
            }
            held
        })
    }
}
