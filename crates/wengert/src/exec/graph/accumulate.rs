//! Products that are added to states by the kernel that computes them: `β w + α a·b` is one node.
//!
//! It rounds: a product rounds once where the rows round twice.

use super::{Action, Graph, Node, Source, WriteMode};
use crate::exec::table::{BufferId, NodeId, Table};
use crate::ir::Primitive;

/// Has products begin with the old value of the state that they are added to.
pub(super) fn accumulate(graph: &mut Graph) {
    let uses = graph.uses();
    let mut gone = Table::alike(&graph.nodes, false);
    for (state, next) in graph.updates.clone() {
        let Some(sum) = graph.maker(next).filter(|&sum| graph.nodes[sum].results.as_slice() == [next]) else {
            continue;
        };
        let Some(Addend { product, alpha, beta, scales }) = addend(graph, &uses, sum, state) else {
            continue;
        };
        let node = &mut graph.nodes[product];
        node.mode = WriteMode::Accumulate { alpha, beta, state };
        node.results = std::iter::once(next).collect();
        graph.buffers[next].maker = Some(product);
        scales.into_iter().flatten().chain([sum]).for_each(|n| gone[n] = true);
    }
    graph.order.retain(|&n| !gone[n]);
}

/// What a node adds to a state, which the product can do itself.
struct Addend {
    product: NodeId,
    /// By what the product and the state are multiplied before.
    alpha: f64,
    beta: f64,
    /// The nodes that do it otherwise.
    scales: [Option<NodeId>; 2],
}

/// The product that a node adds to a state, or to one times a number: of arrays, or of an array and a number; if
/// nothing else reads any of them and the product no old value of a state.
fn addend(graph: &Graph, uses: &Table<BufferId, u32>, sum: NodeId, state: usize) -> Option<Addend> {
    // The node that makes a buffer that only one node reads.
    let maker = |s: &Source| {
        graph.maker(s.buffer).filter(|_| graph.base(s.buffer) == s.buffer && uses[s.buffer] == 1)
    };
    // The number that a node multiplies a buffer by, and the buffer.
    let scale = |by: NodeId| {
        let factor = graph.nodes[by].action.computation()?.body()?.factor()?;
        let from = graph.nodes[by].operands.first()?;
        (factor.abs() >= f64::from(f32::MIN_POSITIVE)).then_some((factor, from))
    };
    let scaled = |s: &Source| {
        let by = maker(s)?;
        // What the row would overflow to, or make of an infinity, the product may not see.
        let old = |from: &Source| graph.is_old(from.buffer, state);
        let (beta, _) = scale(by).filter(|(beta, from)| old(from) && beta.abs() <= 1.0)?;
        Some((beta, Some(by)))
    };
    let Node { action, operands, .. } = &graph.nodes[sum];
    let ([a, b], true) = (operands.as_slice(), action.computation()?.is(Primitive::Add)) else { return None };
    let times = |s: &Source| if graph.is_old(s.buffer, state) { Some((1.0, None)) } else { scaled(s) };
    let ((beta, scale_of_state), other) = times(a).map(|t| (t, b)).or_else(|| times(b).map(|t| (t, a)))?;
    let product = maker(other)?;
    // A product of arrays times a number multiplies by it while it adds.
    let within = scale(product).and_then(|(alpha, from)| {
        let inner = maker(from)?;
        let scales = graph.nodes[inner].action.computation()?.scales();
        scales.then_some((inner, alpha, from, Some(product)))
    });
    let (product, alpha, other, by) = within.unwrap_or((product, 1.0, other, None));
    let Node { action: Action::Compute(computation), operands, infallible, results, .. } =
        &graph.nodes[product]
    else {
        return None;
    };
    let reads_old = |s: &Source| graph.old_state(s.buffer).is_some();
    let alone = *infallible && results.as_slice() == [other.buffer] && !operands.iter().any(reads_old);
    // Sums of integers are not added to what is there: that is no kernel worth its code.
    let float = graph.buffers[other.buffer].ty.dtype.is_float();
    (alone && float && computation.accumulates()).then_some(Addend {
        product,
        alpha,
        beta,
        scales: [scale_of_state, by],
    })
}
