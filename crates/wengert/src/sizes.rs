//! Whole numbers, and shapes, as users write them.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use ndarray::{Axis, Dim, Dimension, Slice};

use crate::elements::sealed::Sealed;
use crate::error::{ErrorKind, ShapeError};
use crate::shape::Shape;

/// A whole number that names an axis, a position or a size: of any of Rust's integer types, or an [`Axis`]. Negative ones count from
/// the end. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no whole number, nor an `Axis`",
    note = "axes, positions and sizes are integers of any type, or `Axis(i)`"
)]
pub trait Integer: Copy + Sealed {
    /// The number; the nearest one where it is too large.
    fn get(self) -> isize;
}
macro_rules! integer {
    ($($T:ident)+) => {$(
        impl Integer for $T {
            fn get(self) -> isize {
                isize::try_from(self).unwrap_or(isize::MAX)
            }
        }
    )+};
}
integer! { u8 u16 u32 u64 i8 i16 i32 i64 usize isize }
impl Sealed for u64 {}
impl Sealed for Axis {}
impl Integer for Axis {
    fn get(self) -> isize {
        self.index().get()
    }
}

/// A position among `len`, where negative ones count from the end.
pub(crate) fn position(index: isize, len: usize) -> Option<usize> {
    let from_start = if index < 0 { index.checked_add_unsigned(len)? } else { index };
    usize::try_from(from_start).ok().filter(|&i| i < len)
}

/// A range of an axis: `1..3`, `1..`, `..-1`, `..`, of integers of any type, or `ndarray`'s [`Slice`], which may have a step.
///
/// ```
/// use wengert::{DType::F32, Recorder};
/// let t = Recorder::default();
/// assert_eq!(t.input(F32, [5]).slice(0, 1..=-2).shape(), [3]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no range of an axis",
    note = "ranges are `1..3`, `1..`, `..-1`, `..`, or `ndarray::Slice::from(1..).step_by(2)`; one position is `x.at(i)`"
)]
pub trait IntoSlice {
    /// Where it begins and ends, and its step.
    fn into_slice(self) -> Slice;
}
macro_rules! into_slice {
    ($([$($generics:tt)*] $T:ty, |$x:ident| $start:expr, $end:expr;)+) => {$(
        impl<$($generics)*> IntoSlice for $T {
            fn into_slice(self) -> Slice {
                let $x = self;
                Slice::new($start, $end, 1)
            }
        }
    )+};
}
into_slice! {
    [] RangeFull, |_all| 0, None;
    [T: Integer] Range<T>, |x| x.start.get(), Some(x.end.get());
    [T: Integer] RangeFrom<T>, |x| x.start.get(), None;
    [T: Integer] RangeTo<T>, |x| 0, Some(x.end.get());
    [T: Integer] RangeInclusive<T>, |x| x.start().get(), behind(x.end().get());
    [T: Integer] RangeToInclusive<T>, |x| 0, behind(x.end.get());
}
impl IntoSlice for Slice {
    fn into_slice(self) -> Slice {
        self
    }
}
/// The end of a range whose last position this is.
fn behind(last: isize) -> Option<isize> {
    if last == -1 { None } else { Some(last.saturating_add(1)) }
}

/// What can name a shape: one size, or several as an array, a slice, a vector or a tuple; `()` for a scalar; what `ndarray` calls a
/// dimension (`array.raw_dim()`); a [`Shape`].
///
/// ```
/// use wengert::IntoShape;
/// let shape = [2, 3].into_shape()?;
/// assert_eq!(shape, (2, 3).into_shape()?);
/// assert_eq!(shape, ndarray::Array2::<f32>::zeros((2, 3)).raw_dim().into_shape()?);
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no shape",
    note = "shapes are sizes (`usize`): `5`, `[2, 3]`, `(n, 3)`, `vec![n; 4]`, `()` for a scalar, `array.raw_dim()`, `x.shape()`"
)]
pub trait IntoShape {
    /// The shape, or why these sizes are none.
    fn into_shape(self) -> Result<Shape, ErrorKind>;
}

/// What can name the shape of elements that are there: what can name any [shape](IntoShape), of integers of any type, where one size
/// may be −1, for whatever the others leave.
///
/// ```
/// use wengert::IntoSizes;
/// assert_eq!([2, -1].into_sizes(6)?, [2, 3]);
/// assert!([4, -1].into_sizes(6).is_err());
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no shape",
    note = "shapes are sizes: `5`, `[2, -1]`, `(n, 3)`, `vec![n; 4]`, `()` for a scalar, `array.raw_dim()`, `x.shape()`"
)]
pub trait IntoSizes {
    /// The shape of so many elements, or why these sizes are none.
    fn into_sizes(self, elements: usize) -> Result<Shape, ErrorKind>;
}

/// A shape of these sizes, one of which may be −1.
fn sizes(sizes: impl Iterator<Item = isize>, elements: usize) -> Result<Shape, ErrorKind> {
    let (mut dims, mut open) = (Vec::new(), None);
    for (i, size) in sizes.enumerate() {
        match usize::try_from(size) {
            Ok(size) => dims.push(size),
            Err(_) if size == -1 && open.is_none() => {
                open = Some(i);
                dims.push(1);
            }
            Err(_) if size == -1 => return Err(ShapeError::Other("two sizes are −1".into()).into()),
            Err(_) => return Err(ShapeError::Other(format!("an axis of size {size}")).into()),
        }
    }
    if let Some(open) = open {
        let others = Shape::new(&dims)?.elements();
        if others == 0 || !elements.is_multiple_of(others) {
            dims.remove(open);
            let what = format!("{elements} elements do not fill an array of {dims:?} and whatever is left");
            return Err(ShapeError::Other(what).into());
        }
        dims[open] = elements / others;
    }
    Shape::new(&dims)
}

macro_rules! into_shape {
    ([$($generics:tt)*] $T:ty, |$sizes:pat_param| $list:expr) => {
        impl<$($generics)*> IntoShape for $T {
            fn into_shape(self) -> Result<Shape, ErrorKind> {
                let $sizes = self;
                Shape::new(&$list[..])
            }
        }
    };
}
macro_rules! into_sizes {
    ([$($generics:tt)*] $T:ty, |$sizes:pat_param| $list:expr) => {
        impl<$($generics)*> IntoSizes for $T {
            fn into_sizes(self, elements: usize) -> Result<Shape, ErrorKind> {
                let $sizes = self;
                sizes($list.iter().map(|size| size.get()), elements)
            }
        }
    };
}
into_shape!([] Shape, |shape| shape);
into_sizes!([] Shape, |shape| shape);
into_shape!([] & Shape, |shape| *shape);
into_sizes!([] & Shape, |shape| shape);
into_shape!([](), |()| []);
into_sizes!([](), |()| [0usize; 0]);
into_shape!([] usize, |size| [size]);
into_sizes!([T: Integer] T, |size| [size]);
into_shape!([] & [usize], |sizes| *sizes);
into_sizes!([T: Integer] &[T], |sizes| sizes);
into_shape!([] Vec<usize>, |sizes| sizes);
into_sizes!([T: Integer] Vec<T>, |sizes| sizes);
into_shape!([] &Vec<usize>, |sizes| *sizes);
into_sizes!([T: Integer] &Vec<T>, |sizes| sizes);
into_shape!([const N: usize] [usize; N], |sizes| sizes);
into_shape!([const N: usize] &[usize; N], |sizes| *sizes);

impl<I> IntoShape for Dim<I>
where
    Self: Dimension,
{
    fn into_shape(self) -> Result<Shape, ErrorKind> {
        Shape::new(self.slice())
    }
}
impl<I> IntoSizes for Dim<I>
where
    Self: Dimension,
{
    fn into_sizes(self, _: usize) -> Result<Shape, ErrorKind> {
        self.into_shape()
    }
}

// One by one, and none of any type, so that `[]` need not say of what.
macro_rules! arrays {
    ($($N:literal)+) => {$(
        into_sizes!([T: Integer] [T; $N], |sizes| sizes);
        into_sizes!([T: Integer] &[T; $N], |sizes| sizes);
    )+};
}
into_sizes!([] [usize; 0], |sizes| sizes);
into_sizes!([] & [usize; 0], |sizes| sizes);
arrays! { 1 2 3 4 5 6 7 8 9 10 11 12 }

macro_rules! tuples {
    ($($T:ident $x:ident),+) => {
        into_shape!([] ($(tuples!(@ $T),)+), |($($x,)+)| [$($x),+]);
        into_sizes!([$($T: Integer),+] ($($T,)+), |($($x,)+)| [$($x.get()),+]);
    };
    (@ $T:ident) => { usize };
}
tuples!(A a);
tuples!(A a, B b);
tuples!(A a, B b, C c);
tuples!(A a, B b, C c, D d);
tuples!(A a, B b, C c, D d, E e);
tuples!(A a, B b, C c, D d, E e, F f);
