//! The lower triangular factor of a positive definite matrix.

use super::{BLOCK, subtract, subtract_product};
use crate::error::Fault;
use crate::kernels::product::Strides;
use crate::kernels::simd::{Isa, Real, Simd, Vector};

/// Replaces the lower triangle of a symmetric matrix by `L` with `L Lᵀ = A`, and the rest by zeros. An error names the first pivot that is not positive.
pub(crate) fn cholesky<T: Real>(isa: Isa, n: usize, a: &mut [T], scratch: &mut [T]) -> Result<(), usize> {
    let outside = |_: Fault| n;
    for first in (0..n).step_by(BLOCK) {
        let end = n.min(first + BLOCK);
        isa.run(Panel { n, first, end, a, column: &mut scratch[..n] })?;
        if end == n {
            break;
        }
        // What is left, minus the product of the panel with itself: by rows, of which each needs no more than its triangle.
        let size = end - first;
        let (panel, scratch) = scratch.split_at_mut((n - end) * size);
        for (to, from) in panel.chunks_exact_mut(size).zip(a[end * n..].chunks_exact(n)) {
            to.copy_from_slice(&from[first..end]);
        }
        for top in (end..n).step_by(BLOCK) {
            let bottom = n.min(top + BLOCK);
            let sizes = [bottom - top, bottom - end, size, n];
            let left = (&panel[(top - end) * size..], Strides { rows: size, columns: 1 });
            let right = (&*panel, Strides { rows: 1, columns: size });
            subtract_product(isa, sizes, left, right, &mut a[top * n + end..], scratch).map_err(outside)?;
        }
    }
    for (i, row) in a.chunks_exact_mut(n.max(1)).enumerate() {
        row[i + 1..].fill(T::default());
    }
    Ok(())
}

/// The columns `first..end` of the factor, in all rows below, for a matrix from which earlier columns have been subtracted.
struct Panel<'a, T> {
    n: usize,
    first: usize,
    end: usize,
    a: &'a mut [T],
    /// Room for a column.
    column: &'a mut [T],
}

impl<T: Real> Simd<T> for Panel<'_, T> {
    type Output = Result<(), usize>;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> Result<(), usize> {
        let Self { n, first, end, a, column } = self;
        for k in first..end {
            let pivot = a[k * n + k];
            // A NaN is not positive either.
            if pivot.partial_cmp(&T::default()) != Some(std::cmp::Ordering::Greater) {
                return Err(k);
            }
            let root = pivot.sqrt();
            a[k * n + k] = root;
            for (i, to) in column.iter_mut().enumerate().take(n).skip(k + 1) {
                let number = a[i * n + k] / root;
                (*to, a[i * n + k]) = (number, number);
            }
            for i in k + 1..n {
                let last = end.min(i + 1);
                let row = &mut a[i * n..][..n];
                subtract::<V>(&mut row[k + 1..last.max(k + 1)], column[i], &column[k + 1..last.max(k + 1)]);
            }
        }
        Ok(())
    }
}
