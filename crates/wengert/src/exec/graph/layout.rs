//! Buffers in the layouts that kernels ask for.
//!
//! All that users see is row-major, and so is all between kernels; only products read one operand in panels of their own.

use std::sync::Arc;

use super::{Action, Graph, Layout, Node, WriteMode};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::ir::Form;
use crate::kernels::contract::Packed;
use crate::shape::{Shape, TensorType};

/// Inserts the nodes that bring operands into the layout that a kernel asks for.
pub(super) fn convert(graph: &mut Graph) -> Result<(), ErrorKind> {
    let mut order = Vec::with_capacity(graph.order.len());
    for n in std::mem::take(&mut graph.order) {
        let node = &graph.nodes[n];
        if let Action::Compute(computation) = &node.action
            && let (Form::Contract(names), [lhs, rhs]) = (&computation.form, node.operands.as_slice())
        {
            let types = [lhs, rhs].map(|s| &*graph.buffers[s.buffer].ty);
            if let Some(Packed { operand, bytes, pieces }) =
                super::loops(names, types, None, None).packed(types[0].dtype)
            {
                let mut operands = node.operands.clone();
                operands.iter_mut().for_each(|source| source.chunked = false);
                let pack = Node {
                    action: Action::Pack(computation.clone(), operand),
                    row: node.row,
                    operands,
                    results: std::iter::once(crate::exec::table::Id::new(graph.buffers.len() as u32))
                        .collect(),
                    mode: WriteMode::Overwrite,
                    packed: None,
                    blocks: pieces,
                    work: bytes,
                    infallible: true,
                };
                let words = TensorType::new(DType::I64, Shape::new(&[bytes / 8])?);
                let panels = graph.buffer(Arc::new(words), Some(graph.next()))?;
                graph.buffers[panels].layout = Layout::Packed;
                order.push(graph.nodes.push(pack)?);
                graph.nodes[n].packed = Some(panels);
            }
        }
        order.push(n);
    }
    graph.order = order;
    Ok(())
}
