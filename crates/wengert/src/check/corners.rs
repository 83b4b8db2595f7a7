//! Laws of derivatives at ties, and behind closed gates.

use super::laws::{along, pulled_by};
use super::{Function, broken, execute, floats, function, record};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::ir::{Domain, Op, Phase, Recorder, Row, Tape, Value, Var};
use crate::ops::{Content, Sampler, Spec};
use crate::tensor::Tensor;

/// Where numbers are equal, and stay so: along directions that move equal numbers alike a function of their order is as
/// smooth as elsewhere, so the shares of tied numbers add up to what central differences find. The operands are drawn
/// anew, from three numbers each; what may fail may do so there.
pub(super) fn ties(
    f: &dyn Function,
    specs: &[Spec],
    inputs: &[Tensor],
    infallible: bool,
    sampler: &mut Sampler,
) -> Result<()> {
    let mut tied = inputs.to_vec();
    let mut directions = Vec::new();
    // The same for all operands that can be anything, so that they are equal to one another too.
    let anything: [f64; 3] = std::array::from_fn(|_| match sampler.float(Domain::Apart(1)) {
        small if small.abs() < 0.3 => small + 0.5,
        large => large,
    });
    for (x, spec) in tied.iter_mut().zip(specs) {
        let numbers = match spec.content {
            Content::Float(Domain::All | Domain::NonZero | Domain::Apart(_)) | Content::Distinct(_) => {
                anything
            }
            Content::Float(domain) => std::array::from_fn(|_| sampler.float(domain)),
            _ => {
                directions.push(Tensor::filled(x.ty(), 0.0)?);
                continue;
            }
        };
        let classes: Vec<usize> = (0..x.shape().elements()).map(|_| sampler.below(3)).collect();
        // Equal numbers move alike, whichever of the three they are.
        let moves = numbers.map(|x| (7.0 * x).sin());
        let of = |numbers: [f64; 3]| classes.iter().map(|&c| numbers[c]).collect::<Vec<f64>>();
        directions.push(Tensor::new(x.shape(), of(moves))?);
        *x = Tensor::new(x.shape(), of(numbers))?;
    }
    match along(f, &tied, &directions).and_then(|()| super::laws::adjoint(f, &tied, 5)) {
        Err(e) if !infallible && matches!(e.kind(), ErrorKind::Fault(_)) => Ok(()),
        Err(e) => Err(broken(format!("where numbers are equal: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// A gate that is closed before or behind a function lets nothing through, whatever the partials between: of operands
/// that are 0, infinite or no number, the cotangent behind closed gates is zero, and so is the tangent before them and
/// both at second order. What may fail may do so here, and what multiplies inside of a kernel may lose the gate: see
/// `docs/conventions.md`.
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
                let program = record(derivative, &x)?;
                let found = match execute(&program, &x) {
                    Err(e) if !infallible && matches!(e.kind(), ErrorKind::Fault(_)) => continue,
                    found => found?,
                };
                for d in found.iter().filter(|_| !loses(program.tape())) {
                    if d.to_f64().iter().any(|&d| d != 0.0) {
                        return Err(broken(format!("{}: {d:?}", named(what, order))));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether a row of a derivative multiplies what lies behind a gate in a kernel that knows nothing of gates.
fn loses(tape: &Tape) -> bool {
    let touched = |v: &Value| tape.rows()[v.row as usize].origin.touched;
    let loses = |row: &Row| {
        let multiplies = match &row.op {
            Op::Bilinear(op) => op.gated(3).is_none(),
            Op::Elementwise(f) => f.arity() > 1 && !row.origin.touched,
            Op::Custom(_) => !row.origin.touched,
            _ => false,
        };
        multiplies && row.origin.phase != Phase::Forward && row.operands.iter().any(touched)
    };
    tape.rows().iter().any(loses)
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

#[cfg(test)]
mod tests {
    use super::super::laws::pullback;
    use super::*;
    use crate::ops::Registry;

    #[test]
    fn no_op_of_this_crate_loses_a_gate() {
        // But those whose derivatives are systems of equations, which multiply in their kernels.
        let systems = ["cholesky", "lu", "solve", "triangular_solve"];
        for entry in Registry::builtin().entries().iter().filter(|e| !systems.contains(&e.name)) {
            for seed in 0..6 {
                let mut sampler = Sampler::new(seed);
                let sample = entry.sample(&mut sampler);
                let x = entry.draw(&sample.operands, DType::F64, &mut sampler);
                let f = function(|t, x| {
                    closed(t, t.emit(sample.op.clone(), &closed(t, x.to_vec())).into_iter().collect())
                });
                let (first, pushes) = (pullback(&f), function(|t, x| pushed(t, &f, x)));
                let second = pullback(&first);
                for derivative in [&first as &dyn Function, &second, &pushes] {
                    assert!(!loses(record(derivative, &x).unwrap().tape()), "{:?}", sample.op);
                }
            }
        }
    }
}
