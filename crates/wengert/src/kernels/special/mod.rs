//! Functions that are computed number by number, in f64, whatever the type: too rare to be written for registers, and too
//! long to be compiled for each. An f32 is the f64 result, rounded.
//!
//! What the standard library has is taken from there; the rest is here, one file for each family. Coefficients are fits of our
//! own, made by `tests/reference/special.py`; `tests/all/accuracy.rs` holds all of it to a table of 60 digits.

mod erf;
mod gamma;
mod hyperbolic;
mod logarithm;
mod polygamma;

pub(crate) use erf::{erfc, erfinv};
pub(crate) use gamma::ln_gamma;
pub(crate) use hyperbolic::{acosh, asinh, atanh};
pub(crate) use logarithm::{logaddexp, xlogy};
pub(crate) use polygamma::{POLYGAMMA, digamma};

/// `Σ cᵢ xⁱ`, by Horner's rule.
fn polynomial(c: &[f64], x: f64) -> f64 {
    c.iter().rev().fold(0.0, |y, &c| y * x + c)
}

/// The sine of `πx`: the whole numbers are its roots.
fn sin_pi(x: f64) -> f64 {
    // What is left of a half turn is exact.
    let turn = x - 2.0 * (x / 2.0).round();
    let near = if turn.abs() > 0.5 { turn.signum() - turn } else { turn };
    (std::f64::consts::PI * near).sin()
}

/// The cosine of `πx`.
fn cos_pi(x: f64) -> f64 {
    let turn = (x - 2.0 * (x / 2.0).round()).abs();
    if turn > 0.25 && turn < 0.75 { sin_pi(0.5 - turn) } else { (std::f64::consts::PI * turn).cos() }
}
