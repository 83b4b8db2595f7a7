//! Matrix products of few columns, or the last few columns of others.
//!
//! A register of columns that is mostly empty costs as much as a full one. Registers run along another
//! axis here: along `k` where the elements of a row of `A` lie side by side in memory, along the rows of
//! `C` where those of a column of `A` do.

use super::gemm::Strides;
use super::simd::{Real, Vector, WIDEST};
use super::tile::{ROWS, Tile, is_nan, term, tile_rows};

/// Rows of `C` whose columns are collected side by side before they are written.
const STRIP: usize = 144;
/// Rows of `A`'s columns that are read in turn: as many streams as a processor follows.
const STREAMS: usize = 64;
/// The most columns that are computed this way: more are faster as registers of columns.
const MOST: usize = 32;
/// Sums shorter than this are no work for a register along them.
const SHORT: usize = 32;

/// Elements of scratch that the columns need.
pub(super) const SCRATCH: usize = MOST * STRIP + STREAMS * WIDEST;

/// How many of the last columns of a product are computed this way.
pub(super) fn columns((n, k): (usize, usize), lanes: usize, a: Strides) -> usize {
    let rest = n % lanes;
    if k < SHORT {
        return 0;
    }
    match (a.rows, a.columns) {
        // Where they fill up a pair of registers, more or less, they come at no cost.
        (_, 1) if rest <= lanes / 4 || (rest <= lanes / 2 && n.div_ceil(lanes) % 2 == 1) => rest,
        (1, _) if n <= MOST => n,
        (1, _) if rest <= lanes / 2 => rest,
        _ => 0,
    }
}

/// `C[m, n] = α A[m, k] · B[k, n] + β C[m, n]`, with the columns of `B` one behind the other.
pub(super) struct Narrow<'a, T> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: &'a [T],
    pub(super) strides: Strides,
    pub(super) b: &'a [T],
    pub(super) c: &'a mut [T],
    /// The distance of the rows of `C`.
    pub(super) row: usize,
    pub(super) beta: T,
    pub(super) alpha: T,
    pub(super) gates: u64,
    /// [`SCRATCH`] elements.
    pub(super) scratch: &'a mut [T],
}

impl<T: Real> Narrow<'_, T> {
    #[inline(always)]
    pub(super) fn run<V: Vector<Scalar = T>>(&mut self) {
        if self.strides.columns == 1 {
            let mut j = 0;
            while j < self.n {
                // Groups of nearly equal size, as many as the registers of a tile allow.
                let left = self.n - j;
                let columns = left.div_ceil(left.div_ceil(if V::VECTORS > 2 { 5 } else { 2 }));
                match columns {
                    1 => self.column::<V, 6, 1>(j),
                    3 if V::VECTORS > 2 => self.column::<V, 6, 3>(j),
                    4 if V::VECTORS > 2 => self.column::<V, 5, 4>(j),
                    5 if V::VECTORS > 2 => self.column::<V, 4, 5>(j),
                    _ => self.column::<V, 6, 2>(j),
                }
                j += columns;
            }
        } else {
            for i in (0..self.m).step_by(STRIP) {
                self.strip::<V>(i, STRIP.min(self.m - i));
            }
        }
    }

    /// All rows of `N` columns, `M` at a time.
    #[inline(always)]
    fn column<V: Vector<Scalar = T>, const M: usize, const N: usize>(&mut self, j: usize) {
        let whole = self.m / M * M;
        (0..whole).step_by(M).for_each(|i| self.dots::<V, M, N>(i, j));
        (whole..self.m).for_each(|i| self.dots::<V, 1, N>(i, j));
    }

    /// `M` rows by `N` columns, registers along `k`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // behind iterators the compiler leaves the sums of large tiles in memory
    fn dots<V: Vector<Scalar = T>, const M: usize, const N: usize>(&mut self, i: usize, j: usize) {
        let mut sums = [[V::all(T::default()); N]; M];
        let whole = self.k / V::LANES * V::LANES;
        let a: [&[T]; M] = std::array::from_fn(|r| &self.a[(i + r) * self.strides.rows..][..self.k]);
        let b: [&[T]; N] = std::array::from_fn(|c| &self.b[(j + c) * self.k..][..self.k]);
        let mut p = 0;
        while p < whole {
            // SAFETY: `p` and the lanes from there on are below `k`, the length of all slices.
            let b: [V; N] = std::array::from_fn(|c| unsafe { V::load(b[c].as_ptr().add(p)) });
            for r in 0..M {
                // SAFETY: as above.
                let a = unsafe { V::load(a[r].as_ptr().add(p)) };
                for c in 0..N {
                    sums[r][c] = a.mul_add(b[c], sums[r][c]);
                }
            }
            p += V::LANES;
        }
        let add = self.beta != T::default();
        let mut totals = [[T::default(); N]; M];
        for r in 0..M {
            for c in 0..N {
                totals[r][c] = sums[r][c].sum();
            }
        }
        for (r, totals) in totals.iter_mut().enumerate() {
            for (c, total) in totals.iter_mut().enumerate() {
                for p in whole..self.k {
                    *total = *total + a[r][p] * b[c][p];
                }
                if self.gates != 0 && is_nan(*total) {
                    let terms = a[r].iter().zip(b[c]);
                    *total = terms.fold(T::default(), |sum, (&a, &b)| term(self.gates, a, b, sum));
                }
                let c = &mut self.c[(i + r) * self.row + j + c];
                *c = if add { *c * self.beta + *total * self.alpha } else { *total };
            }
        }
    }

    /// Some rows, registers along them: a product whose rows are the columns of this one, collected in
    /// scratch while the columns of `A` stream by, a few at a time.
    #[inline(always)]
    fn strip<V: Vector<Scalar = T>>(&mut self, i: usize, rows: usize) {
        let (collected, rest) = self.scratch.split_at_mut(MOST * STRIP);
        for p0 in (0..self.k).step_by(STREAMS) {
            let k = STREAMS.min(self.k - p0);
            let from = &self.a[p0 * self.strides.columns + i..];
            let mut r = 0;
            while r < rows {
                // As many whole registers as a tile has, or one; the last one goes through scratch, since behind
                // it the array may end.
                let vectors = match (rows - r) / V::LANES {
                    whole if whole >= V::VECTORS => V::VECTORS,
                    whole => whole.min(1),
                };
                let (b, b_row) = if vectors == 0 {
                    for (p, to) in rest[..k * V::LANES].chunks_exact_mut(V::LANES).enumerate() {
                        to[..rows - r].copy_from_slice(&from[p * self.strides.columns + r..][..rows - r]);
                    }
                    (rest.as_ptr(), V::LANES)
                } else {
                    (from[r..].as_ptr(), self.strides.columns)
                };
                let columns = vectors.max(1) * V::LANES;
                let mut j = 0;
                while j < self.n {
                    let count = tile_rows::<V>(self.n - j);
                    let tile = Tile {
                        k,
                        a: self.b[j * self.k + p0..].as_ptr(),
                        a_step: self.k,
                        b,
                        b_row,
                        soon: b,
                        c: collected[j * STRIP + r..].as_mut_ptr(),
                        c_row: STRIP,
                        columns,
                        beta: T::from_f64(if p0 > 0 { 1.0 } else { 0.0 }),
                        alpha: T::from_f64(1.0),
                        // The matrices change places.
                        gates: self.gates >> 1 | (self.gates & 1) << 1,
                    };
                    // SAFETY: `count` columns of `B` have `k` elements from `p0` on; `k` columns of `A`, or their
                    // copy in scratch, have the registers read here; and `collected` has them for each of the
                    // columns, as a strip is whole registers long.
                    unsafe {
                        match vectors {
                            3 if V::VECTORS == 3 => tile.rows::<V, 3, ROWS>(count),
                            2 if V::VECTORS == 2 => tile.rows::<V, 2, ROWS>(count),
                            _ => tile.rows::<V, 1, ROWS>(count),
                        }
                    };
                    j += count;
                }
                r += columns;
            }
        }
        let add = self.beta != T::default();
        for r in 0..rows {
            let c = &mut self.c[(i + r) * self.row..][..self.n];
            for (j, c) in c.iter_mut().enumerate() {
                let sum = collected[j * STRIP + r];
                *c = if add { *c * self.beta + sum * self.alpha } else { sum };
            }
        }
    }
}
