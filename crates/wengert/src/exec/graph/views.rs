//! Operands that are read where they lie, through rows that only rearrange them.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{Computations, Strides};
use crate::ir::{Form, IndexMap, Op, Tape, Value};
use crate::shape::TensorType;

/// By row and operand, what is read instead, and its strides.
pub(super) type Views = HashMap<(u32, u32), (Value, Strides)>;

/// Finds the operands of products that are rearranged arrays.
pub(super) fn views(tape: &Tape, computations: &mut Computations) -> Views {
    let mut views = Views::new();
    for (i, row) in tape.rows().iter().enumerate() {
        // Products alone honour strides.
        if row.operands.len() != 2 || row.operands.iter().all(|&v| rearranged(tape, v).is_none()) {
            continue;
        }
        let types: SmallVec<[TensorType; 3]> = row.operands.iter().filter_map(|&v| tape.ty(v)).collect();
        // What has no form is told when its own node is made.
        let Ok(computation) = computations.of(&row.op, &types, &row.results) else { continue };
        let mut taken: SmallVec<[Option<Box<Strides>>; 3]> = SmallVec::from_elem(None, types.len());
        for (o, &v) in row.operands.iter().enumerate() {
            let Some((value, strides)) = rearranged(tape, v) else { continue };
            taken[o] = Some(Box::new(strides));
            if computation.strided(&types, &taken) {
                views.insert((i as u32, o as u32), (value, strides));
            } else {
                taken[o] = None;
            }
        }
    }
    views
}

/// What a value rearranges, and where its neighbours lie there.
fn rearranged(tape: &Tape, value: Value) -> Option<(Value, Strides)> {
    let row = &tape.rows()[value.row as usize];
    let &[from] = row.operands.as_slice() else { return None };
    let before = tape.ty(from)?;
    let form = row.op.kernel()?.form(&[before]);
    // What does not fit is told when its own node is made: this one must not skip it.
    form.check(&[before], &row.results).ok()?;
    let Form::View(IndexMap { offset: 0, strides }) = form else { return None };
    // Another shape of the same elements needs no strides, and stays chunked.
    if renamed(tape, value.row as usize).is_some() || row.results.len() != 1 {
        return None;
    }
    let mut forward = Strides::default();
    for (axis, (to, stride)) in forward.iter_mut().zip(strides).enumerate() {
        // A repeated element is no place of its own: kernels step from one place to the next.
        let repeats = stride == 0 && row.results[0].shape.get(axis).is_some_and(|&size| size > 1);
        *to = usize::try_from(stride).ok().filter(|_| !repeats)?;
    }
    Some((from, forward))
}

/// What a row gives another shape, if it does no more.
pub(super) fn renamed(tape: &Tape, index: usize) -> Option<Value> {
    let row = &tape.rows()[index];
    let (&[from], [ty]) = (row.operands.as_slice(), &*row.results) else { return None };
    let before = tape.ty(from)?;
    let same = before.dtype == ty.dtype && before.shape.elements() == ty.shape.elements();
    // Of most rows neither is asked.
    let Form::View(map) = row.op.kernel().filter(|_| same)?.form(&[before]) else { return None };
    map.keeps_order(ty.shape).then_some(from)
}

/// The rows that are needed when some operands are read through others.
pub(super) fn live(tape: &Tape, views: &Views) -> Vec<bool> {
    let mut live = vec![false; tape.rows().len()];
    for value in tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v)) {
        live[value.row as usize] = true;
    }
    for (i, row) in tape.rows().iter().enumerate().rev() {
        live[i] |= matches!(row.op, Op::Control(_));
        if live[i] {
            for (o, operand) in row.operands.iter().enumerate() {
                let source = views.get(&(i as u32, o as u32)).map_or(operand, |(v, _)| v);
                live[source.row as usize] = true;
            }
        }
    }
    live
}
