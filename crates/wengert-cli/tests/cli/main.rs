//! The program as its users meet it: what it prints, how it exits, what it leaves.

mod models;
mod program;
mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn wengert(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wengert")).args(arguments).current_dir(REPOSITORY).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs something that must fail with this code, and returns its one line.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = wengert(arguments);
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    assert!(error.starts_with("wengert: ") && error.len() > 20, "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mnist(name: &str) -> String {
    format!("{REPOSITORY}/datasets/mnist/{name}")
}

/// A folder with a short training run in it.
fn run(dir: &Path, more: &[&str]) -> (PathBuf, Output) {
    let folder = dir.join("run");
    let mut arguments = vec!["train", "--out", text(&folder)];
    arguments.extend(more);
    let output = wengert(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, output)
}
