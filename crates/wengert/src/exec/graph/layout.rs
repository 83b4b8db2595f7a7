//! Buffers in the layouts that kernels ask for.
//!
//! All that users see is row-major, and so is all between kernels; only products read one operand in panels of their own.

use std::sync::Arc;

use super::{Action, Computation, Graph, Layout, Node, loops};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::ir::Form;
use crate::kernels::contract::Packed;
use crate::shape::{Shape, TensorType};

/// Inserts the nodes that bring operands into the layout that a kernel asks for.
pub(super) fn convert(graph: &mut Graph) -> Result<(), ErrorKind> {
    let mut order = Vec::with_capacity(graph.order.len());
    for n in std::mem::take(&mut graph.order) {
        if let Some((computation, packed)) = wanted(graph, &graph.nodes[n]) {
            let Packed { operand, bytes, pieces } = packed;
            let words = TensorType::new(DType::I64, Shape::new(&[bytes / 8])?);
            let panels = graph.buffer(Arc::new(words), Some(graph.next()))?;
            graph.buffers[panels].layout = Layout::Packed;
            let Node { row, operands, .. } = &graph.nodes[n];
            let (row, mut operands) = (*row, operands.clone());
            operands.iter_mut().for_each(|source| source.chunked = false);
            let pack = Node {
                action: Action::Pack(computation, operand),
                operands,
                blocks: pieces,
                work: bytes,
                ..Node::copy(row, panels, panels, &words)
            };
            order.push(graph.nodes.push(pack)?);
            graph.nodes[n].packed = Some(panels);
        }
        order.push(n);
    }
    graph.order = order;
    Ok(())
}

/// What a node computes, and how it wants which operand packed.
fn wanted(graph: &Graph, node: &Node) -> Option<(Arc<Computation>, Packed)> {
    let Action::Compute(computation) = &node.action else { return None };
    let (Form::Contract(names), [lhs, rhs]) = (&computation.form, node.operands.as_slice()) else {
        return None;
    };
    let types = [lhs, rhs].map(|s| &*graph.buffers[s.buffer].ty);
    Some((computation.clone(), loops(names, types, None, None).packed(types[0].dtype)?))
}
