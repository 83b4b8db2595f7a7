//! Inverse hyperbolic functions, by `ln(1 + x)` of what is small where the result is (Kahan, "Branch cuts for complex
//! elementary functions", 1987).

/// From here on the square of a number is all there is of one more than it.
const LARGE: f64 = 1e9;

pub(crate) fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let y =
        if a > LARGE { a.ln() + std::f64::consts::LN_2 } else { (a + a * a / (1.0 + a.hypot(1.0))).ln_1p() };
    y.copysign(x)
}

/// NaN below 1.
pub(crate) fn acosh(x: f64) -> f64 {
    let over = x - 1.0;
    if x > LARGE { x.ln() + std::f64::consts::LN_2 } else { (over + (over * (x + 1.0)).sqrt()).ln_1p() }
}

/// ±∞ at ±1, NaN beyond.
pub(crate) fn atanh(x: f64) -> f64 {
    let a = x.abs();
    let y = if a < 0.5 { (2.0 * a + 2.0 * a * a / (1.0 - a)).ln_1p() } else { (2.0 * a / (1.0 - a)).ln_1p() };
    (0.5 * y).copysign(x)
}
