//! Rows in no order that a processor could guess.

use std::time::Instant;

use serde_json::json;
use wengert::{DType::F64, Program, Sampler, States, Var};

use crate::calls::timed;
use crate::{Arguments, Outcome};

const ROWS: usize = 10_000;
/// Rows that the next may read.
const NEAR: usize = 100;

/// Value and gradient of rows of eight numbers, each one of sixteen ops of rows before it: nanoseconds for each row of the program that
/// is run, and for each of those recorded.
pub(crate) fn irregular(arguments: &Arguments) -> Outcome {
    let states = States::new();
    let clock = Instant::now();
    let program = Program::record(&states, |t| {
        let mut sampler = Sampler::new(1);
        let mut draw = |n: usize| (sampler.unit() * n as f64) as usize;
        let inputs = [(); 4].map(|()| t.input(F64, [8]));
        let mut rows: Vec<Var<'_>> = inputs.to_vec();
        for _ in 0..ROWS {
            let mut near = || rows[rows.len() - 1 - draw(NEAR.min(rows.len()))];
            let (a, b) = (near(), near());
            let x = inputs[draw(4)];
            rows.push(match draw(16) {
                0 => a + b,
                1 => a - b,
                2 => a * x,
                3 => a / (x.square() + 2),
                4 => a.maximum(b),
                5 => a.minimum(b),
                6 => -a,
                7 => a.abs(),
                8 => a * 0.5,
                9 => a + 1,
                10 => a.relu(),
                11 => a.clamp(-4.0, 4.0),
                12 => a.lt(b).select(a, b),
                13 => 1 - a,
                14 => (a.abs() + 1).sqrt(),
                _ => a * b.clamp(-1.0, 1.0),
            });
        }
        let value = rows[rows.len() - NEAR..].iter().fold(inputs[0], |sum, &x| sum + x).sum(());
        let g = value.gradients(inputs);
        t.outputs([value, g[inputs[0]], g[inputs[1]], g[inputs[2]], g[inputs[3]]])
    })?;
    let compile_seconds = clock.elapsed().as_secs_f64();
    let x: Vec<Vec<f64>> =
        (0..4).map(|k| (0..8).map(|i| (1.3 * (8 * k + i) as f64).sin()).collect()).collect();
    let times = timed(arguments, &states, std::slice::from_ref(&program), (&x[0], &x[1], &x[2], &x[3]), 300)?;
    let (run, least) = (program.optimised().rows().len(), times[0].least * 1e3);
    Ok(json!({
        "us_per_step": times[0].median, "us_min": times[0].least, "rows": run,
        "ns_per_row": least / run as f64, "ns_per_recorded_row": least / ROWS as f64,
        "compile_seconds": compile_seconds, "compile_us_per_row": compile_seconds * 1e6 / run as f64,
    }))
}
