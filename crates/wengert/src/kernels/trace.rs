//! Functions over lanes into bodies: a lane that records what is done with it.

use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::body::{Body, Builder, Function, Function2, Primitive, Scalar};
use super::fused::Fused;
use super::lane::{Lane, Whole};
use crate::dtype::DType;
use crate::error::ErrorKind;

/// A body in the making, the type of its numbers, and the first thing that went wrong.
pub(crate) struct Tape {
    builder: Builder,
    dtype: DType,
    error: Option<ErrorKind>,
}

/// The body of a function, as `eval` writes it, of numbers of a float type.
pub(crate) fn trace<const N: usize>(
    dtype: DType,
    eval: impl for<'b> FnOnce([Trace<'b>; N]) -> Trace<'b>,
) -> Result<Body, ErrorKind> {
    let builder = Body::builder(&[dtype; N]);
    let tape = RefCell::new(Tape { builder, dtype, error: None });
    let mut x = [Trace::Recorded(&tape, Scalar::Operand(0)); N];
    for (i, x) in x.iter_mut().enumerate() {
        *x = Trace::Recorded(&tape, Scalar::Operand(i as u16));
    }
    let y = eval(x).on(&tape);
    let Tape { builder, error, .. } = tape.into_inner();
    error.map_or_else(|| builder.finish(&[y]), Err)
}

/// A number that is known while a function is recorded: as instruction sets with a fused multiply-add compute it, of each
/// type, so that functions are compiled for one kind of lane and not for one of each type.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    single: Fused<f32>,
    double: Fused<f64>,
}

impl Known {
    fn of(value: f64) -> Self {
        Self { single: Fused::splat(value), double: Fused::splat(value) }
    }
    fn at(self, dtype: DType) -> f64 {
        if dtype == DType::F32 { f64::from(self.single.0) } else { self.double.0 }
    }
}

/// A number while a function is recorded: known, or what a body will have computed.
#[derive(Clone, Copy)]
pub(crate) enum Trace<'b> {
    Known(Known),
    Recorded(&'b RefCell<Tape>, Scalar),
}

/// A truth value while a function is recorded: known, of each type, or what a body will have computed.
#[derive(Clone, Copy)]
pub(crate) enum Truth<'b> {
    Known { single: bool, double: bool },
    Recorded(&'b RefCell<Tape>, Scalar),
}

/// Records an operation.
fn record<'b>(tape: &'b RefCell<Tape>, primitive: Primitive, x: &[Trace<'b>]) -> Scalar {
    let mut operands = [Scalar::Operand(0); 3];
    for (to, x) in operands.iter_mut().zip(x) {
        *to = x.on(tape);
    }
    apply(tape, primitive, &operands[..x.len()])
}

fn apply(tape: &RefCell<Tape>, primitive: Primitive, x: &[Scalar]) -> Scalar {
    let mut tape = tape.borrow_mut();
    match tape.builder.apply(primitive, x) {
        Ok(y) => y,
        Err(kind) => {
            tape.error.get_or_insert(kind);
            Scalar::Operand(0)
        }
    }
}

impl<'b> Trace<'b> {
    /// A number that is known.
    pub(crate) fn known(value: f64) -> Self {
        Self::Known(Known::of(value))
    }

    /// This number, if it is known, of this type.
    pub(crate) fn value(self, dtype: DType) -> Option<f64> {
        if let Self::Known(known) = self { Some(known.at(dtype)) } else { None }
    }

    /// The tape that this is on.
    fn tape(self) -> Option<&'b RefCell<Tape>> {
        if let Self::Recorded(tape, _) = self { Some(tape) } else { None }
    }

    /// This number on a tape.
    fn on(self, tape: &RefCell<Tape>) -> Scalar {
        let value = match self {
            Self::Known(value) => value,
            Self::Recorded(_, scalar) => return scalar,
        };
        let mut tape = tape.borrow_mut();
        let dtype = tape.dtype;
        match tape.builder.constant(dtype, value.at(dtype)) {
            Ok(c) => c,
            Err(kind) => {
                tape.error.get_or_insert(kind);
                Scalar::Operand(0)
            }
        }
    }

    fn unary(
        self,
        primitive: Primitive,
        single: impl Fn(Fused<f32>) -> Fused<f32>,
        double: impl Fn(Fused<f64>) -> Fused<f64>,
    ) -> Self {
        match self {
            Self::Known(x) => Self::Known(Known { single: single(x.single), double: double(x.double) }),
            Self::Recorded(tape, _) => Self::Recorded(tape, record(tape, primitive, &[self])),
        }
    }

    fn binary(
        self,
        other: Self,
        primitive: Primitive,
        single: impl Fn(Fused<f32>, Fused<f32>) -> Fused<f32>,
        double: impl Fn(Fused<f64>, Fused<f64>) -> Fused<f64>,
    ) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => {
                Self::Known(Known { single: single(a.single, b.single), double: double(a.double, b.double) })
            }
            (Self::Recorded(tape, _), _) | (_, Self::Recorded(tape, _)) => {
                Self::Recorded(tape, record(tape, primitive, &[self, other]))
            }
        }
    }

    fn compare(
        self,
        other: Self,
        primitive: Primitive,
        single: impl Fn(Fused<f32>, Fused<f32>) -> bool,
        double: impl Fn(Fused<f64>, Fused<f64>) -> bool,
    ) -> Truth<'b> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => {
                Truth::Known { single: single(a.single, b.single), double: double(a.double, b.double) }
            }
            (Self::Recorded(tape, _), _) | (_, Self::Recorded(tape, _)) => {
                Truth::Recorded(tape, record(tape, primitive, &[self, other]))
            }
        }
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident) => {
        impl $Trait for Trace<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.binary(other, Primitive::$Trait, $Trait::$method, $Trait::$method)
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl Neg for Trace<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Primitive::Neg, Neg::neg, Neg::neg)
    }
}

/// What a truth value is of a type.
fn of(dtype: DType, single: bool, double: bool) -> bool {
    if dtype == DType::F32 { single } else { double }
}

impl<'b> Truth<'b> {
    fn with(self, other: Self, primitive: Primitive, known: impl Fn(bool, bool) -> bool) -> Self {
        match (self, other) {
            (Self::Known { single: a, double: b }, Self::Known { single: c, double: d }) => {
                Self::Known { single: known(a, c), double: known(b, d) }
            }
            (Self::Known { single, double }, on @ Self::Recorded(tape, _))
            | (on @ Self::Recorded(tape, _), Self::Known { single, double }) => {
                let truth = of(tape.borrow().dtype, single, double);
                // What is known decides, or leaves the other as it is.
                match (known(truth, false), known(truth, true)) {
                    (false, true) => on,
                    (decided, _) => Self::Known { single: decided, double: decided },
                }
            }
            (Self::Recorded(tape, a), Self::Recorded(_, b)) => {
                Self::Recorded(tape, apply(tape, primitive, &[a, b]))
            }
        }
    }
}
impl BitAnd for Truth<'_> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.with(other, Primitive::And, |a, b| a & b)
    }
}
impl BitOr for Truth<'_> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other, Primitive::Or, |a, b| a | b)
    }
}
impl Not for Truth<'_> {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            Self::Known { single, double } => Self::Known { single: !single, double: !double },
            Self::Recorded(tape, x) => Self::Recorded(tape, apply(tape, Primitive::Not, &[x])),
        }
    }
}

impl Whole for Trace<'_> {
    fn sigmoid(self) -> Self {
        self.unary(Primitive::Sigmoid, Whole::sigmoid, Whole::sigmoid)
    }
    fn sech_squared(self) -> Self {
        self.unary(Primitive::SechSquared, Whole::sech_squared, Whole::sech_squared)
    }
    fn gated_mul(self, other: Self, gates: u8) -> Self {
        let primitive = Primitive::GatedMul(gates);
        self.binary(other, primitive, |a, b| a.gated_mul(b, gates), |a, b| a.gated_mul(b, gates))
    }
}

macro_rules! unary {
    ($($method:ident $Primitive:ident),*) => {$(
        fn $method(self) -> Self {
            self.unary(Primitive::$Primitive, Lane::$method, Lane::$method)
        }
    )*};
}

impl<'b> Lane for Trace<'b> {
    type Mask = Truth<'b>;
    fn splat(value: f64) -> Self {
        Self::known(value)
    }
    fn select(mask: Truth<'b>, a: Self, b: Self) -> Self {
        match (mask, a, b) {
            (Truth::Recorded(tape, mask), a, b) => {
                Self::Recorded(tape, apply(tape, Primitive::Select, &[mask, a.on(tape), b.on(tape)]))
            }
            (Truth::Known { single, double }, Self::Known(a), Self::Known(b)) => Self::Known(Known {
                single: if single { a.single } else { b.single },
                double: if double { a.double } else { b.double },
            }),
            (Truth::Known { single, double }, Self::Recorded(tape, _), _)
            | (Truth::Known { single, double }, _, Self::Recorded(tape, _)) => {
                if of(tape.borrow().dtype, single, double) { a } else { b }
            }
        }
    }
    fn lt(self, other: Self) -> Truth<'b> {
        self.compare(other, Primitive::Less, Lane::lt, Lane::lt)
    }
    fn le(self, other: Self) -> Truth<'b> {
        self.compare(other, Primitive::LessEqual, Lane::le, Lane::le)
    }
    fn eq(self, other: Self) -> Truth<'b> {
        self.compare(other, Primitive::Equal, Lane::eq, Lane::eq)
    }
    fn copysign(self, sign: Self) -> Self {
        self.binary(sign, Primitive::CopySign, Lane::copysign, Lane::copysign)
    }
    fn mul_add(self, b: Self, c: Self) -> Self {
        match (self, b, c) {
            (Self::Known(x), Self::Known(b), Self::Known(c)) => Self::Known(Known {
                single: x.single.mul_add(b.single, c.single),
                double: x.double.mul_add(b.double, c.double),
            }),
            _ => match self.tape().or(b.tape()).or(c.tape()) {
                Some(tape) => Self::Recorded(tape, record(tape, Primitive::MulAdd, &[self, b, c])),
                None => self,
            },
        }
    }
    fn max(self, other: Self) -> Self {
        self.binary(other, Primitive::Max, Lane::max, Lane::max)
    }
    fn min(self, other: Self) -> Self {
        self.binary(other, Primitive::Min, Lane::min, Lane::min)
    }
    unary! {
        abs Abs, sqrt Sqrt, round Round, floor Floor, exp Exp, ln Ln, sin Sin, cos Cos, tanh Tanh, erf Erf
    }
    fn each(self, f: fn(f64) -> f64) -> Self {
        self.unary(Primitive::Each(Function(f)), |x| x.each(f), |x| x.each(f))
    }
    fn each_2(self, other: Self, f: fn(f64, f64) -> f64) -> Self {
        let primitive = Primitive::Each2(Function2(f));
        self.binary(other, primitive, |a, b| a.each_2(b, f), |a, b| a.each_2(b, f))
    }
}
