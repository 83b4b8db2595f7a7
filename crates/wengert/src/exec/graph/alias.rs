//! Results that take the place of an operand: what is added to a part of an array need not copy all of it.

use super::{Action, Graph, Node, SMALL, WriteMode};
use crate::error::ErrorKind;
use crate::exec::table::{BufferId, NodeId};
use crate::ir::Form;

/// Has nodes that may change an operand where it lies do so where nothing else reads it, or in a copy of one that is small.
pub(super) fn alias(graph: &mut Graph) -> Result<(), ErrorKind> {
    let uses = graph.uses();
    let mut order = Vec::with_capacity(graph.order.len());
    for n in std::mem::take(&mut graph.order) {
        if let Some((operand, result)) = changed(graph, n) {
            let Node { row, operands, .. } = &graph.nodes[n];
            let (row, mut source) = (*row, operands[operand].buffer);
            let given_up = given_up(graph, uses[graph.buffers[source].of], source);
            if !given_up && graph.bytes(source) <= SMALL {
                let (copy, to) = graph.copy(row, source)?;
                order.push(copy);
                graph.nodes[n].operands[operand].buffer = to;
                source = to;
            }
            if given_up || graph.bytes(source) <= SMALL {
                graph.buffers[result].base = graph.base(source);
                graph.nodes[n].mode = WriteMode::Alias(operand as u8);
            }
        }
        order.push(n);
    }
    graph.order = order;
    Ok(())
}

/// The operand that a node may change where it lies, and the result that this becomes.
pub(super) fn changed(graph: &Graph, n: NodeId) -> Option<(usize, BufferId)> {
    let node = &graph.nodes[n];
    let Action::Compute(computation) = &node.action else { return None };
    let operand = computation.alias()?;
    let (source, &result) = (node.operands.get(operand)?, node.results.first()?);
    let whole = (node.blocks <= 1 || source.chunked) && source.strides.is_none();
    (whole && *graph.buffers[source.buffer].ty == *graph.buffers[result].ty).then_some((operand, result))
}

/// Whether a buffer that one node reads was made for it alone. Not one whose parts are alike, which is made once for all of
/// them, nor another view of one, nor one whose parts others may read.
pub(super) fn given_up(graph: &Graph, uses: u32, buffer: BufferId) -> bool {
    let Some(maker) = graph.maker(buffer) else { return false };
    let node = &graph.nodes[maker];
    let whole = matches!(node.action, Action::Join) || matches!(node.action.form(), Some(Form::View(_)));
    uses == 1 && node.results.contains(&buffer) && !whole
}
