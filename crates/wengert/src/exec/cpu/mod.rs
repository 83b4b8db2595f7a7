//! How forms become numbers on this processor.

mod contract;
mod indexed;
mod reduce;
mod view;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::dtype::{Native, Slice};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    self, Body, Form, IndexMap, Indexed, List, Monoid, Op, Opaque, Operand, Reduction, ResultMut, ResultTypes,
};
use crate::kernels::{CHUNK, Compiled, Isa};
use crate::shape::{MAX_RANK, TensorType};

use contract::Names;

/// How far apart the neighbours along each axis of an operand lie, in elements.
pub(crate) type Strides = [usize; MAX_RANK];

/// The strides of each operand that is read where it lies.
pub(crate) type Laid<'a> = Option<&'a [Option<Box<Strides>>]>;

/// Memory for a layout of an operand that all calls read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The operand that it is made of: it is not [chunked](Code::cut).
    pub(crate) operand: usize,
    /// Bytes, a multiple of eight for each piece.
    pub(crate) bytes: usize,
    /// Pieces that do not depend on one another.
    pub(crate) pieces: usize,
}

/// What a layout of an operand is made from.
pub(crate) struct Preparation<'a, 'b> {
    /// The operands; but for the one that the layout is made of, which is whole, without elements.
    pub(crate) operands: &'b [Operand<'a>],
    pub(crate) strides: Laid<'b>,
    /// The pieces to make.
    pub(crate) pieces: Range<usize>,
    /// The memory of these pieces, with any content.
    pub(crate) out: &'b mut [u64],
    pub(crate) isa: Isa,
}

/// One call of a form's code: as [`ir::Call`], and what only plans ask for.
pub(crate) struct Call<'a, 'b> {
    pub(crate) operands: &'b [Operand<'a>],
    /// The distance of neighbours along each axis of operands that are read where they lie; they are whole.
    pub(crate) strides: Laid<'b>,
    pub(crate) results: &'b mut [ResultMut<'a>],
    pub(crate) scratch: &'b mut [u64],
    /// What [`Code::prepare`] made of an operand; empty if nothing.
    pub(crate) prepared: &'b [u64],
    pub(crate) blocks: Range<usize>,
    pub(crate) isa: Isa,
    /// By what the numbers that the results hold are multiplied before the results are added to them, as β in BLAS;
    /// at 0 they may be anything. Others only for code that [accumulates](Code::accumulates); 1 for code that
    /// works [onto](Code::onto) an operand that the results hold already.
    pub(crate) beta: f64,
    /// By what the results are multiplied before they are added to what is there, as α in BLAS: other than 1 only where
    /// β is not 0, and for code that [scales](Code::scales).
    pub(crate) alpha: f64,
}

impl<'b> Call<'_, 'b> {
    /// The elements of result `i` that belong to this call.
    fn result<T: Native>(&mut self, i: usize) -> Result<&mut [T], Fault> {
        self.results.get_mut(i).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)
    }

    /// Operand `i` and the elements of result 0.
    fn unary<T: Native, U: Native>(&mut self, i: usize) -> Result<(&'b [T], &mut [U]), Fault> {
        let input = self.operands.get(i).ok_or(Fault::Type)?.elements::<T>()?;
        Ok((input, self.result::<U>(0)?))
    }
}

/// The code of an op's form.
#[derive(Clone)]
pub(crate) enum Code {
    Map(Box<Compiled>),
    View(IndexMap),
    Reduce(Reduction),
    Contract(Names),
    Indexed(Indexed),
    /// The op's own code, and what it says of that for operands of given types.
    Opaque(Op, Opaque),
}

impl Code {
    /// How many independent pieces the results are computed in: none where there is nothing to compute.
    pub(crate) fn blocks(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
        let elements = results.iter().map(|ty| ty.shape.elements()).max().unwrap_or(0);
        let slabs = || results.first().and_then(|ty| ty.shape.first().copied()).unwrap_or(1);
        if elements == 0 {
            return 0;
        }
        match self {
            Self::Map(_) => elements,
            Self::View(map) if view::same_order(map, operands, results) => elements,
            Self::View(_) | Self::Contract(_) => slabs(),
            Self::Reduce(r) => operands.first().map_or(1, |x| x.shape.split_at(r.axis, r.count).0),
            Self::Indexed(i) => indexed::blocks(i, operands),
            Self::Opaque(_, opaque) => opaque.blocks,
        }
    }

    /// Whether a block reads of operand `i` only the block in the same place.
    pub(crate) fn cut(&self, i: usize, operands: &[TensorType], results: &[TensorType]) -> bool {
        match self {
            Self::Map(_) | Self::Reduce(_) => true,
            Self::View(map) => match (operands, results) {
                ([x], [y]) => {
                    view::same_order(map, operands, results) || view::slab_by_slab(map, y.shape, x.shape)
                }
                _ => false,
            },
            Self::Contract(names) => names.cut(i),
            Self::Indexed(indexed) => indexed::cut(indexed, i, operands),
            Self::Opaque(_, opaque) => opaque.chunked.checked_shr(i as u32).unwrap_or(0) & 1 == 1,
        }
    }

    /// Bytes of scratch that one call needs.
    pub(crate) fn scratch(&self, operands: &[TensorType]) -> usize {
        match self {
            Self::Map(map) => map.scratch(),
            Self::Reduce(r) => reduce::scratch(*r, operands),
            Self::Contract(names) => names.scratch(operands),
            Self::Opaque(_, opaque) => opaque.scratch,
            Self::View(_) | Self::Indexed(_) => 0,
        }
    }

    /// A layout of one operand that all calls read.
    pub(crate) fn prepared(&self, operands: &[TensorType]) -> Option<Prepared> {
        if let Self::Contract(names) = self { names.prepared(operands) } else { None }
    }

    /// Makes pieces of what [`prepared`](Self::prepared) announces.
    pub(crate) fn prepare(&self, call: Preparation<'_, '_>) -> Result<(), Fault> {
        if let Self::Contract(names) = self { names.prepare(call) } else { Err(Fault::Type) }
    }

    /// Whether no data can make a call fail.
    pub(crate) fn infallible(&self) -> bool {
        match self {
            Self::Indexed(Indexed::Gather { .. } | Indexed::ScatterAdd { .. }) => false,
            Self::Opaque(_, opaque) => opaque.infallible,
            _ => true,
        }
    }

    /// How much work all blocks are, in units of about one element moved and computed.
    pub(crate) fn work(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
        let largest = || operands.iter().chain(results).map(|ty| ty.shape.elements()).max().unwrap_or(0);
        match self {
            Self::Contract(names) => names.work(operands),
            Self::Indexed(Indexed::Gather { .. }) => results.first().map_or(0, |r| r.shape.elements()),
            Self::Opaque(_, opaque) => opaque.work.unwrap_or_else(largest),
            _ => largest(),
        }
    }

    /// Whether a call honours these strides of the operands, with the bits that it gives for row-major ones.
    pub(crate) fn strided(&self, operands: &[TensorType], strides: &[Option<Box<Strides>>]) -> bool {
        if let Self::Contract(names) = self { names.strided(operands, strides) } else { false }
    }

    /// Whether a call can add to what its results hold, times β: code that is infallible, of one float result.
    pub(crate) fn accumulates(&self) -> bool {
        matches!(self, Self::Contract(_) | Self::Reduce(Reduction { monoid: Monoid::Sum, .. }))
    }

    /// Whether it can multiply what it adds by α too.
    pub(crate) fn scales(&self) -> bool {
        matches!(self, Self::Contract(_))
    }

    /// The operand that result 0 begins as, of the same type, before something is added to a part of it. Where its
    /// memory can be the result's it comes without elements, and β is 1. It is chunked, if there are several blocks.
    pub(crate) fn onto(&self) -> Option<usize> {
        matches!(self, Self::Indexed(Indexed::ScatterAdd { .. } | Indexed::AddPart(_))).then_some(0)
    }

    /// The body, if it is computed element by element.
    pub(crate) fn body(&self) -> Option<&Body> {
        if let Self::Map(map) = self { Some(map.body()) } else { None }
    }

    /// Whether a result may lie where an operand of as many bytes does.
    pub(crate) fn in_place(&self) -> bool {
        matches!(self, Self::Map(map) if map.in_place())
    }

    /// Computes the blocks of a call: no allocation, no thread, no panic.
    pub(crate) fn run(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match self {
            Self::Map(map) => {
                let x: SmallVec<[Slice<'_>; 4]> = call.operands.iter().map(|o| o.data).collect();
                let mut y: SmallVec<[_; 2]> = call.results.iter_mut().map(|r| r.data.reborrow()).collect();
                map.run(&x, &mut y, call.scratch)
            }
            Self::View(map) => view::run(map, call),
            Self::Reduce(reduction) => reduce::run(*reduction, call),
            Self::Contract(names) => names.run(call),
            Self::Indexed(indexed) => indexed::run(indexed, call),
            Self::Opaque(op, _) => {
                let Call { operands, results, scratch, blocks, isa, .. } = call;
                let kernel = op.kernel().ok_or(Fault::Type)?;
                kernel.eval(ir::Call { operands, results, scratch, blocks, isa })
            }
        }
    }

    /// Bytes that [`run_within`](Self::run_within) needs besides operands and results: a layout, and scratch.
    pub(crate) fn memory(&self, operands: &[TensorType]) -> usize {
        self.prepared(operands).map_or(0, |p| p.bytes).saturating_add(self.scratch(operands))
    }

    /// Computes all blocks, in memory of the caller.
    pub(crate) fn run_within<'a>(
        &self,
        operands: &[Operand<'a>],
        results: &mut [ResultMut<'a>],
        memory: &mut [u64],
        isa: Isa,
        beta: f64,
    ) -> Result<(), Fault> {
        let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| *o.ty).collect();
        let result_types: ResultTypes = results.iter().map(|r| *r.ty).collect();
        let layout = self.prepared(&types);
        let (prepared, scratch) =
            memory.split_at_mut_checked(layout.map_or(0, |p| p.bytes / 8)).ok_or(Fault::Type)?;
        if let Some(Prepared { pieces, .. }) = layout {
            self.prepare(Preparation { operands, strides: None, pieces: 0..pieces, out: prepared, isa })?;
        }
        let blocks = 0..self.blocks(&types, &result_types);
        self.run(Call { operands, strides: None, results, scratch, prepared, blocks, isa, beta, alpha: 1.0 })
    }

    /// The same in memory of its own.
    pub(crate) fn run_whole<'a>(
        &self,
        operands: &[Operand<'a>],
        results: &mut [ResultMut<'a>],
        isa: Isa,
    ) -> Result<(), ErrorKind> {
        let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| *o.ty).collect();
        let bytes = self.memory(&types);
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes.div_ceil(8)).map_err(|_| ErrorKind::Memory { bytes })?;
        memory.resize(bytes.div_ceil(8), 0);
        self.run_within(operands, results, &mut memory, isa, 0.0).map_err(ErrorKind::Fault)
    }
}

/// Codes, those of one body once.
#[derive(Default)]
pub(crate) struct Codes {
    /// By the body, and the elements that it is computed for at once.
    maps: HashMap<(Arc<Body>, usize), Arc<Code>>,
    last: Option<(Op, List<TensorType>, Arc<Code>)>,
}

impl Codes {
    /// The code of an op on operands of these types; neighbours mostly have the same. An error where its form does not fit
    /// the results.
    pub(crate) fn of(
        &mut self,
        op: &Op,
        operands: &[TensorType],
        results: &[TensorType],
        isa: Isa,
    ) -> Result<Arc<Code>, ErrorKind> {
        if let Some((known, types, code)) = &self.last
            && **types == *operands
            && known == op
        {
            return Ok(code.clone());
        }
        let kernel = op.kernel().ok_or_else(|| ErrorKind::Malformed(format!("{op:?} has no numbers")))?;
        let form = kernel.form(operands);
        form.check(operands, results)?;
        let code = match form {
            Form::Map(body) => self.map(body, results.first().map_or(0, |y| y.shape.elements()), isa)?,
            Form::View(map) => Arc::new(Code::View(map)),
            Form::Reduce(reduction) => Arc::new(Code::Reduce(reduction)),
            Form::Contract(names) => Arc::new(Code::Contract(Names::of(&names))),
            Form::Indexed(indexed) => Arc::new(Code::Indexed(indexed)),
            Form::Opaque(opaque) => Arc::new(Code::Opaque(op.clone(), opaque)),
            Form::Missing(kind) => return Err(kind),
        };
        self.last = Some((op.clone(), operands.iter().copied().collect(), code.clone()));
        Ok(code)
    }

    fn map(&mut self, body: Body, elements: usize, isa: Isa) -> Result<Arc<Code>, ErrorKind> {
        let key = (Arc::new(body), elements.min(CHUNK));
        if let Some(known) = self.maps.get(&key) {
            return Ok(known.clone());
        }
        let code = Arc::new(Code::Map(Box::new(Compiled::new(&key.0, key.1, isa)?)));
        self.maps.insert(key, code.clone());
        Ok(code)
    }
}
