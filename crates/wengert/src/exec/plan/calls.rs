//! The calls of a tiled plan, and in what order they run.

use std::num::NonZeroUsize;
use std::ops::Range;

use smallvec::SmallVec;

use super::{Described, Function, MicroOp, Placed};
use crate::exec::code::Code;
use crate::exec::graph::{Action, Strides, WriteMode};
use crate::exec::memory::Addresses;
use crate::exec::table::{BufferId, Table};

/// What a call reads or writes of a buffer.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) struct Part {
    pub(in crate::exec) buffer: BufferId,
    /// Elements for each chunk of the group; `None` for the whole array, or where there are none.
    pub(in crate::exec) chunk: Option<NonZeroUsize>,
}

/// One kernel call for each tile.
pub(in crate::exec) struct KernelCall {
    pub(in crate::exec) action: Action,
    /// What computes it, if that is a row's.
    pub(in crate::exec) code: Option<Code>,
    /// The row of the tape, to blame for faults.
    pub(in crate::exec) row: u32,
    pub(in crate::exec) operands: SmallVec<[Part; 3]>,
    /// Of operands that are read where they lie, transposed say.
    pub(in crate::exec) strides: Option<Box<[Option<Box<Strides>>]>>,
    pub(in crate::exec) results: SmallVec<[Part; 1]>,
    pub(in crate::exec) packed: Option<BufferId>,
    pub(in crate::exec) mode: WriteMode,
    /// Whether every tile of a task has the same result, so that the first one's is made for all.
    pub(in crate::exec) once: bool,
    /// Whether NaNs of the results are made canonical: those of outputs and states.
    pub(in crate::exec) canonical: bool,
    /// Blocks for each chunk of the group.
    pub(in crate::exec) blocks: usize,
    pub(in crate::exec) scratch: usize,
}

impl KernelCall {
    /// The operand that lies where the first result does, and comes without elements.
    pub(in crate::exec) fn alias(&self) -> Option<usize> {
        if let WriteMode::Alias(operand) = self.mode { Some(usize::from(operand)) } else { None }
    }

    /// By what the result is multiplied before it is added to what is there (α), and that before (β), as in BLAS; at β = 0
    /// what is there may be anything.
    pub(in crate::exec) fn factors(&self) -> (f64, f64) {
        match self.mode {
            WriteMode::Overwrite => (1.0, 0.0),
            WriteMode::Accumulate { alpha, beta, .. } => (alpha, beta),
            WriteMode::Alias(_) => (1.0, 1.0),
        }
    }
}

/// Calls that one thread makes tile by tile: what one makes, the next finds in its cache.
pub(in crate::exec) struct TileLoop {
    pub(in crate::exec) body: Body,
    /// Chunks of a tile.
    pub(in crate::exec) tile: usize,
    /// Whether no tile goes beyond the end of a segment of a split reduction.
    pub(in crate::exec) splits: bool,
}

/// What a tile loop runs.
pub(in crate::exec) enum Body {
    Calls(Range<usize>),
    /// Where all of it are functions of small arrays.
    Micro(Range<usize>),
}

/// Tile loops over the same chunks: equal parts of all arrays that they read and write in part.
pub(in crate::exec) struct Group {
    pub(in crate::exec) chunks: usize,
    pub(in crate::exec) tasks: usize,
    pub(in crate::exec) loops: Range<usize>,
}

/// Groups that do not depend on one another: their tasks are shared among the threads.
pub(in crate::exec) struct Level {
    pub(in crate::exec) groups: Range<usize>,
    pub(in crate::exec) tasks: usize,
}

/// Levels of groups of tile loops of calls, and the buffers that they work on.
#[derive(Default)]
pub(crate) struct Tiled {
    pub(in crate::exec) levels: Vec<Level>,
    pub(in crate::exec) groups: Vec<Group>,
    pub(in crate::exec) loops: Vec<TileLoop>,
    pub(in crate::exec) calls: Vec<KernelCall>,
    pub(in crate::exec) micro: Vec<MicroOp>,
    /// What each of these is.
    pub(in crate::exec) described: Vec<Described>,
    pub(in crate::exec) functions: Vec<Function>,
    /// What these have of their own.
    pub(in crate::exec) pool: Vec<u64>,
    pub(in crate::exec) addresses: Addresses,
    /// The same as machine code.
    #[cfg(feature = "jit")]
    pub(in crate::exec) machine: Option<Box<Machined>>,
    /// What micro-ops make whose NaNs are made canonical at the end.
    pub(in crate::exec) canonical: Vec<BufferId>,
    /// The byte of the arena before which all that micro-ops touch of it lies.
    pub(in crate::exec) reach: usize,
    pub(in crate::exec) buffers: Table<BufferId, Placed>,
}

/// The machine code of a plan.
#[cfg(feature = "jit")]
pub(in crate::exec) struct Machined {
    pub(in crate::exec) page: crate::exec::page::Page,
    /// Calls that are one loop, in their order.
    pub(in crate::exec) loops: Vec<Fused>,
    /// For each call of the plan the loop that begins with it.
    pub(in crate::exec) begins: Vec<Option<u32>>,
}

/// Neighbouring calls of a tile loop that are one loop for each tile: a function of pointers to parts of arrays.
#[cfg(feature = "jit")]
pub(in crate::exec) struct Fused {
    pub(in crate::exec) calls: Range<usize>,
    /// What the pointers are to.
    pub(in crate::exec) streams: SmallVec<[Part; 8]>,
    /// The byte of the code that it begins with.
    pub(in crate::exec) byte: u32,
}

#[cfg(feature = "jit")]
impl Fused {
    /// Pointers of a loop, at most: a run has room for them without asking for memory.
    pub(in crate::exec) const POINTERS: usize = 64;
}

/// A kernel call or a micro-op of a plan, and its position among those.
pub(in crate::exec) enum Run<'a> {
    Call(usize, &'a KernelCall),
    Micro(usize),
}

impl Tiled {
    /// Adds a call to the last loop, if that is one of those from `begin` on and has calls; to a new one otherwise.
    pub(super) fn call(&mut self, begin: usize, (tile, splits): (usize, bool), call: KernelCall) {
        self.calls.push(call);
        let end = self.calls.len();
        match self.loops[begin..].last_mut() {
            Some(TileLoop { body: Body::Calls(calls), .. }) => calls.end = end,
            _ => self.loops.push(TileLoop { body: Body::Calls(end - 1..end), tile, splits }),
        }
    }

    /// The same for the last micro-op.
    pub(super) fn micro_op(&mut self, begin: usize) {
        let end = self.micro.len();
        match self.loops[begin..].last_mut() {
            Some(TileLoop { body: Body::Micro(ops), .. }) => ops.end = end,
            _ => self.loops.push(TileLoop { body: Body::Micro(end - 1..end), tile: 1, splits: false }),
        }
    }

    /// All calls and micro-ops in the order of the plan.
    pub(in crate::exec) fn walk(&self) -> impl Iterator<Item = (&Group, &TileLoop, Run<'_>)> {
        let loops = self.groups.iter().flat_map(|g| self.loops[g.loops.clone()].iter().map(move |l| (g, l)));
        loops.flat_map(move |(group, tiles)| {
            let (range, calls) = match &tiles.body {
                Body::Calls(calls) => (calls.clone(), true),
                Body::Micro(ops) => (ops.clone(), false),
            };
            range.map(move |at| {
                let run = if calls { Run::Call(at, &self.calls[at]) } else { Run::Micro(at) };
                (group, tiles, run)
            })
        })
    }
}
