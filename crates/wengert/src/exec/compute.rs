//! Computing the steps of a plan.

use std::ops::{AddAssign, Range};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use smallvec::SmallVec;

use super::arena::Block;
use super::cpu::{Call, Code, Preparation};
use super::folds::{segment_end, slab};
use super::plan::{Action, Body, Function, Line, Place, Plan, Slot, Stage, Step, View};
use super::pool::Pool;
use crate::dtype::{Element, Native, Slice, SliceMut};
use crate::error::{ErrorKind, Fault};
use crate::ir::{Operand, ResultMut};
use crate::kernels::Compiled;
use crate::shape::TensorType;

/// All places of one run.
pub(super) struct Memory<'a> {
    pub(super) plan: &'a Plan,
    /// The arena, the inputs, the states, the constants.
    pub(super) blocks: &'a [Block],
    /// The block of the first state, and of the first constant.
    pub(super) states: usize,
    pub(super) constants: usize,
    /// Where the time of each step, and behind them of each line, is counted, if it is.
    pub(super) clock: Option<&'a [Spent]>,
}

/// What a step took so far.
#[derive(Default)]
pub(crate) struct Spent {
    pub(super) nanoseconds: AtomicU64,
    pub(super) calls: AtomicU64,
}

impl Spent {
    fn add(&self, since: Instant) {
        self.nanoseconds.fetch_add(since.elapsed().as_nanos() as u64, Relaxed);
        self.calls.fetch_add(1, Relaxed);
    }
}

/// The part of a stage that one thread computes at a time.
struct Tile {
    units: Range<usize>,
    /// Where the panel begins that the tile belongs to.
    panel: usize,
    thread: usize,
}

/// Operands and results up to this number are listed on the stack.
const INLINE: usize = 4;

impl Memory<'_> {
    /// Runs all rounds. The error comes with the row that failed.
    pub(super) fn run(&self, pool: &mut Pool) -> Result<(), (u32, ErrorKind)> {
        for round in &self.plan.rounds {
            let stages = &self.plan.stages[round.stages.clone()];
            if let ([stage], 1) = (stages, round.panels) {
                self.panel(stage, 0, 0)?;
                continue;
            }
            // Of several failures that of the first row counts, and of its first panel, whichever came first in time.
            let first: Mutex<Option<(u32, usize, ErrorKind)>> = Mutex::new(None);
            pool.run(round.panels, &|index, thread| {
                let (mut stage, mut panel) = (0, index);
                while panel >= stages[stage].panels {
                    panel -= stages[stage].panels;
                    stage += 1;
                }
                if let Err((row, kind)) = self.panel(&stages[stage], panel, thread) {
                    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.as_ref().is_none_or(|(r, p, _)| (row, index) < (*r, *p)) {
                        *first = Some((row, index, kind));
                    }
                }
            });
            if let Some((row, _, kind)) = first.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err((row, kind));
            }
        }
        Ok(())
    }

    /// Computes one panel of a stage, tile by tile. The error comes with the row that failed.
    fn panel(&self, stage: &Stage, panel: usize, thread: usize) -> Result<(), (u32, ErrorKind)> {
        let bound = |p: usize| p * stage.units / stage.panels;
        let (start, end) = (bound(panel), bound(panel + 1));
        for pass in &self.plan.passes[stage.passes.clone()] {
            let steps = match &pass.body {
                Body::Lines(lines) => {
                    self.lines(lines.clone()).map_err(|kind| (self.plan.lines[lines.start].row, kind))?;
                    continue;
                }
                Body::Steps(steps) => steps,
            };
            // What is the same in every tile is made once for the longest so far: segments differ by a unit.
            let (mut at, mut longest) = (start, 0);
            while at < end {
                let most = if pass.folds { segment_end(stage.units, at) } else { end };
                let units = at..at.saturating_add(pass.tile).min(end).min(most);
                at = units.end;
                let tile = Tile { units, panel: start, thread };
                for (step, index) in self.plan.steps[steps.clone()].iter().zip(steps.clone()) {
                    if step.once && tile.units.len() <= longest {
                        continue;
                    }
                    let clock = self.clock.map(|_| Instant::now());
                    self.step(step, &tile).map_err(|kind| (step.row, kind))?;
                    if step.canonical {
                        // While it is in the cache.
                        for view in &step.results {
                            // SAFETY: as in `step`, whose parts are gone.
                            unsafe { self.write(*view, &tile) }.canonicalise();
                        }
                    }
                    if let (Some(clock), Some(spent)) = (clock, self.clock.and_then(|c| c.get(index))) {
                        spent.add(clock);
                    }
                }
                longest = longest.max(tile.units.len());
            }
        }
        Ok(())
    }

    /// Applies functions to small arrays.
    fn lines(&self, lines: Range<usize>) -> Result<(), ErrorKind> {
        let Some(clock) = self.clock else { return self.apply(&self.plan.lines[lines]) };
        for at in lines {
            let start = Instant::now();
            self.apply(&self.plan.lines[at..at + 1])?;
            if let Some(spent) = clock.get(self.plan.steps.len() + at) {
                spent.add(start);
            }
        }
        Ok(())
    }

    fn apply(&self, lines: &[Line]) -> Result<(), ErrorKind> {
        let leaves = || ErrorKind::Malformed("a plan that leaves its arena".into());
        let memory = self.blocks[0].words_of(self.plan.reach).ok_or_else(leaves)?;
        for line in lines {
            let Function { single, .. } = &self.plan.functions[line.function as usize];
            // SAFETY: no line leaves the reach of them all, and the stage is the first thread's alone (V3, V4 of
            // `verify`); what it reads is there (V2), and its result shares no byte with that (V1, V5). The plan keeps
            // the code that the functions belong to.
            unsafe {
                single.apply(line.x.map(|x| memory.word(x)), memory.word_mut(line.out), line.len as usize);
            }
        }
        Ok(())
    }

    /// Where the part of a slot that a tile works on lies: its block, byte and number of elements.
    fn locate(&self, view: View, tile: &Tile) -> (Block, usize, usize) {
        let Slot { place, ty, len, .. } = &self.plan.slots[view.slot as usize];
        let (start, len, unit) = match view.unit {
            Some(unit) => (tile.units.start * unit.get(), tile.units.len() * unit.get(), unit.get()),
            None => (0, *len, 0),
        };
        let bytes = ty.dtype.bytes();
        let (block, offset) = self.find(*place);
        let thread = || self.plan.arena + tile.thread * (self.plan.local + self.plan.scratch);
        let offset = match *place {
            Place::Local { tile: true, .. } => thread() + offset,
            Place::Local { tile: false, .. } => thread() + offset + (start - tile.panel * unit) * bytes,
            // Any part of it is like any other.
            Place::Fill(_) => offset,
            _ => offset + start * bytes,
        };
        (block, offset, len)
    }

    fn find(&self, place: Place) -> (Block, usize) {
        let (block, offset) = match place {
            Place::Arena(offset) | Place::Local { offset, .. } => (0, offset),
            Place::Input(i) => (1 + i, 0),
            Place::State(k) => (self.states + k, 0),
            Place::Constant(c) | Place::Fill(c) => (self.constants + c, 0),
        };
        (self.blocks[block], offset)
    }

    /// All of an array of this type.
    ///
    /// # Safety
    /// No writer of it lives at the same time.
    pub(super) unsafe fn place<'b>(&self, place: Place, ty: &TensorType) -> Slice<'b> {
        let (block, offset) = self.find(place);
        // SAFETY: passed on to the caller; the blocks outlive the run.
        unsafe { block.slice(offset, ty.dtype, ty.shape.elements()) }
    }

    /// The same for writing.
    ///
    /// # Safety
    /// It lies in the arena, and no other user of it lives at the same time.
    pub(super) unsafe fn place_mut<'b>(&self, place: Place, ty: &TensorType) -> SliceMut<'b> {
        let (block, offset) = self.find(place);
        // SAFETY: passed on to the caller; the blocks outlive the run.
        unsafe { block.slice_mut(offset, ty.dtype, ty.shape.elements()) }
    }

    /// # Safety
    /// No writer of this part lives at the same time.
    unsafe fn read<'b>(&self, view: View, tile: &Tile) -> Slice<'b> {
        let (block, offset, len) = self.locate(view, tile);
        // SAFETY: passed on to the caller; the blocks outlive the run.
        unsafe { block.slice(offset, self.plan.slots[view.slot as usize].ty.dtype, len) }
    }

    /// # Safety
    /// No other user of this part lives at the same time.
    unsafe fn write<'b>(&self, view: View, tile: &Tile) -> SliceMut<'b> {
        let (block, offset, len) = self.locate(view, tile);
        // SAFETY: passed on to the caller; the blocks outlive the run, and plans write only to the arena and
        // to states that are bound exclusively.
        unsafe { block.slice_mut(offset, self.plan.slots[view.slot as usize].ty.dtype, len) }
    }

    /// A part of the result of a fold.
    ///
    /// # Safety
    /// No other user of it lives at the same time.
    unsafe fn part<'b>(&self, view: View, tile: &Tile, part: usize, ty: &TensorType) -> SliceMut<'b> {
        let (block, offset, _) = self.locate(view, tile);
        // SAFETY: passed on to the caller; the blocks outlive the run, and plans write only to the arena and
        // to states that are bound exclusively.
        unsafe { block.slice_mut(offset + part * ty.bytes(), ty.dtype, ty.shape.elements()) }
    }

    /// The memory of a thread that a step may do with as it likes.
    ///
    /// # Safety
    /// No other user of it lives at the same time.
    unsafe fn scratch<'b>(&self, step: &Step, tile: &Tile) -> &'b mut [u64] {
        let Plan { arena, local, scratch, .. } = *self.plan;
        // SAFETY: behind all arrays each thread has memory of its own; the rest is passed on to the caller.
        unsafe { self.blocks[0].words(arena + tile.thread * (local + scratch) + local, step.scratch) }
    }

    /// Computes a map of a tile. Its result may lie where one of its operands does. `None` where not all of them fit.
    fn map(&self, map: &Compiled, step: &Step, tile: &Tile) -> Option<()> {
        let elements = |view: &View| self.locate(*view, tile).2;
        let len = step.results.first().map_or(0, elements);
        let pointer = |view: &View| {
            let (block, offset, found) = self.locate(*view, tile);
            let bytes = self.plan.slots[view.slot as usize].ty.dtype.bytes();
            block.pointer(offset, len, bytes).filter(|_| found == len)
        };
        let x = step.operands.iter().map(|view| Some(pointer(view)?.cast_const()));
        let x: SmallVec<[*const u8; INLINE]> = x.collect::<Option<_>>()?;
        let y: SmallVec<[*mut u8; INLINE]> = step.results.iter().map(pointer).collect::<Option<_>>()?;
        // SAFETY: the parts are of the body's types and length (V4 of `verify`). Nobody else uses those of results, nor writes
        // the others (V3, V6); and where a result lies where an operand does the body allows it (V5). The thread's scratch is
        // free, and as large as the body asks for (V4).
        unsafe {
            let scratch = self.scratch(step, tile);
            map.apply(&x, &y, scratch.as_mut_ptr().cast(), len);
        }
        Some(())
    }

    fn step(&self, step: &Step, tile: &Tile) -> Result<(), ErrorKind> {
        if let Action::Compute(code, _) = &step.action
            && let Code::Map(map) = &**code
        {
            let leaves = || ErrorKind::Malformed("a plan that leaves its arrays".into());
            return self.map(map, step, tile).ok_or_else(leaves);
        }
        // SAFETY, for all parts below, by the invariants of `verify`: they lie inside their arrays and memory (V4, V8);
        // what is alive at the same time shares no byte (V1), other panels neither read nor write what is written here
        // (V3), and it is no operand that comes with elements (V5).
        // Operands that are not read, or lie where the result does, come without elements.
        let there = |o: usize| match &step.action {
            Action::Prepare(.., operand) => o == *operand,
            _ => step.onto.map(usize::from) != Some(o),
        };
        let operand = |(o, view): (usize, &View)| Operand {
            ty: &self.plan.slots[view.slot as usize].ty,
            // SAFETY: see above.
            data: if there(o) { unsafe { self.read(*view, tile) } } else { Slice::U8(&[]) },
        };
        let strides = step.strides.as_deref();
        let operands: SmallVec<[Operand<'_>; INLINE]> =
            step.operands.iter().enumerate().map(operand).collect();
        // SAFETY: see above.
        let write = |view: &View| unsafe { self.write(*view, tile) };
        let isa = self.plan.isa;
        match &step.action {
            Action::Compute(code, _) => {
                let result = |view: &View| ResultMut {
                    ty: &self.plan.slots[view.slot as usize].ty,
                    data: write(view),
                };
                let mut results: SmallVec<[ResultMut<'_>; INLINE]> =
                    step.results.iter().map(result).collect();
                // SAFETY: see above.
                let scratch = unsafe { self.scratch(step, tile) };
                let prepared = step.prepared.map(|slot| View { slot, unit: None });
                // SAFETY: the layout is complete, and nothing writes to it any more (V2, V7).
                let prepared = prepared.and_then(|view| i64::from_slice(unsafe { self.read(view, tile) }));
                let prepared = bytemuck::cast_slice(prepared.unwrap_or(&[]));
                let (beta, alpha) = (step.beta, step.alpha);
                let blocks = tile.units.start * step.blocks..tile.units.end * step.blocks;
                let call = Call {
                    operands: &operands,
                    strides,
                    results: &mut results,
                    scratch,
                    prepared,
                    blocks,
                    isa,
                    beta,
                    alpha,
                };
                code.run(call).map_err(ErrorKind::Fault)
            }
            Action::Prepare(code, ..) => {
                let mut out = step.results.first().map(write);
                let out = out.as_mut().and_then(i64::from_slice_mut).ok_or(ErrorKind::Fault(Fault::Type))?;
                let pieces = tile.units.start * step.blocks..tile.units.end * step.blocks;
                let out = bytemuck::cast_slice_mut(out);
                code.prepare(Preparation { operands: &operands, strides, pieces, out, isa })
                    .map_err(ErrorKind::Fault)
            }
            Action::Fold(fold) => {
                let all = tile.units.start * step.blocks..tile.units.end * step.blocks;
                for chunk in fold.chunks(all.clone()) {
                    let types: SmallVec<[TensorType; INLINE]> =
                        operands.iter().map(|o| slab(o.ty, chunk.slabs.len())).collect();
                    let slabs = operands.iter().zip(&types).map(|(o, ty)| chunk.of(o, ty, &all));
                    let slabs: SmallVec<[Operand<'_>; INLINE]> = slabs.collect();
                    // SAFETY: see above; no other panel has this part (V9).
                    let part = |view: &View| unsafe { self.part(*view, tile, chunk.part, &fold.ty) };
                    let part = |view| ResultMut { ty: &fold.ty, data: part(view) };
                    let mut parts: SmallVec<[ResultMut<'_>; 1]> = step.results.iter().map(part).collect();
                    // SAFETY: see above.
                    let memory = unsafe { self.scratch(step, tile) };
                    let beta = if chunk.first { 0.0 } else { 1.0 };
                    fold.code.run_within(&slabs, &mut parts, memory, isa, beta).map_err(ErrorKind::Fault)?;
                }
                Ok(())
            }
            Action::Join => {
                let out = step.results.first().map(write);
                let start = tile.units.start * step.blocks;
                let part =
                    step.results.first().map_or(0, |r| self.plan.slots[r.slot as usize].ty.shape.elements());
                let joined = match (out, operands.first().map(|o| o.data)) {
                    (Some(SliceMut::F32(out)), Some(Slice::F32(x))) => {
                        isa.loops(|| join(out, x, start, part))
                    }
                    (Some(SliceMut::F64(out)), Some(Slice::F64(x))) => {
                        isa.loops(|| join(out, x, start, part))
                    }
                    _ => None,
                };
                joined.ok_or(ErrorKind::Fault(Fault::Type))
            }
            Action::Guard { recorded } => {
                let found = operands.first().and_then(|p| p.data.f64_at(0)).is_some_and(|p| p != 0.0);
                if found == *recorded { Ok(()) } else { Err(ErrorKind::Guard { recorded: *recorded, found }) }
            }
            Action::Copy => {
                let fits = step
                    .results
                    .first()
                    .map(write)
                    .zip(operands.first())
                    .is_some_and(|(mut to, from)| to.copy_from(from.data));
                if fits {
                    Ok(())
                } else {
                    Err(ErrorKind::Malformed("a copy between arrays that differ".into()))
                }
            }
        }
    }
}

/// Adds up parts of this length, from `start` on in each, in their order.
#[inline(always)]
fn join<T: Copy + AddAssign>(out: &mut [T], parts: &[T], start: usize, part: usize) -> Option<()> {
    for (i, x) in parts.chunks_exact(part.max(1)).enumerate() {
        let x = x.get(start..start + out.len())?;
        if i == 0 {
            out.copy_from_slice(x);
        } else {
            out.iter_mut().zip(x).for_each(|(o, &x)| *o += x);
        }
    }
    Some(())
}
