//! Next values into their states.

use super::nodes::{Array, Graph, Node, Source};
use super::plan::{Action, Place};
use super::schedule::Rounds;
use crate::ir::{Algebra, Kernel, Op};
use crate::kernels::{Level, Own};

/// Has next values written into their states where that is safe: nothing that runs later, or beside it, reads the
/// old value or can fail. Where a product is added to a state it is added there; what may be computed where the
/// state lies is; of others a node makes a copy. Returns those that are not safe, to be copied at the end.
pub(super) fn store(
    graph: &mut Graph,
    rounds: &mut Rounds,
    rounding: bool,
    stored: &mut Vec<usize>,
) -> Vec<(usize, u32)> {
    let (mut homes, mut positions) = (vec![(0, 0); graph.nodes.len()], vec![0; graph.nodes.len()]);
    for (r, round) in rounds.iter().enumerate() {
        for (g, group) in round.iter().enumerate() {
            for (position, &n) in group.nodes.iter().enumerate() {
                (homes[n], positions[n]) = ((r, g), position);
            }
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
    for array in read.chain(kept.clone()) {
        uses[graph.arrays[array as usize].root as usize] += 1;
    }
    let mut keepers = vec![0u32; graph.arrays.len()];
    kept.for_each(|array| keepers[graph.arrays[array as usize].root as usize] += 1);
    let first_copy = graph.nodes.len();
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
        let sum = maker as usize;
        stored.push(state);
        // Slab by slab, after each reader of the old slab, if not of the whole; nothing else keeps the next value.
        let earlier = |&(_, n, o): &(usize, usize, usize)| {
            let cut = homes[n] != (r, g) || graph.nodes[n].cuts(o, units, &graph.arrays);
            cut && if n == sum {
                in_place(&graph.nodes[n].action)
            } else {
                homes[n] != (r, g) || positions[n] < positions[sum]
            }
        };
        // Steps in brief take no states, so what more of them read stays in the arena.
        let apart = units > 1 || uses[array as usize] == 1;
        let directly = apart
            && keepers[array as usize] == 1
            && graph.arrays[array as usize].root == array
            && failing.iter().all(|home| before(home, false))
            && read.clone().all(earlier);
        let to = graph.arrays.len() as u32;
        graph.arrays.push(Array { ty, root: to, leaf: Some(Place::State(state)), maker: None });
        if rounding
            && graph.nodes[sum].results.as_slice() == [array]
            && let Some(product) = addend(graph, &uses, sum, state)
            && homes[product] == (r, g)
        {
            let node = &mut graph.nodes[product];
            (node.accumulate, node.results) = (true, std::iter::once(to).collect());
            (moved[sum], moved[product]) = (true, true);
            added.push(((r, g), product));
        } else if directly {
            graph.arrays[array as usize].leaf = Some(Place::State(state));
        } else {
            rounds[r][g].nodes.push(graph.nodes.len());
            graph.nodes.push(Node::copy(graph.nodes[sum].row, array, to, ty));
        }
    }
    // Products read no old value, but they write some: after all reading, and before the copies, which read none.
    added.sort_unstable();
    for added in added.chunk_by(|a, b| a.0 == b.0) {
        let (r, g) = added[0].0;
        let nodes = &mut rounds[r][g].nodes;
        nodes.retain(|&n| moved.get(n) != Some(&true));
        let at = nodes.len() - nodes.iter().rev().take_while(|n| **n >= first_copy).count();
        nodes.splice(at..at, added.iter().map(|(_, product)| *product));
    }
    commits
}

/// Whether a node may write its result where one of its operands lies.
fn in_place(action: &Action) -> bool {
    matches!(action, Action::Compute(Op::Elementwise(f)) if f.applied(Level::Portable, Own).is_some())
}

/// The product that a node adds to a state, of arrays or of an array and a number, if nothing else reads either of
/// them and the product no old value of a state.
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
    // An array that is made is a next value, even where a state holds it.
    let old = |s: &Source| {
        let Array { leaf, maker, .. } = graph.arrays[s.array as usize];
        matches!(leaf, Some(Place::State(_))) && maker.is_none()
    };
    let states = graph.nodes[product].operands.iter().any(old);
    let once = uses[other.array as usize] == 1 && uses[node.results[0] as usize] == 1;
    let alone = graph.nodes[product].infallible && graph.nodes[product].results.as_slice() == [other.array];
    (once && alone && !states && op.kernel().is_some_and(Kernel::accumulates)).then_some(product)
}
