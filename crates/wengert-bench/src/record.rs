//! What it costs to record a tape, differentiate it and run it once: the price of those who record each time.

use std::time::Instant;

use ndarray::Array1;
use serde_json::json;
use wengert::{DType::F64, Program, Recorder, States};

use crate::{Arguments, Outcome};

/// A chain of rows of two numbers, of several lengths: nanoseconds for each row of the final tape.
pub(crate) fn record(arguments: &Arguments) -> Outcome {
    let states = States::new();
    let x = Array1::from(vec![0.5, 0.75]);
    let mut lengths = Vec::new();
    for links in [1_000, 10_000, 100_000] {
        let mut best = [f64::INFINITY; 3];
        let mut rows = 0;
        for _ in 0..arguments.iters.unwrap_or(5).max(1) {
            let clock = Instant::now();
            let program = Program::record_once(&states, |t: &Recorder| {
                let x = t.input(F64, [2]);
                let mut y = x;
                for _ in 0..links {
                    y = y.sin() * x;
                }
                let g = y.sum(()).gradients([x]);
                t.outputs(g[x])
            })?;
            let recorded = clock.elapsed();
            let mut workspace = program.workspace()?;
            program.evaluate(&mut workspace, &states, (&x,))?;
            let all = clock.elapsed();
            rows = program.tape().rows().len();
            let nanoseconds = [recorded, all - recorded, all].map(|d| d.as_secs_f64() * 1e9 / rows as f64);
            best.iter_mut().zip(nanoseconds).for_each(|(b, n)| *b = b.min(n));
        }
        lengths
            .push(json!({ "rows": rows, "ns_per_row": best[2], "recording": best[0], "running": best[1] }));
    }
    let worst = lengths.iter().filter_map(|l| l["ns_per_row"].as_f64()).fold(0.0, f64::max);
    Ok(json!({ "lengths": lengths, "ns_per_row": worst }))
}

/// An LSTM (S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", 1997) unrolled over several numbers of steps, with the
/// gradients of its weights: what it costs to record and to plan, for each row of the tape.
pub(crate) fn planning(arguments: &Arguments) -> Outcome {
    const HIDDEN: usize = 4;
    let mut lengths = Vec::new();
    for steps in [512, 2048, 8192] {
        let mut best = [f64::INFINITY; 2];
        let (mut rows, mut planned) = (0, 0);
        for _ in 0..arguments.iters.unwrap_or(1).max(1) {
            let t = Recorder::default();
            let clock = Instant::now();
            let x = t.input(F64, (steps, 1, HIDDEN));
            let [w, u] = [(); 2].map(|()| t.input(F64, (HIDDEN, 4 * HIDDEN)));
            let (mut h, mut c) = (t.full(F64, (1, HIDDEN), 0.0), t.full(F64, (1, HIDDEN), 0.0));
            for step in 0..steps {
                let gates = x.at(step).matmul(w) + h.matmul(u);
                let [input, forget, output, new] =
                    [0, 1, 2, 3].map(|k| gates.slice(1, k * HIDDEN..(k + 1) * HIDDEN));
                c = forget.sigmoid() * c + input.sigmoid() * new.tanh();
                h = output.sigmoid() * c.tanh();
            }
            let g = h.square().sum(()).gradients([w, u]);
            let recorded = clock.elapsed();
            let clock = Instant::now();
            let program = t.program([g[w], g[u]])?;
            let seconds = [recorded, clock.elapsed()].map(|d| d.as_secs_f64());
            (rows, planned) = (program.tape().rows().len(), program.optimised().rows().len());
            best.iter_mut().zip(seconds).for_each(|(b, s)| *b = b.min(s * 1e9 / rows as f64));
        }
        lengths.push(json!({
            "steps": steps, "rows": rows, "planned_rows": planned,
            "recording_ns_per_row": best[0], "planning_ns_per_row": best[1],
        }));
    }
    let worst = lengths.iter().filter_map(|l| l["planning_ns_per_row"].as_f64()).fold(0.0, f64::max);
    Ok(json!({ "lengths": lengths, "planning_ns_per_row": worst }))
}
