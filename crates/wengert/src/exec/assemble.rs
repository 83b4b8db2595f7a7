//! From rounds of nodes to a plan: passes and steps, and a place for every array.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::arena::ALIGN;
use super::brief::{Functions, brief};
use super::layout::{Span, arrange};
use super::machine::Machine;
use super::nodes::{Array, Graph, Node, Source};
use super::plan::{Action, Constant, Place, Plan, Round, Slot, Stage, Step, View};
use super::schedule::{Rounds, schedule};
use super::store::{accumulate, store};
use super::verify::{Slots, slots, verify};
use crate::error::{ErrorKind, Result};
use crate::ir::Tape;
use crate::kernels::Isa;

impl Plan {
    /// A plan of a tape that keeps every bit of its trivial one; or, where `rounding` is allowed, adds products
    /// to states in another order.
    pub(crate) fn new(tape: &Tape, isa: Isa, rounding: bool, machine: &Machine) -> Result<Self> {
        let (plan, lines) = Self::draft(tape, isa, rounding, machine)?;
        match verify(&plan, &lines) {
            Ok(()) => Ok(plan),
            Err(broken) => Err(match tape.rows().get(broken.row as usize) {
                Some(row) => tape.blame(row, broken.into()),
                None => ErrorKind::from(broken).into(),
            }),
        }
    }

    /// The same before it is verified, and the slots of its lines.
    pub(super) fn draft(
        tape: &Tape,
        isa: Isa,
        rounding: bool,
        machine: &Machine,
    ) -> Result<(Self, Vec<Slots>)> {
        let mut graph = Graph::new(tape, rounding, isa)?;
        if rounding {
            accumulate(&mut graph);
        }
        let mut rounds = schedule(&mut graph, machine);
        let mut plan = Self::empty(isa, tape.inputs(), tape.states());
        let commits = store(&mut graph, &mut rounds, &mut plan.stored);
        let uses = Uses::new(&graph, &rounds, &mut plan, machine);
        let kept = graph.outputs.iter().chain(commits.iter().map(|(_, a)| a));
        let places = uses.places(&graph, kept.copied(), &mut plan)?;
        // An operand that is read where it lies may have more elements than its row sees, or fewer.
        let len = |a: &Array| graph.arrays[a.root as usize].ty.shape.elements();
        let slot =
            |a: &Array| Slot { place: places[a.root as usize], ty: a.ty.clone(), len: len(a), root: a.root };
        plan.slots = graph.arrays.iter().map(slot).collect();
        plan.outputs = graph.outputs.iter().map(|&a| plan.slots[a as usize].clone()).collect();
        plan.commits = commits.iter().map(|&(s, a)| (s, plan.slots[a as usize].clone())).collect();
        plan.arena = plan.arena.next_multiple_of(ALIGN);
        let mut functions = Functions::default();
        let lines = uses.steps(graph, &commits, &mut plan, &mut functions);
        plan.functions = functions.all;
        plan.local = plan.local.next_multiple_of(ALIGN);
        plan.scratch = plan.scratch.next_multiple_of(ALIGN);
        Ok((plan, lines))
    }
}

/// The life of an array that no step has seen, and the end of one that outlives them all.
const NEVER: (u32, u32) = (u32::MAX, 0);
const FOREVER: u32 = u32::MAX;

/// A node in its pass.
struct Use {
    node: u32,
    pass: u32,
}

/// All nodes in the order in which they run: one step each.
struct Uses {
    steps: Vec<Use>,
    passes: Vec<Cut>,
}

/// A pass in the making.
struct Cut {
    round: usize,
    stage: usize,
    tile: usize,
    /// The largest chunk of what is folded.
    chunk: Option<usize>,
    steps: Range<usize>,
}

impl Uses {
    /// Cuts the groups into passes; fills the plan's rounds and stages.
    fn new(graph: &Graph, rounds: &Rounds, plan: &mut Plan, machine: &Machine) -> Self {
        let (mut steps, mut passes) = (Vec::with_capacity(graph.nodes.len()), Vec::new());
        for (round, groups) in rounds.iter().enumerate() {
            let first = plan.stages.len();
            for group in groups {
                let (stage, first) = (plan.stages.len(), passes.len());
                let mut alone = true;
                let mut widths = (usize::MAX, 0);
                for (i, &node) in group.nodes.iter().enumerate() {
                    // Products of matrices, and whatever reads much for every unit, want many units at a time;
                    // states are written after all reading.
                    let n = &graph.nodes[node];
                    let large = |(o, s): (usize, &Source)| {
                        let bytes = graph.arrays[s.array as usize].ty.bytes();
                        bytes > machine.second_cache && !n.cuts(o, group.units, &graph.arrays)
                    };
                    let heavy = n.action.multiplies() || n.operands.iter().enumerate().any(large);
                    let copies = matches!(n.action, Action::Copy) || n.adds.is_some() || n.onto.is_some();
                    let stores = copies && n.results.iter().any(|&r| graph.arrays[r as usize].leaf.is_some());
                    // Bytes of a unit: steps on wide arrays want small tiles, those on narrow ones large tiles.
                    let unit = |a: &u32| graph.arrays[*a as usize].ty.bytes() / group.units.max(1);
                    let cut =
                        n.operands.iter().enumerate().filter(|(o, _)| n.cuts(*o, group.units, &graph.arrays));
                    let widest = n.results.iter().map(unit).chain(cut.map(|(_, s)| unit(&s.array))).max();
                    let widest = widest.unwrap_or(1).max(1);
                    let (least, most) = (widths.0.min(widest), widths.1.max(widest));
                    let apart = most > machine.alike * least
                        && most * group.units.div_ceil(group.panels) > machine.tile;
                    if i == 0 || (group.units > 1 && (heavy || alone || stores || apart)) {
                        widths = (usize::MAX, 0);
                        let tile = group.units.div_ceil(group.panels);
                        passes.push(Cut { round, stage, tile, chunk: None, steps: steps.len()..steps.len() });
                    }
                    alone = heavy;
                    steps.push(Use { node: node as u32, pass: passes.len() as u32 - 1 });
                    if let Some(pass) = passes.last_mut() {
                        pass.steps.end = steps.len();
                        if let Action::Fold(fold) = &n.action {
                            pass.chunk = pass.chunk.max(Some(fold.chunk));
                        }
                        if !heavy {
                            widths = (widths.0.min(widest), widths.1.max(widest));
                            pass.tile = pass.tile.min((machine.tile / widest).max(1));
                        }
                    }
                }
                let passes = first..passes.len();
                plan.stages.push(Stage { units: group.units, panels: group.panels, passes });
            }
            let panels = groups.iter().map(|g| g.panels).sum();
            plan.rounds.push(Round { stages: first..plan.stages.len(), panels });
        }
        Self { steps, passes }
    }

    /// Finds a place for every root array: in a thread's own memory where one stage makes and uses it up.
    fn places(&self, graph: &Graph, kept: impl Iterator<Item = u32>, plan: &mut Plan) -> Result<Vec<Place>> {
        let mut lives: Vec<(u32, u32)> = vec![NEVER; graph.arrays.len()];
        let root = |a: u32| graph.arrays[a as usize].root as usize;
        for (at, step) in (0..).zip(&self.steps) {
            let node = &graph.nodes[step.node as usize];
            let read = node.reads().map(|(_, s)| s.array).chain(node.prepared);
            for array in read.chain(node.results.iter().copied()).map(root) {
                let (first, last) = &mut lives[array];
                (*first, *last) = ((*first).min(at), at);
            }
        }
        for array in kept.map(root) {
            lives[array].1 = FOREVER;
        }
        let mut places: Vec<Place> = graph.arrays.iter().map(|a| a.leaf.unwrap_or(Place::Arena(0))).collect();
        let mut arena: Vec<(Span, u32)> = Vec::new();
        let mut local: Vec<Vec<(Span, u32)>> = plan.stages.iter().map(|_| Vec::new()).collect();
        for (array, life) in (0..).zip(lives).filter(|(a, _)| graph.arrays[*a as usize].leaf.is_none()) {
            let (first, last) = life;
            let Some(from) = self.steps.get(first as usize) else { continue };
            let bytes = graph.arrays[array as usize].ty.bytes();
            let pass = &self.passes[from.pass as usize];
            let to = self.steps.get(last as usize).map(|to| &self.passes[to.pass as usize]);
            if let Some(to) = to.filter(|to| to.stage == pass.stage) {
                let Stage { units, panels, .. } = plan.stages[pass.stage];
                let tile = std::ptr::eq(pass, to) && units > 1;
                let held = if tile { pass.units() } else { units.div_ceil(panels) };
                // What outlives a pass, or a tile, must not share memory with anything in another tile of it.
                let once = graph.nodes[from.node as usize].repeats(units, &graph.arrays);
                let (first, last) = if (tile && !once) || units == 1 {
                    (first, last)
                } else {
                    (pass.steps.start as u32, to.steps.end as u32 - 1)
                };
                local[pass.stage].push((Span { first, last, bytes: bytes / units * held }, array));
                places[array as usize] = Place::Local { offset: 0, tile };
            } else {
                let last = to.map_or(FOREVER, |to| to.round as u32);
                arena.push((Span { first: pass.round as u32, last, bytes }, array));
            }
        }
        arena.sort_unstable_by_key(|(span, array)| (span.first, *array));
        let (offsets, total) = arrange(&arena)?;
        offsets.into_iter().for_each(|(array, offset)| places[array as usize] = Place::Arena(offset));
        plan.arena = total;
        for spans in &mut local {
            spans.sort_unstable_by_key(|(span, array)| (span.first, *array));
            let (offsets, total) = arrange(spans)?;
            for (array, at) in offsets {
                if let Place::Local { offset, .. } = &mut places[array as usize] {
                    *offset = at;
                }
            }
            plan.local = plan.local.max(total);
        }
        Ok(places)
    }

    /// Resolves the nodes into steps; those that can be said in brief into lines, where the first thread runs them alone
    /// and array by array. Returns the slots of the lines.
    fn steps(
        &self,
        graph: Graph,
        commits: &[(usize, u32)],
        plan: &mut Plan,
        functions: &mut Functions,
    ) -> Vec<Slots> {
        let Graph { arrays, nodes, constants, outputs, .. } = graph;
        plan.constants = constants;
        let mut lines = Vec::new();
        let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        let mut kept = vec![false; arrays.len()];
        outputs.iter().chain(commits.iter().map(|(_, a)| a)).for_each(|&a| kept[root(&arrays, a)] = true);
        // What is added where an array lies comes after what made it: the last step makes its NaNs canonical.
        let mut last = vec![false; self.steps.len()];
        for (last, step) in last.iter_mut().zip(&self.steps).rev() {
            for &result in nodes[step.node as usize].iter().flat_map(|node| &node.results) {
                *last |= std::mem::take(&mut kept[root(&arrays, result)]);
            }
        }
        let alone =
            plan.rounds.iter().flat_map(|r| r.stages.clone().map(|_| r.panels == 1)).collect::<Vec<_>>();
        for (stage, alone) in (0..plan.stages.len()).zip(alone) {
            let Stage { units, passes, .. } = &plan.stages[stage];
            let (units, first, alone) = (*units, plan.passes.len(), *units == 1 && alone);
            for cut in &self.passes[passes.clone()] {
                let (begin, tile, folds) = (plan.passes.len(), cut.units(), cut.chunk.is_some() && units > 1);
                for at in cut.steps.clone() {
                    let Some(node) = nodes[self.steps[at].node as usize].take() else { continue };
                    let step = step(node, &arrays, (units, tile), last[at], plan);
                    match if alone { brief(&step, plan, functions) } else { None } {
                        Some(line) => {
                            plan.line(begin, line);
                            lines.push(slots(&step));
                        }
                        None => plan.step(begin, (tile, folds), step),
                    }
                }
            }
            plan.stages[stage].passes = first..plan.passes.len();
        }
        lines
    }
}

impl Cut {
    /// Units of a tile: whole chunks of what is folded.
    fn units(&self) -> usize {
        self.chunk.map_or(self.tile, |chunk| chunk.max(self.tile / chunk * chunk))
    }
}

fn root(arrays: &[Array], array: u32) -> usize {
    arrays[array as usize].root as usize
}

/// The step of a node in a stage of so many units and panels, and a pass with tiles of so many units.
fn step(node: Node, arrays: &[Array], (units, tile): (usize, usize), last: bool, plan: &mut Plan) -> Step {
    let view = |array: u32, cut: bool| {
        let elements = arrays[array as usize].ty.shape.elements();
        View { slot: array, unit: NonZeroUsize::new(elements / units).filter(|_| cut && units > 1) }
    };
    let operands =
        (0..node.operands.len()).map(|o| view(node.operands[o].array, node.cuts(o, units, arrays)));
    let operands: smallvec::SmallVec<[View; 3]> = operands.collect();
    for v in &operands {
        let Slot { place, len: all, .. } = &plan.slots[v.slot as usize];
        if let Place::Fill(constant) = *place
            && let Constant::Fill { len, .. } = &mut plan.constants[constant]
        {
            *len = (*len).max(v.unit.map_or(*all, |unit| unit.get() * tile));
        }
    }
    let strided = node.operands.iter().any(|s| s.strides.is_some());
    let repeats = node.repeats(units, arrays);
    let scratch = match &node.action {
        Action::Fold(fold) => fold.memory(&node.operands, arrays),
        _ => node.scratch,
    };
    plan.scratch = plan.scratch.max(scratch);
    let place = |array: u32| plan.slots[array as usize].place;
    let action = node.action;
    Step {
        row: node.row,
        operands,
        strides: strided.then(|| node.operands.iter().map(|s| s.strides.clone()).collect()),
        // Parts of a fold are found by their number.
        results: node.results.iter().map(|&r| view(r, !matches!(action, Action::Fold(_)))).collect(),
        prepared: node.prepared,
        blocks: node.blocks / units,
        scratch,
        beta: node.adds.as_ref().map_or(if node.onto.is_some() { 1.0 } else { 0.0 }, |adds| adds.beta),
        alpha: node.adds.as_ref().map_or(1.0, |adds| adds.alpha),
        onto: node.onto,
        canonical: last || node.results.iter().any(|&r| matches!(place(r), Place::State(_))),
        once: repeats && node.results.iter().all(|&r| matches!(place(r), Place::Local { tile: true, .. })),
        action,
    }
}
