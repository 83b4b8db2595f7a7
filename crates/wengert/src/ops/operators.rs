//! The operators of Rust on variables: `+ - * / %` and negation, `& | ^ !` of truth values, sums and products of iterators.

use std::iter::{Product, Sum};
use std::ops::{
    Add, AddAssign, BitAnd, BitOr, BitXor, Div, DivAssign, Mul, MulAssign, Neg, Not, Rem, RemAssign, Sub,
    SubAssign,
};

use super::whole::Whole;
use super::{arith, rounding};
use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind};
use crate::ir::{IntoVar, Op, Recorder, Var};

impl<'t> Var<'t> {
    /// Records arithmetic: of integers, or of floats.
    #[track_caller]
    pub(super) fn arithmetic(self, whole: Whole, float: Op, other: Var<'t>) -> Var<'t> {
        self.binary(if self.dtype().is_integer() { Op::discrete(whole) } else { float }, other)
    }

    #[track_caller]
    fn plus(self, other: Var<'t>) -> Var<'t> {
        self.arithmetic(Whole::Add, Op::elementwise(arith::Add), other)
    }
    #[track_caller]
    fn minus(self, other: Var<'t>) -> Var<'t> {
        self.arithmetic(Whole::Sub, Op::elementwise(arith::Sub), other)
    }
    #[track_caller]
    pub(super) fn times(self, other: Var<'t>) -> Var<'t> {
        self.arithmetic(Whole::Mul, Op::elementwise(arith::Mul), other)
    }
    #[track_caller]
    fn over(self, other: Var<'t>) -> Var<'t> {
        self.binary(Op::elementwise(arith::Div), other)
    }
    #[track_caller]
    fn remainder(self, other: Var<'t>) -> Var<'t> {
        self.binary(Op::elementwise(rounding::Rem), other)
    }
    #[track_caller]
    fn times_any(self, other: impl IntoVar<'t>) -> Var<'t> {
        match other.number() {
            Some((_, factor)) => self.scale(factor),
            None => self.times(other.into_var(self)),
        }
    }
    #[track_caller]
    fn xor(self, other: Var<'t>) -> Var<'t> {
        if self.dtype() != DType::Bool {
            let kind = DTypeError::Expected { expected: &[DType::Bool], found: self.dtype() };
            return self.recorder().fail_like(kind, "bitxor", self.ty());
        }
        self.ne(other)
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident, |$x:ident, $y:ident| $both:expr $(, $Assign:ident, $assign:ident)?) => {
        /// Elementwise, with broadcasting; a number takes the variable's element type.
        impl<'t, R: IntoVar<'t>> $Trait<R> for Var<'t> {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, $y: R) -> Var<'t> {
                let $x = self;
                $x.operation(stringify!($method), || $both)
            }
        }
        /// Elementwise, with broadcasting; a number takes the variable's element type.
        impl<'t, R: IntoVar<'t>> $Trait<R> for &Var<'t> {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, other: R) -> Var<'t> {
                $Trait::$method(*self, other)
            }
        }
        $(
            /// The variable names the result from then on.
            impl<'t, R: IntoVar<'t>> $Assign<R> for Var<'t> {
                #[track_caller]
                fn $assign(&mut self, other: R) {
                    *self = $Trait::$method(*self, other);
                }
            }
        )?
    };
}
operator!(Add, add, |x, y| x.plus(y.into_var(x)), AddAssign, add_assign);
operator!(Sub, sub, |x, y| x.minus(y.into_var(x)), SubAssign, sub_assign);
operator!(Mul, mul, |x, y| x.times_any(y), MulAssign, mul_assign);
operator!(Div, div, |x, y| x.over(y.into_var(x)), DivAssign, div_assign);
operator!(Rem, rem, |x, y| x.remainder(y.into_var(x)), RemAssign, rem_assign);
operator!(BitAnd, bitand, |x, y| x.binary(Op::discrete(Whole::And), y.into_var(x)));
operator!(BitOr, bitor, |x, y| x.binary(Op::discrete(Whole::Or), y.into_var(x)));
operator!(BitXor, bitxor, |x, y| x.xor(y.into_var(x)));

// On the left one type of floats and one of integers: with two, the type of `2.0 * x` would be open until the whole function is known, and
// `(2.0 * x).sum(())` would not compile.
macro_rules! from_the_left {
    ($($T:ident)+) => {$(
        from_the_left! { $T: Add add, Sub sub, Mul mul, Div div, Rem rem }
    )+};
    ($T:ident: $($Trait:ident $method:ident),+) => {$(
        /// With a number of the variable's own element type.
        impl<'t> $Trait<Var<'t>> for $T {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, other: Var<'t>) -> Var<'t> {
                left::$method(f64::from(self), other)
            }
        }
        /// With a number of the variable's own element type.
        impl<'t> $Trait<&Var<'t>> for $T {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, other: &Var<'t>) -> Var<'t> {
                left::$method(f64::from(self), *other)
            }
        }
    )+};
}
from_the_left! { f64 i32 }

/// A number, then a variable.
mod left {
    use super::*;

    #[track_caller]
    pub(super) fn add(c: f64, x: Var<'_>) -> Var<'_> {
        x + c
    }
    #[track_caller]
    pub(super) fn sub(c: f64, x: Var<'_>) -> Var<'_> {
        x.operation("sub", || x.fill(c).minus(x))
    }
    #[track_caller]
    pub(super) fn mul(c: f64, x: Var<'_>) -> Var<'_> {
        x * c
    }
    #[track_caller]
    pub(super) fn div(c: f64, x: Var<'_>) -> Var<'_> {
        x.operation("div", || x.fill(c).over(x))
    }
    #[track_caller]
    pub(super) fn rem(c: f64, x: Var<'_>) -> Var<'_> {
        x.operation("rem", || x.fill(c).remainder(x))
    }
}

/// Of floats and signed integers.
impl<'t> Neg for Var<'t> {
    type Output = Var<'t>;
    #[track_caller]
    fn neg(self) -> Var<'t> {
        self.operation("neg", || match self.dtype() {
            DType::I64 => self.fill(0.0).minus(self),
            _ => self.scale(-1.0),
        })
    }
}
impl<'t> Neg for &Var<'t> {
    type Output = Var<'t>;
    #[track_caller]
    fn neg(self) -> Var<'t> {
        -*self
    }
}

/// Of truth values.
impl<'t> Not for Var<'t> {
    type Output = Var<'t>;
    #[track_caller]
    fn not(self) -> Var<'t> {
        self.operation("not", || self.xor(self.fill(1.0)))
    }
}

/// From the first to the last. Over nothing there is no recorder, and so no variable: whatever takes this one fails with an error that
/// says so.
impl<'t> Sum for Var<'t> {
    #[track_caller]
    fn sum<I: Iterator<Item = Var<'t>>>(vars: I) -> Self {
        vars.reduce(|a, b| a + b).unwrap_or_else(|| nothing("sum"))
    }
}
impl<'a, 't> Sum<&'a Var<'t>> for Var<'t> {
    #[track_caller]
    fn sum<I: Iterator<Item = &'a Var<'t>>>(vars: I) -> Self {
        vars.copied().sum()
    }
}
/// As for [`Sum`].
impl<'t> Product for Var<'t> {
    #[track_caller]
    fn product<I: Iterator<Item = Var<'t>>>(vars: I) -> Self {
        vars.reduce(|a, b| a * b).unwrap_or_else(|| nothing("product"))
    }
}
impl<'a, 't> Product<&'a Var<'t>> for Var<'t> {
    #[track_caller]
    fn product<I: Iterator<Item = &'a Var<'t>>>(vars: I) -> Self {
        vars.copied().product()
    }
}

/// A poisoned variable of no recording.
#[track_caller]
fn nothing<'t>(what: &'static str) -> Var<'t> {
    let what = format!("the {what} of no variables: begin with one, `t.full(dtype, shape, start)`");
    Recorder::nowhere().fail(ErrorKind::Argument(what), "sum")
}
