//! Computations as functions of this processor: the kernels of each form.

mod contract;
#[cfg(feature = "nets")]
mod convolve;
mod indexed;
mod reduce;
mod view;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::elements::{Native, Slice};
use crate::error::{ErrorKind, Fault};
use crate::exec::graph::{Computation, Computations, Strides, loops};
use crate::ir::{self, Form, Indexed, Monoid, Op, Operand, Reduction, ResultMut, ResultTypes, ValueHasher};
use crate::kernels::contract::Packed;
use crate::kernels::{CHUNK, Compiled, Isa, Small};
use crate::shape::TensorType;

/// The strides of each operand that is read where it lies.
pub(crate) type Laid<'a> = Option<&'a [Option<Box<Strides>>]>;

/// What an operand is packed from.
pub(crate) struct Packing<'a, 'b> {
    /// The operands; but for the one that is packed, which is whole, without elements.
    pub(crate) operands: &'b [Operand<'a>],
    pub(crate) strides: Laid<'b>,
    /// The pieces to make.
    pub(crate) pieces: Range<usize>,
    /// The memory of these pieces, with any content.
    pub(crate) out: &'b mut [u64],
    pub(crate) isa: Isa,
}

/// One call of a kernel: as [`ir::Call`], and what only plans ask for.
pub(crate) struct Call<'a, 'b> {
    pub(crate) operands: &'b [Operand<'a>],
    /// The distance of neighbours along each axis of operands that are read where they lie; they are whole.
    pub(crate) strides: Laid<'b>,
    pub(crate) results: &'b mut [ResultMut<'a>],
    pub(crate) scratch: &'b mut [u64],
    /// The operand that was packed; empty if none.
    pub(crate) packed: &'b [u64],
    pub(crate) blocks: Range<usize>,
    pub(crate) isa: Isa,
    /// By what the results are multiplied before they are added to what is there, as α in BLAS: other than 1 only where
    /// β is not 0, and for what [scales](Computation::scales).
    pub(crate) alpha: f64,
    /// By what the numbers that the results hold are multiplied before the results are added to them, as β in BLAS; at 0
    /// they may be anything. Another one only for what [accumulates](Computation::accumulates); 1 for partial results of a
    /// reduction that are there, and for an operand that the results [alias](Computation::alias), which comes without
    /// elements.
    pub(crate) beta: f64,
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

    /// Operand `i` and the elements of result 0, of one type, as integers of as many bytes.
    fn bits<T: bytemuck::Pod>(&mut self, i: usize) -> Result<(&'b [T], &mut [T]), Fault> {
        let input = self.operands.get(i).ok_or(Fault::Type)?.data;
        let out = &mut self.results.get_mut(0).ok_or(Fault::Type)?.data;
        if input.dtype() != out.as_slice().dtype() {
            return Err(Fault::Type);
        }
        let input = bytemuck::try_cast_slice(input.as_bytes()).map_err(|_| Fault::Type)?;
        Ok((input, bytemuck::try_cast_slice_mut(out.as_bytes_mut()).map_err(|_| Fault::Type)?))
    }
}

/// A computation, and the functions of its body for an instruction set.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) what: Arc<Computation>,
    map: Option<Arc<Compiled>>,
}

impl Code {
    /// The functions of its body, if it is computed element by element.
    pub(crate) fn map(&self) -> Option<&Compiled> {
        self.map.as_deref()
    }

    /// What it is on operands of these types, small as its result, if it has a function for that; of a part, what it does to what is there.
    pub(crate) fn small(&self, x: &[Arc<TensorType>], y: &Arc<TensorType>, isa: Isa) -> Option<Small> {
        let types = [x.first()?, y];
        match &self.what.form {
            Form::Contract(names) => {
                let [lhs, rhs] = x else { return None };
                Small::product(x, y, isa, loops(names, [lhs, rhs], None, None))
            }
            Form::View(map) => Small::view(types, isa, map.offset, &map.strides),
            Form::Reduce(Reduction { monoid, axis, count }) => {
                let (_, reduced, inner) = types[0].shape.split_at(*axis, *count);
                match monoid {
                    Monoid::Sum => Small::sum(types, isa, (reduced, inner)),
                    Monoid::Max => Small::max(types, isa, (reduced, inner)),
                }
            }
            Form::Indexed(Indexed::SetPart(map)) => Small::part(types, isa, false, map.offset, &map.strides),
            Form::Indexed(Indexed::AddPart(map)) => Small::part(types, isa, true, map.offset, &map.strides),
            _ => None,
        }
    }

    /// Bytes of scratch that one call needs.
    pub(crate) fn scratch(&self, operands: &[TensorType]) -> usize {
        match &self.what.form {
            Form::Map(_) => self.map().map_or(0, Compiled::scratch),
            Form::Reduce(r) => reduce::scratch(*r, operands),
            Form::Contract(names) => contract::scratch(names, operands),
            #[cfg(feature = "nets")]
            Form::Convolve(convolution) => convolve::scratch(convolution, operands),
            Form::Opaque(opaque) => opaque.scratch,
            _ => 0,
        }
    }

    /// How one operand is packed for all calls.
    pub(crate) fn packed(&self, operands: &[TensorType]) -> Option<Packed> {
        if let Form::Contract(names) = &self.what.form { contract::packed(names, operands) } else { None }
    }

    /// Packs pieces of the operand that [`packed`](Self::packed) announces.
    pub(crate) fn pack(&self, call: Packing<'_, '_>) -> Result<(), Fault> {
        if let Form::Contract(names) = &self.what.form {
            contract::pack(names, call)
        } else {
            Err(Fault::Type)
        }
    }

    /// Computes the blocks of a call: no allocation, no thread, no panic.
    pub(crate) fn run(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match &self.what.form {
            Form::Map(_) => {
                let x: SmallVec<[Slice<'_>; 4]> = call.operands.iter().map(|o| o.data).collect();
                let mut y: SmallVec<[_; 2]> = call.results.iter_mut().map(|r| r.data.reborrow()).collect();
                self.map().ok_or(Fault::Type)?.run(&x, &mut y, call.scratch)
            }
            Form::View(map) => view::run(map, call),
            Form::Reduce(reduction) => reduce::run(*reduction, call),
            Form::Contract(names) => contract::run(names, call),
            #[cfg(feature = "nets")]
            Form::Convolve(convolution) => convolve::run(convolution, call),
            Form::Indexed(indexed) => indexed::run(indexed, call),
            Form::Opaque(_) => {
                let Call { operands, results, scratch, blocks, isa, .. } = call;
                let kernel = self.what.op.kernel().ok_or(Fault::Type)?;
                kernel.eval(ir::Call { operands, results, scratch, blocks, isa })
            }
            Form::Missing(_) => Err(Fault::Type),
        }
    }

    /// Bytes that [`run_within`](Self::run_within) needs besides operands and results: a packed operand, and scratch.
    pub(crate) fn memory(&self, operands: &[TensorType]) -> usize {
        self.packed(operands).map_or(0, |p| p.bytes).saturating_add(self.scratch(operands))
    }

    /// Computes all blocks, in memory of the caller; adds them to what is there where β is 1.
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
        let layout = self.packed(&types);
        let (packed, scratch) =
            memory.split_at_mut_checked(layout.map_or(0, |p| p.bytes / 8)).ok_or(Fault::Type)?;
        if let Some(Packed { pieces, .. }) = layout {
            self.pack(Packing { operands, strides: None, pieces: 0..pieces, out: packed, isa })?;
        }
        let (blocks, alpha) = (0..self.what.blocks(&types, &result_types), 1.0);
        self.run(Call { operands, strides: None, results, scratch, packed, blocks, isa, alpha, beta })
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

/// Codes, each once.
#[derive(Default)]
pub(crate) struct Codes {
    computations: Computations,
    /// Those of bodies, by where the computation is, and the elements that it is compiled for at once.
    known: HashMap<(usize, usize), Code, BuildHasherDefault<ValueHasher>>,
    last: Option<((usize, usize), Code)>,
}

impl Codes {
    /// The code of a computation of so many elements. An error where its body has no functions.
    pub(crate) fn of(
        &mut self,
        what: &Arc<Computation>,
        elements: usize,
        isa: Isa,
    ) -> Result<Code, ErrorKind> {
        let Some(body) = what.body() else { return Ok(Code { what: what.clone(), map: None }) };
        let elements = elements.min(CHUNK);
        // The code keeps the computation alive, so that no other one comes to lie there.
        let key = (Arc::as_ptr(what).addr(), elements);
        if let Some((_, code)) = self.last.as_ref().filter(|(last, _)| *last == key) {
            return Ok(code.clone());
        }
        let code = match self.known.entry(key) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => {
                let map = Some(Arc::new(Compiled::new(body, elements, isa)?));
                free.insert(Code { what: what.clone(), map }).clone()
            }
        };
        self.last = Some((key, code.clone()));
        Ok(code)
    }

    /// The code of an op on operands of these types. An error where its form does not fit the results.
    pub(crate) fn of_op(
        &mut self,
        op: &Op,
        operands: &[TensorType],
        results: &[TensorType],
        isa: Isa,
    ) -> Result<Code, ErrorKind> {
        let what = self.computations.of(op, operands, results)?;
        self.of(&what, results.first().map_or(0, |y| y.shape.elements()), isa)
    }
}
