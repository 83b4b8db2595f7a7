//! Gauss's elimination with row pivots.

use super::triangular::{Triangle, solve};
use super::{BLOCK, copy, distance, half, subtract, subtract_product};
use crate::error::Fault;
use crate::kernels::product::Strides;
use crate::kernels::simd::{Isa, Real, Simd, Vector};

/// Replaces a matrix by the factors `L`, with ones on its diagonal, and `U` of its rows in another order: row `i` of `L U` is row `order[i]`. Returns the sign of
/// that order. A column without a pivot is left as it is, so that `U` has a zero there.
pub(crate) fn lu<T: Real>(
    isa: Isa,
    n: usize,
    a: &mut [T],
    order: &mut [i64],
    scratch: &mut [T],
) -> Result<i64, Fault> {
    if n > 0 {
        factor(isa, [n, n], (a, n), order, scratch)?;
    }
    // So far `order` has the row that each was exchanged with, one after the other.
    let mut sign = 1;
    for k in (0..n).rev() {
        let (k_row, pivot) = (k as i64, order[k]);
        if pivot != k_row {
            sign = -sign;
            order[k + 1..].iter_mut().for_each(|row| *row = if *row == pivot { k_row } else { *row });
        }
    }
    Ok(sign)
}

/// Columns that are factored one by one.
const NARROW: usize = 16;

/// Replaces a matrix of at least as many rows as columns, whose rows lie `row` apart, by factors, and writes for each column which row it was exchanged with. First half of the columns, which are
/// copied: neighbours in memory, whatever the distance of rows; then the others, minus the product with those.
fn factor<T: Real>(
    isa: Isa,
    [rows, columns]: [usize; 2],
    (a, row): (&mut [T], usize),
    pivots: &mut [i64],
    scratch: &mut [T],
) -> Result<(), Fault> {
    if columns <= NARROW || rows <= BLOCK {
        let panel = &mut scratch[..rows * columns];
        copy(columns, (a, row), (panel, columns));
        isa.narrow(Panel { columns, panel, pivots });
        copy(columns, (panel, columns), (a, row));
        return Ok(());
    }
    let size = half(columns);
    let (known, rest) = pivots.split_at_mut(size);
    {
        let left_row = distance(size);
        let (left, scratch) = scratch.split_at_mut(rows * left_row);
        copy(size, (a, row), (left, left_row));
        factor(isa, [rows, size], (left, left_row), known, scratch)?;
        copy(size, (left, left_row), (a, row));
        exchange(known, &mut a[size..], row, columns - size);
        let triangle = Triangle { lower: true, transposed: false, unit: true };
        let right = (&mut a[size..], row);
        solve(isa, triangle, [size, columns - size], (left, left_row), right, scratch)?;
        let (above, below) = a.split_at_mut(size * row);
        let lower = (&left[size * left_row..], Strides { rows: left_row, columns: 1 });
        let right = (&above[size..], Strides { rows: row, columns: 1 });
        let sizes = [rows - size, columns - size, size, row];
        subtract_product(isa, sizes, lower, right, &mut below[size..], scratch)?;
    }
    factor(isa, [rows - size, columns - size], (&mut a[size * row + size..], row), rest, scratch)?;
    exchange(rest, &mut a[size * row..], row, size);
    rest.iter_mut().for_each(|pivot| *pivot += size as i64);
    Ok(())
}

/// Exchanges the first numbers of rows.
fn exchange<T>(pivots: &[i64], a: &mut [T], row: usize, columns: usize) {
    for (k, &pivot) in pivots.iter().enumerate() {
        let pivot = pivot as usize;
        if pivot != k {
            let (low, high) = a.split_at_mut(pivot * row);
            low[k * row..][..columns].swap_with_slice(&mut high[..columns]);
        }
    }
}

/// All columns, one by one.
struct Panel<'a, T> {
    columns: usize,
    panel: &'a mut [T],
    pivots: &'a mut [i64],
}

impl<T: Real> Simd<T> for Panel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { columns, panel, pivots } = self;
        let rows = panel.len() / columns.max(1);
        for (k, to) in pivots.iter_mut().enumerate() {
            let mut pivot = k;
            for i in k + 1..rows {
                if panel[i * columns + k].abs() > panel[pivot * columns + k].abs() {
                    pivot = i;
                }
            }
            *to = pivot as i64;
            if pivot != k {
                let (low, high) = panel.split_at_mut(pivot * columns);
                low[k * columns..][..columns].swap_with_slice(&mut high[..columns]);
            }
            let divisor = panel[k * columns + k];
            if divisor == T::default() {
                continue;
            }
            let (above, below) = panel.split_at_mut((k + 1) * columns);
            let row = &above[k * columns..];
            for other in below.chunks_exact_mut(columns) {
                let factor = other[k] / divisor;
                other[k] = factor;
                subtract::<V>(&mut other[k + 1..], factor, &row[k + 1..]);
            }
        }
    }
}

/// Writes the solution of `A X = B` of `m` columns, or of `Aᵀ X = B`, of the factors of `A`.
pub(crate) fn lu_solve<T: Real>(
    isa: Isa,
    transposed: bool,
    [n, m]: [usize; 2],
    (factors, order): (&[T], &[i64]),
    b: &[T],
    (x, scratch): (&mut [T], &mut [T]),
) -> Result<(), Fault> {
    let lower = Triangle { lower: true, transposed, unit: true };
    let upper = Triangle { lower: false, transposed, unit: false };
    let rows = |i: usize| usize::try_from(order[i]).ok().filter(|&row| row < n).ok_or(Fault::Type);
    if !transposed {
        for i in 0..n {
            x[i * m..][..m].copy_from_slice(&b[rows(i)? * m..][..m]);
        }
        solve(isa, lower, [n, m], (factors, n), (x, m), scratch)?;
        return solve(isa, upper, [n, m], (factors, n), (x, m), scratch);
    }
    let (copy, scratch) = scratch.split_at_mut(n * m);
    copy.copy_from_slice(b);
    solve(isa, upper, [n, m], (factors, n), (&mut *copy, m), scratch)?;
    solve(isa, lower, [n, m], (factors, n), (&mut *copy, m), scratch)?;
    for i in 0..n {
        x[rows(i)? * m..][..m].copy_from_slice(&copy[i * m..][..m]);
    }
    Ok(())
}
