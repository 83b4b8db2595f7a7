//! Cofactors, of singular matrices too.

use super::subtract;
use crate::kernels::simd::{Isa, Real, Simd, Vector};

/// Elements of scratch for a matrix of `n` rows.
pub(crate) fn cofactors_scratch(n: usize) -> usize {
    n.saturating_mul(n).saturating_mul(2)
}

/// Writes the matrix of cofactors of `a`: the derivative of its determinant. By elimination with the largest pivots of rows and columns, `P A Q = L U`, of which a singular matrix
/// of one rank less leaves the last pivot alone zero: it is multiplied by, and never divided. Of still lower ranks all cofactors are zero.
pub(crate) fn cofactors<T: Real>(isa: Isa, n: usize, a: &[T], out: &mut [T], scratch: &mut [T]) {
    if n > 0 {
        isa.run(Cofactors { n, a, out, scratch });
    }
}

struct Cofactors<'a, T> {
    n: usize,
    a: &'a [T],
    out: &'a mut [T],
    scratch: &'a mut [T],
}

/// Exchanges two rows.
fn swap_rows<T>(n: usize, a: &mut [T], i: usize, j: usize) {
    if i != j {
        let (low, high) = a.split_at_mut(i.max(j) * n);
        low[i.min(j) * n..][..n].swap_with_slice(&mut high[..n]);
    }
}

impl<T: Real> Simd<T> for Cofactors<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { n, a, out, scratch } = self;
        let (u, y) = scratch[..2 * n * n].split_at_mut(n * n);
        u.copy_from_slice(a);
        // `y` becomes L⁻¹ P. Columns of U lie where they were: `out` keeps their order, as numbers, in its last row until it is filled.
        y.fill(T::default());
        y.iter_mut().step_by(n + 1).for_each(|y| *y = T::from_f64(1.0));
        out.fill(T::default());
        let mut product = T::from_f64(1.0);
        let mut negative = false;
        let last = n - 1;
        for (j, order) in out[last * n..].iter_mut().enumerate() {
            *order = T::from_f64(j as f64);
        }
        for k in 0..last {
            let (mut row, mut column) = (k, k);
            for i in k..n {
                for j in k..n {
                    if u[i * n + j].abs() > u[row * n + column].abs() {
                        (row, column) = (i, j);
                    }
                }
            }
            let pivot = u[row * n + column];
            if pivot == T::default() {
                out.fill(T::default());
                return;
            }
            swap_rows(n, u, k, row);
            swap_rows(n, y, k, row);
            if column != k {
                u.chunks_exact_mut(n).for_each(|row| row.swap(k, column));
                out[last * n..].swap(k, column);
            }
            negative ^= (row != k) ^ (column != k);
            product = product * pivot;
            for i in k + 1..n {
                let (above, below) = u.split_at_mut(i * n);
                let factor = below[k] / pivot;
                subtract::<V>(&mut below[k + 1..n], factor, &above[k * n + k + 1..][..n - k - 1]);
                let (above, below) = y.split_at_mut(i * n);
                subtract::<V>(&mut below[..n], factor, &above[k * n..][..n]);
            }
        }
        // adj U = Π u [d U₁⁻¹, −U₁⁻¹ v; 0, 1] of U = [U₁, v; 0, d], times L⁻¹ P: from its last row upwards.
        let d = u[last * n + last];
        for i in (0..last).rev() {
            let (upper, lower) = y.split_at_mut((i + 1) * n);
            let row = &mut upper[i * n..];
            row.iter_mut().for_each(|y| *y = *y * d);
            subtract::<V>(row, u[i * n + last], &lower[(last - i - 1) * n..][..n]);
            for j in i + 1..last {
                subtract::<V>(row, u[i * n + j], &lower[(j - i - 1) * n..][..n]);
            }
            row.iter_mut().for_each(|y| *y = *y / u[i * n + i]);
        }
        let scale = if negative { -product } else { product };
        // Rows go where the columns of U came from; and the whole is transposed.
        let order = &mut u[..n];
        order.copy_from_slice(&out[last * n..]);
        for (i, row) in y.chunks_exact(n).enumerate() {
            let column = order[i].to_f64() as usize;
            for (j, &number) in row.iter().enumerate() {
                out[j * n + column] = number * scale;
            }
        }
    }
}
