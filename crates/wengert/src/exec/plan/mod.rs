//! A plan as plain data: kernel calls, when they run and on what parts of which memory.

mod calls;
mod lower;
mod memory;
mod micro;
mod print;
mod verify;

use std::sync::Arc;

use super::frame::Frame;
use super::graph::{Constant, Home};
use super::place::Place;
use super::reference::{Rows, rows};
use super::table::BufferId;
use crate::error::Result;
use crate::ir::Tape;
use crate::kernels::Isa;
use crate::shape::TensorType;

pub(super) use calls::{Body, Group, KernelCall, Part, Run, TileLoop, Tiled};
#[cfg(feature = "jit")]
pub(super) use calls::{Fused, Machined};
pub use memory::{MemoryReport, RowMemory};
pub(super) use micro::{Described, Function, MicroOp, What};
pub(crate) use print::lowered;
pub use print::{Lowering, PlanListing};

/// What to do in a run.
pub(crate) enum Plan {
    /// Row by row, in the order of the tape.
    Rows(Frame, Rows),
    /// Level by level, tile by tile.
    Tiled(Frame, Tiled),
}

/// A buffer of a plan.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) place: Place,
    pub(super) ty: Arc<TensorType>,
    /// The first of its elements in that memory.
    pub(super) first: usize,
    /// Elements in memory from there on: others than the type's where an operand is read through another row.
    pub(super) len: usize,
    /// The buffer that this is a view of: itself if it is none.
    pub(super) of: BufferId,
    /// The buffer whose memory that is.
    pub(super) base: BufferId,
}

impl Placed {
    /// The region and the byte of the first element, where the first thread has it alone and whole.
    pub(super) fn word(&self, frame: &Frame) -> (usize, usize) {
        let first = self.first * self.ty.dtype.bytes();
        match self.place {
            Place::Arena(offset) => (0, offset + first),
            Place::Task(offset) | Place::Tile(offset) => (0, frame.arena + offset + first),
            // Any part of it is like any other.
            Place::Home(home @ Home::Fill(_)) => (frame.region(home), 0),
            Place::Home(home) => (frame.region(home), first),
        }
    }
}

impl Plan {
    /// The trivial plan of a tape without dead rows.
    pub(crate) fn rows(tape: &Tape, isa: Isa) -> Result<Self> {
        rows(tape, isa).map(|(frame, rows)| Self::Rows(frame, rows))
    }

    pub(super) fn frame(&self) -> &Frame {
        let (Self::Rows(frame, _) | Self::Tiled(frame, _)) = self;
        frame
    }

    /// What functions of small arrays have of their own.
    pub(super) fn pool(&self) -> &[u64] {
        if let Self::Tiled(_, plan) = self { &plan.pool } else { &[] }
    }

    /// Whether it is the trivial one.
    pub(crate) fn is_rows(&self) -> bool {
        matches!(self, Self::Rows(..))
    }

    /// Whether a run writes states.
    pub(crate) fn updates(&self) -> bool {
        let Frame { donated, commits, .. } = self.frame();
        !(donated.is_empty() && commits.is_empty())
    }

    /// Bytes of a workspace for so many threads.
    pub(crate) fn workspace_bytes(&self, threads: usize) -> usize {
        let Frame { arena, local, scratch, .. } = *self.frame();
        (local + scratch).saturating_mul(threads).saturating_add(arena)
    }

    /// Bytes of the constants that all workspaces share.
    pub(crate) fn constant_bytes(&self) -> usize {
        self.frame().constants.iter().map(Constant::bytes).fold(0, usize::saturating_add)
    }
}
