//! Making the calls of a plan.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use smallvec::SmallVec;

use super::pool::Pool;
use crate::elements::{Element, Native, Slice, SliceMut, with_dtype, with_float, with_integer};
use crate::error::{ErrorKind, Fault};
use crate::exec::code::{Call, Packing};
use crate::exec::frame::Frame;
use crate::exec::graph::{Action, Home, Split, rows_of, segment_end};
use crate::exec::memory::{Memory, Region};
use crate::exec::place::Place;
#[cfg(feature = "jit")]
use crate::exec::plan::Fused;
use crate::exec::plan::{Body, Group, KernelCall, MicroOp, Part, Placed, Tiled};
use crate::ir::{Monoid, Operand, ResultMut};
use crate::kernels::{Compiled, reduce};
use crate::shape::TensorType;

/// What a call took so far.
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

/// The part of a group that one thread computes at a time.
struct Tile {
    chunks: Range<usize>,
    /// The first chunk of the task that the tile belongs to.
    task: usize,
    thread: usize,
}

/// Operands and results up to this number are listed on the stack.
const INLINE: usize = 4;

/// A tiled plan in the memory of a run.
pub(super) struct Interpreter<'a> {
    pub(super) plan: &'a Tiled,
    pub(super) memory: Memory<'a>,
    /// Where the time of each call, and behind them of each micro-op, is counted, if it is.
    pub(super) clock: Option<&'a [Spent]>,
}

impl Interpreter<'_> {
    /// Runs everything. The error comes with the row that failed.
    pub(super) fn run(&self, pool: &mut Pool) -> Result<(), (u32, ErrorKind)> {
        if self.plan.calls.is_empty() && self.clock.is_none() {
            return self.small().map_err(|kind| (0, kind));
        }
        self.levels(pool)?;
        self.canonicalise();
        Ok(())
    }

    /// Runs a plan of micro-ops alone, in its order.
    #[inline]
    pub(super) fn small(&self) -> Result<(), ErrorKind> {
        self.fast(0..self.plan.micro.len())?;
        self.canonicalise();
        Ok(())
    }

    /// Makes NaNs canonical that micro-ops made.
    #[inline]
    fn canonicalise(&self) {
        for &buffer in &self.plan.canonical {
            let Placed { place: Place::Arena(offset), ty, len, .. } = &self.plan.buffers[buffer] else {
                continue;
            };
            // SAFETY: everybody is done, and what lives on lies in the arena (V6).
            unsafe { self.memory.regions[0].slice_mut(*offset, ty.dtype, *len) }.canonicalise();
        }
    }

    fn levels(&self, pool: &mut Pool) -> Result<(), (u32, ErrorKind)> {
        for level in &self.plan.levels {
            let groups = &self.plan.groups[level.groups.clone()];
            if let ([group], 1) = (groups, level.tasks) {
                self.task(group, 0, 0)?;
                continue;
            }
            // Of several failures the one of the first row and task is told, whichever came first.
            let first: Mutex<Option<(u32, usize, ErrorKind)>> = Mutex::new(None);
            pool.run(level.tasks, &|index, thread| {
                let (mut group, mut task) = (0, index);
                while task >= groups[group].tasks {
                    task -= groups[group].tasks;
                    group += 1;
                }
                if let Err((row, kind)) = self.task(&groups[group], task, thread) {
                    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.as_ref().is_none_or(|(r, t, _)| (row, index) < (*r, *t)) {
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

    /// Computes one task of a group, loop by loop. The error comes with the row that failed.
    fn task(&self, group: &Group, task: usize, thread: usize) -> Result<(), (u32, ErrorKind)> {
        // Most groups of small programs are one task, which is not worth a division.
        let bound = |task: usize| match group.tasks {
            1 => task * group.chunks,
            tasks => task * group.chunks / tasks,
        };
        let (start, end) = (bound(task), bound(task + 1));
        for tiles in &self.plan.loops[group.loops.clone()] {
            let calls = match &tiles.body {
                Body::Micro(ops) => {
                    self.micro(ops.clone()).map_err(|kind| (self.plan.described(ops.start).0, kind))?;
                    continue;
                }
                Body::Calls(calls) => calls,
            };
            // A call whose tiles are all alike is made again for a longer tile only: segments differ by a chunk.
            let (mut at, mut longest) = (start, 0);
            while at < end {
                let most = if tiles.splits { segment_end(group.chunks, at) } else { end };
                let chunks = at..at.saturating_add(tiles.tile).min(end).min(most);
                at = chunks.end;
                let tile = Tile { chunks, task: start, thread };
                let mut index = calls.start;
                while index < calls.end {
                    let call = &self.plan.calls[index];
                    if let Some(next) = self.fused(index, &tile, longest).map_err(|kind| (call.row, kind))? {
                        index = next;
                        continue;
                    }
                    if !(call.once && tile.chunks.len() <= longest) {
                        self.timed(call, index, &tile).map_err(|kind| (call.row, kind))?;
                    }
                    index += 1;
                }
                longest = longest.max(tile.chunks.len());
            }
        }
        Ok(())
    }

    /// Makes a call for a tile, and counts its time if that is asked for.
    fn timed(&self, call: &KernelCall, index: usize, tile: &Tile) -> Result<(), ErrorKind> {
        let start = self.clock.map(|_| Instant::now());
        self.call(call, tile)?;
        if call.canonical {
            // While it is in the cache.
            for part in &call.results {
                // SAFETY: as in `call`, whose parts are gone.
                unsafe { self.write(*part, tile) }.canonicalise();
            }
        }
        if let (Some(start), Some(spent)) = (start, self.clock.and_then(|c| c.get(index))) {
            spent.add(start);
        }
        Ok(())
    }

    /// Applies functions to small arrays.
    fn micro(&self, ops: Range<usize>) -> Result<(), ErrorKind> {
        let Some(clock) = self.clock else { return self.fast(ops) };
        for at in ops {
            let start = Instant::now();
            self.apply(&self.plan.micro[at..at + 1])?;
            if let Some(spent) = clock.get(self.plan.calls.len() + at) {
                spent.add(start);
            }
        }
        Ok(())
    }

    /// By machine code, if there is some.
    #[inline]
    fn fast(&self, ops: Range<usize>) -> Result<(), ErrorKind> {
        #[cfg(feature = "jit")]
        if let Some(code) = self.plan.machine.as_ref().and_then(|machine| machine.page.part(&ops)) {
            self.memory.words(self.plan.addresses, self.plan.reach).ok_or_else(leaves)?;
            // SAFETY: as for `apply`, whose functions on the same arrays this code is.
            unsafe { code.run(self.memory.regions) };
            return Ok(());
        }
        self.apply(&self.plan.micro[ops])
    }

    #[inline]
    fn apply(&self, ops: &[MicroOp]) -> Result<(), ErrorKind> {
        let memory = self.memory.words(self.plan.addresses, self.plan.reach).ok_or_else(leaves)?;
        for op in ops {
            let [a, b, c] = op.x;
            // SAFETY: no micro-op leaves the reach of them all, the pool, or an array that is bound, and the group is the first thread's
            // alone (V3, V4, V8 of `verify`); what it reads is there (V2), and its result lies in the arena (V4) and shares no byte with
            // that (V1, V5). The plan keeps what words of the pool point to.
            unsafe {
                let [a, b, c] = [memory.word(a), memory.word(b), memory.word(c)].map(<*mut u8>::cast_const);
                (op.function)(a, b, c, memory.word(op.out), op.len as usize);
            }
        }
        Ok(())
    }

    /// Computes the calls of a tile that are one loop with this one, if there are some; the call that comes next. Not where the time of each
    /// call is asked for.
    #[cfg(feature = "jit")]
    #[inline]
    fn fused(&self, index: usize, tile: &Tile, longest: usize) -> Result<Option<usize>, ErrorKind> {
        let machine = self.plan.machine.as_ref().filter(|_| self.clock.is_none());
        let begun = machine.and_then(|machine| Some((machine, (*machine.begins.get(index)?)?)));
        let Some((machine, at)) = begun else { return Ok(None) };
        let fused = &machine.loops[at as usize];
        if tile.chunks.len() > longest {
            // What all tiles have alike is made ahead.
            for at in fused.calls.clone().filter(|&at| self.plan.calls[at].once) {
                self.timed(&self.plan.calls[at], at, tile)?;
            }
        }
        let mut len = None;
        let pointers = fused.streams.iter().map(|part| self.pointer(part, tile, &mut len));
        let pointers: Option<SmallVec<[*mut u8; Fused::POINTERS]>> = pointers.collect();
        let pointers = pointers.ok_or_else(leaves)?;
        // SAFETY: as for `map`, whose calls on the same parts this loop is: they have as many elements as each of these, and where they share
        // memory, it is that of the same element.
        unsafe { machine.page.run_loop(fused.byte, &pointers, len.unwrap_or(0)) };
        Ok(Some(fused.calls.end))
    }

    #[cfg(not(feature = "jit"))]
    fn fused(&self, _: usize, _: &Tile, _: usize) -> Result<Option<usize>, ErrorKind> {
        Ok(None)
    }

    /// Where the part of a buffer that a tile works on lies: its region, byte and number of elements.
    fn locate(&self, part: Part, tile: &Tile) -> (Region, usize, usize) {
        let Placed { place, ty, first, len, .. } = &self.plan.buffers[part.buffer];
        let (start, len, chunk) = match part.chunk {
            Some(chunk) => (tile.chunks.start * chunk.get(), tile.chunks.len() * chunk.get(), chunk.get()),
            None => (0, *len, 0),
        };
        let start = first + start;
        let bytes = ty.dtype.bytes();
        let (region, offset) = self.memory.find(*place);
        let Frame { arena, local, scratch, .. } = *self.memory.frame;
        let thread = || arena + tile.thread * (local + scratch);
        let offset = match *place {
            Place::Tile(_) => thread() + offset,
            Place::Task(_) => thread() + offset + (start - tile.task * chunk) * bytes,
            // Any part of it is like any other.
            Place::Home(Home::Fill(_)) => offset,
            _ => offset + start * bytes,
        };
        (region, offset, len)
    }

    fn ty(&self, part: &Part) -> &TensorType {
        &self.plan.buffers[part.buffer].ty
    }

    /// # Safety
    /// No writer of this part lives at the same time.
    unsafe fn read<'b>(&self, part: Part, tile: &Tile) -> Slice<'b> {
        let (region, offset, len) = self.locate(part, tile);
        // SAFETY: passed on to the caller; the regions outlive the run.
        unsafe { region.slice(offset, self.ty(&part).dtype, len) }
    }

    /// # Safety
    /// No other user of this part lives at the same time.
    unsafe fn write<'b>(&self, part: Part, tile: &Tile) -> SliceMut<'b> {
        let (region, offset, len) = self.locate(part, tile);
        // SAFETY: passed on to the caller; the regions outlive the run, and plans write only to the arena and
        // to states that are bound exclusively.
        unsafe { region.slice_mut(offset, self.ty(&part).dtype, len) }
    }

    /// One of the partial results of a split reduction.
    ///
    /// # Safety
    /// No other user of it lives at the same time.
    unsafe fn partial<'b>(&self, part: Part, tile: &Tile, segment: usize, ty: &TensorType) -> SliceMut<'b> {
        let (region, offset, _) = self.locate(part, tile);
        // SAFETY: passed on to the caller; the regions outlive the run, and plans write only to the arena and
        // to states that are bound exclusively.
        unsafe { region.slice_mut(offset + segment * ty.bytes(), ty.dtype, ty.shape.elements()) }
    }

    /// The memory of a thread that a call may do with as it likes.
    ///
    /// # Safety
    /// No other user of it lives at the same time.
    unsafe fn scratch<'b>(&self, call: &KernelCall, tile: &Tile) -> &'b mut [u64] {
        let Frame { arena, local, scratch, .. } = *self.memory.frame;
        // SAFETY: behind all arrays each thread has memory of its own; the rest is passed on to the caller.
        unsafe { self.memory.regions[0].words(arena + tile.thread * (local + scratch) + local, call.scratch) }
    }

    /// A pointer to a part, if it has as many elements as the parts before.
    fn pointer(&self, part: &Part, tile: &Tile, len: &mut Option<usize>) -> Option<*mut u8> {
        let (region, offset, found) = self.locate(*part, tile);
        let fits = found == *len.get_or_insert(found);
        region.pointer(offset, found, self.ty(part).dtype.bytes()).filter(|_| fits)
    }

    /// Computes a map of a tile. Its result may lie where one of its operands does. `None` where not all of them fit.
    fn map(&self, map: &Compiled, call: &KernelCall, tile: &Tile) -> Option<()> {
        let mut len = None;
        let mut pointer = |part: &Part| self.pointer(part, tile, &mut len);
        let (mut x, mut y): (SmallVec<[*const u8; INLINE]>, SmallVec<[*mut u8; INLINE]>) = Default::default();
        for part in &call.results {
            y.push(pointer(part)?);
        }
        for part in &call.operands {
            x.push(pointer(part)?.cast_const());
        }
        let len = len.unwrap_or(0);
        // SAFETY: the parts are of the body's types and length (V4 of `verify`). Nobody else uses those of results, nor writes
        // the others (V3, V6); and where a result lies where an operand does the body allows it (V5). The thread's scratch is
        // free, and as large as the body asks for (V4).
        unsafe {
            let scratch = self.scratch(call, tile);
            map.apply(&x, &y, scratch.as_mut_ptr().cast(), len);
        }
        Some(())
    }

    fn call(&self, call: &KernelCall, tile: &Tile) -> Result<(), ErrorKind> {
        if let (Action::Compute(_), Some(map)) = (&call.action, call.code.as_ref().and_then(|c| c.map())) {
            return self.map(map, call, tile).ok_or_else(leaves);
        }
        // Operands that are not read, or lie where the result does, come without elements.
        let there = |o: usize| match &call.action {
            Action::Pack(_, operand) => o == *operand,
            _ => call.alias() != Some(o),
        };
        let operand = |(o, part): (usize, &Part)| Operand {
            ty: self.ty(part),
            data: if there(o) {
                // SAFETY: here and for all parts of calls, by the invariants of `verify`: they lie inside their arrays and
                // memory (V4, V8); what is alive at the same time shares no byte (V1), other tasks neither read nor write
                // what is written here (V3), and it is no operand that comes with elements (V5).
                unsafe { self.read(*part, tile) }
            } else {
                Slice::U8(&[])
            },
        };
        let operands =
            || call.operands.iter().enumerate().map(operand).collect::<SmallVec<[Operand<'_>; INLINE]>>();
        match &call.action {
            Action::Compute(_) => self.compute(call, &operands(), tile),
            Action::Pack(..) => self.pack(call, &operands(), tile),
            Action::Partial(split) => self.partials(split, call, &operands(), tile),
            Action::Combine(monoid) => self.combine(*monoid, call, &operands(), tile),
            Action::Guard { recorded } => {
                let found = operands().first().and_then(|p| p.data.f64_at(0)).is_some_and(|p| p != 0.0);
                if found == *recorded { Ok(()) } else { Err(ErrorKind::Guard { recorded: *recorded, found }) }
            }
            Action::Join => Ok(()),
            Action::Beside(_) => self.beside(call, tile),
            Action::Copy => {
                // SAFETY: see `call`.
                let to = call.results.first().map(|part| unsafe { self.write(*part, tile) });
                let fits = to.zip(operands().first()).is_some_and(|(mut to, from)| to.copy_from(from.data));
                if fits {
                    Ok(())
                } else {
                    Err(ErrorKind::Malformed("a copy between arrays that differ".into()))
                }
            }
        }
    }

    fn compute(&self, call: &KernelCall, operands: &[Operand<'_>], tile: &Tile) -> Result<(), ErrorKind> {
        let code = call.code.as_ref().ok_or(ErrorKind::Fault(Fault::Type))?;
        // SAFETY: see `call`.
        let result = |part: &Part| ResultMut { ty: self.ty(part), data: unsafe { self.write(*part, tile) } };
        let mut results: SmallVec<[ResultMut<'_>; INLINE]> = call.results.iter().map(result).collect();
        // SAFETY: see `call`.
        let scratch = unsafe { self.scratch(call, tile) };
        let packed = call.packed.map(|buffer| Part { buffer, chunk: None });
        // SAFETY: the operand is packed, and nothing writes to it any more (V2, V7).
        let packed = packed.and_then(|part| i64::from_slice(unsafe { self.read(part, tile) }));
        let (alpha, beta) = call.factors();
        code.run(Call {
            operands,
            strides: call.strides.as_deref(),
            results: &mut results,
            scratch,
            packed: bytemuck::cast_slice(packed.unwrap_or(&[])),
            blocks: tile.chunks.start * call.blocks..tile.chunks.end * call.blocks,
            isa: self.memory.frame.isa,
            alpha,
            beta,
        })
        .map_err(ErrorKind::Fault)
    }

    fn pack(&self, call: &KernelCall, operands: &[Operand<'_>], tile: &Tile) -> Result<(), ErrorKind> {
        let code = call.code.as_ref().ok_or(ErrorKind::Fault(Fault::Type))?;
        // SAFETY: see `call`.
        let mut out = call.results.first().map(|part| unsafe { self.write(*part, tile) });
        let out = out.as_mut().and_then(i64::from_slice_mut).ok_or(ErrorKind::Fault(Fault::Type))?;
        let pieces = tile.chunks.start * call.blocks..tile.chunks.end * call.blocks;
        let (out, isa) = (bytemuck::cast_slice_mut(out), self.memory.frame.isa);
        code.pack(Packing { operands, strides: call.strides.as_deref(), pieces, out, isa })
            .map_err(ErrorKind::Fault)
    }

    /// Reduces the chunks of a tile, one after another.
    fn partials(
        &self,
        split: &Split,
        call: &KernelCall,
        operands: &[Operand<'_>],
        tile: &Tile,
    ) -> Result<(), ErrorKind> {
        let code = call.code.as_ref().ok_or(ErrorKind::Fault(Fault::Type))?;
        let all = tile.chunks.start * call.blocks..tile.chunks.end * call.blocks;
        for chunk in split.chunks(all.clone()) {
            let types: SmallVec<[TensorType; INLINE]> =
                operands.iter().map(|o| rows_of(o.ty, chunk.rows.len())).collect();
            let rows = operands.iter().zip(&types).map(|(o, ty)| chunk.of(o, ty, &all));
            let rows: SmallVec<[Operand<'_>; INLINE]> = rows.collect();
            // SAFETY: see `call`; no other task has this partial result (V9).
            let partial = |part: &Part| unsafe { self.partial(*part, tile, chunk.segment, &split.ty) };
            let partial = |part| ResultMut { ty: &split.ty, data: partial(part) };
            let mut partials: SmallVec<[ResultMut<'_>; 1]> = call.results.iter().map(partial).collect();
            // SAFETY: see `call`.
            let memory = unsafe { self.scratch(call, tile) };
            let beta = if chunk.first { 0.0 } else { 1.0 };
            code.run_within(&rows, &mut partials, memory, self.memory.frame.isa, beta)
                .map_err(ErrorKind::Fault)?;
        }
        Ok(())
    }

    /// Puts the rows of a tile side by side: of any number of arrays, so that they are not listed first.
    fn beside(&self, call: &KernelCall, tile: &Tile) -> Result<(), ErrorKind> {
        let part = call.results.first().ok_or(ErrorKind::Fault(Fault::Type))?;
        // SAFETY: see `call`.
        let mut to = unsafe { self.write(*part, tile) };
        let rows = tile.chunks.len() * call.blocks;
        with_dtype!(self.ty(part).dtype, T => {
            let to = T::from_slice_mut(&mut to).ok_or(ErrorKind::Fault(Fault::Type))?;
            let (each, mut first) = (to.len() / rows.max(1), 0);
            for part in &call.operands {
                // SAFETY: see `call`.
                let from = T::stored(unsafe { self.read(*part, tile) }).ok_or(ErrorKind::Fault(Fault::Type))?;
                let len = from.len() / rows.max(1);
                if len > 0 {
                    let to = to.chunks_exact_mut(each).map(|row| row.get_mut(first..first + len));
                    for (to, from) in to.zip(from.chunks_exact(len)) {
                        to.ok_or_else(leaves)?.copy_from_slice(from);
                    }
                }
                first += len;
            }
        });
        Ok(())
    }

    fn combine(
        &self,
        monoid: Monoid,
        call: &KernelCall,
        operands: &[Operand<'_>],
        tile: &Tile,
    ) -> Result<(), ErrorKind> {
        // SAFETY: see `call`.
        let out = call.results.first().map(|part| unsafe { self.write(*part, tile) });
        let part = call.results.first().map_or(0, |part| self.ty(part).shape.elements());
        let (at, isa) = ((tile.chunks.start * call.blocks, part), self.memory.frame.isa);
        let x = operands.first().map(|o| o.data);
        let combined = match (monoid, out, x) {
            (Monoid::Sum, Some(mut out), Some(x)) => with_float!(x.dtype(), T => {
                let (out, x) = (T::from_slice_mut(&mut out), T::stored(x));
                Ok(out.zip(x).and_then(|(out, x)| isa.loops(|| reduce::combine(out, x, at, |a, b| a + b))))
            }, with_integer!(x.dtype(), T => {
                let (out, x) = (T::from_slice_mut(&mut out), T::stored(x));
                Ok(out.zip(x).and_then(|(out, x)| reduce::combine(out, x, at, T::wrapping_add)))
            }, Err(Fault::Type)))
            .map_err(ErrorKind::Fault)?,
            (Monoid::Max, Some(mut out), Some(x)) => with_dtype!(x.dtype(), T => {
                let (out, x) = (T::from_slice_mut(&mut out), T::stored(x));
                Ok::<_, Fault>(out.zip(x).and_then(|(out, x)| reduce::combine(out, x, at, reduce::larger)))
            })
            .map_err(ErrorKind::Fault)?,
            _ => None,
        };
        combined.ok_or(ErrorKind::Fault(Fault::Type))
    }
}

#[cold]
fn leaves() -> ErrorKind {
    ErrorKind::Malformed("a plan that leaves its memory".into())
}
