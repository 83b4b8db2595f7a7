//! The earliest level of each node.

use super::machine::Machine;
use crate::exec::graph::{Action, Graph, Home, Node};
use crate::exec::table::{NodeId, Table};

/// A level, and the number of chunks of a group in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Spot {
    pub(super) level: u32,
    pub(super) chunks: usize,
}

/// Where the nodes are so far.
struct Placing<'a> {
    graph: &'a Graph,
    spots: Table<NodeId, Spot>,
    /// The nodes that read the value of each state at the start, by operand.
    readers: Vec<Vec<(NodeId, usize)>>,
    /// The first level after all guards so far.
    guarded: u32,
    /// The first level after everything so far that may fail.
    failing: u32,
}

/// Puts each node into the earliest level in which it can be: that of what it needs, where both are cut into the same chunks
/// and one reads only the chunks that the other makes; else the one after.
pub(super) fn levels(graph: &Graph, machine: &Machine) -> Table<NodeId, Spot> {
    let nowhere = Spot { level: 0, chunks: 1 };
    let states = graph.donated.iter().max().map_or(0, |&k| k + 1);
    let mut placing = Placing {
        graph,
        spots: Table::alike(&graph.nodes, nowhere),
        readers: vec![Vec::new(); states],
        guarded: 0,
        failing: 0,
    };
    for &n in &graph.order {
        let node = &graph.nodes[n];
        let chunks = default_chunks(node, graph, machine);
        let mut best = Spot { level: placing.level(n, chunks), chunks };
        for (_, source) in node.reads() {
            let Some(maker) = graph.maker(source.buffer) else { continue };
            let chunks = placing.spots[maker].chunks;
            // In one chunk a node need not wait, but no other thread can share it.
            if splits(node, chunks) && (chunks > 1 || node.work < machine.task) {
                let level = placing.level(n, chunks);
                if level < best.level {
                    best = Spot { level, chunks };
                }
            }
        }
        placing.put(n, best);
    }
    placing.spots
}

impl Placing<'_> {
    /// The earliest level in which a node can be in so many chunks.
    fn level(&self, n: NodeId, chunks: usize) -> u32 {
        let (graph, node) = (self.graph, &self.graph.nodes[n]);
        let after = |other: NodeId, chunked: bool| {
            let spot = self.spots[other];
            if spot.chunks == chunks && chunked { spot.level } else { spot.level + 1 }
        };
        let operands = node.reads().filter_map(|(o, source)| {
            Some(after(graph.maker(source.buffer)?, graph.same_chunks(node, o, chunks)))
        });
        let packed = node.packed.and_then(|p| graph.maker(p)).map(|packs| after(packs, false));
        let begun = graph.begun(node).map(|begun| after(begun, true));
        let mut level = operands.chain(packed).chain(begun).max().unwrap_or(0);
        if !node.infallible {
            // What a guard protects may fail where the guard does.
            level = level.max(self.guarded);
        }
        for state in written(graph, node) {
            let readers = self.readers.get(state).into_iter().flatten().filter(|(reader, _)| *reader != n);
            let readers =
                readers.map(|&(reader, o)| after(reader, graph.same_chunks(&graph.nodes[reader], o, chunks)));
            level = readers.fold(level.max(self.failing), u32::max);
        }
        level
    }

    fn put(&mut self, n: NodeId, spot: Spot) {
        let node = &self.graph.nodes[n];
        self.spots[n] = spot;
        for (o, source) in node.reads() {
            let readers = self.graph.old_state(source.buffer).and_then(|k| self.readers.get_mut(k));
            if let Some(readers) = readers {
                readers.push((n, o));
            }
        }
        if matches!(node.action, Action::Guard { .. }) {
            self.guarded = self.guarded.max(spot.level + 1);
        }
        if !node.infallible {
            self.failing = self.failing.max(spot.level + 1);
        }
    }
}

/// The states that a node writes.
pub(super) fn written<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = usize> + 'a {
    node.results.iter().filter_map(|&result| match graph.home(result) {
        Some(Home::State(state)) => Some(state),
        _ => None,
    })
}

/// Whether a node can be done in so many chunks. A split reduction is cut row by row or not at all.
pub(super) fn splits(node: &Node, chunks: usize) -> bool {
    node.blocks > 0
        && node.blocks.is_multiple_of(chunks)
        && (chunks == 1 || chunks == node.blocks || !matches!(node.action, Action::Partial(_)))
}

/// Into how many chunks a node is cut where nothing else decides: along its outer axes.
fn default_chunks(node: &Node, graph: &Graph, machine: &Machine) -> usize {
    if node.blocks <= 1 {
        return 1;
    }
    if matches!(node.action, Action::Pack(..) | Action::Partial(_)) {
        return node.blocks;
    }
    let Some(&result) = node.results.first() else { return node.blocks };
    if graph.is_row(node) {
        // Columns of a product, whole registers of them where that divides.
        return node.blocks >> node.blocks.trailing_zeros().min(6);
    }
    let mut chunks = 1;
    for &size in graph.buffers[result].ty.shape.iter() {
        if chunks >= machine.few || !node.blocks.is_multiple_of(chunks * size) {
            break;
        }
        chunks *= size;
    }
    if chunks > 1 { chunks } else { node.blocks }
}
