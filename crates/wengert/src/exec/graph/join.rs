//! Arrays that are put together from others. Where they lie one behind the other, what makes a part writes it where it lies in the whole, and
//! nothing is copied; where they lie side by side, they are copied row by row, while they are in the cache.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::alias::changed;
use super::{Action, Buffer, Constant, Graph, Home, Layout, Node, SMALL, Source};
use crate::error::ErrorKind;
use crate::exec::table::{BufferId, NodeId};
use crate::ir::{Form, IndexMap, Indexed};
use crate::shape::{Shape, TensorType};
use crate::sort::sort_by_key;

/// An array of one number, parts of which others take one after the other.
struct Whole {
    fill: BufferId,
    /// The nodes that set a part.
    nodes: Vec<NodeId>,
    parts: Vec<Part>,
    /// Rows that all parts are parts of.
    rows: usize,
}

/// Elements of each row of a whole from one on.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    len: usize,
    from: BufferId,
}

/// Replaces nodes that set parts of an array of one number, if those parts lie apart, by one that joins them; where rounding is allowed also
/// nodes that add parts to zeros, for those may have another sign then.
pub(super) fn join(graph: &mut Graph, rounding: bool) -> Result<(), ErrorKind> {
    let uses = graph.uses();
    let mut open: HashMap<BufferId, Whole> = HashMap::new();
    for &n in &graph.order {
        let Some((on, adds, (rows, part), result)) = set(graph, n) else { continue };
        let fill = |c| match graph.constants.get(c) {
            Some(Constant::Fill { value, .. }) => !adds || (rounding && *value == 0.0),
            _ => false,
        };
        let whole = match graph.home(on) {
            Some(Home::Fill(c)) if fill(c) => {
                Some(Whole { fill: on, nodes: Vec::new(), parts: Vec::new(), rows })
            }
            // What is added to rests on zeros as well.
            _ if uses[on] == 1 && (rounding || !adds) => open.remove(&on).filter(|whole| whole.rows == rows),
            _ => None,
        };
        if let Some(mut whole) = whole {
            whole.nodes.push(n);
            whole.parts.extend(Some(part).filter(|part| part.len > 0));
            open.insert(result, whole);
        }
    }
    // What another node changes where it lies is better made by those that set parts.
    let changed = |&n: &NodeId| {
        let (operand, _) = changed(graph, n)?;
        Some(graph.base(graph.nodes[n].operands[operand].buffer))
    };
    let changed: HashSet<BufferId> = graph.order.iter().filter_map(changed).collect();
    open.retain(|result, whole| whole.rows > 1 || uses[*result] != 1 || !changed.contains(result));
    let (mut joins, mut gone) = (HashMap::new(), Vec::new());
    for (result, mut whole) in open {
        sort_by_key(&mut whole.parts, |part| (part.first as u64, 0));
        let (bytes, each) = (graph.bytes(result), graph.buffers[result].ty.dtype.bytes());
        let ends = [0].into_iter().chain(whole.parts.iter().map(|part| part.first + part.len));
        let apart = whole.parts.iter().zip(ends).all(|(part, end)| end <= part.first);
        let words = |element: usize| (element * each).is_multiple_of(8);
        let words = whole.parts.iter().all(|part| words(part.first) && words(part.first + part.len));
        let fits = bytes > SMALL && apart && (words || whole.rows > 1);
        if let Some(last) = whole.nodes.pop().filter(|_| fits) {
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

/// What a node sets a part of, or adds one to; of how many rows, and which part; and the result.
fn set(graph: &Graph, n: NodeId) -> Option<(BufferId, bool, (usize, Part), BufferId)> {
    let Node { action, operands, results, .. } = &graph.nodes[n];
    let (Some(Form::Indexed(indexed)), [on, from], [result]) =
        (action.form(), operands.as_slice(), results.as_slice())
    else {
        return None;
    };
    let (map, adds) = match indexed {
        Indexed::SetPart(map) => (map, false),
        Indexed::AddPart(map) => (map, true),
        _ => return None,
    };
    let (shape, all) = (graph.buffers[from.buffer].ty.shape, graph.buffers[*result].ty.shape);
    let rows = if map.without_offset().keeps_order(shape) { 1 } else { rows(map, shape, all)? };
    let part =
        Part { first: usize::try_from(map.offset).ok()?, len: shape.elements() / rows, from: from.buffer };
    Some((on.buffer, adds, (rows, part), *result))
}

/// How many rows of an array a part is a part of each of: the axes in front of the only one that it has not whole.
fn rows(map: &IndexMap, part: Shape, all: Shape) -> Option<usize> {
    let own = all.strides();
    let alike =
        part.rank() == all.rank() && (0..part.rank()).all(|a| part[a] == 1 || map.strides[a] == own[a]);
    let mut cut = (0..all.rank()).filter(|&a| part[a] != all[a]);
    let axis = cut.next().filter(|_| alike && cut.next().is_none() && part.elements() > 0)?;
    Some(all[..axis].iter().product())
}

/// Makes a node join the parts of a whole, and what fills the gaps between them.
fn filled(graph: &mut Graph, n: NodeId, whole: Whole, order: &mut Vec<NodeId>) -> Result<(), ErrorKind> {
    let (row, result) = (graph.nodes[n].row, graph.nodes[n].results[0]);
    let ty = graph.buffers[result].ty.clone();
    let mut at = 0;
    let mut operands = Vec::with_capacity(2 * whole.parts.len() + 1);
    let rows = whole.rows;
    let end = Part { first: ty.shape.elements() / rows, len: 0, from: whole.fill };
    for part in whole.parts.into_iter().chain([end]) {
        if part.first > at {
            let len = rows * (part.first - at);
            let gap = Arc::new(TensorType::new(ty.dtype, Shape::new(&[len])?));
            let fill = Buffer { ty: gap, part: Some((0, len)), ..graph.buffers[whole.fill].clone() };
            let fill = graph.buffers.push(fill)?;
            operands.push(fill);
            if rows == 1 {
                let (copy, to) = graph.copy(row, fill)?;
                order.push(copy);
                operands.pop();
                operands.push(to);
            }
        }
        if part.len > 0 {
            operands.push(part.from);
        }
        at = part.first + part.len;
    }
    let mut node = joined(row, operands, result, &ty);
    if rows > 1 {
        node.operands.iter_mut().for_each(|source| source.chunked = true);
        node = Node { action: Action::Beside(rows), blocks: rows, work: ty.shape.elements(), ..node };
    }
    graph.nodes[n] = node;
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
