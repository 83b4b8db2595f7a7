//! What users write where variables stand.

use ndarray::{ArrayBase, Data, Dimension};
use smallvec::SmallVec;

use super::var::Var;
use crate::dtype::DType;
use crate::elements::Number;
use crate::tensor::Tensor;

/// What can stand beside a variable: another of the same recorder, a number of any of Rust's types, which takes the variable's element type
/// (an error where that cannot hold it), or a reference to an `ndarray` array, which becomes a constant.
///
/// ```
/// use ndarray::array;
/// let t = wengert::Recorder::default();
/// let x = t.constant(array![1.0f32, 2.0]);
/// let y = x * 2 + 0.5f64 - &array![1.0f32, 1.0];
/// assert_eq!(y.value()?.to_f64(), [1.5, 3.5]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand beside a `Var`",
    note = "what can: another `Var` of the same recorder, a number, or a reference to an `ndarray` array"
)]
pub trait IntoVar<'t>: Sized {
    /// The variable; a number becomes an array like `other`.
    fn into_var(self, other: Var<'t>) -> Var<'t>;
    /// The number, where it is one, and the type that it has alone.
    fn number(&self) -> Option<(DType, f64)> {
        None
    }
    /// The variable, where it is one already.
    fn var(&self) -> Option<Var<'t>> {
        None
    }
}

impl<'t> IntoVar<'t> for Var<'t> {
    fn into_var(self, _: Var<'t>) -> Var<'t> {
        self
    }
    fn var(&self) -> Option<Var<'t>> {
        Some(*self)
    }
}

impl<'t> IntoVar<'t> for &Var<'t> {
    fn into_var(self, _: Var<'t>) -> Var<'t> {
        *self
    }
    fn var(&self) -> Option<Var<'t>> {
        Some(**self)
    }
}

impl<'t, T: Number, S: Data<Elem = T>, D: Dimension> IntoVar<'t> for &ArrayBase<S, D> {
    #[track_caller]
    fn into_var(self, other: Var<'t>) -> Var<'t> {
        other.recorder.constant(self)
    }
}

macro_rules! numbers {
    ($($T:ident: $V:ident),+) => {$(
        impl<'t> IntoVar<'t> for $T {
            #[track_caller]
            fn into_var(self, other: Var<'t>) -> Var<'t> {
                other.fill(self as f64)
            }
            fn number(&self) -> Option<(DType, f64)> {
                Some((DType::$V, *self as f64))
            }
        }
    )+};
}
numbers!(f64: F64, f32: F32, i32: I64, u8: U8, u32: U32);

macro_rules! long_numbers {
    ($($T:ident),+) => {$(
        impl<'t> IntoVar<'t> for $T {
            #[track_caller]
            fn into_var(self, other: Var<'t>) -> Var<'t> {
                match i64::try_from(self) {
                    // A number that no f64 is.
                    Ok(long) if other.dtype() == DType::I64 && !DType::I64.holds(self as f64) => {
                        other.recorder.constant(Tensor::scalar(long))
                    }
                    _ => other.fill(self as f64),
                }
            }
            fn number(&self) -> Option<(DType, f64)> {
                let exact = DType::I64.holds(*self as f64);
                exact.then_some((DType::I64, *self as f64))
            }
        }
    )+};
}
long_numbers!(i64, u64, isize, usize);

impl<'t> IntoVar<'t> for bool {
    #[track_caller]
    fn into_var(self, other: Var<'t>) -> Var<'t> {
        other.fill(f64::from(u8::from(self)))
    }
    fn number(&self) -> Option<(DType, f64)> {
        Some((DType::Bool, f64::from(u8::from(*self))))
    }
}

/// What can stand where several variables may: one, or several in an array, a slice, a vector, an iterator or a tuple.
///
/// ```
/// let t = wengert::Recorder::default();
/// let params = vec![t.constant(1.0), t.constant(2.0)];
/// let loss = params[0] * params[1];
/// assert_eq!(loss.gradients(&params).iter().count(), 2);
/// assert_eq!(loss.gradients(params[0])[params[0]].value()?.item()?, 2.0);
/// # Ok::<(), wengert::Error>(())
/// ```
///
/// `M` is inferred: it tells tuples and references from what yields variables.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no variables",
    note = "one `Var`, or several in an array, a slice, a vector, an iterator or a tuple"
)]
pub trait IntoVars<'t, M = Sequence> {
    /// The variables, in order.
    fn into_vars(self) -> SmallVec<[Var<'t>; 4]>;
}

/// See [`IntoVars`]: one variable, or what yields some.
#[derive(Debug)]
pub enum Sequence {}
/// See [`IntoVars`]: tuples, and references to lists.
#[derive(Debug)]
pub enum Listed {}

impl<'t> IntoVars<'t> for Var<'t> {
    fn into_vars(self) -> SmallVec<[Var<'t>; 4]> {
        std::iter::once(self).collect()
    }
}
impl<'t, I> IntoVars<'t> for I
where
    I: IntoIterator<Item = Var<'t>>,
{
    fn into_vars(self) -> SmallVec<[Var<'t>; 4]> {
        self.into_iter().collect()
    }
}
impl<'t> IntoVars<'t, Listed> for &[Var<'t>] {
    fn into_vars(self) -> SmallVec<[Var<'t>; 4]> {
        SmallVec::from_slice(self)
    }
}
impl<'t> IntoVars<'t, Listed> for &Vec<Var<'t>> {
    fn into_vars(self) -> SmallVec<[Var<'t>; 4]> {
        SmallVec::from_slice(self)
    }
}
impl<'t, const N: usize> IntoVars<'t, Listed> for &[Var<'t>; N] {
    fn into_vars(self) -> SmallVec<[Var<'t>; 4]> {
        SmallVec::from_slice(self)
    }
}
macro_rules! tuples {
    ($($x:ident)*) => {
        impl<'t> IntoVars<'t, Listed> for ($(tuples!(@ $x),)*) {
            fn into_vars(self) -> SmallVec<[Var<'t>; 4]> {
                let ($($x,)*) = self;
                SmallVec::from_slice(&[$($x),*])
            }
        }
    };
    (@ $x:ident) => { Var<'t> };
}
tuples!();
tuples!(a);
tuples!(a b);
tuples!(a b c);
tuples!(a b c d);
tuples!(a b c d e);
tuples!(a b c d e f);
tuples!(a b c d e f g);
tuples!(a b c d e f g h);
tuples!(a b c d e f g h i);
tuples!(a b c d e f g h i j);
tuples!(a b c d e f g h i j k);
tuples!(a b c d e f g h i j k l);
