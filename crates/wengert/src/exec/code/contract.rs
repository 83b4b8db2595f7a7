//! Contractions as loops over matrix products.

use super::{Call, Packing};
use crate::elements::{Native, with_float};
use crate::error::Fault;
use crate::exec::graph::loops;
use crate::ir::{Contraction, Labels};
use crate::kernels::contract::Packed;
use crate::shape::TensorType;

/// Bytes of scratch.
pub(super) fn scratch(names: &Contraction, operands: &[TensorType]) -> usize {
    let [lhs, rhs] = operands else { return 0 };
    loops(names, [lhs, rhs], None, None).scratch_bytes(lhs.dtype)
}

pub(super) fn packed(names: &Contraction, operands: &[TensorType]) -> Option<Packed> {
    let [lhs, rhs] = operands else { return None };
    loops(names, [lhs, rhs], None, None).packed(lhs.dtype)
}

pub(super) fn pack(names: &Contraction, call: Packing<'_, '_>) -> Result<(), Fault> {
    let [lhs, rhs] = call.operands else { return Err(Fault::Type) };
    let loops = loops(names, [lhs.ty, rhs.ty], call.strides, None);
    with_float!(lhs.ty.dtype, T => {
        let right = call.operands[loops.right()].elements::<T>()?;
        loops.pack(call.isa, call.pieces, right, bytemuck::cast_slice_mut(call.out))
    })
}

pub(super) fn run(names: &Contraction, call: Call<'_, '_>) -> Result<(), Fault> {
    let ([lhs, rhs], [result]) = (call.operands, &*call.results) else { return Err(Fault::Type) };
    let loops = loops(names, [lhs.ty, rhs.ty], call.strides, Some(call.blocks.len()));
    // The blocks are rows along the result's outermost axis; an operand that is given whole is read from
    // the first block's row on.
    let row = names.out.get(result.ty.shape.outermost().0);
    let start = |i: usize, labels: &Labels| {
        let (ty, given) = (call.operands[i].ty, call.strides.and_then(|s| s.get(i)?.as_deref()));
        let chunked = given.is_none() && labels.get(ty.shape.outermost().0) == row;
        let axis = labels.iter().position(|l| Some(l) == row).filter(|_| !chunked);
        axis.map_or(0, |axis| {
            let step = given.map_or_else(|| ty.shape.strides()[axis] as usize, |strides| strides[axis]);
            step * call.blocks.start
        })
    };
    let (from_l, from_r) = (start(0, &names.lhs), start(1, &names.rhs));
    with_float!(lhs.ty.dtype, T => {
        let l = lhs.elements::<T>()?.get(from_l..).unwrap_or(&[]);
        let r = rhs.elements::<T>()?.get(from_r..).unwrap_or(&[]);
        let packed = bytemuck::cast_slice(call.packed);
        let scratch = bytemuck::cast_slice_mut(&mut *call.scratch);
        let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
        loops.run(call.isa, (l, r), packed, (call.alpha, call.beta), out, scratch)
    })
}
