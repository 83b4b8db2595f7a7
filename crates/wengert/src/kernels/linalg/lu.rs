//! Gauss's elimination with row pivots.

use super::triangular::{Triangle, solve};
use super::{BLOCK, subtract, subtract_product};
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
    order.iter_mut().zip(0..).for_each(|(to, i)| *to = i);
    let mut sign = 1;
    for first in (0..n).step_by(BLOCK) {
        let end = n.min(first + BLOCK);
        sign *= isa.run(Panel { n, first, end, a, order });
        if end == n {
            break;
        }
        let size = end - first;
        let (panel, scratch) = scratch.split_at_mut((n - end) * size);
        for (to, from) in panel.chunks_exact_mut(size).zip(a[end * n..].chunks_exact(n)) {
            to.copy_from_slice(&from[first..end]);
        }
        let (above, below) = a.split_at_mut(end * n);
        let left = (&*panel, Strides { rows: size, columns: 1 });
        let right = (&above[first * n + end..], Strides { rows: n, columns: 1 });
        subtract_product(isa, [n - end, n - end, size, n], left, right, &mut below[end..], scratch)?;
    }
    Ok(sign)
}

/// The columns `first..end` below, and the rows `first..end` to the right.
struct Panel<'a, T> {
    n: usize,
    first: usize,
    end: usize,
    a: &'a mut [T],
    order: &'a mut [i64],
}

impl<T: Real> Simd<T> for Panel<'_, T> {
    type Output = i64;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> i64 {
        let Self { n, first, end, a, order } = self;
        let mut sign = 1;
        for k in first..end {
            let mut pivot = k;
            for i in k + 1..n {
                if a[i * n + k].abs() > a[pivot * n + k].abs() {
                    pivot = i;
                }
            }
            if pivot != k {
                let (low, high) = a.split_at_mut(pivot * n);
                low[k * n..][..n].swap_with_slice(&mut high[..n]);
                order.swap(k, pivot);
                sign = -sign;
            }
            let divisor = a[k * n + k];
            if divisor == T::default() {
                continue;
            }
            let (above, below) = a.split_at_mut((k + 1) * n);
            let row = &above[k * n..];
            for other in below.chunks_exact_mut(n) {
                let factor = other[k] / divisor;
                other[k] = factor;
                subtract::<V>(&mut other[k + 1..end], factor, &row[k + 1..end]);
            }
        }
        for i in first..end {
            for k in first..i {
                let (above, row) = a.split_at_mut(i * n);
                let factor = row[k];
                subtract::<V>(&mut row[end..n], factor, &above[k * n + end..][..n - end]);
            }
        }
        sign
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
        solve(isa, lower, [n, m], factors, x, scratch)?;
        return solve(isa, upper, [n, m], factors, x, scratch);
    }
    let (copy, scratch) = scratch.split_at_mut(n * m);
    copy.copy_from_slice(b);
    solve(isa, upper, [n, m], factors, copy, scratch)?;
    solve(isa, lower, [n, m], factors, copy, scratch)?;
    for i in 0..n {
        x[rows(i)? * m..][..m].copy_from_slice(&copy[i * m..][..m]);
    }
    Ok(())
}
