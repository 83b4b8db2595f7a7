//! Copies into the arena of small arrays that maps of a group read again and again: where an operand lies is found
//! sooner there.

use std::collections::BTreeMap;

use super::Group;
use crate::error::ErrorKind;
use crate::exec::graph::{Action, Graph};
use crate::exec::table::{BufferId, NodeId};
use crate::ir::Form;

/// Readings that are worth a copy.
const MANY: usize = 16;

pub(super) fn fetch(graph: &mut Graph, group: &mut Group, most: usize) -> Result<(), ErrorKind> {
    let mut uses: BTreeMap<BufferId, Vec<(NodeId, usize)>> = BTreeMap::new();
    for &n in &group.nodes {
        let Action::Compute(computation) = &graph.nodes[n].action else { continue };
        let Form::Map(_) = computation.form else { continue };
        for (o, source) in graph.nodes[n].operands.iter().enumerate() {
            let leaf = graph.home(source.buffer).is_some() && graph.maker(source.buffer).is_none();
            if leaf && graph.bytes(source.buffer) <= most {
                uses.entry(source.buffer).or_default().push((n, o));
            }
        }
    }
    let mut copies = Vec::new();
    for (buffer, uses) in uses.into_iter().filter(|(_, uses)| uses.len() >= MANY) {
        let (copy, to) = graph.copy(graph.nodes[uses[0].0].row, buffer)?;
        uses.iter().for_each(|&(n, o)| graph.nodes[n].operands[o].buffer = to);
        copies.push(copy);
    }
    group.nodes.splice(0..0, copies);
    Ok(())
}
