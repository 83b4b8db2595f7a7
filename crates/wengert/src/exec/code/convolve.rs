//! Convolutions.

use super::Call;
use crate::elements::{Native, with_float};
use crate::error::Fault;
use crate::ir::{Convolution, ConvolutionPart};
use crate::shape::TensorType;

/// Bytes of scratch.
pub(super) fn scratch(convolution: &Convolution, operands: &[TensorType]) -> usize {
    let [first, second] = operands else { return 0 };
    let problem = convolution.problem(first.shape, second.shape);
    with_float!(first.dtype, T => problem.scratch::<T>().saturating_mul(size_of::<T>()), 0)
}

pub(super) fn run(convolution: &Convolution, call: Call<'_, '_>) -> Result<(), Fault> {
    let ([first, second], [result], 0.0) = (call.operands, &*call.results, call.beta) else {
        return Err(Fault::Type);
    };
    let (problem, shape) = (convolution.problem(first.ty.shape, second.ty.shape), result.ty.shape);
    let from = match convolution.part {
        ConvolutionPart::Weights => {
            call.blocks.start * (shape[0] / convolution.blocks(second.ty.shape, shape))
        }
        _ => call.blocks.start,
    };
    with_float!(first.ty.dtype, T => {
        let operands = [first.elements::<T>()?, second.elements::<T>()?];
        let scratch = bytemuck::cast_slice_mut(&mut *call.scratch);
        let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
        problem.run(call.isa, operands, from, out, scratch)
    })
}
