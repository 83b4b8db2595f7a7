//! Next values into their states.

use super::nodes::{Adds, Array, Graph, Node, Source};
use super::plan::{Action, Place};
use super::schedule::Rounds;
use crate::ir::Primitive;

/// Has products added to states by the kernel that computes them: `β w + α a·b` is one node, which begins with the old
/// value of the state. A pass over the graph, since it rounds: where the sum is then made does not matter to its bits.
pub(super) fn accumulate(graph: &mut Graph) {
    let uses = uses(graph);
    let mut gone = vec![false; graph.nodes.len()];
    for (state, array) in graph.updates.clone() {
        let Some(sum) = graph.arrays[array as usize].maker.map(|m| m as usize) else { continue };
        if graph.nodes[sum].results.as_slice() != [array] {
            continue;
        }
        let Some(Addend { product, alpha, beta, scales }) = addend(graph, &uses, sum, state) else {
            continue;
        };
        let node = &mut graph.nodes[product];
        node.adds = Some(Box::new(Adds { state, beta, alpha }));
        node.results = std::iter::once(array).collect();
        graph.arrays[array as usize].maker = Some(product as u32);
        scales.into_iter().flatten().chain([sum]).for_each(|n| gone[n] = true);
    }
    graph.remove(&gone);
}

/// How often each root array is read or kept.
fn uses(graph: &Graph) -> Vec<u32> {
    let mut uses = vec![0u32; graph.arrays.len()];
    let read = graph.nodes.iter().flat_map(|n| n.operands.iter().map(|s| s.array));
    let kept = graph.outputs.iter().chain(graph.updates.iter().map(|(_, a)| a)).copied();
    for array in read.chain(kept) {
        uses[graph.arrays[array as usize].root as usize] += 1;
    }
    uses
}

/// Has next values written into their states where that is safe: nothing that runs later, or beside it, reads the
/// old value or can fail. What may be computed where the state lies is; of others a node makes a copy. Returns those
/// that are not safe, to be copied at the end.
pub(super) fn store(graph: &mut Graph, rounds: &mut Rounds, stored: &mut Vec<usize>) -> Vec<(usize, u32)> {
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
    let uses = uses(graph);
    let mut keepers = vec![0u32; graph.arrays.len()];
    let kept = graph.outputs.iter().chain(graph.updates.iter().map(|(_, a)| a));
    kept.for_each(|&array| keepers[graph.arrays[array as usize].root as usize] += 1);
    let (mut commits, mut last) = (Vec::new(), Vec::new());
    for (state, array) in graph.updates.clone() {
        let Array { ty, maker, .. } = graph.arrays[array as usize].clone();
        let Some(maker) = maker.map(|m| m as usize) else { continue };
        let (r, g) = homes[maker];
        let (units, alone) = (rounds[r][g].units, rounds[r][g].panels == 1);
        let before =
            |&(round, group): &(usize, usize), same: bool| round < r || ((round, group) == (r, g) && same);
        let from = readers.partition_point(|reader| reader.0 < state);
        let read = readers[from..].iter().take_while(|reader| reader.0 == state);
        let safe = failing.iter().all(|home| before(home, alone))
            && read
                .clone()
                .all(|&(_, n, o)| before(&homes[n], alone || graph.nodes[n].cuts(o, units, &graph.arrays)));
        let begins = graph.nodes[maker].adds.as_ref().map(|adds| adds.state);
        let adds = begins == Some(state);
        if safe && adds && uses[array as usize] == 1 {
            // Nothing reads the next value: it may come after all reading of the old one.
            let to = graph.state(ty, state);
            graph.nodes[maker].results = std::iter::once(to).collect();
            last.push(((r, g), maker));
            stored.push(state);
            continue;
        }
        // Whether the maker may write slab by slab, after each reader of the old slab, if not of the whole; nothing else
        // keeps the next value. Steps in brief take no states, so what more of them read stays in the arena.
        let apart = units > 1 || uses[array as usize] == 1;
        let owned = begins.is_none_or(|begins| begins == state)
            && keepers[array as usize] == 1
            && graph.arrays[array as usize].root == array;
        let earlier = |&(_, n, o): &(usize, usize, usize)| {
            let cut = homes[n] != (r, g) || graph.nodes[n].cuts(o, units, &graph.arrays);
            cut && if n == maker {
                in_place(&graph.nodes[n].action)
            } else {
                homes[n] != (r, g) || positions[n] < positions[maker]
            }
        };
        let directly = safe
            && apart
            && owned
            && failing.iter().all(|home| before(home, false))
            && read.clone().all(earlier);
        if directly {
            graph.arrays[array as usize].leaf = Some(Place::State(state));
            stored.push(state);
            continue;
        }
        if adds {
            // It begins as a copy of the state.
            let old = graph.state(ty.clone(), state);
            let copy = Node::copy(graph.nodes[maker].row, old, array, &ty);
            let at = rounds[r][g].nodes.iter().position(|&n| n == maker).unwrap_or(0);
            rounds[r][g].nodes.insert(at, graph.nodes.len());
            graph.nodes.push(copy);
        }
        if safe {
            let to = graph.state(ty.clone(), state);
            last.push(((r, g), graph.nodes.len()));
            graph.nodes.push(Node::copy(graph.nodes[maker].row, array, to, &ty));
            stored.push(state);
        } else {
            commits.push((state, array));
        }
    }
    // They read no old value, but they write some: after all reading. Products first, and the copies of what they made.
    last.sort_unstable();
    for last in last.chunk_by(|a, b| a.0 == b.0) {
        let (r, g) = last[0].0;
        let nodes = &mut rounds[r][g].nodes;
        nodes.retain(|n| last.binary_search(&((r, g), *n)).is_err());
        nodes.extend(last.iter().map(|(_, n)| *n));
    }
    commits
}

/// Whether a node may write its result where one of its operands lies.
fn in_place(action: &Action) -> bool {
    matches!(action, Action::Compute(code, _) if code.in_place())
}

/// What a node adds to a state, which the product can do itself.
struct Addend {
    product: usize,
    /// By what the product and the state are multiplied before.
    alpha: f64,
    beta: f64,
    /// The nodes that do it otherwise.
    scales: [Option<usize>; 2],
}

/// The product that a node adds to a state, or to one times a number: of arrays, or of an array and a number; if
/// nothing else reads any of them and the product no old value of a state.
fn addend(graph: &Graph, uses: &[u32], sum: usize, state: usize) -> Option<Addend> {
    let old = |s: &Source| graph.arrays[s.array as usize].leaf == Some(Place::State(state));
    // The node that makes an array that only one node reads.
    let maker = |s: &Source| {
        let Array { root, maker, .. } = &graph.arrays[s.array as usize];
        maker.map(|m| m as usize).filter(|_| *root == s.array && uses[s.array as usize] == 1)
    };
    // The number that a node multiplies an array by, and the array.
    let scale = |by: usize| {
        let factor = graph.nodes[by].action.code()?.body()?.factor()?;
        let from = graph.nodes[by].operands.first()?;
        (factor.abs() >= f64::from(f32::MIN_POSITIVE)).then_some((factor, from))
    };
    let scaled = |s: &Source| {
        let by = maker(s)?;
        // What the row would overflow to, or make of an infinity, the product may not see.
        let (beta, _) = scale(by).filter(|(beta, from)| old(from) && beta.abs() <= 1.0)?;
        Some((beta, Some(by)))
    };
    let adds = graph.nodes[sum].action.code()?.body()?.single() == Some(Primitive::Add);
    let [a, b] = graph.nodes[sum].operands.as_slice() else { return None };
    let times = |s: &Source| if old(s) { Some((1.0, None)) } else { scaled(s) };
    let ((beta, scale_of_state), other) = times(a).map(|t| (t, b)).or_else(|| times(b).map(|t| (t, a)))?;
    let product = maker(other).filter(|_| adds)?;
    // A product of arrays times a number multiplies by it while it adds.
    let within = scale(product).and_then(|(alpha, from)| {
        let inner = maker(from)?;
        let scales = graph.nodes[inner].action.code()?.scales();
        scales.then_some((inner, alpha, from, Some(product)))
    });
    let (product, alpha, other, by) = within.unwrap_or((product, 1.0, other, None));
    let Node { action: Action::Compute(code, _), operands, infallible, results, .. } = &graph.nodes[product]
    else {
        return None;
    };
    // An array that is made is a next value, even where a state holds it.
    let reads_old = |s: &Source| {
        let Array { leaf, maker, .. } = &graph.arrays[s.array as usize];
        matches!(leaf, Some(Place::State(_))) && maker.is_none()
    };
    let alone = *infallible && results.as_slice() == [other.array] && !operands.iter().any(reads_old);
    (alone && code.accumulates()).then_some(Addend { product, alpha, beta, scales: [scale_of_state, by] })
}
