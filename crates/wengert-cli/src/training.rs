//! `wengert train`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wengert_nn::{Config, Dataset, Event, Float, Summary, TwoLayerNet, train as fit};

use crate::Failure;
use crate::args::{Precision, TrainArgs};
use crate::curves::{Point, draw};
use crate::run_folder::{self, RunFolder};

pub(crate) fn train(args: &TrainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    match args.dtype {
        Precision::F32 => train_in::<f32>(args, out),
        Precision::F64 => train_in::<f64>(args, out),
    }
}

fn train_in<T: Float>(args: &TrainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let began = Instant::now();
    let threads = run_folder::threads(args.threads);
    let classes = args.labels.classes;
    let data = Dataset::load_by(
        run_folder::data_dir(args.data.data.as_deref()),
        args.data.label_column(),
        classes,
        threads,
        &args.data.limit.options(),
    )?;
    let loading = began.elapsed();
    let folder = RunFolder::choose(args.out.as_deref(), args.seed)?;

    let pixels = data.train.images.ncols();
    let mut net = TwoLayerNet::<T>::new(pixels, args.hidden as usize, classes as usize, args.seed)?;
    let config = Config {
        iterations: usize::try_from(args.iters).unwrap_or(usize::MAX),
        batch: args.batch as usize,
        learning_rate: args.lr,
        seed: args.seed,
        threads,
        ..Config::default()
    };
    let epoch = (data.train.len() as f64 / f64::from(args.batch)).max(1.0);
    let bar = progress(args);
    let mut points: Vec<Point> = Vec::new();
    let mut recent = Average::default();
    let mut accuracy = 0.0;
    let summary = fit(net.model_mut(), &data, &config, |event| {
        match event {
            Event::Step { iteration, loss } => {
                recent.add(loss);
                bar.set_position(iteration as u64);
                if iteration % 100 == 0 {
                    bar.set_message(format!("loss {:.4}, test accuracy {accuracy:.4}", recent.value()));
                }
            }
            Event::Evaluated { iteration, train, test, elapsed, .. } => {
                accuracy = test.accuracy;
                points.push(Point {
                    iteration,
                    epoch: iteration as f64 / epoch,
                    loss: recent.take(),
                    train_loss: train.loss,
                    test_loss: test.loss,
                    train_accuracy: train.accuracy,
                    test_accuracy: test.accuracy,
                    seconds: elapsed.as_secs_f64(),
                });
            }
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let summary = summary?;
    let folder = folder.fill(|dir| {
        net.model().save(dir.join("final.safetensors"))?;
        let put = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|e| Failure::Work(format!("{}: {e}", path.display())))
        };
        put("metrics.csv", csv(&points)?)?;
        let title = format!("{pixels}-{}-{classes}, batch {}, seed {}", args.hidden, args.batch, args.seed);
        put("curves.svg", draw(&title, &points)?)
    })?;
    let total = began.elapsed().as_secs_f64();
    report(
        args,
        out,
        &summary,
        &crate::printable(&folder.display().to_string()),
        total,
        loading.as_secs_f64(),
    )
}

fn report(
    args: &TrainArgs,
    out: &mut dyn Write,
    summary: &Summary,
    folder: &str,
    total: f64,
    loading: f64,
) -> Result<(), Failure> {
    let us_per_step = summary.stepping.as_secs_f64() * 1e6 / summary.iterations as f64;
    if args.json {
        let line = json!({
            "test_accuracy": summary.test.accuracy,
            "train_accuracy": summary.train.accuracy,
            "iters": summary.iterations,
            "seconds_total": total,
            "us_per_step": us_per_step,
            "load_seconds": loading,
            "out": folder,
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{} steps in {total:.2} s ({us_per_step:.0} µs a step, {loading:.2} s to load)\n\
         train accuracy {:.4}, test accuracy {:.4}, test loss {:.4}\n\
         {folder}: final.safetensors, metrics.csv, curves.svg",
        summary.iterations, summary.train.accuracy, summary.test.accuracy, summary.test.loss
    )?;
    Ok(())
}

/// The progress bar on standard error; silent where that is no terminal, and for `--json`.
fn progress(args: &TrainArgs) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(args.iters);
    let template = "{bar:30} {pos}/{len} steps, {per_sec}, {msg}, {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The mean of what was added since it was last taken.
#[derive(Default)]
struct Average {
    sum: f64,
    count: usize,
}

impl Average {
    fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1;
    }
    fn value(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
    fn take(&mut self) -> f64 {
        let value = self.value();
        *self = Self::default();
        value
    }
}

fn csv(points: &[Point]) -> Result<String, Failure> {
    let mut text = String::from("iteration,loss,train_accuracy,test_accuracy,seconds\n");
    for p in points {
        writeln!(
            text,
            "{},{},{},{},{:.3}",
            p.iteration, p.loss, p.train_accuracy, p.test_accuracy, p.seconds
        )
        .map_err(|e| Failure::Work(e.to_string()))?;
    }
    Ok(text)
}
