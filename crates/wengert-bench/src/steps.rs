//! Steps of solvers and of training that repeat something small: along a line, in time, or within a loss.

use std::time::Instant;

use ndarray::Array1;
use serde_json::json;
use wengert::{DType, Error, Inputs, Program, Recorder, Shape, State, States, Tensor, Var, closure};

use crate::{Arguments, Outcome};

/// Numbers that any language can make: `scale · sin(rate · (i + 1))`.
pub(crate) fn wave(dtype: DType, dims: &[usize], rate: f64, scale: f64) -> Result<Tensor, Error> {
    let shape = Shape::new(dims)?;
    let numbers = (0..shape.elements()).map(|i| scale * (rate * (i + 1) as f64).sin());
    match dtype {
        DType::F32 => Tensor::new(shape, numbers.map(|x| x as f32).collect()),
        _ => Tensor::new(shape, numbers.collect::<Vec<f64>>()),
    }
}

/// Times a program that changes its states, and says what it returned first.
pub(crate) fn stepped(
    arguments: &Arguments,
    program: &Program,
    states: &mut States,
    inputs: impl Inputs + Copy,
    iters: usize,
) -> Outcome {
    let mut workspace = program.workspace_on(arguments.threads)?;
    let value = program.run(&mut workspace, states, inputs)?.tensor(0)?.to_f64()[0];
    let mut times = Vec::new();
    for step in 0..arguments.iters.unwrap_or(iters).max(1) + 3 {
        let clock = Instant::now();
        program.run(&mut workspace, states, inputs)?;
        // The first touch all memory.
        if step >= 3 {
            times.push(clock.elapsed().as_secs_f64() * 1e6);
        }
    }
    if arguments.profile {
        eprintln!("{}", program.profile(&mut workspace, states, inputs)?);
    }
    let total = times.iter().sum::<f64>() / 1e6;
    times.sort_by(f64::total_cmp);
    Ok(json!({
        "iters": times.len(), "seconds_total": total, "us_per_step": times[times.len() / 2], "us_min": times[0],
        "statistic": "median", "value": value,
    }))
}

/// A step of Runge and Kutta's fourth-order method for the equation of S. Allen and J. Cahn, `∂u/∂t = ∂²u/∂x² / 10 + u − u³`, on a line
/// whose ends rest.
pub(crate) fn ode(arguments: &Arguments) -> Outcome {
    const POINTS: usize = 100_000;
    const STEP: f64 = 0.1;
    let dtype = arguments.dtype();
    let mut states = States::new();
    let start = states.add("u", wave(dtype, &[POINTS], 1e-3, 0.5)?)?;
    let program = Program::record(&states, |t| {
        let u = t.state(start);
        let slope = closure(|u| {
            let (left, middle, right) =
                (u.slice(0, ..POINTS - 2), u.slice(0, 1..POINTS - 1), u.slice(0, 2..));
            ((left - middle * 2 + right) * 0.1 + middle * (1 - middle * middle)).pad([(1, 1)], 0.0)
        });
        let a = slope(u);
        let b = slope(u + a * (STEP / 2.0));
        let c = slope(u + b * (STEP / 2.0));
        let d = slope(u + c * STEP);
        let next = u + (a + b * 2 + c * 2 + d) * (STEP / 6.0);
        t.update(u, next);
        t.outputs(next.sum(()))
    })?;
    stepped(arguments, &program, &mut states, (), 300)
}

/// How many hidden numbers a recurrent network has.
const HIDDEN: usize = 64;

/// Which recurrent network.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cell {
    Lstm,
    Gru,
}

/// A training step of a recurrent network of 50 steps: batch 32, 64 hidden numbers, gradient descent.
pub(crate) fn recurrent(arguments: &Arguments, cell: Cell) -> Outcome {
    const STEPS: usize = 50;
    const BATCH: usize = 32;
    let gates = if cell == Cell::Lstm { 4 } else { 3 };
    let dtype = arguments.dtype();
    let mut states = States::new();
    let w = states.add("W", wave(dtype, &[HIDDEN, gates * HIDDEN], 0.37, 0.1)?)?;
    let u = states.add("U", wave(dtype, &[HIDDEN, gates * HIDDEN], 0.73, 0.1)?)?;
    let b = states.add("b", wave(dtype, &[gates * HIDDEN], 0.11, 0.1)?)?;
    let clock = Instant::now();
    let program = Program::record(&states, |t| {
        let x = t.input(dtype, (STEPS, BATCH, HIDDEN));
        let parameters = [w, u, b].map(|s| t.state(s));
        let zero = t.full(dtype, (BATCH, HIDDEN), 0.0);
        let (mut h, mut c) = (zero, zero);
        for step in 0..STEPS {
            let [w, u, b] = parameters;
            let (from_x, from_h) = (x.at(step).matmul(w) + b, h.matmul(u));
            if cell == Cell::Lstm {
                let all = from_x + from_h;
                c = of(1, all).sigmoid() * c + of(0, all).sigmoid() * of(3, all).tanh();
                h = of(2, all).sigmoid() * c.tanh();
            } else {
                let [update, reset] = [0, 1].map(|k| (of(k, from_x) + of(k, from_h)).sigmoid());
                let new = (of(2, from_x) + reset * of(2, from_h)).tanh();
                h = new + update * (h - new);
            }
        }
        let loss = h.square().mean(());
        descend(t, loss, &parameters, 0.1);
        t.outputs(loss)
    })?;
    let seconds = clock.elapsed().as_secs_f64();
    let x = wave(dtype, &[STEPS, BATCH, HIDDEN], 0.19, 1.0)?;
    let figures = stepped(arguments, &program, &mut states, (&x,), 100)?;
    Ok(crate::calls::with(figures, json!({ "compile_seconds": seconds })))
}

/// Columns of the gate of this number.
fn of<'t>(k: usize, x: Var<'t>) -> Var<'t> {
    x.slice(1, k * HIDDEN..(k + 1) * HIDDEN)
}

fn descend<'t>(t: &'t Recorder, loss: Var<'t>, parameters: &[Var<'t>], rate: f64) {
    let g = loss.gradients(parameters);
    for &p in parameters {
        t.update(p, p - g[p] * rate);
    }
}

/// A training step of a physics-informed network (M. Raissi, P. Perdikaris and G. E. Karniadakis, 2019) for `u″ = −π² sin πx` on
/// [0, 1] with ends at 0: 1-32-32-1 with tanh, 128 points, Adam.
pub(crate) fn pinn(arguments: &Arguments) -> Outcome {
    use std::f64::consts::PI;
    const POINTS: usize = 128;
    const SIZES: [usize; 4] = [1, 32, 32, 1];
    let dtype = arguments.dtype();
    let mut states = States::new();
    let mut parameters: Vec<State> = Vec::new();
    for (i, size) in SIZES.windows(2).enumerate() {
        let scale = (1.0 / size[0] as f64).sqrt();
        parameters.push(states.add(&format!("W{i}"), wave(dtype, &[size[0], size[1]], 0.7, scale)?)?);
        parameters.push(states.add(&format!("b{i}"), wave(dtype, &[size[1]], 0.3, 0.1)?)?);
    }
    let mut moments = Vec::new();
    for (i, &p) in parameters.iter().enumerate() {
        let zero = Tensor::filled(states.get(p)?.ty(), 0.0)?;
        moments.push((states.add(&format!("m{i}"), zero.clone())?, states.add(&format!("v{i}"), zero)?));
    }
    let count = states.add("t", Tensor::filled(wengert::TensorType::new(dtype, Shape::SCALAR), 0.0)?)?;
    let program = Program::record(&states, |t| {
        let x = t.input(dtype, (POINTS, 1));
        let p: Vec<Var<'_>> = parameters.iter().map(|&s| t.state(s)).collect();
        let network = closure(|x| {
            let h = (x.matmul(p[0]) + p[1]).tanh();
            let h = (h.matmul(p[2]) + p[3]).tanh();
            h.matmul(p[4]) + p[5]
        });
        let one = x.fill(1.0);
        let slope = t.jvp(&[network(x)], &[(x, one)])[0];
        let curvature = t.jvp(&[slope], &[(x, one)])[0];
        let ends = network(t.constant(ndarray::array![[0.0], [1.0]]).cast(dtype));
        let loss = (curvature + (x * PI).sin() * (PI * PI)).square().mean(()) + ends.square().sum(());
        let g = loss.gradients(&p);
        let now = t.state(count) + 1;
        t.update(t.state(count), now);
        let rate = (1 - (now * 0.999f64.ln()).exp()).sqrt() / (1 - (now * 0.9f64.ln()).exp()) * 1e-3;
        for (&p, &(m, v)) in p.iter().zip(&moments) {
            let (m, v) = (t.state(m), t.state(v));
            let (first, second) = (m * 0.9 + g[p] * 0.1, v * 0.999 + g[p].square() * 0.001);
            t.update(m, first);
            t.update(v, second);
            t.update(p, p - first / (second.sqrt() + 1e-8) * rate);
        }
        t.outputs(loss)
    })?;
    let x = Array1::from_iter((0..POINTS).map(|k| (k as f64 + 0.5) / POINTS as f64));
    let x = x.into_shape_with_order((POINTS, 1))?;
    match dtype {
        DType::F32 => stepped(arguments, &program, &mut states, (&x.mapv(|x| x as f32),), 500),
        _ => stepped(arguments, &program, &mut states, (&x,), 500),
    }
}
