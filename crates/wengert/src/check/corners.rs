//! Laws of derivatives at ties, and behind closed gates.

use super::laws::{along, pulled_by};
use super::{Function, broken, floats, function, run};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::ir::{Domain, Recorder, Var};
use crate::ops::{Content, Sampler, Spec};
use crate::tensor::Tensor;

/// Where numbers are equal, and stay so: along directions that move equal numbers alike a function of their order is as
/// smooth as elsewhere, so the shares of tied numbers add up to what central differences find. The operands are drawn
/// anew, from three numbers each.
pub(super) fn ties(f: &dyn Function, specs: &[Spec], inputs: &[Tensor], sampler: &mut Sampler) -> Result<()> {
    let mut tied = inputs.to_vec();
    let mut directions = Vec::new();
    for (x, spec) in tied.iter_mut().zip(specs) {
        let numbers = match spec.content {
            Content::Float(Domain::Positive) => [0.5, 1.25, 2.0],
            Content::Float(Domain::Between(low, high)) => [0.25, 0.5, 0.75].map(|at| low + (high - low) * at),
            Content::Float(_) | Content::Distinct => [-1.5, 0.5, 1.25],
            _ => {
                directions.push(Tensor::filled(x.ty(), 0.0)?);
                continue;
            }
        };
        let classes: Vec<usize> = (0..x.shape().elements()).map(|_| sampler.below(3)).collect();
        let of = |numbers: [f64; 3]| classes.iter().map(|&c| numbers[c]).collect::<Vec<f64>>();
        directions.push(Tensor::new(x.shape(), of([1.0, -0.7, 0.4]))?);
        *x = Tensor::new(x.shape(), of(numbers))?;
    }
    let named = |e: crate::Error| broken(format!("where numbers are equal: {e}"));
    along(f, &tied, &directions).map_err(named)?;
    super::laws::adjoint(f, &tied, 5).map_err(named)
}

/// A gate that is closed before or behind a function lets nothing through, whatever the partials between: of operands
/// that are 0, infinite or no number, the cotangent behind closed gates is zero, and so is the tangent before them and
/// both at second order. What may fail may do so here.
pub(super) fn gates(f: &dyn Function, inputs: &[Tensor], infallible: bool) -> Result<()> {
    let float = floats(inputs);
    for number in [0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let mut x = inputs.to_vec();
        for &i in &float {
            x[i] = Tensor::filled(x[i].ty(), number)?;
        }
        let named = |what: &str, order: usize| format!("of {number} alone, {what} at order {order}");
        let above = function(|t, x| closed(t, f(t, x)));
        let below = function(|t, x| f(t, &closed(t, x.to_vec())));
        for (g, what) in [(&above as &dyn Function, "behind closed gates"), (&below, "before closed gates")] {
            let first = function(|t, x| pulled_by(t, g, x));
            let second = function(|t, x| pulled_by(t, &first, x));
            let pushed = function(|t, x| pushed(t, g, x));
            for (derivative, order) in [(&first as &dyn Function, 1), (&second, 2), (&pushed, 1)] {
                let found = match run(derivative, &x) {
                    Err(e) if !infallible && matches!(e.kind(), ErrorKind::Fault(_)) => continue,
                    found => found?,
                };
                for d in found {
                    if d.to_f64().iter().any(|&d| d != 0.0) {
                        return Err(broken(format!("{}: {d:?}", named(what, order))));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The floats among these, each behind a gate that is closed.
fn closed<'t>(t: &'t Recorder, x: Vec<Var<'t>>) -> Vec<Var<'t>> {
    let close = |x: Var<'t>| {
        let mask = t.full(DType::F64, x.shape(), 0.0).gt(1.0);
        if x.dtype().is_float() { mask.select(x, 0.5) } else { x }
    };
    x.into_iter().map(close).collect()
}

fn pushed<'t>(t: &'t Recorder, f: &dyn Function, x: &[Var<'t>]) -> Vec<Var<'t>> {
    let y: Vec<Var<'t>> = f(t, x).into_iter().filter(|y| y.dtype().is_float()).collect();
    let seeds: Vec<_> = x.iter().filter(|x| x.dtype().is_float()).map(|x| (*x, x.fill(1.0))).collect();
    t.jvp(&y, &seeds)
}
