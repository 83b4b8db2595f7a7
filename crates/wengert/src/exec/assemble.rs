//! From rounds of nodes to a plan: passes and steps, and a place for every array.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::arena::ALIGN;
use super::folds;
use super::layout::{Span, arrange};
use super::nodes::{Array, Graph, Node, Source};
use super::plan::{
    Action, Constant, Function, Line, Pass, Place, Plan, Round, Slot, Stage, Step, View, WORD,
};
use super::schedule::{Rounds, SECOND_CACHE, schedule};
use crate::dtype::DType;
use crate::error::Result;
use crate::ir::{Algebra, Kernel, Op, Tape};
use crate::kernels::{Level, Own};

/// Bytes of the largest part of an array in a tile: a few of them stay in the first cache.
const TILE: usize = 12 << 10;
/// How much wider than another an array may be for both to be computed in the same tiles.
const ALIKE: usize = 6;

impl Plan {
    /// A plan of a tape that keeps every bit of its trivial one; or, where `rounding` is allowed, adds products
    /// to states in another order.
    pub(crate) fn new(tape: &Tape, level: Level, rounding: bool) -> Result<Self> {
        let mut graph = Graph::new(tape, rounding)?;
        let mut rounds = schedule(&mut graph);
        folds::make_room(&mut graph, &rounds)?;
        let mut plan = Self::empty(level, tape.inputs(), tape.states());
        let commits = store(&mut graph, &mut rounds, rounding, &mut plan.stored);
        let uses = Uses::new(&graph, &rounds, &mut plan);
        let kept = graph.outputs.iter().chain(commits.iter().map(|(_, a)| a));
        let places = uses.places(&graph, kept.copied(), &mut plan)?;
        // An operand that is read where it lies may have more elements than its row sees, or fewer.
        let len = |a: &Array| graph.arrays[a.root as usize].ty.shape.elements();
        let slot = |a: &Array| Slot { place: places[a.root as usize], ty: a.ty, len: len(a) };
        plan.slots = graph.arrays.iter().map(slot).collect();
        plan.outputs = graph.outputs.iter().map(|&a| plan.slots[a as usize]).collect();
        plan.commits = commits.iter().map(|&(s, a)| (s, plan.slots[a as usize])).collect();
        plan.arena = plan.arena.next_multiple_of(ALIGN);
        uses.steps(graph, &mut plan);
        brief(&mut plan);
        plan.local = plan.local.next_multiple_of(ALIGN);
        plan.scratch = plan.scratch.next_multiple_of(ALIGN);
        Ok(plan)
    }
}

/// Adds nodes that write next values into their states where that is safe: nothing that runs later, or
/// beside it, reads the old value or can fail. Returns the others, to be copied at the end.
fn store(
    graph: &mut Graph,
    rounds: &mut Rounds,
    rounding: bool,
    stored: &mut Vec<usize>,
) -> Vec<(usize, u32)> {
    let mut homes = vec![(0, 0); graph.nodes.len()];
    for (r, round) in rounds.iter().enumerate() {
        for (g, group) in round.iter().enumerate() {
            group.nodes.iter().for_each(|&n| homes[n] = (r, g));
        }
    }
    let mut readers: Vec<(usize, usize, usize)> = Vec::new();
    let mut failing: Vec<(usize, usize)> = Vec::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        for (o, source) in node.reads() {
            if let Some(Place::State(state)) = graph.arrays[source.array as usize].leaf {
                readers.push((state, n, o));
            }
        }
        if !node.infallible {
            failing.push(homes[n]);
        }
    }
    failing.sort_unstable();
    failing.dedup();
    readers.sort_unstable();
    let mut uses = vec![0u32; graph.arrays.len()];
    let read = graph.nodes.iter().flat_map(|n| n.operands.iter().map(|s| s.array));
    let kept = graph.outputs.iter().chain(graph.updates.iter().map(|(_, a)| a)).copied();
    for array in read.chain(kept) {
        uses[graph.arrays[array as usize].root as usize] += 1;
    }
    let (mut commits, mut added, mut moved) = (Vec::new(), Vec::new(), vec![false; graph.nodes.len()]);
    for (state, array) in graph.updates.clone() {
        let Array { ty, maker, .. } = graph.arrays[array as usize];
        let Some(maker) = maker else { continue };
        let (r, g) = homes[maker as usize];
        let (units, alone) = (rounds[r][g].units, rounds[r][g].panels == 1);
        let before =
            |&(round, group): &(usize, usize), same: bool| round < r || ((round, group) == (r, g) && same);
        let from = readers.partition_point(|reader| reader.0 < state);
        let read = readers[from..].iter().take_while(|reader| reader.0 == state);
        let safe = failing.iter().all(|home| before(home, alone))
            && read
                .clone()
                .all(|&(_, n, o)| before(&homes[n], alone || graph.nodes[n].cuts(o, units, &graph.arrays)));
        if !safe {
            commits.push((state, array));
            continue;
        }
        let to = graph.arrays.len() as u32;
        graph.arrays.push(Array { ty, root: to, leaf: Some(Place::State(state)), maker: None });
        let sum = maker as usize;
        stored.push(state);
        if rounding
            && graph.nodes[sum].results.as_slice() == [array]
            && let Some(product) = addend(graph, &uses, sum, state)
            && homes[product] == (r, g)
        {
            let node = &mut graph.nodes[product];
            (node.accumulate, node.results) = (true, std::iter::once(to).collect());
            (moved[sum], moved[product]) = (true, true);
            added.push(((r, g), product));
        } else {
            rounds[r][g].nodes.push(graph.nodes.len());
            graph.nodes.push(Node::copy(graph.nodes[sum].row, array, to, ty));
        }
    }
    // Products read no state, but they write some: after all reading, and before the copies, which read none.
    added.sort_unstable();
    for added in added.chunk_by(|a, b| a.0 == b.0) {
        let (r, g) = added[0].0;
        let nodes = &mut rounds[r][g].nodes;
        nodes.retain(|&n| moved.get(n) != Some(&true));
        let copies =
            |&&n: &&usize| graph.nodes[n].results.iter().any(|&a| graph.arrays[a as usize].leaf.is_some());
        let at = nodes.len() - nodes.iter().rev().take_while(copies).count();
        nodes.splice(at..at, added.iter().map(|(_, product)| *product));
    }
    commits
}

/// The product that a node adds to a state, of arrays or of an array and a number, if nothing else reads either of
/// them and the product no state.
fn addend(graph: &Graph, uses: &[u32], sum: usize, state: usize) -> Option<usize> {
    let node = &graph.nodes[sum];
    let Action::Compute(Op::Elementwise(f)) = &node.action else { return None };
    let old = |s: &Source| graph.arrays[s.array as usize].leaf == Some(Place::State(state));
    let other = match node.operands.as_slice() {
        [a, b] if old(a) => b,
        [a, b] if old(b) => a,
        _ => return None,
    };
    let Array { root, maker, .. } = graph.arrays[other.array as usize];
    let product = maker.filter(|_| f.algebra() == Algebra::Sum && root == other.array)? as usize;
    let Action::Compute(op) = &graph.nodes[product].action else { return None };
    let read = graph.nodes[product].operands.iter().map(|s| graph.arrays[s.array as usize].leaf);
    let states = read.into_iter().any(|leaf| matches!(leaf, Some(Place::State(_))));
    let once = uses[other.array as usize] == 1 && uses[node.results[0] as usize] == 1;
    let alone = graph.nodes[product].infallible && graph.nodes[product].results.as_slice() == [other.array];
    (once && alone && !states && op.kernel().is_some_and(Kernel::accumulates)).then_some(product)
}

/// Splits the passes of stages that the first thread runs alone, array by array, into those whose steps can
/// be said in brief and the others.
fn brief(plan: &mut Plan) {
    let mut functions: HashMap<(Op, DType), u32> = HashMap::new();
    let mut passes: Vec<Pass> = Vec::new();
    let alone: Vec<bool> = plan.rounds.iter().flat_map(|r| r.stages.clone().map(|_| r.panels == 1)).collect();
    for (stage, alone) in plan.stages.iter_mut().zip(alone) {
        let first = passes.len();
        for pass in plan.passes[stage.passes.clone()].iter() {
            if stage.units > 1 || !alone {
                passes.push(Pass { lines: None, steps: pass.steps.clone(), tile: pass.tile });
                continue;
            }
            for at in pass.steps.clone() {
                let line = line(
                    &plan.steps[at],
                    &plan.slots,
                    (plan.arena, plan.level),
                    &mut functions,
                    &mut plan.functions,
                );
                let next = plan.lines.len();
                match (passes[first..].last_mut(), &line) {
                    (Some(Pass { steps, lines: Some(lines), .. }), Some(_)) => {
                        (steps.end, lines.end) = (at + 1, next + 1)
                    }
                    (Some(Pass { steps, lines: None, .. }), None) => steps.end = at + 1,
                    (_, line) => passes.push(Pass {
                        steps: at..at + 1,
                        tile: 1,
                        lines: line.is_some().then(|| next..next + 1),
                    }),
                }
                if let Some(Line { function, len, out, x }) = line {
                    let last = x.into_iter().chain([out]).max().unwrap_or(0) as usize;
                    let bytes = if plan.functions[function as usize].double { 8 } else { 4 };
                    plan.reach = plan.reach.max(last * WORD + len as usize * bytes);
                }
                plan.lines.extend(line);
            }
        }
        stage.passes = first..passes.len();
    }
    plan.passes = passes;
}

/// A step in brief, if it is an elementwise function of small arrays in memory that is the first thread's.
fn line(
    step: &Step,
    slots: &[Slot],
    (arena, level): (usize, Level),
    known: &mut HashMap<(Op, DType), u32>,
    functions: &mut Vec<Function>,
) -> Option<Line> {
    let (Action::Compute(op), [out]) = (&step.action, step.results.as_slice()) else { return None };
    let Op::Elementwise(function) = op else { return None };
    let ty = slots[out.slot as usize].ty;
    if !ty.dtype.is_float() {
        return None;
    }
    let word = |view: &View| {
        let byte = match slots[view.slot as usize].place {
            Place::Arena(offset) => offset,
            Place::Local { offset, .. } => arena + offset,
            _ => return None,
        };
        u32::try_from(byte / WORD).ok()
    };
    let mut x = [0; 3];
    if step.operands.len() > x.len() {
        return None;
    }
    for (x, view) in x.iter_mut().zip(&step.operands) {
        *x = word(view)?;
    }
    let function = match known.entry((op.clone(), ty.dtype)) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(new) => {
            let (applied, double) = (function.applied(level, Own)?, ty.dtype == DType::F64);
            functions.push(Function { applied, double, _op: function.clone() });
            *new.insert(functions.len() as u32 - 1)
        }
    };
    Some(Line { function, len: u32::try_from(ty.shape.elements()).ok()?, out: word(out)?, x })
}

/// A node in its stage.
struct Use {
    node: usize,
    round: usize,
    stage: usize,
    pass: usize,
}

/// All nodes in the order in which they run: one step each.
struct Uses {
    steps: Vec<Use>,
}

impl Uses {
    /// Cuts the groups into passes; fills the plan's rounds, stages and passes.
    fn new(graph: &Graph, rounds: &Rounds, plan: &mut Plan) -> Self {
        let mut steps: Vec<Use> = Vec::with_capacity(graph.nodes.len());
        for (round, groups) in rounds.iter().enumerate() {
            let first = plan.stages.len();
            for group in groups {
                let (stage, first) = (plan.stages.len(), plan.passes.len());
                let mut alone = true;
                let mut widths = (usize::MAX, 0);
                for (i, &node) in group.nodes.iter().enumerate() {
                    // Products of matrices, and whatever reads much for every unit, want many units at a time;
                    // states are written after all reading.
                    let n = &graph.nodes[node];
                    let large = |(o, s): (usize, &Source)| {
                        let bytes = graph.arrays[s.array as usize].ty.bytes();
                        bytes > SECOND_CACHE && !n.cuts(o, group.units, &graph.arrays)
                    };
                    let product = matches!(
                        &n.action,
                        Action::Compute(Op::Bilinear(_)) | Action::Fold(Op::Bilinear(_), _)
                    );
                    let heavy = product || n.operands.iter().enumerate().any(large);
                    let stores = n.results.iter().any(|&r| graph.arrays[r as usize].leaf.is_some());
                    // Bytes of a unit: steps on wide arrays want small tiles, those on narrow ones large tiles.
                    let unit = |a: &u32| graph.arrays[*a as usize].ty.bytes() / group.units.max(1);
                    let cut =
                        n.operands.iter().enumerate().filter(|(o, _)| n.cuts(*o, group.units, &graph.arrays));
                    let widest = n.results.iter().map(unit).chain(cut.map(|(_, s)| unit(&s.array))).max();
                    let widest = widest.unwrap_or(1).max(1);
                    let (least, most) = (widths.0.min(widest), widths.1.max(widest));
                    let apart = most > ALIKE * least && most * group.units.div_ceil(group.panels) > TILE;
                    if i == 0 || (group.units > 1 && (heavy || alone || stores || apart)) {
                        widths = (usize::MAX, 0);
                        plan.passes.push(Pass {
                            steps: steps.len()..steps.len(),
                            tile: group.units.div_ceil(group.panels),
                            lines: None,
                        });
                    }
                    alone = heavy;
                    steps.push(Use { node, round, stage, pass: plan.passes.len() - 1 });
                    if let Some(pass) = plan.passes.last_mut() {
                        pass.steps.end = steps.len();
                        if !heavy {
                            widths = (widths.0.min(widest), widths.1.max(widest));
                            pass.tile = pass.tile.min((TILE / widest).max(1));
                        }
                    }
                }
                let passes = first..plan.passes.len();
                plan.stages.push(Stage { units: group.units, panels: group.panels, passes });
            }
            let panels = groups.iter().map(|g| g.panels).sum();
            plan.rounds.push(Round { stages: first..plan.stages.len(), panels });
        }
        Self { steps }
    }

    /// Finds a place for every root array: in a thread's own memory where one stage makes and uses it up.
    fn places(&self, graph: &Graph, kept: impl Iterator<Item = u32>, plan: &mut Plan) -> Result<Vec<Place>> {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; graph.arrays.len()];
        let root = |a: u32| graph.arrays[a as usize].root as usize;
        for (at, step) in self.steps.iter().enumerate() {
            let node = &graph.nodes[step.node];
            let read = node.reads().map(|(_, s)| s.array).chain(node.prepared);
            for array in read.chain(node.results.iter().copied()).map(root) {
                lives[array].get_or_insert((at, at)).1 = at;
            }
        }
        for array in kept.map(root) {
            if let Some((_, last)) = &mut lives[array] {
                *last = usize::MAX;
            }
        }
        let mut places: Vec<Place> = graph.arrays.iter().map(|a| a.leaf.unwrap_or(Place::Arena(0))).collect();
        let mut arena: Vec<(Span, usize)> = Vec::new();
        let mut local: Vec<Vec<(Span, usize)>> = plan.stages.iter().map(|_| Vec::new()).collect();
        for (array, life) in lives.iter().enumerate().filter(|(a, _)| graph.arrays[*a].leaf.is_none()) {
            let Some((first, last)) = *life else { continue };
            let (from, bytes) = (&self.steps[first], graph.arrays[array].ty.bytes());
            let to = self.steps.get(last);
            if let Some(to) = to.filter(|to| to.stage == from.stage) {
                let Stage { units, panels, .. } = plan.stages[from.stage];
                let tile = from.pass == to.pass && units > 1;
                let held = if tile { plan.passes[from.pass].tile } else { units.div_ceil(panels) };
                // What outlives a pass must not share memory with anything in another tile of it.
                let (first, last) = if tile || units == 1 {
                    (first, last)
                } else {
                    (plan.passes[from.pass].steps.start, plan.passes[to.pass].steps.end - 1)
                };
                local[from.stage].push((Span { first, last, bytes: bytes / units * held }, array));
                places[array] = Place::Local { offset: 0, tile };
            } else {
                let last = to.map_or(usize::MAX, |to| to.round);
                arena.push((Span { first: from.round, last, bytes }, array));
            }
        }
        arena.sort_by_key(|(span, _)| span.first);
        let (offsets, total) = arrange(&arena)?;
        offsets.into_iter().for_each(|(array, offset)| places[array] = Place::Arena(offset));
        plan.arena = total;
        for spans in &mut local {
            spans.sort_by_key(|(span, _)| span.first);
            let (offsets, total) = arrange(spans)?;
            for (array, at) in offsets {
                if let Place::Local { offset, .. } = &mut places[array] {
                    *offset = at;
                }
            }
            plan.local = plan.local.max(total);
        }
        Ok(places)
    }

    /// Resolves the nodes into steps.
    fn steps(self, graph: Graph, plan: &mut Plan) {
        plan.constants = graph.constants;
        let mut nodes: Vec<Option<Node>> = graph.nodes.into_iter().map(Some).collect();
        for step in &self.steps {
            let Some(node) = nodes[step.node].take() else { continue };
            let &Stage { units, panels, .. } = &plan.stages[step.stage];
            let tile = plan.passes[step.pass].tile;
            let view = |array: u32, cut: bool| {
                let elements = graph.arrays[array as usize].ty.shape.elements();
                View { slot: array, unit: (cut && units > 1).then(|| elements / units) }
            };
            let operands = (0..node.operands.len())
                .map(|o| view(node.operands[o].array, node.cuts(o, units, &graph.arrays)));
            let operands: smallvec::SmallVec<[View; 3]> = operands.collect();
            for v in &operands {
                let Slot { place, len: all, .. } = plan.slots[v.slot as usize];
                if let Place::Fill(constant) = place
                    && let Constant::Fill { len, .. } = &mut plan.constants[constant]
                {
                    *len = (*len).max(v.unit.map_or(all, |unit| unit * tile));
                }
            }
            let strided = node.operands.iter().any(|s| s.strides.is_some());
            let (scratch, part) = match &node.action {
                Action::Fold(op, ty) => {
                    let scratch = folds::memory(op, &node.operands, &graph.arrays, (units, panels, tile));
                    (scratch, Some(ty.shape.elements()))
                }
                _ => (node.scratch, None),
            };
            plan.scratch = plan.scratch.max(scratch);
            plan.steps.push(Step {
                row: node.row,
                operands,
                strides: strided.then(|| node.operands.iter().map(|s| s.strides).collect()),
                results: match part {
                    // A part for each panel.
                    Some(_) => node.results.iter().map(|&slot| View { slot, unit: part }).collect(),
                    None => node.results.iter().map(|&r| view(r, true)).collect(),
                },
                prepared: node.prepared,
                blocks: node.blocks / units,
                scratch,
                accumulate: node.accumulate,
                action: node.action,
            });
        }
    }
}
