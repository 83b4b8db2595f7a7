//! Parts of arrays: rows picked by number, rows added in their places, and arrays added to parts of others.

use super::Call;
use crate::elements::{Native, Slice, with_float, with_size};
use crate::error::Fault;
use crate::ir::{IndexMap, Indexed, Operand};
use crate::kernels::copy::{self, Walk, prefetch};
use crate::shape::Shape;

/// How many rows ahead of its copies a gather fetches.
const AHEAD: usize = 8;

pub(super) fn run(indexed: &Indexed, mut call: Call<'_, '_>) -> Result<(), Fault> {
    match (indexed, call.operands) {
        (Indexed::Gather { batch }, &[x, index]) => {
            with_size!(x.ty.dtype, T => gather::<T>(*batch, x.ty.shape, index, &mut call))
        }
        (Indexed::ScatterAdd { batch }, &[acc, part, index]) => {
            with_float!(acc.ty.dtype, T => scatter_add::<T>(*batch, acc, part, index, &mut call))
        }
        (Indexed::AddPart(map), &[acc, part]) => {
            with_float!(acc.ty.dtype, T => add_part::<T>(map, acc, part, &mut call))
        }
        _ => Err(Fault::Type),
    }
}

/// For position `i` of an index, or of the blocks of a call: which row of an array, or of the same batches of it, it picks.
/// `before` blocks were left out.
fn row(batch: usize, x: Shape, index: &Operand<'_>, i: usize, before: usize) -> Result<usize, Fault> {
    let found = match index.data {
        Slice::U8(v) => v.get(i).map(|&v| i64::from(v)),
        Slice::U32(v) => v.get(i).map(|&v| i64::from(v)),
        Slice::I64(v) => v.get(i).copied(),
        _ => None,
    };
    let (found, below) = (found.ok_or(Fault::Type)?, x[batch]);
    let picks: usize = index.ty.shape[batch..].iter().product();
    match usize::try_from(found).ok().filter(|&r| r < below) {
        Some(row) => Ok(i / picks * below + row),
        None => {
            let block = if batch > 0 { picks } else { 1 };
            Err(Fault::Index { position: before * block + i, found, below })
        }
    }
}

fn gather<T: bytemuck::Pod>(
    batch: usize,
    x: Shape,
    index: Operand<'_>,
    call: &mut Call<'_, '_>,
) -> Result<(), Fault> {
    let width: usize = x[batch + 1..].iter().product();
    let (before, picks) = (call.blocks.start, index.data.len());
    let rows = |i| row(batch, x, &index, i, before);
    let (from, out) = call.bits::<T>(0)?;
    for i in 0..picks {
        if i + AHEAD < picks
            && let Ok(row) = rows(i + AHEAD)
        {
            prefetch(&from[row * width..(row + 1) * width]);
        }
        let row = rows(i)?;
        out[i * width..(i + 1) * width].copy_from_slice(&from[row * width..(row + 1) * width]);
    }
    Ok(())
}

fn scatter_add<T: Native + std::ops::AddAssign>(
    batch: usize,
    acc: Operand<'_>,
    part: Operand<'_>,
    index: Operand<'_>,
    call: &mut Call<'_, '_>,
) -> Result<(), Fault> {
    let width: usize = acc.ty.shape[batch + 1..].iter().product();
    let (part, before, copy) = (part.elements::<T>()?, call.blocks.start, call.beta == 0.0);
    let out = call.result::<T>(0)?;
    if copy {
        out.copy_from_slice(acc.elements::<T>()?);
    }
    for i in 0..index.data.len() {
        let row = row(batch, acc.ty.shape, &index, i, before)?;
        let into = &mut out[row * width..(row + 1) * width];
        into.iter_mut().zip(&part[i * width..(i + 1) * width]).for_each(|(o, &x)| *o += x);
    }
    Ok(())
}

fn add_part<T: Native + std::ops::AddAssign>(
    map: &IndexMap,
    acc: Operand<'_>,
    part: Operand<'_>,
    call: &mut Call<'_, '_>,
) -> Result<(), Fault> {
    let mut dims = part.ty.shape;
    if Indexed::in_rows(map, acc.ty.shape, dims) {
        dims = dims.with(dims.outermost().0, call.blocks.len());
    }
    let (part, copy) = (part.elements::<T>()?, call.beta == 0.0);
    let out = call.result::<T>(0)?;
    if copy {
        out.copy_from_slice(acc.elements::<T>()?);
    }
    copy::scatter_add(out, part, Walk { dims: &dims, offset: map.offset, strides: &map.strides });
    Ok(())
}
