//! Matrix products of few columns, or the last few columns of others.
//!
//! A register of columns that is mostly empty costs as much as a full one. Registers run along another
//! axis here: along `k` where the elements of a row of `A` lie side by side in memory, along the rows of
//! `C` where those of a column of `A` do.

use super::gemm::{ANY, Strides, Tile};
use super::simd::{Real, Vector};

/// Rows of `C` whose columns are collected side by side before they are written.
const STRIP: usize = 128;
/// Rows of `A`'s columns that are read in turn: as many streams as a processor follows.
const STREAMS: usize = 32;
/// The most columns that are computed this way: more are faster as registers of columns.
const MOST: usize = 32;
/// Lanes of the widest register.
const WIDEST: usize = 16;

/// Elements of scratch that the columns need.
pub(super) const SCRATCH: usize = MOST * STRIP + STREAMS * WIDEST;

/// How many of the last columns of a product are computed this way.
pub(super) fn columns(n: usize, lanes: usize, a: Strides) -> usize {
    let rest = n % lanes;
    match (a.rows, a.columns) {
        // Where they fill up a pair of registers, more or less, they come at no cost.
        (_, 1) if rest <= lanes / 4 || (rest <= lanes / 2 && n.div_ceil(lanes) % 2 == 1) => rest,
        (1, _) if n <= MOST => n,
        (1, _) if rest <= lanes / 2 => rest,
        _ => 0,
    }
}

/// `C[m, n] (+)= A[m, k] · B[k, n]`, with the columns of `B` one behind the other.
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
    pub(super) accumulate: bool,
    /// [`SCRATCH`] elements.
    pub(super) scratch: &'a mut [T],
}

impl<T: Real> Narrow<'_, T> {
    #[inline(always)]
    pub(super) fn run<V: Vector<Scalar = T>>(&mut self) {
        if self.strides.columns == 1 {
            for j in (0..self.n).step_by(2) {
                let mut i = 0;
                while i < self.m {
                    match (self.m - i >= 6, self.n - j) {
                        (true, 1) => self.dots::<V, 6, 1>(i, j),
                        (true, _) => self.dots::<V, 6, 2>(i, j),
                        (false, 1) => self.dots::<V, 1, 1>(i, j),
                        (false, _) => self.dots::<V, 1, 2>(i, j),
                    }
                    i += if self.m - i >= 6 { 6 } else { 1 };
                }
            }
        } else {
            for i in (0..self.m).step_by(STRIP) {
                self.strip::<V>(i, STRIP.min(self.m - i));
            }
        }
    }

    /// `M` rows by `N` columns, registers along `k`.
    #[inline(always)]
    fn dots<V: Vector<Scalar = T>, const M: usize, const N: usize>(&mut self, i: usize, j: usize) {
        let zero = V::all(T::default());
        let mut sums = [[zero; N]; M];
        let whole = self.k / V::LANES * V::LANES;
        let a: [&[T]; M] = std::array::from_fn(|r| &self.a[(i + r) * self.strides.rows..][..self.k]);
        let b: [&[T]; N] = std::array::from_fn(|c| &self.b[(j + c) * self.k..][..self.k]);
        let mut p = 0;
        while p < whole {
            for (sums, a) in sums.iter_mut().zip(&a) {
                for (sum, b) in sums.iter_mut().zip(&b) {
                    // SAFETY: `p` and the lanes from there on are below `k`, the length of both slices.
                    *sum = unsafe { V::load(a.as_ptr().add(p)).mul_add(V::load(b.as_ptr().add(p)), *sum) };
                }
            }
            p += V::LANES;
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                let mut total = across(sum);
                for p in whole..self.k {
                    total = total + a[r][p] * b[c][p];
                }
                let c = &mut self.c[(i + r) * self.row + j + c];
                *c = if self.accumulate { *c + total } else { total };
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
            for r in (0..rows).step_by(2 * V::LANES) {
                let width = (rows - r).min(2 * V::LANES);
                let vectors = width.div_ceil(V::LANES);
                for v in 0..vectors {
                    // Two registers together where both are full; the last one goes through scratch, since
                    // behind it the array may end.
                    let at = r + v * V::LANES;
                    let (b, b_row, both) = if rows - at < V::LANES {
                        for (p, to) in rest[..k * V::LANES].chunks_exact_mut(V::LANES).enumerate() {
                            to[..rows - at]
                                .copy_from_slice(&from[p * self.strides.columns + at..][..rows - at]);
                        }
                        (rest.as_ptr(), V::LANES, false)
                    } else {
                        (from[at..].as_ptr(), self.strides.columns, v == 0 && width == 2 * V::LANES)
                    };
                    let mut j = 0;
                    while j < self.n {
                        // Five rows of two registers keep both multipliers busy.
                        let count = (self.n - j).min(5);
                        let tile = Tile {
                            k,
                            a: self.b[j * self.k + p0..].as_ptr(),
                            a_row: self.k,
                            a_column: 1,
                            b,
                            b_row,
                            c: collected[j * STRIP + at..].as_mut_ptr(),
                            c_row: STRIP,
                            columns: if both { 2 * V::LANES } else { V::LANES },
                            accumulate: p0 > 0,
                        };
                        // SAFETY: `count` columns of `B` have `k` elements from `p0` on; `k` columns of `A`, or
                        // their copy in scratch, have the registers read here; and `collected` has them for
                        // each of the columns, as a strip is whole registers long.
                        unsafe {
                            if both { tile.rows::<V, 2, ANY>(count) } else { tile.rows::<V, 1, ANY>(count) }
                        };
                        j += count;
                    }
                    if both {
                        break;
                    }
                }
            }
        }
        for r in 0..rows {
            let c = &mut self.c[(i + r) * self.row..][..self.n];
            for (j, c) in c.iter_mut().enumerate() {
                let sum = collected[j * STRIP + r];
                *c = if self.accumulate { *c + sum } else { sum };
            }
        }
    }
}

/// The sum of all lanes, in pairs.
#[inline(always)]
fn across<V: Vector>(x: V) -> V::Scalar {
    let mut lanes = [V::Scalar::default(); WIDEST];
    // SAFETY: no register has more lanes than that.
    unsafe { x.store(lanes.as_mut_ptr()) };
    let mut half = V::LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}
