//! Where data and runs are.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wengert_idx::replace_file;

use crate::settings::Configuration;
use crate::{Failure, tell};

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

/// The folder of a run, which nobody else trains in as long as this lives.
pub(crate) struct RunFolder {
    dir: PathBuf,
    /// Held open with a lock on it, which ends with the process, however that ends.
    _lock: File,
    /// Whether it was made, or found empty, by this run, and has nothing yet that is worth keeping.
    fresh: Option<Made>,
}

impl RunFolder {
    /// A folder for a new run: the one given, which must not hold anything yet, or the next free one under `runs`.
    pub(crate) fn create(given: Option<&Path>, seed: u64) -> Result<Self, Failure> {
        let Some(dir) = given else {
            let runs = root().join("runs");
            let name = |n: usize| if n == 1 { format!("seed-{seed}") } else { format!("seed-{seed}-{n}") };
            for dir in (1..).map(|n| runs.join(name(n))).filter(|dir| !dir.exists()) {
                // Where another run of this seed was faster, the next.
                if let Claim::Own(folder) = Self::claim(&dir)? {
                    return Ok(folder);
                }
            }
            return Err(Failure::Work(format!("{}: no free name", runs.display())));
        };
        let refuse = |what: &str| Err(Failure::Usage(format!("--out {}: {what}", dir.display())));
        if dir.file_name().is_none() && fs::canonicalize(dir).ok().is_none_or(|dir| dir.file_name().is_none())
        {
            return refuse("expected a folder with a name");
        }
        if dir.exists() && !dir.is_dir() {
            return refuse("there is a file of that name");
        }
        match Self::claim(dir)? {
            Claim::Own(folder) => Ok(folder),
            Claim::Locked => Err(at_work(dir)),
            Claim::NotEmpty => refuse("the folder is not empty; --resume goes on with the run in it"),
        }
    }

    /// Makes a folder where there is none, and takes it if nobody has it and nothing is in it.
    fn claim(dir: &Path) -> Result<Claim, Failure> {
        let made = Made::of(dir);
        fs::create_dir_all(dir).map_err(|e| at(dir, &e))?;
        let Some(lock) = locked(dir)? else {
            // Whoever has it may have found it made.
            made.keep();
            return Ok(Claim::Locked);
        };
        if !is_empty(dir)? {
            made.keep();
            return Ok(Claim::NotEmpty);
        }
        let folder = Self { dir: dir.to_owned(), _lock: lock, fresh: Some(made) };
        // Tried now, so that no work is done that cannot be kept.
        folder.write("config.toml", "")?;
        Ok(Claim::Own(folder))
    }

    /// The folder of a run to go on with, also of one that has yet to begin. What was being written when it was killed is removed.
    pub(crate) fn resume(dir: &Path) -> Result<Self, Failure> {
        if !dir.exists() || is_empty(dir)? {
            // Killed before it began.
            return Self::create(Some(dir), 0);
        }
        let lock = locked(dir)?.ok_or_else(|| at_work(dir))?;
        let folder = Self { dir: dir.to_owned(), _lock: lock, fresh: None };
        if !folder.is_of_a_run() {
            return Err(Failure::Usage(format!("--out {}: this is no folder of a run", dir.display())));
        }
        for place in [dir.to_owned(), folder.checkpoints()] {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                if is_stale(&entry.file_name().to_string_lossy()) {
                    fs::remove_file(entry.path()).map_err(|e| at(&entry.path(), &e))?;
                }
            }
        }
        Ok(folder)
    }

    /// Whether what is here was written by this program: a model or a checkpoint, or settings, also those of a run that was killed while it began.
    fn is_of_a_run(&self) -> bool {
        let config = self.path("config.toml");
        let begun = fs::metadata(&config).is_ok_and(|file| file.is_file() && file.len() == 0);
        begun
            || Configuration::read(&config).is_ok()
            || self.path("final.safetensors").is_file()
            || !checkpoints_newest_first(&self.dir).is_empty()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is in it is worth keeping from now on, whatever happens.
    pub(crate) fn keep(&mut self) {
        if let Some(made) = self.fresh.take() {
            made.keep();
        }
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path(name);
        replace_file(&path, |file| file.write_all(text.as_bytes())).map_err(|e| at(&path, &e))
    }

    fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoints")
    }

    /// Has a checkpoint written for a step, and removes the older ones beyond so many when it is safe on the disk.
    pub(crate) fn checkpoint(
        &mut self,
        step: u64,
        keep: usize,
        save: impl FnOnce(&Path) -> Result<(), wengert_nn::Error>,
    ) -> Result<PathBuf, Failure> {
        let dir = self.checkpoints();
        fs::create_dir_all(&dir).map_err(|e| at(&dir, &e))?;
        // Their folder must outlive the machine as well. Not every file system can be asked for that.
        for above in [Some(&*self.dir), self.dir.parent().filter(|dir| !dir.as_os_str().is_empty())] {
            let _ = above.map(|dir| File::open(dir).and_then(|dir| dir.sync_all()));
        }
        let path = dir.join(format!("step-{step:010}.safetensors"));
        save(&path)?;
        self.keep();
        // Later ones are of a past that was given up, as where they were damaged; they are written anew in their turn.
        let older = checkpoints_newest_first(&self.dir).into_iter().filter(|(of, _)| *of <= step);
        for (_, path) in older.skip(keep) {
            fs::remove_file(&path).map_err(|e| at(&path, &e))?;
        }
        Ok(path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // A run that failed before there was anything to keep leaves nothing: what is here it wrote itself. The first error is the one to tell.
        let Some(_made) = self.fresh.take() else { return };
        for name in FILES {
            let _ = fs::remove_file(self.path(name));
        }
        let _ = fs::remove_dir(self.checkpoints());
    }
}

/// What a run leaves in its folder.
const FILES: [&str; 5] = ["config.toml", "metrics.csv", "curves.svg", "report.html", "final.safetensors"];

/// Whether a file was being written by a process that is no more: one of a run's, under the name that it has until it is whole.
fn is_stale(name: &str) -> bool {
    let Some((of, process)) = name.strip_suffix(".partial").and_then(|name| name.rsplit_once('.')) else {
        return false;
    };
    let numbers = process.split_once('-').map(|(pid, count)| (pid.parse::<u32>(), count.parse::<usize>()));
    let own = FILES.contains(&of) || (of.starts_with("step-") && of.ends_with(".safetensors"));
    own && matches!(numbers, Some((Ok(_), Ok(_))))
}

fn is_empty(dir: &Path) -> Result<bool, Failure> {
    Ok(fs::read_dir(dir).map_err(|e| at(dir, &e))?.next().is_none())
}

/// The checkpoints in the folder of a run by their steps, the newest first.
pub(crate) fn checkpoints_newest_first(run: &Path) -> Vec<(u64, PathBuf)> {
    let step = |name: &str| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| Some((step(&entry.file_name().to_string_lossy())?, entry.path())))
        .collect();
    found.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    found
}

fn at(path: &Path, e: &io::Error) -> Failure {
    Failure::Work(format!("{}: {e}", path.display()))
}

/// A folder opened, with a lock on it that nobody else has; `None` where somebody has it.
fn locked(dir: &Path) -> Result<Option<File>, Failure> {
    let file = File::open(dir).map_err(|e| at(dir, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(e)) => {
            tell(&format!(
                "{}: cannot be locked, so nothing keeps a second training out: {e}",
                dir.display()
            ));
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
    }
}

fn at_work(dir: &Path) -> Failure {
    Failure::Work(format!("{}: another training is at work in this folder", dir.display()))
}

/// What came of taking a folder.
enum Claim {
    Own(RunFolder),
    Locked,
    NotEmpty,
}

/// A folder and those above it, as far as they did not exist: removed again, if they are empty, unless they are kept.
struct Made(Vec<PathBuf>);

impl Made {
    fn of(path: &Path) -> Self {
        let missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        Self(path.ancestors().take_while(missing).map(Path::to_owned).collect())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.0.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}
