//! Functions of numbers within two units in the last place, for every register that has the parts of a number: one file
//! each, with its source.
//!
//! The polynomials are fits of our own, made by `tests/reference/functions.py`. Instruction sets without a fused multiply-add take
//! `exp`, `ln`, `sin`, `cos` and `tanh` from the standard library.

mod circular;
mod erf;
mod exp;
mod ln;
mod logistic;
mod tanh;
#[cfg(test)]
mod tests;

pub(super) use circular::{cos, sin};
pub(super) use erf::erf;
pub(super) use exp::exp;
pub(super) use ln::ln;
pub(super) use logistic::{sech_squared, sigmoid};
pub(super) use tanh::tanh;

use super::simd::Vector;

/// What the functions need to know of a type of numbers.
pub(crate) trait Coefficients:
    circular::Coefficients + erf::Coefficients + exp::Coefficients + ln::Coefficients + tanh::Coefficients
{
}
impl Coefficients for f32 {}
impl Coefficients for f64 {}

/// `Σ cᵢ xⁱ`, by Horner's rule.
#[inline(always)]
fn polynomial<V: Vector>(c: &[V::Scalar], x: V) -> V {
    let Some((last, rest)) = c.split_last() else { return V::splat(0.0) };
    let mut y = V::all(*last);
    for &c in rest.iter().rev() {
        y = y.mul_add(x, V::all(c));
    }
    y
}
