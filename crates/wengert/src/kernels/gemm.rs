//! The matrix product `C (+)= A · B`, serial, in blocks for the caches.
//!
//! The loops are those of K. Goto and R. van de Geijn ("Anatomy of high-performance matrix
//! multiplication", TOMS 2008): a block of `k`, panels of `B` that stay in the first cache, tiles of `C`
//! that stay in registers. Every element of `C` is the sum of its products in the order of `k`, block by
//! block, whatever is computed beside it: a part of `C` has the bits of the whole.

use super::copy::prefetch;
use super::narrow::{self, Narrow};
use super::simd::{Level, Real, Simd, Vector};
use crate::error::Fault;

/// Rows of a tile of `C`.
const MR: usize = 6;
/// Vectors in a row of a tile.
const NV: usize = 2;
/// Bytes of a panel of `B`, which stays in the first cache.
const PANEL: usize = 32 << 10;
/// Rows of `A` whose block of `k` stays in the second cache.
const MC: usize = 16 * MR;
/// How many panels ahead of its copies packing fetches.
const AHEAD: usize = 4;
/// Rows of a transposed `B` that are packed at a time.
const TURNED: usize = 128;
/// The widest register, in bytes.
const WIDEST: usize = 64;
/// With at most this many rows `B` is read where it lies.
pub(crate) const FEW: usize = 2 * MR;
/// Up to this many rows of a transposed `A` stay in the first cache by themselves.
const SHORT: usize = 128;

/// A matrix in memory: element `(i, j)` lies at `i · rows + j · columns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strides {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Strides {
    /// Whether all elements of an `m` by `n` matrix lie inside an array of this length.
    fn inside(self, m: usize, n: usize, len: usize) -> bool {
        let reach = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        m == 0
            || n == 0
            || reach(m, self.rows)
                .zip(reach(n, self.columns))
                .and_then(|(r, c)| r.checked_add(c))
                .is_some_and(|last| last < len)
    }
}

/// `C[m, n] (+)= A[m, k] · B[k, n]`. Neighbours in a row of `C` lie side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Strides,
    pub(crate) b: Strides,
    /// The distance of the rows of `C`.
    pub(crate) c: usize,
    /// Whether `C` is added to.
    pub(crate) accumulate: bool,
    /// Whether a few last columns are computed by themselves. The same for all parts of a product.
    pub(crate) narrow: bool,
}

impl Product {
    fn narrow_columns<V: Vector>(&self) -> usize {
        if self.narrow { narrow::columns(self.n, V::LANES, self.a) } else { 0 }
    }
}

/// Where `B` is.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a, T> {
    /// In an array, by the strides of the product.
    Plain(&'a [T]),
    /// As [`pack`] left it.
    Packed(&'a [T]),
}

/// Columns of a piece of packed `B`: two of the widest registers, so that the layout of any level fits.
pub(crate) const fn piece<T>() -> usize {
    NV * WIDEST / size_of::<T>()
}

/// Elements of a packed `B`.
pub(crate) fn packed_len<T>(k: usize, n: usize) -> usize {
    k.saturating_mul(n.next_multiple_of(piece::<T>()))
}

/// Elements of scratch of a product whose `B` is packed.
pub(crate) fn left_len<T>(k: usize) -> usize {
    // The blocks of `k` are the longest where registers are the narrowest.
    (MC * blocks(k, PANEL / (NV * size_of::<T>())).1).max(narrow::SCRATCH)
}

/// Elements of scratch of a product whose `B` is plain.
pub(crate) fn scratch_len<T>(k: usize, n: usize) -> usize {
    packed_len::<T>(k, n).saturating_add(left_len::<T>(k))
}

/// Cuts `total` into the fewest nearly equal pieces of at most `most`: their number and largest size.
fn blocks(total: usize, most: usize) -> (usize, usize) {
    let count = total.div_ceil(most).max(1);
    (count, total.div_ceil(count))
}

/// Packs `n` columns of the `B` of a product, from `start`, a multiple of [`piece`], on, into panels: for each
/// two vectors of columns all `k` rows, one behind the other, with zeros for what is missing of the last
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

const OUTSIDE: Fault = Fault::Custom("a matrix that leaves its array");

struct Pack<'a, T> {
    p: &'a Product,
    /// The columns to pack: the first of them in the product, and how many.
    start: usize,
    n: usize,
    b: &'a [T],
    out: &'a mut [T],
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
        let width = NV * V::LANES;
        for column in (0..n).step_by(width) {
            let used = (n - column).min(width);
            let width = used.next_multiple_of(V::LANES);
            let (panel, rest) = out.split_at_mut(k * width);
            out = rest;
            if strides.columns == 1 {
                for (p, to) in panel.chunks_exact_mut(width).enumerate() {
                    let from = p * strides.rows + column;
                    // Long rows lie too far apart for the hardware to see what is next.
                    prefetch(b.get(from + AHEAD * width..).and_then(|b| b.get(..1)).unwrap_or(&[]));
                    let from = &b[from..][..used];
                    if used == width {
                        to.copy_from_slice(from);
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

/// Computes a product. `scratch` has [`left_len`] elements where `B` is packed, else [`scratch_len`].
pub(crate) fn gemm<T: Real>(
    level: Level,
    p: &Product,
    a: &[T],
    b: Right<'_, T>,
    c: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    let (right, due) = match b {
        Right::Plain(b) => (p.b.inside(p.k, p.n, b.len()), scratch_len::<T>(p.k, p.n)),
        Right::Packed(b) => (b.len() >= packed_len::<T>(p.k, p.n), left_len::<T>(p.k)),
    };
    let result = Strides { rows: p.c, columns: 1 }.inside(p.m, p.n, c.len());
    if !(right && result && p.a.inside(p.m, p.k, a.len()) && scratch.len() >= due) {
        return Err(OUTSIDE);
    }
    if p.k > 0 {
        level.run(Gemm { p, a, b, c, scratch });
    } else if !p.accumulate {
        c.chunks_mut(p.c.max(1)).take(p.m).for_each(|row| row[..p.n].fill(T::default()));
    }
    Ok(())
}

/// The rows of the next tile of a block of `m` rows of which some are `done`: full tiles, and at the end
/// two that share what is left, since a tile of one or two rows is little faster than a full one.
#[inline(always)]
fn tile_rows(m: usize, done: usize) -> usize {
    match m - done {
        left if left <= MR => left,
        left if left < 2 * MR => left.div_ceil(2),
        _ => MR,
    }
}

struct Gemm<'a, 'b, T> {
    p: &'a Product,
    a: &'b [T],
    b: Right<'b, T>,
    c: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Simd<T> for Gemm<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { p, a, b, c, scratch } = self;
        let width = NV * V::LANES;
        let narrow = p.narrow_columns::<V>();
        let n = p.n - narrow;
        let (left, right) = scratch.split_at_mut(left_len::<T>(p.k));
        // For few rows the columns that fill whole panels are read where they lie.
        let (whole, plain, packed) = match b {
            Right::Packed(b) => (0, b, b),
            Right::Plain(b) => {
                let whole = if p.m <= FEW && p.b.columns == 1 { n / width * width } else { 0 };
                let rest = b.get(whole * p.b.columns..).unwrap_or(&[]);
                Pack { p, start: whole, n: p.n - whole, b: rest, out: right }.run::<V>();
                (whole, b, &*right)
            }
        };
        if narrow > 0 {
            Narrow {
                m: p.m,
                n: narrow,
                k: p.k,
                a,
                strides: p.a,
                b: &packed[p.k * (n - whole).next_multiple_of(V::LANES)..],
                c: &mut c[n..],
                row: p.c,
                accumulate: p.accumulate,
                scratch: &mut *left,
            }
            .run::<V>();
        }
        if n == 0 {
            return;
        }
        let (k_blocks, k_most) = blocks(p.k, PANEL / (width * size_of::<T>()));
        let (_, m_most) = blocks(p.m, MC);
        let m_most = m_most.next_multiple_of(MR);
        // Read down its columns `A` has a new cache line for every element: packed where it is read often.
        let pack_a = p.a.columns != 1 && p.n > width && p.k > SHORT;
        for block in 0..k_blocks {
            let k0 = block * k_most;
            let k = k_most.min(p.k.saturating_sub(k0));
            let accumulate = p.accumulate || block > 0;
            for m0 in (0..p.m).step_by(m_most.max(1)) {
                let m = m_most.min(p.m - m0);
                if pack_a {
                    pack_left(a, p.a, (m0, m), (k0, k), left);
                }
                for column in (0..n).step_by(width) {
                    let columns = (n - column).min(width);
                    let (b, b_row) = if column < whole {
                        (&plain[k0 * p.b.rows + column..], p.b.rows)
                    } else {
                        let width = columns.next_multiple_of(V::LANES);
                        (&packed[p.k * (column - whole) + k0 * width..], width)
                    };
                    let mut i = 0;
                    while i < m {
                        let rows = tile_rows(m, i);
                        let (a, a_row, a_column) = if pack_a {
                            (&left[i * k..], 1, rows)
                        } else {
                            (&a[(m0 + i) * p.a.rows + k0 * p.a.columns..], p.a.rows, p.a.columns)
                        };
                        let c = c[(m0 + i) * p.c + column..].as_mut_ptr();
                        let (a, b) = (a.as_ptr(), b.as_ptr());
                        let tile =
                            Tile { k, a, a_row, a_column, b, b_row, c, c_row: p.c, columns, accumulate };
                        // SAFETY: `gemm` checked that all of A, B and C lie inside their slices, and the rows
                        // and columns of this tile are among theirs; packed panels are whole vectors wide.
                        unsafe {
                            match (columns > V::LANES, column < whole, pack_a) {
                                (true, false, true) => tile.rows::<V, NV, PACKED>(rows),
                                (true, false, _) if a_column == 1 => tile.rows::<V, NV, ROWS>(rows),
                                (true, ..) => tile.rows::<V, NV, ANY>(rows),
                                _ => tile.rows::<V, 1, ANY>(rows),
                            }
                        }
                        i += rows;
                    }
                }
            }
        }
    }
}

/// Packs rows of `A` into tiles: for each tile all columns, the rows of a column side by side.
#[inline(always)]
fn pack_left<T: Real>(
    a: &[T],
    strides: Strides,
    (m0, m): (usize, usize),
    (k0, k): (usize, usize),
    out: &mut [T],
) {
    let mut i = 0;
    while i < m {
        let rows = tile_rows(m, i);
        let from = &a[(m0 + i) * strides.rows + k0 * strides.columns..];
        let to = &mut out[i * k..(i + rows) * k];
        if strides.rows == 1 && rows == MR {
            // The length is known when compiling: a copy of registers, not a call.
            for (p, to) in to.as_chunks_mut::<MR>().0.iter_mut().enumerate() {
                to.copy_from_slice(&from[p * strides.columns..][..MR]);
            }
        } else {
            for (p, to) in to.chunks_exact_mut(rows).enumerate() {
                let from = from[p * strides.columns..].iter().step_by(strides.rows.max(1));
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = x);
            }
        }
        i += rows;
    }
}

// Where the elements of a tile lie. What is known when compiling takes no instructions in the loop along `k`,
// and no share of the processor that another thread on the same core may want.

/// Wherever the strides of the tile say.
pub(super) const ANY: u8 = 0;
/// Those of a row of `A` side by side, and `B` as it is packed.
const ROWS: u8 = 1;
/// `A` and `B` as they are packed.
const PACKED: u8 = 2;

/// One tile of `C` and one block of `k`.
pub(super) struct Tile<T> {
    pub(super) k: usize,
    pub(super) a: *const T,
    pub(super) a_row: usize,
    pub(super) a_column: usize,
    pub(super) b: *const T,
    pub(super) b_row: usize,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    pub(super) columns: usize,
    pub(super) accumulate: bool,
}

impl<T: Real> Tile<T> {
    /// # Safety
    /// `rows` rows of `A` and `C`, `k` rows of `B` that are `N` vectors wide, and `columns` columns of
    /// `C` lie in memory that may be read, and for `C` written.
    #[inline(always)]
    pub(super) unsafe fn rows<V: Vector<Scalar = T>, const N: usize, const L: u8>(&self, rows: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            match rows {
                1 => self.compute::<V, 1, N, L>(),
                2 => self.compute::<V, 2, N, L>(),
                3 => self.compute::<V, 3, N, L>(),
                4 => self.compute::<V, 4, N, L>(),
                5 => self.compute::<V, 5, N, L>(),
                _ => self.compute::<V, MR, N, L>(),
            }
        }
    }

    /// # Safety
    /// As for [`rows`](Self::rows), with `M` rows.
    #[inline(always)]
    unsafe fn compute<V: Vector<Scalar = T>, const M: usize, const N: usize, const L: u8>(&self) {
        let zero = V::all(T::default());
        let mut sums = [[zero; N]; M];
        let b_row = if L == ANY { self.b_row } else { N * V::LANES };
        for p in 0..self.k {
            let mut b = [zero; N];
            for (v, b) in b.iter_mut().enumerate() {
                // SAFETY: the caller promises `k` rows of `N` vectors.
                *b = unsafe { V::load(self.b.add(p * b_row + v * V::LANES)) };
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let at = match L {
                    PACKED => p * M + i,
                    ROWS => i * self.a_row + p,
                    _ => i * self.a_row + p * self.a_column,
                };
                // SAFETY: the caller promises `M` rows of `k` elements.
                let a = V::all(unsafe { *self.a.add(at) });
                for (sum, &b) in sums.iter_mut().zip(&b) {
                    *sum = a.mul_add(b, *sum);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            // SAFETY: the caller promises `M` rows of `columns` elements.
            let row = unsafe { self.c.add(i * self.c_row) };
            if self.columns == N * V::LANES {
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe {
                        let to = row.add(v * V::LANES);
                        if self.accumulate { (V::load(to) + sum).store(to) } else { sum.store(to) }
                    }
                }
            } else {
                let mut lanes = [T::default(); NV * WIDEST / 4];
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: `lanes` is as long as a tile of the widest registers is wide.
                    unsafe { sum.store(lanes.as_mut_ptr().add(v * V::LANES)) };
                }
                for (j, &x) in lanes[..self.columns].iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *row.add(j) = if self.accumulate { *row.add(j) + x } else { x } };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every size and layout against plain sums, on whole numbers, where every order gives the same.
    #[test]
    fn products_of_every_size_and_layout() {
        let sizes = [1, 2, 3, 5, 8, 11, 13, 16, 17, 28, 34, 50, 97];
        for &level in Level::available() {
            for m in sizes {
                for n in sizes {
                    for k in [0, 1, 7, 16, 130, 300] {
                        for layout in 0..4 {
                            // A part of a product may have few rows where the whole has many.
                            for narrow in [m > FEW, true] {
                                check::<f64>(level, (m, n, k), (layout & 1 == 1, layout & 2 == 2), narrow);
                                check::<f32>(level, (m, n, k), (layout & 1 == 1, layout & 2 == 2), narrow);
                            }
                        }
                    }
                }
            }
        }
    }

    fn check<T: Real>(level: Level, (m, n, k): (usize, usize, usize), (ta, tb): (bool, bool), narrow: bool) {
        let number = |i: usize, j: usize| T::from_f64(((i * 7 + j * 3) % 5) as f64 - 2.0);
        let fill = |rows: usize, columns: usize, transposed: bool| -> (Vec<T>, Strides) {
            let strides = if transposed {
                Strides { rows: 1, columns: rows }
            } else {
                Strides { rows: columns, columns: 1 }
            };
            let mut x = vec![T::default(); rows * columns];
            (0..rows).for_each(|i| {
                (0..columns).for_each(|j| x[i * strides.rows + j * strides.columns] = number(i, j))
            });
            (x, strides)
        };
        let ((a, sa), (b, sb)) = (fill(m, k, ta), fill(k, n, tb));
        let p = Product { m, n, k, a: sa, b: sb, c: n, accumulate: true, narrow };
        let mut scratch = vec![T::from_f64(f64::NAN); scratch_len::<T>(k, n)];
        let mut packed = vec![T::from_f64(f64::NAN); packed_len::<T>(k, n)];
        pack(level, &p, (0, n), &b, &mut packed).unwrap();
        for right in [Right::Plain(&b[..]), Right::Packed(&packed[..])] {
            let mut c = vec![T::from_f64(3.0); m * n];
            gemm(level, &p, &a, right, &mut c, &mut scratch).unwrap();
            for i in 0..m {
                for j in 0..n {
                    let sum: f64 = (0..k).map(|p| number(i, p).to_f64() * number(p, j).to_f64()).sum();
                    let found = c[i * n + j].to_f64();
                    assert_eq!(found, 3.0 + sum, "{level:?} {m}x{k}x{n} {ta} {tb} at {i}, {j}");
                }
            }
        }
    }
}
