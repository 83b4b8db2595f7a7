//! Square matrices by elimination: Cholesky's and Gauss's factors, triangular systems, cofactors. All row-major and in place.
//!
//! What is large is cut into blocks of [`BLOCK`] rows, of which all but the block itself is a matrix product (Golub and Van Loan, "Matrix Computations", §3.2 and §4.2). Sizes
//! alone say how, so a matrix has the same bits in every batch and plan.

mod batch;
mod cholesky;
mod cofactor;
mod lu;
#[cfg(test)]
mod tests;
mod triangular;

pub(crate) use batch::{choleskys, lus, solves};
use cholesky::cholesky;
pub(crate) use cofactor::{cofactors, cofactors_scratch};
pub(crate) use lu::lu;
use lu::lu_solve;
pub(crate) use triangular::{Triangle, solve};

use super::gemm::{self, gemm};
use super::product::{Product, Right, Strides};
use super::simd::{Isa, Real, Vector};
use crate::error::Fault;

/// Rows of a block: the products beside it are most of the work, and it stays in the first cache.
const BLOCK: usize = 48;

/// How many of many rows are factored before the others: half of them, in whole registers; of very many so few that a product has little to copy.
fn half(rows: usize) -> usize {
    (rows / 2).next_multiple_of(8).min(256)
}

/// How far apart rows of so many numbers are that do not come to lie in the same few places of a cache.
fn distance(columns: usize) -> usize {
    if columns < BLOCK { columns } else { (columns.div_ceil(16) | 1) * 16 }
}

/// Elements of scratch for factors of `n` rows, and for systems of `m` columns: copies of half of the columns, then of half of those, …, and what a product or a system needs.
pub(crate) fn scratch<T>(n: usize, m: usize) -> usize {
    let copies = n.saturating_mul(n.saturating_add(2 * BLOCK));
    let product = gemm::scratch_len::<T>(half(n), n);
    let single = copies.saturating_add(product.max(triangular::scratch::<T>(n, n.max(m))));
    single.max(batch::scratch(n, m))
}

/// Copies as many columns of rows that lie so far apart.
fn copy<T: Copy>(columns: usize, (from, from_row): (&[T], usize), (to, to_row): (&mut [T], usize)) {
    for (to, from) in to.chunks_mut(to_row).zip(from.chunks(from_row)) {
        to[..columns].copy_from_slice(&from[..columns]);
    }
}

/// `y − a·x`, in place, each element by one fused multiply-add.
#[inline(always)]
fn subtract<V: Vector>(y: &mut [V::Scalar], a: V::Scalar, x: &[V::Scalar]) {
    let len = y.len().min(x.len());
    let (a, whole) = (V::all(-a), len / V::LANES * V::LANES);
    let (to, from) = (y.as_mut_ptr(), x.as_ptr());
    // SAFETY: both have `len` elements.
    unsafe {
        for i in (0..whole).step_by(V::LANES) {
            a.mul_add(V::load(from.add(i)), V::load(to.add(i))).store(to.add(i));
        }
        if whole < len {
            let part = a.mul_add(
                V::load_part(from.add(whole), len - whole),
                V::load_part(to.add(whole), len - whole),
            );
            part.store_part(to.add(whole), len - whole);
        }
    }
}

/// `C − A·B`, in place, for `m` rows and `n` columns of `C` that lie `row` apart, and `k` products for each.
fn subtract_product<T: Real>(
    isa: Isa,
    [m, n, k, row]: [usize; 4],
    (a, a_strides): (&[T], Strides),
    (b, b_strides): (&[T], Strides),
    c: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    let p = Product {
        m,
        n,
        k,
        a: a_strides,
        b: b_strides,
        c: row,
        beta: 1.0,
        alpha: -1.0,
        skinny: false,
        gates: 0,
    };
    gemm(isa, &p, a, Right::Plain(b), c, scratch)
}
