//! The arithmetic that elementwise functions are written in.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::functions;
use super::simd::Vector;
use super::tile::Tile;

/// A lane of floating-point numbers. Elementwise functions are written once over this trait, without `if`: a choice is a
/// comparison followed by [`select`](Lane::select). The same text then serves a number, a register of numbers, and a
/// recorder that turns it into a [`Body`](crate::ir::Body).
///
/// ```
/// use wengert::Lane;
/// fn relu<L: Lane>(x: L) -> L {
///     L::select(x.gt(L::splat(0.0)), x, L::splat(0.0))
/// }
/// assert_eq!((relu(2.0f32), relu(-2.0f64)), (2.0, 0.0));
/// ```
///
/// It is sealed: what an elementwise function can do is what every lane can do.
pub trait Lane:
    Whole
    + Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The outcome of a comparison, lane by lane.
    type Mask: Copy + BitAnd<Output = Self::Mask> + BitOr<Output = Self::Mask> + Not<Output = Self::Mask>;
    /// The same number in every lane, rounded to the lane's precision.
    fn splat(value: f64) -> Self;
    /// Where `mask` holds, `a`; elsewhere `b`. Neither is multiplied by the mask.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    /// `self < other`; false where either is NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// `self > other`; false where either is NaN.
    #[inline(always)]
    fn gt(self, other: Self) -> Self::Mask {
        other.lt(self)
    }
    /// `self ≤ other`; false where either is NaN.
    fn le(self, other: Self) -> Self::Mask;
    /// `self ≥ other`; false where either is NaN.
    #[inline(always)]
    fn ge(self, other: Self) -> Self::Mask {
        other.le(self)
    }
    /// `self = other`; false where either is NaN.
    fn eq(self, other: Self) -> Self::Mask;
    /// Whether this is a NaN.
    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        !self.eq(self)
    }
    /// `|x|`.
    fn abs(self) -> Self;
    /// `√x`, NaN below zero.
    fn sqrt(self) -> Self;
    /// The nearest whole number, ties to even.
    fn round(self) -> Self;
    /// The largest whole number not above this one.
    fn floor(self) -> Self;
    /// The magnitude of this with the sign of `sign`; in bodies the sign of a NaN is +.
    fn copysign(self, sign: Self) -> Self;
    /// `self · b + c`, rounded once on instruction sets that have such an instruction, and twice on others.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The larger number; NaN where either is. Of equal ones the other.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::select(self.is_nan() | self.gt(other), self, other)
    }
    /// The smaller number; NaN where either is. Of equal ones the other.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::select(self.is_nan() | self.lt(other), self, other)
    }
    /// `eˣ`.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The sine of radians.
    fn sin(self) -> Self;
    /// The cosine of radians.
    fn cos(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function, `2/√π ∫ e^{−t²} dt` from 0 to `x`.
    fn erf(self) -> Self;
    /// A function of one number, lane by lane: for what there is no other way to write. It costs a call for each number.
    fn each(self, f: fn(f64) -> f64) -> Self;
    /// A function of this number and another, lane by lane, likewise.
    fn each_2(self, other: Self, f: fn(f64, f64) -> f64) -> Self;
}

/// Functions of this crate that a [`Body`](super::body::Body) has as one primitive each, because that measured faster than
/// their parts. What seals [`Lane`].
pub trait Whole: Sized {
    /// `1 / (1 + e⁻ˣ)`.
    #[inline(always)]
    fn sigmoid(self) -> Self
    where
        Self: Lane,
    {
        functions::sigmoid(self)
    }
    /// `1 / cosh²`.
    #[inline(always)]
    fn sech_squared(self) -> Self
    where
        Self: Lane,
    {
        functions::sech_squared(self)
    }
    /// `self · other`, but where an operand in `gates` (bit 0 for this one) is zero, that zero.
    #[inline(always)]
    fn gated_mul(self, other: Self, gates: u8) -> Self
    where
        Self: Lane,
    {
        // Zero is not larger than zero; nor is a NaN, which gives one whichever way, unless the other operand's zero closes
        // the gate.
        let own = |x: Self, product: Self| Self::select(x.abs().gt(Self::splat(0.0)), product, x);
        let product = self * other;
        match gates {
            0 => product,
            1 => own(self, product),
            2 => own(other, product),
            _ => {
                let closed = Self::select(other.is_nan(), product, own(other, product));
                Self::select(self.is_nan(), closed, own(self, closed))
            }
        }
    }
}

macro_rules! scalar_lane {
    ($T:ident) => {
        impl Whole for $T {}
        impl Lane for $T {
            type Mask = bool;
            #[inline(always)]
            fn splat(value: f64) -> Self {
                value as $T
            }
            #[inline(always)]
            fn select(mask: bool, a: Self, b: Self) -> Self {
                if mask { a } else { b }
            }
            #[inline(always)]
            fn lt(self, other: Self) -> bool {
                self < other
            }
            #[inline(always)]
            fn le(self, other: Self) -> bool {
                self <= other
            }
            #[inline(always)]
            fn eq(self, other: Self) -> bool {
                self == other
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$T>::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$T>::sqrt(self)
            }
            #[inline(always)]
            fn round(self) -> Self {
                <$T>::round_ties_even(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                <$T>::floor(self)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                <$T>::copysign(self, sign)
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // Without such an instruction a fused one would be a slow call.
                self * b + c
            }
            #[inline(always)]
            fn exp(self) -> Self {
                <$T>::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                <$T>::ln(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                <$T>::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                <$T>::cos(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                <$T>::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                // The standard library has none.
                functions::erf(self)
            }
            #[inline(always)]
            fn each(self, f: fn(f64) -> f64) -> Self {
                f(f64::from(self)) as $T
            }
            #[inline(always)]
            fn each_2(self, other: Self, f: fn(f64, f64) -> f64) -> Self {
                f(f64::from(self), f64::from(other)) as $T
            }
        }
        impl Vector for $T {
            type Scalar = Self;
            type One = Self;
            const LANES: usize = 1;
            const GROUPS: usize = 1;
            const ROWS: usize = 4;
            const VECTORS: usize = 2;
            #[inline(always)]
            fn all(value: Self) -> Self {
                value
            }
            #[inline(always)]
            unsafe fn load(from: *const Self) -> Self {
                // SAFETY: passed on from the caller.
                unsafe { *from }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut Self) {
                // SAFETY: passed on from the caller.
                unsafe { *to = self }
            }
            #[inline(always)]
            unsafe fn load_part(from: *const Self, count: usize) -> Self {
                // SAFETY: passed on from the caller.
                if count > 0 { unsafe { *from } } else { 0.0 }
            }
            #[inline(always)]
            unsafe fn store_part(self, _: *mut Self, _: usize) {}
            #[inline(always)]
            unsafe fn load_rows(from: *const Self, _: usize) -> Self {
                // SAFETY: passed on from the caller.
                unsafe { *from }
            }
            #[inline(always)]
            unsafe fn load_rows_part(from: *const Self, _: usize, count: usize) -> Self {
                // SAFETY: passed on from the caller.
                unsafe { Self::load_part(from, count) }
            }
            #[inline(always)]
            fn zip(self, other: Self) -> (Self, Self) {
                (self, other)
            }
            #[inline(always)]
            fn first(self) -> Self {
                self
            }
            #[inline(always)]
            fn sum(self) -> Self {
                self
            }
            #[inline(always)]
            fn row_sums(self) -> [Self; 2] {
                [self, 0.0]
            }
            #[inline(never)]
            unsafe fn tile<const LAYOUT: bool>(tile: &Tile<Self>, rows: usize) {
                // SAFETY: passed on from the caller.
                unsafe { tile.run::<Self, LAYOUT>(rows) }
            }
            #[inline(always)]
            fn fused(a: Self, b: Self, c: Self) -> Self {
                a * b + c
            }
        }
    };
}
scalar_lane!(f32);
scalar_lane!(f64);
