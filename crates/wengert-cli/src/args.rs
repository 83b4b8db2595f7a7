//! The command line.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wengert_idx::Options;

use crate::settings::{Network, Settings, Step};

/// Train, evaluate and inspect neural networks on a reverse-mode autodiff tape.
///
/// Exit codes: 0 done, 1 the work failed, 2 the arguments make no sense, 130 and 143 interrupted by Ctrl-C and by SIGTERM. Errors are
/// one line on standard error.
#[derive(Parser)]
#[command(name = "wengert", version, subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train a network on images and leave a run folder
    ///
    /// Without flags it is the book's two-layer network. The folder holds config.toml (all that repeats the run), checkpoints/ where they
    /// are asked for, metrics.csv, curves.svg, report.html and, at the end, final.safetensors. The same settings give the same model, bit for bit, whatever the
    /// number of threads, and whether or not the run was interrupted and taken up again. Ctrl-C finishes the step and writes a
    /// checkpoint; a second one ends at once.
    #[command(
        after_help = "Examples:\n  wengert train --model conv --epochs 5 --lr 0.003 --schedule one-cycle --augment shift:2,rotate:10\n  \
        wengert train --out runs/a --checkpoint-every 500\n  wengert train --out runs/a --resume"
    )]
    Train(Box<TrainArgs>),
    /// Evaluate a model on the test set: accuracy, loss, accuracy by class, confusion matrix
    #[command(after_help = "Example:\n  wengert eval --model runs/seed-0/final.safetensors")]
    Eval(EvalArgs),
    /// Draw an image in the terminal and print the probability of each class
    ///
    /// Of several images each is a line.
    #[command(
        after_help = "Examples:\n  wengert predict --model runs/seed-0/final.safetensors --images datasets/mnist/t10k-images-idx3-ubyte.gz --index 0-9\n  \
        wengert predict --model runs/seed-0/final.safetensors --images photo.png --invert --json"
    )]
    Predict(PredictArgs),
    /// Compare runs: a table, what differs between their settings, and one picture of their curves
    #[command(after_help = "Example:\n  wengert compare runs/seed-0 runs/seed-1 --picture both.svg")]
    Compare(CompareArgs),
    /// Serve a page on which one draws a digit and sees what the model makes of it
    ///
    /// With mouse, pen, finger or keyboard, or by dropping an image; beside the probabilities is the gradient of the winning logit by the
    /// pixels. POST /predict takes the pixels as bytes and answers in JSON. Only this machine can reach it unless another address is given.
    #[command(after_help = "Example:\n  wengert serve --model runs/seed-0/final.safetensors --port 8080")]
    Serve(ServeArgs),
    /// Print the layers of a network with their shapes and parameters, without running it
    #[command(
        after_help = "Examples:\n  wengert summary --model conv\n  wengert summary runs/seed-0/final.safetensors"
    )]
    Summary(SummaryArgs),
    /// Write the arrays of a model for other programs
    #[command(
        after_help = "Example:\n  wengert export --model runs/seed-0/final.safetensors --npz model.npz"
    )]
    Export(ExportArgs),
    /// Make a model of arrays that another program trained
    ///
    /// Matrices multiply rows of inputs, [inputs, outputs]: those of PyTorch's Linear are their transposes. Kernels and normalisations are as
    /// PyTorch has them.
    #[command(
        after_help = "Example:\n  wengert import --model mlp:784-100-10 --weights torch.npz --out model.safetensors"
    )]
    Import(ImportArgs),
    /// Look into checkpoints
    #[command(
        after_help = "Example:\n  wengert checkpoint inspect runs/a/checkpoints/step-0000000500.safetensors"
    )]
    Checkpoint {
        #[command(subcommand)]
        command: CheckpointCommand,
    },
    /// Compare backpropagation with numerical gradients, in f64, for W1 b1 W2 b2
    ///
    /// Prints the mean absolute difference for each parameter, as the book does, and fails where one
    /// exceeds 1e-8.
    #[command(after_help = "Example:\n  wengert gradcheck --hidden 20 --seed 3")]
    Gradcheck(GradcheckArgs),
    /// Look into IDX files
    #[command(after_help = "Example:\n  wengert data inspect datasets/mnist/train-images-idx3-ubyte.gz")]
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Print the tape of a training step
    #[command(
        after_help = "Examples:\n  wengert graph --model lenet --plan\n  wengert graph --format dot | dot -Tsvg > tape.svg"
    )]
    Graph(GraphArgs),
}

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Element type, shape, bytes, sum, minimum, maximum and mean of a file
    #[command(after_help = "Example:\n  wengert data inspect datasets/mnist/train-images-idx3-ubyte.gz")]
    Inspect(InspectArgs),
    /// Check images against labels: counts, shapes, label range, NaN
    #[command(
        after_help = "Example:\n  wengert data check --images images.gz --labels labels.gz --shape 28x28"
    )]
    Check(CheckArgs),
}

#[derive(Args)]
pub(crate) struct DataDir {
    /// Folder with the four files of a data set of MNIST's form, gzipped or raw, in it or in its folder `raw`, whatever is in
    /// front of `train-images…` [default: datasets/mnist of the repository one stands in]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where labels have columns, the one that is the class: 0 for QMNIST
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..64))]
    label_column: Option<u32>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

impl DataDir {
    pub(crate) fn label_column(&self) -> Option<usize> {
        self.label_column.map(|column| column as usize)
    }
}

/// Of data without a model.
#[derive(Args)]
pub(crate) struct Classes {
    /// Labels are below this: 10, 26, 27, 47 or 62 of EMNIST's sets
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) classes: u32,
}

#[derive(Args)]
pub(crate) struct Limit {
    /// The largest number of unpacked bytes to accept from an IDX file
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    max_bytes: u64,
}

impl Limit {
    pub(crate) fn options(&self) -> Options {
        Options { max_bytes: self.max_bytes }
    }
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) data: DataDir,
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Settings from a file, such as the config.toml of a run; flags count in place of them
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Threads; the result does not depend on their number [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: Option<u32>,
    /// Folder to leave the run in; must not exist or be empty [default: the next free runs/seed-N, in the
    /// repository or else here]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write a checkpoint after every so many steps; a run that is taken up again goes on with that
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) checkpoint_every: Option<u64>,
    /// Checkpoints to keep; older ones are removed when a new one is safe [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) keep: Option<u32>,
    /// Go on with the run in --out from its newest sound checkpoint, or begin it; settings are those of the run, and others are refused
    #[arg(long, requires = "out", conflicts_with = "config")]
    pub(crate) resume: bool,
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct EvalArgs {
    /// The model, a safetensors file from `train`
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Args)]
pub(crate) struct PredictArgs {
    /// The model, a safetensors file from `train`
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// IDX files or PNGs; these as greys, of whatever size
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Which images of each file, from 0: 7, 0-9, 3,5,8 or all
    #[arg(long, default_value = "0", value_name = "NUMBERS", value_parser = numbers)]
    pub(crate) index: Numbers,
    /// Turn black to white first, for digits in ink on paper
    #[arg(long)]
    pub(crate) invert: bool,
    /// Print one JSON object an image and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

/// Some numbers, as ranges; all of them where there is none.
#[derive(Clone)]
pub(crate) struct Numbers(Vec<RangeInclusive<u64>>);

impl Numbers {
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.is_empty() || self.0.iter().any(|range| range.contains(&number))
    }
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.iter().map(|range| *range.end()).max()
    }
}

fn numbers(text: &str) -> Result<Numbers, String> {
    if text == "all" {
        return Ok(Numbers(Vec::new()));
    }
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some(from..=to)
    };
    let all: Option<Vec<_>> = text.split(',').map(range).collect();
    all.map(Numbers).ok_or_else(|| "expected numbers such as 7, 0-9, 3,5,8 or all".into())
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The model or checkpoint, a safetensors file from `train`
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Where to listen; 0 for any port that is free
    #[arg(long, default_value_t = 8080, value_name = "P")]
    pub(crate) port: u16,
    /// Whom to listen to; 0.0.0.0 for all who can reach this machine
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) address: IpAddr,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Folders of runs, finished or not
    #[arg(required = true, num_args = 1.., value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Where to draw their curves
    #[arg(long, value_name = "FILE", default_value = "compare.svg")]
    pub(crate) picture: PathBuf,
}

#[derive(Args)]
pub(crate) struct SummaryArgs {
    /// A model or checkpoint, instead of a network by flags
    #[arg(value_name = "FILE", conflicts_with_all = ["model", "hidden", "classes", "dtype", "normalize"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) network: Network,
    /// The sizes of an image
    #[arg(long, value_name = "SIZES", default_value = "28x28", value_parser = sizes, conflicts_with = "file")]
    pub(crate) image: Sizes,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The model or checkpoint, a safetensors file from `train`
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Where to write its arrays, for numpy.load
    #[arg(long, value_name = "FILE")]
    pub(crate) npz: PathBuf,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// Arrays by the names that `summary` tells: a .npz, or a safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    pub(crate) network: Network,
    /// The sizes of an image
    #[arg(long, value_name = "SIZES", default_value = "28x28", value_parser = sizes)]
    pub(crate) image: Sizes,
    /// Where to write the model; floats of the arrays become those of --dtype
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Where a training stands, its settings and its arrays
    #[command(
        after_help = "Example:\n  wengert checkpoint inspect runs/a/checkpoints/step-0000000500.safetensors"
    )]
    Inspect {
        /// A checkpoint or model, a safetensors file from `train`
        file: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct GradcheckArgs {
    #[command(flatten)]
    pub(crate) data: DataDir,
    #[command(flatten)]
    pub(crate) labels: Classes,
    /// Units of the hidden layer
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) hidden: u32,
    /// For the weights
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// An IDX file, gzipped or raw
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Images, an IDX file
    #[arg(long, value_name = "FILE")]
    pub(crate) images: PathBuf,
    /// Labels, an IDX file
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    /// Labels must be below this
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) classes: u32,
    /// The sizes that images must have, such as 28x28
    #[arg(long, value_name = "SIZES", value_parser = sizes)]
    pub(crate) shape: Option<Sizes>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

/// The sizes of an image.
#[derive(Clone)]
pub(crate) struct Sizes(pub(crate) Vec<usize>);

fn sizes(text: &str) -> Result<Sizes, String> {
    let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
    sizes.map(Sizes).map_err(|_| "expected sizes such as 28x28".into())
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum GraphFormat {
    /// One row a line; rows of derivatives start with `~`
    Text,
    /// The language of Graphviz; rows of derivatives in red
    Dot,
}

#[derive(Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) data: DataDir,
    #[command(flatten)]
    pub(crate) step: Step,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: GraphFormat,
    /// Print the tape as each pass over it leaves it, as text, instead
    #[arg(long, group = "instead", conflicts_with = "format")]
    pub(crate) passes: bool,
    /// Print what the ops that work element by element compute of each, as text, instead
    #[arg(long, group = "instead", conflicts_with = "format")]
    pub(crate) bodies: bool,
    /// Print what is computed: the graph of buffers and nodes, as text, instead
    #[arg(long, group = "instead", conflicts_with = "format")]
    pub(crate) graph: bool,
    /// Print when it is computed: levels, fusion groups and tiles, as text, instead
    #[arg(long, group = "instead", conflicts_with = "format")]
    pub(crate) schedule: bool,
    /// Print the plan by which the tape runs and the memory that it takes, as text, instead
    #[arg(long, group = "instead", conflicts_with = "format")]
    pub(crate) plan: bool,
    /// Print the machine code of what a step computes of small arrays, and of its elementwise loops, as bytes, instead
    #[arg(long, group = "instead", conflicts_with = "format")]
    pub(crate) machine: bool,
}
