//! Files that are replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes a file under another name in the same folder and then gives it its own, so that nobody
/// ever sees it half written, and what was there before stays if writing fails.
///
/// ```
/// use std::io::Write;
/// let path = std::env::temp_dir().join(format!("wengert-replace-{}", std::process::id()));
/// wengert_idx::replace_file(&path, |file| file.write_all(b"whole"))?;
/// assert_eq!(std::fs::read(&path)?, b"whole");
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn replace_file<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.partial", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let partial = path.with_file_name(name);
    // New, so that nothing that lies there is followed or shared.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
    let outcome = write(&mut file).and_then(|()| {
        file.sync_all()?;
        Ok(fs::rename(&partial, path)?)
    });
    if outcome.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    outcome
}
