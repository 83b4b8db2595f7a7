//! The error function.
//!
//! From 1 on it is `1 − e^{−p}` with a polynomial `p` for `−ln erfc(x)`. An error of `p` counts
//! `erfc(x)` times, less than a sixth; and nothing is divided, as it would be in `e^{−x²}` times a quotient.

use super::polynomial;
use crate::kernels::simd::{Real, Vector};

pub(crate) trait Coefficients: Sized + 'static {
    const ERF: &'static [Self];
    const ERFC: &'static [Self];
    /// From here on `erf` rounds to 1.
    const ERF_ONE: f64;
}

/// The error function, of every instruction set: the standard library has none.
#[inline(always)]
pub(in crate::kernels) fn erf<V: Vector<Scalar = T>, T: Real>(x: V) -> V {
    let (one, most) = (V::splat(1.0), V::splat(T::ERF_ONE));
    let a = x.abs();
    let small = polynomial(T::ERF, x * x).mul_add(x, x);
    // Beyond its last point the polynomial means nothing. A NaN is not greater, and stays.
    let within = V::select(a.gt(most), most, a);
    let large = one - (-polynomial(T::ERFC, within)).exp();
    V::select(a.lt(one), small, V::select(x.lt(V::splat(0.0)), -large, large))
}

impl Coefficients for f64 {
    const ERF: &'static [f64] = &[
        0.12837916709551256,
        -0.37612638903183543,
        0.11283791670945006,
        -0.02686617064323777,
        0.0052239776071164225,
        -0.0008548325975389692,
        0.00012055294904839707,
        -1.492473690741966e-05,
        1.6447424703317362e-06,
        -1.6208483801871705e-07,
        1.3720064546777686e-08,
        -7.795898827002142e-10,
    ];
    const ERFC: &'static [f64] = &[
        5.25530610055349e-07,
        1.1283738752344383,
        0.6366445675882951,
        0.1027008999186594,
        -0.01898544054561009,
        -0.0004171020651739851,
        0.001922650075452321,
        -0.0007760226343185617,
        0.00013843208229647933,
        1.8591234887288997e-05,
        -2.2168398241704738e-05,
        8.46709272682243e-06,
        -2.0883233454373484e-06,
        3.648123420213575e-07,
        -4.530923031074751e-08,
        3.833569578436844e-09,
        -1.9889327194207288e-10,
        4.7841387941070134e-12,
    ];
    const ERF_ONE: f64 = 6.0;
}

#[allow(clippy::excessive_precision)] // as the script prints them
impl Coefficients for f32 {
    const ERF: &'static [f32] = &[
        0.128379166,
        -0.37612626,
        0.112835944,
        -0.0268542115,
        0.00518908724,
        -0.00080168643,
        7.87587487e-05,
    ];
    const ERFC: &'static [f32] =
        &[0.000341962354, 1.1270889, 0.638142467, 0.103111453, -0.0218417067, 0.00294894585, -0.000186551712];
    const ERF_ONE: f64 = 4.0;
}
