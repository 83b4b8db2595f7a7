//! Micro-ops: maps of one primitive, views and sums of small arrays, in few bytes. A program of small arrays is as fast as its calls can be read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{KernelCall, Part, Tiled};
use crate::exec::code::Code;
use crate::exec::frame::Frame;
use crate::exec::graph::{Action, WriteMode};
use crate::exec::memory::Address;
use crate::exec::place::Place;
use crate::kernels::{CHUNK, Isa, Single, Small};
use crate::shape::TensorType;

/// A function of small arrays. Its result lies in the arena, or in the memory of the first thread.
#[derive(Clone, Copy)]
pub(in crate::exec) struct MicroOp {
    /// The row of the tape.
    pub(in crate::exec) row: u32,
    /// Position among the plan's functions.
    pub(in crate::exec) function: u32,
    /// Elements of the result.
    pub(in crate::exec) len: u32,
    /// Where the result lies in the arena.
    pub(in crate::exec) out: Address,
    /// Where the operands lie, but for constants of the function.
    pub(in crate::exec) x: [Address; 3],
}

impl MicroOp {
    /// Bytes that it reads and writes, and the function.
    pub(in crate::exec) fn bytes<'a>(&self, plan: &'a Tiled) -> (usize, &'a Function) {
        let function = &plan.functions[self.function as usize];
        let read: usize = self.operands(function).map(|(_, bytes)| bytes).sum();
        (read + self.len as usize * usize::from(function.single.result), function)
    }

    /// Where its operands lie, and their bytes.
    pub(in crate::exec) fn operands(
        &self,
        function: &Function,
    ) -> impl Iterator<Item = (Address, usize)> + use<> {
        let (len, all) = (self.len as usize, function.small.as_ref().map(|small| small.x.bytes()));
        let bytes = move |each: u8| all.unwrap_or(len * usize::from(each));
        let operands = self.x.into_iter().zip(function.single.bytes).filter(|(_, each)| *each > 0);
        operands.map(move |(x, each)| (x, bytes(each)))
    }
}

/// A function that micro-ops apply.
pub(in crate::exec) struct Function {
    pub(in crate::exec) single: Single,
    /// What it belongs to: the constants of the only primitive of a body lie there.
    pub(in crate::exec) code: Code,
    /// What it reads if it is that of another form.
    pub(in crate::exec) small: Option<Arc<Small>>,
}

impl Function {
    pub(in crate::exec) fn name(&self) -> &'static str {
        self.code.what.name()
    }
}

/// The functions of a plan by where their bodies are compiled: once each.
#[derive(Default)]
pub(super) struct Functions(HashMap<usize, Option<u32>>);

impl Functions {
    /// The position of the function that some code is, if it is no more than one, on arrays of these types.
    fn of(
        &mut self,
        code: &Code,
        types: [&Arc<TensorType>; 2],
        isa: Isa,
        all: &mut Vec<Function>,
    ) -> Option<u32> {
        let Some(map) = code.map() else {
            let small = Arc::new(code.small(types, isa)?);
            all.push(Function { single: small.single()?, code: code.clone(), small: Some(small) });
            return Some(all.len() as u32 - 1);
        };
        match self.0.entry(std::ptr::from_ref(map).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(map.single().map(|single| {
                all.push(Function { single, code: code.clone(), small: None });
                all.len() as u32 - 1
            })),
        }
    }

    /// A call as a micro-op, if it is a function of small arrays whose result lies in memory that is the first thread's.
    pub(super) fn micro_op(&mut self, call: &KernelCall, frame: &Frame, plan: &mut Tiled) -> Option<MicroOp> {
        let op = self.find(call, frame, plan)?;
        let function = &plan.functions[op.function as usize];
        let made = (op.out, op.len as usize * usize::from(function.single.result));
        let touched = op.operands(function).chain([made]).filter(|(address, _)| address.place().0 == 0);
        let end = |(address, bytes): (Address, usize)| address.place().1 + bytes;
        plan.reach = touched.map(end).fold(plan.reach, usize::max);
        if call.canonical {
            plan.canonical.push(call.results[0].buffer);
        }
        Some(op)
    }

    fn find(&mut self, call: &KernelCall, frame: &Frame, plan: &mut Tiled) -> Option<MicroOp> {
        let (Action::Compute(_), Some(code), [out], None, WriteMode::Overwrite) =
            (&call.action, &call.code, call.results.as_slice(), &call.strides, call.mode)
        else {
            return None;
        };
        let Tiled { buffers, functions, .. } = plan;
        let address = |part: &Part| {
            let (region, byte) = match buffers[part.buffer].place {
                Place::Arena(offset) => (0, offset),
                Place::Task(offset) | Place::Tile(offset) => (0, frame.arena + offset),
                Place::Home(home) => (frame.region(home), 0),
            };
            Address::new(region, byte)
        };
        // Of what lies elsewhere only reading is free.
        let made = address(out).filter(|address| address.place().0 == 0)?;
        let y = &buffers[out.buffer].ty;
        let len = y.shape.elements();
        let x = call.operands.first().map_or(y, |part| &buffers[part.buffer].ty);
        // Operands that are read where they lie may have other elements than these.
        let whole = |part: &Part| buffers[part.buffer].len == buffers[part.buffer].ty.shape.elements();
        if !call.operands.iter().all(whole) {
            return None;
        }
        // What is large is made canonical while it is in the cache.
        if call.canonical && len > CHUNK {
            return None;
        }
        let function = self.of(code, [x, y], frame.isa, functions)?;
        let single = &functions[function as usize].single;
        if !single.takes(len) {
            return None;
        }
        // The function's operands that are no constants are the call's, in order.
        let mut operands = call.operands.iter();
        let mut x = [Address::default(); 3];
        for (x, _) in x.iter_mut().zip(single.bytes).filter(|(_, bytes)| *bytes > 0) {
            *x = address(operands.next()?)?;
        }
        Some(MicroOp { row: call.row, function, len: u32::try_from(len).ok()?, out: made, x })
    }
}
