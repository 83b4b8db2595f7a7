//! Results that take the place of an operand: what is added to a part of an array need not copy all of it.

use super::{Action, Graph, WriteMode};
use crate::exec::table::BufferId;
use crate::ir::Form;

/// Has nodes that may change an operand where it lies do so where nothing else reads it.
pub(super) fn alias(graph: &mut Graph) {
    let uses = graph.uses();
    for at in 0..graph.order.len() {
        let n = graph.order[at];
        let node = &graph.nodes[n];
        let Action::Compute(computation) = &node.action else { continue };
        let Some(operand) = computation.alias() else { continue };
        let (Some(source), Some(&result)) = (node.operands.get(operand), node.results.first()) else {
            continue;
        };
        let whole = node.blocks <= 1 || source.chunked;
        if !whole
            || source.strides.is_some()
            || !given_up(graph, uses[graph.buffers[source.buffer].of], source.buffer)
            || *graph.buffers[source.buffer].ty != *graph.buffers[result].ty
        {
            continue;
        }
        let base = graph.base(source.buffer);
        graph.buffers[result].base = base;
        graph.nodes[n].mode = WriteMode::Alias(operand as u8);
    }
}

/// Whether a buffer that one node reads was made for it alone. Not one whose parts are alike, which is made once for all of
/// them, nor another view of one.
fn given_up(graph: &Graph, uses: u32, buffer: BufferId) -> bool {
    let Some(maker) = graph.maker(buffer) else { return false };
    let node = &graph.nodes[maker];
    uses == 1 && node.results.contains(&buffer) && !matches!(node.action.form(), Some(Form::View(_)))
}
