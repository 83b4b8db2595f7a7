//! Operands that are read where they lie, through rows that only rearrange them.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Computation, Strides};
use crate::ir::{Form, IndexMap, Op, Tape, Value};
use crate::shape::TensorType;

/// What each row computes; `None` of leaves, guards and rows whose form does not fit.
pub(super) type Forms = Vec<Option<Arc<Computation>>>;

/// By row and operand, what is read instead, and its strides.
pub(super) type Views = HashMap<(u32, u32), (Value, Strides)>;

/// Finds the operands of products that are rearranged arrays.
pub(super) fn views(tape: &Tape, forms: &Forms) -> Views {
    let mut views = Views::new();
    for (i, row) in tape.rows().iter().enumerate() {
        // Products alone honour strides.
        let Some(computation) = forms[i].as_ref().filter(|c| matches!(c.form, Form::Contract(_))) else {
            continue;
        };
        let types: SmallVec<[TensorType; 3]> = row.operands.iter().filter_map(|&v| tape.ty(v)).collect();
        let mut taken: SmallVec<[Option<Box<Strides>>; 3]> = SmallVec::from_elem(None, types.len());
        for (o, &v) in row.operands.iter().enumerate() {
            let Some((value, strides)) = rearranged(tape, forms, v) else { continue };
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
fn rearranged(tape: &Tape, forms: &Forms, value: Value) -> Option<(Value, Strides)> {
    let row = &tape.rows()[value.row as usize];
    let (&[from], [ty]) = (row.operands.as_slice(), &*row.results) else { return None };
    let Form::View(IndexMap { offset: 0, strides }) = forms[value.row as usize].as_ref()?.form else {
        return None;
    };
    // Another shape of the same elements needs no strides, and stays chunked.
    if reshaped(tape, forms, value.row as usize).is_some() {
        return None;
    }
    let mut forward = Strides::default();
    for (axis, (to, stride)) in forward.iter_mut().zip(strides).enumerate() {
        // A repeated element is no place of its own: kernels step from one place to the next.
        let repeats = stride == 0 && ty.shape.get(axis).is_some_and(|&size| size > 1);
        *to = usize::try_from(stride).ok().filter(|_| !repeats)?;
    }
    Some((from, forward))
}

/// What a row gives another shape, if it does no more.
pub(super) fn reshaped(tape: &Tape, forms: &Forms, index: usize) -> Option<Value> {
    let row = &tape.rows()[index];
    let (&[from], [ty]) = (row.operands.as_slice(), &*row.results) else { return None };
    let Form::View(map) = &forms[index].as_ref()?.form else { return None };
    map.reshapes(tape.ty(from)?.shape, ty.shape).then_some(from)
}

/// What a row takes a part of whose elements lie one behind the other, and the first of them: if that is a whole word away from the
/// beginning, so that whoever counts in words can read it.
pub(super) fn part(tape: &Tape, forms: &Forms, index: usize) -> Option<(Value, usize)> {
    let row = &tape.rows()[index];
    let (&[from], [ty]) = (row.operands.as_slice(), &*row.results) else { return None };
    let Form::View(map) = &forms[index].as_ref()?.form else { return None };
    let offset = usize::try_from(map.offset).ok()?;
    let words = (offset * ty.dtype.bytes()).is_multiple_of(8);
    (words && ty.shape.elements() > 0 && map.without_offset().keeps_order(ty.shape)).then_some((from, offset))
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
