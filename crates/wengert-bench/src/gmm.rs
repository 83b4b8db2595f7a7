//! The mixture of Gaussians of ADBench (F. Srajer, Z. Kukelova, A. Fitzgibbon, "A benchmark of selected
//! algorithmic differentiation tools", Optimization Methods and Software, 2018).

use serde_json::json;
use wengert::{DType, Error, Program, Recorder, Sampler, States, Tensor, Var};

use crate::calls::{normal, timed};
use crate::training::cost;
use crate::{Arguments, Outcome};

/// Dimensions, components and points.
const D: usize = 10;
const K: usize = 25;
const N: usize = 1000;
/// The strictly lower triangle of a matrix.
const LOWER: usize = D * (D - 1) / 2;
/// The Wishart prior.
const GAMMA: f64 = 1.0;
const M: f64 = 0.0;

/// The log posterior of `x [N, D]` under `alphas [K]`, `means [K, D]` and `icf [K, D + LOWER]`: logarithms of
/// diagonals, then lower triangles column by column.
fn objective<'t>(t: &'t Recorder, alphas: Var<'t>, means: Var<'t>, icf: Var<'t>, x: Var<'t>) -> Var<'t> {
    let (log_diagonal, lower) = (icf.slice(1, 0..D), icf.slice(1, D..D + LOWER));
    let diagonal = log_diagonal.exp();
    // Entry (i, j) of every Q lies at i·D + j; the rows of a transposed part are put in their places.
    let mut places = Vec::new();
    for j in 0..D {
        places.extend((j + 1..D).map(|i| (i * D + j) as i64));
    }
    let on_diagonal: Vec<i64> = (0..D).map(|i| (i * D + i) as i64).collect();
    let q = t.full(x.dtype(), [D * D, K], 0.0);
    let q = q.scatter_add(t.constant(ndarray::Array1::from(places)), lower.t());
    let q = q.scatter_add(t.constant(ndarray::Array1::from(on_diagonal)), diagonal.t());
    let q = q.t().reshape([K, D, D]);
    let centre = q.einsum("kij,kj->ki", means);
    let away = x.matmul(q.reshape([K * D, D]).t()).reshape([N, K, D]) - centre;
    let square = (away * away).sum(2);
    let log_sum = log_diagonal.sum(1);
    let slse = (alphas + log_sum - square * 0.5).logsumexp(1).sum(());
    let prior = ((diagonal * diagonal).sum(()) + (lower * lower).sum(())) * (0.5 * GAMMA * GAMMA)
        - log_sum.sum(()) * M;
    slse - alphas.logsumexp(0) * N as f64 + prior + constant()
}

/// The terms that no parameter is in.
fn constant() -> f64 {
    use std::f64::consts::PI;
    // ln Γ of halves of whole numbers, from Γ(x + 1) = x Γ(x).
    let log_gamma = |twice: usize| {
        let start: (usize, f64) = if twice.is_multiple_of(2) { (2, 0.0) } else { (1, 0.5 * PI.ln()) };
        (start.0..twice).step_by(2).fold(start.1, |sum, x| sum + (x as f64 / 2.0).ln())
    };
    let freedom = D + M as usize + 1;
    let log_gamma_d =
        0.25 * (D * (D - 1)) as f64 * PI.ln() + (1..=D).map(|j| log_gamma(freedom + 1 - j)).sum::<f64>();
    let wishart = (freedom * D) as f64 * (GAMMA.ln() - 0.5 * 2f64.ln()) - log_gamma_d;
    -((N * D) as f64) * 0.5 * (2.0 * PI).ln() - K as f64 * wishart
}

/// Value against value and gradient.
pub(crate) fn gradcost(arguments: &Arguments) -> Outcome {
    let (dtype, states) = (arguments.dtype(), States::new());
    let mut sampler = Sampler::new(0);
    let alphas = normal(&mut sampler, dtype, &[K], 1.0)?;
    let means = uniform(&mut sampler, dtype, &[K, D])?;
    let icf = normal(&mut sampler, dtype, &[K, D + LOWER], 1.0)?;
    let x = normal(&mut sampler, dtype, &[N, D], 1.0)?;
    let record = |gradient: bool| {
        Program::record(&states, |t| {
            let p = [alphas.ty(), means.ty(), icf.ty(), x.ty()].map(|ty| t.input(ty.dtype, ty.shape));
            let value = objective(t, p[0], p[1], p[2], p[3]);
            let g = value.gradients([p[0], p[1], p[2]]);
            let all = [g[p[0]], g[p[1]], g[p[2]]].into_iter().filter(|_| gradient);
            t.outputs(std::iter::once(value).chain(all))
        })
    };
    let programs = [record(false)?, record(true)?];
    let inputs = (&alphas, &means, &icf, &x);
    let error = directional(&programs, &states, &[&alphas, &means, &icf], &x)?;
    if dtype == DType::F64 && error > 1e-6 {
        return Err(format!("the gradient is off by {error:e} of a central difference").into());
    }
    let value = programs[0].evaluate(&mut programs[0].workspace()?, &states, inputs)?.scalar(0)?;
    let times = timed(arguments, &states, &programs, inputs, 100)?;
    let mut figures = cost(&times);
    if let Some(figures) = figures.as_object_mut() {
        figures.insert("value".into(), json!(value));
        figures.insert("rel_err_vs_difference".into(), json!(error));
    }
    Ok(figures)
}

fn uniform(sampler: &mut Sampler, dtype: DType, dims: &[usize]) -> Result<Tensor, Error> {
    let shape = wengert::Shape::new(dims)?;
    let numbers = (0..shape.elements()).map(|_| sampler.unit());
    match dtype {
        DType::F32 => Tensor::new(shape, numbers.map(|x| x as f32).collect()),
        _ => Tensor::new(shape, numbers.collect::<Vec<f64>>()),
    }
}

/// How far the gradient along a random direction is from a central difference.
fn directional(programs: &[Program], states: &States, at: &[&Tensor; 3], x: &Tensor) -> Result<f64, Error> {
    let mut sampler = Sampler::new(7);
    let direction: Vec<Vec<f64>> =
        at.iter().map(|p| (0..p.shape().elements()).map(|_| sampler.unit() - 0.5).collect()).collect();
    let moved = |step: f64| -> Result<f64, Error> {
        let mut p = Vec::new();
        for (at, along) in at.iter().zip(&direction) {
            let numbers = at.to_f64().iter().zip(along).map(|(a, d)| a + step * d).collect::<Vec<f64>>();
            p.push(match at.ty().dtype {
                DType::F32 => Tensor::new(at.shape(), numbers.into_iter().map(|x| x as f32).collect())?,
                _ => Tensor::new(at.shape(), numbers)?,
            });
        }
        programs[0].evaluate(&mut programs[0].workspace()?, states, (&p[0], &p[1], &p[2], x))?.scalar(0)
    };
    let numeric = (moved(1e-5)? - moved(-1e-5)?) / 2e-5;
    let mut workspace = programs[1].workspace()?;
    let found = programs[1].evaluate(&mut workspace, states, (at[0], at[1], at[2], x))?;
    let mut slope = 0.0;
    for (i, along) in direction.iter().enumerate() {
        slope += found.tensor(i + 1)?.to_f64().iter().zip(along).map(|(g, d)| g * d).sum::<f64>();
    }
    Ok((slope - numeric).abs() / numeric.abs().max(1.0))
}
