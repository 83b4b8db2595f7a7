//! Matrices laid out anew for the tiles of a product.

use super::copy::prefetch;
use super::gemm::{Product, Strides};
use super::simd::{Level, Real, Simd, Vector};
use super::tile::tile_rows;
use crate::error::Fault;

/// Bytes in a row of a piece of packed `B`: a whole number of panels at any level.
const PIECE: usize = 192;
/// How many rows ahead of its copies packing fetches.
const AHEAD: usize = 16;
/// Rows of a transposed `B` that are packed at a time.
const TURNED: usize = 128;

/// Columns of a piece of packed `B`.
pub(crate) const fn piece<T>() -> usize {
    PIECE / size_of::<T>()
}

/// Elements of a packed `B`.
pub(crate) fn packed_len<T>(k: usize, n: usize) -> usize {
    k.saturating_mul(n.next_multiple_of(piece::<T>()))
}

/// Packs `n` columns of the `B` of a product, from `start`, a multiple of [`piece`], on, into panels: for each
/// tile's width of columns all `k` rows, one behind the other, with zeros for what is missing of the last
/// vector; behind them the last few columns, if they are computed by themselves.
pub(crate) fn pack<T: Real>(
    level: Level,
    p: &Product,
    (start, n): (usize, usize),
    b: &[T],
    out: &mut [T],
) -> Result<(), Fault> {
    if !p.b.inside(p.k, n, b.len()) || out.len() < packed_len::<T>(p.k, n) {
        return Err(OUTSIDE);
    }
    if p.k > 0 {
        level.run(Pack { p, start, n, b, out });
    }
    Ok(())
}

pub(super) const OUTSIDE: Fault = Fault::Custom("a matrix that leaves its array");

pub(super) struct Pack<'a, T> {
    pub(super) p: &'a Product,
    /// The columns to pack: the first of them in the product, and how many.
    pub(super) start: usize,
    pub(super) n: usize,
    pub(super) b: &'a [T],
    pub(super) out: &'a mut [T],
}
impl<T: Real> Simd<T> for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { p: &Product { k, b: strides, .. }, b, out, .. } = self;
        let wide = self.p.n - self.p.narrow_columns::<V>();
        let n = wide.saturating_sub(self.start).min(self.n);
        let (mut out, last) = out.split_at_mut(k * n.next_multiple_of(V::LANES));
        for (j, to) in (n..self.n).zip(last.chunks_exact_mut(k.max(1))) {
            let from = b[j * strides.columns..].iter().step_by(strides.rows.max(1));
            to.iter_mut().zip(from).for_each(|(to, &x)| *to = x);
        }
        let width = V::VECTORS * V::LANES;
        for column in (0..n).step_by(width) {
            let used = (n - column).min(width);
            let width = used.next_multiple_of(V::LANES);
            let (panel, rest) = out.split_at_mut(k * width);
            out = rest;
            if strides.columns == 1 {
                for (p, to) in panel.chunks_exact_mut(width).enumerate() {
                    let from = p * strides.rows + column;
                    // Long rows lie too far apart for the hardware to see what is next.
                    prefetch(b.get(from + AHEAD * strides.rows..).and_then(|b| b.get(..used)).unwrap_or(&[]));
                    let (from, to) = (&b[from..][..used], &mut to[..width]);
                    if used == V::VECTORS * V::LANES {
                        for (to, from) in to.chunks_exact_mut(V::LANES).zip(from.chunks_exact(V::LANES)) {
                            // SAFETY: both are as long as a register.
                            unsafe { V::load(from.as_ptr()).store(to.as_mut_ptr()) };
                        }
                    } else {
                        to[..used].copy_from_slice(from);
                        to[used..].fill(T::default());
                    }
                }
            } else {
                // Column by column, as the operand holds them side by side, and few rows at a time, so that
                // what was written stays in the first cache until the lines are full.
                for (block, panel) in panel.chunks_mut(TURNED * width).enumerate() {
                    for j in 0..width {
                        let to = panel[j..].iter_mut().step_by(width);
                        if j < used {
                            let first = (column + j) * strides.columns + block * TURNED * strides.rows;
                            let from = b[first..].iter().step_by(strides.rows.max(1));
                            to.zip(from).for_each(|(to, &x)| *to = x);
                        } else {
                            to.for_each(|to| *to = T::default());
                        }
                    }
                }
            }
        }
    }
}

/// Packs rows of `A` into tiles: for each tile all columns, the rows of a column side by side.
#[inline(always)]
pub(super) fn pack_left<V: Vector>(
    a: &[V::Scalar],
    strides: Strides,
    (m0, m): (usize, usize),
    (k0, k): (usize, usize),
    out: &mut [V::Scalar],
) {
    let mut i = 0;
    while i < m {
        let rows = tile_rows::<V>(m - i);
        let from = &a[(m0 + i) * strides.rows + k0 * strides.columns..];
        let to = &mut out[i * k..(i + rows) * k];
        match rows {
            // The length is known when compiling: a copy of registers, not a call.
            6 if strides.rows == 1 => turn::<_, 6>(from, strides.columns, to),
            8 if strides.rows == 1 => turn::<_, 8>(from, strides.columns, to),
            _ => {
                for (p, to) in to.chunks_exact_mut(rows).enumerate() {
                    let from = from[p * strides.columns..].iter().step_by(strides.rows.max(1));
                    to.iter_mut().zip(from).for_each(|(to, &x)| *to = x);
                }
            }
        }
        i += rows;
    }
}

/// Packs the first `R` elements of each row of a matrix.
#[inline(always)]
fn turn<T: Real, const R: usize>(from: &[T], row: usize, to: &mut [T]) {
    for (p, to) in to.as_chunks_mut::<R>().0.iter_mut().enumerate() {
        to.copy_from_slice(&from[p * row..][..R]);
    }
}
