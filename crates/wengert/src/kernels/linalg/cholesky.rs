//! The lower triangular factor of a positive definite matrix.

use std::ops::Range;

use super::triangular::{Triangle, solve_block};
use super::{BLOCK, copy, distance, half, subtract, subtract_product};
use crate::error::Fault;
use crate::kernels::product::Strides;
use crate::kernels::simd::{Isa, Real, Simd, Vector};

/// Writes the lower triangular `L` with `L Lᵀ = A`, of the symmetric part of a matrix. An error names the first pivot that is not positive.
///
/// It is `Lᵀ` that is computed, for its rows lie beside each other: in a copy, whose rows are at a distance that suits a cache.
pub(crate) fn cholesky<T: Real>(
    isa: Isa,
    n: usize,
    a: &[T],
    out: &mut [T],
    scratch: &mut [T],
) -> Result<(), usize> {
    let row = distance(n);
    let (upper, scratch) = scratch.split_at_mut(n * row);
    symmetric(n, a, upper, row);
    factor(isa, row, 0..n, upper, scratch)?;
    transpose(n, upper, row, out);
    Ok(())
}

/// Replaces the upper triangle of some rows and columns by their factor: first of half of them, with which the rest is brought to what remains to be factored.
fn factor<T: Real>(
    isa: Isa,
    n: usize,
    Range { start, end }: Range<usize>,
    a: &mut [T],
    scratch: &mut [T],
) -> Result<(), usize> {
    if end - start <= BLOCK {
        return isa
            .narrow(Corner { n, size: end - start, a: &mut a[start * n + start..] })
            .map_err(|k| start + k);
    }
    let middle = start + half(end - start);
    factor(isa, n, start..middle, a, scratch)?;
    let outside = |_: Fault| start;
    solve_rows(isa, n, start..middle, middle..end, a, scratch).map_err(outside)?;
    subtract_square(isa, n, start..middle, middle..end, a, scratch).map_err(outside)?;
    factor(isa, n, middle..end, a, scratch)
}

/// Replaces the numbers `B` in some rows and columns by the solution of `Uᵀ X = B`, of the triangle `U` in those rows.
fn solve_rows<T: Real>(
    isa: Isa,
    n: usize,
    Range { start, end }: Range<usize>,
    columns: Range<usize>,
    a: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    let size = end - start;
    if size <= BLOCK {
        let (corner, scratch) = scratch.split_at_mut(size * size);
        copy(size, (&a[start * n + start..], n), (corner, size));
        let triangle = Triangle { lower: false, transposed: true, unit: false };
        let right = (&mut a[start * n + columns.start..], n);
        solve_block(isa, triangle, [size, columns.len()], (corner, size), right, scratch);
        return Ok(());
    }
    let middle = start + half(size);
    solve_rows(isa, n, start..middle, columns.clone(), a, scratch)?;
    subtract_rows(isa, n, start..middle, middle..end, columns.clone(), a, scratch)?;
    solve_rows(isa, n, middle..end, columns, a, scratch)
}

/// From the upper triangle of some rows and columns subtracts the product of rows above with themselves.
fn subtract_square<T: Real>(
    isa: Isa,
    n: usize,
    above: Range<usize>,
    Range { start, end }: Range<usize>,
    a: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    if end - start <= BLOCK {
        return subtract_rows(isa, n, above, start..end, start..end, a, scratch);
    }
    let middle = start + half(end - start);
    subtract_square(isa, n, above.clone(), start..middle, a, scratch)?;
    subtract_rows(isa, n, above.clone(), start..middle, middle..end, a, scratch)?;
    subtract_square(isa, n, above, middle..end, a, scratch)
}

/// From some rows and columns subtracts the product of rows above: of their columns that have the numbers of these rows, and of these columns.
fn subtract_rows<T: Real>(
    isa: Isa,
    n: usize,
    above: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
    a: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    let (known, rest) = a.split_at_mut(rows.start * n);
    let known = &known[above.start * n..];
    let left = (&known[rows.start..], Strides { rows: 1, columns: n });
    let right = (&known[columns.start..], Strides { rows: n, columns: 1 });
    let sizes = [rows.len(), columns.len(), above.len(), n];
    subtract_product(isa, sizes, left, right, &mut rest[columns.start..], scratch)
}

/// Rows and columns of a square that is transposed at once: a line of memory each, or two.
const SIDE: usize = 8;

/// Writes the upper triangle of the symmetric part of a matrix.
fn symmetric<T: Real>(n: usize, a: &[T], out: &mut [T], out_row: usize) {
    let half = T::from_f64(0.5);
    if n <= BLOCK {
        for i in 0..n {
            (i..n).for_each(|j| out[i * out_row + j] = (a[i * n + j] + a[j * n + i]) * half);
        }
        return;
    }
    squares(n, |rows, columns| {
        let square = read(a, n, &columns, &rows);
        for (i, row) in rows.enumerate() {
            let from = &a[row * n..][columns.clone()];
            let to = &mut out[row * out_row..][columns.clone()];
            for ((to, &from), other) in to.iter_mut().zip(from).zip(&square) {
                *to = (from + other[i]) * half;
            }
        }
    });
}

/// Writes the lower triangular transpose of an upper triangle.
fn transpose<T: Real>(n: usize, a: &[T], a_row: usize, out: &mut [T]) {
    if n <= BLOCK {
        for (i, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
            row.iter_mut().take(i + 1).enumerate().for_each(|(j, to)| *to = a[j * a_row + i]);
            row[i + 1..].fill(T::default());
        }
        return;
    }
    squares(n, |rows, columns| {
        let square = read(a, a_row, &rows, &columns);
        for (j, column) in columns.clone().enumerate() {
            let to = &mut out[column * n..][rows.clone()];
            to.iter_mut().zip(&square).for_each(|(to, row)| *to = row[j]);
        }
        for row in rows {
            out[row * n..][columns.start.max(row + 1).min(columns.end)..columns.end].fill(T::default());
        }
    });
}

/// The squares of the upper triangle and its diagonal.
fn squares(n: usize, mut with: impl FnMut(Range<usize>, Range<usize>)) {
    let range = |first: usize| first..n.min(first + SIDE);
    for top in (0..n).step_by(SIDE) {
        (top..n).step_by(SIDE).for_each(|left| with(range(top), range(left)));
    }
}

/// A copy: rows that are far apart may have no room beside each other in the cache.
fn read<T: Real>(a: &[T], a_row: usize, rows: &Range<usize>, columns: &Range<usize>) -> [[T; SIDE]; SIDE] {
    let mut square = [[T::default(); SIDE]; SIDE];
    for (to, row) in square.iter_mut().zip(rows.clone()) {
        to.iter_mut().zip(&a[row * a_row..][columns.clone()]).for_each(|(to, &from)| *to = from);
    }
    square
}

/// The transposed factor of the first `size` rows and columns, in place.
struct Corner<'a, T> {
    n: usize,
    size: usize,
    a: &'a mut [T],
}

impl<T: Real> Simd<T> for Corner<'_, T> {
    type Output = Result<(), usize>;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> Result<(), usize> {
        let Self { n, size, a } = self;
        for k in 0..size {
            let pivot = a[k * n + k];
            // A NaN is not positive either.
            if pivot.partial_cmp(&T::default()) != Some(std::cmp::Ordering::Greater) {
                return Err(k);
            }
            let root = pivot.sqrt();
            let row = &mut a[k * n..][..size];
            row[k] = root;
            row[k + 1..].iter_mut().for_each(|x| *x = *x / root);
            for i in k + 1..size {
                let (above, row) = a.split_at_mut(i * n);
                let known = &above[k * n + i..][..size - i];
                subtract::<V>(&mut row[i..size], known[0], known);
            }
        }
        Ok(())
    }
}
