//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wengert_idx::Options;

use crate::settings::{Network, Settings};

/// Train, evaluate and inspect neural networks on a reverse-mode autodiff tape.
///
/// Exit codes: 0 done, 1 the work failed, 2 the arguments make no sense. Errors are one line on
/// standard error.
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
    /// are asked for, metrics.csv, curves.svg and, at the end, final.safetensors. The same settings give the same model, bit for bit, whatever the
    /// number of threads, and whether or not the run was interrupted and taken up again. Ctrl-C finishes the step and writes a
    /// checkpoint; a second one ends at once.
    #[command(
        after_help = "Examples:\n  wengert train --model conv --epochs 5 --lr 0.003 --schedule one-cycle --augment shift:2,rotate:10\n  \
        wengert train --out runs/a --checkpoint-every 500\n  wengert train --out runs/a --resume"
    )]
    Train(Box<TrainArgs>),
    /// Evaluate a model on the test set: accuracy, loss, accuracy by class, confusion matrix
    Eval(EvalArgs),
    /// Draw an image in the terminal and print the probability of each class
    Predict(PredictArgs),
    /// Compare backpropagation with numerical gradients, in f64, for W1 b1 W2 b2
    ///
    /// Prints the mean absolute difference for each parameter, as the book does, and fails where one
    /// exceeds 1e-8.
    Gradcheck(GradcheckArgs),
    /// Look into IDX files
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Print the tape of a training step
    Graph(GraphArgs),
}

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Element type, shape, bytes, sum, minimum, maximum and mean of a file
    Inspect(InspectArgs),
    /// Check images against labels: counts, shapes, label range, NaN
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
    /// Folder to leave the run in; must not exist or be empty [default: the next free runs/seed-N]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write a checkpoint after every so many steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: Option<u64>,
    /// Checkpoints to keep; older ones are removed when a new one is safe
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: u32,
    /// Go on with the run in --out from its newest sound checkpoint; settings are those of the run
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
    /// Images, an IDX file
    #[arg(long, value_name = "FILE")]
    pub(crate) images: PathBuf,
    /// Which image, from 0
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) index: u64,
    #[command(flatten)]
    pub(crate) limit: Limit,
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
    pub(crate) network: Network,
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
