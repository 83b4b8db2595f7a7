//! The arithmetic that elementwise ops are written in.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::math::Functions;
use super::simd::Vector;

/// One lane of floating-point numbers. Elementwise ops write their function once over this
/// trait, without `if`: a choice is a comparison followed by [`select`](Lane::select), so that
/// the same text serves a scalar and a whole vector register.
///
/// ```
/// use wengert::Lane;
/// fn relu<L: Lane>(x: L) -> L {
///     L::select(x.gt(L::splat(0.0)), x, L::splat(0.0))
/// }
/// assert_eq!((relu(2.0f32), relu(-2.0f64)), (2.0, 0.0));
/// ```
pub trait Lane:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The outcome of a comparison, lane by lane.
    type Mask: Copy;
    /// The same number in every lane, rounded to the lane's precision.
    fn splat(value: f64) -> Self;
    /// Where `mask` holds, `a`; elsewhere `b`. Neither is multiplied by the mask.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    /// `self < other`; false where either is NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// `self > other`; false where either is NaN.
    fn gt(self, other: Self) -> Self::Mask;
    /// Whether this is a NaN.
    fn is_nan(self) -> Self::Mask;
    /// `|x|`.
    fn abs(self) -> Self;
    /// `√x`, NaN below zero.
    fn sqrt(self) -> Self;
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
}

macro_rules! scalar_lane {
    ($T:ident) => {
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
            fn gt(self, other: Self) -> bool {
                self > other
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$T>::is_nan(self)
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
                <$T as Functions>::erf(self)
            }
        }
        impl Vector for $T {
            type Scalar = Self;
            const LANES: usize = 1;
            const ROWS: usize = 6;
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
            unsafe fn load_part(_: *const Self, _: usize) -> Self {
                0.0
            }
            #[inline(always)]
            unsafe fn store_part(self, _: *mut Self, _: usize) {}
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
            const GROUPS: usize = 1;
            #[inline(always)]
            unsafe fn load_rows(from: *const Self, _: usize) -> Self {
                // SAFETY: passed on from the caller.
                unsafe { *from }
            }
            #[inline(always)]
            unsafe fn load_rows_part(from: *const Self, _: usize, count: usize) -> Self {
                // SAFETY: passed on from the caller.
                if count > 0 { unsafe { *from } } else { 0.0 }
            }
            #[inline(always)]
            fn row_sums(self) -> [Self; 2] {
                [self, 0.0]
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // Without such an instruction a fused one would be a slow call.
                self * b + c
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
