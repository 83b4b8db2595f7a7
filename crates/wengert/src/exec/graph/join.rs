//! Arrays that are put together from others, one behind the other: what makes a part writes it where it lies in the whole, and nothing is
//! copied.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Action, Buffer, Graph, Home, Layout, Node, Source};
use crate::error::ErrorKind;
use crate::exec::table::{BufferId, NodeId};
use crate::ir::{Form, Indexed};
use crate::shape::{Shape, TensorType};
use crate::sort::sort_by_key;

/// Bytes of an array, at most, that is put together by copies: those of small arrays stay in registers.
pub(super) const SMALL: usize = 4 << 10;

/// An array of one number, parts of which others take one after the other.
struct Whole {
    fill: BufferId,
    /// The nodes that set a part.
    nodes: Vec<NodeId>,
    parts: Vec<Part>,
}

/// Elements of a whole from one on.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    len: usize,
    from: BufferId,
}

/// Replaces nodes that set parts of an array of one number, and those parts lie apart and in whole words, by one that joins them.
pub(super) fn join(graph: &mut Graph) -> Result<(), ErrorKind> {
    let uses = graph.uses();
    let mut open: HashMap<BufferId, Whole> = HashMap::new();
    for &n in &graph.order {
        let Some((on, part, result)) = set(graph, n) else { continue };
        let fill = || Whole { fill: on, nodes: Vec::new(), parts: Vec::new() };
        let whole = match graph.home(on) {
            Some(Home::Fill(_)) => Some(fill()),
            _ if uses[on] == 1 => open.remove(&on),
            _ => None,
        };
        if let Some(mut whole) = whole {
            whole.nodes.push(n);
            whole.parts.extend(part);
            open.insert(result, whole);
        }
    }
    // What another node changes where it lies is better made by those that set parts.
    let changed: HashSet<BufferId> = graph.order.iter().filter_map(|&n| changed(graph, n)).collect();
    open.retain(|result, _| uses[*result] != 1 || !changed.contains(result));
    let (mut joins, mut gone) = (HashMap::new(), Vec::new());
    for (result, mut whole) in open {
        sort_by_key(&mut whole.parts, |part| (part.first as u64, 0));
        let (bytes, each) = (graph.bytes(result), graph.buffers[result].ty.dtype.bytes());
        let ends = [0].into_iter().chain(whole.parts.iter().map(|part| part.first + part.len));
        let apart = whole.parts.iter().zip(ends).all(|(part, end)| end <= part.first);
        let words = |element: usize| (element * each).is_multiple_of(8);
        let words = whole.parts.iter().all(|part| words(part.first) && words(part.first + part.len));
        if let Some(last) = whole.nodes.pop().filter(|_| bytes > SMALL && apart && words) {
            gone.append(&mut whole.nodes);
            joins.insert(last, whole);
        }
    }
    if joins.is_empty() {
        return Ok(());
    }
    let gone: HashSet<NodeId> = gone.into_iter().collect();
    let mut order = Vec::with_capacity(graph.order.len());
    for n in std::mem::take(&mut graph.order) {
        if let Some(whole) = joins.remove(&n) {
            filled(graph, n, whole, &mut order)?;
        }
        if !gone.contains(&n) {
            order.push(n);
        }
    }
    graph.order = order;
    Ok(())
}

/// What a node sets a part of, the part unless it is empty, and the result.
fn set(graph: &Graph, n: NodeId) -> Option<(BufferId, Option<Part>, BufferId)> {
    let Node { action, operands, results, .. } = &graph.nodes[n];
    let (Some(Form::Indexed(Indexed::SetPart(map))), [on, from], [result]) =
        (action.form(), operands.as_slice(), results.as_slice())
    else {
        return None;
    };
    let shape = graph.buffers[from.buffer].ty.shape;
    let first = usize::try_from(map.offset).ok().filter(|_| map.without_offset().keeps_order(shape))?;
    let part = Part { first, len: shape.elements(), from: from.buffer };
    Some((on.buffer, Some(part).filter(|part| part.len > 0), *result))
}

/// What a node may change where it lies.
fn changed(graph: &Graph, n: NodeId) -> Option<BufferId> {
    let node = &graph.nodes[n];
    let operand = node.action.computation()?.alias()?;
    Some(graph.base(node.operands.get(operand)?.buffer))
}

/// Makes a node join the parts of a whole, and what fills the gaps between them.
fn filled(graph: &mut Graph, n: NodeId, whole: Whole, order: &mut Vec<NodeId>) -> Result<(), ErrorKind> {
    let (row, result) = (graph.nodes[n].row, graph.nodes[n].results[0]);
    let ty = graph.buffers[result].ty.clone();
    let mut at = 0;
    let mut operands = Vec::with_capacity(2 * whole.parts.len() + 1);
    let end = Part { first: ty.shape.elements(), len: 0, from: whole.fill };
    for part in whole.parts.into_iter().chain([end]) {
        if part.first > at {
            let len = part.first - at;
            let gap = Arc::new(TensorType::new(ty.dtype, Shape::new(&[len])?));
            let fill = Buffer { ty: gap, part: Some((0, len)), ..graph.buffers[whole.fill].clone() };
            let fill = graph.buffers.push(fill)?;
            let (copy, to) = graph.copy(row, fill)?;
            order.push(copy);
            operands.push(to);
        }
        if part.len > 0 {
            operands.push(part.from);
        }
        at = part.first + part.len;
    }
    graph.nodes[n] = joined(row, operands, result, &ty);
    Ok(())
}

/// A node that joins arrays to one of this type.
pub(super) fn joined(
    row: u32,
    parts: impl IntoIterator<Item = BufferId>,
    whole: BufferId,
    ty: &TensorType,
) -> Node {
    let source = |buffer| Source { buffer, strides: None, chunked: false };
    Node {
        action: Action::Join,
        operands: parts.into_iter().map(source).collect(),
        blocks: 1,
        work: 0,
        ..Node::copy(row, whole, whole, ty)
    }
}

/// Says of the parts of each whole that they lie within it; those that lie elsewhere for a reason are copied.
pub(super) fn place(graph: &mut Graph) -> Result<(), ErrorKind> {
    let mut order = Vec::with_capacity(graph.order.len());
    for n in std::mem::take(&mut graph.order) {
        if matches!(graph.nodes[n].action, Action::Join) {
            let (row, result) = (graph.nodes[n].row, graph.nodes[n].results[0]);
            let mut first = 0;
            for o in 0..graph.nodes[n].operands.len() {
                let mut part = graph.nodes[n].operands[o].buffer;
                if !movable(graph, part) {
                    let (copy, to) = graph.copy(row, part)?;
                    order.push(copy);
                    graph.nodes[n].operands[o].buffer = to;
                    part = to;
                }
                let base = graph.base(part);
                graph.within.insert(base, (result, first));
                first += graph.buffers[part].ty.shape.elements();
            }
        }
        order.push(n);
    }
    graph.order = order;
    Ok(())
}

/// Whether a plan may choose where all of the memory of a buffer lies.
fn movable(graph: &Graph, buffer: BufferId) -> bool {
    let base = graph.base(buffer);
    let Buffer { home, layout, maker, .. } = &graph.buffers[base];
    let joined = maker.is_some_and(|maker| matches!(graph.nodes[maker].action, Action::Join));
    let whole = graph.buffers[buffer].part.is_none() && graph.bytes(buffer) == graph.bytes(base);
    let free = home.is_none() && !graph.within.contains_key(&base) && *layout == Layout::RowMajor;
    maker.is_some() && free && !joined && whole
}
