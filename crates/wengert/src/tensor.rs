//! Owned arrays whose element type is known at run time.

use std::fmt;

use ndarray::{Array, ArrayViewD, Dimension, IxDyn};

use crate::elements::{Buffer, Element, Native, Slice, SliceMut, with_dtype};
use crate::error::{DTypeError, ErrorKind, Result, ShapeError};
use crate::shape::{Shape, TensorType};
use crate::sizes::IntoShape;

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
        view(&self.shape, self.data())
    }

    /// A copy as an `ndarray` array of this number of axes. An error where the element type is another, or the number of axes.
    ///
    /// ```
    /// use ndarray::Array2;
    /// let x = wengert::Tensor::new([2, 1], vec![1.0f32, 2.0])?;
    /// let y: Array2<f32> = x.to_array()?;
    /// assert_eq!(y, ndarray::array![[1.0], [2.0]]);
    /// assert!(x.to_array::<f64, ndarray::Ix2>().is_err());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn to_array<T: Element, D: Dimension>(&self) -> Result<Array<T, D>> {
        array(&self.shape, self.data())
    }

    /// Writes ones along the diagonal of so many rows and columns that begin at a position.
    pub(crate) fn set_diagonal(&mut self, start: usize, size: usize) {
        with_dtype!(self.data().dtype(), T => {
            let mut data = self.data.as_slice_mut();
            let elements = T::from_slice_mut(&mut data).unwrap_or_default();
            (0..size).filter_map(|i| start.checked_add(i * (size + 1))).for_each(|at| {
                if let Some(element) = elements.get_mut(at) {
                    *element = T::from_f64(1.0);
                }
            });
        })
    }

    /// The elements converted to f64, row-major.
    pub fn to_f64(&self) -> Vec<f64> {
        (0..self.shape.elements()).filter_map(|i| self.data().f64_at(i)).collect()
    }

    /// The only element, as f64. An error where there is more or less than one.
    pub fn item(&self) -> Result<f64> {
        item(&self.shape, self.data())
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

/// The elements as `&[T]`, or an error that names both types.
pub(crate) fn typed<T: Element>(data: Slice<'_>) -> Result<&[T]> {
    T::from_slice(data)
        .ok_or_else(|| ErrorKind::from(DTypeError::Differ { left: data.dtype(), right: T::DTYPE }).into())
}

/// The elements as an `ndarray` view.
pub(crate) fn view<'a, T: Element>(shape: &Shape, data: Slice<'a>) -> Result<ArrayViewD<'a, T>> {
    ArrayViewD::from_shape(IxDyn(shape), typed(data)?)
        .map_err(|e| ErrorKind::Shape(ShapeError::Other(e.to_string())).into())
}

/// A copy as an `ndarray` array of this number of axes.
pub(crate) fn array<T: Element, D: Dimension>(shape: &Shape, data: Slice<'_>) -> Result<Array<T, D>> {
    let (expected, found) = (D::NDIM, shape.rank());
    if let Some(expected) = expected.filter(|&expected| expected != found) {
        return Err(ErrorKind::from(ShapeError::Rank { expected, found }).into());
    }
    view(shape, data)?
        .into_dimensionality::<D>()
        .map(|view| view.to_owned())
        .map_err(|e| ErrorKind::Shape(ShapeError::Other(e.to_string())).into())
}

/// The only element, of this type.
pub(crate) fn only<T: Element>(shape: &Shape, data: Slice<'_>) -> Result<T> {
    match typed::<T>(data)? {
        [only] => Ok(*only),
        _ => {
            Err(ErrorKind::Shape(ShapeError::Elements { shape: Vec::new(), found: shape.elements() }).into())
        }
    }
}

/// The only element as f64.
pub(crate) fn item(shape: &Shape, data: Slice<'_>) -> Result<f64> {
    match (shape.elements(), data.f64_at(0)) {
        (1, Some(value)) => Ok(value),
        _ => {
            Err(ErrorKind::Shape(ShapeError::Elements { shape: Vec::new(), found: shape.elements() }).into())
        }
    }
}
