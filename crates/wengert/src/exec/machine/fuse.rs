//! Which calls of a tile are one loop: neighbouring maps of floats of one type, over arrays that lie as if they were computed one behind the
//! other, whichever element comes first.

use std::collections::HashMap;
use std::ops::Range;

use smallvec::SmallVec;

use super::assembler::Base;
use super::compiler::inlined;
use super::loops::{Loop, Source, Step};
use super::streams::{Extent, Memory, Open};
use crate::dtype::DType;
use crate::exec::frame::Frame;
use crate::exec::graph::{Action, Constant, Home, WriteMode};
use crate::exec::place::Place;
use crate::exec::plan::{Body, Fused, Group, KernelCall, Part, TileLoop, Tiled};
use crate::exec::table::BufferId;
use crate::ir::{Primitive, Scalar};

/// Steps of a loop, at most: more would not share more.
const MOST: usize = 96;

/// A loop of calls in the making.
struct Calls {
    calls: Range<usize>,
    dtype: DType,
    /// Elements of a chunk.
    elements: usize,
    open: Open,
    /// The call and the buffer of each step's result that a call makes.
    made: Vec<Option<(usize, BufferId)>>,
    /// What names each array first.
    parts: Vec<Part>,
}

impl Calls {
    /// Notes what names an array that was added last, if one was.
    fn named(&mut self, part: Part) {
        if self.open.extents().count() > self.parts.len() {
            self.parts.push(part);
        }
    }
}

/// The tile loop that calls are of, and its group.
#[derive(Clone, Copy)]
struct Within<'a> {
    group: &'a Group,
    tiles: &'a TileLoop,
}

/// What all loops of a plan are found with.
pub(super) struct Fusion<'a> {
    frame: &'a Frame,
    plan: &'a Tiled,
    /// By the buffer whose memory it is, the calls that read it; all where something else may, or it outlives the run.
    readers: HashMap<BufferId, (usize, usize)>,
    /// What micro-ops read of the arena: where that begins, and the furthest end up to there.
    micro: Vec<(usize, usize)>,
}

impl<'a> Fusion<'a> {
    pub(super) fn new(frame: &'a Frame, plan: &'a Tiled) -> Self {
        let mut readers: HashMap<BufferId, (usize, usize)> = HashMap::new();
        let base = |buffer: BufferId| plan.buffers[buffer].base;
        let mut read = |buffer: BufferId, at: usize| {
            let (first, last) = readers.entry(base(buffer)).or_insert((at, at));
            (*first, *last) = ((*first).min(at), (*last).max(at));
        };
        for (at, call) in plan.calls.iter().enumerate() {
            call.operands.iter().for_each(|part| read(part.buffer, at));
            if call.mode != WriteMode::Overwrite {
                call.results.iter().for_each(|part| read(part.buffer, at));
            }
        }
        for live in frame.outputs.iter().chain(frame.commits.iter().map(|(_, live)| live)) {
            live.buffer.iter().for_each(|&buffer| read(buffer, usize::MAX));
        }
        let spans = (0..plan.micro.len()).flat_map(|at| plan.operands(at));
        let spans = spans.map(|(address, bytes)| (plan.addresses.place(address), bytes));
        let spans = spans.filter(|((region, _), _)| *region == 0);
        let mut micro: Vec<(usize, usize)> = spans.map(|((_, byte), bytes)| (byte, byte + bytes)).collect();
        micro.sort_unstable();
        let mut furthest = 0;
        for (_, end) in &mut micro {
            furthest = furthest.max(*end);
            *end = furthest;
        }
        Self { frame, plan, readers, micro }
    }

    /// The loops of a tile loop, and what they are loops of.
    pub(super) fn of(&self, group: &Group, tiles: &TileLoop) -> Vec<(Fused, Loop)> {
        let within = Within { group, tiles };
        let Body::Calls(calls) = &tiles.body else { return Vec::new() };
        let (mut found, mut open) = (Vec::new(), None);
        for at in calls.clone() {
            let fits = open.as_mut().is_some_and(|open| self.add(open, at, within));
            if !fits {
                found.extend(open.take().and_then(|open| self.close(open)));
                open = self.begin(at, within);
                if !open.as_mut().is_some_and(|open| self.add(open, at, within)) {
                    open = None;
                }
            }
        }
        found.extend(open.and_then(|open| self.close(open)));
        found
    }

    fn begin(&self, at: usize, within: Within<'_>) -> Option<Calls> {
        let result = self.plan.calls[at].results.first()?;
        let elements = self.elements(*result, within)?;
        let first = self.plan.calls[at].operands.iter().chain([result]);
        let mut types = first.map(|part| self.plan.buffers[part.buffer].ty.dtype);
        let dtype = types.find(|dtype| dtype.is_float())?;
        Some(Calls {
            calls: at..at,
            dtype,
            elements,
            open: Open::default(),
            made: Vec::new(),
            parts: Vec::new(),
        })
    }

    /// Elements of each chunk of the group that a part has.
    fn elements(&self, part: Part, within: Within<'_>) -> Option<usize> {
        match part.chunk {
            Some(chunk) => Some(chunk.get()),
            None => (within.group.chunks == 1).then_some(self.plan.buffers[part.buffer].len),
        }
    }

    fn extent(&self, part: Part, within: Within<'_>) -> Option<Extent> {
        self.lies(part, within, within.group.chunks, self.elements(part, within)?)
    }

    /// Where so many chunks of so many elements lie.
    fn lies(&self, part: Part, within: Within<'_>, chunks: usize, elements: usize) -> Option<Extent> {
        let buffer = &self.plan.buffers[part.buffer];
        let bytes = buffer.ty.dtype.bytes();
        let (chunk, first) = (elements * bytes, buffer.first * bytes);
        let of = |chunks: usize| chunk * chunks;
        let (memory, start, len) = match buffer.place {
            Place::Arena(offset) => (Memory::Arena, offset + first, of(chunks)),
            Place::Task(offset) => {
                let longest = within.group.chunks.div_ceil(within.group.tasks).min(chunks);
                (Memory::Thread { tile: false }, offset + first, of(longest))
            }
            Place::Tile(offset) => (
                Memory::Thread { tile: true },
                offset + first,
                of(within.tiles.tile.min(within.group.chunks).min(chunks)),
            ),
            Place::Home(home) => (Memory::Home(home), first, of(chunks)),
        };
        let truth = buffer.ty.dtype == DType::Bool;
        Some(Extent { memory, start, end: start + len, chunk, truth })
    }

    /// Adds a call to a loop, if it is of that kind.
    fn add(&self, open: &mut Calls, at: usize, within: Within<'_>) -> bool {
        let before = open.open.so_far();
        let call = &self.plan.calls[at];
        let fits = if call.once { self.ahead(open, call, within) } else { self.try_add(open, at, within) };
        let fits = fits.is_some() && open.open.steps.len() <= MOST && open.parts.len() <= Fused::POINTERS;
        if fits {
            open.calls.end = at + 1;
        } else {
            open.open.back_to(before);
            open.made.truncate(open.open.steps.len());
            open.parts.truncate(open.open.extents().count());
        }
        fits
    }

    /// A call that makes all chunks alike may be made ahead of a loop: its result lies where nothing else does, for it is kept from tile to tile.
    /// What it reads must not be written by the loop.
    fn ahead(&self, open: &mut Calls, call: &KernelCall, within: Within<'_>) -> Option<()> {
        let [to] = call.results.as_slice() else { return None };
        for part in &call.operands {
            let extent = self.lies(*part, within, 1, self.plan.buffers[part.buffer].len)?;
            if open.open.written().any(|written| written.meets(&extent)) {
                return None;
            }
        }
        let extent = self.fitting(open, *to, within)?;
        if open.open.steps.is_empty() || open.open.extents().any(|other| other.meets(&extent)) {
            return None;
        }
        open.open.read(extent)?;
        open.named(*to);
        Some(())
    }

    fn try_add(&self, open: &mut Calls, at: usize, within: Within<'_>) -> Option<()> {
        let KernelCall { action, code, operands, strides, results, mode, packed, .. } = &self.plan.calls[at];
        if strides.is_some() || packed.is_some() || *mode != WriteMode::Overwrite {
            return None;
        }
        let mut x = Vec::with_capacity(operands.len());
        for part in operands {
            x.push(self.source(open, *part, within)?);
        }
        if matches!(action, Action::Copy) {
            let [to] = results.as_slice() else { return None };
            let dtype = self.plan.buffers[to.buffer].ty.dtype;
            if dtype != open.dtype {
                return None;
            }
            return self.made(open, at, Primitive::Copy, [x[0]; 3], *to, within);
        }
        let Action::Compute(_) = action else { return None };
        let body = code.as_ref()?.what.body()?;
        let first = open.open.steps.len();
        let results_of = |i: usize| {
            let own = body.results().iter().position(|y| *y == Scalar::Instruction(i as u16));
            own.map(|own| results[own])
        };
        let all_made = body
            .results()
            .iter()
            .enumerate()
            .all(|(i, y)| matches!(y, Scalar::Instruction(_)) && !body.results()[..i].contains(y));
        if !all_made {
            return None;
        }
        for (i, instruction) in body.instructions().iter().enumerate() {
            let primitive = instruction.primitive;
            let own = &instruction.operands[..primitive.arity()];
            let dtype = |of: Scalar| body.dtype(of).ok();
            let numbers = |x: &[Scalar]| x.iter().all(|&x| dtype(x) == Some(open.dtype));
            let fits = inlined(primitive)
                && match primitive {
                    Primitive::Select => dtype(own[0]) == Some(DType::Bool) && numbers(&own[1..]),
                    Primitive::Cast(to) => to == open.dtype && dtype(own[0]) == Some(DType::Bool),
                    _ => numbers(own),
                };
            if !fits {
                return None;
            }
            let mut sources = [Source::Number(0); 3];
            for (source, scalar) in sources.iter_mut().zip(own) {
                *source = match *scalar {
                    Scalar::Operand(o) => *x.get(usize::from(o))?,
                    Scalar::Instruction(i) => Source::Made(first + usize::from(i)),
                    Scalar::Constant(c) => {
                        let constant = body.constants().get(usize::from(c))?;
                        number(constant.value, constant.dtype)?
                    }
                };
            }
            match results_of(i) {
                Some(to) => self.made(open, at, primitive, sources, to, within)?,
                None => {
                    open.open.steps.push(Step { primitive, x: sources, to: None, canonical: false });
                    open.made.push(None);
                }
            }
        }
        Some(())
    }

    /// Adds a step whose result a call leaves in its memory.
    fn made(
        &self,
        open: &mut Calls,
        at: usize,
        primitive: Primitive,
        x: [Source; 3],
        to: Part,
        within: Within<'_>,
    ) -> Option<()> {
        open.open.write(primitive, x, self.fitting(open, to, within)?)?;
        open.named(to);
        open.made.push(Some((at, to.buffer)));
        Some(())
    }

    /// What an operand is at this point of a loop.
    fn source(&self, open: &mut Calls, part: Part, within: Within<'_>) -> Option<Source> {
        if let Place::Home(Home::Fill(constant)) = self.plan.buffers[part.buffer].place {
            let Constant::Fill { value, dtype, .. } = self.frame.constants.get(constant)? else {
                return None;
            };
            return number(*value, *dtype).filter(|_| *dtype == open.dtype);
        }
        let source = open.open.read(self.fitting(open, part, within)?)?;
        open.named(part);
        Some(source)
    }

    /// Where a part lies, if it may be an array of a loop.
    fn fitting(&self, open: &Calls, part: Part, within: Within<'_>) -> Option<Extent> {
        let extent = self.extent(part, within)?;
        let dtype = self.plan.buffers[part.buffer].ty.dtype;
        let fits = self.elements(part, within)? == open.elements && (dtype == open.dtype || extent.truth);
        fits.then_some(extent)
    }

    /// Whether anything but the calls of a loop behind this one reads what the call makes.
    fn needed(&self, at: usize, buffer: BufferId, end: usize) -> bool {
        let placed = &self.plan.buffers[buffer];
        let (region, start) = placed.word(self.frame);
        let bytes = placed.len * placed.ty.dtype.bytes();
        let before = self.micro.partition_point(|(begin, _)| *begin < start + bytes);
        let micro = before > 0 && self.micro[before - 1].1 > start;
        let within = |&(first, last): &(usize, usize)| first > at && last < end;
        matches!(placed.place, Place::Home(_))
            || (region == 0 && micro)
            || !self.readers.get(&placed.base).is_some_and(within)
    }

    fn close(&self, open: Calls) -> Option<(Fused, Loop)> {
        let Calls { calls, dtype, open, made, parts, .. } = open;
        let extents: Vec<Extent> = open.extents().collect();
        let mut steps = open.steps;
        if steps.len() < 2 {
            return None;
        }
        for (step, made) in steps.iter_mut().zip(&made) {
            let Some((at, buffer)) = *made else { continue };
            if !self.needed(at, buffer, calls.end) {
                step.to = None;
            }
            let float = self.plan.buffers[buffer].ty.dtype.is_float();
            step.canonical = float && self.plan.calls[at].canonical;
        }
        // Only the arrays that are read or written.
        let mut names = vec![None; parts.len()];
        let (mut streams, mut bases) = (SmallVec::new(), Vec::new());
        let mut name = |stream: &mut usize| {
            *stream = *names[*stream].get_or_insert_with(|| {
                streams.push(parts[*stream]);
                bases.push((Base::Pointer(streams.len() - 1), extents[*stream].truth));
                streams.len() - 1
            });
        };
        for step in &mut steps {
            for x in &mut step.x[..step.primitive.arity()] {
                if let Source::Stream(stream) = x {
                    name(stream);
                }
            }
            step.to.iter_mut().for_each(&mut name);
        }
        Some((Fused { calls, streams, byte: 0 }, Loop { double: dtype == DType::F64, steps, streams: bases }))
    }
}

/// A number as floats of a type.
fn number(value: f64, dtype: DType) -> Option<Source> {
    match dtype {
        DType::F64 => Some(Source::Number(value.to_bits())),
        DType::F32 => Some(Source::Number(u64::from((value as f32).to_bits()))),
        _ => None,
    }
}
