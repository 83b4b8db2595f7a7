//! Buffers in the layouts that kernels ask for.
//!
//! All that users see is row-major, and so is all between kernels; only products read one operand in panels of their own.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Action, Computation, Graph, Layout, Node, Strides, loops};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::exec::table::BufferId;
use crate::ir::{Contraction, Form};
use crate::kernels::contract::Packed;
use crate::shape::{Shape, TensorType};

/// Inserts the nodes that bring operands into the layout that a kernel asks for: once for all products that read an
/// operand alike, such as the weights of a recurrent network.
pub(super) fn convert(graph: &mut Graph) -> Result<(), ErrorKind> {
    let mut order = Vec::with_capacity(graph.order.len());
    let mut packed: HashMap<Read, BufferId> = HashMap::new();
    for n in std::mem::take(&mut graph.order) {
        if let Some((computation, Packed { operand, bytes, pieces }, read)) = wanted(graph, &graph.nodes[n]) {
            if let Some(panels) = packed.get(&read) {
                graph.nodes[n].packed = Some(*panels);
                order.push(n);
                continue;
            }
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
            packed.insert(read, panels);
        }
        order.push(n);
    }
    graph.order = order;
    Ok(())
}

/// An operand as some products read it: alike, if they are of operands of the same types and strides.
type Read = (BufferId, Contraction, SmallVec<[(Arc<TensorType>, Option<Box<Strides>>); 2]>);

/// What a node computes, how it wants which operand packed, and how it reads that.
fn wanted(graph: &Graph, node: &Node) -> Option<(Arc<Computation>, Packed, Read)> {
    let Action::Compute(computation) = &node.action else { return None };
    let (Form::Contract(names), [lhs, rhs]) = (&computation.form, node.operands.as_slice()) else {
        return None;
    };
    let types = [lhs, rhs].map(|s| &*graph.buffers[s.buffer].ty);
    let packed = loops(names, types, None, None).packed(types[0].dtype)?;
    let operands = [lhs, rhs].map(|s| (graph.buffers[s.buffer].ty.clone(), s.strides.clone()));
    let read = (node.operands[packed.operand].buffer, *names, operands.into());
    Some((computation.clone(), packed, read))
}
