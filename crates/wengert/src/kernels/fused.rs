//! One number with a fused multiply-add: what registers of every width are held to.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::functions;
use super::lane::{Lane, Whole};
use super::primitives::signed;
use super::simd::{Bits, Real, Vector};
use super::tile::Tile;

/// A number that is computed as instruction sets with a fused multiply-add do it, bit for bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fused<T>(pub(crate) T);

macro_rules! operator {
    ($Trait:ident, $method:ident) => {
        impl<T: Real> $Trait for Fused<T> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(self.0.$method(other.0))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl<T: Real> Neg for Fused<T> {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl<T: Real> Whole for Fused<T> {}

impl<T: Real> Lane for Fused<T> {
    type Mask = bool;
    fn splat(value: f64) -> Self {
        Self(T::from_f64(value))
    }
    fn select(mask: bool, a: Self, b: Self) -> Self {
        if mask { a } else { b }
    }
    fn lt(self, other: Self) -> bool {
        self.0 < other.0
    }
    fn le(self, other: Self) -> bool {
        self.0 <= other.0
    }
    fn eq(self, other: Self) -> bool {
        self.0 == other.0
    }
    fn abs(self) -> Self {
        Self(self.0.abs())
    }
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    fn round(self) -> Self {
        Self(self.0.round())
    }
    fn floor(self) -> Self {
        Self(self.0.floor())
    }
    fn copysign(self, sign: Self) -> Self {
        Self(signed(self.0, sign.0))
    }
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(T::fuse(self.0, b.0, c.0))
    }
    #[inline(never)]
    fn exp(self) -> Self {
        functions::exp(self)
    }
    #[inline(never)]
    fn ln(self) -> Self {
        functions::ln(self)
    }
    #[inline(never)]
    fn sin(self) -> Self {
        functions::sin(self)
    }
    #[inline(never)]
    fn cos(self) -> Self {
        functions::cos(self)
    }
    #[inline(never)]
    fn tanh(self) -> Self {
        functions::tanh(self)
    }
    #[inline(never)]
    fn erf(self) -> Self {
        functions::erf(self)
    }
    fn each(self, f: fn(f64) -> f64) -> Self {
        Self(self.0.each(f))
    }
    fn each_2(self, other: Self, f: fn(f64, f64) -> f64) -> Self {
        Self(self.0.each_2(other.0, f))
    }
}

impl<T: Real> Vector for Fused<T> {
    type Scalar = T;
    type One = Self;
    const LANES: usize = 1;
    const GROUPS: usize = 1;
    const ROWS: usize = T::ROWS;
    const VECTORS: usize = T::VECTORS;
    fn all(value: T) -> Self {
        Self(value)
    }
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { *from })
    }
    unsafe fn store(self, to: *mut T) {
        // SAFETY: passed on from the caller.
        unsafe { *to = self.0 }
    }
    unsafe fn load_part(from: *const T, count: usize) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { T::load_part(from, count) })
    }
    unsafe fn store_part(self, _: *mut T, _: usize) {}
    unsafe fn load_rows(from: *const T, _: usize) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { *from })
    }
    unsafe fn load_rows_part(from: *const T, _: usize, count: usize) -> Self {
        // SAFETY: passed on from the caller.
        Self(unsafe { T::load_part(from, count) })
    }
    fn zip(self, other: Self) -> (Self, Self) {
        (self, other)
    }
    fn first(self) -> T {
        self.0
    }
    fn sum(self) -> T {
        self.0
    }
    fn row_sums(self) -> [T; 2] {
        [self.0, T::default()]
    }
    unsafe fn tile<const LAYOUT: bool>(tile: &Tile<T>, rows: usize) {
        // SAFETY: passed on from the caller.
        unsafe { tile.run::<Self, LAYOUT>(rows) }
    }
    fn fused(a: T, b: T, c: T) -> T {
        T::fuse(a, b, c)
    }
}

impl<T: Real> Bits for Fused<T> {
    fn pow2(n: Self) -> Self {
        Self::splat(f64::from_bits(((n.0.to_f64() as i64 + 1023) as u64) << 52))
    }
    fn split(self) -> (Self, Self) {
        // Every number of the type is a normal f64.
        let (x, root) = (self.0.to_f64(), T::from_f64(std::f64::consts::FRAC_1_SQRT_2).to_f64());
        let exponent = (x.to_bits() >> 52) as i64 - 1023;
        let mantissa = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
        // From [1, 2) to [½√2, √2).
        let (exponent, mantissa) =
            if mantissa >= 2.0 * root { (exponent + 1, mantissa / 2.0) } else { (exponent, mantissa) };
        (Self::splat(exponent as f64), Self::splat(mantissa))
    }
    fn bit(self, bit: u32) -> bool {
        self.0.to_f64() as i64 >> bit & 1 == 1
    }
    fn any(mask: bool) -> bool {
        mask
    }
}
