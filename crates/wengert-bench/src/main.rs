//! Measures, and prints one JSON line a run. Figures of different machines or moments do not
//! compare; run the peers of `benches/peers` in turn with it.

#![forbid(unsafe_code)]

mod calls;
mod gmm;
mod hosts;
mod images;
mod irregular;
mod load;
mod matrices;
mod optimisers;
mod record;
mod steps;
mod training;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Workload {
    /// The book's training: 784-50-10, batch 100, accuracy on all images every 600 steps
    Seed,
    /// Training of 784-1024-1024-10 with momentum, batch 256
    MlpLarge,
    /// Training of a network of two convolutions and two matrices with Adam, batch 100
    Cnn,
    /// Eight convolutions, each forward and with its gradients
    Conv,
    /// Factors, systems and inverses of matrices, against faer
    Linalg,
    /// Value and gradient of a chain of 40,000 rows of eight numbers
    SmallOps,
    /// Functions that samplers, solvers and optimisers call, beside the same by hand
    Hosts,
    /// Calls of a function that does next to nothing
    Call,
    /// Value and gradient of 10,000 rows of sixteen ops in random order
    Irregular,
    /// Hessian times vector of a softmax regression on 1,000 images
    Hvp,
    /// Value against value and gradient of the large network's loss
    GradcostMlp,
    /// Value against value and gradient of a mixture of Gaussians (ADBench)
    GradcostGmm,
    /// A step of a solver of 100,000 numbers by shifted slices
    Ode,
    /// A training step of a long short-term memory of 50 steps
    Lstm,
    /// A training step of gated recurrent units of 50 steps
    Gru,
    /// A training step of a small network whose loss has second derivatives, with Adam
    Pinn,
    /// A step of Adam on a million parameters
    Adam,
    /// Recording, differentiating and running a chain once
    Record,
    /// Recording and planning the gradients of a long recurrent network
    Planning,
    /// Reading the four files of MNIST, against `gzip -dc` of the same files
    Load,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
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
    /// Steps, or calls [default: by workload]
    #[arg(long)]
    iters: Option<usize>,
    /// What to compute in [default: f32 for networks, f64 for others]
    #[arg(long, value_enum)]
    dtype: Option<Precision>,
    /// Folder with the four files of MNIST
    #[arg(long, default_value = "datasets/mnist")]
    data: PathBuf,
    /// Print what each step of the plan takes, on standard error
    #[arg(long)]
    profile: bool,
}

impl Arguments {
    fn precision(&self) -> Precision {
        use Workload::{Adam, Cnn, Conv, GradcostMlp, Gru, Lstm, MlpLarge, Seed};
        let network = matches!(self.workload, Seed | MlpLarge | GradcostMlp | Cnn | Conv | Lstm | Gru | Adam);
        self.dtype.unwrap_or(if network { Precision::F32 } else { Precision::F64 })
    }

    fn dtype(&self) -> wengert::DType {
        if self.precision() == Precision::F32 { wengert::DType::F32 } else { wengert::DType::F64 }
    }
}

type Failure = Box<dyn std::error::Error>;
/// The figures of a workload.
type Outcome = Result<Value, Failure>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.profile
        && matches!(arguments.workload, Workload::Record | Workload::Planning | Workload::Load)
    {
        eprintln!("wengert-bench: --profile: this workload has no plan of its own to look into");
        return ExitCode::from(2);
    }
    let outcome = match arguments.workload {
        Workload::Seed if arguments.precision() == Precision::F32 => training::seed::<f32>(&arguments),
        Workload::Seed => training::seed::<f64>(&arguments),
        Workload::MlpLarge => training::mlp_large(&arguments),
        Workload::Cnn => images::cnn(&arguments),
        Workload::Conv => images::conv(&arguments),
        Workload::Linalg => matrices::linalg(&arguments),
        Workload::SmallOps => calls::small_ops(&arguments),
        Workload::Hosts => hosts::hosts(&arguments),
        Workload::Call => hosts::call(&arguments),
        Workload::Irregular => irregular::irregular(&arguments),
        Workload::Hvp => calls::hvp(&arguments),
        Workload::GradcostMlp => training::gradcost(&arguments),
        Workload::GradcostGmm => gmm::gradcost(&arguments),
        Workload::Ode => steps::ode(&arguments),
        Workload::Lstm => steps::recurrent(&arguments, steps::Cell::Lstm),
        Workload::Gru => steps::recurrent(&arguments, steps::Cell::Gru),
        Workload::Pinn => steps::pinn(&arguments),
        Workload::Adam => optimisers::adam(&arguments),
        Workload::Record => record::record(&arguments),
        Workload::Planning => record::planning(&arguments),
        Workload::Load => load::load(&arguments),
    };
    match outcome {
        Ok(figures) => {
            let name = arguments.workload.to_possible_value().map(|v| v.get_name().to_owned());
            let mut line = json!({
                "peer": "wengert", "workload": name, "dtype": arguments.dtype().to_string(),
                "threads": arguments.threads, "peak_rss_mb": peak_rss_mb(), "version": env!("CARGO_PKG_VERSION"),
            });
            if let (Some(line), Some(figures)) = (line.as_object_mut(), figures.as_object()) {
                line.extend(figures.clone());
            }
            // Whoever reads may have left.
            match writeln!(std::io::stdout(), "{line}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(e) => {
                    eprintln!("wengert-bench: {e}");
                    ExitCode::FAILURE
                }
            }
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
