//! Checks of derivatives, for users and for this crate's own ops: [`gradcheck`] for one function,
//! the [laws] that hold for every op, [`check_registry`] to run them over a registry.

mod bodies;
mod claims;
#[cfg(feature = "nets")]
mod convolved;
mod corners;
mod culprit;
mod gradcheck;
pub mod laws;
mod registry;
mod shrink;
#[cfg(feature = "proptest")]
pub mod strategies;

pub use gradcheck::{Options, Report, gradcheck};
pub use registry::{check_entry, check_registry, check_sample};

use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Machine;
use crate::ir::{Domain, Recorder, States, Var};
use crate::ops::{Sampler, Spec};
use crate::program::{Passes, Program};
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// A function of arrays, as a closure that records it.
pub trait Function: for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Vec<Var<'t>> {}
impl<F: for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Vec<Var<'t>>> Function for F {}

/// Tells the compiler that a closure is a [`Function`], so that it can be stored and passed on.
///
/// ```
/// let x = [wengert::Tensor::scalar(0.5)];
/// let f = wengert::check::function(|_, x| vec![x[0].tanh()]);
/// wengert::check::laws::adjoint(&f, &x, 1)?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn function<F>(f: F) -> F
where
    F: for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Vec<Var<'t>>,
{
    f
}

/// The same for a closure that makes one variable, as [`gradcheck`] takes it.
///
/// ```
/// use wengert::check::{Options, gradcheck, scalar};
/// let x = [wengert::Tensor::scalar(0.5)];
/// let f = scalar(|_, x| x[0].tanh());
/// gradcheck(f, &x, &Options::default())?;
/// gradcheck(f, &x, &Options::default())?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn scalar<F>(f: F) -> F
where
    F: for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Var<'t>,
{
    f
}

/// Records a function and runs it once on these arrays.
fn run(f: &dyn Function, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let program = record(f, inputs)?;
    execute(&program, inputs)
}

fn record(f: &dyn Function, inputs: &[Tensor]) -> Result<Program> {
    recorded(Passes::All, &Machine::THIS, f, inputs)
}

/// Records a function to be planned after these passes, for a machine.
fn recorded(passes: Passes, machine: &Machine, f: &dyn Function, inputs: &[Tensor]) -> Result<Program> {
    Program::planned(Recorder::default(), passes, machine, |t| {
        let x: Vec<Var<'_>> = inputs.iter().map(|x| t.input(x.ty().dtype, x.shape())).collect();
        t.outputs(f(t, &x))
    })
}

fn execute(program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    execute_on(1, program, inputs)
}

fn execute_on(threads: usize, program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut workspace = program.workspace_on(threads)?;
    let results = program.evaluate(&mut workspace, &States::new(), inputs)?;
    (0..program.tape().outputs().len()).map(|i| results.tensor(i)).collect()
}

/// Random floats of this type, uniform in [−1, 1); for other types zeros.
fn random(ty: TensorType, sampler: &mut Sampler) -> Result<Tensor> {
    if !ty.dtype.is_float() {
        return Tensor::filled(ty, 0.0);
    }
    Ok(Spec::float(ty.shape, Domain::Between(-1.0, 1.0)).draw(ty.dtype, sampler))
}

/// Random directions, one for each array.
fn random_like(tensors: &[Tensor], sampler: &mut Sampler) -> Result<Vec<Tensor>> {
    tensors.iter().map(|t| random(t.ty(), sampler)).collect()
}

/// The scalar product; NaN, which fails every comparison, where the shapes differ.
fn dot(a: &Tensor, b: &Tensor) -> f64 {
    if a.shape() != b.shape() {
        return f64::NAN;
    }
    a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| a * b).sum()
}

fn floats(tensors: &[Tensor]) -> Vec<usize> {
    (0..tensors.len()).filter(|&i| tensors[i].ty().dtype.is_float()).collect()
}

fn broken(what: String) -> Error {
    ErrorKind::Check(what).into()
}

/// Why two arrays are not the same up to `tolerance · (1 + magnitude)`, element by element, if they are not. NaN equals
/// NaN.
fn differ(found: &Tensor, expected: &Tensor, tolerance: f64) -> Option<String> {
    if found.shape() != expected.shape() {
        return Some(format!("{} is not {}", found.ty(), expected.ty()));
    }
    let pairs = found.to_f64().into_iter().zip(expected.to_f64()).enumerate();
    pairs
        .filter(|(_, (a, b))| {
            !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * (1.0 + b.abs()))
        })
        .map(|(i, (a, b))| format!("element {} of {}: {a:e}, expected {b:e}", position(i, found), found.ty()))
        .next()
}

/// A row-major position as indices.
fn position(i: usize, of: &Tensor) -> String {
    format!("{:?}", of.shape().position(i))
}

/// `x + h·v`, in f64.
fn moved(x: &[Tensor], v: &[Tensor], h: f64) -> Result<Vec<Tensor>> {
    x.iter()
        .zip(v)
        .map(|(x, v)| {
            if x.ty().dtype != DType::F64 {
                return Ok(x.clone());
            }
            Tensor::new(
                x.shape(),
                x.to_f64().iter().zip(v.to_f64()).map(|(x, v)| x + h * v).collect::<Vec<f64>>(),
            )
        })
        .collect()
}

/// `d/dε f(x + ε·v)` at 0 by central differences of fourth order (Fornberg, "Generation of finite
/// difference formulas on arbitrarily spaced grids", 1988), for each output.
fn difference(program: &Program, x: &[Tensor], v: &[Tensor], step: f64) -> Result<Vec<Tensor>> {
    let at = |h: f64| execute(program, &moved(x, v, h)?);
    let (a, b, c, d) = (at(-2.0 * step)?, at(-step)?, at(step)?, at(2.0 * step)?);
    (0..a.len())
        .map(|i| {
            let (a, b, c, d) = (a[i].to_f64(), b[i].to_f64(), c[i].to_f64(), d[i].to_f64());
            let slope = |j: usize| ((a[j] - d[j]) + 8.0 * (c[j] - b[j])) / (12.0 * step);
            Tensor::new(output_shape(program, i)?, (0..a.len()).map(slope).collect::<Vec<f64>>())
        })
        .collect()
}

fn output_shape(program: &Program, output: usize) -> Result<crate::Shape> {
    let tape = program.tape();
    let ty = tape.outputs().get(output).and_then(|v| tape.ty(*v));
    ty.map(|ty| ty.shape).ok_or_else(|| broken(format!("there is no output {output}")))
}
