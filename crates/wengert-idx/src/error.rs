//! Errors: which file, at which byte, what was expected and what was found.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::element::ElementType;

/// What is wrong with a file, apart from where.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system's word.
    Io(io::Error),
    /// There are no bytes at all.
    Empty,
    /// The path is a directory.
    Directory,
    /// The compressed stream is damaged: header, data, checksum or length.
    Gzip(String),
    /// The file does not start with two zero bytes.
    Magic {
        /// The two bytes it starts with.
        found: [u8; 2],
    },
    /// The third byte is no known element type.
    UnknownType {
        /// That byte.
        code: u8,
    },
    /// The file ends before what its header announces.
    Truncated {
        /// Bytes announced, header included.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// There are bytes behind what the header announces.
    Trailing {
        /// Bytes announced, header included.
        expected: u64,
    },
    /// The header announces more than the limit.
    TooLarge {
        /// Bytes announced; `None` if they cannot be counted in 64 bits.
        announced: Option<u64>,
        /// The limit in force.
        limit: u64,
    },
    /// The elements are of another type than was asked for.
    WrongType {
        /// The type that was asked for.
        expected: ElementType,
        /// The type that the header names.
        found: ElementType,
    },
    /// Something about the values: counts that differ, a label out of range, a NaN.
    Content(String),
}

/// An error with the file and the byte offset where it was noticed. In a gzipped file the offset
/// counts unpacked bytes.
#[derive(Debug)]
pub struct Error {
    path: Option<PathBuf>,
    offset: u64,
    kind: ErrorKind,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(offset: u64, kind: ErrorKind) -> Self {
        Self { path: None, offset, kind }
    }

    /// The same error, of this file.
    pub(crate) fn of(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The byte at which it was noticed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        let at = self.offset;
        match &self.kind {
            ErrorKind::Io(e) => write!(f, "{e}"),
            ErrorKind::Empty => f.write_str("at byte 0: expected an IDX file, found nothing"),
            ErrorKind::Directory => f.write_str("at byte 0: expected an IDX file, found a directory"),
            ErrorKind::Gzip(e) => write!(f, "the gzip stream is damaged after {at} unpacked bytes: {e}"),
            ErrorKind::Magic { found: [0x1f, 0x8b] } => {
                f.write_str("not an IDX file: it is compressed twice; unpack it once with `gzip -d`")
            }
            ErrorKind::Magic { found: [a, b] } => write!(
                f,
                "not an IDX file at byte {at}: expected 00 00 (or 1f 8b of gzip), found {a:02x} {b:02x}"
            ),
            ErrorKind::UnknownType { code } => write!(
                f,
                "unknown element type at byte {at}: expected 08, 09, 0b, 0c, 0d or 0e, found {code:02x}"
            ),
            ErrorKind::Truncated { expected, found } => {
                write!(f, "truncated at byte {at}: the header announces {expected} bytes, found {found}")
            }
            ErrorKind::Trailing { expected } => {
                write!(f, "trailing bytes at byte {at}: the header announces {expected} bytes, found more")
            }
            ErrorKind::TooLarge { announced: Some(announced), limit } => {
                write!(
                    f,
                    "too large at byte {at}: the header announces {announced} bytes, the limit is {limit}"
                )
            }
            ErrorKind::TooLarge { announced: None, limit } => {
                write!(
                    f,
                    "too large at byte {at}: the header announces more than 2^64 bytes, the limit is {limit}"
                )
            }
            ErrorKind::WrongType { expected, found } => {
                write!(f, "wrong element type at byte {at}: expected {expected}, found {found}")
            }
            ErrorKind::Content(what) => write!(f, "at byte {at}: {what}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Self::new(0, ErrorKind::Io(e))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Io(e) => Some(e),
            _ => None,
        }
    }
}
