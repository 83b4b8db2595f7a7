//! Errors: what happened, in which op, on which line of the user's code.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::dtype::DType;

/// What went wrong, apart from where. Match on this; the text is for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes, axes or sizes that do not fit the op.
    Shape(ShapeError),
    /// Element types that do not fit the op, or each other.
    DType(DTypeError),
    /// An argument outside what the op accepts.
    Argument(String),
    /// An op with too many or too few operands.
    Operands {
        /// The number that it takes.
        expected: usize,
        /// The number that it was given.
        found: usize,
    },
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

/// How shapes do not fit, with the axes and sizes to blame. Shapes are lists of sizes, outermost axis first.
///
/// ```
/// use wengert::{DType::F32, ErrorKind, Recorder, ShapeError};
/// let t = Recorder::default();
/// t.full(F32, [2, 3], 0.0).sum(5);
/// let error = t.check().unwrap_err();
/// assert_eq!(*error.kind(), ErrorKind::Shape(ShapeError::NoAxis { axis: 5, rank: 2 }));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ShapeError {
    /// An axis that the array does not have.
    NoAxis {
        /// The axis that was named; negative ones count from the last.
        axis: isize,
        /// The number of axes that there are.
        rank: usize,
    },
    /// An axis that is named twice.
    RepeatedAxis {
        /// The axis.
        axis: usize,
    },
    /// A wrong number of axes.
    Rank {
        /// The number that is due.
        expected: usize,
        /// The number that there is.
        found: usize,
    },
    /// More axes than a tensor can have.
    TooManyAxes {
        /// The number of axes that was asked for.
        rank: usize,
        /// The most that there can be.
        most: usize,
    },
    /// More elements than memory can address.
    TooLarge {
        /// The sizes that were asked for.
        shape: Vec<usize>,
    },
    /// Shapes that must be equal.
    Differ {
        /// The shape that was expected, or the first operand's.
        left: Vec<usize>,
        /// The shape that was found, or another operand's.
        right: Vec<usize>,
    },
    /// Two sizes that must be equal: those of the inner axes of a product.
    Inner {
        /// The left operand's shape.
        left: Vec<usize>,
        /// The right operand's shape.
        right: Vec<usize>,
        /// The two sizes.
        sizes: (usize, usize),
    },
    /// Two sizes that must be equal, for they have one letter in a contraction.
    Label {
        /// The letter.
        label: char,
        /// The contraction, as `ij,jk->ik`.
        spec: String,
        /// The two sizes.
        sizes: (usize, usize),
    },
    /// A shape that does not broadcast to, or with, another.
    Broadcast {
        /// The shape of the array.
        from: Vec<usize>,
        /// The shape that it should take, or that of the other operand.
        to: Vec<usize>,
    },
    /// A number of elements that a shape does not hold.
    Elements {
        /// The shape that was asked for.
        shape: Vec<usize>,
        /// The number of elements that there are.
        found: usize,
    },
    /// Axes without any element, of which nothing can be taken: no maximum, no mean.
    Empty {
        /// The shape.
        shape: Vec<usize>,
    },
    /// What no other variant says.
    Other(String),
}

/// How element types do not fit.
///
/// ```
/// use wengert::{DType::{F32, I64}, DTypeError, ErrorKind, Recorder};
/// let t = Recorder::default();
/// let x = t.full(F32, [2], 0.0);
/// x.gather(x);
/// let error = t.check().unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::DType(DTypeError::Expected { found: F32, expected }) if expected.contains(&I64)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DTypeError {
    /// An element type that the op does not take.
    Expected {
        /// Those that it takes.
        expected: &'static [DType],
        /// The one that it was given.
        found: DType,
    },
    /// Types that must be equal.
    Differ {
        /// The type that was expected, or the first operand's.
        left: DType,
        /// The type that was found, or another operand's.
        right: DType,
    },
    /// An operation that does not exist for operands of these types.
    Operation {
        /// The operation's name.
        name: String,
        /// The operands' types.
        operands: Vec<DType>,
    },
    /// What no other variant says.
    Other(String),
}

impl From<ShapeError> for ErrorKind {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

impl From<DTypeError> for ErrorKind {
    fn from(error: DTypeError) -> Self {
        Self::DType(error)
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAxis { axis, rank: 0 } => write!(f, "there is no axis {axis}; a scalar has none"),
            Self::NoAxis { axis, rank: 1 } => write!(f, "there is no axis {axis}; the array has one axis"),
            Self::NoAxis { axis, rank } => write!(f, "there is no axis {axis}; the array has {rank} axes"),
            Self::RepeatedAxis { axis } => write!(f, "axis {axis} is named twice"),
            Self::Rank { expected, found } => write!(f, "expected {expected} axes, found {found}"),
            Self::TooManyAxes { rank, most } => write!(f, "{rank} axes; a tensor has at most {most}"),
            Self::TooLarge { shape } => write!(f, "{shape:?} has more elements than memory can address"),
            Self::Differ { left, right } => write!(f, "{left:?} and {right:?} differ"),
            Self::Inner { left, right, sizes: (a, b) } => {
                write!(f, "{left:?} · {right:?}: inner sizes {a} and {b} differ")
            }
            Self::Label { label, spec, sizes: (a, b) } => {
                write!(f, "the sizes {a} and {b} of `{label}` in `{spec}` differ")
            }
            Self::Broadcast { from, to } => write!(f, "{from:?} and {to:?} do not broadcast"),
            Self::Elements { shape, found } => {
                write!(f, "{shape:?} has {} elements, found {found}", shape.iter().product::<usize>())
            }
            Self::Empty { shape } => write!(f, "{shape:?} has nothing to reduce"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for DTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected { expected, found } => {
                f.write_str("expected ")?;
                for (i, dtype) in expected.iter().enumerate() {
                    let between = if i == 0 {
                        ""
                    } else if i + 1 == expected.len() {
                        " or "
                    } else {
                        ", "
                    };
                    write!(f, "{between}{dtype}")?;
                }
                write!(f, ", found {found}; cast it")
            }
            Self::Differ { left, right } => write!(f, "{left} and {right} differ; cast one of them"),
            Self::Operation { name, operands } => {
                write!(f, "there is no {name} of (")?;
                for (i, dtype) in operands.iter().enumerate() {
                    write!(f, "{}{dtype}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Other(what) => f.write_str(what),
        }
    }
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
    /// A matrix that is not positive definite, where one has to be.
    NotPositiveDefinite {
        /// Which of a batch, counted in row-major order.
        matrix: usize,
        /// The first row whose pivot is not positive.
        pivot: usize,
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
            Self::NotPositiveDefinite { matrix, pivot } => {
                write!(f, "matrix {matrix} is not positive definite: its pivot {pivot} is not positive")
            }
            Self::Type => f.write_str("the kernel has no code for these element types"),
            Self::Custom(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => error.fmt(f),
            Self::DType(error) => error.fmt(f),
            Self::Operands { expected, found } => write!(f, "{expected} operands expected, {found} found"),
            Self::Argument(s)
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
