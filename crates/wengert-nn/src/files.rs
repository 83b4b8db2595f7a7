//! The files of a data set, whatever people call them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The canonical names of images and labels of a part (`train` or `t10k`), without `.gz`.
///
/// ```
/// assert_eq!(wengert_nn::file_names("t10k").0, "t10k-images-idx3-ubyte");
/// ```
pub fn file_names(part: &str) -> (String, String) {
    (format!("{part}-images-idx3-ubyte"), format!("{part}-labels-idx1-ubyte"))
}

/// What names of images end in, behind that of the part, and those of their labels: with a dash as MNIST has it, or with a dot as some archives
/// unpack it; QMNIST's labels have columns.
const IMAGES: [&str; 2] = ["-images-idx3-ubyte", "-images.idx3-ubyte"];
const LABELS: [&str; 4] =
    ["-labels-idx1-ubyte", "-labels.idx1-ubyte", "-labels-idx2-int", "-labels.idx2-int"];

/// Images and labels of a part (`train`, or `t10k`, which some call `test`), in a folder or in one called `raw` in it, gzipped (preferred) or raw; with whatever
/// is in front of the part's name (`emnist-letters-train-…`), if all files have the same. An error where there are none, or several.
///
/// ```no_run
/// let (images, labels) = wengert_nn::find_part("datasets/mnist", "train")?;
/// println!("{}, {}", images.display(), labels.display());
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn find_part(dir: impl AsRef<Path>, part: &str) -> Result<(PathBuf, PathBuf)> {
    let dir = dir.as_ref();
    let parts: &[&str] = match part {
        "t10k" | "test" => &["t10k", "test"],
        _ => &[part],
    };
    let mut names = Vec::new();
    let mut failure = None;
    for folder in [dir.to_owned(), dir.join("raw")] {
        match fs::read_dir(&folder) {
            Ok(entries) => names.extend(entries.flatten().filter(is_file).map(|e| e.path())),
            Err(e) if folder == *dir => failure = Some(e),
            Err(_) => {}
        }
    }
    if let Some(e) = failure {
        return Err(Error::Io(dir.to_owned(), e));
    }
    names.sort();
    let (images, labels) = (of(&names, parts, &IMAGES), of(&names, parts, &LABELS));
    // What is in front of the part's name says which files belong together; without it they are the canonical ones.
    let both: Vec<&String> = images.keys().filter(|front| labels.contains_key(*front)).collect();
    match both[..] {
        [front] => Ok((images[front].clone(), labels[front].clone())),
        [front, ..] if front.is_empty() => Ok((images[front].clone(), labels[front].clone())),
        [] => {
            let (images, labels) = file_names(part);
            let what = format!("expected {images} and {labels}, gzipped or raw, found no such pair");
            Err(Error::Io(dir.to_owned(), io::Error::new(io::ErrorKind::NotFound, what)))
        }
        ref several => {
            let what = format!("expected the files of one data set, found those of {several:?}");
            Err(Error::Model(dir.to_owned(), what))
        }
    }
}

fn is_file(entry: &fs::DirEntry) -> bool {
    // Of links what they lead to counts.
    entry.path().is_file()
}

/// By what is in front, the first file of each part's name and one of these endings.
fn of(names: &[PathBuf], parts: &[&str], endings: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for gzipped in [true, false] {
        for path in names {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let plain = name.strip_suffix(".gz");
            if plain.is_some() != gzipped {
                continue;
            }
            let name = plain.unwrap_or(name);
            let stem = endings.iter().find_map(|ending| name.strip_suffix(ending));
            let front = stem.and_then(|stem| parts.iter().find_map(|part| stem.strip_suffix(part)));
            if let Some(front) = front.filter(|front| front.is_empty() || front.ends_with(['-', '_'])) {
                found.entry(front.to_owned()).or_insert_with(|| path.clone());
            }
        }
    }
    found
}

/// All bytes of a file, as far as there are no more than a limit.
pub(crate) fn read_limited(from: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("larger than {most} bytes")));
    }
    Ok(bytes)
}
