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
