//! Elements whose type is known only at run time: slices, buffers, and the Rust types that tensors hold.

use std::fmt;

use crate::aligned::Aligned;
use crate::dtype::{DType, dtypes, floats};
use crate::error::ErrorKind;

/// Runs `$body` with `$T` naming the Rust type of the list that stores elements of `$dtype`; `$other` where none does.
macro_rules! match_dtype {
    ([$(($($V:ident)|+) $E:ident),+] $dtype:expr, $T:ident => $body:expr $(, $other:expr)?) => {
        match $dtype {
            $($($crate::dtype::DType::$V)|+ => {
                type $T = $E;
                $body
            })+
            $(_ => $other,)?
        }
    };
}

/// Runs `$body` with `$T` naming the Rust type that stores elements of `$dtype` (bytes for `Bool`).
macro_rules! with_dtype {
    ($($rest:tt)*) => { $crate::dtype::natives!([$crate::elements::match_dtype] $($rest)*) };
}

/// Like `with_dtype!` for the floating types only; anything else is a kernel fault, or what is said behind the body.
macro_rules! with_float {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::elements::with_float!($dtype, $T => $body, Err($crate::error::Fault::Type))
    };
    ($($rest:tt)*) => { $crate::dtype::floats!([$crate::elements::match_dtype] $($rest)*) };
}

/// Like `with_dtype!` for integers and truth values only; what is said behind the body for floats.
macro_rules! with_integer {
    ($($rest:tt)*) => { $crate::dtype::integers!([$crate::elements::match_dtype] $($rest)*) };
}

/// Runs `$body` with `$T` naming an integer as large as an element: code that moves elements is made once for each size.
macro_rules! with_size {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.bytes() {
            1 => {
                type $T = u8;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            8 => {
                type $T = u64;
                $body
            }
            _ => Err($crate::error::Fault::Type),
        }
    };
}
pub(crate) use {match_dtype, with_dtype, with_float, with_integer, with_size};

macro_rules! slices {
    ([$($V:ident $E:ident $name:literal),+]) => {
        /// A borrowed slice of one of the element types. Truth values are bytes, 0 or 1.
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs)] // each variant is named after its element type
        pub enum Slice<'a> {
            $($V(&'a [$E]),)+
        }

        /// A mutable slice of one of the element types. Truth values are bytes, 0 or 1.
        #[derive(Debug)]
        #[allow(missing_docs)] // each variant is named after its element type
        pub enum SliceMut<'a> {
            $($V(&'a mut [$E]),)+
        }

        /// An owned buffer of one of the element types. Truth values are bytes, 0 or 1.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // each variant is named after its element type
        pub enum Buffer {
            $($V(Aligned<$E>),)+
        }

        impl<'a> Slice<'a> {
            /// The element type.
            pub fn dtype(&self) -> DType {
                match self {
                    $(Self::$V(_) => DType::$V,)+
                }
            }

            /// The number of elements.
            #[allow(clippy::len_without_is_empty)] // nothing here cares about emptiness alone
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$V(s) => s.len(),)+
                }
            }

            /// Some of the elements; none where the range is not inside.
            pub fn get(&self, range: std::ops::Range<usize>) -> Self {
                match *self {
                    $(Self::$V(s) => Self::$V(s.get(range).unwrap_or(&[])),)+
                }
            }

            /// One element as f64, if there is one at this position.
            pub fn f64_at(&self, position: usize) -> Option<f64> {
                match self {
                    $(Self::$V(s) => s.get(position).map(|e| e.to_f64()),)+
                }
            }

            /// The raw bytes.
            pub fn as_bytes(&self) -> &'a [u8] {
                match self {
                    $(Self::$V(s) => bytemuck::cast_slice(s),)+
                }
            }
        }

        impl<'a> SliceMut<'a> {
            /// The same elements, for reading.
            pub(crate) fn as_slice(&self) -> Slice<'_> {
                match self {
                    $(Self::$V(s) => Slice::$V(s),)+
                }
            }

            /// The same slice, for a shorter time.
            pub(crate) fn reborrow(&mut self) -> SliceMut<'_> {
                match self {
                    $(Self::$V(s) => SliceMut::$V(s),)+
                }
            }

            /// Some of the elements; none where the range is not inside.
            pub(crate) fn part(self, range: std::ops::Range<usize>) -> Self {
                match self {
                    $(Self::$V(s) => SliceMut::$V(s.get_mut(range).unwrap_or(&mut [])),)+
                }
            }

            /// The raw bytes.
            pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
                match self {
                    $(Self::$V(s) => bytemuck::cast_slice_mut(s),)+
                }
            }

            /// Copies all elements from a slice of the same type and length; `false` if they differ.
            pub fn copy_from(&mut self, from: Slice<'_>) -> bool {
                match (self, from) {
                    $((Self::$V(to), Slice::$V(from)) if to.len() == from.len() => to.copy_from_slice(from),)+
                    _ => return false,
                }
                true
            }
        }

        impl Buffer {
            /// A buffer of `len` elements that are all `value`, converted as [`Element::from_f64`] does. An
            /// error where the allocation fails.
            pub fn filled(dtype: DType, len: usize, value: f64) -> Result<Self, ErrorKind> {
                let value = dtype.stored(value);
                Ok(match dtype {
                    $(DType::$V => Self::$V(Aligned::filled(len, Element::from_f64(value))?),)+
                })
            }

            /// A borrowed view of the elements.
            pub fn as_slice(&self) -> Slice<'_> {
                match self {
                    $(Self::$V(v) => Slice::$V(v),)+
                }
            }

            /// A mutable view of the elements.
            pub fn as_slice_mut(&mut self) -> SliceMut<'_> {
                match self {
                    $(Self::$V(v) => SliceMut::$V(v),)+
                }
            }
        }
    };
}
dtypes!([slices]);

/// What only this crate implements traits for.
pub(crate) mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

/// A number that tensors can be made of: of any [`Element`] type, or another integer, which is kept as `i64`. Sealed.
#[diagnostic::on_unimplemented(
    message = "a tensor cannot be made of `{Self}`",
    note = "tensors hold `f32 f64 u8 u32 i64 bool`; `i32`, `usize` and other integers are kept as `i64`"
)]
pub trait Number: Sealed + Copy + Send + Sync + 'static {
    /// The element type as which it is kept.
    type Element: Element;
    /// The element.
    fn element(self) -> Self::Element;
    /// The elements, where nothing is converted.
    fn slice(numbers: &[Self]) -> Option<Slice<'_>> {
        let _ = numbers;
        None
    }
    /// A buffer of such elements: the same memory where nothing is converted.
    fn elements(numbers: Vec<Self>) -> Buffer {
        Self::Element::buffer(numbers.into_iter().map(Self::element).collect())
    }
}
macro_rules! numbers {
    ($($T:ident)+) => {$(
        impl Number for $T {
            type Element = Self;
            fn element(self) -> Self {
                self
            }
            fn slice(numbers: &[Self]) -> Option<Slice<'_>> {
                Some(<Self as Element>::slice(numbers))
            }
            fn elements(numbers: Vec<Self>) -> Buffer {
                Self::buffer(numbers)
            }
        }
    )+};
}
numbers! { f32 f64 u8 u32 i64 bool }
macro_rules! other_integers {
    ($($T:ident)+) => {$(
        impl Number for $T {
            type Element = i64;
            fn element(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }
        }
    )+};
}
other_integers! { i8 i16 i32 u16 isize usize }
impl Sealed for i8 {}
impl Sealed for i16 {}
impl Sealed for i32 {}
impl Sealed for u16 {}
impl Sealed for isize {}
impl Sealed for usize {}

/// A Rust type that tensors can hold: `f32 f64 u8 u32 i64 bool`. Sealed: kernels know these and no others.
///
/// ```
/// use wengert::{DType, Element};
/// assert_eq!(<f32 as Element>::DTYPE, DType::F32);
/// ```
pub trait Element: Number<Element = Self> + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The element type that this Rust type stands for.
    const DTYPE: DType;
    /// The same elements, typed at run time.
    fn slice(elements: &[Self]) -> Slice<'_>;
    /// The elements, if the slice is of this type.
    fn from_slice(slice: Slice<'_>) -> Option<&[Self]>;
    /// An owned buffer of these elements.
    fn buffer(elements: Vec<Self>) -> Buffer;
    /// Writes one element where the buffer keeps it; `false` if the type differs.
    fn store(self, into: &mut SliceMut<'_>, position: usize) -> bool;
    /// The nearest f64 (exact but for large `i64`).
    fn to_f64(self) -> f64;
    /// The value converted as `as` does: rounding to f32, truncating to integers, `!= 0` to bool.
    fn from_f64(value: f64) -> Self;
}

/// The element types as kernels see them: truth values are bytes.
pub trait Native: Element + Default {
    /// The mutable elements, if the slice is stored as this type (`u8` also reads `Bool`).
    fn from_slice_mut<'a>(slice: &'a mut SliceMut<'_>) -> Option<&'a mut [Self]>;
    /// The elements, if the slice is stored as this type (`u8` also reads `Bool`).
    fn stored(slice: Slice<'_>) -> Option<&[Self]>;
    /// Elements that stand for ones of this type, which is stored as this one.
    fn typed(elements: &[Self], dtype: DType) -> Slice<'_>;
    /// The same for writing.
    fn typed_mut(elements: &mut [Self], dtype: DType) -> SliceMut<'_>;
}

macro_rules! element {
    ($T:ident, $V:ident $(, $also:ident)?) => {
        impl Sealed for $T {}
        impl Element for $T {
            const DTYPE: DType = DType::$V;
            fn slice(elements: &[Self]) -> Slice<'_> {
                Slice::$V(elements)
            }
            fn from_slice(slice: Slice<'_>) -> Option<&[Self]> {
                if let Slice::$V(s) = slice { Some(s) } else { None }
            }
            fn buffer(elements: Vec<Self>) -> Buffer {
                Buffer::$V(elements.into())
            }
            fn store(self, into: &mut SliceMut<'_>, position: usize) -> bool {
                let SliceMut::$V(s) = into else { return false };
                s.get_mut(position).map(|e| *e = self).is_some()
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn from_f64(value: f64) -> Self {
                value as $T
            }
        }
        impl Native for $T {
            fn from_slice_mut<'a>(slice: &'a mut SliceMut<'_>) -> Option<&'a mut [Self]> {
                match slice {
                    SliceMut::$V(s) $(| SliceMut::$also(s))? => Some(s),
                    _ => None,
                }
            }
            fn stored(slice: Slice<'_>) -> Option<&[Self]> {
                match slice {
                    Slice::$V(s) $(| Slice::$also(s))? => Some(s),
                    _ => None,
                }
            }
            fn typed(elements: &[Self], dtype: DType) -> Slice<'_> {
                match dtype {
                    $(DType::$also => Slice::$also(elements),)?
                    _ => Slice::$V(elements),
                }
            }
            fn typed_mut(elements: &mut [Self], dtype: DType) -> SliceMut<'_> {
                match dtype {
                    $(DType::$also => SliceMut::$also(elements),)?
                    _ => SliceMut::$V(elements),
                }
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(u8, U8, Bool);
element!(u32, U32);
element!(i64, I64);

impl Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn slice(elements: &[Self]) -> Slice<'_> {
        Slice::Bool(bytemuck::cast_slice(elements))
    }
    fn from_slice(slice: Slice<'_>) -> Option<&[Self]> {
        let Slice::Bool(bytes) = slice else { return None };
        bytemuck::checked::try_cast_slice(bytes).ok()
    }
    fn buffer(elements: Vec<Self>) -> Buffer {
        Buffer::Bool(elements.into_iter().map(u8::from).collect::<Vec<u8>>().into())
    }
    fn store(self, into: &mut SliceMut<'_>, position: usize) -> bool {
        let SliceMut::Bool(s) = into else { return false };
        s.get_mut(position).map(|e| *e = u8::from(self)).is_some()
    }
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    fn from_f64(value: f64) -> Self {
        value != 0.0
    }
}

impl SliceMut<'_> {
    /// Gives every NaN the same bits, so that results do not depend on how they came about.
    pub(crate) fn canonicalise(&mut self) {
        macro_rules! canonical {
            ([$(($V:ident) $E:ident),+]) => {
                match self {
                    $(Self::$V(x) => {
                        // Without a branch, so that looking costs little where there is none.
                        let any = x.iter().fold(false, |any, x| any | x.is_nan());
                        let some = if any { &mut **x } else { &mut [] };
                        some.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = $E::NAN);
                    })+
                    _ => {}
                }
            };
        }
        floats!([canonical]);
    }
}
