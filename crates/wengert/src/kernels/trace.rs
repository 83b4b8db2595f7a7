//! Functions over lanes into bodies: a lane that records what is done with it.

use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::body::{Body, Builder, Function, Primitive, Scalar};
use super::fused::Fused;
use super::lane::{Lane, Whole};
use super::simd::Real;
use crate::error::ErrorKind;

/// A body in the making, and the first thing that went wrong.
pub(crate) struct Tape {
    builder: Builder,
    error: Option<ErrorKind>,
}

/// The body of a function, as `eval` writes it, of numbers of type `T`.
pub(crate) fn trace<T: Real, const N: usize>(
    eval: impl for<'b> FnOnce([Trace<'b, T>; N]) -> Trace<'b, T>,
) -> Result<Body, ErrorKind> {
    let builder = Body::builder(&[T::DTYPE; N]);
    let tape = RefCell::new(Tape { builder, error: None });
    let y = eval(std::array::from_fn(|i| Trace::Recorded(&tape, Scalar::Operand(i as u16))));
    let y = y.on(&tape);
    let Tape { builder, error } = tape.into_inner();
    error.map_or_else(|| builder.finish(&[y]), Err)
}

/// A number while a function is recorded: known, as instruction sets with a fused multiply-add compute it, or what a body will have
/// computed.
pub(crate) enum Trace<'b, T> {
    Known(Fused<T>),
    Recorded(&'b RefCell<Tape>, Scalar),
}

/// A truth value while a function is recorded.
pub(crate) enum Truth<'b> {
    Known(bool),
    Recorded(&'b RefCell<Tape>, Scalar),
}

impl<T: Copy> Clone for Trace<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Copy> Copy for Trace<'_, T> {}
impl Clone for Truth<'_> {
    fn clone(&self) -> Self {
        *self
    }
}
impl Copy for Truth<'_> {}

/// Records an operation.
fn record(tape: &RefCell<Tape>, primitive: Primitive, x: &[Scalar]) -> Scalar {
    let mut tape = tape.borrow_mut();
    match tape.builder.apply(primitive, x) {
        Ok(y) => y,
        Err(kind) => {
            tape.error.get_or_insert(kind);
            Scalar::Operand(0)
        }
    }
}

/// Records a constant.
fn constant<T: Real>(tape: &RefCell<Tape>, value: T) -> Scalar {
    let mut tape = tape.borrow_mut();
    match tape.builder.constant(T::DTYPE, value.to_f64()) {
        Ok(c) => c,
        Err(kind) => {
            tape.error.get_or_insert(kind);
            Scalar::Operand(0)
        }
    }
}

impl<'b, T: Real> Trace<'b, T> {
    /// The tape that this is on.
    fn tape(self) -> Option<&'b RefCell<Tape>> {
        if let Self::Recorded(tape, _) = self { Some(tape) } else { None }
    }

    /// This number on a tape.
    fn on(self, tape: &RefCell<Tape>) -> Scalar {
        match self {
            Self::Known(value) => constant(tape, value.0),
            Self::Recorded(_, scalar) => scalar,
        }
    }

    fn unary(self, primitive: Primitive, known: impl Fn(Fused<T>) -> Fused<T>) -> Self {
        match self {
            Self::Known(x) => Self::Known(known(x)),
            Self::Recorded(tape, x) => Self::Recorded(tape, record(tape, primitive, &[x])),
        }
    }

    fn binary(
        self,
        other: Self,
        primitive: Primitive,
        known: impl Fn(Fused<T>, Fused<T>) -> Fused<T>,
    ) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Self::Known(known(a, b)),
            _ => match self.tape().or(other.tape()) {
                Some(tape) => Self::Recorded(tape, record(tape, primitive, &[self.on(tape), other.on(tape)])),
                None => self,
            },
        }
    }

    fn compare(
        self,
        other: Self,
        primitive: Primitive,
        known: impl Fn(Fused<T>, Fused<T>) -> bool,
    ) -> Truth<'b> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Truth::Known(known(a, b)),
            _ => match self.tape().or(other.tape()) {
                Some(tape) => {
                    Truth::Recorded(tape, record(tape, primitive, &[self.on(tape), other.on(tape)]))
                }
                None => Truth::Known(false),
            },
        }
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident) => {
        impl<T: Real> $Trait for Trace<'_, T> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary(other, Primitive::$Trait, |a, b| a.$method(b))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl<T: Real> Neg for Trace<'_, T> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Primitive::Neg, |x| -x)
    }
}

impl<'b> Truth<'b> {
    fn with(self, other: Self, primitive: Primitive, known: impl Fn(bool, Self) -> Self) -> Self {
        match (self, other) {
            (Self::Known(a), b) | (b, Self::Known(a)) => known(a, b),
            (Self::Recorded(tape, a), Self::Recorded(_, b)) => {
                Self::Recorded(tape, record(tape, primitive, &[a, b]))
            }
        }
    }
}
impl BitAnd for Truth<'_> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.with(other, Primitive::And, |known, other| if known { other } else { Self::Known(false) })
    }
}
impl BitOr for Truth<'_> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other, Primitive::Or, |known, other| if known { Self::Known(true) } else { other })
    }
}
impl Not for Truth<'_> {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            Self::Known(known) => Self::Known(!known),
            Self::Recorded(tape, x) => Self::Recorded(tape, record(tape, Primitive::Not, &[x])),
        }
    }
}

impl<T: Real> Whole for Trace<'_, T> {
    fn sigmoid(self) -> Self {
        self.unary(Primitive::Sigmoid, Whole::sigmoid)
    }
    fn sech_squared(self) -> Self {
        self.unary(Primitive::SechSquared, Whole::sech_squared)
    }
    fn gated_mul(self, other: Self, gates: u8) -> Self {
        self.binary(other, Primitive::GatedMul(gates), |a, b| a.gated_mul(b, gates))
    }
}

macro_rules! unary {
    ($($method:ident $Primitive:ident),*) => {$(
        fn $method(self) -> Self {
            self.unary(Primitive::$Primitive, Lane::$method)
        }
    )*};
}

impl<'b, T: Real> Lane for Trace<'b, T> {
    type Mask = Truth<'b>;
    fn splat(value: f64) -> Self {
        Self::Known(Fused::splat(value))
    }
    fn select(mask: Truth<'b>, a: Self, b: Self) -> Self {
        match mask {
            Truth::Known(known) => {
                if known {
                    a
                } else {
                    b
                }
            }
            Truth::Recorded(tape, mask) => {
                Self::Recorded(tape, record(tape, Primitive::Select, &[mask, a.on(tape), b.on(tape)]))
            }
        }
    }
    fn lt(self, other: Self) -> Truth<'b> {
        self.compare(other, Primitive::Less, Lane::lt)
    }
    fn le(self, other: Self) -> Truth<'b> {
        self.compare(other, Primitive::LessEqual, Lane::le)
    }
    fn eq(self, other: Self) -> Truth<'b> {
        self.compare(other, Primitive::Equal, Lane::eq)
    }
    fn copysign(self, sign: Self) -> Self {
        self.binary(sign, Primitive::CopySign, Lane::copysign)
    }
    fn mul_add(self, b: Self, c: Self) -> Self {
        match (self, b, c) {
            (Self::Known(a), Self::Known(b), Self::Known(c)) => Self::Known(a.mul_add(b, c)),
            _ => match self.tape().or(b.tape()).or(c.tape()) {
                Some(tape) => {
                    let x = [self.on(tape), b.on(tape), c.on(tape)];
                    Self::Recorded(tape, record(tape, Primitive::MulAdd, &x))
                }
                None => self,
            },
        }
    }
    fn max(self, other: Self) -> Self {
        self.binary(other, Primitive::Max, Lane::max)
    }
    fn min(self, other: Self) -> Self {
        self.binary(other, Primitive::Min, Lane::min)
    }
    unary! {
        abs Abs, sqrt Sqrt, round Round, floor Floor, exp Exp, ln Ln, sin Sin, cos Cos, tanh Tanh, erf Erf
    }
    fn each(self, f: fn(f64) -> f64) -> Self {
        self.unary(Primitive::Each(Function(f)), |x| x.each(f))
    }
}
