//! The tile loops of a group.

use super::machine::Machine;
use super::{Group, TileLoop};
use crate::exec::graph::{Action, Graph, Node, Source};

/// A loop in the making: what its tiles must suit.
struct Open {
    nodes: std::ops::Range<usize>,
    tile: usize,
    /// Bytes of a chunk of the narrowest and of the widest buffer.
    narrowest: usize,
    widest: usize,
    /// The largest chunk of what is split.
    split: Option<usize>,
}

impl Open {
    /// Whether buffers of another width, in bytes of a chunk, want other tiles: small ones where they are wide, large ones where
    /// narrow.
    fn suits(&self, width: usize, whole: usize, machine: &Machine) -> bool {
        let (least, most) = (self.narrowest.min(width), self.widest.max(width));
        most <= machine.alike * least || most * whole <= machine.tile
    }

    fn close(self) -> TileLoop {
        // Whole chunks of what is split.
        let tile = self.split.map_or(self.tile, |chunk| chunk.max(self.tile / chunk * chunk));
        TileLoop { nodes: self.nodes, tile, splits: self.split.is_some() }
    }
}

/// Cuts a group into tile loops.
pub(super) fn tiles(graph: &Graph, group: &mut Group, machine: &Machine) {
    let whole = group.chunks.div_ceil(group.tasks);
    let mut open: Option<Open> = None;
    let mut alone = true;
    for (at, &n) in group.nodes.iter().enumerate() {
        let node = &graph.nodes[n];
        let (heavy, width) = (heavy(graph, node, group.chunks, machine), width(graph, node, group.chunks));
        let apart = |open: &Open| heavy || alone || !open.suits(width, whole, machine);
        if let Some(done) = open.take_if(|open| group.chunks > 1 && apart(open)) {
            group.loops.push(done.close());
        }
        let open = open.get_or_insert(Open {
            nodes: at..at,
            tile: whole,
            narrowest: usize::MAX,
            widest: 0,
            split: None,
        });
        open.nodes.end = at + 1;
        if let Action::Partial(split) = &node.action {
            open.split = open.split.max(Some(split.chunk));
        }
        if !heavy {
            (open.narrowest, open.widest) = (open.narrowest.min(width), open.widest.max(width));
            open.tile = open.tile.min((machine.tile / width).max(1));
        }
        alone = heavy;
    }
    group.loops.extend(open.map(Open::close));
}

/// Whether a node wants many chunks at a time: products of matrices, and whatever reads much for every chunk.
fn heavy(graph: &Graph, node: &Node, chunks: usize, machine: &Machine) -> bool {
    let large = |(o, source): (usize, &Source)| {
        graph.bytes(source.buffer) > machine.second_cache && !graph.reads_chunked(node, o, chunks)
    };
    node.action.multiplies() || node.reads().any(large)
}

/// Bytes of a chunk of the widest buffer that a node reads or writes chunk by chunk.
fn width(graph: &Graph, node: &Node, chunks: usize) -> usize {
    let chunk = |buffer| graph.bytes(buffer) / chunks.max(1);
    let read = node.reads().filter(|(o, _)| graph.reads_chunked(node, *o, chunks));
    let widths = node.results.iter().map(|&r| chunk(r)).chain(read.map(|(_, s)| chunk(s.buffer)));
    widths.max().unwrap_or(1).max(1)
}
