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
        let Some((&inner, outer)) = self.dims.split_last() else {
            return run(0, self.offset as usize, 1, 1);
        };
        let stride = self.strides[outer.len()];
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
