//! From levels to fusion groups, and how many tasks each is.

use super::levels::Spot;
use super::machine::Machine;
use super::{Group, Level};
use crate::exec::graph::{Action, Graph, Node, segments};
use crate::exec::table::{NodeId, Table};
#[cfg(feature = "nets")]
use crate::ir::Form;
use crate::sort::sort_by_key;

/// The groups of all levels; neighbouring levels in which there is nothing to share among threads are one.
pub(super) fn groups(graph: &Graph, spots: &Table<NodeId, Spot>, machine: &Machine) -> Vec<Level> {
    let mut order = graph.order.clone();
    // Within a group nodes keep their order.
    sort_by_key(&mut order, |n| (u64::from(spots[n].level), spots[n].chunks as u64));
    let mut levels: Vec<Level> = Vec::new();
    let mut last = None;
    for n in order {
        let spot = spots[n];
        if last.map(|last: Spot| last.level) != Some(spot.level) {
            levels.push(Vec::new());
        }
        if let Some(level) = levels.last_mut() {
            match level.last_mut() {
                Some(group) if last == Some(spot) => group.nodes.push(n),
                _ => level.push(Group { chunks: spot.chunks, tasks: 1, nodes: vec![n], loops: Vec::new() }),
            }
        }
        last = Some(spot);
    }
    for group in levels.iter_mut().flatten() {
        group.tasks = tasks(group, graph, machine);
    }
    merge(levels)
}

/// In how many tasks a group is computed: a power of two, so that they are alike on two threads as on four.
fn tasks(group: &Group, graph: &Graph, machine: &Machine) -> usize {
    let nodes = || group.nodes.iter().map(|&n| &graph.nodes[n]);
    let work: usize = nodes().map(|n| n.work).fold(0, usize::saturating_add);
    let rows =
        |n: &Node| match &n.action {
            // A batch of products shares no matrix, nor do the columns of one row.
            Action::Compute(..) if n.operands.iter().all(|s| s.chunked) || graph.is_row(n) => 1,
            #[cfg(feature = "nets")]
            // Examples are computed many at a time, and share the weights.
            Action::Compute(c) if let Form::Convolve(convolution) = &c.form => {
                if convolution.sums_examples() { 1 } else { machine.examples }
            }
            action if action.multiplies() => {
                let packs = n.packed.and_then(|p| graph.maker(p));
                let packed = packs
                    .map_or(0, |packs| graph.nodes[packs].reads().map(|(_, s)| graph.bytes(s.buffer)).sum());
                if packed > machine.second_cache { machine.many_rows } else { machine.rows }
            }
            _ => 1,
        };
    // What is little beside the rest, all together, is not spared.
    let much = |least: &usize| {
        let wanting = nodes().filter(|n| rows(n) >= *least).map(|n| n.work);
        wanting.fold(0, usize::saturating_add) >= (work / 16).max(1)
    };
    let rows = machine.least_rows().into_iter().find(much).unwrap_or(1);
    // A task is a call for every node: not worth it where each has little to do.
    let calls = work / machine.call.saturating_mul(group.nodes.len().max(1));
    let most = (group.chunks / rows).min(calls).clamp(1, machine.most_tasks);
    let tasks = 1 << (work / machine.task).clamp(1, most).ilog2();
    // A task takes whole segments of what is split.
    let splits = nodes().any(|n| matches!(n.action, Action::Partial(_)));
    if splits && group.chunks > 1 { tasks.min(segments(group.chunks)) } else { tasks }
}

/// Joins neighbouring levels of one task each: they run in order, each array whole.
fn merge(levels: Vec<Level>) -> Vec<Level> {
    let mut merged: Vec<Level> = Vec::new();
    for level in levels {
        let small = |level: &Level| level.iter().all(|g| g.tasks == 1);
        match merged.last_mut() {
            Some(last) if small(last) && small(&level) => {
                let mut groups = last.drain(..).chain(level);
                // The first one grows, so that a long chain is not copied again and again.
                let mut nodes = groups.next().map_or_else(Vec::new, |g| g.nodes);
                nodes.extend(groups.flat_map(|g| g.nodes));
                last.push(Group { chunks: 1, tasks: 1, nodes, loops: Vec::new() });
            }
            _ => merged.push(level),
        }
    }
    merged
}
