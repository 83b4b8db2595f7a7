//! The handle by which a row's result is named while recording.

use std::fmt;

use super::op::Op;
use super::recorder::Recorder;
use super::tape::Value;
use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::shape::{Shape, TensorType};

/// One result of one row of a tape that is being recorded: a `Copy` handle without numbers.
///
/// Operators and methods record rows. An operation that does not fit is remembered by the
/// recorder with the line of the call, and its result is *poisoned*: later operations pass that
/// on, and the first error is returned when recording ends.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(super) recorder: &'t Recorder,
    pub(super) value: Option<Value>,
}

impl<'t> Var<'t> {
    /// The recorder it belongs to.
    pub fn recorder(self) -> &'t Recorder {
        self.recorder
    }

    /// Row and result; `None` if poisoned.
    pub fn id(self) -> Option<Value> {
        self.value
    }

    /// Element type and shape; a scalar `f32` if poisoned.
    pub fn ty(self) -> TensorType {
        self.value
            .and_then(|v| self.recorder.with_tape(|t| t.ty(v)))
            .unwrap_or(TensorType::new(DType::F32, Shape::SCALAR))
    }

    /// The sizes of the axes; that of a scalar if poisoned.
    pub fn shape(self) -> Shape {
        self.ty().shape
    }

    /// The element type.
    pub fn dtype(self) -> DType {
        self.ty().dtype
    }

    /// The number of axes.
    pub fn rank(self) -> usize {
        self.shape().rank()
    }

    /// The size of an axis; 1 if there is no such axis or the variable is poisoned.
    pub fn dim(self, axis: usize) -> usize {
        self.shape().get(axis).copied().unwrap_or(1)
    }

    /// An array of this variable's type whose elements are all `value`. An error where the type
    /// cannot hold it: −1 is no `u8`.
    #[track_caller]
    pub fn fill(self, value: f64) -> Self {
        if self.value.is_none() {
            return self;
        }
        self.recorder.fill(self.ty(), value)
    }

    /// Remembers an error at the line of the caller and returns a poisoned variable.
    #[track_caller]
    pub fn fail(self, kind: ErrorKind) -> Self {
        self.recorder.fail(kind, "")
    }

    /// Records a row with this operand and one result.
    #[track_caller]
    pub(crate) fn apply(self, op: Op) -> Self {
        self.recorder.emit_one(op, &[self])
    }
}

impl PartialEq for Var<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.recorder, other.recorder) && self.value == other.value
    }
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            None => f.write_str("poisoned"),
            Some(v) => write!(f, "{v}: {}", self.ty()),
        }
    }
}

/// A variable, or a number that takes the type of the other operand.
pub trait IntoVar<'t> {
    /// The variable; a number becomes an array like `other`.
    fn into_var(self, other: Var<'t>) -> Var<'t>;
}

impl<'t> IntoVar<'t> for Var<'t> {
    fn into_var(self, _: Var<'t>) -> Var<'t> {
        self
    }
}

impl<'t> IntoVar<'t> for f64 {
    #[track_caller]
    fn into_var(self, other: Var<'t>) -> Var<'t> {
        other.fill(self)
    }
}

/// One variable can stand where several may: itself, alone.
impl<'t> IntoIterator for Var<'t> {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;
    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}
