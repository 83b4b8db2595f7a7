//! The complement of the error function, and the inverse of the error function.

use std::f64::consts::FRAC_2_SQRT_PI;

use super::polynomial;
use crate::kernels::{Fused, Lane};

/// The error function of one number.
fn erf(x: f64) -> f64 {
    Fused(x).erf().0
}

/// `1 − erf(x)`, without the cancellation where that is small: `e^{−x²}` times a function that varies little, a polynomial
/// in `(x − 3)/(x + 3)`.
pub(crate) fn erfc(x: f64) -> f64 {
    let a = x.abs();
    if a < 0.5 || x.is_nan() {
        return 1.0 - erf(x);
    }
    // The square in two parts: an error of the exponent counts as often as it is large.
    let high = f64::from_bits(a.to_bits() & !0xffff_ffff);
    let below = 1.0 + 2.0 * a;
    // What the rounding of that left out, and the rest of the square.
    let left = (2.0 * a - (below - 1.0)) / below;
    let more = (-(a - high) * (a + high)).exp_m1() - left;
    let y = (-high * high).exp() * (polynomial(&SCALED_ERFC, (a - 3.0) / (a + 3.0)) / below);
    // Beyond, even the least number is too large.
    let y = if a > 28.0 { 0.0 } else { y + y * more };
    if x < 0.0 { 2.0 - y } else { y }
}

/// The inverse of the error function: ±∞ at ±1, NaN beyond. Halley's method, from an approximation within one percent (S. Winitzki,
/// "A handy approximation for the error function and its inverse", 2008).
pub(crate) fn erfinv(x: f64) -> f64 {
    let p = x.abs();
    if p < 1e-9 {
        return x / FRAC_2_SQRT_PI;
    }
    if p >= 1.0 || x.is_nan() {
        return if p == 1.0 { f64::INFINITY.copysign(x) } else { f64::NAN };
    }
    let (a, ln) = (0.147, ((1.0 - p) * (1.0 + p)).ln());
    let half = 1.0 / (std::f64::consts::FRAC_PI_2 * a) + ln / 2.0;
    let mut y = ((half * half - ln / a).sqrt() - half).sqrt();
    for _ in 0..3 {
        // Above one half the complement of p is exact, and tells more.
        let over = if p < 0.5 { erf(y) - p } else { (1.0 - p) - erfc(y) };
        let step = over / (FRAC_2_SQRT_PI * (-y * y).exp());
        y -= step / (1.0 + y * step);
    }
    y.copysign(x)
}

const SCALED_ERFC: [f64; 24] = [
    1.2530080582697296,
    -0.1356211061245812,
    -0.047562294353451176,
    0.12964515870276397,
    -0.1192736634152754,
    0.06830802734385681,
    -0.02377051491960952,
    0.0025293918182127816,
    0.0018886903726146294,
    -0.0007798322945107705,
    -0.00010515990298771089,
    0.0001250995042238072,
    4.949956945761098e-06,
    -2.010126378463004e-05,
    -7.328307002418314e-07,
    3.4745846128523814e-06,
    3.5900188708545566e-07,
    -6.211741712587419e-07,
    -1.4324034589200596e-07,
    1.078880701472726e-07,
    4.1367990839283595e-08,
    -1.7932947990627186e-08,
    -6.795035322911804e-09,
    2.530478256290314e-09,
];
