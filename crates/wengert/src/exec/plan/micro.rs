//! Micro-ops: maps of one primitive on small arrays, in few bytes. A program of small arrays is as fast as its calls can be read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{KernelCall, Part, Tiled};
use crate::exec::code::Code;
use crate::exec::frame::Frame;
use crate::exec::graph::Action;
use crate::exec::place::{Place, WORD};
use crate::kernels::Single;

/// A map by one primitive of arrays that lie in the arena, or in the memory of the first thread.
#[derive(Clone, Copy)]
pub(in crate::exec) struct MicroOp {
    /// The row of the tape.
    pub(in crate::exec) row: u32,
    /// Position among the plan's functions.
    pub(in crate::exec) function: u32,
    /// Elements.
    pub(in crate::exec) len: u32,
    /// Where the result and the operands of the primitive lie, but for constants, in words.
    pub(in crate::exec) out: u32,
    pub(in crate::exec) x: [u32; 3],
}

impl MicroOp {
    /// Bytes that it reads and writes, and the function.
    pub(in crate::exec) fn bytes<'a>(&self, plan: &'a Tiled) -> (usize, &'a Function) {
        let function = &plan.functions[self.function as usize];
        (self.len as usize * function.bytes(), function)
    }

    /// Where its operands lie, and the bytes of their elements.
    pub(in crate::exec) fn operands(&self, function: &Function) -> impl Iterator<Item = (u32, u8)> + use<> {
        self.x.into_iter().zip(function.single.bytes).filter(|(_, bytes)| *bytes > 0)
    }
}

/// A function that micro-ops apply: the only primitive of a body.
pub(in crate::exec) struct Function {
    pub(in crate::exec) single: Single,
    /// What it belongs to: its constants lie there.
    pub(in crate::exec) code: Code,
}

impl Function {
    /// Bytes of the elements that it reads and writes at a time.
    fn bytes(&self) -> usize {
        self.single.bytes.into_iter().chain([self.single.result]).map(usize::from).sum()
    }

    pub(in crate::exec) fn name(&self) -> &'static str {
        self.code.what.name()
    }
}

/// The functions of a plan by where their bodies are compiled: once each.
#[derive(Default)]
pub(super) struct Functions(HashMap<usize, Option<u32>>);

impl Functions {
    /// The position of the function that some code is, if it is no more than one.
    fn of(&mut self, code: &Code, all: &mut Vec<Function>) -> Option<u32> {
        let map = code.map()?;
        match self.0.entry(std::ptr::from_ref(map).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(map.single().map(|single| {
                all.push(Function { single, code: code.clone() });
                all.len() as u32 - 1
            })),
        }
    }

    /// A call as a micro-op, if it is one primitive on small arrays in memory that is the first thread's.
    pub(super) fn micro_op(&mut self, call: &KernelCall, frame: &Frame, plan: &mut Tiled) -> Option<MicroOp> {
        let op = self.find(call, frame, plan)?;
        let function = &plan.functions[op.function as usize];
        let end = |(word, bytes): (u32, u8)| word as usize * WORD + op.len as usize * usize::from(bytes);
        let touched = op.operands(function).chain([(op.out, function.single.result)]);
        plan.reach = touched.map(end).fold(plan.reach, usize::max);
        Some(op)
    }

    fn find(&mut self, call: &KernelCall, frame: &Frame, plan: &mut Tiled) -> Option<MicroOp> {
        let (Action::Compute(_), Some(code), [out], false) =
            (&call.action, &call.code, call.results.as_slice(), call.canonical)
        else {
            return None;
        };
        let Tiled { buffers, functions, .. } = plan;
        let word = |part: &Part| {
            let byte = match buffers[part.buffer].place {
                Place::Arena(offset) => offset,
                Place::Task(offset) | Place::Tile(offset) => frame.arena + offset,
                Place::Home(_) => return None,
            };
            u32::try_from(byte / WORD).ok()
        };
        let (len, out) = (buffers[out.buffer].ty.shape.elements(), word(out)?);
        let function = self.of(code, functions)?;
        let single = &functions[function as usize].single;
        if len > single.most {
            return None;
        }
        // The primitive's operands that are no constants are the call's, in order.
        let mut operands = call.operands.iter();
        let mut x = [0; 3];
        for (x, _) in x.iter_mut().zip(single.bytes).filter(|(_, bytes)| *bytes > 0) {
            *x = word(operands.next()?)?;
        }
        Some(MicroOp { row: call.row, function, len: u32::try_from(len).ok()?, out, x })
    }
}
