//! Copies along strides: what permuting, broadcasting and slicing come down to.

use super::simd::{Simd, Vector};
use crate::shape::MAX_RANK;

/// A walk over an array by strides: where element `i` of a row-major array lies in another one.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    /// The sizes of the row-major array.
    pub(crate) dims: &'a [usize],
    /// Where its first element lies in the other array.
    pub(crate) offset: isize,
    /// How far apart neighbours along each axis lie in the other array.
    pub(crate) strides: &'a [isize],
}

/// The two innermost axes of a walk: where they start in the row-major array and in the other, and for each
/// its size and how far apart neighbours lie in the other.
struct Sheet {
    here: usize,
    there: usize,
    rows: (usize, isize),
    columns: (usize, isize),
}

impl Sheet {
    /// Calls `run(row-major start, other start)` for each row.
    #[inline(always)]
    fn each(&self, mut run: impl FnMut(usize, usize)) {
        for row in 0..self.rows.0 {
            run(
                self.here + row * self.columns.0,
                (self.there as isize + row as isize * self.rows.1) as usize,
            );
        }
    }
}

impl Walk<'_> {
    /// Calls `run` for all of the array, two axes at a time.
    #[inline(always)]
    fn sheets(&self, mut run: impl FnMut(Sheet)) {
        if self.dims.contains(&0) {
            return;
        }
        // `run` is called in one place only, so that it is inlined and compiled for the instruction set of the caller.
        let (mut inner, mut outer) = self.dims.split_last().map_or((1, self.dims), |(&n, rest)| (n, rest));
        let stride = self.strides.get(outer.len()).copied().unwrap_or(1);
        // Axes that lie behind one another here and there are one.
        while let Some((&size, rest)) = outer.split_last()
            && (size == 1 || self.strides[rest.len()] == stride * inner as isize)
        {
            (inner, outer) = (inner * size, rest);
        }
        let rows = outer.split_last().map_or((1, 0), |(&size, rest)| {
            outer = rest;
            (size, self.strides[rest.len()])
        });
        let mut index = [0usize; MAX_RANK];
        let (mut here, mut there) = (0usize, self.offset);
        loop {
            run(Sheet { here, there: there as usize, rows, columns: (inner, stride) });
            here += rows.0 * inner;
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                there += self.strides[axis];
                if index[axis] < outer[axis] {
                    break;
                }
                there -= self.strides[axis] * outer[axis] as isize;
                index[axis] = 0;
            }
        }
    }
}

/// Up to so many neighbours are a short run.
const RUN: usize = 16;

/// `out[i] = input[walk(i)]`, compiled for an instruction set: as a closure it would be so only where the compiler pleases.
pub(crate) struct Gather<'a, T> {
    pub(crate) out: &'a mut [T],
    pub(crate) input: &'a [T],
    pub(crate) walk: Walk<'a>,
}

impl<T: Copy> Simd<f32> for Gather<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) {
        let Self { out, input, walk } = self;
        walk.sheets(|sheet| {
            let (len, stride) = sheet.columns;
            match stride {
                1 => sheet.each(|here, there| {
                    out[here..here + len].copy_from_slice(&input[there..there + len]);
                }),
                0 => {
                    let end = sheet.here + sheet.rows.0 * len;
                    sheet.each(|here, there| {
                        let x = input[there];
                        // A short run is written as one of a length known when compiling, of which the runs that
                        // follow overwrite the rest.
                        if len <= RUN && here + RUN <= end {
                            out[here..][..RUN].fill(x);
                        } else {
                            out[here..here + len].fill(x);
                        }
                    });
                }
                _ => sheet.each(|here, there| {
                    for (i, o) in out[here..here + len].iter_mut().enumerate() {
                        *o = input[(there as isize + i as isize * stride) as usize];
                    }
                }),
            }
        });
    }
}

/// Writes `input[i]` to `out[walk(i)]`, as `write` does it.
pub(crate) fn scatter<T: Copy>(out: &mut [T], input: &[T], walk: Walk<'_>, write: impl Fn(&mut T, T) + Copy) {
    walk.sheets(|sheet| {
        let (len, stride) = sheet.columns;
        sheet.each(|here, there| {
            for (i, &x) in input[here..here + len].iter().enumerate() {
                write(&mut out[(there as isize + i as isize * stride) as usize], x);
            }
        });
    });
}

/// Asks the processor to fetch what will be read soon: rows picked at random lie where no hardware
/// expects them. A hint; it changes no result.
pub(crate) fn prefetch<T>(soon: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        const LINE: usize = 64;
        /// More than this the hardware finds by itself once it has seen the beginning.
        const LINES: usize = 16;
        let (start, bytes) = (soon.as_ptr().cast::<i8>(), size_of_val(soon));
        for offset in (0..bytes).step_by(LINE).take(LINES) {
            // SAFETY: `offset` lies inside the slice, and a prefetch of a readable address only moves
            // it into the cache.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = soon;
}

#[cfg(test)]
mod tests {
    use super::{Gather, Walk};
    use crate::kernels::Isa;

    /// Runs of every length, in sheets of every number of rows and in neighbouring sheets.
    #[test]
    fn repeated_numbers_fill_their_runs_and_no_others() {
        let input: Vec<u32> = (0..60).collect();
        for run in 0..20 {
            for rows in 1..12 {
                let (dims, strides) = ([3, rows, run], [20, 1, 0]);
                let mut out = vec![99; 3 * rows * run];
                let walk = Walk { dims: &dims, offset: 2, strides: &strides };
                Isa::best().run(Gather { out: &mut out, input: &input, walk });
                for (i, &found) in out.iter().enumerate() {
                    let (sheet, row) = (i / (rows * run), i / run % rows);
                    assert_eq!(found as usize, 2 + sheet * 20 + row, "{i} of {dims:?}");
                }
            }
        }
        let mut one = [0];
        let walk = Walk { dims: &[], offset: 7, strides: &[] };
        Isa::best().run(Gather { out: &mut one, input: &input, walk });
        assert_eq!(one, [7]);
    }

    #[test]
    fn prefetching_takes_slices_of_any_length() {
        for len in [0, 1, 63, 64, 65, 5000] {
            super::prefetch(&vec![0u8; len]);
            super::prefetch(&vec![0f64; len]);
        }
    }
}
