//! Reductions over neighbouring axes.

use super::Call;
use crate::elements::{Native, with_float, with_integer};
use crate::error::Fault;
use crate::ir::{Monoid, Reduction};
use crate::kernels::{reduce, rescale};
use crate::shape::TensorType;

/// Bytes of scratch.
pub(super) fn scratch(Reduction { monoid, axis, count }: Reduction, operands: &[TensorType]) -> usize {
    let (Some(x), Monoid::Sum) = (operands.first(), monoid) else { return 0 };
    let (_, reduced, inner) = x.shape.split_at(axis, count);
    x.dtype.bytes() * reduce::sum_scratch(reduced, inner)
}

pub(super) fn run(Reduction { monoid, axis, count }: Reduction, mut call: Call<'_, '_>) -> Result<(), Fault> {
    let ty = call.operands.first().ok_or(Fault::Type)?.ty;
    let (_, reduced, inner) = ty.shape.split_at(axis, count);
    let (isa, beta) = (call.isa, call.beta);
    match monoid {
        Monoid::Sum => with_float!(ty.dtype, T => {
            let x = call.operands[0].elements::<T>()?;
            let scratch = bytemuck::cast_slice_mut(&mut *call.scratch);
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            let (sizes, accumulate) = ((reduced, inner), beta != 0.0);
            if accumulate {
                rescale(out, beta);
            }
            isa.narrow(reduce::Sum { out, input: x, sizes, accumulate, scratch });
            Ok(())
        }, {
            let (x, out) = call.unary::<i64, i64>(0)?;
            reduce::whole_sum(out, x, (reduced, inner), beta != 0.0);
            Ok(())
        }),
        Monoid::Max => {
            let (sizes, accumulate) = ((reduced, inner), beta != 0.0);
            with_float!(ty.dtype, T => {
                let (x, out) = call.unary::<T, T>(0)?;
                isa.loops(|| reduce::max(out, x, sizes, accumulate));
                Ok(())
            }, with_integer!(ty.dtype, T => {
                let (x, out) = call.unary::<T, T>(0)?;
                reduce::max(out, x, sizes, accumulate);
                Ok(())
            }, Err(Fault::Type)))
        }
    }
}
