//! From nodes to rounds of groups: what can be computed slab by slab together, and what must wait.

use std::collections::HashMap;

use super::folds::segments;
use super::machine::Machine;
use super::nodes::{Graph, Node};
use super::plan::Action;

/// Nodes whose results are cut into the same number of units, so that each unit can be computed from
/// beginning to end before the next: a stage of the plan.
pub(super) struct Group {
    pub(super) units: usize,
    pub(super) panels: usize,
    pub(super) nodes: Vec<usize>,
}

/// Groups of one round do not depend on one another, but on earlier rounds.
pub(super) type Rounds = Vec<Vec<Group>>;

/// Puts each node into the earliest round in which it can be: that of the operands that it reads unit by
/// unit, if they are cut as it is, and one after that of the operands that it must see whole.
pub(super) fn schedule(graph: &mut Graph, machine: &Machine) -> Rounds {
    let mut homes: Vec<(usize, usize)> = Vec::with_capacity(graph.nodes.len());
    // What a guard protects may fail where the guard does.
    let mut guarded = 0;
    for node in &graph.nodes {
        let maker = |array: u32| graph.arrays[array as usize].maker.map(|m| homes[m as usize]);
        let round = |units: usize| {
            let after = |(o, source): (usize, &super::nodes::Source)| {
                let (round, cut) = maker(source.array)?;
                Some(if cut == units && node.cuts(o, units, &graph.arrays) { round } else { round + 1 })
            };
            let operands = node.reads().filter_map(after).max().unwrap_or(0);
            let operands = if node.infallible { operands } else { operands.max(guarded) };
            operands.max(node.prepared.and_then(maker).map_or(0, |(round, _)| round + 1))
        };
        let units = default_units(node, graph, machine);
        let mut best = (round(units), units);
        for (_, source) in node.reads() {
            if let Some((_, units)) = maker(source.array)
                && node.splits(units)
                // A whole array waits for nobody, but nobody shares it either.
                && (units > 1 || node.work < machine.panel)
                && round(units) < best.0
            {
                best = (round(units), units);
            }
        }
        if matches!(node.action, Action::Guard { .. }) {
            guarded = best.0 + 1;
        }
        homes.push(best);
    }
    postpone(graph, &mut homes);
    let mut order: Vec<usize> = (0..homes.len()).collect();
    order.sort_by_key(|&n| homes[n]);
    let mut rounds = Rounds::new();
    for n in order {
        let (round, units) = homes[n];
        if rounds.len() <= round {
            rounds.resize_with(round + 1, Vec::new);
        }
        match rounds[round].last_mut() {
            Some(group) if group.units == units => group.nodes.push(n),
            _ => rounds[round].push(Group { units, panels: 1, nodes: vec![n] }),
        }
    }
    for group in rounds.iter_mut().flatten() {
        group.panels = panels(group, graph, machine);
    }
    let mut rounds = merge(rounds);
    for group in rounds.iter_mut().flatten().filter(|g| g.units == 1) {
        fetch(graph, group, machine.small);
    }
    rounds
}

/// Copies the small arrays from elsewhere that maps of a group read again and again, so that all that these touch lies in
/// the arena.
fn fetch(graph: &mut Graph, group: &mut Group, most: usize) {
    let mut uses: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
    for &n in &group.nodes {
        let node = &graph.nodes[n];
        for (o, source) in node.operands.iter().enumerate() {
            let array = &graph.arrays[source.array as usize];
            let small = array.leaf.is_some() && array.ty.bytes() <= most;
            if small && node.action.code().is_some_and(|code| code.body().is_some()) {
                uses.entry(source.array).or_default().push((n, o));
            }
        }
    }
    let mut often: Vec<_> = uses.into_iter().filter(|(_, uses)| uses.len() > 1).collect();
    often.sort_unstable();
    let mut copies = Vec::with_capacity(often.len());
    for (array, uses) in often {
        let (node, copy) = graph.copy(array, uses[0].0);
        uses.iter().for_each(|&(n, o)| graph.nodes[n].operands[o].array = copy);
        copies.push(node);
    }
    group.nodes.splice(0..0, copies);
}

/// Moves nodes that make more than they read to the first node that reads what they make, if that reads it
/// unit by unit: so a broadcast, or a batch of converted pixels, need not wait in memory.
fn postpone(graph: &Graph, homes: &mut [(usize, usize)]) {
    // The first home that reads each node's results, and whether all that read them there do so unit by unit.
    let mut readers: Vec<Option<((usize, usize), bool)>> = vec![None; graph.nodes.len()];
    let mut pinned = vec![false; graph.nodes.len()];
    for &array in graph.outputs.iter().chain(graph.updates.iter().map(|(_, a)| a)) {
        if let Some(maker) = graph.arrays[array as usize].maker {
            pinned[maker as usize] = true;
        }
    }
    for (n, node) in graph.nodes.iter().enumerate().rev() {
        if let Some((first, cut)) = readers[n]
            && cut
            && !pinned[n]
            && first.0 > homes[n].0
            && (first.1 > 1 || homes[n].1 == 1)
            && node.splits(first.1)
            && !matches!(node.action, Action::Prepare(..))
        {
            let made = |array: u32| graph.arrays[array as usize].maker.is_some();
            let bytes = |array: u32| graph.arrays[array as usize].ty.bytes();
            let read: usize = node.operands.iter().map(|s| s.array).filter(|&a| made(a)).map(bytes).sum();
            if node.results.iter().map(|&r| bytes(r)).sum::<usize>() >= read {
                homes[n] = first;
            }
        }
        let (round, units) = homes[n];
        let operands = node.reads().map(|(o, s)| (s.array, node.cuts(o, units, &graph.arrays)));
        for (array, cut) in operands.chain(node.prepared.map(|p| (p, false))) {
            let Some(maker) = graph.arrays[array as usize].maker else { continue };
            let reader = &mut readers[maker as usize];
            *reader = Some(match *reader {
                Some((first, all)) if first == (round, units) => (first, all && cut),
                // Two groups of one round cannot both have it.
                Some((first, _)) if first.0 == round => (first, false),
                Some(first) if first.0.0 < round => first,
                _ => ((round, units), cut),
            });
        }
    }
}

/// Into how many units a node is cut where nothing else decides: the slabs of its first axis.
fn default_units(node: &Node, graph: &Graph, machine: &Machine) -> usize {
    if node.blocks <= 1 {
        return 1;
    }
    if matches!(node.action, Action::Prepare(..) | Action::Fold(_)) {
        return node.blocks;
    }
    let shape =
        node.results.first().map_or(crate::shape::Shape::SCALAR, |&r| graph.arrays[r as usize].ty.shape);
    let mut units = 1;
    for &size in shape.iter() {
        if units >= machine.few || !node.blocks.is_multiple_of(units * size) {
            break;
        }
        units *= size;
    }
    if units > 1 { units } else { node.blocks }
}

/// In how many panels a group is computed: a power of two, so that they are alike on two threads as on four.
fn panels(group: &Group, graph: &Graph, machine: &Machine) -> usize {
    let nodes = || group.nodes.iter().map(|&n| &graph.nodes[n]);
    let work: usize = nodes().map(|n| n.work).fold(0, usize::saturating_add);
    let rows = nodes().map(|n| match &n.action {
        // A batch of products shares no matrix.
        Action::Compute(..) if n.operands.iter().all(|s| s.cut) => 1,
        action if action.multiplies() => {
            let other = n.prepared.and_then(|p| graph.arrays[p as usize].maker).map_or(0, |packs| {
                let read = graph.nodes[packs as usize].reads();
                read.map(|(_, s)| graph.arrays[s.array as usize].ty.bytes()).sum()
            });
            if other > machine.second_cache { machine.many_rows } else { machine.rows }
        }
        _ => 1,
    });
    // A panel is a call for every node: not worth it where each has little to do.
    let calls = work / machine.call.saturating_mul(group.nodes.len().max(1));
    let most = (group.units / rows.max().unwrap_or(1)).min(calls).clamp(1, machine.most_panels);
    let panels = 1 << (work / machine.panel).clamp(1, most).ilog2();
    // A panel takes whole segments of what is folded.
    let folds = nodes().any(|n| matches!(n.action, Action::Fold(_)));
    if folds && group.units > 1 { panels.min(segments(group.units)) } else { panels }
}

/// Joins neighbouring rounds in which there is nothing to share among threads: they run in order, each
/// array whole.
fn merge(rounds: Rounds) -> Rounds {
    let mut merged = Rounds::new();
    for round in rounds {
        let small = |round: &[Group]| round.iter().all(|g| g.panels == 1);
        match merged.last_mut() {
            Some(last) if small(last) && small(&round) => {
                let mut groups = last.drain(..).chain(round);
                // The first one grows, so that a long chain is not copied again and again.
                let mut nodes = groups.next().map_or_else(Vec::new, |g| g.nodes);
                nodes.extend(groups.flat_map(|g| g.nodes));
                last.push(Group { units: 1, panels: 1, nodes });
            }
            _ => merged.push(round),
        }
    }
    merged
}
