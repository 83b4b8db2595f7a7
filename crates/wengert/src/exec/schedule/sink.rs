//! Nodes that make more than they read, moved to where that is read: a broadcast, or a batch of converted pixels, need not
//! wait in memory. So are maps that read nothing that other nodes make elsewhere, and only inputs, say, or states: what they read is read once then.

use super::levels::{Spot, splits, written};
use crate::exec::graph::{Action, Graph, Node, Source};
use crate::exec::table::{NodeId, Table};

/// Moves such nodes to the first spot that reads what they make, if that reads it chunk by chunk.
pub(super) fn sink(graph: &Graph, spots: &mut Table<NodeId, Spot>) {
    let alone = alone(graph, spots);
    let mut writes = writes(graph, spots);
    let first_write = writes.iter().flatten().map(|write| write.level).min().unwrap_or(u32::MAX);
    // The first spot that reads each node's results, and whether all that read them there do so chunk by chunk.
    let mut readers: Table<NodeId, Option<(Spot, bool)>> = Table::alike(&graph.nodes, None);
    let mut kept = Table::alike(&graph.nodes, false);
    for &buffer in graph.outputs.iter().chain(graph.commits.iter().map(|(_, b)| b)) {
        if let Some(maker) = graph.maker(buffer) {
            kept[maker] = true;
        }
    }
    for &n in graph.order.iter().rev() {
        let node = &graph.nodes[n];
        if let Some((first, true)) = readers[n]
            && !kept[n]
            && first.level > spots[n].level
            && (first.chunks > 1 || spots[n].chunks == 1)
            && splits(node, first.chunks)
            && !matches!(node.action, Action::Pack(..))
            && (alone[n] || (written(graph, node).next().is_none() && expands(graph, node)))
            && (node.infallible || first.level < first_write)
        {
            // Not beyond the first write of a state that it reads, but to where that is done chunk by chunk.
            let before = |(o, state): (usize, usize)| match writes.get(state) {
                Some(Some(write)) if write.level == first.level => {
                    *write == first && graph.same_chunks(node, o, first.chunks)
                }
                Some(Some(write)) => first.level < write.level,
                _ => true,
            };
            let own: Vec<usize> = written(graph, node).collect();
            let old = node.reads().filter_map(|(o, s)| Some((o, graph.old_state(s.buffer)?)));
            if old.filter(|(_, state)| !own.contains(state)).all(before) {
                spots[n] = first;
                own.into_iter().for_each(|state| writes[state] = Some(first));
            }
        }
        let spot = spots[n];
        let operands = node.reads().map(|(o, s)| (s.buffer, graph.same_chunks(node, o, spot.chunks)));
        for (buffer, chunked) in operands.chain(node.packed.map(|p| (p, false))) {
            let Some(maker) = graph.maker(buffer) else { continue };
            let reader = &mut readers[maker];
            *reader = Some(match *reader {
                Some((first, all)) if first == spot => (first, all && chunked),
                // Two groups of one level cannot both have it.
                Some((first, _)) if first.level == spot.level => (first, false),
                Some(first) if first.0.level < spot.level => first,
                _ => (spot, chunked),
            });
        }
    }
}

/// Whether a node makes at least as many bytes as it reads of what other nodes make.
fn expands(graph: &Graph, node: &Node) -> bool {
    let made = node.operands.iter().filter(|s| graph.maker(s.buffer).is_some());
    let read: usize = made.map(|s| graph.bytes(s.buffer)).sum();
    node.results.iter().map(|&r| graph.bytes(r)).sum::<usize>() >= read
}

/// Of each node whether it is a map that reads only what no node makes, or what such maps make chunk by chunk in the same spot.
fn alone(graph: &Graph, spots: &Table<NodeId, Spot>) -> Table<NodeId, bool> {
    let mut alone = Table::alike(&graph.nodes, false);
    for &n in &graph.order {
        let node = &graph.nodes[n];
        let map = matches!(&node.action, Action::Compute(what) if what.body().is_some());
        let fits = |(o, s): (usize, &Source)| match graph.maker(s.buffer) {
            Some(maker) => {
                alone[maker] && spots[maker] == spots[n] && graph.same_chunks(node, o, spots[n].chunks)
            }
            None => true,
        };
        alone[n] = map && node.packed.is_none() && node.reads().all(fits);
    }
    alone
}

/// Where each state is written first, if a node does.
fn writes(graph: &Graph, spots: &Table<NodeId, Spot>) -> Vec<Option<Spot>> {
    let mut first = vec![None; graph.donated.iter().max().map_or(0, |&k| k + 1)];
    for &n in &graph.order {
        for state in written(graph, &graph.nodes[n]) {
            if let Some(first) = first.get_mut(state)
                && first.is_none_or(|first: Spot| spots[n].level < first.level)
            {
                *first = Some(spots[n]);
            }
        }
    }
    first
}
