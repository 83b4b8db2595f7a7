//! What every op of an open kind has.

use std::any::Any;
use std::ops::Range;

use super::attrs::Attrs;
use super::form::{Form, Opaque};
use super::list::List;
use crate::dtype::DType;
use crate::elements::{Native, Slice, SliceMut};
use crate::error::{ErrorKind, Fault};
use crate::kernels::Isa;
use crate::shape::{Shape, TensorType, one_float_type};

/// The types of a row's results.
pub type ResultTypes = List<TensorType>;

/// One operand of a kernel call.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Element type and shape.
    pub ty: &'a TensorType,
    /// The elements, row-major: those of the blocks of the call where the kernel takes the operand
    /// [chunked](Opaque::chunked), all of them otherwise.
    pub data: Slice<'a>,
}

impl<'a> Operand<'a> {
    /// The elements as the kernel's own type, or a fault.
    pub fn elements<T: Native>(&self) -> Result<&'a [T], Fault> {
        T::stored(self.data).ok_or(Fault::Type)
    }
}

/// One result of a kernel call: the blocks that this call computes.
#[derive(Debug)]
pub struct ResultMut<'a> {
    /// Element type and shape of the whole result.
    pub ty: &'a TensorType,
    /// The elements of the blocks of this call.
    pub data: SliceMut<'a>,
}

/// What a kernel works on.
///
/// The results are cut, in row-major order, into [as many equal pieces as it has blocks](Opaque::in_blocks), which do not
/// depend on one another; this call computes the pieces of `blocks` and holds exactly their elements.
#[derive(Debug)]
pub struct Call<'a, 'b> {
    /// The operands, whole or cut to the blocks of this call.
    pub operands: &'b [Operand<'a>],
    /// The results, cut to the blocks of this call.
    pub results: &'b mut [ResultMut<'a>],
    /// At least as many bytes of [scratch](Opaque::with_scratch) as were asked for, aligned to eight, with any content.
    pub scratch: &'b mut [u64],
    /// The blocks to compute.
    pub blocks: Range<usize>,
    /// The instruction set to compute with.
    pub isa: Isa,
}

impl<'b> Call<'_, 'b> {
    /// The elements of result `i` that belong to this call.
    pub fn result<T: Native>(&mut self, i: usize) -> Result<&mut [T], Fault> {
        self.results.get_mut(i).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)
    }

    /// Operand `i` and the elements of result 0: all that most kernels need.
    pub fn unary<T: Native, U: Native>(&mut self, i: usize) -> Result<(&'b [T], &mut [U]), Fault> {
        let input = self.operands.get(i).ok_or(Fault::Type)?.elements::<T>()?;
        Ok((input, self.result::<U>(0)?))
    }
}

/// What every op of an open kind has: a name, plain data, types and numbers.
///
/// The Rust type, `name` and `attrs` together say all there is to know of an op: equality, printing and loading
/// derive from them, so two ops that differ must differ there. An op of a type that holds data and states no
/// attributes is equal to itself alone.
pub trait Kernel: Any + Send + Sync {
    /// The name under which the op is registered and printed; by convention `crate::op`, but for the ops of this
    /// crate.
    fn name(&self) -> &'static str;

    /// The op's plain data: all of it that its results or derivatives depend on.
    fn attrs(&self) -> Attrs {
        Attrs::new()
    }

    /// The types of the results, or why these operands do not fit.
    fn infer(&self, operands: &[TensorType]) -> Result<ResultTypes, ErrorKind>;

    /// What the op computes of operands of types that [`infer`](Self::infer) accepts. By default what
    /// [`eval`](Self::eval) does, all in one piece.
    fn form(&self, _operands: &[TensorType]) -> Form {
        Form::Opaque(Opaque::default())
    }

    /// Computes the blocks of a call: no allocation, no thread, no panic. Only asked of ops whose [`form`](Self::form) is
    /// opaque; the numbers of all others follow from it.
    fn eval(&self, _call: Call<'_, '_>) -> Result<(), Fault> {
        Err(Fault::Custom("an opaque op without numbers"))
    }
}

/// The error of a wrong number of operands.
pub(crate) fn arity(expected: usize, found: usize) -> ErrorKind {
    ErrorKind::Operands { expected, found }
}

/// The result types of an op with one result of this type.
pub(crate) fn one(dtype: DType, shape: Shape) -> Result<ResultTypes, ErrorKind> {
    Ok(TensorType::new(dtype, shape).into())
}

/// The operands, or the error of a wrong number of them.
pub(crate) fn operands<const N: usize>(found: &[TensorType]) -> Result<[TensorType; N], ErrorKind> {
    found.try_into().map_err(|_| arity(N, found.len()))
}

/// The only operand of an op that takes floats of any shape.
pub(crate) fn float(found: &[TensorType]) -> Result<TensorType, ErrorKind> {
    let [x] = operands(found)?;
    one_float_type(&[x]).map(|()| x)
}
