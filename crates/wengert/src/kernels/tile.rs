//! The innermost part of a matrix product: a tile of `C` whose sums stay in registers.

use std::hint::black_box;

use super::simd::{Real, Vector};

// Where the elements of a tile of `A` lie. What is known when compiling takes no instructions in the loop along
// `k`, and no share of the processor that another thread on the same core may want.

/// Those of a row side by side.
pub(super) const ROWS: bool = true;
/// Those of a column side by side.
pub(super) const COLUMNS: bool = false;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Fetches a line into the second cache. A hint: the address need not even be readable.
#[inline(always)]
fn fetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address changes no memory and raises no fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// One tile of `C` and one block of `k`.
pub(crate) struct Tile<T> {
    pub(super) k: usize,
    pub(super) a: *const T,
    /// How far apart the rows of `A` lie, or its columns: the others are neighbours.
    pub(super) a_step: usize,
    pub(super) b: *const T,
    pub(super) b_row: usize,
    /// What is wanted soon: where `A` lies by columns, a line of it is fetched into the second cache with each.
    pub(super) soon: *const T,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    pub(super) columns: usize,
    /// Whether `C` holds the sums of earlier blocks of `k`, which go on here.
    pub(super) begun: bool,
    /// By what `C` is multiplied before the sums are added; at 0 it is only written.
    pub(super) beta: T,
    /// By what sums are multiplied before they are added to `C`; 1 where `C` is only written.
    pub(super) alpha: T,
    /// Whether zeros of `A` (bit 0) and of `B` (bit 1) stand for themselves, whatever they are multiplied by.
    pub(super) gates: u64,
}

/// The rows of the next tile of a block of which this many are left: tiles of nearly equal size, since one of
/// one or two rows is little faster than a full one.
#[inline(always)]
pub(super) fn tile_rows<V: Vector>(left: usize) -> usize {
    left.div_ceil(left.div_ceil(V::ROWS).max(1))
}

impl<T: Real> Tile<T> {
    /// Fetches a tile of `C` that will be added to: it comes while the sums are made.
    #[inline(always)]
    pub(super) fn fetch_result(&self, rows: usize) {
        for i in 0..rows {
            let row = self.c.wrapping_add(i * self.c_row);
            (0..self.columns).step_by(LINE / size_of::<T>()).for_each(|j| fetch(row.wrapping_add(j)));
            fetch(row.wrapping_add(self.columns - 1));
        }
    }

    /// Computes the tile: of `rows` rows, at most [`Vector::ROWS`].
    ///
    /// # Safety
    /// `rows` rows of `A` and `C`, `k` rows of `B` that are as many whole vectors wide as hold `columns`, at
    /// most [`Vector::VECTORS`], and `columns` columns of `C` lie in memory that may be read, and for `C` written.
    #[inline(always)]
    pub(super) unsafe fn run<V: Vector<Scalar = T>, const LAYOUT: bool>(&self, rows: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.columns.div_ceil(V::LANES) {
                1 => self.rows::<V, 1, LAYOUT>(rows),
                3 if const { V::VECTORS > 2 } => self.rows::<V, 3, LAYOUT>(rows),
                _ => self.rows::<V, 2, LAYOUT>(rows),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run), with `N` vectors.
    #[inline(always)]
    unsafe fn rows<V: Vector<Scalar = T>, const N: usize, const LAYOUT: bool>(&self, rows: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            match rows {
                1 => self.compute::<V, 1, N, LAYOUT>(),
                2 => self.compute::<V, 2, N, LAYOUT>(),
                3 => self.compute::<V, 3, N, LAYOUT>(),
                5 if const { V::ROWS > 4 } => self.compute::<V, 5, N, LAYOUT>(),
                6 if const { V::ROWS > 4 } => self.compute::<V, 6, N, LAYOUT>(),
                7 if const { V::ROWS > 6 } => self.compute::<V, 7, N, LAYOUT>(),
                8 if const { V::ROWS > 6 } => self.compute::<V, 8, N, LAYOUT>(),
                _ => self.compute::<V, 4, N, LAYOUT>(),
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run), with `M` rows and `N` vectors.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // behind iterators the compiler leaves the sums of large tiles in memory
    unsafe fn compute<V: Vector<Scalar = T>, const M: usize, const N: usize, const LAYOUT: bool>(&self) {
        let zero = V::all(T::default());
        let mut sums = [[zero; N]; M];
        // The last vector of a row may be a part of one.
        let last = self.columns - (N - 1) * V::LANES;
        let whole = |v: usize| v + 1 < N || (last == V::LANES && !V::MASKED);
        let at = |i: usize, v: usize| self.c.wrapping_add(i * self.c_row + v * V::LANES);
        // SAFETY: the caller promises `M` rows of `columns` elements.
        let load = |i: usize, v: usize| unsafe {
            if whole(v) { V::load(at(i, v)) } else { V::load_part(at(i, v), last) }
        };
        if self.begun {
            for i in 0..M {
                for v in 0..N {
                    sums[i][v] = load(i, v);
                }
            }
        }
        // The compiler would compute the length anew for every row.
        let k = black_box(self.k);
        for p in 0..k {
            if LAYOUT == COLUMNS {
                fetch(self.soon.wrapping_add(p * LINE / size_of::<T>()));
            }
            let mut b = [zero; N];
            for v in 0..N {
                // SAFETY: the caller promises `k` rows of `N` vectors.
                b[v] = unsafe { V::load(self.b.add(p * self.b_row + v * V::LANES)) };
            }
            for i in 0..M {
                let at = if LAYOUT == ROWS { i * self.a_step + p } else { p * self.a_step + i };
                // SAFETY: the caller promises `M` rows of `k` elements.
                let a = V::all(unsafe { *self.a.add(at) });
                for v in 0..N {
                    sums[i][v] = a.mul_add(b[v], sums[i][v]);
                }
            }
        }
        if self.gates != 0 {
            // A sum that is not NaN cannot have met a zero times ∞ or NaN. One of infinities may be NaN here too, which
            // costs time and nothing else.
            let mut total = sums[0][0];
            for i in 0..M {
                for v in usize::from(i == 0)..N {
                    total = total + sums[i][v];
                }
            }
            if is_nan(total.sum()) {
                // SAFETY: passed on from the caller.
                return unsafe { self.gated::<V::One>(M, LAYOUT) };
            }
        }
        let (add, beta, alpha) = (self.beta != T::default(), V::all(self.beta), V::all(self.alpha));
        for i in 0..M {
            for v in 0..N {
                let sum = if add { load(i, v).mul_add(beta, sums[i][v] * alpha) } else { sums[i][v] };
                // SAFETY: the caller promises `M` rows of `columns` elements.
                unsafe { if whole(v) { sum.store(at(i, v)) } else { sum.store_part(at(i, v), last) } }
            }
        }
    }

    /// Computes the tile element by element, those that come out NaN once more with gates: in the same order, so that all
    /// others have the bits that they have otherwise.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[cold]
    #[inline(never)]
    unsafe fn gated<V: Vector<Scalar = T>>(&self, rows: usize, layout: bool) {
        for i in 0..rows {
            for j in 0..self.columns {
                let to = self.c.wrapping_add(i * self.c_row + j);
                // SAFETY: the caller promises this element of `C`.
                let old = V::all(unsafe { *to });
                let begin = if self.begun { old } else { V::all(T::default()) };
                let (mut plain, mut gated) = (begin, begin);
                for p in 0..self.k {
                    let at = if layout == ROWS { i * self.a_step + p } else { p * self.a_step + i };
                    // SAFETY: the caller promises these elements of `A` and `B`.
                    let (a, b) =
                        unsafe { (V::all(*self.a.add(at)), V::all(*self.b.add(p * self.b_row + j))) };
                    plain = a.mul_add(b, plain);
                    gated = term(self.gates, a, b, gated);
                }
                // Lanes are all alike.
                let sum = if is_nan(plain.sum()) { gated } else { plain };
                let add = self.beta != T::default();
                let sum = if add { old.mul_add(V::all(self.beta), sum * V::all(self.alpha)) } else { sum };
                // SAFETY: as above.
                unsafe { *to = sum.first() };
            }
        }
    }
}

/// `sum + a · b`, but the zeros of operands that are gates stand for themselves.
pub(super) fn term<V: Vector>(gates: u64, a: V, b: V, sum: V) -> V {
    let zero = V::splat(0.0);
    // Zero is neither below nor above; nor is a NaN, but that closes nothing.
    let closed = |x: V, otherwise: V| {
        let zero_or_nan = V::select(x.is_nan(), otherwise, sum + x);
        V::select(x.lt(zero), otherwise, V::select(x.gt(zero), otherwise, zero_or_nan))
    };
    let product = a.mul_add(b, sum);
    let product = if gates & 2 != 0 { closed(b, product) } else { product };
    if gates & 1 != 0 { closed(a, product) } else { product }
}

#[inline(always)]
pub(super) fn is_nan<T: Real>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}
