//! Nodes that make more than they read, moved to where that is read: a broadcast, or a batch of converted pixels, need not
//! wait in memory.

use super::levels::{Spot, splits, written};
use crate::exec::graph::{Action, Graph, Node};
use crate::exec::table::{NodeId, Table};

/// Moves such nodes to the first spot that reads what they make, if that reads it chunk by chunk.
pub(super) fn sink(graph: &Graph, spots: &mut Table<NodeId, Spot>) {
    let first_writes = first_writes(graph, spots);
    let first_write = first_writes.iter().min().copied().unwrap_or(u32::MAX);
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
            && written(graph, node).next().is_none()
            && expands(graph, node)
        {
            // Not beyond the first write of a state that it reads, nor of any if it may fail.
            let old = node.reads().filter_map(|(_, s)| graph.old_state(s.buffer));
            let before = old.filter_map(|k| first_writes.get(k)).min().copied().unwrap_or(u32::MAX);
            let before = if node.infallible { before } else { before.min(first_write) };
            if first.level < before {
                spots[n] = first;
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

/// The level that first writes each state; `u32::MAX` for states that no node writes.
fn first_writes(graph: &Graph, spots: &Table<NodeId, Spot>) -> Vec<u32> {
    let mut first = vec![u32::MAX; graph.donated.iter().max().map_or(0, |&k| k + 1)];
    for &n in &graph.order {
        for state in written(graph, &graph.nodes[n]) {
            if let Some(first) = first.get_mut(state) {
                *first = (*first).min(spots[n].level);
            }
        }
    }
    first
}
