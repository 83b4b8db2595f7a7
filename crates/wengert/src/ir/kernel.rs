//! The contract between an op's numbers and whoever runs them.

use std::any::Any;
use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::attrs::Attrs;
use crate::dtype::{DType, Native, Slice, SliceMut};
use crate::error::{ErrorKind, Fault};
use crate::kernels::Level;
use crate::shape::{MAX_RANK, Shape, TensorType};

/// The types of a row's results.
pub type ResultTypes = SmallVec<[TensorType; 1]>;

/// One operand of a kernel call.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Element type and shape.
    pub ty: &'a TensorType,
    /// The elements: those of the blocks of the call where the kernel takes the operand
    /// [cut](Kernel::cut), all of them otherwise. Row-major unless there are strides.
    pub data: Slice<'a>,
    /// The distance of neighbours along each axis, in elements; only for kernels that declare
    /// [`Kernel::strided`]. Such an operand is whole.
    pub strides: Option<&'a Strides>,
}

/// How far apart the neighbours along each axis of an operand lie, in elements.
pub type Strides = [usize; MAX_RANK];

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
/// The results are cut, in row-major order, into [`Kernel::blocks`] equal pieces that do not depend
/// on one another; this call computes the pieces of `blocks` and holds exactly their elements.
#[derive(Debug)]
pub struct Call<'a, 'b> {
    /// The operands, whole or cut to the blocks of this call.
    pub operands: &'b [Operand<'a>],
    /// The results, cut to the blocks of this call.
    pub results: &'b mut [ResultMut<'a>],
    /// At least [`Kernel::scratch`] bytes, aligned to eight, with any content.
    pub scratch: &'b mut [u64],
    /// What [`Kernel::prepare`] made of an operand; empty if nothing.
    pub prepared: &'b [u64],
    /// The blocks to compute.
    pub blocks: Range<usize>,
    /// The instruction set to compute with.
    pub level: Level,
    /// By what the numbers that the results hold are multiplied before the results are added to them, as β in BLAS;
    /// at 0 they may be anything. Others only for kernels that declare [`Kernel::accumulates`]; 1 for those that
    /// work [onto](Kernel::onto) an operand that the results hold already.
    pub beta: f64,
    /// By what the results are multiplied before they are added to what is there, as α in BLAS: other than 1 only where
    /// [`beta`](Self::beta) is not 0, and for kernels that declare [`Kernel::scales`].
    pub alpha: f64,
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

/// Memory for a layout of an operand; see [`Kernel::prepared`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The operand that it is made of.
    pub operand: usize,
    /// Bytes, a multiple of eight for each piece.
    pub bytes: usize,
    /// Pieces that do not depend on one another.
    pub pieces: usize,
}

/// What a kernel makes a layout of an operand from.
#[derive(Debug)]
pub struct Preparation<'a, 'b> {
    /// The operands; but for the one that the layout is made of, which is whole, without elements.
    pub operands: &'b [Operand<'a>],
    /// The pieces to make.
    pub pieces: Range<usize>,
    /// The memory of these pieces, with any content.
    pub out: &'b mut [u64],
    /// The instruction set to compute with.
    pub level: Level,
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

    /// How many independent pieces the results can be computed in; divides every result's length.
    /// The pieces have the same bits however they are computed.
    fn blocks(&self, _operands: &[TensorType], results: &[TensorType]) -> usize {
        if self.pointwise() { results.first().map_or(1, |r| r.shape.elements()) } else { 1 }
    }

    /// Whether a block reads of operand `i` only the block in the same place: then the operand can be cut
    /// into as many equal pieces as the results, and a call gets the pieces of its blocks only.
    fn cut(&self, _i: usize, _operands: &[TensorType]) -> bool {
        self.pointwise()
    }

    /// Bytes of scratch that one call needs.
    fn scratch(&self, _operands: &[TensorType]) -> usize {
        0
    }

    /// A layout of one operand that all calls read: its bytes, and in how many pieces of equal size it is
    /// made. The operand is not [cut](Self::cut).
    fn prepared(&self, _operands: &[TensorType]) -> Option<Prepared> {
        None
    }

    /// Makes pieces of what [`prepared`](Self::prepared) announces.
    fn prepare(&self, _call: Preparation<'_, '_>) -> Result<(), Fault> {
        Err(Fault::Custom("a layout is announced that nothing makes"))
    }

    /// Whether no data can make [`eval`](Self::eval) fail. States are written in place only after
    /// everything that may fail; if such an op fails nevertheless, they may have changed.
    fn infallible(&self) -> bool {
        false
    }

    /// How much work one call is, in units of about one element moved and computed; what a plan
    /// decides by whether to cut it into panels.
    fn work(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
        operands.iter().chain(results).map(|ty| ty.shape.elements()).max().unwrap_or(0)
    }

    /// Whether [`eval`](Kernel::eval) honours these strides of the operands, with the bits that it gives
    /// for row-major ones.
    fn strided(&self, _operands: &[TensorType], _strides: &[Option<Strides>]) -> bool {
        false
    }

    /// Whether [`eval`](Kernel::eval) can add to what its results hold, times [`beta`](Call::beta). Only asked of
    /// kernels that are [infallible](Self::infallible) and have one float result.
    fn accumulates(&self) -> bool {
        false
    }

    /// Whether [`eval`](Kernel::eval) can multiply what it adds by [`alpha`](Call::alpha) too.
    fn scales(&self) -> bool {
        false
    }

    /// The operand that result 0 begins as, of the same type, before something is added to a part of it. Where its
    /// memory can be the result's it comes without elements, and [`beta`](Call::beta) is 1. It is
    /// [cut](Self::cut), if there are several blocks. Such a kernel does not [accumulate](Self::accumulates).
    fn onto(&self) -> Option<usize> {
        None
    }

    /// Whether element `i` of every result depends on element `i` of the operands alone, so that the
    /// op can be computed tile by tile. Each element is then a block of its own.
    fn pointwise(&self) -> bool {
        false
    }

    /// Computes the blocks of a call: no allocation, no thread, no panic.
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault>;
}

/// Runs a kernel on all blocks: the reference for every other way.
pub(crate) fn eval_whole<'a>(
    kernel: &dyn Kernel,
    operands: &[Operand<'a>],
    results: &mut [ResultMut<'a>],
    level: Level,
) -> Result<(), ErrorKind> {
    let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| *o.ty).collect();
    let bytes = memory_of(kernel, &types);
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes.div_ceil(8)).map_err(|_| ErrorKind::Memory { bytes })?;
    memory.resize(bytes.div_ceil(8), 0);
    eval_within(kernel, operands, results, &mut memory, level, 0.0).map_err(ErrorKind::Fault)
}

/// How many blocks a kernel computes its results in. An error where they do not divide them; none at all where there is
/// nothing to compute, whatever the kernel says.
pub(crate) fn blocks_of(
    kernel: &dyn Kernel,
    operands: &[TensorType],
    results: &[TensorType],
) -> Result<usize, ErrorKind> {
    if results.iter().all(|ty| ty.shape.elements() == 0) {
        return Ok(0);
    }
    let blocks = kernel.blocks(operands, results);
    match results.iter().find(|ty| blocks == 0 || !ty.shape.elements().is_multiple_of(blocks)) {
        Some(ty) => Err(ErrorKind::Malformed(format!("{blocks} blocks do not divide {ty}"))),
        None => Ok(blocks),
    }
}

/// The layout of an operand that a kernel announces. An error where it cannot be.
pub(crate) fn prepared_of(
    kernel: &dyn Kernel,
    operands: &[TensorType],
) -> Result<Option<Prepared>, ErrorKind> {
    match kernel.prepared(operands).filter(|layout| layout.bytes > 0) {
        Some(layout)
            if layout.operand >= operands.len()
                || layout.pieces > layout.bytes / 8
                || !layout.bytes.is_multiple_of(layout.pieces.max(1).saturating_mul(8)) =>
        {
            Err(ErrorKind::Malformed(format!("a layout that cannot be: {layout:?}")))
        }
        layout => Ok(layout),
    }
}

/// Bytes that [`eval_within`] needs besides operands and results: a layout, and scratch.
pub(crate) fn memory_of(kernel: &dyn Kernel, operands: &[TensorType]) -> usize {
    kernel.prepared(operands).map_or(0, |p| p.bytes).saturating_add(kernel.scratch(operands))
}

/// The same in memory of the caller, with a [`beta`](Call::beta).
pub(crate) fn eval_within<'a>(
    kernel: &dyn Kernel,
    operands: &[Operand<'a>],
    results: &mut [ResultMut<'a>],
    memory: &mut [u64],
    level: Level,
    beta: f64,
) -> Result<(), Fault> {
    let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| *o.ty).collect();
    let result_types: ResultTypes = results.iter().map(|r| *r.ty).collect();
    let layout = prepared_of(kernel, &types).map_err(|_| Fault::Custom("a layout that cannot be"))?;
    let (prepared, scratch) =
        memory.split_at_mut_checked(layout.map_or(0, |p| p.bytes / 8)).ok_or(Fault::Type)?;
    if let Some(Prepared { pieces, .. }) = layout {
        kernel.prepare(Preparation { operands, pieces: 0..pieces, out: prepared, level })?;
    }
    let blocks = blocks_of(kernel, &types, &result_types);
    let blocks = 0..blocks.map_err(|_| Fault::Custom("the number of blocks does not divide the results"))?;
    kernel.eval(Call { operands, results, scratch, prepared, blocks, level, beta, alpha: 1.0 })
}

/// The error of a wrong number of operands.
pub(crate) fn arity(expected: usize, found: usize) -> ErrorKind {
    ErrorKind::Argument(format!("{expected} operands expected, {found} found"))
}

/// The result types of an op with one result of this type.
pub(crate) fn one(dtype: DType, shape: Shape) -> Result<ResultTypes, ErrorKind> {
    Ok(smallvec![TensorType::new(dtype, shape)])
}

/// The operands, or the error of a wrong number of them.
pub(crate) fn operands<const N: usize>(found: &[TensorType]) -> Result<[TensorType; N], ErrorKind> {
    found.try_into().map_err(|_| arity(N, found.len()))
}
