//! Whether a plan may be run: what unsafe code rests on.
//!
//! Everything is found anew from the plan itself, in one walk over its calls and one sweep over the buffers sorted by
//! time. The invariants have names, which the SAFETY sentences of the executor cite:
//!
//! - V1: buffers that are alive together (in a level, in the tiles of a loop, within a group) share no byte;
//! - V2: what a call reads was written: in an earlier level, earlier on the same chunks, or whole by the thread alone;
//! - V3: what a task writes no other task or group of the level writes or reads;
//! - V4: parts, strides and alignment lie within their buffer and its memory, and types agree;
//! - V5: a call writes where it reads only element by element, or where its result aliases an operand that comes without
//!   elements;
//! - V6: a buffer is made once, so is each next value; a state is written after all reading of its old value and after
//!   everything that may fail;
//! - V7: operands are packed before they are used, and neither they nor constants nor inputs are written to;
//! - V8: inputs, states and constants have the lengths that are assumed of what is bound;
//! - V9: each partial result is made by one task, and all of them are combined once, in their order;
//! - V10: what is joined lies one behind the other in the whole, and nothing is written to either afterwards.

mod access;
mod bounds;
mod calls;
mod lives;
#[cfg(test)]
mod planted;

use std::collections::HashMap;

use super::{Body, Group, KernelCall, Placed, TileLoop, Tiled};
use crate::error::ErrorKind;
use crate::exec::frame::Frame;
use crate::exec::place::Place;
use crate::exec::table::{BufferId, Table};

/// An invariant that a plan breaks, at the call of this row.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) invariant: &'static str,
    pub(super) row: u32,
    what: &'static str,
}

impl From<Broken> for ErrorKind {
    fn from(Broken { invariant, what, .. }: Broken) -> Self {
        Self::Malformed(format!("a plan that breaks {invariant}: {what}"))
    }
}

/// The buffers of the result and the operands of a micro-op, which itself knows no more than their places.
#[derive(Default)]
pub(super) struct Named {
    buffers: [Option<BufferId>; 4],
    /// The operand that becomes the result where it lies, which is none of these.
    changed: Option<BufferId>,
}

/// Those of a call that is made a micro-op.
pub(super) fn named(call: &KernelCall) -> Named {
    let (alias, mut named) = (call.alias(), Named::default());
    let operands = call.operands.iter().enumerate().filter(|(o, _)| alias != Some(*o)).map(|(_, part)| part);
    let parts = call.results.iter().take(1).chain(operands);
    named.buffers.iter_mut().zip(parts).for_each(|(buffer, part)| *buffer = Some(part.buffer));
    named.changed = alias.map(|o| call.operands[o].buffer);
    named
}

/// Where a call stands.
#[derive(Clone, Copy)]
struct At {
    row: u32,
    level: u32,
    group: u32,
    tiles: u32,
    call: u32,
}

/// The group and the tile loop of a call.
type In<'a> = (&'a Group, &'a TileLoop);

/// What the walk knows of a buffer: when it was first and last used, and how it was last written and read.
#[derive(Clone, Copy, Default)]
struct History {
    /// Its first and last use; `None` before the first.
    used: Option<Used>,
    /// The level, the tile loop and the group of the last write.
    written: Option<Written>,
    /// The last reading.
    read: Option<LastRead>,
    /// Some call makes it.
    made: bool,
    /// It was overwritten by a result that aliases it: nobody may read it any more. Of each buffer, not of its memory.
    gone: bool,
    /// It is made in the first tile of a task alone.
    once: bool,
    /// It is an output, or a next value that is copied at the end.
    live_out: bool,
}

#[derive(Clone, Copy)]
struct Used {
    first: At,
    last: At,
}

#[derive(Clone, Copy)]
struct Written {
    at: At,
    /// Whether that was chunk by chunk.
    chunked: bool,
}

/// What the walk knows of a state of the plan.
#[derive(Clone, Copy, Default)]
struct Old {
    /// The last reading of the value at the start.
    read: Option<LastRead>,
    written: bool,
    /// Whether the plan says that a call writes it.
    announced: bool,
}

/// The last level in which something is read.
#[derive(Clone, Copy)]
struct LastRead {
    level: u32,
    /// The group, if all that read it in the level are of one.
    group: Option<u32>,
    tiles: u32,
    /// Whether it was chunk by chunk in all of that level.
    chunked: bool,
}

struct Verifier<'a> {
    frame: &'a Frame,
    plan: &'a Tiled,
    buffers: Table<BufferId, History>,
    states: Vec<Old>,
    /// The level of the last calls that may fail; their group and the last tile loop, if all of the level are of one group.
    failing: Option<(u32, Option<(u32, u32)>)>,
    /// A state is written already.
    changed: bool,
    /// The first and the last call of each tile loop.
    times: Vec<(u32, u32)>,
    /// Split reductions whose partial results are not combined yet.
    partials: HashMap<BufferId, usize>,
    /// Of what is joined so far the whole; of a whole itself.
    joined: HashMap<BufferId, BufferId>,
    /// The micro-ops so far.
    micro: usize,
}

type Check = Result<(), Broken>;

fn missing(at: At) -> Broken {
    broken("V4", at.row, "levels, groups, loops or calls that are not there")
}

fn broken(invariant: &'static str, row: u32, what: &'static str) -> Broken {
    Broken { invariant, row, what }
}

/// Checks a tiled plan; `micro` has the buffers of each of its micro-ops.
pub(super) fn verify(frame: &Frame, plan: &Tiled, micro: &[Named]) -> Check {
    let mut v = Verifier {
        frame,
        plan,
        buffers: Table::alike(&plan.buffers, History::default()),
        states: vec![Old::default(); frame.states.len()],
        failing: None,
        changed: false,
        times: vec![(0, 0); plan.loops.len()],
        partials: HashMap::new(),
        joined: HashMap::new(),
        micro: 0,
    };
    for &k in &frame.donated {
        v.states.get_mut(k).ok_or_else(|| broken("V4", 0, "no such state"))?.announced = true;
    }
    let made = plan.calls.iter().flat_map(|call| call.results.iter().map(|r| r.buffer));
    let made = made.chain(micro.iter().filter_map(|named| named.buffers[0]));
    for buffer in made {
        let base = plan.buffers.get(buffer).map(|b| b.base).filter(|&b| v.buffers.get(b).is_some());
        v.buffers[base.ok_or_else(|| broken("V4", 0, "a buffer that is not there"))?].made = true;
    }
    let at = v.levels(micro)?;
    if v.micro != plan.micro.len() || v.micro != micro.len() {
        return Err(broken("V3", at.row, "micro-ops of no loop"));
    }
    v.live_outs(at)?;
    v.sweep()
}

impl Verifier<'_> {
    /// Walks over all calls.
    fn levels(&mut self, micro: &[Named]) -> Result<At, Broken> {
        let plan = self.plan;
        let mut at = At { row: 0, level: 0, group: 0, tiles: 0, call: 0 };
        for (l, level) in plan.levels.iter().enumerate() {
            let groups = plan.groups.get(level.groups.clone()).ok_or_else(|| missing(at))?;
            if groups.iter().map(|g| g.tasks).sum::<usize>() != level.tasks {
                return Err(broken("V9", at.row, "a level of other tasks than its groups"));
            }
            for (g, group) in level.groups.clone().zip(groups) {
                let loops = plan.loops.get(group.loops.clone()).ok_or_else(|| missing(at))?;
                let micro_ops = loops.iter().any(|tiles| matches!(tiles.body, Body::Micro(_)));
                if micro_ops && (group.chunks != 1 || level.tasks != 1) {
                    return Err(broken("V3", at.row, "micro-ops that the first thread does not run alone"));
                }
                for (t, tiles) in group.loops.clone().zip(loops) {
                    at = At { level: l as u32, group: g as u32, tiles: t as u32, ..at };
                    let first = at.call;
                    self.tile_loop(&mut at, (group, tiles), micro)?;
                    self.times[t] = (first, at.call.saturating_sub(1));
                }
            }
        }
        Ok(at)
    }

    fn tile_loop(&mut self, at: &mut At, within: In<'_>, micro: &[Named]) -> Check {
        let (plan, (group, tiles)) = (self.plan, within);
        if tiles.tile == 0 || group.tasks == 0 || group.tasks > group.chunks {
            return Err(broken("V4", at.row, "tiles or tasks without chunks"));
        }
        match &tiles.body {
            Body::Calls(calls) => {
                for call in plan.calls.get(calls.clone()).ok_or_else(|| missing(*at))? {
                    at.row = call.row;
                    self.call(*at, within, call)?;
                    at.call += 1;
                }
            }
            Body::Micro(range) => {
                // A plan of micro-ops alone runs them all without a look at its loops.
                if range.start != std::mem::replace(&mut self.micro, range.end) {
                    return Err(broken("V3", at.row, "micro-ops in another order than their loops"));
                }
                let micro = micro.get(range.clone()).ok_or_else(|| missing(*at))?;
                for (n, named) in range.clone().zip(micro) {
                    let described =
                        plan.described.get(n).zip(plan.micro.get(n)).ok_or_else(|| missing(*at))?.0;
                    at.row = described.row;
                    if plan.functions.get(described.function as usize).is_none() {
                        return Err(missing(*at));
                    }
                    self.micro_op(*at, within, n, named)?;
                    at.call += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether a buffer, or that which it is a view of, was overwritten.
    fn gone(&self, buffer: BufferId) -> bool {
        self.plan.buffers.get(buffer).and_then(|b| self.buffers.get(b.of)).is_some_and(|b| b.gone)
    }

    fn buffer(&self, buffer: BufferId, at: At) -> Result<&Placed, Broken> {
        self.plan.buffers.get(buffer).ok_or_else(|| broken("V4", at.row, "a buffer that is not there"))
    }

    /// V6 and V9, at the end: live-outs are there, and no partial result is left over.
    fn live_outs(&mut self, at: At) -> Check {
        let frame = self.frame;
        let mut next = vec![false; frame.states.len()];
        for (k, live_out) in &frame.commits {
            let twice =
                next.get_mut(*k).is_none_or(|n| std::mem::replace(n, true)) || self.states[*k].written;
            if twice || frame.states.get(*k).is_none_or(|s| s.ty != live_out.ty) {
                return Err(broken("V6", at.row, "a state that is written twice, or by something else"));
            }
        }
        if frame.donated.iter().any(|&k| !self.states.get(k).is_some_and(|s| s.written)) {
            return Err(broken("V6", at.row, "a state that is never written"));
        }
        for live_out in frame.outputs.iter().chain(frame.commits.iter().map(|(_, live_out)| live_out)) {
            let missing = || broken("V6", at.row, "an output that nothing makes");
            let buffer = live_out.buffer.ok_or_else(missing)?;
            let Placed { place, base, ref ty, .. } = *self.buffer(buffer, at)?;
            let (there, same) = (place == Place::Arena(live_out.offset), **ty == live_out.ty);
            let whole = self.buffer(base, at)?;
            let whole = whole.place == place && whole.len == ty.shape.elements();
            let gone = self.gone(buffer);
            let history = &mut self.buffers[base];
            if history.written.is_none() || gone || !(there && same && whole) {
                return Err(missing());
            }
            history.live_out = true;
        }
        self.wholes();
        let lives = |&b: &BufferId| {
            let found = self.plan.buffers.get(b).filter(|b| matches!(b.place, Place::Arena(_)));
            found.is_some_and(|b| self.buffers[b.base].live_out)
        };
        if !self.plan.canonical.iter().all(lives) {
            return Err(broken("V6", at.row, "canonical NaNs of what is no output"));
        }
        if self.partials.is_empty() {
            Ok(())
        } else {
            Err(broken("V9", at.row, "partial results that nobody combines"))
        }
    }
}
