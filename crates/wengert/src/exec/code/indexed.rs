//! Parts of arrays: rows picked by number, rows added in their places, and arrays added to parts of others.

use super::Call;
use crate::elements::{Slice, with_float, with_size};
use crate::error::Fault;
use crate::ir::{IndexMap, Indexed, Operand, ScatterMode};
use crate::kernels::copy::{self, Walk, prefetch};
use crate::shape::Shape;

/// How many rows ahead of its copies a gather fetches.
const AHEAD: usize = 8;

pub(super) fn run(indexed: &Indexed, mut call: Call<'_, '_>) -> Result<(), Fault> {
    match (indexed, call.operands) {
        (Indexed::Gather { batch }, &[x, index]) => {
            with_size!(x.ty.dtype, T => gather::<T>(*batch, x.ty.shape, index, &mut call))
        }
        (Indexed::Scatter { batch, mode }, &[acc, _, index]) => {
            let before = call.blocks.start;
            if *mode == ScatterMode::Set {
                return with_size!(acc.ty.dtype, T => {
                    let (to, from) = begin::<T>(&mut call)?;
                    scatter(*batch, acc.ty.shape, from, index, before, to, |o, x| *o = x)
                });
            }
            with_float!(acc.ty.dtype, T => {
                let (to, from) = begin::<T>(&mut call)?;
                scatter(*batch, acc.ty.shape, from, index, before, to, |o, x| match mode {
                    ScatterMode::Max if x > *o || x.is_nan() => *o = x,
                    ScatterMode::Max => {}
                    _ => *o += x,
                })
            })
        }
        (Indexed::AddPart(map), &[acc, part]) => {
            with_float!(acc.ty.dtype, T => {
                let dims = part_of_call(map, acc.ty.shape, part.ty.shape, call.blocks.len());
                let (to, from) = begin::<T>(&mut call)?;
                let walk = Walk { dims: &dims, offset: map.offset, strides: &map.strides };
                copy::scatter(to, from, walk, |o, x| *o += x);
                Ok(())
            })
        }
        (Indexed::SetPart(map), &[acc, part]) => {
            with_size!(acc.ty.dtype, T => {
                let dims = part_of_call(map, acc.ty.shape, part.ty.shape, call.blocks.len());
                let (to, from) = begin::<T>(&mut call)?;
                let walk = Walk { dims: &dims, offset: map.offset, strides: &map.strides };
                copy::scatter(to, from, walk, |o, x| *o = x);
                Ok(())
            })
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

/// Calls a function with each position of an index and the row that it picks, as [`row`] says.
fn elements(
    batch: usize,
    x: Shape,
    index: &Operand<'_>,
    before: usize,
    with: impl FnMut(usize, usize),
) -> Result<(), Fault> {
    fn each<I: Copy + Into<i64>>(
        index: &[I],
        (picks, below): (usize, usize),
        mut with: impl FnMut(usize, usize),
    ) -> Result<(), usize> {
        for (block, index) in index.chunks(picks.max(1)).enumerate() {
            for (i, &found) in index.iter().enumerate() {
                match usize::try_from(found.into()).ok().filter(|&row| row < below) {
                    Some(row) => with(block * picks + i, block * below + row),
                    None => return Err(block * picks + i),
                }
            }
        }
        Ok(())
    }
    let sizes = (index.ty.shape[batch..].iter().product(), x[batch]);
    let outcome = match index.data {
        Slice::U8(v) => each(v, sizes, with),
        Slice::U32(v) => each(v, sizes, with),
        Slice::I64(v) => each(v, sizes, with),
        _ => return Err(Fault::Type),
    };
    // The error is that of the row that was not found.
    outcome.or_else(|i| row(batch, x, index, i, before).map(|_| ()))
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
    if width == 1 {
        return elements(batch, x, &index, before, |i, row| out[i] = from[row]);
    }
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

/// The result, which begins as the first operand unless it lies where that does, and the second, which is written to it.
fn begin<'c, T: bytemuck::Pod>(call: &'c mut Call<'_, '_>) -> Result<(&'c mut [T], &'c [T]), Fault> {
    let (acc, copy) = (call.operands.first().ok_or(Fault::Type)?.data, call.beta == 0.0);
    let (part, out) = call.bits::<T>(1)?;
    if copy {
        out.copy_from_slice(bytemuck::try_cast_slice(acc.as_bytes()).map_err(|_| Fault::Type)?);
    }
    Ok((out, part))
}

fn scatter<T: Copy>(
    batch: usize,
    acc: Shape,
    part: &[T],
    index: Operand<'_>,
    before: usize,
    out: &mut [T],
    write: impl Fn(&mut T, T),
) -> Result<(), Fault> {
    let width: usize = acc[batch + 1..].iter().product();
    if width == 1 {
        return elements(batch, acc, &index, before, |i, row| write(&mut out[row], part[i]));
    }
    for i in 0..index.data.len() {
        let row = row(batch, acc, &index, i, before)?;
        let into = &mut out[row * width..(row + 1) * width];
        into.iter_mut().zip(&part[i * width..(i + 1) * width]).for_each(|(o, &x)| write(o, x));
    }
    Ok(())
}

/// The shape of the part that a call of so many blocks writes.
fn part_of_call(map: &IndexMap, of: Shape, part: Shape, blocks: usize) -> Shape {
    if Indexed::in_rows(map, of, part) { part.with(part.outermost().0, blocks) } else { part }
}
