//! Errors: what happened, in which op, on which line of the user's code.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What went wrong, apart from where. Match on this; the text is for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes, axes or sizes that do not fit the op.
    Shape(String),
    /// Element types that do not fit the op, or each other.
    DType(String),
    /// An argument outside what the op accepts.
    Argument(String),
    /// A `Var` of one tape used on another.
    ForeignVar,
    /// `value()` of something that depends on an input without a value.
    NoValue(String),
    /// A derivative was asked for where none exists: an integer leaf, or, in strict mode, a leaf
    /// that the result does not depend on differentiably.
    NotDifferentiable(String),
    /// A derivative through an op that has no rule for it.
    NoRule(String),
    /// A replay took a branch other than the recorded one.
    Guard {
        /// The outcome that was recorded.
        recorded: bool,
        /// The outcome of this replay.
        found: bool,
    },
    /// A kernel met data it cannot work on.
    Fault(Fault),
    /// An input bound to a program does not fit what was recorded.
    Input(String),
    /// A state is missing, doubled, or does not fit what was recorded.
    State(String),
    /// A strict recording looked at a value.
    Observed,
    /// An allocation that failed, or a size that cannot be allocated.
    Memory {
        /// The bytes that were asked for.
        bytes: usize,
    },
    /// A workspace that would take more than it may.
    Budget {
        /// The bytes that it needs.
        needed: usize,
        /// The bytes that it may take.
        budget: usize,
    },
    /// A tape that breaks its own rules (from [`verify`](crate::ir::verify)), or text that is no tape.
    Malformed(String),
    /// A law or a gradient check that does not hold.
    Check(String),
}

/// What a kernel found wrong with its data. Plain numbers, so that faulting allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An index or label outside `0..below`, at this position of the index array.
    Index {
        /// Row-major position in the array of indices.
        position: usize,
        /// The index found there.
        found: i64,
        /// The number of things that can be indexed.
        below: usize,
    },
    /// Operands whose element types the kernel has no code for.
    Type,
    /// A fault of a user's op, in its own words.
    Custom(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { position, found, below } => {
                write!(f, "index {found} at position {position} is not in 0..{below}")
            }
            Self::Type => f.write_str("the kernel has no code for these element types"),
            Self::Custom(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(s)
            | Self::DType(s)
            | Self::Argument(s)
            | Self::NoValue(s)
            | Self::NotDifferentiable(s)
            | Self::NoRule(s)
            | Self::Input(s)
            | Self::State(s)
            | Self::Malformed(s)
            | Self::Check(s) => f.write_str(s),
            Self::ForeignVar => f.write_str("a Var of another tape"),
            Self::Guard { recorded, found } => {
                write!(f, "the branch was recorded with the predicate {recorded}, this replay found {found}")
            }
            Self::Fault(fault) => fault.fmt(f),
            Self::Observed => {
                f.write_str("a strict recording must not look at a value; branch with `decide`")
            }
            Self::Budget { needed, budget } => {
                write!(f, "the workspace needs {needed} bytes, more than the {budget} that it may take")
            }
            Self::Memory { bytes } => write!(f, "allocation of {bytes} bytes failed"),
        }
    }
}

/// A line of the user's code, and the scope it was recorded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// File, line and column of the call.
    pub location: &'static Location<'static>,
    /// The names given by [`Recorder::scope`](crate::Recorder::scope), joined by `/`; empty outside any.
    pub scope: Arc<str>,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.location.file(), self.location.line())?;
        if !self.scope.is_empty() {
            write!(f, " ({})", self.scope)?;
        }
        Ok(())
    }
}

/// An error of the tape: a kind, and where it is known the op and the line that recorded it.
///
/// ```
/// use wengert::{DType::F32, ErrorKind, Program, States};
/// let error = Program::record(&States::new(), |t| {
///     let (a, b) = (t.input(F32, [64, 784]), t.input(F32, [10, 784]));
///     t.outputs(a.matmul(b))
/// })
/// .unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::Shape(_)));
/// let text = error.to_string();
/// assert!(text.starts_with("matmul at "), "{text}");
/// assert!(text.contains("inner sizes 784 and 10 differ"), "{text}");
/// ```
#[derive(Clone, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    kind: ErrorKind,
    op: Option<String>,
    site: Option<Site>,
    note: Option<String>,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind that happened in `op`, recorded at `site`.
    pub fn at(kind: ErrorKind, op: impl Into<String>, site: Site) -> Self {
        Self(Box::new(Inner { kind, op: Some(op.into()), site: Some(site), note: None }))
    }

    /// An error of this kind that happened in `op`, on a line that is not known.
    pub(crate) fn of(kind: ErrorKind, op: &str) -> Self {
        Self(Box::new(Inner { kind, op: Some(op.into()), site: None, note: None }))
    }

    /// This error and what else there is to say.
    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.0.note = Some(note.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The op it happened in, where one is to blame.
    pub fn op(&self) -> Option<&str> {
        self.0.op.as_deref()
    }

    /// The line of code that recorded the op, where one is to blame.
    pub fn site(&self) -> Option<&Site> {
        self.0.site.as_ref()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, op: None, site: None, note: None }))
    }
}

/// For conversions that cannot fail.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(op) = &self.0.op {
            f.write_str(op)?;
        }
        if let Some(site) = &self.0.site {
            write!(f, " at {site}")?;
        }
        if self.0.op.is_some() || self.0.site.is_some() {
            f.write_str(": ")?;
        }
        self.0.kind.fmt(f)?;
        if let Some(note) = &self.0.note { write!(f, " ({note})") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
