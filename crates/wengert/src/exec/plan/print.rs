//! Each lowering of a tape as text.

use std::fmt;
use std::sync::Arc;

use super::{Body, KernelCall, Part, Placed, Plan, Tiled};
use crate::error::Result;
use crate::exec::frame::Frame;
use crate::exec::graph::{self, Action, Graph, Home};
use crate::exec::memory::Address;
use crate::exec::place::Place;
use crate::exec::schedule::{self, Machine, Schedule};
use crate::ir::Tape;

/// What a tape is on its way to numbers: one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lowering {
    /// What is computed: buffers, and the nodes that write them.
    Graph,
    /// When: levels of fusion groups, in tasks and tiles.
    Schedule,
    /// Where and by which calls.
    Plan,
}

/// The graph of a tape, or its schedule, as text.
pub(crate) fn lowered(tape: &Tape, rounding: bool, machine: &Machine, lowering: Lowering) -> Result<String> {
    let mut graph = Graph::new(tape, rounding)?;
    if lowering == Lowering::Graph {
        return Ok(graph::Listing { graph: &graph, tape }.to_string());
    }
    let schedule = Schedule::new(&mut graph, machine)?;
    let graph = graph::Listing { graph: &graph, tape };
    Ok(schedule::Listing { graph, schedule: &schedule }.to_string())
}

/// A plan as text: levels, their groups, tile loops and calls. From [`Program::plan`](crate::Program::plan).
pub struct PlanListing {
    plan: Arc<Plan>,
    tape: Arc<Tape>,
}

impl PlanListing {
    pub(crate) fn new(plan: &Arc<Plan>, tape: &Arc<Tape>) -> Self {
        Self { plan: plan.clone(), tape: tape.clone() }
    }
}

impl fmt::Display for PlanListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tape = &*self.tape;
        match &*self.plan {
            Plan::Rows(frame, _) => {
                writeln!(f, "row by row, {} rows, {} bytes", tape.rows().len(), frame.arena)
            }
            Plan::Tiled(frame, plan) => Printer { frame, plan, tape }.plan(f),
        }
    }
}

struct Printer<'a> {
    frame: &'a Frame,
    plan: &'a Tiled,
    tape: &'a Tape,
}

impl Printer<'_> {
    fn plan(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tiled { calls, micro, levels, .. } = self.plan;
        let Frame { arena, local, scratch, .. } = self.frame;
        writeln!(
            f,
            "{} calls in {} levels, {arena} bytes and {local} + {scratch} for each thread",
            calls.len() + micro.len(),
            levels.len()
        )?;
        for (l, level) in levels.iter().enumerate() {
            writeln!(f, "level {l}")?;
            for group in &self.plan.groups[level.groups.clone()] {
                writeln!(f, "  group: chunks {}, tasks {}", group.chunks, group.tasks)?;
                for tiles in &self.plan.loops[group.loops.clone()] {
                    match &tiles.body {
                        Body::Calls(calls) => {
                            writeln!(f, "    tiles of {}", tiles.tile)?;
                            self.plan.calls[calls.clone()].iter().try_for_each(|call| self.call(f, call))?;
                        }
                        Body::Micro(ops) => {
                            writeln!(f, "    micro-ops")?;
                            ops.clone().try_for_each(|at| self.micro_op(f, at))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn part(&self, f: &mut fmt::Formatter<'_>, part: Part) -> fmt::Result {
        let Placed { place, ty, .. } = &self.plan.buffers[part.buffer];
        write!(f, "{ty} ")?;
        match *place {
            Place::Arena(offset) => write!(f, "@{offset}"),
            Place::Tile(offset) => write!(f, "tile+{offset}"),
            Place::Task(offset) => write!(f, "task+{offset}"),
            Place::Home(home) => self.home(f, home),
        }?;
        f.write_str(if part.chunk.is_some() { " in chunks" } else { "" })
    }

    fn home(&self, f: &mut fmt::Formatter<'_>, home: Home) -> fmt::Result {
        match home {
            Home::Input(i) => write!(f, "input {i}"),
            Home::State(k) => write!(f, "state {}", self.frame.states.get(k).map_or("?", |s| &s.name)),
            Home::Constant(c) | Home::Fill(c) => write!(f, "constant {c}"),
        }
    }

    fn micro_op(&self, f: &mut fmt::Formatter<'_>, at: usize) -> fmt::Result {
        let (row, function) = self.plan.described(at);
        let place = |f: &mut fmt::Formatter<'_>, address: Address| {
            let (region, at) = self.plan.addresses.place(address);
            match (self.frame.home(region), at.checked_sub(self.frame.arena)) {
                (Some(home), _) => {
                    self.home(f, home)?;
                    if at > 0 { write!(f, "+{at}") } else { Ok(()) }
                }
                (None, None) => write!(f, "@{at}"),
                (None, Some(offset)) => write!(f, "task+{offset}"),
            }
        };
        write!(f, "      %{row} {}(", function.name())?;
        for (i, (x, _)) in self.plan.operands(at).enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            place(f, x)?;
        }
        f.write_str(") -> ")?;
        // What is made for a row may have another type.
        let len = self.plan.micro[at].len as usize;
        match self.tape.rows()[row as usize].results.first().filter(|ty| ty.shape.elements() == len) {
            Some(ty) => write!(f, "{ty} ")?,
            None => write!(f, "[{len}] ")?,
        }
        place(f, self.plan.result(at).0)?;
        writeln!(f)
    }

    fn call(&self, f: &mut fmt::Formatter<'_>, call: &KernelCall) -> fmt::Result {
        write!(f, "      %{} {}(", call.row, call.action.name())?;
        let only = if let Action::Pack(_, operand) = call.action { Some(operand) } else { None };
        let read = call.operands.iter().enumerate().filter(|(i, _)| only.is_none_or(|only| only == *i));
        for (n, (i, &operand)) in read.enumerate() {
            f.write_str(if n > 0 { ", " } else { "" })?;
            self.part(f, operand)?;
            let strided = call.strides.as_ref().is_some_and(|s| s[i].is_some());
            f.write_str(if strided { " rearranged" } else { "" })?;
        }
        f.write_str(if call.once { ") once" } else { ")" })?;
        for (i, &result) in call.results.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            } else {
                write!(f, " {}", call.mode)?;
            }
            self.part(f, result)?;
        }
        writeln!(f)
    }
}
