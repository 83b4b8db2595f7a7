//! Micro-ops: maps of one primitive, views and sums of small arrays, in few bytes. A program of small arrays is as fast as its calls can be read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{KernelCall, Part, Tiled};
use crate::dtype::DType;
use crate::exec::code::Code;
use crate::exec::frame::{Frame, POOL};
use crate::exec::graph::{Action, WriteMode};
use crate::exec::memory::Address;
#[cfg(feature = "jit")]
use crate::ir::{Instruction, Primitive};
use crate::kernels::{CHUNK, Constant, Fixed, Isa, Pointer, Single, Small, copied, repeat};
use crate::shape::TensorType;

/// A function of small arrays: all that a run reads. The result lies in the arena, or in the memory of the first thread.
#[derive(Clone, Copy)]
pub(in crate::exec) struct MicroOp {
    pub(in crate::exec) function: Pointer,
    /// Elements of the result.
    pub(in crate::exec) len: u32,
    /// Where the result lies in the arena.
    pub(in crate::exec) out: Address,
    /// Where what it reads lies: operands, and what is the function's own in the plan's pool.
    pub(in crate::exec) x: [Address; 3],
}

/// What a micro-op is, for whoever checks, prints or measures it.
#[derive(Clone, Copy)]
pub(in crate::exec) struct Described {
    /// The row of the tape.
    pub(in crate::exec) row: u32,
    /// Position among the plan's functions.
    pub(in crate::exec) function: u32,
}

/// A function that micro-ops apply.
pub(in crate::exec) struct Function {
    pub(in crate::exec) single: Single,
    pub(in crate::exec) what: What,
}

/// What a function of micro-ops is.
pub(in crate::exec) enum What {
    /// A body of one primitive.
    Map(Code),
    /// Another form, and what it reads: a word of the pool says where it lies.
    Small(Code, Arc<Small>),
    Copy,
}

impl Function {
    pub(in crate::exec) fn name(&self) -> &'static str {
        match &self.what {
            What::Map(code) | What::Small(code, _) => code.what.name(),
            What::Copy => "copy",
        }
    }

    /// What it reads if it is another form than a map.
    pub(in crate::exec) fn small(&self) -> Option<&Small> {
        if let What::Small(_, small) = &self.what { Some(small) } else { None }
    }

    /// Whether it calls a plain function for each number.
    #[cfg(feature = "jit")]
    pub(in crate::exec) fn calls_out(&self) -> bool {
        let What::Map(code) = &self.what else { return false };
        let plain = |i: &Instruction| matches!(i.primitive, Primitive::Each(_) | Primitive::Each2(_));
        code.what.body().is_some_and(|body| body.instructions().iter().any(plain))
    }

    /// A constant of its body.
    pub(in crate::exec) fn constant(&self, i: u16) -> Option<&Constant> {
        let What::Map(code) = &self.what else { return None };
        code.what.body()?.constants().get(usize::from(i))
    }
}

impl Tiled {
    /// The row and the function of the micro-op at a position.
    pub(in crate::exec) fn described(&self, at: usize) -> (u32, &Function) {
        let Described { row, function } = self.described[at];
        (row, &self.functions[function as usize])
    }

    /// Where the operands of the micro-op at a position lie, and their bytes.
    pub(in crate::exec) fn operands(&self, at: usize) -> impl Iterator<Item = (Address, usize)> + use<> {
        let (op, function) = (self.micro[at], self.described(at).1);
        let mut bytes = function.single.bytes.map(|each| op.len as usize * usize::from(each));
        for (bytes, x) in bytes.iter_mut().zip(function.small().iter().flat_map(|small| &small.x)) {
            *bytes = x.bytes();
        }
        let operands = op.x.into_iter().zip(bytes).zip(function.single.bytes);
        operands.filter(|(_, each)| *each > 0).map(|(operand, _)| operand)
    }

    /// Where the result of the micro-op at a position lies, and its bytes.
    pub(in crate::exec) fn result(&self, at: usize) -> (Address, usize) {
        let op = self.micro[at];
        (op.out, op.len as usize * usize::from(self.described(at).1.single.result))
    }
}

/// What micro-ops are made from: the functions of a plan by where their bodies are compiled, and constants in its pool, once each.
#[derive(Default)]
pub(super) struct Functions {
    known: HashMap<usize, Option<u32>>,
    copies: HashMap<DType, u32>,
    constants: HashMap<(u64, DType, usize), usize>,
}

impl Functions {
    /// The position of the function that some code is, or a copy, if it is no more than one, on arrays of these types; whether it
    /// changes what is there must be as it is said.
    fn of(
        &mut self,
        code: Option<&Code>,
        (x, y): (&[Arc<TensorType>], &Arc<TensorType>),
        changes: bool,
        isa: Isa,
        all: &mut Vec<Function>,
    ) -> Option<u32> {
        let mut add = |single: Single, what: What| {
            all.push(Function { single, what });
            all.len() as u32 - 1
        };
        let Some(code) = code else {
            return match self.copies.entry(y.dtype) {
                Entry::Occupied(known) => Some(*known.get()),
                Entry::Vacant(new) => Some(*new.insert(add(copied(y.dtype)?, What::Copy))),
            };
        };
        let Some(map) = code.map() else {
            let small = Arc::new(code.small(x, y, isa).filter(|small| small.changes() == changes)?);
            return Some(add(small.single()?, What::Small(code.clone(), small)));
        };
        match self.known.entry(std::ptr::from_ref(map).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                *new.insert(map.single().map(|single| add(single, What::Map(code.clone()))))
            }
        }
    }

    /// A call as a micro-op of a plan, if it is a function of small arrays whose result lies in memory that is the first thread's.
    pub(super) fn micro_op(&mut self, call: &KernelCall, frame: &Frame, plan: &mut Tiled) -> Option<MicroOp> {
        let (op, function) = self.find(call, frame, plan)?;
        plan.micro.push(op);
        plan.described.push(Described { row: call.row, function });
        let (at, addresses) = (plan.micro.len() - 1, plan.addresses);
        let touched = plan
            .operands(at)
            .chain([plan.result(at)])
            .map(|(address, bytes)| (addresses.place(address), bytes));
        let ends = touched.filter(|((region, _), _)| *region == 0).map(|((_, byte), bytes)| byte + bytes);
        plan.reach = ends.fold(plan.reach, usize::max);
        if call.canonical {
            plan.canonical.push(call.results[0].buffer);
        }
        Some(op)
    }

    fn find(&mut self, call: &KernelCall, frame: &Frame, plan: &mut Tiled) -> Option<(MicroOp, u32)> {
        let (Action::Compute(_) | Action::Copy, [out], None, WriteMode::Overwrite | WriteMode::Alias(0)) =
            (&call.action, call.results.as_slice(), &call.strides, call.mode)
        else {
            return None;
        };
        // What is changed where it lies is no operand.
        let mut operands = call.operands.iter().skip(usize::from(call.alias().is_some()));
        let Tiled { buffers, functions, addresses, pool, .. } = plan;
        let address = |part: &Part| {
            let (region, byte) = buffers[part.buffer].word(frame);
            addresses.at(region, byte)
        };
        // Of what lies elsewhere only reading is free.
        let made = address(out).filter(|address| addresses.place(*address).0 == 0)?;
        let y = &buffers[out.buffer].ty;
        let len = y.shape.elements();
        let x: SmallVec<[Arc<TensorType>; 2]> =
            operands.clone().map(|part| buffers[part.buffer].ty.clone()).collect();
        // Operands that are read where they lie may have other elements than these.
        let whole = |part: &Part| buffers[part.buffer].len == buffers[part.buffer].ty.shape.elements();
        if !call.operands.iter().all(whole) {
            return None;
        }
        // Calls of long arrays are loops, and what they make is made canonical while it is in the cache.
        if len > CHUNK {
            return None;
        }
        let at = self.of(call.code.as_ref(), (&x, y), call.alias().is_some(), frame.isa, functions)?;
        let function = &functions[at as usize];
        let single = &function.single;
        // The function's operands that are not its own are the call's, in order.
        let mut x = [Address::default(); 3];
        for ((x, fixed), bytes) in x.iter_mut().zip(single.fixed).zip(single.bytes) {
            *x = match fixed {
                Fixed::Nothing if bytes == 0 => *x,
                Fixed::Nothing => address(operands.next()?)?,
                fixed => addresses.at(POOL, self.pooled(function, fixed, len, pool)?)?,
            };
        }
        let len = u32::try_from(len).ok()?;
        Some((MicroOp { function: single.function, len, out: made, x }, at))
    }

    /// Where in the pool what is a function's own lies, for so many elements.
    fn pooled(
        &mut self,
        function: &Function,
        fixed: Fixed,
        len: usize,
        pool: &mut Vec<u64>,
    ) -> Option<usize> {
        let at = pool.len();
        match fixed {
            Fixed::Nothing => None,
            Fixed::Word(word) => {
                pool.push(word);
                Some(at * 8)
            }
            Fixed::Constant(_) if len > CHUNK => None,
            Fixed::Constant(i) => {
                let constant = function.constant(i)?;
                // Whole registers of them, which functions of fewer elements may share.
                let words = len.next_multiple_of(8);
                let key = (constant.value.to_bits(), constant.dtype, words);
                let add = || {
                    pool.resize(at + words, 0);
                    repeat(constant, &mut pool[at..]);
                    at
                };
                Some(*self.constants.entry(key).or_insert_with(add) * 8)
            }
        }
    }
}
