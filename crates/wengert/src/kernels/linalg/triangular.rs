//! Triangular systems.

use super::{BLOCK, subtract_product};
use crate::error::Fault;
use crate::kernels::gemm;
use crate::kernels::product::Strides;
use crate::kernels::simd::{Isa, Real, Simd, Vector, WIDEST};

/// Which triangle of a matrix is meant, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Triangle {
    /// The lower one; else the upper.
    pub(crate) lower: bool,
    /// Rows for columns.
    pub(crate) transposed: bool,
    /// With ones on the diagonal, whatever is there.
    pub(crate) unit: bool,
}

impl Triangle {
    /// Whether the first row is known first, or the last.
    pub(super) fn forward(self) -> bool {
        self.lower != self.transposed
    }
}

/// Registers of right sides that are solved together.
const TOGETHER: usize = 8;

/// Elements of scratch for systems of `n` rows and `m` columns.
pub(super) fn scratch<T>(n: usize, m: usize) -> usize {
    let block = n.min(BLOCK).saturating_mul(m.min(TOGETHER * WIDEST).next_multiple_of(WIDEST));
    if n > BLOCK { block.max(gemm::scratch_len::<T>(BLOCK, m)) } else { block }
}

/// Replaces the `n` rows of `x`, of `m` numbers, by the solution of `T X = x`, of a triangle of `t`. Rows of both are as far apart as is given with them.
pub(crate) fn solve<T: Real>(
    isa: Isa,
    triangle: Triangle,
    [n, m]: [usize; 2],
    (t, t_row): (&[T], usize),
    (x, x_row): (&mut [T], usize),
    scratch: &mut [T],
) -> Result<(), Fault> {
    if m == 0 {
        return Ok(());
    }
    let forward = triangle.forward();
    let strides = if triangle.transposed {
        Strides { rows: 1, columns: t_row }
    } else {
        Strides { rows: t_row, columns: 1 }
    };
    let blocks = n.div_ceil(BLOCK);
    for block in 0..blocks {
        let first = BLOCK * if forward { block } else { blocks - 1 - block };
        let end = n.min(first + BLOCK);
        let corner = (&t[first * t_row + first..], t_row);
        solve_block(isa, triangle, [end - first, m], corner, (&mut x[first * x_row..], x_row), scratch);
        // The other rows, minus the product with what is known now.
        let (rest, from) = if forward { (n - end, end) } else { (first, 0) };
        if rest == 0 {
            continue;
        }
        let (low, high) = x.split_at_mut(if forward { end } else { first } * x_row);
        let (known, others) = if forward { (&low[first * x_row..], high) } else { (&*high, low) };
        let part = &t[from * strides.rows + first * strides.columns..];
        let right = (known, Strides { rows: x_row, columns: 1 });
        subtract_product(isa, [rest, m, end - first, x_row], (part, strides), right, others, scratch)?;
    }
    Ok(())
}

/// The same for at most [`BLOCK`] rows, where rows of the triangle and of `x` are as far apart as is given with them.
pub(super) fn solve_block<T: Real>(
    isa: Isa,
    triangle: Triangle,
    [n, m]: [usize; 2],
    t: (&[T], usize),
    x: (&mut [T], usize),
    scratch: &mut [T],
) {
    if n > 0 {
        isa.run(Block { triangle, n, m, t, x, scratch });
    }
}

struct Block<'a, T> {
    triangle: Triangle,
    n: usize,
    m: usize,
    t: (&'a [T], usize),
    x: (&'a mut [T], usize),
    scratch: &'a mut [T],
}

impl<T: Real> Simd<T> for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(mut self) {
        let mut column = 0;
        while column < self.m {
            let left = self.m - column;
            let width = if left >= TOGETHER * V::LANES {
                self.columns::<V, TOGETHER>(column)
            } else if left > V::LANES {
                self.columns::<V, 2>(column)
            } else {
                self.columns::<V, 1>(column)
            };
            column += width;
        }
    }
}

impl<T: Real> Block<'_, T> {
    /// Solves for as many columns as `N` registers hold, or as there are: in a copy of them that has no gaps. Says how many.
    #[inline(always)]
    fn columns<V: Vector<Scalar = T>, const N: usize>(&mut self, column: usize) -> usize {
        let Self { triangle, n, m, t: (t, t_row), x: (x, x_row), scratch } = self;
        let (Triangle { transposed, unit, .. }, n, t_row, x_row) = (*triangle, *n, *t_row, *x_row);
        let (width, count) = (N * V::LANES, (*m - column).min(N * V::LANES));
        let copy = &mut scratch[..n * width];
        for (to, from) in copy.chunks_exact_mut(width).zip(x[column..].chunks(x_row)) {
            to[..count].copy_from_slice(&from[..count]);
            to[count..].fill(T::default());
        }
        let at = |i: usize, j: usize| if transposed { t[j * t_row + i] } else { t[i * t_row + j] };
        let forward = triangle.forward();
        for step in 0..n {
            let i = if forward { step } else { n - 1 - step };
            let mut row = [V::all(T::default()); N];
            for (k, row) in row.iter_mut().enumerate() {
                // SAFETY: the copy has `n` rows of `N` registers.
                *row = unsafe { V::load(copy[i * width..][..width].as_ptr().add(k * V::LANES)) };
            }
            for earlier in 0..step {
                let j = if forward { earlier } else { n - 1 - earlier };
                let (factor, known) = (V::all(-at(i, j)), copy[j * width..][..width].as_ptr());
                for (k, row) in row.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *row = factor.mul_add(unsafe { V::load(known.add(k * V::LANES)) }, *row);
                }
            }
            let pivot = V::all(at(i, i));
            for (k, row) in row.iter().enumerate() {
                let row = if unit { *row } else { *row / pivot };
                // SAFETY: as above.
                unsafe { row.store(copy[i * width..][..width].as_mut_ptr().add(k * V::LANES)) };
            }
        }
        for (from, to) in copy.chunks_exact(width).zip(x[column..].chunks_mut(x_row)) {
            to[..count].copy_from_slice(&from[..count]);
        }
        count
    }
}
