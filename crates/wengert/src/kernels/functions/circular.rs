//! Sine and cosine.
//!
//! The argument is reduced as W. J. Cody and W. Waite do ("Software manual for the elementary functions", 1980); angles
//! too far away for that are left to the standard library.

use super::polynomial;
use crate::kernels::simd::{Bits, Real};

pub(crate) trait Coefficients: Sized + 'static {
    /// π/2 as a sum of three numbers.
    const PI_2: [Self; 3];
    const SIN: &'static [Self];
    const COS: &'static [Self];
    /// The largest magnitude that is reduced.
    const ANGLE: f64;
}

/// The sine of radians.
#[inline(always)]
pub(in crate::kernels) fn sin<V: Bits<Scalar = T>, T: Real>(x: V) -> V {
    let (n, r) = reduce(x);
    far(x, circular(n, r, x), f64::sin)
}

/// The cosine of radians.
#[inline(always)]
pub(in crate::kernels) fn cos<V: Bits<Scalar = T>, T: Real>(x: V) -> V {
    let (n, r) = reduce(x);
    far(x, circular(n + V::splat(1.0), r, r), f64::cos)
}

/// `x = n π/2 + r` with `|r| ≤ π/4`. The first difference is exact, as both sides of it are multiples of
/// the same power of two.
#[inline(always)]
fn reduce<V: Bits<Scalar = T>, T: Real>(x: V) -> (V, V) {
    let n = (x * V::splat(std::f64::consts::FRAC_2_PI)).round();
    let r = T::PI_2.iter().fold(x, |r, &part| n.mul_add(-V::all(part), r));
    (n, r)
}

/// `sin(n π/2 + r)`; a zero has the sign of `zero`.
#[inline(always)]
fn circular<V: Bits<Scalar = T>, T: Real>(n: V, r: V, zero: V) -> V {
    let z = r * r;
    let one = V::splat(1.0);
    let sin = (polynomial(T::SIN, z) * z).mul_add(r, r);
    let half = z * V::splat(0.5);
    let w = one - half;
    let cos = w + ((one - w - half) + z * z * polynomial(T::COS, z));
    let y = V::select(n.bit(0), cos, sin);
    let y = V::select(n.bit(1), -y, y);
    let nothing = V::select(r.gt(V::splat(0.0)), y, V::select(r.lt(V::splat(0.0)), y, r.copysign(zero)));
    V::select(n.bit(0), y, V::select(r.is_nan(), r, nothing))
}

/// `y`, but for angles too far away to be reduced, whose lanes get the function `f` of one number.
#[inline(always)]
fn far<V: Bits<Scalar = T>, T: Real>(x: V, y: V, f: fn(f64) -> f64) -> V {
    let far = x.abs().gt(V::splat(T::ANGLE));
    if V::any(far) { V::select(far, x.each(f), y) } else { y }
}

impl Coefficients for f64 {
    const PI_2: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
    const SIN: &'static [f64] = &[
        -0.16666666666666666,
        0.008333333333333331,
        -0.0001984126984126504,
        2.755731921932058e-06,
        -2.50521062259944e-08,
        1.6058530596645953e-10,
        -7.586636882825159e-13,
    ];
    const COS: &'static [f64] = &[
        0.041666666666666664,
        -0.0013888888888888887,
        2.4801587301584632e-05,
        -2.755731922139249e-07,
        2.0876755787492604e-09,
        -1.1470460319209511e-11,
        4.745838412531023e-14,
    ];
    const ANGLE: f64 = 1e9;
}

#[allow(clippy::excessive_precision)] // as the script prints them
impl Coefficients for f32 {
    const PI_2: [f32; 3] = [std::f32::consts::FRAC_PI_2, -4.371_139e-8, -1.715_124_5e-15];
    const SIN: &'static [f32] = &[-0.166666672, 0.00833333191, -0.000198400841, 2.72496209e-06];
    const COS: &'static [f32] = &[0.0416666679, -0.00138888881, 2.48005981e-05, -2.73007032e-07];
    const ANGLE: f64 = 1e5;
}
