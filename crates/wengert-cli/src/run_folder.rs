//! Where data and runs are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wengert_idx::replace_file;

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

/// A folder that appears complete or not at all.
pub(crate) struct RunFolder {
    dir: PathBuf,
    /// Whether another number may be taken where the name is no longer free.
    numbered: bool,
    seed: u64,
}

impl RunFolder {
    /// The folder for a run: the one given, which must not hold anything yet, or the next free one
    /// under `runs`. It is tried now, so that no work is done that cannot be kept.
    pub(crate) fn choose(given: Option<&Path>, seed: u64) -> Result<Self, Failure> {
        let folder = match given {
            Some(dir) => {
                let refuse =
                    |e: &dyn std::fmt::Display| Failure::Usage(format!("--out {}: {e}", dir.display()));
                let dir = match fs::canonicalize(dir) {
                    Ok(dir) => dir,
                    // A link to nothing cannot be replaced by a folder.
                    Err(e) if e.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(dir).is_err() => {
                        dir.to_owned()
                    }
                    Err(e) => return Err(refuse(&e)),
                };
                if dir.file_name().is_none() {
                    return Err(refuse(&"expected a folder with a name"));
                }
                match fs::read_dir(&dir).map(|mut entries| entries.next().is_none()) {
                    Ok(true) => {}
                    Ok(false) => return Err(refuse(&"the folder is not empty")),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(refuse(&e)),
                }
                Self { dir, numbered: false, seed }
            }
            None => Self { dir: next_free(seed)?, numbered: true, seed },
        };
        folder.sweep();
        let partial = folder.partial();
        let parents = Parents::of(&partial);
        fs::create_dir_all(&partial)
            .and_then(|()| fs::remove_dir(&partial))
            .map_err(|e| folder.failure(&e))?;
        drop(parents);
        Ok(folder)
    }

    /// Removes what runs of this name left that were killed while they wrote.
    fn sweep(&self) {
        let prefix = format!("{}.", self.dir.file_name().unwrap_or_default().to_string_lossy());
        let beside = self.dir.parent().map(fs::read_dir).and_then(Result::ok).into_iter().flatten().flatten();
        for entry in beside {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".partial"));
            let process = process.and_then(|pid| pid.parse::<u32>().ok());
            // Where processes cannot be looked up nothing is known to have ended.
            let looked_up = Path::new("/proc/self").exists();
            if process.is_some_and(|pid| looked_up && !Path::new(&format!("/proc/{pid}")).exists()) {
                // Nobody else will; if it cannot be done it harms nobody.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn failure(&self, e: &io::Error) -> Failure {
        Failure::Work(format!("{}: {e}", self.dir.display()))
    }

    fn partial(&self) -> PathBuf {
        let mut name = self.dir.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        self.dir.with_file_name(name)
    }

    /// Fills the folder under another name, then gives it its own, and returns that. Nothing is left
    /// of it on failure.
    pub(crate) fn fill(
        mut self,
        write: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        let partial = self.partial();
        let parents = Parents::of(&partial);
        let outcome = fs::create_dir_all(&partial)
            .map_err(|e| self.failure(&e))
            .and_then(|()| write(&partial))
            .and_then(|()| self.publish(&partial));
        if outcome.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&partial);
        } else {
            parents.keep();
        }
        outcome.map(|()| self.dir)
    }

    /// Renames the finished folder. An empty folder of its name gives way.
    fn publish(&mut self, partial: &Path) -> Result<(), Failure> {
        loop {
            match fs::rename(partial, &self.dir) {
                Ok(()) => return Ok(()),
                // Another run of this seed was faster.
                Err(_) if self.numbered && self.dir.exists() => self.dir = next_free(self.seed)?,
                // A mount point, say, cannot be replaced; files can be put into it.
                Err(_) if self.dir.is_dir() => return self.copy(partial).map_err(|e| self.failure(&e)),
                Err(e) => return Err(self.failure(&e)),
            }
        }
    }

    fn copy(&self, partial: &Path) -> io::Result<()> {
        if fs::read_dir(&self.dir)?.next().is_some() {
            return Err(io::Error::other("the folder is not empty any more"));
        }
        let mut copied = Vec::new();
        let mut outcome = Ok(());
        for entry in fs::read_dir(partial)? {
            let entry = entry?;
            let to = self.dir.join(entry.file_name());
            outcome = replace_file(&to, |file| {
                io::copy(&mut fs::File::open(entry.path())?, file)?;
                Ok::<(), io::Error>(())
            });
            if outcome.is_err() {
                break;
            }
            copied.push(to);
        }
        if outcome.is_err() {
            // All of it or nothing; the first error is the one to tell.
            copied.iter().for_each(|file| drop(fs::remove_file(file)));
            return outcome;
        }
        fs::remove_dir_all(partial)
    }
}

/// Folders above one that did not exist: removed again, as far as they are empty, unless they are kept.
struct Parents(Vec<PathBuf>);

impl Parents {
    fn of(path: &Path) -> Self {
        let missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        Self(path.ancestors().skip(1).take_while(missing).map(Path::to_owned).collect())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        self.0.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

fn next_free(seed: u64) -> Result<PathBuf, Failure> {
    let runs = root().join("runs");
    let name = |n: usize| if n == 1 { format!("seed-{seed}") } else { format!("seed-{seed}-{n}") };
    let free = (1..).map(|n| runs.join(name(n))).find(|dir| !dir.exists());
    free.ok_or_else(|| Failure::Work(format!("{}: no free name", runs.display())))
}
