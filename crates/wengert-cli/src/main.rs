//! The `wengert` program.

#![forbid(unsafe_code)]

mod args;
mod compare;
mod curves;
mod data;
mod display;
mod ending;
mod eval;
mod gradcheck;
mod graph;
mod metrics;
mod models;
mod pictures;
mod predict;
mod report;
mod run_folder;
mod serve;
mod settings;
mod signals;
mod training;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Arguments, CheckpointCommand, Command, DataCommand};

/// What ends a command early.
enum Failure {
    /// The arguments make no sense: exit code 2.
    Usage(String),
    /// The work failed: exit code 1.
    Work(String),
    /// A signal ended the work, which can be taken up again: its exit code.
    Interrupted(u8, String),
    /// Nobody reads what is printed any more: no failure at all.
    Unread,
}

impl Failure {
    /// Of a training or network that was asked for: what makes no sense is a matter of usage.
    fn of_settings(e: wengert_nn::Error) -> Self {
        match e {
            wengert_nn::Error::Argument(what) => Self::Usage(what),
            other => other.into(),
        }
    }
}

/// For what is printed; files name themselves in their errors.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::Work(format!("standard output: {e}"))
        }
    }
}

macro_rules! failed_work {
    ($($Error:ty),*) => {$(
        impl From<$Error> for Failure {
            fn from(e: $Error) -> Self {
                Self::Work(e.to_string())
            }
        }
    )*};
}
failed_work!(wengert::Error, wengert_idx::Error, wengert_nn::Error);

fn main() -> ExitCode {
    signals::survive_full_quota();
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => known_level().and_then(|()| dispatch(arguments.command)),
        Err(e) => misused(&e),
    };
    let (code, message) = match outcome {
        Ok(()) | Err(Failure::Unread) => return ExitCode::SUCCESS,
        Err(Failure::Work(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Interrupted(code, message)) => (code, message),
    };
    // If even this cannot be written, the exit code still tells.
    let _ = writeln!(io::stderr(), "wengert: {}", printable(&message));
    ExitCode::from(code)
}

/// The instruction set that the environment names is one that there is.
fn known_level() -> Result<(), Failure> {
    match std::env::var_os("WENGERT_SIMD") {
        Some(word) if !["portable", "avx2", "avx512"].iter().any(|known| word == *known) => {
            Err(Failure::Usage(format!(
                "WENGERT_SIMD: expected portable, avx2 or avx512, found {}",
                word.display()
            )))
        }
        _ => Ok(()),
    }
}

/// A text on one line, without characters that steer a terminal: names of files may hold any.
pub(crate) fn printable(text: &str) -> String {
    text.replace('\n', " ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The place of the largest number, the first of equal ones.
pub(crate) fn largest<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (at, &number) in numbers.into_iter().enumerate() {
        if number > best.1 {
            best = (at, number);
        }
    }
    best.0
}

/// A word on standard error that is no failure: nothing depends on its being read.
pub(crate) fn tell(note: &str) {
    let _ = writeln!(io::stderr(), "wengert: note: {}", printable(note));
}

/// Help and version are answers; everything else is one line and where to find help.
fn misused(e: &clap::Error) -> Result<(), Failure> {
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(e.print()?),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::Usage("a command is missing; try `--help`".into()))
        }
        _ => {
            let text = e.render().to_string();
            // The paragraph before the usage, as one line.
            let what = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            let line: Vec<&str> = what.split_whitespace().collect();
            Err(Failure::Usage(format!("{}; try `--help`", line.join(" "))))
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    let out = &mut io::stdout().lock();
    match command {
        Command::Train(args) => training::train(&args, out),
        Command::Eval(args) => eval::eval(&args, out),
        Command::Predict(args) => predict::predict(&args, out),
        Command::Compare(args) => compare::compare(&args, out),
        Command::Serve(args) => serve::serve(&args, out),
        Command::Summary(args) => models::summary(&args, out),
        Command::Export(args) => models::export(&args),
        Command::Import(args) => models::import(&args),
        Command::Checkpoint { command: CheckpointCommand::Inspect { file } } => models::inspect(&file, out),
        Command::Gradcheck(args) => gradcheck::gradcheck(&args, out),
        Command::Data { command: DataCommand::Inspect(args) } => data::inspect(&args, out),
        Command::Data { command: DataCommand::Check(args) } => data::check(&args, out),
        Command::Graph(args) => graph::graph(&args, out),
    }
}
