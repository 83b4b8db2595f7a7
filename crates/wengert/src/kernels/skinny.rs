//! Matrix products of few columns, or the last few columns of others.
//!
//! A register of columns that is mostly empty costs as much as a full one. Registers run along another
//! axis here: along `k` where the elements of a row of `A` lie side by side in memory, along the rows of
//! `C` where those of a column of `A` do. Along `k` an element is the sum of a fixed number of chains, one for every
//! so many products, whatever the width of a register: two short ones hold the chains, or one long one those of two rows.

use std::hint::black_box;

use super::product::{MOST, Product, Strides};
use super::simd::{Real, Simd, Vector, WIDEST, chains};
use super::tile::{ROWS, Tile, is_nan, term, tile_rows};

/// Rows of `C` whose columns are collected side by side before they are written.
const STRIP: usize = 144;
/// Rows of `A`'s columns that are read in turn: as many streams as a processor follows.
const STREAMS: usize = 64;

/// Elements of scratch that the columns need.
pub(super) const SCRATCH: usize = MOST * STRIP + STREAMS * WIDEST;

/// `C[m, n] = α A[m, k] · B[k, n] + β C[m, n]`, with the columns of `B` one behind the other.
pub(super) struct Skinny<'a, T> {
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

/// The product of one row and one column, whose elements lie side by side.
pub(super) struct Dot<'a, T>(Skinny<'a, T>);

impl<'a, T: Real> Dot<'a, T> {
    pub(super) fn new(p: &Product, a: &'a [T], b: &'a [T], c: &'a mut [T]) -> Self {
        let (beta, alpha) = (T::from_f64(p.beta), T::from_f64(p.alpha));
        let strides = Strides { rows: p.k, columns: 1 };
        let gates = p.gates;
        Self(Skinny { m: 1, n: 1, k: p.k, a, strides, b, c, row: 1, beta, alpha, gates, scratch: &mut [] })
    }
}

impl<T: Real> Simd<T> for Dot<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(mut self) {
        match const { chains::<T>() / V::LANES } {
            8 => self.0.dots::<V, 8, 1, 1>(0, 0),
            4 => self.0.dots::<V, 4, 1, 1>(0, 0),
            2 => self.0.dots::<V, 2, 1, 1>(0, 0),
            _ => self.0.dots::<V, 1, 1, 1>(0, 0),
        }
    }
}

impl<T: Real> Skinny<'_, T> {
    #[inline(always)]
    pub(super) fn compute<V: Vector<Scalar = T>>(&mut self) {
        if self.strides.columns == 1 {
            // Registers that hold the chains of an element.
            match const { chains::<T>() / V::LANES } {
                8 => self.columns::<V, 8>(),
                4 => self.columns::<V, 4>(),
                2 => self.columns::<V, 2>(),
                _ => self.columns::<V, 1>(),
            }
        } else {
            for i in (0..self.m).step_by(STRIP) {
                self.strip::<V>(i, STRIP.min(self.m - i));
            }
        }
    }

    /// All columns, in groups of nearly equal size, as many as the registers of a tile allow.
    #[inline(always)]
    fn columns<V: Vector<Scalar = T>, const R: usize>(&mut self) {
        let mut j = 0;
        // Where an element takes many registers, one at a time.
        if const { R > 2 } {
            while j < self.n {
                self.column::<V, R, 1, 1>(j);
                j += 1;
            }
            return;
        }
        while j < self.n {
            let left = self.n - j;
            let columns = left.div_ceil(left.div_ceil(V::VECTORS));
            match columns {
                1 => self.column::<V, R, 6, 1>(j),
                3 if const { V::VECTORS > 2 } => self.column::<V, R, 6, 3>(j),
                _ => self.column::<V, R, 6, 2>(j),
            }
            j += columns;
        }
    }

    /// All rows of `N` columns, `M` registers of them at a time.
    #[inline(always)]
    fn column<V: Vector<Scalar = T>, const R: usize, const M: usize, const N: usize>(&mut self, j: usize) {
        let rows = M * V::GROUPS;
        let whole = self.m / rows * rows;
        // No closures here: inside of them registers would not be those of the instruction set.
        let mut i = 0;
        while i < whole {
            self.dots::<V, R, M, N>(i, j);
            i += rows;
        }
        while i < self.m {
            self.dots::<V, R, 1, N>(i, j);
            i += V::GROUPS;
        }
    }

    /// `M` registers of rows by `N` columns, registers along `k`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // behind iterators the compiler leaves the sums of large tiles in memory
    fn dots<V: Vector<Scalar = T>, const R: usize, const M: usize, const N: usize>(
        &mut self,
        i: usize,
        j: usize,
    ) {
        let (lanes, row) = (V::LANES / V::GROUPS, self.strides.rows);
        // The last rows may be fewer than a register holds: it has the last one twice.
        let step = if i + M * V::GROUPS <= self.m { row } else { 0 };
        let (mut a, mut b) = ([self.a.as_ptr(); M], [self.b.as_ptr(); N]);
        for r in 0..M {
            a[r] = self.a[(i + r * V::GROUPS) * row..][..self.k].as_ptr();
        }
        for c in 0..N {
            b[c] = self.b[(j + c) * self.k..][..self.k].as_ptr();
        }
        let zero = V::all(T::default());
        let (mut sums, mut of_b) = ([[[zero; N]; M]; R], [zero; N]);
        let whole = self.k / chains::<T>() * chains::<T>();
        let mut p = 0;
        while p < whole {
            for q in 0..R {
                let at = p + q * lanes;
                for c in 0..N {
                    // SAFETY: `at` and the lanes from there on are below `k`, and all rows have so many numbers.
                    of_b[c] = unsafe { V::load_rows(b[c].add(at), 0) };
                }
                for r in 0..M {
                    // SAFETY: as above.
                    let a = unsafe { V::load_rows(a[r].add(at), step) };
                    for c in 0..N {
                        sums[q][r][c] = a.mul_add(of_b[c], sums[q][r][c]);
                    }
                }
            }
            p += chains::<T>();
        }
        for q in 0..R {
            let at = whole + q * lanes;
            let count = self.k.saturating_sub(at).min(lanes);
            if count == 0 {
                break;
            }
            for c in 0..N {
                // SAFETY: `at` and `count` numbers from there on are below `k`, and all rows have so many.
                of_b[c] = unsafe { V::load_rows_part(b[c].add(at), 0, count) };
            }
            for r in 0..M {
                // SAFETY: as above.
                let a = unsafe { V::load_rows_part(a[r].add(at), step, count) };
                for c in 0..N {
                    sums[q][r][c] = a.mul_add(of_b[c], sums[q][r][c]);
                }
            }
        }
        let mut registers = R;
        while registers > 1 {
            registers /= 2;
            for q in 0..registers {
                for r in 0..M {
                    for c in 0..N {
                        sums[q][r][c] = sums[q][r][c] + sums[q + registers][r][c];
                    }
                }
            }
        }
        // A copy, so that the sums themselves stay in registers, of a length that the compiler does not see: it would write
        // them out one by one.
        let mut totals = [[zero; N]; M];
        for r in 0..M {
            for c in 0..N {
                totals[r][c] = sums[0][r][c];
            }
        }
        for (t, sum) in black_box(totals.as_flattened()).iter().enumerate() {
            let (first, column) = (i + t / N * V::GROUPS, j + t % N);
            for (g, total) in sum.row_sums().into_iter().enumerate().take(V::GROUPS.min(self.m - first)) {
                let gated = self.gates != 0 && is_nan(total);
                let total = if gated { self.gated::<V::One>(first + g, column) } else { total };
                self.add::<V>(first + g, column, total);
            }
        }
    }

    /// Adds a sum to an element of `C`, or writes it.
    #[inline(always)]
    fn add<V: Vector<Scalar = T>>(&mut self, i: usize, j: usize, sum: T) {
        let c = &mut self.c[i * self.row + j];
        let add = self.beta != T::default();
        *c = if add { V::fused(*c, self.beta, sum * self.alpha) } else { sum };
    }

    /// An element by the same chains, with gates.
    #[cold]
    #[inline(never)]
    fn gated<V: Vector<Scalar = T>>(&self, i: usize, j: usize) -> T {
        let (a, b) = (&self.a[i * self.strides.rows..][..self.k], &self.b[j * self.k..][..self.k]);
        let mut sums = [T::default(); 8];
        for (p, (&a, &b)) in a.iter().zip(b).enumerate() {
            let sum = &mut sums[p % chains::<T>()];
            *sum = term(self.gates, V::all(a), V::all(b), V::all(*sum)).first();
        }
        let mut left = chains::<T>();
        while left > 1 {
            left /= 2;
            (0..left).for_each(|c| sums[c] = sums[c] + sums[c + left]);
        }
        sums[0]
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
                        begun: p0 > 0,
                        beta: T::default(),
                        alpha: T::from_f64(1.0),
                        // The matrices change places.
                        gates: self.gates >> 1 | (self.gates & 1) << 1,
                    };
                    // SAFETY: `count` columns of `B` have `k` elements from `p0` on; `k` columns of `A`, or their
                    // copy in scratch, have the registers read here; and `collected` has them for each of the
                    // columns, as a strip is whole registers long.
                    unsafe { V::tile::<ROWS>(&tile, count) };
                    j += count;
                }
                r += columns;
            }
        }
        for r in 0..rows {
            for j in 0..self.n {
                let sum = self.scratch[j * STRIP + r];
                self.add::<V>(i + r, j, sum);
            }
        }
    }
}
