//! Views and sums of small arrays as functions behind pointers, to be applied as those of primitives are.

use std::sync::Arc;

use super::copy::{Gather, Walk};
use super::interpret::Single;
use super::primitives::Pointer;
use super::reduce;
use super::simd::{Isa, Real};
use crate::elements::with_float;
use crate::shape::{Shape, TensorType};

/// Elements of an array that is small.
const MOST: usize = 1024;

/// What such a function reads besides its operand.
pub(crate) struct Small {
    /// The types of the operand and of the result.
    pub(crate) x: Arc<TensorType>,
    pub(crate) y: Arc<TensorType>,
    isa: Isa,
    what: What,
}

enum What {
    /// Elements from an offset on that are so far apart.
    Line(isize, isize),
    /// From an offset on, so far apart along each axis of the result.
    Walk(isize, Box<[isize]>),
    /// The sizes of the axes that are summed over, and of those inside.
    Sum(usize, usize),
}

/// Whether arrays of these types are small.
fn small(x: &TensorType, y: &TensorType) -> bool {
    x.shape.elements().max(y.shape.elements()) <= MOST
}

impl Small {
    /// Elements of an array from an offset on, which lies within it for all elements of the result.
    pub(crate) fn view(
        [x, y]: [&Arc<TensorType>; 2],
        isa: Isa,
        offset: isize,
        strides: &[isize],
    ) -> Option<Self> {
        let strides = strides.get(..y.shape.rank()).filter(|_| small(x, y))?;
        let what = line(y.shape, strides)
            .map_or_else(|| What::Walk(offset, strides.into()), |step| What::Line(offset, step));
        Some(Self { x: x.clone(), y: y.clone(), isa, what })
    }

    /// Sums over some axes of these sizes, with others inside.
    pub(crate) fn sum(
        [x, y]: [&Arc<TensorType>; 2],
        isa: Isa,
        (reduced, inner): (usize, usize),
    ) -> Option<Self> {
        let fits = small(x, y) && x.dtype.is_float() && reduce::sum_scratch(reduced, inner) == 0;
        fits.then(|| Self { x: x.clone(), y: y.clone(), isa, what: What::Sum(reduced, inner) })
    }

    /// The function; it may be applied for as long as this lives where it is.
    pub(crate) fn single(&self) -> Option<Single> {
        let bytes = self.x.dtype.bytes();
        let function: Pointer = match (&self.what, bytes) {
            (What::Sum(..), _) => with_float!(self.x.dtype, T => Some(sum::<T> as Pointer), None)?,
            (_, 1) => view::<u8>,
            (_, 4) => view::<u32>,
            (_, 8) => view::<u64>,
            _ => return None,
        };
        Some(Single::with_data(function, bytes as u8, std::ptr::from_ref(self).cast()))
    }
}

/// How far apart neighbours are, where all elements in row-major order are as far from the next.
fn line(shape: Shape, strides: &[isize]) -> Option<isize> {
    let mut axes = shape.iter().zip(strides).rev().filter(|(size, _)| **size != 1);
    let Some((&size, &step)) = axes.next() else { return Some(1) };
    let mut next = size as isize * step;
    for (&size, &stride) in axes {
        if stride != next {
            return None;
        }
        next *= size as isize;
    }
    Some(step)
}

/// # Safety
/// `x` are the elements of the operand of what `small` points to, a [`Small`] of a view of elements of this size; `out` has room for its result, of `len`
/// elements.
unsafe fn view<T: Copy>(x: *const u8, small: *const u8, _: *const u8, out: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    let (small, x, out) = unsafe { (&**small.cast::<*const Small>(), x.cast::<T>(), out.cast::<T>()) };
    if len == 0 {
        // Of nothing it may begin anywhere.
        return;
    }
    match &small.what {
        // SAFETY: a view lies within its operand, and the result has room for it.
        What::Line(from, 1) => unsafe { std::ptr::copy_nonoverlapping(x.offset(*from), out, len) },
        What::Line(from, step) => {
            for i in 0..len {
                // SAFETY: as above.
                unsafe { *out.add(i) = *x.offset(from + i as isize * step) };
            }
        }
        What::Walk(offset, strides) => {
            // SAFETY: the caller's promise: all elements of both.
            let (input, out) = unsafe {
                let elements = small.x.shape.elements();
                (std::slice::from_raw_parts(x, elements), std::slice::from_raw_parts_mut(out, len))
            };
            let walk = Walk { dims: &small.y.shape, offset: *offset, strides };
            small.isa.run(Gather { out, input, walk });
        }
        What::Sum(..) => {}
    }
}

/// # Safety
/// As for [`view`], of a [`Small`] of a sum.
unsafe fn sum<T: Real>(x: *const u8, small: *const u8, _: *const u8, out: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    let small = unsafe { &**small.cast::<*const Small>() };
    let What::Sum(reduced, inner) = small.what else { return };
    // SAFETY: the caller's promise: all elements of both.
    let (input, out) = unsafe {
        let elements = small.x.shape.elements();
        (std::slice::from_raw_parts(x.cast::<T>(), elements), std::slice::from_raw_parts_mut(out.cast(), len))
    };
    let sum = reduce::Sum { out, input, sizes: (reduced, inner), accumulate: false, scratch: &mut [] };
    small.isa.narrow(sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    fn ty(dims: &[usize]) -> Arc<TensorType> {
        Arc::new(TensorType::new(DType::F64, Shape::new(dims).unwrap()))
    }

    fn apply(small: Small, x: &[f64]) -> Vec<f64> {
        let mut out = vec![f64::NAN; small.y.shape.elements()];
        let (at, len, single, data) =
            (x.as_ptr().cast(), out.len(), small.single().unwrap(), &raw const small);
        // SAFETY: both are as long as the types say.
        unsafe { (single.function)(at, (&raw const data).cast(), at, out.as_mut_ptr().cast(), len) };
        out
    }

    #[test]
    fn views_of_elements_equally_far_apart_are_lines() {
        let of = |dims: &[usize], strides: &[isize]| line(Shape::new(dims).unwrap(), strides);
        assert_eq!(of(&[], &[]), Some(1));
        assert_eq!(of(&[3], &[-1]), Some(-1));
        assert_eq!(of(&[2, 3], &[6, 2]), Some(2));
        assert_eq!(of(&[2, 1, 3], &[3, 99, 1]), Some(1));
        assert_eq!(of(&[2, 3], &[0, 0]), Some(0));
        assert_eq!(of(&[2, 3], &[1, 2]), None);
        assert_eq!(of(&[2, 3], &[1, 0]), None);
    }

    #[test]
    fn small_views_and_sums_are_those_of_loops() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        let view = |dims: &[usize], offset, strides: &[isize]| {
            apply(Small::view([&ty(&[12]), &ty(dims)], Isa::best(), offset, strides).unwrap(), &x)
        };
        assert_eq!(view(&[], 7, &[]), [7.0]);
        assert_eq!(view(&[3], 4, &[1]), [4.0, 5.0, 6.0]);
        assert_eq!(view(&[3], 11, &[-4]), [11.0, 7.0, 3.0]);
        assert_eq!(view(&[2, 2], 5, &[0, 0]), [5.0; 4]);
        assert_eq!(view(&[2, 3], 1, &[1, 2]), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let sum = |dims: &[usize], made: &[usize], sizes| {
            apply(Small::sum([&ty(dims), &ty(made)], Isa::best(), sizes).unwrap(), &x)
        };
        assert_eq!(sum(&[12], &[], (12, 1)), [66.0]);
        assert_eq!(sum(&[2, 3, 2], &[2, 2], (3, 2)), [6.0, 9.0, 24.0, 27.0]);
        assert!(Small::view([&ty(&[2000]), &ty(&[1])], Isa::best(), 0, &[1]).is_none(), "large");
    }
}
