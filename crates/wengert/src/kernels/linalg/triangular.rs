//! Triangular systems.

use super::{BLOCK, subtract, subtract_product};
use crate::error::Fault;
use crate::kernels::product::Strides;
use crate::kernels::simd::{Isa, Real, Simd, Vector};

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

/// Replaces the `n` rows of `x`, of `m` numbers, by the solution of `T X = x`, of a triangle of `t`.
pub(crate) fn solve<T: Real>(
    isa: Isa,
    triangle: Triangle,
    [n, m]: [usize; 2],
    t: &[T],
    x: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    // From the first row on, or from the last.
    let forward = triangle.lower != triangle.transposed;
    let strides =
        if triangle.transposed { Strides { rows: 1, columns: n } } else { Strides { rows: n, columns: 1 } };
    let blocks = n.div_ceil(BLOCK);
    for block in 0..blocks {
        let first = BLOCK * if forward { block } else { blocks - 1 - block };
        let end = n.min(first + BLOCK);
        isa.run(Rows { triangle, n, m, first, end, t, x });
        // The other rows, minus the product with what is known now.
        let (rest, from) = if forward { (n - end, end) } else { (first, 0) };
        let (known, others) = if forward {
            let (known, others) = x.split_at_mut(end * m);
            (&known[first * m..], others)
        } else {
            let (others, known) = x.split_at_mut(first * m);
            (&known[..(end - first) * m], others)
        };
        if rest > 0 && m > 0 {
            let part = &t[from * strides.rows + first * strides.columns..];
            let right = (known, Strides { rows: m, columns: 1 });
            subtract_product(isa, [rest, m, end - first, m], (part, strides), right, others, scratch)?;
        }
    }
    Ok(())
}

/// The rows of a block by themselves.
struct Rows<'a, T> {
    triangle: Triangle,
    n: usize,
    m: usize,
    first: usize,
    end: usize,
    t: &'a [T],
    x: &'a mut [T],
}

impl<T: Real> Simd<T> for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { triangle: Triangle { lower, transposed, unit }, n, m, first, end, t, x } = self;
        let at = |i: usize, j: usize| if transposed { t[j * n + i] } else { t[i * n + j] };
        let forward = lower != transposed;
        for step in first..end {
            let i = if forward { step } else { first + end - 1 - step };
            for earlier in first..step {
                let j = if forward { earlier } else { first + end - 1 - earlier };
                let (low, high) = x.split_at_mut(i.max(j) * m);
                let (row, known) = if forward {
                    (&mut high[..m], &low[j * m..][..m])
                } else {
                    (&mut low[i * m..][..m], &high[..m])
                };
                subtract::<V>(row, at(i, j), known);
            }
            if !unit {
                let pivot = at(i, i);
                x[i * m..][..m].iter_mut().for_each(|x| *x = *x / pivot);
            }
        }
    }
}
