//! What a plan does and what it takes, for people.

use std::fmt;
use std::sync::Arc;

use super::plan::{Body, Function, Line, Place, Plan, Said, Slot, Step, View, WORD};
use super::rows::held;
use crate::error::Site;
use crate::ir::Tape;

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
        rows.sort_by_key(|r| std::cmp::Reverse(r.bytes));
        writeln!(f, "{:>12}  each thread  row  op, line", "bytes")?;
        for RowMemory { row, op, site, bytes, by_thread } in rows {
            let each = if *by_thread { "yes" } else { "" };
            writeln!(f, "{bytes:>12}  {each:>11}  {row:>3}  {op} at {site}")?;
        }
        let Self { shared, by_thread, constants, .. } = self;
        writeln!(f, "a workspace takes {shared} bytes and {by_thread} for each thread; constants {constants}")
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
        let mut rows = Vec::new();
        if let Some(by_rows) = &self.by_rows {
            let bytes = held(by_rows, tape).filter(|(_, bytes)| *bytes > 0);
            rows.extend(bytes.map(|(row, bytes)| of(row, tape.rows()[row].op.name().into(), bytes, false)));
        }
        for (stage, pass, said) in self.walk() {
            let step = match said {
                Said::Step(_, step) => step,
                Said::Line(_, line) => {
                    let (_, Function { name, single, .. }) = line.bytes(self);
                    let bytes = line.len as usize * usize::from(single.result);
                    let by_thread = line.out as usize * WORD >= self.arena;
                    rows.push(of(line.row as usize, (*name).into(), bytes, by_thread));
                    continue;
                }
            };
            for view in &step.results {
                let Slot { place, ty, .. } = &self.slots[view.slot as usize];
                let part = |units: usize| ty.bytes() / stage.units.max(1) * units;
                let (bytes, by_thread) = match *place {
                    Place::Local { tile: true, .. } => (part(pass.tile), true),
                    Place::Local { .. } => (part(stage.units.div_ceil(stage.panels)), true),
                    Place::Arena(_) => (ty.bytes(), false),
                    _ => continue,
                };
                rows.push(of(step.row as usize, step.action.name().into_owned(), bytes, by_thread));
            }
        }
        let by_thread = self.local + self.scratch;
        MemoryReport { rows, shared: self.arena, by_thread, constants: self.constant_bytes() }
    }
}

/// A plan as text: rounds, their stages, passes and steps. From [`Program::plan`](crate::Program::plan).
pub struct PlanListing {
    plan: Arc<Plan>,
    tape: Arc<Tape>,
}

impl PlanListing {
    pub(crate) fn new(plan: &Arc<Plan>, tape: &Arc<Tape>) -> Self {
        Self { plan: plan.clone(), tape: tape.clone() }
    }

    fn view(&self, f: &mut fmt::Formatter<'_>, view: View) -> fmt::Result {
        let Slot { place, ty, .. } = &self.plan.slots[view.slot as usize];
        write!(f, "{ty} ")?;
        match *place {
            Place::Arena(offset) => write!(f, "@{offset}"),
            Place::Local { offset, tile: true } => write!(f, "tile+{offset}"),
            Place::Local { offset, .. } => write!(f, "panel+{offset}"),
            Place::Input(i) => write!(f, "input {i}"),
            Place::State(k) => write!(f, "state {}", self.plan.states.get(k).map_or("?", |s| &s.name)),
            Place::Constant(c) | Place::Fill(c) => write!(f, "constant {c}"),
        }?;
        f.write_str(if view.unit.is_some() { " in part" } else { "" })
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, line: &Line) -> fmt::Result {
        let (_, Function { name, single, .. }) = line.bytes(&self.plan);
        let ty = |f: &mut fmt::Formatter<'_>, word: u32| {
            let at = word as usize * WORD;
            let ty = self.tape.rows()[line.row as usize].results.first();
            ty.map_or(Ok(()), |ty| write!(f, "{ty} "))?;
            match at.checked_sub(self.plan.arena) {
                None => write!(f, "@{at}"),
                Some(offset) => write!(f, "panel+{offset}"),
            }
        };
        write!(f, "      %{} {}(", line.row, name)?;
        let read = line.x.iter().zip(single.bytes).filter(|(_, bytes)| *bytes > 0);
        for (i, (&x, _)) in read.enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            ty(f, x)?;
        }
        f.write_str(") -> ")?;
        ty(f, line.out)?;
        writeln!(f)
    }

    fn step(&self, f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
        write!(f, "      %{} {}(", step.row, step.action.name())?;
        for (i, &operand) in step.operands.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            self.view(f, operand)?;
            let strided = step.strides.as_ref().is_some_and(|s| s[i].is_some());
            f.write_str(if strided { " rearranged" } else { "" })?;
        }
        f.write_str(if step.once { ") once" } else { ")" })?;
        for (i, &result) in step.results.iter().enumerate() {
            if step.alpha != 1.0 {
                write!(f, " times {}", step.alpha)?;
            }
            match (i, step.beta) {
                (0, 0.0) => f.write_str(" -> ")?,
                (0, 1.0) => f.write_str(" added to ")?,
                (0, beta) => write!(f, " added to {beta} · ")?,
                _ => f.write_str(", ")?,
            }
            self.view(f, result)?;
        }
        writeln!(f)
    }
}

impl fmt::Display for PlanListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        if plan.by_rows.is_some() {
            return writeln!(f, "row by row, {} rows, {} bytes", self.tape.rows().len(), plan.arena);
        }
        let Plan { steps, lines, rounds, arena, local, scratch, .. } = &**plan;
        writeln!(
            f,
            "{} steps in {} rounds, {arena} bytes and {local} + {scratch} for each thread",
            steps.len() + lines.len(),
            rounds.len()
        )?;
        for (r, round) in rounds.iter().enumerate() {
            writeln!(f, "round {r}")?;
            for stage in &plan.stages[round.stages.clone()] {
                let (units, panels) = (stage.units, stage.panels);
                writeln!(
                    f,
                    "  stage of {units} {} in {panels} {}",
                    many("unit", units),
                    many("panel", panels)
                )?;
                for pass in &plan.passes[stage.passes.clone()] {
                    match &pass.body {
                        Body::Steps(steps) => {
                            writeln!(f, "    tiles of {}", pass.tile)?;
                            plan.steps[steps.clone()].iter().try_for_each(|step| self.step(f, step))?;
                        }
                        Body::Lines(lines) => {
                            writeln!(f, "    in brief")?;
                            plan.lines[lines.clone()].iter().try_for_each(|line| self.line(f, line))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn many(word: &str, count: usize) -> String {
    format!("{word}{}", if count == 1 { "" } else { "s" })
}
