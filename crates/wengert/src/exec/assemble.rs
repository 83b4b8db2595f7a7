//! From rounds of nodes to a plan: passes and steps, and a place for every array.

use super::arena::ALIGN;
use super::layout::{Span, arrange};
use super::nodes::{Array, Effort, Graph, Node, Source};
use super::plan::{Action, Constant, Pass, Place, Plan, Round, Slot, Stage, Step, View};
use super::schedule::{Rounds, SECOND_CACHE, in_order, schedule};
use crate::error::Result;
use crate::ir::{Op, Tape};
use crate::kernels::Level;

/// Bytes of the largest part of an array in a tile: a few of them stay in the first cache.
const TILE: usize = 8 << 10;

impl Plan {
    /// The plan of a tape.
    pub(crate) fn new(tape: &Tape, effort: Effort, level: Level) -> Result<Self> {
        let mut graph = Graph::new(tape, effort)?;
        let mut rounds = if effort == Effort::Trivial { in_order(&graph) } else { schedule(&graph) };
        let mut plan = Self::empty(level, tape.inputs(), tape.states());
        let commits = store(&mut graph, &mut rounds, &mut plan.stored);
        let uses = Uses::new(&graph, &rounds, &mut plan);
        let kept = graph.outputs.iter().chain(commits.iter().map(|(_, a)| a));
        let places = uses.places(&graph, kept.copied(), effort, &mut plan)?;
        let slot = |a: &Array| Slot { place: places[a.root as usize], ty: a.ty };
        plan.slots = graph.arrays.iter().map(slot).collect();
        plan.outputs = graph.outputs.iter().map(|&a| plan.slots[a as usize]).collect();
        plan.commits = commits.iter().map(|&(s, a)| (s, plan.slots[a as usize])).collect();
        uses.steps(graph, &mut plan);
        plan.arena = plan.arena.next_multiple_of(ALIGN);
        plan.local = plan.local.next_multiple_of(ALIGN);
        plan.scratch = plan.scratch.next_multiple_of(ALIGN);
        Ok(plan)
    }
}

/// Adds nodes that write next values into their states where that is safe: nothing that runs later, or
/// beside it, reads the old value or can fail. Returns the others, to be copied at the end.
fn store(graph: &mut Graph, rounds: &mut Rounds, stored: &mut Vec<usize>) -> Vec<(usize, u32)> {
    let mut homes = vec![(0, 0); graph.nodes.len()];
    for (r, round) in rounds.iter().enumerate() {
        for (g, group) in round.iter().enumerate() {
            group.nodes.iter().for_each(|&n| homes[n] = (r, g));
        }
    }
    let mut readers: Vec<(usize, usize, usize)> = Vec::new();
    let mut failing: Vec<(usize, usize)> = Vec::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        for (o, source) in node.operands.iter().enumerate() {
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
    let mut commits = Vec::new();
    for (state, array) in graph.updates.clone() {
        let Array { ty, maker, .. } = graph.arrays[array as usize];
        let Some(maker) = maker else { continue };
        let (r, g) = homes[maker as usize];
        let (units, alone) = (rounds[r][g].units, rounds[r][g].panels == 1);
        let before = |&(round, group): &(usize, usize), same: bool| round < r || ((round, group) == (r, g) && same);
        let from = readers.partition_point(|reader| reader.0 < state);
        let read = readers[from..].iter().take_while(|reader| reader.0 == state);
        let safe = failing.iter().all(|home| before(home, alone))
            && read.clone().all(|&(_, n, o)| before(&homes[n], alone || graph.nodes[n].cuts(o, units, &graph.arrays)));
        if !safe {
            commits.push((state, array));
            continue;
        }
        let to = graph.arrays.len() as u32;
        graph.arrays.push(Array { ty, root: to, leaf: Some(Place::State(state)), maker: None });
        rounds[r][g].nodes.push(graph.nodes.len());
        graph.nodes.push(Node {
            action: Action::Copy,
            row: graph.nodes[maker as usize].row,
            operands: std::iter::once(Source { array, strides: None }).collect(),
            results: std::iter::once(to).collect(),
            prepared: None,
            blocks: ty.shape.elements(),
            work: ty.shape.elements(),
            scratch: 0,
            infallible: true,
        });
        stored.push(state);
    }
    commits
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
                for (i, &node) in group.nodes.iter().enumerate() {
                    // Products of matrices, and whatever reads much for every unit, want many units at a time;
                    // states are written after all reading.
                    let n = &graph.nodes[node];
                    let large = |(o, s): (usize, &Source)| {
                        let bytes = graph.arrays[s.array as usize].ty.bytes();
                        bytes > SECOND_CACHE && !n.cuts(o, group.units, &graph.arrays)
                    };
                    let product = matches!(&n.action, Action::Compute(Op::Bilinear(_)));
                    let heavy = product || n.operands.iter().enumerate().any(large);
                    let stores = n.results.iter().any(|&r| graph.arrays[r as usize].leaf.is_some());
                    if i == 0 || (group.units > 1 && (heavy || alone || stores)) {
                        plan.passes.push(Pass { steps: steps.len()..steps.len(), tile: group.units.div_ceil(group.panels) });
                    }
                    alone = heavy;
                    steps.push(Use { node, round, stage, pass: plan.passes.len() - 1 });
                    if let Some(pass) = plan.passes.last_mut() {
                        pass.steps.end = steps.len();
                        if !heavy {
                            let unit = |a: &u32| graph.arrays[*a as usize].ty.bytes() / group.units.max(1);
                            let cut = n.operands.iter().enumerate().filter(|(o, _)| n.cuts(*o, group.units, &graph.arrays));
                            let widest = n.results.iter().map(unit).chain(cut.map(|(_, s)| unit(&s.array))).max();
                            pass.tile = pass.tile.min((TILE / widest.unwrap_or(1).max(1)).max(1));
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
    fn places(&self, graph: &Graph, kept: impl Iterator<Item = u32>, effort: Effort, plan: &mut Plan) -> Result<Vec<Place>> {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; graph.arrays.len()];
        let root = |a: u32| graph.arrays[a as usize].root as usize;
        for (at, step) in self.steps.iter().enumerate() {
            let node = &graph.nodes[step.node];
            let read = node.operands.iter().map(|s| s.array).chain(node.prepared);
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
            if effort == Effort::Trivial {
                arena.push((Span { first: 0, last: 0, bytes }, array));
            } else if let Some(to) = to.filter(|to| to.stage == from.stage) {
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
            let (units, tile) = (plan.stages[step.stage].units, plan.passes[step.pass].tile);
            let view = |array: u32, cut: bool| {
                let elements = graph.arrays[array as usize].ty.shape.elements();
                View { slot: array, unit: (cut && units > 1).then(|| elements / units) }
            };
            let operands = (0..node.operands.len()).map(|o| view(node.operands[o].array, node.cuts(o, units, &graph.arrays)));
            let operands: smallvec::SmallVec<[View; 3]> = operands.collect();
            for v in &operands {
                let Slot { place, ty } = plan.slots[v.slot as usize];
                if let Place::Fill(constant) = place
                    && let Constant::Fill { len, .. } = &mut plan.constants[constant]
                {
                    *len = (*len).max(v.unit.map_or(ty.shape.elements(), |unit| unit * tile));
                }
            }
            let strided = node.operands.iter().any(|s| s.strides.is_some());
            plan.scratch = plan.scratch.max(node.scratch);
            plan.steps.push(Step {
                row: node.row,
                operands,
                strides: strided.then(|| node.operands.iter().map(|s| s.strides).collect()),
                results: node.results.iter().map(|&r| view(r, true)).collect(),
                prepared: node.prepared,
                blocks: node.blocks / units,
                scratch: node.scratch,
                action: node.action,
            });
        }
    }
}
