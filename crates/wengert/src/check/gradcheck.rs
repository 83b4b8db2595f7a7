//! Derivatives of any function against finite differences, in both modes and to any order.

use super::culprit::culprit;
use super::shrink::{self, smallest};
use super::{broken, difference, dot, execute, function, moved, position, random, random_like, record};
use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Recorder, Var};
use crate::ops::Sampler;
use crate::program::Program;
use crate::tensor::Tensor;

/// How to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// The highest derivative to check.
    pub order: usize,
    /// The largest accepted difference, relative to the largest derivative by the same input, and to the rounding of the
    /// differences themselves.
    pub tolerance: f64,
    /// The step of the finite differences.
    pub step: f64,
    /// For the random directions in which results and gradients are taken.
    pub seed: u64,
}

impl Default for Options {
    /// Second order, `1e-6`, steps of `1e-3` (whose fourth-order error is about `1e-12`), seed 0.
    fn default() -> Self {
        Self { order: 2, tolerance: 1e-6, step: 1e-3, seed: 0 }
    }
}

/// What a check found that passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The largest difference, relative as [`Options::tolerance`] says.
    pub worst: f64,
    /// Where it was.
    pub at: String,
    /// How many derivatives were compared.
    pub compared: usize,
    /// How many were left out because the function has a kink there: its slopes to either side differ, however small the
    /// step.
    pub kinks: usize,
}

/// Checks the derivatives of a function at a point: every element of every gradient against
/// central differences, and forward mode against reverse mode, order by order. Inputs of other types
/// than `f64` are held fixed.
///
/// The error says which derivative is wrong, by which element of which input, what was found and expected, what to suspect: the first row whose own
/// derivative is wrong, with its line, or where derivatives end; and an input as simple as could be found for which a derivative of that order is wrong. At a kink finite differences mean nothing: it is left out, and counted. An error also where the function is not of
/// floats.
///
/// ```
/// use ndarray::array;
/// use wengert::check::{Options, gradcheck};
/// use wengert::Tensor;
/// let x = Tensor::from_array(&array![0.3, -0.8])?;
/// let report = gradcheck(|_, x| (x[0].sin() * x[0]).sum(()), &[x], &Options::default())?;
/// assert!(report.worst < 1e-8);
///
/// // A gradient that is cut is found.
/// let x = Tensor::from_array(&array![0.3, -0.8])?;
/// let error = gradcheck(|_, x| x[0].stop_gradient() * x[0], &[x], &Options::default()).unwrap_err();
/// assert!(error.to_string().contains("input 0, element [0]"), "{error}");
/// assert!(error.to_string().contains("derivatives end at stop_gradient at"), "{error}");
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn gradcheck<F>(f: F, inputs: &[Tensor], options: &Options) -> Result<Report>
where
    F: for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Var<'t>,
{
    let mut report = Report { worst: 0.0, at: String::new(), compared: 0, kinks: 0 };
    for order in 1..=options.order {
        let (what, finite) = match check_order(&f, inputs, order, options, &mut report) {
            Ok(()) => continue,
            Err(Failure::Error(e)) => return Err(e),
            Err(Failure::Wrong { what, finite }) => (what, finite),
        };
        let suspect = culprit(&function(|t, x| vec![f(t, x)]), inputs);
        let as_wrong = |x: &[Tensor]| {
            let outcome = check_order(&f, x, order, options, &mut report.clone());
            matches!(outcome, Err(Failure::Wrong { finite: found, .. }) if found == finite)
        };
        let small = shrink::text(&smallest(inputs, as_wrong));
        return Err(broken(format!("{what}; {suspect}; also wrong at {small}")));
    }
    if report.compared + report.kinks == 0 {
        return Err(broken("nothing was compared: there is no element of f64, or the order is 0".into()));
    }
    Ok(report)
}

/// Why a check does not pass.
enum Failure {
    /// A derivative that is wrong, and whether it and what was expected are finite.
    Wrong { what: String, finite: bool },
    /// Whatever kept the derivatives from being computed.
    Error(Error),
}
impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

fn check_order<F>(
    f: &F,
    inputs: &[Tensor],
    order: usize,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure>
where
    F: for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Var<'t>,
{
    let mut sampler = Sampler::new(options.seed);
    let wrt: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].ty().dtype == DType::F64).collect();
    let y = super::run(&function(|t, x| vec![f(t, x)]), inputs)?;
    if let Some(ty) = y.first().map(Tensor::ty).filter(|ty| !ty.dtype.is_float()) {
        let kind = ErrorKind::NotDifferentiable(format!("the function is {ty}, which has no derivatives"));
        return Err(Error::of(kind, "gradcheck").into());
    }
    let weight = random(y[0].ty(), &mut sampler)?;
    let directions: Vec<Vec<Tensor>> =
        (0..order).map(|_| random_like(inputs, &mut sampler)).collect::<Result<_>>()?;
    let Some((last, before)) = directions.split_last() else { return Ok(()) };

    // A scalar whose gradient is a derivative of this order: each direction contracts one more.
    fn scalar<'t, F>(
        t: &'t Recorder,
        f: &F,
        x: &[Var<'t>],
        wrt: &[usize],
        weight: &Tensor,
        along: &[Vec<Tensor>],
    ) -> Var<'t>
    where
        F: for<'a> Fn(&'a Recorder, &[Var<'a>]) -> Var<'a>,
    {
        let mut s = (f(t, x) * t.constant(weight.clone())).sum(());
        for directions in along {
            let by: Vec<Var<'t>> = wrt.iter().map(|&i| x[i]).collect();
            let g = s.gradients(by);
            let terms = wrt.iter().map(|&i| (g[x[i]] * t.constant(directions[i].clone())).sum(()));
            s = terms.reduce(|a, b| a + b).unwrap_or(s);
        }
        s
    }
    let values = record(&function(|t, x| vec![scalar(t, f, x, &wrt, &weight, before)]), inputs)?;
    let derivatives = record(
        &function(|t, x| derivatives(t, scalar(t, f, x, &wrt, &weight, before), x, &wrt, last)),
        inputs,
    )?;
    let found = execute(&derivatives, inputs)?;
    let Some((forward, gradients)) = found.split_last() else { return Ok(()) };

    // How far the rounding of values moves their differences.
    let terms: f64 = y[0].to_f64().iter().zip(weight.to_f64()).map(|(y, w)| (y * w).abs()).sum();
    let value = execute(&values, inputs)?[0].item()?;
    let noise = 64.0 * f64::EPSILON * value.abs().max(if order == 1 { terms } else { 0.0 }) / options.step;
    let reverse: f64 = wrt.iter().zip(gradients).map(|(&i, g)| dot(g, &last[i])).sum();
    let scale = 1.0 + reverse.abs();
    let agree = (forward.item()? - reverse).abs() <= options.tolerance * scale;
    if !agree {
        let forward = forward.item()?;
        let what = format!(
            "derivative of order {order}: forward mode finds {forward:e} along a random direction, reverse mode {reverse:e}"
        );
        return Err(Failure::Wrong { what, finite: (forward - reverse).is_finite() });
    }
    for (&i, gradient) in wrt.iter().zip(gradients) {
        let numbers = gradient.to_f64();
        let unit = |e: usize| -> Result<Vec<Tensor>> {
            let mut unit: Vec<Tensor> =
                inputs.iter().map(|x| Tensor::filled(x.ty(), 0.0)).collect::<Result<_>>()?;
            let mut one = vec![0.0; numbers.len()];
            one[e] = 1.0;
            unit[i] = Tensor::new(inputs[i].shape(), one)?;
            Ok(unit)
        };
        let slope = |e: usize| difference(&values, inputs, &unit(e)?, options.step)?[0].item();
        let expected: Vec<f64> = (0..numbers.len()).map(slope).collect::<Result<_>>()?;
        let largest = numbers.iter().chain(&expected).filter(|g| g.is_finite());
        let scale = largest.fold(0.0, |m: f64, g| m.max(g.abs())) + noise / options.tolerance;
        for (e, (&found, &expected)) in numbers.iter().zip(&expected).enumerate() {
            let error = if found == expected { 0.0 } else { (found - expected).abs() / scale };
            let at = format!("derivative of order {order} by input {i}, element {}", position(e, gradient));
            if error.is_nan() || error > options.tolerance {
                if kink(&values, inputs, &unit(e)?, options.step)? {
                    report.kinks += 1;
                    continue;
                }
                let what = format!("{at}: found {found:e}, finite differences {expected:e}");
                return Err(Failure::Wrong { what, finite: (found - expected).is_finite() });
            }
            if error >= report.worst {
                report.worst = error;
                report.at = at;
            }
            report.compared += 1;
        }
    }
    Ok(())
}

/// Whether the slopes of a scalar to either side differ, and do so as much when the step is an eighth: those of a smooth
/// function come together.
fn kink(values: &Program, inputs: &[Tensor], along: &[Tensor], step: f64) -> Result<bool> {
    let at = |h: f64| execute(values, &moved(inputs, along, h)?)?[0].item();
    let here = at(0.0)?;
    let apart = |h: f64| -> Result<f64> { Ok(((at(h)? - here) / h - (here - at(-h)?) / h).abs()) };
    let (wide, narrow) = (apart(step)?, apart(step / 8.0)?);
    let noise = 64.0 * f64::EPSILON * here.abs() / step;
    Ok(narrow > 0.5 * wide && narrow > 16.0 * noise)
}

/// The gradients of a scalar, and last its tangent along `direction`.
fn derivatives<'t>(
    t: &'t Recorder,
    s: Var<'t>,
    x: &[Var<'t>],
    wrt: &[usize],
    direction: &[Tensor],
) -> Vec<Var<'t>> {
    let by: Vec<Var<'t>> = wrt.iter().map(|&i| x[i]).collect();
    let g = s.gradients(by.iter().copied());
    let seeds: Vec<(Var<'t>, Var<'t>)> =
        wrt.iter().map(|&i| (x[i], t.constant(direction[i].clone()))).collect();
    by.iter().map(|&x| g[x]).chain(t.jvp(&[s], &seeds)).collect()
}
