//! Files that are replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes a file under another name in the same folder and then gives it its own, so that nobody
/// ever sees it half written, and what was there before stays if writing fails. Where a link leads is replaced; devices and
/// pipes are written to.
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
    // What a link leads to is replaced, not the link; what is no file, as a device or a pipe, is written to.
    let target = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        _ => path.to_owned(),
    };
    let path = &*target;
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return write(&mut OpenOptions::new().write(true).open(path)?);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.partial", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let partial = path.with_file_name(name);
    // New, so that nothing that lies there is followed or shared.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
    let outcome = write(&mut file).and_then(|()| {
        file.sync_all()?;
        fs::rename(&partial, path)?;
        Ok(synced(path)?)
    });
    if outcome.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    outcome
}

/// Has the folder of a file remember its name, whatever happens to the machine, where folders can be asked for that.
fn synced(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every file system does it, nor may everybody read the folder that he writes to.
        Err(e)
            if !matches!(
                e.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            Err(e)
        }
        _ => Ok(()),
    }
}
