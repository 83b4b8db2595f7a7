//! Errors of models, training and stored files.

use std::fmt;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An error of the tape, with the line that recorded the row.
    Tape(wengert::Error),
    /// An error of an IDX file, with path and offset.
    Idx(wengert_idx::Error),
    /// A file that cannot be read or written.
    Io(PathBuf, std::io::Error),
    /// A file that is no model, or not one of this kind.
    Model(PathBuf, String),
    /// An argument that makes no sense.
    Argument(String),
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tape(e) => e.fmt(f),
            Self::Idx(e) => e.fmt(f),
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Model(path, what) => write!(f, "{}: {what}", path.display()),
            Self::Argument(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tape(e) => Some(e),
            Self::Idx(e) => Some(e),
            Self::Io(_, e) => Some(e),
            Self::Model(..) | Self::Argument(_) => None,
        }
    }
}

impl From<wengert::Error> for Error {
    fn from(e: wengert::Error) -> Self {
        Self::Tape(e)
    }
}

impl From<wengert::ErrorKind> for Error {
    fn from(kind: wengert::ErrorKind) -> Self {
        Self::Tape(kind.into())
    }
}

impl From<wengert_idx::Error> for Error {
    fn from(e: wengert_idx::Error) -> Self {
        Self::Idx(e)
    }
}
