//! Whether a plan may be run: what unsafe code rests on.
//!
//! Everything is found anew from the plan itself, in one walk over its steps and one sweep over the arrays sorted by
//! time. The invariants have names, which the SAFETY sentences of the executor cite:
//!
//! - V1: arrays that are alive together (in a round, in the tiles of a pass, within a stage) share no byte;
//! - V2: what a step reads was written: in an earlier round, earlier on the same units, or whole by the thread alone;
//! - V3: what a panel writes no other panel or stage of the round writes or reads;
//! - V4: parts, strides and alignment lie within their array and their memory, and types agree;
//! - V5: a step writes where it reads only element by element, or onto an operand that comes without elements;
//! - V6: an array is made once, so is each next value; a state is written after all reading of its old value and after
//!   everything that may fail;
//! - V7: layouts are complete before they are used, and neither they nor constants nor inputs are written to;
//! - V8: inputs, states and constants have the lengths that are assumed of what is bound;
//! - V9: each part of a fold is added up by one panel, and all of them once, in their order.

use std::collections::HashMap;

use super::cpu::{Code, Strides};
use super::plan::{Action, Body, Function, Line, Pass, Place, Plan, Slot, Stage, Step, View, WORD};
use crate::error::ErrorKind;
use crate::kernels::Compiled;

/// An invariant that a plan breaks, at the step of this row.
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

/// The slots of the result and the operands of a line, which itself knows no more than their places.
pub(super) type Slots = [u32; 4];

/// Those of a step that is said in brief.
pub(super) fn slots(step: &Step) -> Slots {
    let mut slots = Slots::default();
    let views = step.results.iter().take(1).chain(&step.operands);
    slots.iter_mut().zip(views).for_each(|(slot, view)| *slot = view.slot);
    slots
}

/// Where a step stands.
#[derive(Clone, Copy)]
struct At {
    row: u32,
    round: u32,
    stage: u32,
    pass: u32,
    step: u32,
}

/// What the walk knows of an array: when it was first and last used, and how it was last written and read.
#[derive(Clone, Copy)]
struct Array {
    first: u32,
    last: u32,
    passes: (u32, u32),
    rounds: (u32, u32),
    /// The round, the pass and the stage of the last write.
    written: (u32, u32),
    stage: u32,
    /// The stage of the last use.
    user: u32,
    state: u8,
}

const UNUSED: u32 = u32::MAX;
/// The row of a fault that is no single step's.
const NOWHERE: u32 = u32::MAX;
/// Some step makes it; it has been made; its last write was unit by unit; it is read whole in the stage of the last use;
/// it is made in the first tile of a panel alone.
const MADE: u8 = 1;
const WRITTEN: u8 = 2;
const CUT: u8 = 4;
const READ_WHOLE: u8 = 8;
const ONCE: u8 = 16;

/// What the walk knows of a state of the plan.
#[derive(Clone, Copy, Default)]
struct Old {
    /// The last reading of the old value: round, stage and pass; whether it was unit by unit in all of that round.
    read: Option<(u32, u32, u32, bool)>,
    written: bool,
    /// Whether the plan says that a step writes it.
    announced: bool,
}

struct Verifier<'a> {
    plan: &'a Plan,
    arrays: Vec<Array>,
    states: Vec<Old>,
    /// The last steps that may fail: their round, stage and pass, if all of the round are of one stage.
    failing: Option<(u32, Option<(u32, u32)>)>,
    /// A state is written already.
    changed: bool,
    /// The first and the last step of each pass.
    times: Vec<(u32, u32)>,
    /// Folds whose parts are not added up yet.
    parts: HashMap<u32, usize>,
}

type Check = Result<(), Broken>;

/// Checks a plan that is not row by row; `lines` has the slots of each of its lines.
pub(super) fn verify(plan: &Plan, lines: &[Slots]) -> Check {
    let unused = Array {
        first: UNUSED,
        last: 0,
        passes: (0, 0),
        rounds: (0, 0),
        written: (0, 0),
        stage: 0,
        user: 0,
        state: 0,
    };
    let mut v = Verifier {
        plan,
        arrays: vec![unused; plan.slots.len()],
        states: vec![Old::default(); plan.states.len()],
        failing: None,
        changed: false,
        times: vec![(0, 0); plan.passes.len()],
        parts: HashMap::new(),
    };
    for &k in &plan.stored {
        v.states.get_mut(k).ok_or_else(|| broken("V4", 0, "no such state"))?.announced = true;
    }
    let made = plan.steps.iter().flat_map(|s| s.results.iter().map(|r| r.slot));
    for slot in made.chain(lines.iter().map(|slots| slots[0])) {
        let root = plan.slots.get(slot as usize).map_or(slot, |s| s.root);
        v.arrays.get_mut(root as usize).ok_or_else(|| broken("V4", 0, "a slot that is not there"))?.state |=
            MADE;
    }
    let mut at = At { row: 0, round: 0, stage: 0, pass: 0, step: 0 };
    for (r, round) in plan.rounds.iter().enumerate() {
        let stages = plan.stages.get(round.stages.clone()).unwrap_or(&[]);
        if stages.iter().map(|s| s.panels).sum::<usize>() != round.panels {
            return Err(broken("V9", at.row, "a round of other panels than its stages"));
        }
        for (s, stage) in round.stages.clone().zip(stages) {
            for (p, pass) in stage.passes.clone().zip(plan.passes.get(stage.passes.clone()).unwrap_or(&[])) {
                at = At { round: r as u32, stage: s as u32, pass: p as u32, ..at };
                v.pass(at, (stage, pass, round.panels), lines)?;
                let first = at.step;
                at.step += match &pass.body {
                    Body::Steps(steps) => steps.len() as u32,
                    Body::Lines(lines) => lines.len() as u32,
                };
                v.times[p] = (first, at.step.saturating_sub(1));
            }
        }
    }
    v.kept(at)?;
    v.sweep()
}

fn broken(invariant: &'static str, row: u32, what: &'static str) -> Broken {
    Broken { invariant, row, what }
}

impl Verifier<'_> {
    fn pass(&mut self, mut at: At, (stage, pass, panels): (&Stage, &Pass, usize), lines: &[Slots]) -> Check {
        let plan = self.plan;
        if pass.tile == 0 || stage.panels == 0 || stage.panels > stage.units.max(1) {
            return Err(broken("V4", at.row, "tiles or panels without units"));
        }
        match &pass.body {
            Body::Steps(steps) => {
                for step in plan.steps.get(steps.clone()).unwrap_or(&[]) {
                    at.row = step.row;
                    self.step(at, (stage, pass), step)?;
                    at.step += 1;
                }
            }
            Body::Lines(range) => {
                if stage.units != 1 || panels != 1 {
                    return Err(broken("V3", at.row, "lines that the first thread does not run alone"));
                }
                let lines = lines.get(range.clone()).unwrap_or(&[]);
                for (line, slots) in plan.lines.get(range.clone()).unwrap_or(&[]).iter().zip(lines) {
                    at.row = line.row;
                    self.line(at, (stage, pass), line, slots)?;
                    at.step += 1;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, at: At, home: (&Stage, &Pass), line: &Line, slots: &Slots) -> Check {
        let plan = self.plan;
        let Some(Function { single, code, .. }) = plan.functions.get(line.function as usize) else {
            return Err(broken("V4", at.row, "a line without a function"));
        };
        let read = || line.x.into_iter().zip(single.bytes).filter(|(_, bytes)| *bytes > 0);
        let arity = read().count();
        for (&slot, (word, each)) in slots.iter().zip([(line.out, single.result)].into_iter().chain(read())) {
            let Slot { place, ty, len, .. } = self.slot(slot, at)?;
            let byte = match *place {
                Place::Arena(offset) => offset,
                Place::Local { offset, .. } => plan.arena + offset,
                _ => return Err(broken("V4", at.row, "a line that leaves its arena")),
            };
            let bytes = line.len as usize * usize::from(each);
            let fits = *len == line.len as usize
                && ty.dtype.bytes() == usize::from(each)
                && byte + bytes <= plan.reach;
            if byte != word as usize * WORD || !fits || plan.reach > plan.arena + plan.local {
                return Err(broken("V4", at.row, "a line that leaves its arrays"));
            }
        }
        let dtype = |slot: &u32| plan.slots.get(*slot as usize).map(|slot| slot.ty.dtype);
        let (x, y) = (slots[1..=arity].iter().filter_map(dtype), slots[..1].iter().filter_map(dtype));
        let len = line.len as usize;
        if !matches!(&**code, Code::Map(map) if map.fits(x, y, len)) || len > single.most {
            return Err(broken(
                "V4",
                at.row,
                "a line of other types, or of more elements than its constants",
            ));
        }
        let whole = |slot| View { slot, unit: None };
        for &slot in &slots[1..=arity] {
            self.read(at, home, whole(slot), None)?;
            if self.slot(slot, at)?.root == self.slot(slots[0], at)?.root {
                return Err(broken("V5", at.row, "a line that writes what it reads"));
            }
        }
        self.write(at, home, whole(slots[0]), true, false)
    }

    /// What a map that runs behind pointers relies on: the types of its body, as many elements everywhere, and its scratch.
    fn map(&self, at: At, step: &Step, map: &Compiled) -> Check {
        let len = |view: &View| self.slot(view.slot, at).map(|slot| (slot.len, view.unit));
        let dtype = |view: &View| self.plan.slots.get(view.slot as usize).map(|slot| slot.ty.dtype);
        let first = step.results.first().map_or(Ok((0, None)), len)?;
        for view in step.operands.iter().chain(&step.results) {
            if len(view)? != first {
                return Err(broken("V4", at.row, "a map of arrays of different lengths"));
            }
        }
        let (x, y) = (step.operands.iter().filter_map(dtype), step.results.iter().filter_map(dtype));
        if !map.fits(x, y, first.0) || step.scratch < map.scratch() {
            return Err(broken("V4", at.row, "a map of other types, or without its scratch"));
        }
        Ok(())
    }

    fn step(&mut self, at: At, (stage, pass): (&Stage, &Pass), step: &Step) -> Check {
        let (plan, home) = (self.plan, (stage, pass));
        if step.scratch > plan.scratch {
            return Err(broken("V4", at.row, "scratch that is not there"));
        }
        let code = step.action.code();
        let may_fail = code.is_some_and(|c| !c.infallible()) || matches!(step.action, Action::Guard { .. });
        if let (Action::Compute(..), Some(Code::Map(map))) = (&step.action, code) {
            self.map(at, step, map)?;
        }
        for (o, view) in step.operands.iter().enumerate() {
            let onto = step.onto.is_some_and(|onto| usize::from(onto) == o);
            if matches!(step.action, Action::Prepare(.., operand) if operand != o) {
                continue;
            }
            let strides = step.strides.as_ref().and_then(|s| s.get(o)?.as_deref());
            self.read(at, home, *view, strides)?;
            let (from, result) = (self.slot(view.slot, at)?, step.results.first());
            for to in &step.results {
                let same = same_bytes(from, self.slot(to.slot, at)?);
                let element_by_element = code.is_some_and(|c| c.in_place())
                    && view.unit == to.unit
                    && from.ty.dtype.bytes() == self.slot(to.slot, at)?.ty.dtype.bytes();
                if same && !onto && !element_by_element {
                    return Err(broken("V5", at.row, "a step that writes what it reads"));
                }
            }
            if onto
                && !result.is_some_and(|to| {
                    let slot = &plan.slots[to.slot as usize];
                    same_bytes(from, slot)
                        && *from.ty == *slot.ty
                        && (view.unit == to.unit || stage.units == 1)
                })
            {
                return Err(broken("V5", at.row, "a step onto an operand that lies elsewhere"));
            }
        }
        if let Some(slot) = step.prepared {
            let Some(Array { state, .. }) = self.arrays.get(self.slot(slot, at)?.root as usize) else {
                return Err(broken("V7", at.row, "a layout that is not there"));
            };
            if state & WRITTEN == 0 {
                return Err(broken("V7", at.row, "a layout that is used before it is made"));
            }
            self.read(at, home, View { slot, unit: None }, None)?;
        }
        let adds = step.beta == 0.0 || step.onto.is_some() || code.is_some_and(|c| c.accumulates());
        if !adds || (step.alpha != 1.0 && !code.is_some_and(|c| c.scales())) {
            return Err(broken("V5", at.row, "it adds to what is there, which its kernel cannot"));
        }
        match &step.action {
            Action::Fold(fold) => self.fold(at, home, step, fold)?,
            Action::Join => self.join(at, step)?,
            _ => {}
        }
        if may_fail {
            if self.changed {
                return Err(broken("V6", at.row, "it may fail when a state has changed"));
            }
            self.failing = match self.failing {
                Some((round, only)) if round == at.round => {
                    Some((round, only.filter(|(s, _)| *s == at.stage).map(|(s, p)| (s, p.max(at.pass)))))
                }
                _ => Some((at.round, Some((at.stage, at.pass)))),
            };
        }
        for view in &step.results {
            let added = step.beta != 0.0 || step.onto.is_some();
            if added && step.onto.is_none() {
                // It begins as what is there.
                let Slot { place, root, .. } = *self.slot(view.slot, at)?;
                if !matches!(place, Place::State(_)) || self.arrays[root as usize].state & WRITTEN != 0 {
                    self.read(at, home, *view, None)?;
                }
            }
            self.write(at, home, *view, !added, step.once)?;
        }
        Ok(())
    }

    fn slot(&self, slot: u32, at: At) -> Result<&Slot, Broken> {
        self.plan.slots.get(slot as usize).ok_or_else(|| broken("V4", at.row, "a slot that is not there"))
    }

    fn read(&mut self, at: At, home: (&Stage, &Pass), view: View, strides: Option<&Strides>) -> Check {
        self.inside(at, home, view, strides)?;
        let Slot { place, root, len, .. } = *self.slot(view.slot, at)?;
        let cut = view.unit.is_some() || home.0.units == 1 || len == 0;
        let state = self.arrays[root as usize].state;
        if state & MADE == 0 {
            return match place {
                Place::State(k) => self.read_old(at, k, cut),
                Place::Arena(_) | Place::Local { .. } => {
                    Err(broken("V2", at.row, "nothing makes what is read"))
                }
                _ => Ok(()),
            };
        }
        if state & WRITTEN == 0 {
            return Err(broken("V2", at.row, "it reads what is made later"));
        }
        let array = &mut self.arrays[root as usize];
        let (round, pass) = array.written;
        // In the stage that makes it, a panel finds its own units alone.
        let earlier = round < at.round && !matches!(place, Place::Local { .. });
        let together = array.stage == at.stage
            && cut
            && (state & CUT != 0 || home.0.units == 1)
            && (pass == at.pass || !matches!(place, Place::Local { tile: true, .. }));
        if !(earlier || together) {
            let beside = round == at.round && array.stage != at.stage;
            return Err(broken(if beside { "V3" } else { "V2" }, at.row, "it reads what is not made yet"));
        }
        array.used(at);
        if !cut {
            array.state |= READ_WHOLE;
        }
        Ok(())
    }

    fn read_old(&mut self, at: At, state: usize, cut: bool) -> Check {
        let old = self.states.get_mut(state).ok_or_else(|| broken("V4", at.row, "no such state"))?;
        if old.written {
            return Err(broken("V6", at.row, "it reads the old value of a state that is written already"));
        }
        old.read = Some(match old.read {
            Some((round, stage, pass, all)) if round == at.round => {
                // Two stages of a round read it: none of them may write it.
                let stage = if stage == at.stage { stage } else { UNUSED };
                (round, stage, pass.max(at.pass), all && cut)
            }
            _ => (at.round, at.stage, at.pass, cut),
        });
        Ok(())
    }

    fn write(&mut self, at: At, home: (&Stage, &Pass), view: View, fresh: bool, once: bool) -> Check {
        let (stage, _) = home;
        self.inside(at, home, view, None)?;
        let Slot { place, root, len, .. } = *self.slot(view.slot, at)?;
        let alone = stage.units == 1 || len == 0;
        let folded = self.parts.contains_key(&root);
        if view.unit.is_none() && !alone && !folded {
            return Err(broken("V3", at.row, "every tile writes all of it"));
        }
        match place {
            Place::Arena(_) | Place::Local { .. } => {}
            Place::State(k) => self.write_state(at, stage, k)?,
            _ => return Err(broken("V7", at.row, "it writes to what never changes")),
        }
        let array = &mut self.arrays[root as usize];
        let used = array.first != UNUSED;
        if used && array.rounds.1 == at.round && array.user != at.stage {
            return Err(broken("V3", at.row, "another stage of the round uses what it writes"));
        }
        if array.state & READ_WHOLE != 0 && array.rounds.1 == at.round && stage.panels > 1 {
            return Err(broken("V3", at.row, "another panel reads what it writes"));
        }
        if fresh == (array.state & WRITTEN != 0) && !matches!(place, Place::State(_)) {
            return Err(broken(
                "V6",
                at.row,
                if fresh { "made twice" } else { "added to what is not there" },
            ));
        }
        array.used(at);
        array.state = (array.state | WRITTEN) & !CUT;
        array.state |= if view.unit.is_some() || len == 0 { CUT } else { 0 } | if once { ONCE } else { 0 };
        array.written = (at.round, at.pass);
        array.stage = at.stage;
        Ok(())
    }

    fn write_state(&mut self, at: At, stage: &Stage, k: usize) -> Check {
        let old = self.states.get_mut(k).ok_or_else(|| broken("V4", at.row, "no such state"))?;
        if std::mem::replace(&mut old.written, true) || !old.announced {
            return Err(broken("V6", at.row, "a state that is written twice, or unannounced"));
        }
        // Of the same round: by the same stage, in the same units, or by the only panel and before.
        let alone = |pass: u32| stage.panels == 1 && (pass < at.pass || stage.units == 1);
        let after = |round: u32, beside: bool| round < at.round || (round == at.round && beside);
        let read =
            old.read.is_none_or(|(round, s, pass, cut)| after(round, s == at.stage && (cut || alone(pass))));
        if !read {
            return Err(broken("V6", at.row, "a state is written before its old value is read"));
        }
        let failing = self.failing.is_none_or(|(round, only)| {
            after(round, only.is_some_and(|(s, pass)| s == at.stage && alone(pass)))
        });
        self.changed = true;
        if failing { Ok(()) } else { Err(broken("V6", at.row, "a state is written beside what may fail")) }
    }

    /// V6 and V9, at the end: outputs and next values are there, and no part is left over.
    fn kept(&mut self, at: At) -> Check {
        let plan = self.plan;
        let mut next = vec![false; plan.states.len()];
        for (k, slot) in &plan.commits {
            let twice =
                next.get_mut(*k).is_none_or(|n| std::mem::replace(n, true)) || self.states[*k].written;
            let ty = plan.states.get(*k).map(|s| s.ty);
            if twice || ty.is_none_or(|ty| ty.dtype != slot.ty.dtype || ty.shape.elements() != slot.len) {
                return Err(broken("V6", at.row, "a state that is written twice, or by something else"));
            }
        }
        for &k in &plan.stored {
            if !self.states.get(k).is_some_and(|s| s.written) {
                return Err(broken("V6", at.row, "a state that is never written"));
            }
        }
        for slot in plan.outputs.iter().chain(plan.commits.iter().map(|(_, slot)| slot)) {
            let Some(array) = self.arrays.get_mut(slot.root as usize) else {
                return Err(broken("V4", at.row, "a slot that is not there"));
            };
            let there =
                matches!(slot.place, Place::Arena(_)) && plan.slots[slot.root as usize].place == slot.place;
            if array.state & WRITTEN == 0 || !there {
                return Err(broken("V6", at.row, "an output that nothing makes"));
            }
            array.rounds.1 = UNUSED;
        }
        if !self.parts.is_empty() {
            return Err(broken("V9", at.row, "parts that nobody adds up"));
        }
        Ok(())
    }
}

impl Array {
    fn used(&mut self, at: At) {
        if self.first == UNUSED {
            (self.first, self.passes.0, self.rounds.0) = (at.step, at.pass, at.round);
        }
        if self.rounds.1 != at.round {
            self.state &= !READ_WHOLE;
        }
        (self.last, self.passes.1, self.rounds.1, self.user) = (at.step, at.pass, at.round, at.stage);
    }
}

/// Whether two slots are names of the same bytes, whichever array lies there.
fn same_bytes(a: &Slot, b: &Slot) -> bool {
    a.root == b.root || (a.place == b.place && matches!(a.place, Place::State(_)))
}

mod bounds;
mod lives;
#[cfg(test)]
mod planted;
