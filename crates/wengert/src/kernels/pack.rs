//! Matrices laid out anew for the tiles of a product.

use std::iter::repeat;

use super::copy::prefetch;
use super::product::{Product, Strides};
use super::simd::{Isa, Real, Simd, Vector, WIDEST};
use super::tile::tile_rows;
use crate::error::Fault;

/// Bytes in a row of a piece of packed `B`: a whole number of panels at any instruction set.
const PIECE: usize = 192;
/// How many rows ahead of its copies packing fetches.
const AHEAD: usize = 32;

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
    isa: Isa,
    p: &Product,
    (start, n): (usize, usize),
    b: &[T],
    out: &mut [T],
) -> Result<(), Fault> {
    if !p.b.inside(p.k, n, b.len()) || out.len() < packed_len::<T>(p.k, n) {
        return Err(OUTSIDE);
    }
    if p.k > 0 {
        isa.run(Pack { p, start, n, rest: false, b, out });
    }
    Ok(())
}

pub(super) const OUTSIDE: Fault = Fault::Custom("a matrix that leaves its array");

pub(super) struct Pack<'a, T> {
    pub(super) p: &'a Product,
    /// The columns to pack: the first of them in the product, and how many.
    pub(super) start: usize,
    pub(super) n: usize,
    /// Whether only what a product does not read where it lies is packed.
    pub(super) rest: bool,
    pub(super) b: &'a [T],
    pub(super) out: &'a mut [T],
}
impl<T: Real> Simd<T> for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { p: &Product { k, b: strides, .. }, mut start, mut n, mut b, out, .. } = self;
        if self.rest {
            start = self.p.plain_columns::<V>();
            (n, b) = (n - start, b.get(start * strides.columns..).unwrap_or(&[]));
        }
        let (all, wide) = (n, self.p.n - self.p.skinny_columns::<V>());
        let n = wide.saturating_sub(start).min(all);
        let (mut out, last) = out.split_at_mut(k * n.next_multiple_of(V::LANES));
        for (j, to) in (n..all).zip(last.chunks_exact_mut(k.max(1))) {
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
                for group in (0..width).step_by(V::LANES) {
                    let lanes = (used - group).min(V::LANES);
                    let from = &b[(column + group) * strides.columns..];
                    let whole = V::LANES > 1 && lanes == V::LANES && strides.rows == 1;
                    let turned = if whole { k / V::LANES * V::LANES } else { 0 };
                    for p in (0..turned).step_by(V::LANES) {
                        let lines = transpose::<V, WIDEST>(V::LANES, |j| &from[j * strides.columns + p..]);
                        for (i, line) in lines.iter().enumerate().take(V::LANES) {
                            let to = &mut panel[(p + i) * width + group..][..V::LANES];
                            // SAFETY: as long as a register.
                            unsafe { line.store(to.as_mut_ptr()) };
                        }
                    }
                    for (p, to) in panel.chunks_exact_mut(width).enumerate().skip(turned) {
                        let to = &mut to[group..][..V::LANES];
                        let numbers = (0..lanes).map(|j| from[j * strides.columns + p * strides.rows]);
                        to.iter_mut().zip(numbers.chain(repeat(T::default()))).for_each(|(to, x)| *to = x);
                    }
                }
            }
        }
    }
}

/// A register from each of so many rows, of which there are a power of two; the columns of these, one behind the
/// other, fill as many registers.
#[inline(always)]
fn transpose<'a, V: Vector, const R: usize>(rows: usize, row: impl Fn(usize) -> &'a [V::Scalar]) -> [V; R] {
    let mut old = [V::all(Default::default()); R];
    for (i, old) in old.iter_mut().enumerate().take(rows) {
        let from = &row(i)[..V::LANES];
        // SAFETY: as long as a register.
        *old = unsafe { V::load(from.as_ptr()) };
    }
    // Each round makes the highest bit of the row's number the lowest of the place.
    for _ in 0..rows.ilog2() {
        let mut new = old;
        for i in 0..rows / 2 {
            (new[2 * i], new[2 * i + 1]) = old[i].zip(old[i + rows / 2]);
        }
        old = new;
    }
    old
}

/// Columns of `A` that are packed at a time where their elements lie side by side: each line of the cache is read
/// by two tiles, and those of many columns push one another out.
const NEAR: usize = 8;

/// Packs rows of `A` into tiles: for each tile all columns, the rows of a column side by side.
#[inline(always)]
pub(super) fn pack_left<V: Vector>(
    a: &[V::Scalar],
    strides: Strides,
    (m0, m): (usize, usize),
    (k0, k): (usize, usize),
    out: &mut [V::Scalar],
) {
    let step = if strides.rows == 1 { NEAR } else { k.max(1) };
    for p0 in (0..k).step_by(step) {
        let columns = step.min(k - p0);
        if strides.rows == 1 {
            for p in p0 + step..k.min(p0 + 2 * step) {
                prefetch(&a[m0 + (k0 + p) * strides.columns..][..m]);
            }
        }
        let mut i = 0;
        while i < m {
            let rows = tile_rows::<V>(m - i);
            let from = &a[(m0 + i) * strides.rows + (k0 + p0) * strides.columns..];
            let to = &mut out[i * k + p0 * rows..][..rows * columns];
            // The tiles of most rows are copied, or turned, in registers: their number is known when compiling.
            let done = match (rows, strides) {
                (6, Strides { rows: 1, columns }) if const { V::ROWS == 6 } => {
                    beside::<_, 6>(from, columns, to)
                }
                (7, Strides { rows: 1, columns }) if const { V::ROWS == 8 } => {
                    beside::<_, 7>(from, columns, to)
                }
                (8, Strides { rows: 1, columns }) if const { V::ROWS == 8 } => {
                    beside::<_, 8>(from, columns, to)
                }
                (8, Strides { rows, columns: 1 }) if const { V::ROWS == 8 } => {
                    let done = columns / V::LANES * V::LANES;
                    for (p, to) in (0..done).step_by(V::LANES).zip(to.chunks_exact_mut(8 * V::LANES)) {
                        let columns = transpose::<V, 8>(8, |i| &from[i * rows + p..]);
                        for (column, to) in columns.iter().zip(to.chunks_exact_mut(V::LANES)) {
                            // SAFETY: as long as a register.
                            unsafe { column.store(to.as_mut_ptr()) };
                        }
                    }
                    done
                }
                _ => 0,
            };
            for (p, to) in to.chunks_exact_mut(rows).enumerate().skip(done) {
                let from = from[p * strides.columns..].iter().step_by(strides.rows.max(1));
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = x);
            }
            i += rows;
        }
    }
}

/// Packs the first `R` elements of each row of a matrix. Returns how many rows there were.
#[inline(always)]
fn beside<T: Real, const R: usize>(from: &[T], row: usize, to: &mut [T]) -> usize {
    let tiles = to.as_chunks_mut::<R>().0;
    for (p, to) in tiles.iter_mut().enumerate() {
        to.copy_from_slice(&from[p * row..][..R]);
    }
    tiles.len()
}
