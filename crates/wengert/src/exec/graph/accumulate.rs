//! Products that are added by the kernel that computes them, to states or to sums: `β w + α a·b` is one node, and so is each further
//! term of the gradient of weights that are used several times.
//!
//! It rounds: a product rounds once where the rows round twice.

use super::alias::given_up;
use super::{Action, Begun, Graph, Node, Source, WriteMode};
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
        node.mode = WriteMode::Accumulate { alpha, beta, on: Begun::State(state) };
        node.results = std::iter::once(next).collect();
        graph.buffers[next].maker = Some(product);
        scales.into_iter().flatten().chain([sum]).for_each(|n| gone[n] = true);
    }
    graph.order.retain(|&n| !gone[n]);
    sums(graph);
}

/// Has products added to what other nodes made before, and nobody else reads.
fn sums(graph: &mut Graph) {
    let uses = graph.uses();
    let mut position = Table::alike(&graph.nodes, usize::MAX);
    for (at, &n) in graph.order.iter().enumerate() {
        position[n] = at;
    }
    let (order, mut gone) = (graph.order.clone(), Table::alike(&graph.nodes, false));
    for sum in order {
        let Some((product, begun)) = term(graph, &uses, &position, sum) else { continue };
        let result = graph.nodes[sum].results[0];
        let node = &mut graph.nodes[product];
        node.mode = WriteMode::Accumulate { alpha: 1.0, beta: 1.0, on: Begun::Buffer(begun) };
        node.results = std::iter::once(result).collect();
        graph.buffers[result].maker = Some(product);
        graph.buffers[result].base = graph.base(begun);
        gone[sum] = true;
    }
    graph.order.retain(|&n| !gone[n]);
}

/// The product that a sum adds to what was made before it, and that.
fn term(
    graph: &Graph,
    uses: &Table<BufferId, u32>,
    position: &Table<NodeId, usize>,
    sum: NodeId,
) -> Option<(NodeId, BufferId)> {
    let Node { action, operands, results, .. } = &graph.nodes[sum];
    let ([a, b], [result]) = (operands.as_slice(), results.as_slice()) else { return None };
    if !action.computation()?.is(Primitive::Add) || graph.base(*result) != *result {
        return None;
    }
    // What a node makes in memory of its own, or adds to a sum, for this one alone.
    let alone = |s: &Source| {
        let (maker, buffer) = (graph.maker(s.buffer)?, &graph.buffers[s.buffer]);
        let only = graph.nodes[maker].results.len() == 1 && given_up(graph, uses[s.buffer], s.buffer);
        let own = only && buffer.of == s.buffer && buffer.home.is_none();
        let added = matches!(graph.nodes[maker].mode, WriteMode::Accumulate { on: Begun::Buffer(_), .. });
        let whole = s.strides.is_none() && (buffer.base == s.buffer || added);
        (own && whole).then_some((maker, s.buffer))
    };
    let (a, b) = (alone(a)?, alone(b)?);
    let ((_, begun), (product, term)) = if position[a.0] < position[b.0] { (a, b) } else { (b, a) };
    let Node { action: Action::Compute(computation), mode: WriteMode::Overwrite, infallible: true, .. } =
        &graph.nodes[product]
    else {
        return None;
    };
    let float = graph.buffers[term].ty.dtype.is_float();
    (float
        && graph.buffers[begun].ty == graph.buffers[term].ty
        && computation.sums_products()
        && computation.accumulates())
    .then_some((product, begun))
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
