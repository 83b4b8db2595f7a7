//! Training on MNIST, and the cost of a network's gradient.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::{Array1, Axis};
use serde_json::json;
use wengert::{DType, Error, Program, Recorder, Sampler, State, States, Tensor, Var};
use wengert_idx::Options;
use wengert_nn::{Dataset, Float, Progress, Recipe, Trainer};

use crate::calls::{Timed, normal, timed, with};
use crate::{Arguments, Outcome};

/// The book's training.
pub(crate) fn seed<T: Float>(arguments: &Arguments) -> Outcome {
    const PIECE: u64 = 600;
    let clock = Instant::now();
    let data = Dataset::load(&arguments.data, 10, arguments.threads, &Options::default())?;
    let load_seconds = clock.elapsed().as_secs_f64();
    let iterations = arguments.iters.unwrap_or(10_000);
    let recipe = Recipe { iters: Some(iterations as u64), dtype: T::DTYPE.to_string(), ..Recipe::default() };
    let training = Instant::now();
    let mut trainer = Trainer::new(&recipe, &data, arguments.threads)?;
    let (mut best, mut piece) = (Duration::MAX, Instant::now());
    trainer.run(|_, progress| {
        match progress {
            // Evaluations are behind the first step of each piece.
            Progress::Step { step, .. } if step % PIECE == 0 => best = best.min(piece.elapsed()),
            Progress::Evaluated(_) => piece = Instant::now(),
            Progress::Step { .. } => {}
        }
        Ok::<_, wengert_nn::Error>(ControlFlow::Continue(()))
    })?;
    let model = trainer.result()?;
    let accuracy = model.evaluate(&data.test, arguments.threads)?.accuracy;
    if arguments.profile {
        let (images, batch) = (&data.train.images, recipe.batch);
        let step = trainer.program(batch)?;
        let (mut workspace, mut states) =
            (step.workspace_on(arguments.threads)?, trainer.model().states.clone());
        let rows: Vec<usize> = (0..batch).map(|i| i * 577 % images.nrows()).collect();
        let (images, labels) = (images.select(Axis(0), &rows), data.train.labels.select(Axis(0), &rows));
        let inputs = (&images, &labels, &recipe.lr, &0i64);
        // The first run touches all memory.
        step.run(&mut workspace, &mut states, inputs)?;
        eprintln!("{}", step.profile(&mut workspace, &mut states, inputs)?);
    }
    Ok(json!({
        "iters": iterations, "seconds_total": training.elapsed().as_secs_f64(),
        "us_per_step": trainer.time_in_steps().as_secs_f64() * 1e6 / iterations.max(1) as f64,
        "us_per_step_best_piece":
            (best < Duration::MAX).then(|| best.as_secs_f64() * 1e6 / (PIECE - 1) as f64),
        "load_seconds": load_seconds, "final_test_accuracy": accuracy,
    }))
}

/// Sizes of the large network.
const SIZES: [usize; 4] = [784, 1024, 1024, 10];
const BATCH: usize = 256;
const LEARNING_RATE: f64 = 0.05;
const MOMENTUM: f64 = 0.9;

/// The parameters of the large network: weights by He, biases zero.
fn parameters(states: &mut States, dtype: DType) -> Result<Vec<State>, Error> {
    let mut sampler = Sampler::new(0);
    let mut all = Vec::new();
    for (i, size) in SIZES.windows(2).enumerate() {
        let deviation = (2.0 / size[0] as f64).sqrt();
        let w = normal(&mut sampler, dtype, &[size[0], size[1]], deviation)?;
        all.push(states.add(&format!("W{i}"), w)?);
        let zero = wengert::TensorType::new(dtype, wengert::Shape::new(&[size[1]])?);
        all.push(states.add(&format!("b{i}"), Tensor::filled(zero, 0.0)?)?);
    }
    Ok(all)
}

/// The classes' logits of images, as bytes.
fn logits<'t>(parameters: &[Var<'t>], images: Var<'t>) -> Var<'t> {
    let mut x = images.cast(parameters[0].dtype()) * (1.0 / 255.0);
    for (i, layer) in parameters.chunks_exact(2).enumerate() {
        x = x.matmul(layer[0]) + layer[1];
        if i + 2 < SIZES.len() {
            x = x.relu();
        }
    }
    x
}

/// The mean cross-entropy of images, as bytes.
fn loss<'t>(parameters: &[Var<'t>], images: Var<'t>, labels: Var<'t>) -> Var<'t> {
    logits(parameters, images).cross_entropy(labels)
}

/// A batch of all images.
fn batch<'t>(t: &'t Recorder, examples: usize) -> (Var<'t>, Var<'t>) {
    let images = t.input(DType::U8, [examples, SIZES[0]]);
    let labels = t.input(DType::U32, [examples]);
    let index = t.input(DType::U32, [BATCH]);
    (images.gather(index), labels.gather(index))
}

/// Training of the large network with momentum.
pub(crate) fn mlp_large(arguments: &Arguments) -> Outcome {
    let clock = Instant::now();
    let data = Dataset::load(&arguments.data, 10, arguments.threads, &Options::default())?;
    let load_seconds = clock.elapsed().as_secs_f64();
    let (examples, iterations) = (data.train.len(), arguments.iters.unwrap_or(300).max(1));
    let mut states = States::new();
    let weights = parameters(&mut states, arguments.dtype())?;
    let mut velocities = Vec::new();
    for (i, &w) in weights.iter().enumerate() {
        let zero = Tensor::filled(states.get(w)?.ty(), 0.0)?;
        velocities.push(states.add(&format!("v{i}"), zero)?);
    }
    let step = Program::record(&states, |t| {
        let (x, y) = batch(t, examples);
        let w: Vec<Var<'_>> = weights.iter().map(|&w| t.state(w)).collect();
        let loss = loss(&w, x, y);
        let gradients = loss.gradients(w.iter().copied());
        for (&w, &v) in w.iter().zip(&velocities) {
            let v = t.state(v);
            let next = v * MOMENTUM + gradients[w];
            t.update(v, next);
            t.update(w, w - next * LEARNING_RATE);
        }
        t.outputs(loss)
    })?;
    let figures = stepped(arguments, &step, &mut states, &data, BATCH, iterations)?;
    let accuracy = accuracy(&states, &data, arguments.threads, |t| {
        let w: Vec<Var<'_>> = weights.iter().map(|&w| t.state(w)).collect();
        logits(&w, t.input(DType::U8, [CHUNK, SIZES[0]]))
    })?;
    Ok(with(figures, json!({ "load_seconds": load_seconds, "final_test_accuracy": accuracy })))
}

/// Runs so many training steps on batches drawn anew, the first ones for warmth on states that are thrown away: their times and losses.
pub(crate) fn stepped(
    arguments: &Arguments,
    step: &Program,
    states: &mut States,
    data: &Dataset,
    batch: usize,
    iterations: usize,
) -> Result<serde_json::Value, Error> {
    let (mut sampler, images, labels) = (Sampler::new(1000), &data.train.images, &data.train.labels);
    let mut draw = || (0..batch).map(|_| sampler.below(data.train.len()) as u32).collect::<Array1<u32>>();
    let batches: Vec<Array1<u32>> = (0..iterations).map(|_| draw()).collect();
    let mut workspace = step.workspace_on(arguments.threads)?;
    // The first steps touch all memory.
    let mut warm = states.clone();
    for batch in batches.iter().take(3) {
        step.run(&mut workspace, &mut warm, (images, labels, batch))?;
    }
    if arguments.profile {
        eprintln!("{}", step.profile(&mut workspace, &mut warm, (images, labels, &batches[0]))?);
    }
    drop(warm);
    let (mut losses, mut best, mut total) = (Vec::with_capacity(iterations), Duration::MAX, Duration::ZERO);
    for piece in batches.chunks(iterations.div_ceil(10)) {
        let clock = Instant::now();
        for batch in piece {
            losses.push(step.run(&mut workspace, states, (images, labels, batch))?.scalar(0)?);
        }
        let spent = clock.elapsed();
        total += spent;
        best = best.min(spent / piece.len() as u32);
    }
    Ok(json!({
        "iters": iterations, "seconds_total": total.as_secs_f64(),
        "us_per_step": total.as_secs_f64() * 1e6 / iterations as f64,
        "us_per_step_best_piece": best.as_secs_f64() * 1e6,
        "first_loss": losses.first(), "last_loss": losses.last(),
    }))
}

/// Images that are classified at once.
pub(crate) const CHUNK: usize = 1000;

/// The share of test images that are told right, by the logits of a chunk of them.
pub(crate) fn accuracy(
    states: &States,
    data: &Dataset,
    threads: usize,
    logits: impl for<'t> Fn(&'t Recorder) -> Var<'t>,
) -> Result<f64, Error> {
    let program = Program::record(states, |t| t.outputs(logits(t).argmax(1)))?;
    let mut workspace = program.workspace_on(threads)?;
    let (mut right, mut seen) = (0, 0);
    for from in (0..data.test.len() / CHUNK * CHUNK).step_by(CHUNK) {
        let (images, labels) = data.test.part(from, from + CHUNK);
        let found = program.evaluate(&mut workspace, states, (&images,))?;
        right += found.slice::<i64>(0)?.iter().zip(labels).filter(|(a, b)| **a == i64::from(**b)).count();
        seen += CHUNK;
    }
    Ok(right as f64 / seen.max(1) as f64)
}

/// Value against value and gradient of the large network on one batch.
pub(crate) fn gradcost(arguments: &Arguments) -> Outcome {
    let data = Dataset::load(&arguments.data, 10, arguments.threads, &Options::default())?;
    let mut states = States::new();
    let weights = parameters(&mut states, arguments.dtype())?;
    let (images, labels) = data.train.part(0, BATCH);
    let (images, labels) = (images.to_owned(), labels.to_owned());
    let record = |gradient: bool| {
        Program::record(&states, |t| {
            let x = t.input(DType::U8, [BATCH, SIZES[0]]);
            let y = t.input(DType::U32, [BATCH]);
            let w: Vec<Var<'_>> = weights.iter().map(|&w| t.state(w)).collect();
            let loss = loss(&w, x, y);
            let gradients = loss.gradients(w.iter().copied());
            let all = w.iter().map(|&w| gradients[w]).filter(|_| gradient);
            t.outputs(std::iter::once(loss).chain(all))
        })
    };
    let times = timed(arguments, &states, &[record(false)?, record(true)?], (&images, &labels), 50)?;
    Ok(cost(&times))
}

/// The figures of a value and a value with its gradient.
pub(crate) fn cost(times: &[Timed]) -> serde_json::Value {
    let (value, both) = (&times[0], &times[1]);
    json!({
        "iters": both.calls, "seconds_total": value.total + both.total, "us_per_step": both.median,
        "us_value": value.median, "us_value_and_grad": both.median, "us_value_min": value.least,
        "us_value_and_grad_min": both.least, "ratio": both.median / value.median,
        "ratio_of_min": both.least / value.least, "statistic": "median",
    })
}
