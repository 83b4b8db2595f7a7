//! What may be bound as an input.

use ndarray::{ArrayBase, Data, Dimension};

use crate::dtype::DType;
use crate::elements::sealed::Sealed;
use crate::elements::{Element, Number, Slice, SliceMut};
use crate::error::ErrorKind;
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;

/// What can be bound to an input of a program, without copying where it is row-major and of an [`Element`] type:
/// `ndarray` arrays and views of any layout, slices, arrays, vectors, tensors, single numbers. Other integers than those of elements are
/// converted to `i64`. Sealed: plans rest on what it says.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound to an input",
    note = "what can: references to `ndarray` arrays and views, slices, arrays, vectors, tensors and numbers"
)]
pub trait Bind: Sealed {
    /// The element type.
    fn dtype(&self) -> DType;
    /// The shape; `None` where only the number of elements is known (a slice, an array or a vector).
    fn shape(&self) -> Option<Result<Shape, ErrorKind>>;
    /// The elements, if they lie row-major in memory.
    fn contiguous(&self) -> Option<Slice<'_>>;
    /// Copies the elements in row-major order; `false` if type or length differ.
    fn pack(&self, into: SliceMut<'_>) -> bool;
    /// The bytes of the elements, if all of the above agree with this type: what a run reads where it lies, in one question.
    fn bytes(&self, ty: &TensorType) -> Option<&[u8]>;
}

/// Copies numbers to where a run reads them.
fn pack<T: Number>(numbers: impl Iterator<Item = T>, mut into: SliceMut<'_>) -> bool {
    let mut count = 0;
    numbers.enumerate().all(|(i, number)| {
        count = i + 1;
        number.element().store(&mut into, i)
    }) && count == into.as_slice().len()
}

macro_rules! bind {
    ([$($generics:tt)*] $Self:ty: $T:ident, |$x:ident| $sizes:expr, $slice:expr, $numbers:expr) => {
        impl<$($generics)*> Sealed for $Self {}
        impl<$($generics)*> Bind for $Self {
            fn dtype(&self) -> DType {
                <$T as Number>::Element::DTYPE
            }
            fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
                let $x = self;
                let sizes: Option<&[usize]> = $sizes;
                sizes.map(Shape::new)
            }
            fn contiguous(&self) -> Option<Slice<'_>> {
                let $x = self;
                $T::slice($slice?)
            }
            fn pack(&self, into: SliceMut<'_>) -> bool {
                let $x = self;
                pack($numbers.copied(), into)
            }
            #[inline]
            fn bytes(&self, ty: &TensorType) -> Option<&[u8]> {
                let $x = self;
                let slice = $T::slice($slice?)?;
                let sizes: Option<&[usize]> = $sizes;
                let fits = slice.dtype() == ty.dtype && slice.len() == ty.shape.elements();
                (fits && sizes.is_none_or(|sizes| *sizes == *ty.shape)).then(|| slice.as_bytes())
            }
        }
    };
}
bind!([T: Number, S: Data<Elem = T>, D: Dimension] ArrayBase<S, D>: T,
    |x| Some(ArrayBase::shape(x)), x.as_slice(), x.iter());
bind!([T: Number] &[T]: T, |x| { let _ = x; None }, Some(&**x), x.iter());
bind!([T: Number] Vec<T>: T, |x| { let _ = x; None }, Some(&**x), x.iter());
bind!([T: Number, const N: usize] [T; N]: T, |x| { let _ = x; None }, Some(&x[..]), x.iter());
bind!([T: Number, const N: usize, const M: usize] [[T; M]; N]: T,
    |x| { let _ = x; Some(&[N, M]) }, Some(x.as_flattened()), x.as_flattened().iter());

bind!([T: Number] [T]: T, |x| { let _ = x; None }, Some(x), x.iter());

impl Sealed for Slice<'_> {}
impl Bind for Slice<'_> {
    fn dtype(&self) -> DType {
        Slice::dtype(self)
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        None
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        Some(*self)
    }
    fn pack(&self, mut into: SliceMut<'_>) -> bool {
        into.copy_from(*self)
    }
    fn bytes(&self, ty: &TensorType) -> Option<&[u8]> {
        // Whether bytes are truth values is another question.
        let fits = self.dtype() == ty.dtype && self.len() == ty.shape.elements() && ty.dtype != DType::Bool;
        fits.then(|| self.as_bytes())
    }
}

impl Sealed for Tensor {}
impl Bind for Tensor {
    fn dtype(&self) -> DType {
        self.ty().dtype
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        Some(Ok(Tensor::shape(self)))
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        Some(self.data())
    }
    fn pack(&self, mut into: SliceMut<'_>) -> bool {
        into.copy_from(self.data())
    }
    fn bytes(&self, ty: &TensorType) -> Option<&[u8]> {
        (ty.dtype != DType::Bool && self.ty() == *ty).then(|| self.data().as_bytes())
    }
}

impl<T: Number> Bind for T {
    fn dtype(&self) -> DType {
        T::Element::DTYPE
    }
    fn shape(&self) -> Option<Result<Shape, ErrorKind>> {
        Some(Ok(Shape::SCALAR))
    }
    fn contiguous(&self) -> Option<Slice<'_>> {
        T::slice(std::slice::from_ref(self))
    }
    fn pack(&self, into: SliceMut<'_>) -> bool {
        pack(std::iter::once(*self), into)
    }
    fn bytes(&self, ty: &TensorType) -> Option<&[u8]> {
        let slice = T::slice(std::slice::from_ref(self))?;
        (slice.dtype() == ty.dtype && ty.shape.rank() == 0).then(|| slice.as_bytes())
    }
}
