//! Functions of the same small array one behind the other. Each is a long chain of instructions that wait for one another, and a processor has
//! room for two: the derivative's cosine costs nothing beside the sine that the next row waits for.

use std::collections::HashMap;

use super::{Action, Graph, SMALL};
use crate::exec::table::{BufferId, NodeId};
use crate::ir::Primitive;

/// Moves functions of small arrays to the first function of the same array.
pub(super) fn together(graph: &mut Graph) {
    let mut first: HashMap<BufferId, usize> = HashMap::new();
    let mut order: Vec<(NodeId, Vec<NodeId>)> = Vec::with_capacity(graph.order.len());
    for &n in &graph.order {
        if let Some(x) = function(graph, n) {
            if let Some(&at) = first.get(&x) {
                order[at].1.push(n);
                continue;
            }
            first.insert(x, order.len());
        }
        order.push((n, Vec::new()));
    }
    graph.order = order.into_iter().flat_map(|(n, others)| std::iter::once(n).chain(others)).collect();
}

/// The small array that a node makes a function of that is more than a few instructions.
fn function(graph: &Graph, n: NodeId) -> Option<BufferId> {
    let node = &graph.nodes[n];
    let Action::Compute(what) = &node.action else { return None };
    let ([x], [y]) = (node.operands.as_slice(), node.results.as_slice()) else { return None };
    let long = Primitive::SPECIAL.contains(&what.body()?.single()?);
    (long && graph.bytes(*y) <= SMALL && x.strides.is_none()).then_some(x.buffer)
}
