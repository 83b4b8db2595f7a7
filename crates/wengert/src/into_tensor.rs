//! Arrays as users have them, for constants, states and values.

use ndarray::{Array, ArrayBase, Data, Dimension};

use crate::elements::{Element, Number};
use crate::error::{ErrorKind, Result, ShapeError};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What a [`Tensor`] can be made of: a number, an `ndarray` array or view of any layout, a slice, an array (of arrays), a vector, each
/// owned or by reference; a tensor.
///
/// ```
/// use ndarray::array;
/// use wengert::IntoTensor;
/// assert_eq!([[1.0, 2.0], [3.0, 4.0]].into_tensor()?, array![[1.0, 2.0], [3.0, 4.0]].into_tensor()?);
/// assert_eq!(vec![1usize, 2].into_tensor()?.ty().to_string(), "i64[2]");
/// assert_eq!(array![[1.0f32, 2.0], [3.0, 4.0]].t().into_tensor()?.to_f64(), [1.0, 3.0, 2.0, 4.0]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a tensor cannot be made of `{Self}`",
    note = "what can: numbers, `ndarray` arrays and views, slices, arrays and vectors of numbers, owned or by reference"
)]
pub trait IntoTensor {
    /// The tensor. An error for more than eight axes, or where the memory cannot be had.
    fn into_tensor(self) -> Result<Tensor>;
}

impl IntoTensor for Tensor {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(self)
    }
}
impl IntoTensor for &Tensor {
    fn into_tensor(self) -> Result<Tensor> {
        self.try_clone()
    }
}
impl<T: Number> IntoTensor for T {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::scalar(self.element()))
    }
}

impl<T: Number, S: Data<Elem = T>, D: Dimension> IntoTensor for ArrayBase<S, D> {
    /// Takes over the buffer of an array that is row-major already and of its element type.
    fn into_tensor(self) -> Result<Tensor> {
        let shape = Shape::new(self.shape())?;
        if !self.is_standard_layout() {
            return copied(shape, self.iter().copied());
        }
        let array: Array<T, D> = self.into_owned();
        let (mut numbers, offset) = array.into_raw_vec_and_offset();
        let start = offset.unwrap_or(0);
        numbers.truncate(start + shape.elements());
        numbers.drain(..start);
        Ok(Tensor::from_parts(shape, T::elements(numbers)))
    }
}
impl<T: Number, S: Data<Elem = T>, D: Dimension> IntoTensor for &ArrayBase<S, D> {
    fn into_tensor(self) -> Result<Tensor> {
        copied(Shape::new(self.shape())?, self.iter().copied())
    }
}

impl<T: Number> IntoTensor for Vec<T> {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::from_parts(Shape::new(&[self.len()])?, T::elements(self)))
    }
}
impl<T: Number> IntoTensor for &[T] {
    fn into_tensor(self) -> Result<Tensor> {
        copied(Shape::new(&[self.len()])?, self.iter().copied())
    }
}
impl<T: Number> IntoTensor for &Vec<T> {
    fn into_tensor(self) -> Result<Tensor> {
        self.as_slice().into_tensor()
    }
}
impl<T: Number, const N: usize> IntoTensor for [T; N] {
    fn into_tensor(self) -> Result<Tensor> {
        self.as_slice().into_tensor()
    }
}
impl<T: Number, const N: usize> IntoTensor for &[T; N] {
    fn into_tensor(self) -> Result<Tensor> {
        self.as_slice().into_tensor()
    }
}
impl<T: Number, const M: usize, const N: usize> IntoTensor for [[T; M]; N] {
    fn into_tensor(self) -> Result<Tensor> {
        copied(Shape::new(&[N, M])?, self.as_flattened().iter().copied())
    }
}

impl Tensor {
    /// A copy of an `ndarray` array or view of any layout. An error for more than eight axes, or where the memory cannot be
    /// had.
    pub fn from_array<T: Number, S: Data<Elem = T>, D: Dimension>(array: &ArrayBase<S, D>) -> Result<Self> {
        array.into_tensor()
    }
}

/// Copies numbers, which are as many as the shape says.
fn copied<T: Number>(shape: Shape, numbers: impl Iterator<Item = T>) -> Result<Tensor> {
    let (len, bytes) = (shape.elements(), shape.elements().saturating_mul(size_of::<T>()));
    let mut elements = Vec::new();
    elements.try_reserve_exact(len).map_err(|_| ErrorKind::Memory { bytes })?;
    elements.extend(numbers.map(T::element));
    if elements.len() != len {
        let (shape, found) = (shape.to_vec(), elements.len());
        return Err(ErrorKind::Shape(ShapeError::Elements { shape, found }).into());
    }
    Ok(Tensor::from_parts(shape, T::Element::buffer(elements)))
}
