//! Functions that samplers, solvers and optimisers call, beside the same arithmetic written by hand, on one thread.

mod by_hand;

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use serde_json::{Map, Value, json};
use wengert::{DType::F64, Function, Program, States, Var, Worker};

use crate::calls::{agree, difference};
use crate::{Arguments, Outcome};
use by_hand::{CELLS, DIFFUSION, EFFECTS, ERRORS};

/// What is called.
#[derive(Clone, Copy)]
enum Call {
    Value,
    Gradient,
    Jvp,
}

/// A function, what is asked of it, where, and the same by hand.
struct Host {
    name: String,
    function: Function,
    call: Call,
    point: Vec<f64>,
    direction: Vec<f64>,
    results: usize,
    by_hand: ByHand,
}

/// By hand: what is asked for is written, a value beside it returned.
enum ByHand {
    Point(fn(&[f64], &mut [f64]) -> f64),
    Direction(fn(&[f64], &[f64], &mut [f64])),
}

impl Host {
    fn ours(&self, worker: &mut Worker, to: &mut [f64]) -> wengert::Result<f64> {
        let x = black_box(&self.point[..]);
        match self.call {
            Call::Value => worker.value_into(x, to).map(|()| 0.0),
            Call::Gradient => worker.value_and_gradient(x, to),
            Call::Jvp => worker.jvp(x, &self.direction[..], to).map(|()| 0.0),
        }
    }

    fn by_hand(&self, to: &mut [f64]) -> f64 {
        let x = black_box(&self.point[..]);
        match &self.by_hand {
            ByHand::Point(f) => black_box(f)(x, to),
            ByHand::Direction(f) => {
                black_box(f)(x, black_box(&self.direction), to);
                0.0
            }
        }
    }
}

/// Numbers that are not too much alike.
fn point(n: usize, middle: f64) -> Vec<f64> {
    (0..n).map(|i| middle + 0.2 * (1.7 * i as f64).sin()).collect()
}

fn all() -> wengert::Result<Vec<Host>> {
    let mut all = Vec::new();
    let mut add = |name: &str, function: &Function, call, point: Vec<f64>, results, by_hand| {
        let direction = self::point(point.len(), 0.5);
        let (name, function) = (name.to_owned(), function.clone());
        all.push(Host { name, function, call, point, direction, results, by_hand });
    };
    let density = Function::new(10, schools)?;
    add("schools", &density, Call::Gradient, point(10, 0.3), 10, ByHand::Point(by_hand::schools));
    let f = Function::new(3, robertson)?;
    let at = vec![0.9, 2e-5, 0.1];
    add("robertson f", &f, Call::Value, at.clone(), 3, ByHand::Point(by_hand::robertson));
    add("robertson jvp", &f, Call::Jvp, at, 3, ByHand::Direction(by_hand::robertson_jvp));
    for n in [10, 100, 1_000, 10_000] {
        let f = Function::new(n, |x| rosenbrock(x, n))?;
        let by_hand = ByHand::Point(by_hand::rosenbrock);
        add(&format!("rosenbrock {n}"), &f, Call::Gradient, point(n, 0.9), n, by_hand);
    }
    let f = Function::new(2 * CELLS, brusselator)?;
    let at = point(2 * CELLS, 2.0);
    let by_hand = ByHand::Point(by_hand::brusselator);
    add("brusselator f", &f, Call::Value, at.clone(), 2 * CELLS, by_hand);
    let by_hand = ByHand::Direction(by_hand::brusselator_jvp);
    add("brusselator jvp", &f, Call::Jvp, at, 2 * CELLS, by_hand);
    Ok(all)
}

fn schools(x: Var<'_>) -> Var<'_> {
    let t = x.recorder();
    let (effects, errors) = (t.constant(EFFECTS), t.constant(ERRORS));
    let (mu, log_tau, eta) = (x.at(0), x.at(1), x.slice(0, 2..));
    let tau = log_tau.exp();
    let z = (effects - (mu + tau * eta)) / errors;
    let likelihood = -0.5 * (z.square() + eta.square()).sum(());
    likelihood - 0.5 * (mu / 5).square() - (1 + (tau / 5).square()).ln() + log_tau
}

fn robertson(x: Var<'_>) -> Var<'_> {
    let [a, b, c] = [0, 1, 2].map(|i| x.at(i));
    let (slow, fast, rest) = (0.04 * a, 1e4 * b * c, 3e7 * b * b);
    x.recorder().stack([fast - slow, slow - fast - rest, rest], 0)
}

fn rosenbrock(x: Var<'_>, n: usize) -> Var<'_> {
    let (a, b) = (x.slice(0, ..n - 1), x.slice(0, 1..));
    ((1 - a).square() + 100 * (b - a.square()).square()).sum(())
}

fn brusselator(x: Var<'_>) -> Var<'_> {
    let (u, v) = (x.slice(0, ..CELLS), x.slice(0, CELLS..));
    fn spread(w: Var<'_>, edge: f64) -> Var<'_> {
        let all = w.pad([(1, 1)], edge);
        DIFFUSION * (all.slice(0, ..CELLS) - 2 * w + all.slice(0, 2..))
    }
    let product = u * u * v;
    let du = 1 + product - 4 * u + spread(u, 1.0);
    let dv = 3 * u - product + spread(v, 3.0);
    x.recorder().concat([du, dv], 0)
}

/// Nanoseconds of a call, the least of many pieces of some 100 µs, of both in turn.
fn least<const N: usize>(rounds: usize, mut each: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut calls = [1usize; N];
    for (f, calls) in each.iter_mut().zip(&mut calls) {
        loop {
            let clock = Instant::now();
            (0..*calls).for_each(|_| f());
            if clock.elapsed().as_micros() > 100 {
                break;
            }
            *calls *= 2;
        }
    }
    let mut best = [f64::INFINITY; N];
    for _ in 0..rounds {
        for ((f, calls), best) in each.iter_mut().zip(&calls).zip(&mut best) {
            let clock = Instant::now();
            (0..*calls).for_each(|_| f());
            *best = best.min(clock.elapsed().as_secs_f64() * 1e9 / *calls as f64);
        }
    }
    best
}

/// Each function: nanoseconds of a call, by hand, and the ratio of the time beyond what a call costs at least to that by hand.
pub(crate) fn hosts(arguments: &Arguments) -> Outcome {
    let rounds = arguments.iters.unwrap_or(200).max(1);
    let mut figures = Map::new();
    let call = least_call(rounds)?;
    for host in all()? {
        let [mut to, mut expected] = [(); 2].map(|()| vec![0.0; host.results]);
        let mut worker = host.function.worker();
        let (value, due) = (host.ours(&mut worker, &mut to)?, host.by_hand(&mut expected));
        agree(&host.name, difference(&to, &expected), 1e-9)?;
        agree(&host.name, difference(&[value + 1.0], &[due + 1.0]), 1e-9)?;
        let mut outcome = Ok(0.0);
        let mut ours = || outcome = host.ours(&mut worker, black_box(&mut to));
        let mut by_hand = || {
            black_box(host.by_hand(black_box(&mut expected)));
        };
        let [ours, by_hand] = least(rounds, [&mut ours, &mut by_hand]);
        outcome?;
        let ratio = (ours - call[0]) / by_hand;
        figures.insert(host.name, json!({ "ns": ours, "by_hand_ns": by_hand, "ratio": ratio }));
    }
    let instructions = instructions();
    let call = json!({ "worker_ns": call[0], "self_ns": call[1], "worker_instructions": instructions });
    Ok(json!({ "call": call, "functions": Value::Object(figures), "ns_per_row": rows(rounds)? }))
}

/// The function of a call that does next to nothing.
fn part() -> wengert::Result<Function> {
    Function::new(2, |x| x.at(0))
}

/// Nanoseconds of a call that does next to nothing: by a worker, and through `&self`.
fn least_call(rounds: usize) -> wengert::Result<[f64; 2]> {
    let function = part()?;
    let (mut worker, x) = (function.worker(), [1.0, 2.0]);
    let (mut first, mut second) = (Ok(0.0), Ok(0.0));
    let mut by_worker = || first = worker.value(black_box(&x));
    let mut by_itself = || second = function.value(black_box(&x));
    let times = least(rounds, [&mut by_worker, &mut by_itself]);
    first.and(second).map(|_| times)
}

/// So many such calls by a worker and nothing else, for whoever counts instructions.
pub(crate) fn call(arguments: &Arguments) -> Outcome {
    let (mut worker, x) = (part()?.worker(), [1.0, 2.0]);
    let calls = arguments.iters.unwrap_or(1_000_000);
    for _ in 0..calls {
        black_box(worker.value(black_box(&x))?);
    }
    Ok(json!({ "iters": calls }))
}

/// Instructions of such a call, where `perf stat` is there and counts them.
fn instructions() -> Option<f64> {
    let count = |calls: u32| {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", "instructions:u"]).arg(std::env::current_exe().ok()?);
        let output = command.args(["call", "--iters", &calls.to_string()]).output().ok()?;
        let text = String::from_utf8(output.stderr).ok()?;
        text.lines().find(|l| l.contains("instructions"))?.split(',').next()?.parse::<f64>().ok()
    };
    let (few, many) = (count(10_000)?, count(20_000)?);
    Some((many - few) / 1e4)
}

/// A hundred products of arrays of some sizes, one after the other: nanoseconds of each.
fn rows(rounds: usize) -> Outcome {
    let mut figures = Map::new();
    for (name, sum) in [("alone", false), ("with a sum", true)] {
        for n in [1, 2, 8, 64] {
            let states = States::new();
            let program = Program::record(&states, |t| {
                let x = t.input(F64, [n]);
                let y = (0..100).fold(x, |y, _| y * x);
                t.outputs(if sum { y.sum(()) } else { y })
            })?;
            let (mut workspace, x) = (program.workspace()?, vec![1.0 + 1e-9; n]);
            let mut outcome = Ok(());
            let mut run = || {
                outcome = program.evaluate(&mut workspace, &states, black_box(&x)).map(drop);
            };
            let [time] = least(rounds, [&mut run]);
            outcome?;
            figures.insert(format!("{n} {name}"), json!(time / 100.0));
        }
    }
    Ok(Value::Object(figures))
}
