//! The programs of derivatives, made from the tape of a function.

use super::{Mode, Parts};
use crate::error::{ErrorKind, Result};
use crate::ir::{Recorder, States, Var};
use crate::program::Program;
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// What can be asked of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derivative {
    Value,
    /// The value too.
    Gradient,
    Jvp,
    Vjp,
    Hvp,
    ForwardJacobian,
    ReverseJacobian,
    Hessian,
}

impl Derivative {
    /// How many there are beside the value.
    pub(super) const COUNT: usize = Self::Hessian as usize;

    pub(super) fn jacobian(mode: Mode) -> Self {
        match mode {
            Mode::Forward => Self::ForwardJacobian,
            Mode::Reverse => Self::ReverseJacobian,
        }
    }

    /// Where it is kept; `None` for the value.
    pub(super) fn position(self) -> Option<usize> {
        (self as usize).checked_sub(1)
    }

    /// Its program: of the arguments of the function, and of the vectors that it is multiplied by.
    pub(super) fn record(self, f: &Parts) -> Result<Program> {
        match self {
            Self::Gradient => f.of_one_number("a gradient")?,
            Self::Hvp | Self::Hessian => f.of_one_number("a Hessian")?,
            _ => {}
        }
        let by = f.arguments.iter().filter(|a| a.differentiated()).filter_map(|a| a.ty.as_ref().ok());
        for dtype in by.map(|ty| ty.dtype) {
            if dtype != f.output.dtype {
                let (y, x) = (f.output, dtype);
                let what = format!(
                    "the function makes {y}, an argument is of {x}: cast inside of it, or fix the argument"
                );
                return Err(ErrorKind::NotDifferentiable(what).into());
            }
        }
        Program::record(&States::new(), |t| {
            let mut x = f.arguments.iter().map(|a| a.record(t, false)).collect::<Result<Vec<_>>>()?;
            for (x, name) in x.iter_mut().zip(f.value.input_names()) {
                // As the closure named it.
                *x = name.as_ref().map_or(*x, |name| x.named(name));
            }
            let by: Vec<Var<'_>> =
                x.iter().zip(&f.arguments).filter(|(_, a)| a.differentiated()).map(|(x, _)| *x).collect();
            let y = t.inline(f.value.tape(), &x);
            let Some(&y) = y.first() else { return t.outputs([]) };
            let like = |x: &Var<'_>| t.input(x.dtype(), x.shape());
            match self {
                Self::Value => t.outputs([y]),
                Self::Gradient => {
                    let gradient = gradient(y, &by);
                    t.outputs(std::iter::once(y).chain(gradient))
                }
                Self::Jvp => {
                    let moved: Vec<_> = by.iter().map(|x| (*x, like(x))).collect();
                    t.outputs(t.jvp(&[y], &moved))
                }
                Self::Vjp => {
                    let seed = t.input(y.dtype(), y.shape());
                    t.outputs(t.vjp(&[(y, seed)], &by))
                }
                Self::Hvp => {
                    let moved: Vec<_> = by.iter().map(|x| (*x, like(x))).collect();
                    t.outputs(t.jvp(&gradient(y, &by), &moved))
                }
                Self::ForwardJacobian => t.outputs(forward(t, y, &by).t()),
                Self::ReverseJacobian => t.outputs(reverse(t, y, &by)),
                Self::Hessian => {
                    let flat: Vec<_> = gradient(y, &by).into_iter().map(|g| g.reshape([-1])).collect();
                    let rows = forward(t, t.concat(flat, 0), &by);
                    t.outputs((rows + rows.t()) * 0.5)
                }
            }
        })
    }
}

/// The gradients of a single number.
fn gradient<'t>(y: Var<'t>, by: &[Var<'t>]) -> Vec<Var<'t>> {
    let gradients = y.reshape([]).gradients(by);
    gradients.iter().map(|(_, gradient)| gradient).collect()
}

/// The directions of all elements of some arrays, in a batch: for each array, those elements that it moves along.
fn directions<'t>(t: &'t Recorder, of: &[Var<'t>]) -> Result<Vec<Var<'t>>> {
    let all: usize = of.iter().map(|x| x.shape().elements()).sum();
    let mut first = 0;
    of.iter()
        .map(|x| {
            let own = x.shape().elements();
            let ty = TensorType::new(x.dtype(), x.shape().insert(0, all)?);
            let mut directions = Tensor::filled(ty, 0.0)?;
            directions.set_diagonal(first * own, own);
            first += own;
            Ok(t.constant(directions))
        })
        .collect()
}

/// Tangents along all directions of the arguments, a row for each.
fn forward<'t>(t: &'t Recorder, y: Var<'t>, by: &[Var<'t>]) -> Var<'t> {
    let directions = match directions(t, by) {
        Ok(directions) => directions,
        Err(e) => return t.fail(e.kind().clone(), "jacobian"),
    };
    if directions.is_empty() {
        return t.fail(ErrorKind::NotDifferentiable("no argument has derivatives".into()), "jacobian");
    }
    let mapped: Vec<_> = directions.iter().map(|&d| (d, Some(0))).collect();
    let tangents = t.vmap(&mapped, |v| {
        let moved: Vec<_> = by.iter().copied().zip(v.iter().copied()).collect();
        t.jvp(&[y], &moved)
    });
    let rows = directions.first().map_or(0, |d| d.dim(0));
    tangents[0].reshape((rows, y.shape().elements()))
}

/// Cotangents of all elements of the result, a row for each.
fn reverse<'t>(t: &'t Recorder, y: Var<'t>, by: &[Var<'t>]) -> Var<'t> {
    let seeds = match directions(t, &[y]) {
        Ok(seeds) if !by.is_empty() => seeds,
        Ok(_) => {
            return t.fail(ErrorKind::NotDifferentiable("no argument has derivatives".into()), "jacobian");
        }
        Err(e) => return t.fail(e.kind().clone(), "jacobian"),
    };
    let cotangents = t.vmap(&[(seeds[0], Some(0))], |u| t.vjp(&[(y, u[0])], by));
    let results = y.shape().elements();
    let flat = cotangents.iter().zip(by).map(|(ct, x)| ct.reshape((results, x.shape().elements())));
    t.concat(flat.collect::<Vec<_>>(), 1)
}
