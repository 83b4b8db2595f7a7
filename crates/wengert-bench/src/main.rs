//! Measures, and prints one JSON line a run. Figures of different machines or moments do not
//! compare; run the peers of `benches/peers` in turn with it.

#![forbid(unsafe_code)]

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use wengert_idx::{Options, read};
use wengert_nn::{Config, Dataset, Event, Float, TwoLayerNet, file_names, train};

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
    /// The book's training: 784-50-10, batch 100, accuracy on all images every 600 steps
    Seed,
    /// Reading the four files of MNIST, against `gzip -dc` of the same files
    Load,
}

#[derive(Clone, Copy, ValueEnum)]
enum Precision {
    F32,
    F64,
}

/// Measures the tape and the loader.
#[derive(Parser)]
struct Arguments {
    #[arg(value_enum)]
    workload: Workload,
    /// Threads that share the work
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Steps, or times to load [default: 10000 steps, 5 times]
    #[arg(long)]
    iters: Option<usize>,
    /// What to compute in
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Precision,
    /// Folder with the four files of MNIST
    #[arg(long, default_value = "datasets/mnist")]
    data: PathBuf,
}

type Outcome = Result<Value, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.workload, arguments.dtype) {
        (Workload::Seed, Precision::F32) => seed::<f32>(&arguments, "f32"),
        (Workload::Seed, Precision::F64) => seed::<f64>(&arguments, "f64"),
        (Workload::Load, _) => load(&arguments),
    };
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("wengert-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The largest resident memory so far, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| (kb / 102.4).round() / 10.0)
}

fn seed<T: Float>(arguments: &Arguments, dtype: &str) -> Outcome {
    const PIECE: usize = 600;
    let clock = Instant::now();
    let data = Dataset::load(&arguments.data, 10, arguments.threads, &Options::default())?;
    let load_seconds = clock.elapsed().as_secs_f64();
    let iterations = arguments.iters.unwrap_or(10_000);
    let config = Config { iterations, threads: arguments.threads, ..Config::default() };
    let mut net = TwoLayerNet::<T>::new(data.train.images.ncols(), 50, 10, 0)?;
    let (mut best, mut piece) = (Duration::MAX, Instant::now());
    let summary = train(net.model_mut(), &data, &config, |event| {
        match event {
            Event::Step { iteration, .. } if iteration % PIECE == 1 && iteration > 1 => {
                best = best.min(piece.elapsed());
            }
            Event::Evaluated { .. } => piece = Instant::now(),
            Event::Step { .. } => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok(json!({
        "peer": "wengert", "workload": "seed", "dtype": dtype, "threads": arguments.threads,
        "iters": summary.iterations, "seconds_total": summary.total.as_secs_f64(),
        "us_per_step": summary.stepping.as_secs_f64() * 1e6 / summary.iterations as f64,
        "us_per_step_best_piece": (best < Duration::MAX).then(|| best.as_secs_f64() * 1e6 / PIECE as f64),
        "load_seconds": load_seconds, "final_test_accuracy": summary.test.accuracy, "peak_rss_mb": peak_rss_mb(),
    }))
}

/// The best of several times, in turn: reading all four files into arrays, and unpacking them by gzip.
fn load(arguments: &Arguments) -> Outcome {
    let names = ["train", "t10k"].map(file_names);
    let files = || names.iter().flat_map(|(images, labels)| [images, labels]);
    let (mut ours, mut gzip) = (Duration::MAX, Duration::MAX);
    for _ in 0..arguments.iters.unwrap_or(5).max(1) {
        let clock = Instant::now();
        for name in files() {
            read::<u8>(arguments.data.join(format!("{name}.gz")), &Options::default())?;
        }
        ours = ours.min(clock.elapsed());
        let paths = files().map(|name| arguments.data.join(format!("{name}.gz")));
        let clock = Instant::now();
        let status = Command::new("gzip").arg("-dc").args(paths).stdout(Stdio::null()).status()?;
        gzip = gzip.min(clock.elapsed());
        if !status.success() {
            return Err("gzip -dc failed".into());
        }
    }
    Ok(json!({
        "peer": "wengert", "workload": "load", "seconds": ours.as_secs_f64(), "gzip_seconds": gzip.as_secs_f64(),
        "ratio": ours.as_secs_f64() / gzip.as_secs_f64(), "peak_rss_mb": peak_rss_mb(),
    }))
}
