//! From rounds of nodes to a plan: passes and steps, and a place for every array.

use super::arena::ALIGN;
use super::brief::{Functions, brief};
use super::folds;
use super::layout::{Span, arrange};
use super::nodes::{Array, Graph, Node, Source};
use super::plan::{Action, Constant, Pass, Place, Plan, Round, Slot, Stage, Step, View};
use super::schedule::{Rounds, SECOND_CACHE, schedule};
use super::store::store;
use crate::error::Result;
use crate::ir::{Op, Tape};
use crate::kernels::Level;

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
        let mut functions = Functions::default();
        uses.steps(graph, &commits, &mut plan, &mut functions);
        brief(&mut plan, &mut functions);
        plan.functions = functions.all;
        plan.local = plan.local.next_multiple_of(ALIGN);
        plan.scratch = plan.scratch.next_multiple_of(ALIGN);
        Ok(plan)
    }
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
                    let copies = matches!(n.action, Action::Copy) || n.beta != 0.0;
                    let stores = copies && n.results.iter().any(|&r| graph.arrays[r as usize].leaf.is_some());
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
                // What outlives a pass, or a tile, must not share memory with anything in another tile of it.
                let once = graph.nodes[from.node].repeats(units, &graph.arrays);
                let (first, last) = if (tile && !once) || units == 1 {
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
    fn steps(self, graph: Graph, commits: &[(usize, u32)], plan: &mut Plan, functions: &mut Functions) {
        plan.constants = graph.constants;
        let mut kept = vec![false; graph.arrays.len()];
        let root = |a: u32| graph.arrays[a as usize].root as usize;
        graph.outputs.iter().chain(commits.iter().map(|(_, a)| a)).for_each(|&a| kept[root(a)] = true);
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
            let repeats = node.repeats(units, &graph.arrays);
            let (scratch, part) = match &node.action {
                Action::Fold(op, ty) => {
                    let scratch = folds::memory(op, &node.operands, &graph.arrays, (units, panels, tile));
                    (scratch, Some(ty.shape.elements()))
                }
                _ => (node.scratch, None),
            };
            plan.scratch = plan.scratch.max(scratch);
            let place = |array: u32| plan.slots[array as usize].place;
            let action = match (node.action, node.results.as_slice()) {
                // A next value that is computed where the old one lies.
                (Action::Compute(Op::Elementwise(f)), &[out])
                    if node.operands.iter().any(|s| place(s.array) == place(out)) =>
                {
                    let function = functions.of(&f, graph.arrays[out as usize].ty.dtype, plan.level);
                    function.map_or_else(
                        || Action::Compute(Op::Elementwise(f.clone())),
                        |at| Action::InPlace(Op::Elementwise(f.clone()), at),
                    )
                }
                (action, _) => action,
            };
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
                beta: node.beta,
                alpha: node.alpha,
                onto: node.onto,
                canonical: node.results.iter().any(|&r| kept[graph.arrays[r as usize].root as usize])
                    || node.results.iter().any(|&r| matches!(place(r), Place::State(_))),
                once: repeats
                    && node.results.iter().all(|&r| matches!(place(r), Place::Local { tile: true, .. })),
                action,
            });
        }
    }
}
