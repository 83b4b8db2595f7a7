//! Views, reductions, parts and products of small arrays as functions behind pointers, to be applied as those of primitives are.

use std::sync::Arc;

use smallvec::SmallVec;

use super::contract::Loops;
use super::copy::{self, Gather, Walk};
use super::interpret::Single;
use super::primitives::Pointer;
use super::reduce;
use super::simd::{Isa, Real};
use crate::dtype::DType;
use crate::elements::{with_dtype, with_float};
use crate::shape::{Shape, TensorType};

/// Elements of an array that is small.
const MOST: usize = 1024;

/// What such a function reads besides its operand.
pub(crate) struct Small {
    /// The types of the operands and of the result.
    pub(crate) x: SmallVec<[Arc<TensorType>; 1]>,
    pub(crate) y: Arc<TensorType>,
    isa: Isa,
    what: What,
}

/// What moves elements that lie one behind the other.
#[cfg(feature = "jit")]
pub(crate) enum Line {
    /// Those from this one of the operand on.
    Copy(usize),
    /// This one of the operand, again and again.
    Repeat(usize),
    /// The operand's, to this one of the result and behind it.
    Set(usize),
    /// The same, added to what is there.
    Add(usize),
    /// All of them, added up.
    Sum,
}

enum What {
    /// Elements from an offset on that are so far apart.
    Line(isize, isize),
    /// From an offset on, so far apart along each axis of the result.
    Walk(isize, Box<[isize]>),
    /// The sizes of the axes that are summed over, and of those inside.
    Sum(usize, usize),
    /// The same for the largest.
    Max(usize, usize),
    /// Written to, or added to, elements of what is there: from an offset on, so far apart along each axis of the operand.
    Set(isize, Box<[isize]>),
    Add(isize, Box<[isize]>),
    /// A product that needs no scratch.
    Product(Box<Loops>),
}

/// Whether arrays of these types are small.
fn small(x: &TensorType, y: &TensorType) -> bool {
    x.shape.elements().max(y.shape.elements()) <= MOST
}

/// The types of operands, of which there is one.
fn alone(x: &Arc<TensorType>) -> SmallVec<[Arc<TensorType>; 1]> {
    std::iter::once(x.clone()).collect()
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
        Some(Self { x: alone(x), y: y.clone(), isa, what })
    }

    /// Sums over some axes of these sizes, with others inside.
    pub(crate) fn sum(
        [x, y]: [&Arc<TensorType>; 2],
        isa: Isa,
        (reduced, inner): (usize, usize),
    ) -> Option<Self> {
        let fits = small(x, y) && x.dtype.is_float() && reduce::sum_scratch(reduced, inner) == 0;
        fits.then(|| Self { x: alone(x), y: y.clone(), isa, what: What::Sum(reduced, inner) })
    }

    /// The largest over some axes of these sizes, with others inside.
    pub(crate) fn max(
        [x, y]: [&Arc<TensorType>; 2],
        isa: Isa,
        (reduced, inner): (usize, usize),
    ) -> Option<Self> {
        let fits = small(x, y) && x.dtype != DType::Bool;
        fits.then(|| Self { x: alone(x), y: y.clone(), isa, what: What::Max(reduced, inner) })
    }

    /// The product of two operands by these loops.
    pub(crate) fn product(
        x: &[Arc<TensorType>],
        y: &Arc<TensorType>,
        isa: Isa,
        loops: Loops,
    ) -> Option<Self> {
        let fits = y.dtype.is_float() && x.iter().all(|x| small(x, y)) && loops.scratch_bytes(y.dtype) == 0;
        let what = What::Product(Box::new(loops));
        (fits && x.len() == 2).then(|| Self { x: x.into(), y: y.clone(), isa, what })
    }

    /// Written to elements of an array that is there, or added to them: from an offset on that lie so far apart, all within it.
    pub(crate) fn part(
        [x, y]: [&Arc<TensorType>; 2],
        isa: Isa,
        add: bool,
        offset: isize,
        strides: &[isize],
    ) -> Option<Self> {
        let strides =
            strides.get(..x.shape.rank()).filter(|_| small(x, y) && (x.dtype.is_float() || !add))?;
        let what = if add { What::Add } else { What::Set }(offset, strides.into());
        Some(Self { x: alone(x), y: y.clone(), isa, what })
    }

    /// What it is, if it is about elements one behind the other from an element on.
    #[cfg(feature = "jit")]
    pub(crate) fn line(&self) -> Option<Line> {
        let x = self.x.first()?;
        let part = |offset: isize, strides: &[isize]| match line(x.shape, strides) {
            Some(1) => usize::try_from(offset).ok(),
            _ => None,
        };
        match &self.what {
            What::Line(from, 1) => Some(Line::Copy(usize::try_from(*from).ok()?)),
            What::Line(from, 0) => Some(Line::Repeat(usize::try_from(*from).ok()?)),
            What::Set(to, strides) => Some(Line::Set(part(*to, strides)?)),
            What::Add(to, strides) => Some(Line::Add(part(*to, strides)?)),
            What::Sum(reduced, 1) if *reduced == x.shape.elements() => Some(Line::Sum),
            _ => None,
        }
    }

    /// Whether it changes an array where it lies.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.what, What::Set(..) | What::Add(..))
    }

    /// The function; it may be applied for as long as this lives where it is.
    pub(crate) fn single(&self) -> Option<Single> {
        let dtype = self.y.dtype;
        let bytes = dtype.bytes();
        let function: Pointer = match (&self.what, bytes) {
            (What::Product(_), _) => with_float!(dtype, T => Some(product::<T> as Pointer), None)?,
            (What::Sum(..), _) => with_float!(dtype, T => Some(sum::<T> as Pointer), None)?,
            (What::Max(..), _) => with_dtype!(dtype, T => max::<T>),
            (What::Add(..), _) => with_float!(dtype, T => Some(add::<T> as Pointer), None)?,
            (What::Set(..), 1) => set::<u8>,
            (What::Set(..), 4) => set::<u32>,
            (What::Set(..), 8) => set::<u64>,
            (_, 1) => view::<u8>,
            (_, 4) => view::<u32>,
            (_, 8) => view::<u64>,
            _ => return None,
        };
        Some(Single::with_data(function, self.x.len(), bytes as u8, std::ptr::from_ref(self).cast()))
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
unsafe extern "C-unwind" fn view<T: Copy>(
    x: *const u8,
    small: *const u8,
    _: *const u8,
    out: *mut u8,
    len: usize,
) {
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
                let elements = small.x[0].shape.elements();
                (std::slice::from_raw_parts(x, elements), std::slice::from_raw_parts_mut(out, len))
            };
            let walk = Walk { dims: &small.y.shape, offset: *offset, strides };
            small.isa.run(Gather { out, input, walk });
        }
        _ => {}
    }
}

/// The function that copies elements of a type.
pub(crate) fn copied(dtype: DType) -> Option<Single> {
    Single::copy(dtype.bytes())
}

/// # Safety
/// `x` are the elements of the operand of what `small` points to, a [`Small`] of a part of elements of this type; `out` are those of its
/// result.
unsafe fn put<T: Copy>(x: *const u8, small: *const u8, out: *mut u8, write: impl Fn(&mut T, T) + Copy) {
    // SAFETY: the caller's promise.
    let (small, x, out) = unsafe { (&**small.cast::<*const Small>(), x.cast::<T>(), out.cast::<T>()) };
    let (What::Set(offset, strides) | What::Add(offset, strides)) = &small.what else { return };
    let (count, dims) = (small.x[0].shape.elements(), &small.x[0].shape);
    match line(*dims, strides) {
        _ if count == 0 => {}
        Some(step) => {
            for i in 0..count {
                // SAFETY: the part lies within the result, for which there is room.
                unsafe { write(&mut *out.offset(offset + i as isize * step), *x.add(i)) };
            }
        }
        None => {
            // SAFETY: the caller's promise: all elements of both.
            let (input, out) = unsafe {
                let all = small.y.shape.elements();
                (std::slice::from_raw_parts(x, count), std::slice::from_raw_parts_mut(out, all))
            };
            copy::scatter(out, input, Walk { dims, offset: *offset, strides }, write);
        }
    }
}

/// # Safety
/// As for [`put`], of what is written.
unsafe extern "C-unwind" fn set<T: Copy>(
    x: *const u8,
    small: *const u8,
    _: *const u8,
    out: *mut u8,
    _: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { put::<T>(x, small, out, |o, x| *o = x) };
}

/// # Safety
/// As for [`put`], of what is added.
unsafe extern "C-unwind" fn add<T: Real>(
    x: *const u8,
    small: *const u8,
    _: *const u8,
    out: *mut u8,
    _: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { put::<T>(x, small, out, |o, x| *o = *o + x) };
}

/// # Safety
/// As for [`view`], of a [`Small`] of the largest.
unsafe extern "C-unwind" fn max<T: Copy + PartialOrd>(
    x: *const u8,
    small: *const u8,
    _: *const u8,
    out: *mut u8,
    len: usize,
) {
    // SAFETY: the caller's promise.
    let small = unsafe { &**small.cast::<*const Small>() };
    let What::Max(reduced, inner) = small.what else { return };
    // SAFETY: the caller's promise: all elements of both.
    let (input, out) = unsafe {
        let elements = small.x[0].shape.elements();
        (std::slice::from_raw_parts(x.cast::<T>(), elements), std::slice::from_raw_parts_mut(out.cast(), len))
    };
    reduce::max(out, input, (reduced, inner), false);
}

/// # Safety
/// As for [`view`], of a [`Small`] of a sum.
unsafe extern "C-unwind" fn sum<T: Real>(
    x: *const u8,
    small: *const u8,
    _: *const u8,
    out: *mut u8,
    len: usize,
) {
    // SAFETY: the caller's promise.
    let small = unsafe { &**small.cast::<*const Small>() };
    let What::Sum(reduced, inner) = small.what else { return };
    // SAFETY: the caller's promise: all elements of both.
    let (input, out) = unsafe {
        let elements = small.x[0].shape.elements();
        (std::slice::from_raw_parts(x.cast::<T>(), elements), std::slice::from_raw_parts_mut(out.cast(), len))
    };
    let sum = reduce::Sum { out, input, sizes: (reduced, inner), accumulate: false, scratch: &mut [] };
    small.isa.narrow(sum);
}

/// # Safety
/// `a` and `b` are the elements of the operands of what `small` points to, a [`Small`] of a product; `out` has room for its result.
unsafe extern "C-unwind" fn product<T: Real>(
    a: *const u8,
    b: *const u8,
    small: *const u8,
    out: *mut u8,
    len: usize,
) {
    // SAFETY: the caller's promise.
    let small = unsafe { &**small.cast::<*const Small>() };
    let (What::Product(loops), [x, y]) = (&small.what, small.x.as_slice()) else { return };
    // SAFETY: the caller's promise: all elements of all.
    let (lhs, rhs, out) = unsafe {
        let (a, b) = (a.cast::<T>(), b.cast::<T>());
        (
            std::slice::from_raw_parts(a, x.shape.elements()),
            std::slice::from_raw_parts(b, y.shape.elements()),
            std::slice::from_raw_parts_mut(out.cast::<T>(), len),
        )
    };
    // It fails for operands of other sizes alone.
    let _ = loops.run(small.isa, (lhs, rhs), &[], (1.0, 0.0), out, &mut []);
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
    fn parts_are_written_or_added_where_they_lie() {
        let x = [1.0, 2.0, 3.0, 4.0];
        let put = |add, dims: &[usize], offset, strides: &[isize]| {
            let small = Small::part([&ty(dims), &ty(&[6])], Isa::best(), add, offset, strides).unwrap();
            let (mut out, single, data) = ([10.0; 6], small.single().unwrap(), &raw const small);
            let (from, data) = (x.as_ptr().cast(), (&raw const data).cast());
            // SAFETY: both are as long as the types say.
            unsafe { (single.function)(from, data, from, out.as_mut_ptr().cast(), 6) };
            out
        };
        assert_eq!(put(false, &[3], 1, &[2]), [10.0, 1.0, 10.0, 2.0, 10.0, 3.0]);
        assert_eq!(put(true, &[3], 5, &[-1]), [10.0, 10.0, 10.0, 13.0, 12.0, 11.0]);
        assert_eq!(put(true, &[2, 2], 0, &[1, 3]), [11.0, 13.0, 10.0, 12.0, 14.0, 10.0]);
        assert_eq!(put(false, &[], 4, &[]), [10.0, 10.0, 10.0, 10.0, 1.0, 10.0]);
        assert_eq!(put(false, &[0], 6, &[1]), [10.0; 6]);
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
        let max = |dims: &[usize], made: &[usize], sizes| {
            apply(Small::max([&ty(dims), &ty(made)], Isa::best(), sizes).unwrap(), &x)
        };
        assert_eq!(max(&[12], &[], (12, 1)), [11.0]);
        assert_eq!(max(&[2, 3, 2], &[2, 2], (3, 2)), [4.0, 5.0, 10.0, 11.0]);
        assert!(Small::view([&ty(&[2000]), &ty(&[1])], Isa::best(), 0, &[1]).is_none(), "large");
    }
}
