//! Micro-ops: maps of one primitive, views and sums of small arrays, in few bytes. A program of small arrays is as fast as its calls can be read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{KernelCall, Part, Tiled};
use crate::exec::code::Code;
use crate::exec::frame::Frame;
use crate::exec::graph::{Action, WriteMode};
use crate::exec::memory::Spot;
use crate::exec::place::{Place, WORD};
use crate::kernels::{Isa, Single, Small};
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
    /// Where the result lies in the arena, in words.
    pub(in crate::exec) out: u32,
    /// Where the operands lie, but for constants of the function: in which regions, and in words.
    pub(in crate::exec) regions: [u16; 3],
    pub(in crate::exec) x: [u32; 3],
}

impl MicroOp {
    /// Bytes that it reads and writes, and the function.
    pub(in crate::exec) fn bytes<'a>(&self, plan: &'a Tiled) -> (usize, &'a Function) {
        let function = &plan.functions[self.function as usize];
        let read: usize = self.operands(function).map(|(_, bytes)| bytes).sum();
        (read + self.len as usize * usize::from(function.single.result), function)
    }

    /// Where an operand lies.
    #[inline(always)]
    pub(in crate::exec) fn spot(&self, o: usize) -> Spot {
        Spot { region: self.regions[o], word: self.x[o] }
    }

    /// Where its operands lie, and their bytes.
    pub(in crate::exec) fn operands(
        &self,
        function: &Function,
    ) -> impl Iterator<Item = (Spot, usize)> + use<> {
        let (len, all) = (self.len as usize, function.small.as_ref().map(|small| small.x.bytes()));
        let bytes = move |each: u8| all.unwrap_or(len * usize::from(each));
        let spots = [0, 1, 2].map(|o| self.spot(o));
        let operands = spots.into_iter().zip(function.single.bytes).filter(|(_, each)| *each > 0);
        operands.map(move |(spot, each)| (spot, bytes(each)))
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
        let end = |(word, bytes): (u32, usize)| word as usize * WORD + bytes;
        let read = op.operands(function).filter(|(x, _)| x.region == 0).map(|(x, bytes)| (x.word, bytes));
        let touched = read.chain([(op.out, op.len as usize * usize::from(function.single.result))]);
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
        let spot = |part: &Part| {
            let (region, byte) = match buffers[part.buffer].place {
                Place::Arena(offset) => (0, offset),
                Place::Task(offset) | Place::Tile(offset) => (0, frame.arena + offset),
                Place::Home(home) => (frame.region(home), 0),
            };
            Some(Spot { region: u16::try_from(region).ok()?, word: u32::try_from(byte / WORD).ok()? })
        };
        // Of what lies elsewhere only reading is free.
        let out_spot = spot(out).filter(|spot| spot.region == 0)?;
        let y = &buffers[out.buffer].ty;
        let len = y.shape.elements();
        let x = call.operands.first().map_or(y, |part| &buffers[part.buffer].ty);
        // Operands that are read where they lie may have other elements than these.
        let whole = |part: &Part| buffers[part.buffer].len == buffers[part.buffer].ty.shape.elements();
        if !call.operands.iter().all(whole) {
            return None;
        }
        let function = self.of(code, [x, y], frame.isa, functions)?;
        let single = &functions[function as usize].single;
        if len > single.most {
            return None;
        }
        // The function's operands that are no constants are the call's, in order.
        let mut operands = call.operands.iter();
        let (mut regions, mut x) = ([0; 3], [0; 3]);
        for o in (0..3).filter(|&o| single.bytes[o] > 0) {
            Spot { region: regions[o], word: x[o] } = spot(operands.next()?)?;
        }
        let len = u32::try_from(len).ok()?;
        Some(MicroOp { row: call.row, function, len, out: out_spot.word, regions, x })
    }
}
