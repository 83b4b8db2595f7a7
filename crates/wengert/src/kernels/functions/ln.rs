//! The natural logarithm, as in FDLIBM (K. C. Ng and others, Sun Microsystems, 1993).

use super::polynomial;
use crate::kernels::simd::{Bits, Real};

pub(crate) trait Coefficients: Sized + 'static {
    const LN: &'static [Self];
    /// The smallest normal number, a power of two that makes smaller ones normal, and its exponent.
    const NORMAL: [f64; 3];
    /// The largest number.
    const MAX: f64;
}

/// The natural logarithm.
#[inline(always)]
pub(in crate::kernels) fn ln<V: Bits<Scalar = T>, T: Real>(x: V) -> V {
    let [least, scale, exponent] = T::NORMAL.map(V::splat);
    let (zero, small) = (V::splat(0.0), x.lt(least));
    let (e, m) = V::select(small, x * scale, x).split();
    let e = V::select(small, e - exponent, e);
    let f = m - V::splat(1.0);
    let s = f / (f + V::splat(2.0));
    let z = s * s;
    let half = f * f * V::splat(0.5);
    let low = s.mul_add(z.mul_add(polynomial(T::LN, z), half), e * V::all(T::LN2[1]));
    let y = e.mul_add(V::all(T::LN2[0]), f - (half - low));
    let infinite = V::select(x.gt(V::splat(<T as Coefficients>::MAX)), x, y);
    let y = V::select(x.gt(zero), infinite, V::splat(f64::NEG_INFINITY));
    V::select(x.lt(zero), V::splat(f64::NAN), V::select(x.is_nan(), x, y))
}

impl Coefficients for f64 {
    const LN: &'static [f64] = &[
        0.6666666666666666,
        0.40000000000000885,
        0.28571428570799784,
        0.22222222392581045,
        0.18181795547521137,
        0.15386244737621665,
        0.13268638369266825,
        0.13088034850927555,
    ];
    const NORMAL: [f64; 3] = [f64::MIN_POSITIVE, 18014398509481984.0, 54.0];
    const MAX: f64 = f64::MAX;
}

#[allow(clippy::excessive_precision)] // as the script prints them
impl Coefficients for f32 {
    const LN: &'static [f32] = &[0.666666687, 0.400001228, 0.285507798, 0.233316138];
    const NORMAL: [f64; 3] = [f32::MIN_POSITIVE as f64, 16777216.0, 24.0];
    const MAX: f64 = f32::MAX as f64;
}
