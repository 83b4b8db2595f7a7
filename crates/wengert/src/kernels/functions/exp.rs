//! The exponential function.
//!
//! The argument is reduced as W. J. Cody and W. Waite do ("Software manual for the elementary functions", 1980).

use super::polynomial;
use crate::kernels::simd::{Bits, Real};

pub(crate) trait Coefficients: Sized + 'static {
    /// ln 2 as a sum of three numbers.
    const LN2: [Self; 3];
    const EXP: &'static [Self];
    /// Below and above these `exp` is 0 and ∞.
    const EXP_RANGE: [f64; 2];
}

/// `eˣ`.
#[inline(always)]
pub(in crate::kernels) fn exp<V: Bits<Scalar = T>, T: Real>(x: V) -> V {
    let [low, high] = T::EXP_RANGE.map(V::splat);
    let x = V::select(x.lt(low), low, V::select(x.gt(high), high, x));
    let n = (x * V::splat(std::f64::consts::LOG2_E)).round();
    let r = n.mul_add(-V::all(T::LN2[0]), x);
    let r = n.mul_add(-V::all(T::LN2[1]), r);
    let p = polynomial(T::EXP, r).mul_add(r * r, r) + V::splat(1.0);
    // In two halves, so that neither leaves the normal numbers where the result does.
    let half = (n * V::splat(0.5)).round();
    p * V::pow2(half) * V::pow2(n - half)
}

impl Coefficients for f64 {
    const LN2: [f64; 3] = [std::f64::consts::LN_2, 2.3190468138462996e-17, 5.707708438416212e-34];
    const EXP: &'static [f64] = &[
        0.5,
        0.1666666666666667,
        0.04166666666666667,
        0.008333333333326084,
        0.0013888888888883711,
        0.0001984126987500228,
        2.480158732567746e-05,
        2.755725517000089e-06,
        2.755727347871858e-07,
        2.5105312729622103e-08,
        2.09147553258932e-09,
    ];
    const EXP_RANGE: [f64; 2] = [-750.0, 710.0];
}

#[allow(clippy::excessive_precision)] // as the script prints them
impl Coefficients for f32 {
    const LN2: [f32; 3] = [std::f32::consts::LN_2, -1.904_654_2e-9, -8.783_184e-17];
    const EXP: &'static [f32] = &[0.5, 0.166665763, 0.0416665524, 0.00836323295, 0.00139262504];
    const EXP_RANGE: [f64; 2] = [-104.0, 89.0];
}
