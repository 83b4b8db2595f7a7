//! Folds: sums along the first axis, taken panel by panel and then over the panels.
//!
//! A row that sums along the first axis of its operands needs all of them, and so would wait until they are
//! complete, in memory. But what it gives for a slab can be computed where the slab is made, and the parts
//! added up: in the order of the panels, which depends on shapes alone. The bits are not those of the row.

use std::sync::Arc;

use smallvec::SmallVec;

use super::nodes::{Array, Graph, Source};
use super::plan::Action;
use super::schedule::{MOST_PANELS, Rounds};
use crate::error::Result;
use crate::ir::{IndexMap, Op, memory_of};
use crate::shape::{Shape, TensorType};

/// Bytes of the operands of a fold, at least: less is read twice as fast as it is shared.
const LEAST: usize = 16 << 10;

/// How many slabs of its operands a row could be folded over, if it pays: parts for all panels take little
/// against the operands, which need not be kept.
pub(super) fn slabs(op: &Op, operands: &[TensorType], results: &[TensorType]) -> Option<usize> {
    let [result] = results else { return None };
    let kernel = op.kernel().filter(|k| k.accumulates() && k.onto().is_none() && k.infallible())?;
    let summed = match op {
        Op::Linear(op) => {
            let map = operands.first().and_then(|x| op.index_map(x));
            operands.len() == 1 && matches!(map, Some(IndexMap::Sum { axis: 0, .. }))
        }
        Op::Bilinear(op) => op.contraction().is_some_and(|c| {
            c.lhs.first() == c.rhs.first() && c.lhs.first().is_some_and(|l| !c.out.contains(l))
        }),
        _ => false,
    };
    let slabs = operands.first()?.shape.first().copied()?;
    let bytes = operands.iter().map(TensorType::bytes).fold(0, usize::saturating_add);
    let pays = bytes >= LEAST && result.bytes().saturating_mul(MOST_PANELS) <= bytes.saturating_mul(2);
    if !(summed && pays) {
        return None;
    }
    // What holds for the whole holds for slabs, unless the kernel thinks otherwise.
    let one: SmallVec<[TensorType; 3]> = operands.iter().map(|ty| slab(ty, 1)).collect();
    kernel.infer(&one).is_ok_and(|found| found.as_slice() == results).then_some(slabs)
}

/// The type of so many neighbours along the first axis.
pub(super) fn slab(ty: &TensorType, rows: usize) -> TensorType {
    TensorType::new(ty.dtype, ty.shape.with(0, rows))
}

/// Makes room for a part of each panel.
pub(super) fn make_room(graph: &mut Graph, rounds: &Rounds) -> Result<()> {
    for group in rounds.iter().flatten() {
        for &n in &group.nodes {
            if let (Action::Fold(_, ty), [parts]) =
                (&graph.nodes[n].action, graph.nodes[n].results.as_slice())
            {
                let shape = Shape::new(&[group.panels, ty.shape.elements()])?;
                graph.arrays[*parts as usize].ty = Arc::new(TensorType::new(ty.dtype, shape));
            }
        }
    }
    Ok(())
}

/// Bytes that a fold needs for any of its tiles.
pub(super) fn memory(
    op: &Op,
    operands: &[Source],
    arrays: &[Array],
    (units, panels, tile): (usize, usize, usize),
) -> usize {
    let Some(kernel) = op.kernel() else { return 0 };
    // Panels have two sizes; their tiles are full, or what is left at the end of one.
    let (short, long) = (units / panels.max(1), units.div_ceil(panels.max(1)));
    let tile = tile.max(1);
    let sizes = [tile.min(long), tile.min(short), short % tile, long % tile];
    let bytes = |size: usize| {
        let types: SmallVec<[TensorType; 3]> = operands
            .iter()
            .map(|s| &arrays[s.array as usize].ty)
            .map(|ty| slab(ty, ty.shape[0] / units * size))
            .collect();
        memory_of(kernel, &types)
    };
    sizes.into_iter().filter(|&size| size > 0).map(bytes).max().unwrap_or(0)
}
