//! What is made of logarithms of two numbers.

/// `ln(eᵃ + eᵇ)`.
pub(crate) fn logaddexp(a: f64, b: f64) -> f64 {
    let (more, less) = if a < b { (b, a) } else { (a, b) };
    // Their distance, but that of two infinities.
    let under = if more == less { 0.0 } else { less - more };
    more + under.exp().ln_1p()
}

/// `a ln b`, 0 where `a` is 0 and `b` a number.
pub(crate) fn xlogy(a: f64, b: f64) -> f64 {
    if a == 0.0 && !b.is_nan() { 0.0 } else { a * b.ln() }
}
