//! The hyperbolic tangent: an odd polynomial near zero, `1 − 2 / (e²ˣ + 1)` elsewhere.

use super::{exp, polynomial};
use crate::kernels::simd::{Bits, Real};

pub(crate) trait Coefficients: Sized + 'static {
    const TANH: &'static [Self];
}

/// The hyperbolic tangent.
#[inline(always)]
pub(in crate::kernels) fn tanh<V: Bits<Scalar = T>, T: Real>(x: V) -> V {
    let (one, two) = (V::splat(1.0), V::splat(2.0));
    let a = x.abs();
    let z = x * x;
    let small = (polynomial(T::TANH, z) * z).mul_add(x, x);
    let large = one - two / (exp(a * two) + one);
    // A NaN is not less, and comes out of `large` as it went in.
    V::select(a.lt(V::splat(0.55)), small, large.copysign(x))
}

impl Coefficients for f64 {
    const TANH: &'static [f64] = &[
        -0.3333333333333333,
        0.13333333333333322,
        -0.0539682539682386,
        0.02186948853527211,
        -0.008863235503474263,
        0.00359212756468524,
        -0.001455828960615004,
        0.0005899854319744377,
        -0.00023890496211736875,
        9.608496254823988e-05,
        -3.715957073271407e-05,
        1.2290462744501814e-05,
        -2.474921470279742e-06,
    ];
}

#[allow(clippy::excessive_precision)] // as the script prints them
impl Coefficients for f32 {
    const TANH: &'static [f32] = &[
        -0.333333343,
        0.133333325,
        -0.0539676808,
        0.0218604244,
        -0.00879391748,
        0.00331356796,
        -0.000869063777,
    ];
}
