//! Elements of an operand, rearranged.

use super::Call;
use crate::elements::with_size;
use crate::error::Fault;
use crate::ir::IndexMap;
use crate::kernels::copy::{Gather, Walk};

/// Copies the blocks of a call: elements where the order stays, else rows along the result's outermost axis.
pub(super) fn run(map: &IndexMap, mut call: Call<'_, '_>) -> Result<(), Fault> {
    fn strided<T: bytemuck::Pod>(map: &IndexMap, call: &mut Call<'_, '_>) -> Result<(), Fault> {
        let (mut dims, mut offset) = (call.results[0].ty.shape, map.offset);
        if dims.rank() > 0 {
            let axis = dims.outermost().0;
            if !map.stays_in_rows(dims, call.operands[0].ty.shape) {
                offset += call.blocks.start as isize * map.strides[axis];
            }
            dims = dims.with(axis, call.blocks.len());
        }
        let isa = call.isa;
        let (x, out) = call.bits::<T>(0)?;
        isa.run(Gather { out, input: x, walk: Walk { dims: &dims, offset, strides: &map.strides } });
        Ok(())
    }
    let ([x], [y]) = (call.operands, &*call.results) else { return Err(Fault::Type) };
    if map.reshapes(x.ty.shape, y.ty.shape) {
        let x = call.operands[0].data;
        return if call.results[0].data.copy_from(x) { Ok(()) } else { Err(Fault::Type) };
    }
    with_size!(call.operands[0].ty.dtype, T => strided::<T>(map, &mut call))
}
