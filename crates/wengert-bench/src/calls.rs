//! Single calls: the median of their times.

use std::time::Instant;

use ndarray::{Array1, Array2, Axis};
use serde_json::json;
use wengert::{DType, Error, Inputs, Program, Sampler, Shape, States, Tensor};
use wengert_idx::Options;
use wengert_nn::Dataset;

use crate::{Arguments, Outcome};

/// What the calls of one program took, in microseconds (all of them: in seconds).
pub(crate) struct Timed {
    pub(crate) calls: usize,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) total: f64,
}

/// Times programs in turn, `iters` calls each.
pub(crate) fn timed(
    arguments: &Arguments,
    states: &States,
    programs: &[Program],
    inputs: impl Inputs + Copy,
    iters: usize,
) -> Result<Vec<Timed>, Error> {
    let calls = arguments.iters.unwrap_or(iters).max(1);
    let mut workspaces =
        programs.iter().map(|p| p.workspace_on(arguments.threads)).collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::with_capacity(calls); programs.len()];
    for round in 0..calls + 3 {
        for ((program, workspace), times) in programs.iter().zip(&mut workspaces).zip(&mut times) {
            let clock = Instant::now();
            program.evaluate(workspace, states, inputs)?;
            // The first calls touch all memory.
            if round >= 3 {
                times.push(clock.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    if arguments.profile {
        for (program, workspace) in programs.iter().zip(&mut workspaces) {
            eprintln!("{}", program.profile(workspace, &mut states.clone(), inputs)?);
        }
    }
    let figures = times.into_iter().map(|mut t| {
        let total = t.iter().sum::<f64>() / 1e6;
        t.sort_by(f64::total_cmp);
        Timed { calls, median: t[t.len() / 2], least: t[0], total }
    });
    Ok(figures.collect())
}

fn figures(times: &[Timed]) -> serde_json::Value {
    let t = &times[0];
    json!({
        "iters": t.calls, "seconds_total": t.total, "us_per_step": t.median, "us_min": t.least,
        "statistic": "median",
    })
}

/// Figures and more of them.
pub(crate) fn with(mut figures: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    if let (Some(figures), Some(more)) = (figures.as_object_mut(), more.as_object()) {
        figures.extend(more.clone());
    }
    figures
}

/// Numbers drawn from N(0, deviation²), by Box and Muller.
pub(crate) fn normal(
    sampler: &mut Sampler,
    dtype: DType,
    dims: &[usize],
    deviation: f64,
) -> Result<Tensor, Error> {
    let shape = Shape::new(dims)?;
    let numbers = (0..shape.elements()).map(|_| {
        let (u, v) = (1.0 - sampler.unit(), sampler.unit());
        deviation * (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    });
    match dtype {
        DType::F32 => Tensor::new(shape, numbers.map(|x| x as f32).collect()),
        _ => Tensor::new(shape, numbers.collect::<Vec<f64>>()),
    }
}

/// The largest difference, over the largest number.
pub(crate) fn difference(found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// Refuses to time what is wrong.
pub(crate) fn agree(what: &str, error: f64, most: f64) -> Result<(), Error> {
    if error <= most {
        return Ok(());
    }
    Err(wengert::ErrorKind::Check(format!("{what} is off by {error:e}")).into())
}

/// Value and gradient of the sum of `x ← sin(x)·a + b·x`, repeated.
pub(crate) fn small_ops(arguments: &Arguments) -> Outcome {
    const REPETITIONS: usize = 10_000;
    let (dtype, states) = (arguments.dtype(), States::new());
    let clock = Instant::now();
    let program = Program::record(&states, |t| {
        let [x0, a, b] = [(); 3].map(|()| t.input(dtype, [8]));
        let mut x = x0;
        for _ in 0..REPETITIONS {
            x = x.sin() * a + b * x;
        }
        let value = x.sum(());
        let g = value.gradients([x0, a, b]);
        t.outputs([value, g[x0], g[a], g[b]])
    })?;
    let compile_seconds = clock.elapsed().as_secs_f64();
    let index = Array1::from_iter(0..8).mapv(f64::from);
    let (x0, a) = (index.mapv(|i| 0.5 + 0.1 * i), index.mapv(|i| 0.1 + 0.05 * i));
    let b = a.mapv(|a| 1.0 - a);
    let expected = chain(&x0, &a, &b, REPETITIONS);
    let bound = |x: &Array1<f64>| match dtype {
        DType::F32 => Tensor::from_array(&x.mapv(|x| x as f32)),
        _ => Tensor::from_array(x),
    };
    let inputs = (&bound(&x0)?, &bound(&a)?, &bound(&b)?);
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &states, inputs)?;
    for (i, expected) in expected.iter().enumerate() {
        let most = if dtype == DType::F64 { 1e-9 } else { 1e-2 };
        agree("the chain", difference(&found.tensor(i)?.to_f64(), expected), most)?;
    }
    let times = timed(arguments, &states, &[program], inputs, 100)?;
    let nodes = 4 * REPETITIONS;
    let more = json!({ "reps": REPETITIONS, "nodes": nodes, "ns_per_node": times[0].median * 1e3 / nodes as f64, "compile_seconds": compile_seconds });
    Ok(with(figures(&times), more))
}

/// The same by hand: value and gradients.
fn chain(x0: &Array1<f64>, a: &Array1<f64>, b: &Array1<f64>, repetitions: usize) -> [Vec<f64>; 4] {
    let mut grads = [vec![0.0], vec![0.0; 8], vec![0.0; 8], vec![0.0; 8]];
    for lane in 0..8 {
        let (a, b) = (a[lane], b[lane]);
        let mut x = vec![x0[lane]];
        for i in 0..repetitions {
            x.push(x[i].sin() * a + b * x[i]);
        }
        grads[0][0] += x[repetitions];
        let mut ct = 1.0;
        for &x in x[..repetitions].iter().rev() {
            grads[2][lane] += ct * x.sin();
            grads[3][lane] += ct * x;
            ct *= x.cos() * a + b;
        }
        grads[1][lane] = ct;
    }
    grads
}

/// Hessian times vector of the mean cross-entropy of a softmax regression, on 1,000 images.
pub(crate) fn hvp(arguments: &Arguments) -> Outcome {
    const EXAMPLES: usize = 1000;
    let clock = Instant::now();
    let data = Dataset::load(&arguments.data, 10, arguments.threads, &Options::default())?;
    let load_seconds = clock.elapsed().as_secs_f64();
    let (pixels, labels) = data.train.part(0, EXAMPLES);
    let images = pixels.mapv(|p| f64::from(p) / 255.0);
    let dtype = arguments.dtype();
    let mut sampler = Sampler::new(0);
    let (w, v) =
        (normal(&mut sampler, dtype, &[784, 10], 0.01)?, normal(&mut sampler, dtype, &[784, 10], 1.0)?);
    let states = States::new();
    let program = Program::record(&states, |t| {
        let [w, v] = [(); 2].map(|()| t.input(dtype, [784, 10]));
        let (x, y) = (t.input(dtype, [EXAMPLES, 784]), t.input(DType::U32, [EXAMPLES]));
        let g = x.matmul(w).cross_entropy(y).gradients([w]);
        t.outputs(t.jvp(&[g[w]], &[(w, v)]))
    })?;
    let x = match dtype {
        DType::F32 => Tensor::from_array(&images.mapv(|x| x as f32))?,
        _ => Tensor::from_array(&images)?,
    };
    let labels = labels.to_owned();
    let inputs = (&w, &v, &x, &labels);
    let matrix = |t: &Tensor| Array2::from_shape_vec((784, 10), t.to_f64());
    let expected = closed_form(&images, &matrix(&w)?, &matrix(&v)?);
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &states, inputs)?.tensor(0)?.to_f64();
    let error = difference(&found, &expected.into_raw_vec_and_offset().0);
    agree("the product", error, if dtype == DType::F64 { 1e-10 } else { 1e-3 })?;
    let times = timed(arguments, &states, &[program], inputs, 100)?;
    Ok(with(figures(&times), json!({ "load_seconds": load_seconds, "rel_err_vs_closed_form": error })))
}

/// `Xᵀ (p ∘ (u − Σ p u)) / n` with `p = softmax(X W)` and `u = X V`.
fn closed_form(x: &Array2<f64>, w: &Array2<f64>, v: &Array2<f64>) -> Array2<f64> {
    let mut p = x.dot(w);
    for mut row in p.rows_mut() {
        let top = row.fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        row.mapv_inplace(|x| (x - top).exp());
        let sum = row.sum();
        row /= sum;
    }
    let u = x.dot(v);
    let mean = (&p * &u).sum_axis(Axis(1)).insert_axis(Axis(1));
    x.t().dot(&(p * (u - mean))) / x.nrows() as f64
}
