//! Where runs and data are, and folders that appear complete or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Failure;

/// The nearest folder, upwards from where one stands, that has the repository's data; else where one
/// stands.
fn root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|dir| dir.join("datasets/mnist").is_dir()).map(Path::to_owned);
    found.unwrap_or(here)
}

/// The folder of the data: the one given, or the repository's.
pub(crate) fn data_dir(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| root().join("datasets/mnist"), Path::to_owned)
}

/// The threads given, or one for each core.
pub(crate) fn threads(given: Option<u32>) -> usize {
    given.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |n| n as usize)
}

/// The folder for a run: the one given, which must not hold anything yet, or the next free one.
pub(crate) fn choose(given: Option<&Path>, seed: u64) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(dir.to_owned()),
            Ok(false) => Err(Failure::Usage(format!("--out {}: the folder is not empty", dir.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(dir.to_owned()),
            Err(e) => Err(Failure::Usage(format!("--out {}: {e}", dir.display()))),
        };
    }
    let runs = root().join("runs");
    let free = (1..).map(|n| if n == 1 { format!("seed-{seed}") } else { format!("seed-{seed}-{n}") });
    let dir = free.map(|name| runs.join(name)).find(|dir| !dir.exists());
    dir.ok_or_else(|| Failure::Work(format!("{}: no free name", runs.display())))
}

/// Fills a folder under another name and then gives it its own. Nothing is left of it on failure.
pub(crate) fn fill(dir: &Path, write: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = dir.with_file_name(name);
    let io = |e: io::Error| Failure::Work(format!("{}: {e}", dir.display()));
    let outcome = fs::create_dir_all(&partial).map_err(io).and_then(|()| write(&partial)).and_then(|()| {
        // An empty folder of that name gives way; one that was filled meanwhile does not.
        if dir.exists() {
            fs::remove_dir(dir).map_err(io)?;
        }
        fs::rename(&partial, dir).map_err(io)
    });
    if outcome.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&partial);
    }
    outcome
}
