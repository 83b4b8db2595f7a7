//! Which calls of a tile are one loop: neighbouring maps of floats of one type, over arrays that lie as if they were computed one behind the
//! other, whichever element comes first.

use std::collections::HashMap;
use std::ops::Range;

use smallvec::SmallVec;

use super::assembler::Base;
use super::compiler::inlined;
use super::loops::{Loop, Source, Step};
use crate::dtype::DType;
use crate::exec::frame::Frame;
use crate::exec::graph::{Action, Constant, Home, WriteMode};
use crate::exec::place::Place;
use crate::exec::plan::{Body, Fused, Group, KernelCall, Part, TileLoop, Tiled};
use crate::exec::table::BufferId;
use crate::ir::{Primitive, Scalar};

/// Steps of a loop, at most: more would not share more.
const MOST: usize = 96;

/// Where an array lies, as far as that is known before a run: bytes of some memory for all tiles of a task, or of all.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Extent {
    memory: Memory,
    start: usize,
    end: usize,
    /// Bytes of a chunk: elements of two arrays that begin alike, and have these alike, lie in the same places.
    chunk: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Arena,
    /// Of a thread: for a tile, or for a task, in which tiles lie one behind the other.
    Thread {
        tile: bool,
    },
    Home(Home),
}

impl Extent {
    /// Whether writing one changes what is read of the other at another element.
    fn disturbs(&self, other: &Self) -> bool {
        let same = match (self.memory, other.memory) {
            (Memory::Thread { .. }, Memory::Thread { .. }) => true,
            (a, b) => a == b,
        };
        same && self != other && self.start < other.end && other.start < self.end
    }
}

/// A loop in the making.
struct Open {
    calls: Range<usize>,
    dtype: DType,
    /// Elements of a chunk.
    elements: usize,
    steps: Vec<Step>,
    /// The call and the buffer of each step's result that a call makes.
    made: Vec<Option<(usize, BufferId)>>,
    streams: Vec<(Part, Extent, bool)>,
    /// What was last written where, or is read there.
    values: Vec<Source>,
    written: Vec<bool>,
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

    fn begin(&self, at: usize, within: Within<'_>) -> Option<Open> {
        let result = self.plan.calls[at].results.first()?;
        let elements = self.elements(*result, within)?;
        let first = self.plan.calls[at].operands.iter().chain([result]);
        let mut types = first.map(|part| self.plan.buffers[part.buffer].ty.dtype);
        let dtype = types.find(|dtype| dtype.is_float())?;
        Some(Open {
            calls: at..at,
            dtype,
            elements,
            steps: Vec::new(),
            made: Vec::new(),
            streams: Vec::new(),
            values: Vec::new(),
            written: Vec::new(),
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
        let buffer = &self.plan.buffers[part.buffer];
        let bytes = buffer.ty.dtype.bytes();
        let (chunk, first) = (self.elements(part, within)? * bytes, buffer.first * bytes);
        let of = |chunks: usize| chunk * chunks;
        let (memory, start, len) = match buffer.place {
            Place::Arena(offset) => (Memory::Arena, offset + first, of(within.group.chunks)),
            Place::Task(offset) => {
                let longest = within.group.chunks.div_ceil(within.group.tasks);
                (Memory::Thread { tile: false }, offset + first, of(longest))
            }
            Place::Tile(offset) => (
                Memory::Thread { tile: true },
                offset + first,
                of(within.tiles.tile.min(within.group.chunks)),
            ),
            Place::Home(home) => (Memory::Home(home), first, of(within.group.chunks)),
        };
        Some(Extent { memory, start, end: start + len, chunk })
    }

    /// Adds a call to a loop, if it is of that kind; what was added of one that is not is taken away again.
    fn add(&self, open: &mut Open, at: usize, within: Within<'_>) -> bool {
        let (steps, streams) = (open.steps.len(), open.streams.len());
        let (values, written) = (open.values.clone(), open.written.clone());
        let fits = self.try_add(open, at, within).is_some() && open.steps.len() <= MOST;
        if fits {
            open.calls.end = at + 1;
        } else {
            open.steps.truncate(steps);
            open.made.truncate(steps);
            open.streams.truncate(streams);
            (open.values, open.written) = (values, written);
        }
        fits
    }

    fn try_add(&self, open: &mut Open, at: usize, within: Within<'_>) -> Option<()> {
        let KernelCall { action, code, operands, strides, results, mode, once, packed, .. } =
            &self.plan.calls[at];
        if strides.is_some() || *once || packed.is_some() || *mode != WriteMode::Overwrite {
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
        let first = open.steps.len();
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
                    open.steps.push(Step { primitive, x: sources, to: None });
                    open.made.push(None);
                }
            }
        }
        Some(())
    }

    /// Adds a step whose result a call leaves in its memory.
    fn made(
        &self,
        open: &mut Open,
        at: usize,
        primitive: Primitive,
        x: [Source; 3],
        to: Part,
        within: Within<'_>,
    ) -> Option<()> {
        let stream = self.stream(open, to, true, within)?;
        open.values[stream] = Source::Made(open.steps.len());
        open.steps.push(Step { primitive, x, to: Some(stream) });
        open.made.push(Some((at, to.buffer)));
        Some(())
    }

    /// What an operand is at this point of a loop.
    fn source(&self, open: &mut Open, part: Part, within: Within<'_>) -> Option<Source> {
        if let Place::Home(Home::Fill(constant)) = self.plan.buffers[part.buffer].place {
            let Constant::Fill { value, dtype, .. } = self.frame.constants.get(constant)? else {
                return None;
            };
            return number(*value, *dtype).filter(|_| *dtype == open.dtype);
        }
        let stream = self.stream(open, part, false, within)?;
        Some(open.values[stream])
    }

    /// The array of a part among those of a loop; `None` where it would meet others in other elements.
    fn stream(&self, open: &mut Open, part: Part, writes: bool, within: Within<'_>) -> Option<usize> {
        let dtype = self.plan.buffers[part.buffer].ty.dtype;
        let extent = self.extent(part, within)?;
        if self.elements(part, within)? != open.elements || (dtype != open.dtype && dtype != DType::Bool) {
            return None;
        }
        let mut others = open.streams.iter().zip(&open.written);
        if others.any(|((_, other, _), written)| (writes || *written) && extent.disturbs(other)) {
            return None;
        }
        let known = open
            .streams
            .iter()
            .position(|(_, other, truth)| *other == extent && *truth == (dtype == DType::Bool));
        let at = known.unwrap_or_else(|| {
            open.streams.push((part, extent, dtype == DType::Bool));
            open.values.push(Source::Stream(open.streams.len() - 1));
            open.written.push(false);
            open.streams.len() - 1
        });
        open.written[at] |= writes;
        Some(at)
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

    fn close(&self, open: Open) -> Option<(Fused, Loop)> {
        let Open { calls, dtype, mut steps, made, streams, .. } = open;
        if steps.len() < 2 {
            return None;
        }
        for (step, made) in steps.iter_mut().zip(&made) {
            if let Some((at, buffer)) = *made
                && !self.needed(at, buffer, calls.end)
            {
                step.to = None;
            }
        }
        // Only the arrays that are read or written.
        let mut names = vec![None; streams.len()];
        let (mut parts, mut bases) = (SmallVec::new(), Vec::new());
        let mut name = |stream: &mut usize| {
            *stream = *names[*stream].get_or_insert_with(|| {
                let (part, _, truth) = streams[*stream];
                parts.push(part);
                bases.push((Base::Pointer(parts.len() - 1), truth));
                parts.len() - 1
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
        Some((
            Fused { calls, streams: parts, byte: 0 },
            Loop { double: dtype == DType::F64, steps, streams: bases },
        ))
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
