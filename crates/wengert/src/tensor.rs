//! Owned arrays whose element type is known at run time, and what may be bound as an input.

use std::fmt;

use ndarray::{Array, ArrayBase, ArrayViewD, Data, Dimension, IxDyn};

use crate::dtype::DType;
use crate::elements::sealed::Sealed;
use crate::elements::{Buffer, Element, Native, Slice, SliceMut, with_dtype};
use crate::error::{DTypeError, Error, ErrorKind, Result, ShapeError};
use crate::shape::{IntoShape, Shape, TensorType};

/// An owned row-major array of any element type: a constant, a state, a value.
///
/// ```
/// use ndarray::array;
/// use wengert::Tensor;
/// let t = Tensor::from_array(&array![[1.0f32, 2.0], [3.0, 4.0]])?;
/// assert_eq!(t.ty().to_string(), "f32[2, 2]");
/// assert_eq!(t.as_slice::<f32>()?, &[1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(t.view::<f32>()?[[1, 0]], 3.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Buffer,
}

impl Tensor {
    /// A tensor of this shape from row-major elements. An error where their number differs.
    pub fn new<T: Element>(shape: impl IntoShape, elements: Vec<T>) -> Result<Self> {
        let shape = shape.into_shape()?;
        if shape.elements() != elements.len() {
            let (shape, found) = (shape.to_vec(), elements.len());
            return Err(ErrorKind::Shape(ShapeError::Elements { shape, found }).into());
        }
        Ok(Self { shape, data: T::buffer(elements) })
    }

    /// A tensor of parts that are known to fit.
    pub(crate) fn from_parts(shape: Shape, data: Buffer) -> Self {
        Self { shape, data }
    }

    /// A scalar.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { shape: Shape::SCALAR, data: T::buffer(vec![value]) }
    }

    /// A tensor whose elements are all `value`, converted as `as` does. An error where the memory
    /// cannot be allocated.
    pub fn filled(ty: TensorType, value: f64) -> Result<Self> {
        Ok(Self { shape: ty.shape, data: Buffer::filled(ty.dtype, ty.shape.elements(), value)? })
    }

    /// A copy. An error where the allocation fails.
    ///
    /// ```
    /// let x = wengert::Tensor::scalar(2.5);
    /// assert_eq!(x.try_clone()?, x);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self> {
        let mut copy = Self::filled(self.ty(), 0.0)?;
        copy.data_mut().copy_from(self.data());
        Ok(copy)
    }

    /// A copy of an `ndarray` array of any layout. An error for more than eight axes, or where the memory cannot be
    /// had.
    pub fn from_array<T, S, D>(array: &ArrayBase<S, D>) -> Result<Self>
    where
        T: Element,
        S: Data<Elem = T>,
        D: Dimension,
    {
        let shape = Shape::new(array.shape())?;
        let mut elements = Vec::new();
        let bytes = shape.elements().saturating_mul(size_of::<T>());
        elements.try_reserve_exact(shape.elements()).map_err(|_| ErrorKind::Memory { bytes })?;
        elements.extend(array.iter().copied());
        Ok(Self { shape, data: T::buffer(elements) })
    }

    /// Element type and shape.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.data().dtype(), self.shape)
    }

    /// The sizes of the axes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The elements, row-major, typed at run time.
    pub fn data(&self) -> Slice<'_> {
        self.data.as_slice()
    }

    /// The elements, row-major and mutable, typed at run time.
    pub fn data_mut(&mut self) -> SliceMut<'_> {
        self.data.as_slice_mut()
    }

    /// The elements, row-major. An error where `T` is not the element type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        typed(self.data())
    }

    /// The elements as an `ndarray` view. An error where `T` is not the element type.
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'_, T>> {
        view(self.shape, self.data())
    }

    /// The elements converted to f64, row-major.
    pub fn to_f64(&self) -> Vec<f64> {
        (0..self.shape.elements()).filter_map(|i| self.data().f64_at(i)).collect()
    }

    /// The only element, as f64. An error where there is more or less than one.
    pub fn item(&self) -> Result<f64> {
        item(self.shape, self.data())
    }
}

/// The type and the elements, in brackets by axes, the first few of them.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        write!(f, "{} ", self.ty())?;
        let (len, shape) = (self.shape.elements(), &self.shape);
        if len == 0 {
            return f.write_str("[]");
        }
        // How many axes begin, or end, at a position.
        let edges = |at: usize| {
            let slabs = (0..shape.rank()).map(|axis| shape[axis..].iter().product::<usize>());
            slabs.filter(|slab| at.is_multiple_of(*slab)).count()
        };
        for i in 0..len.min(SHOWN) {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&"[".repeat(edges(i)))?;
            let data = self.data().get(i..i + 1);
            match bool::from_slice(data) {
                Some(truth) => truth.iter().try_for_each(|x| write!(f, "{x:?}")),
                None => with_dtype!(data.dtype(), T => {
                    T::stored(data).into_iter().flatten().try_for_each(|x| write!(f, "{x:?}"))
                }),
            }?;
            f.write_str(&"]".repeat(edges(i + 1)))?;
        }
        if len > SHOWN { write!(f, " … {} more", len - SHOWN) } else { Ok(()) }
    }
}

impl<T: Element> From<T> for Tensor {
    fn from(value: T) -> Self {
        Self::scalar(value)
    }
}

impl<T: Element, D: Dimension> TryFrom<Array<T, D>> for Tensor {
    type Error = Error;
    /// Takes over the buffer where the array is row-major already, copies it otherwise.
    fn try_from(array: Array<T, D>) -> Result<Self> {
        let shape = Shape::new(array.shape())?;
        if !array.is_standard_layout() {
            return Self::from_array(&array);
        }
        let (mut elements, offset) = array.into_raw_vec_and_offset();
        let start = offset.unwrap_or(0);
        elements.truncate(start + shape.elements());
        elements.drain(..start);
        Self::new(shape, elements)
    }
}

/// The elements as `&[T]`, or an error that names both types.
pub(crate) fn typed<T: Element>(data: Slice<'_>) -> Result<&[T]> {
    T::from_slice(data)
        .ok_or_else(|| ErrorKind::from(DTypeError::Differ { left: data.dtype(), right: T::DTYPE }).into())
}

/// The elements as an `ndarray` view.
pub(crate) fn view<T: Element>(shape: Shape, data: Slice<'_>) -> Result<ArrayViewD<'_, T>> {
    ArrayViewD::from_shape(IxDyn(&shape), typed(data)?)
        .map_err(|e| ErrorKind::Shape(ShapeError::Other(e.to_string())).into())
}

/// The only element as f64.
pub(crate) fn item(shape: Shape, data: Slice<'_>) -> Result<f64> {
    match (shape.elements(), data.f64_at(0)) {
        (1, Some(value)) => Ok(value),
        _ => {
            Err(ErrorKind::Shape(ShapeError::Elements { shape: Vec::new(), found: shape.elements() }).into())
        }
    }
}

/// What can be bound to an input of a program without copying where it is row-major:
/// `ndarray` arrays and views of any layout, slices, tensors, single numbers. Sealed: plans rest on what it says.
pub trait Bind: Sealed {
    /// The element type.
    fn dtype(&self) -> DType;
    /// The shape; `None` where only the number of elements is known (a plain slice).
    fn shape(&self) -> Option<Result<Shape, ErrorKind>>;
    /// The elements, if they lie row-major in memory.
    fn contiguous(&self) -> Option<Slice<'_>>;
    /// Copies the elements in row-major order; `false` if type or length differ.
    fn pack(&self, into: SliceMut<'_>) -> bool;
}

impl<T: Element, S: Data<Elem = T>, D: Dimension> Sealed for ArrayBase<S, D> {}
impl<T: Element, S: Data<Elem = T>, D: Dimension> Bind for ArrayBase<S, D> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        Some(Shape::new(self.shape()))
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        self.as_slice().map(T::slice)
    }
    fn pack(&self, mut into: SliceMut<'_>) -> bool {
        self.iter().enumerate().all(|(i, e)| e.store(&mut into, i))
    }
}

impl<T: Element> Sealed for &[T] {}
impl<T: Element> Bind for &[T] {
    fn dtype(&self) -> DType {
        T::DTYPE
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        None
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        Some(T::slice(self))
    }
    fn pack(&self, mut into: SliceMut<'_>) -> bool {
        into.copy_from(T::slice(self))
    }
}

impl<T: Element> Sealed for Vec<T> {}
impl<T: Element> Bind for Vec<T> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        None
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        Some(T::slice(self))
    }
    fn pack(&self, mut into: SliceMut<'_>) -> bool {
        into.copy_from(T::slice(self))
    }
}

impl Sealed for Tensor {}
impl Bind for Tensor {
    fn dtype(&self) -> DType {
        self.ty().dtype
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        Some(Ok(self.shape))
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        Some(self.data())
    }
    fn pack(&self, mut into: SliceMut<'_>) -> bool {
        into.copy_from(self.data())
    }
}

macro_rules! bind_scalar {
    ($($T:ty),*) => {$(
        impl Bind for $T {
            fn dtype(&self) -> DType {
                <$T as Element>::DTYPE
            }
            fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
                Some(Ok(Shape::SCALAR))
            }
            fn contiguous(&self) -> Option<Slice<'_>> {
                Some(<$T as Element>::slice(std::slice::from_ref(self)))
            }
            fn pack(&self, mut into: SliceMut<'_>) -> bool {
                self.store(&mut into, 0)
            }
        }
    )*};
}
bind_scalar!(f32, f64, u8, u32, i64, bool);
