//! Copies along strides: what permuting, broadcasting and slicing come down to.

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

impl Walk<'_> {
    /// Calls `run(row-major start, other start, other stride, length)` for each innermost run.
    fn runs(&self, mut run: impl FnMut(usize, usize, isize, usize)) {
        if self.dims.contains(&0) {
            return;
        }
        let Some((&inner, mut outer)) = self.dims.split_last() else {
            return run(0, self.offset as usize, 1, 1);
        };
        let (mut inner, stride) = (inner, self.strides[outer.len()]);
        // Axes that lie behind one another here and there are one.
        while let Some((&size, rest)) = outer.split_last()
            && (size == 1 || self.strides[rest.len()] == stride * inner as isize)
        {
            (inner, outer) = (inner * size, rest);
        }
        let mut index = [0usize; MAX_RANK];
        let (mut here, mut there) = (0usize, self.offset);
        loop {
            run(here, there as usize, stride, inner);
            here += inner;
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

/// `out[i] = input[walk(i)]`.
pub(crate) fn gather<T: Copy>(out: &mut [T], input: &[T], walk: Walk<'_>) {
    walk.runs(|here, there, stride, len| {
        let out = &mut out[here..here + len];
        match stride {
            1 => out.copy_from_slice(&input[there..there + len]),
            0 => out.fill(input[there]),
            _ => {
                for (i, o) in out.iter_mut().enumerate() {
                    *o = input[(there as isize + i as isize * stride) as usize];
                }
            }
        }
    });
}

/// `out[walk(i)] += input[i]`.
pub(crate) fn scatter_add<T: Copy + std::ops::AddAssign>(out: &mut [T], input: &[T], walk: Walk<'_>) {
    walk.runs(|here, there, stride, len| {
        for (i, &x) in input[here..here + len].iter().enumerate() {
            out[(there as isize + i as isize * stride) as usize] += x;
        }
    });
}

/// Asks the processor to fetch what will be read soon: rows picked at random lie where no hardware
/// expects them. A hint; it changes no result.
pub(crate) fn prefetch<T>(soon: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        /// More than this the hardware finds by itself once it has seen the beginning.
        const LINES: usize = 16;
        let (start, bytes) = (soon.as_ptr().cast::<i8>(), size_of_val(soon));
        for offset in (0..bytes).step_by(LINE).take(LINES) {
            // SAFETY: `offset` lies inside the slice, and a prefetch of a readable address only moves
            // it into the cache.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = soon;
}

#[cfg(test)]
mod tests {
    #[test]
    fn prefetching_takes_slices_of_any_length() {
        for len in [0, 1, 63, 64, 65, 5000] {
            super::prefetch(&vec![0u8; len]);
            super::prefetch(&vec![0f64; len]);
        }
    }
}
