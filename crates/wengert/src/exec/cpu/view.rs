//! Elements of an operand, rearranged.

use super::Call;
use crate::dtype::{Native, with_dtype};
use crate::error::Fault;
use crate::ir::IndexMap;
use crate::kernels::copy::{Gather, Walk};
use crate::shape::{Shape, TensorType};

/// Whether each slab of the result (along its first axis) reads the slab of the operand in the same
/// place, and no other.
pub(super) fn slab_by_slab(map: &IndexMap, dims: Shape, from: Shape) -> bool {
    let IndexMap { offset, strides } = map;
    let (Some(&count), slab) = (dims.first(), strides[0]) else { return false };
    if slab <= 0 || dims.contains(&0) || count.checked_mul(slab as usize) != Some(from.elements()) {
        return false;
    }
    let reach = |sign: isize| -> isize {
        let inner = dims.iter().zip(strides).skip(1);
        inner.map(|(&d, &s)| (d as isize - 1) * s).filter(|r| r * sign > 0).sum()
    };
    offset + reach(-1) >= 0 && offset + reach(1) < slab
}

/// Whether the result has all elements of the operand in the same order.
pub(super) fn same_order(map: &IndexMap, operands: &[TensorType], results: &[TensorType]) -> bool {
    matches!((operands, results), ([x], [y])
        if x.shape.elements() == y.shape.elements() && map.keeps_order(y.shape))
}

/// Copies the blocks of a call: elements where the order stays, else slabs of the result's first axis.
pub(super) fn run(map: &IndexMap, mut call: Call<'_, '_>) -> Result<(), Fault> {
    fn strided<T: Native>(map: &IndexMap, call: &mut Call<'_, '_>) -> Result<(), Fault> {
        let (mut dims, mut offset) = (call.results[0].ty.shape, map.offset);
        if dims.rank() > 0 {
            if !slab_by_slab(map, dims, call.operands[0].ty.shape) {
                offset += call.blocks.start as isize * map.strides[0];
            }
            dims = dims.with(0, call.blocks.len());
        }
        let isa = call.isa;
        let (x, out) = call.unary::<T, T>(0)?;
        isa.run(Gather { out, input: x, walk: Walk { dims: &dims, offset, strides: &map.strides } });
        Ok(())
    }
    let ([x], [y]) = (call.operands, &*call.results) else { return Err(Fault::Type) };
    if same_order(map, &[*x.ty], &[*y.ty]) {
        let x = call.operands[0].data;
        return if call.results[0].data.copy_from(x) { Ok(()) } else { Err(Fault::Type) };
    }
    with_dtype!(call.operands[0].ty.dtype, T => strided::<T>(map, &mut call))
}
