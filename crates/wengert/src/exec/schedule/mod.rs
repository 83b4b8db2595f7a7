//! When each node runs: in which level, and with what others chunk by chunk.
//!
//! Decided by shapes and a [`Machine`]; never the value of a sum. All that a node reads was written before, nothing is
//! overwritten before its last reading, and no state is written before all that may fail is done.

mod levels;
mod machine;
mod print;
mod sink;
mod tasks;
mod tiles;

use std::ops::Range;

use super::graph::Graph;
use super::table::NodeId;
use crate::error::ErrorKind;

pub(crate) use machine::Machine;
pub(super) use print::Listing;

/// Nodes whose results are cut into the same number of chunks, so that each chunk can be computed from beginning to end
/// before the next: a fusion group.
pub(super) struct Group {
    pub(super) chunks: usize,
    /// In how many tasks the chunks are computed: by shapes alone, so that the bits are the same for any number of threads.
    pub(super) tasks: usize,
    pub(super) nodes: Vec<NodeId>,
    pub(super) loops: Vec<TileLoop>,
}

/// Neighbours of a group that one thread runs tile by tile: what one makes, the next finds in its cache.
pub(super) struct TileLoop {
    /// Positions in the group.
    pub(super) nodes: Range<usize>,
    /// Chunks of a tile.
    pub(super) tile: usize,
    /// Whether no tile goes beyond the end of a segment of a split reduction.
    pub(super) splits: bool,
}

/// Groups that depend only on groups of earlier levels, never on one another.
pub(super) type Level = Vec<Group>;

/// All nodes of a graph, level by level.
pub(super) struct Schedule {
    pub(super) levels: Vec<Level>,
}

impl Schedule {
    pub(super) fn new(graph: &mut Graph, machine: &Machine) -> Result<Self, ErrorKind> {
        let mut spots = levels::levels(graph, machine);
        sink::sink(graph, &mut spots);
        let mut levels = tasks::groups(graph, &spots, machine);
        for group in levels.iter_mut().flatten() {
            tiles::tiles(graph, group, machine);
        }
        levels.iter_mut().for_each(whole);
        Ok(Self { levels })
    }
}

/// Makes a group that one thread computes in one tile, alone in its level, one chunk: array by array.
fn whole(level: &mut Level) {
    if let [group] = level.as_mut_slice()
        && group.tasks == 1
        && group.loops.iter().all(|tiles| tiles.tile >= group.chunks && !tiles.splits)
    {
        group.chunks = 1;
        group.loops = vec![TileLoop { nodes: 0..group.nodes.len(), tile: 1, splits: false }];
    }
}
