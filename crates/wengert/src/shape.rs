//! Shapes, axes, strides and the one place that knows the broadcasting rule.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind, ShapeError};

/// The largest number of axes a tensor can have.
pub const MAX_RANK: usize = 8;

/// The sizes of a tensor's axes, outermost first. `Copy`, at most [`MAX_RANK`] axes; the empty
/// shape is a scalar.
///
/// ```
/// use wengert::{IntoShape, Shape};
/// let shape = [2, 3].into_shape()?;
/// assert_eq!(shape.elements(), 6);
/// assert_eq!(&shape[..], &[2, 3]);
/// assert_eq!(Shape::SCALAR.elements(), 1);
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    rank: u8,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// The shape of a scalar: no axes, one element.
    pub const SCALAR: Self = Self { rank: 0, dims: [0; MAX_RANK] };

    /// A shape from sizes. An error where there are more than [`MAX_RANK`] axes, or where 8-byte elements (of
    /// all axes but those of size 0) would take more than 2⁵⁵ bytes: more than any machine addresses, and so few that
    /// sizes of a few such arrays can be added without overflow.
    pub fn new(dims: &[usize]) -> Result<Self, ErrorKind> {
        if dims.len() > MAX_RANK {
            return Err(ShapeError::TooManyAxes { rank: dims.len(), most: MAX_RANK }.into());
        }
        let countable = dims
            .iter()
            .try_fold(8usize, |bytes, &d| bytes.checked_mul(d.max(1)))
            .is_some_and(|bytes| bytes <= isize::MAX as usize >> 8);
        if !countable {
            return Err(ShapeError::TooLarge { shape: dims.to_vec() }.into());
        }
        let mut shape = Self::SCALAR;
        shape.rank = dims.len() as u8;
        shape.dims[..dims.len()].copy_from_slice(dims);
        Ok(shape)
    }

    /// The number of elements: the product of the sizes, 1 for a scalar.
    #[inline]
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// This shape with an axis of `size` put in front of `axis`, or behind the last. An error where there is no such
    /// place.
    pub fn insert(&self, axis: usize, size: usize) -> Result<Self, ErrorKind> {
        if axis > self.rank() {
            return Err(ShapeError::NoAxis { axis: axis as isize, rank: self.rank() }.into());
        }
        let mut dims = self.to_vec();
        dims.insert(axis, size);
        Self::new(&dims)
    }

    /// The position on each axis of an element of a row-major array.
    pub(crate) fn position(&self, element: usize) -> Vec<usize> {
        let (mut rest, mut index) = (element, vec![0; self.rank()]);
        for (at, &size) in index.iter_mut().zip(self.iter()).rev() {
            *at = rest % size.max(1);
            rest /= size.max(1);
        }
        index
    }

    /// This shape without the `count` axes from `axis` on.
    pub(crate) fn remove(&self, axis: usize, count: usize) -> Self {
        let mut out = Self::SCALAR;
        for (i, &d) in self.iter().enumerate() {
            if i < axis || i >= axis + count {
                out.dims[out.rank()] = d;
                out.rank += 1;
            }
        }
        out
    }

    /// This shape with another size at `axis`.
    pub(crate) fn with(&self, axis: usize, size: usize) -> Self {
        let mut out = *self;
        if axis < out.rank() {
            out.dims[axis] = size;
        }
        out
    }

    /// The first axis that is no more than one index, and its size; axis 0 of size 1 where there is none. Pieces along it
    /// lie one behind the other.
    pub(crate) fn outermost(&self) -> (usize, usize) {
        let axis = self.iter().position(|&size| size != 1);
        axis.map_or((0, 1), |axis| (axis, self[axis]))
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> [isize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1isize;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step *= self.dims[axis].max(1) as isize;
        }
        strides
    }

    /// The product of the sizes before `axis`, of the `count` axes from it on, and after them:
    /// how a kernel sees an operation along contiguous axes.
    pub(crate) fn split_at(&self, axis: usize, count: usize) -> (usize, usize, usize) {
        (
            self[..axis].iter().product(),
            self[axis..axis + count].iter().product(),
            self[axis + count..].iter().product(),
        )
    }

    /// The common shape of two operands under NumPy's rule: aligned at the last axis, sizes
    /// must agree or be 1.
    ///
    /// ```
    /// use wengert::IntoShape;
    /// let (a, b) = ([2, 1].into_shape()?, [3].into_shape()?);
    /// assert_eq!(&a.broadcast(&b)?[..], &[2, 3]);
    /// # Ok::<(), wengert::ErrorKind>(())
    /// ```
    pub fn broadcast(&self, other: &Self) -> Result<Self, ErrorKind> {
        let rank = self.rank().max(other.rank());
        let size = |s: &Self, axis: usize| (axis + s.rank()).checked_sub(rank).map_or(1, |i| s.dims[i]);
        let mut out = Self::SCALAR;
        out.rank = rank as u8;
        for axis in 0..rank {
            out.dims[axis] = match (size(self, axis), size(other, axis)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return Err(ShapeError::Broadcast { from: self.to_vec(), to: other.to_vec() }.into()),
            };
        }
        Self::new(&out)
    }
}

/// With the sizes of an array: `x.shape() == [2, 3]`.
impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, sizes: &[usize; N]) -> bool {
        **self == *sizes
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, sizes: &[usize]) -> bool {
        **self == *sizes
    }
}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.rank);
        self.iter().for_each(|&size| state.write_usize(size));
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self[..])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Element type and shape: all that is known of a value before it has numbers.
///
/// ```
/// use wengert::{DType, IntoShape, TensorType};
/// let ty = TensorType::new(DType::F32, [2, 3].into_shape()?);
/// assert_eq!(ty.to_string(), "f32[2, 3]");
/// assert_eq!(ty.bytes(), 24);
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TensorType {
    /// The type of the elements.
    pub dtype: DType,
    /// The sizes of the axes.
    pub shape: Shape,
}

impl TensorType {
    /// A type from its two parts.
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self { dtype, shape }
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> usize {
        self.dtype.bytes() * self.shape.elements()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// An error where the operands are not all of one type that has derivatives.
pub(crate) fn one_float_type(operands: &[TensorType]) -> Result<(), ErrorKind> {
    for (i, x) in operands.iter().enumerate() {
        if !x.dtype.is_float() {
            return Err(DTypeError::Expected { expected: DType::FLOATS, found: x.dtype }.into());
        }
        if i > 0 {
            same_dtype(operands[0], *x)?;
        }
    }
    Ok(())
}

/// An error where two operands are of different element types.
pub(crate) fn same_dtype(left: TensorType, right: TensorType) -> Result<(), ErrorKind> {
    let (left, right) = (left.dtype, right.dtype);
    if left == right { Ok(()) } else { Err(DTypeError::Differ { left, right }.into()) }
}

/// An error where two shapes differ.
pub(crate) fn same_shape(left: Shape, right: Shape) -> Result<(), ErrorKind> {
    let differ = || ShapeError::Differ { left: left.to_vec(), right: right.to_vec() };
    if left == right { Ok(()) } else { Err(differ().into()) }
}
