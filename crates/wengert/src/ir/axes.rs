//! Axes as users name them.

use super::list::List;
use crate::error::{ErrorKind, ShapeError};
use crate::sizes::{Integer, position};

/// Some axes: `()` for all, one number, or several in an array, a slice or a vector. Numbers are of any integer type, or
/// [`Axis`](ndarray::Axis); negative ones count from the last. [`Keep`] around them leaves reduced axes in place, with size 1.
///
/// ```
/// use ndarray::{array, Axis};
/// use wengert::Keep;
/// let t = wengert::Recorder::default();
/// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(x.sum(-1).value()?, x.sum(Axis(1)).value()?);
/// assert_eq!(x.sum(()).value()?, x.sum([0, -1]).value()?);
/// assert_eq!((x / x.sum(Keep(0))).value()?.to_f64(), [0.25, 2.0 / 6.0, 0.75, 4.0 / 6.0]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no axes",
    note = "axes are `()` for all, a number, or several in an array or slice; negative ones count from the last",
    note = "the larger of two arrays is `x.maximum(y)`, the smaller `x.minimum(y)`"
)]
pub trait Axes {
    /// The axes of an array of so many, in the order in which they are named. An error where one does not exist or is repeated.
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind>;
    /// Whether reduced axes stay, with size 1.
    fn keep(&self) -> bool {
        false
    }
}

/// Axes that a reduction leaves in place, with size 1, so that its result broadcasts with what was reduced.
///
/// ```
/// use wengert::{DType::F32, Keep};
/// let t = wengert::Recorder::default();
/// assert_eq!(t.input(F32, [2, 3]).max(Keep(-1)).shape(), [2, 1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep<A>(pub A);

impl<A: Axes> Axes for Keep<A> {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        self.0.resolve(rank)
    }
    fn keep(&self) -> bool {
        true
    }
}

fn resolve(axes: impl Iterator<Item = isize>, rank: usize) -> Result<List<usize>, ErrorKind> {
    let mut found = List::new();
    for axis in axes {
        let axis = position(axis, rank).ok_or(ShapeError::NoAxis { axis, rank })?;
        if found.contains(&axis) {
            return Err(ShapeError::RepeatedAxis { axis }.into());
        }
        found.push(axis);
    }
    Ok(found)
}

impl Axes for () {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        Ok((0..rank).collect())
    }
}
impl<T: Integer> Axes for T {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        resolve(std::iter::once(self.get()), rank)
    }
}
impl<T: Integer> Axes for [T] {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        resolve(self.iter().map(|axis| axis.get()), rank)
    }
}
macro_rules! references {
    ([$($generics:tt)*] $T:ty) => {
        impl<$($generics)*> Axes for &$T {
            fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
                self[..].resolve(rank)
            }
        }
    };
}
references!([T: Integer] [T]);
references!([T: Integer] Vec<T>);

// One by one, and none of any type, so that `[]` need not say of what.
macro_rules! arrays {
    ([$($generics:tt)*] $T:ty) => {
        impl<$($generics)*> Axes for $T {
            fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
                self.as_slice().resolve(rank)
            }
        }
    };
    ($($N:literal)+) => {$(
        arrays!([T: Integer] [T; $N]);
        references!([T: Integer] [T; $N]);
    )+};
}
arrays!([] [usize; 0]);
references!([] [usize; 0]);
arrays! { 1 2 3 4 5 6 7 8 9 10 11 12 }
impl<T: Integer> Axes for Vec<T> {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        self.as_slice().resolve(rank)
    }
}
/// The axes in the order in which they are named, whatever an implementation outside of this crate says.
pub(crate) fn named(axes: &(impl Axes + ?Sized), rank: usize) -> Result<List<usize>, ErrorKind> {
    (*axes.resolve(rank)?).resolve(rank)
}

/// The axes in ascending order.
pub(crate) fn ascending(axes: &(impl Axes + ?Sized), rank: usize) -> Result<List<usize>, ErrorKind> {
    let named = named(axes, rank)?;
    Ok((0..rank).filter(|axis| named.contains(axis)).collect())
}

/// The axis, where there is to be one.
pub(crate) fn single(axes: &(impl Axes + ?Sized), rank: usize) -> Result<usize, ErrorKind> {
    match named(axes, rank)?[..] {
        [axis] => Ok(axis),
        ref several => Err(ShapeError::Other(format!("one axis expected, found {several:?}")).into()),
    }
}
