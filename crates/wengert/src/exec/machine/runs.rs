//! Micro-ops of arrays that are too long for registers: neighbours of one length are one loop, like calls.

use super::assembler::Base;
use super::compiler::{Compiler, MOST, Span, compares, inlined};
use super::loops::{Loop, Source};
use super::streams::{Extent, Memory, Open};
use crate::dtype::DType;
use crate::exec::memory::Address;
use crate::exec::plan::What;
use crate::ir::Primitive;
use crate::kernels::Line;

/// Steps of a loop, at most.
const STEPS: usize = 64;

/// A loop of micro-ops in the making.
#[derive(Default)]
struct Ops {
    double: bool,
    /// Elements of all arrays.
    len: usize,
    open: Open,
}

impl Ops {
    /// Whether arrays of floats of this type and so many elements may be in it.
    fn fits(&mut self, double: bool, len: usize) -> Option<()> {
        if self.open.steps.is_empty() {
            *self = Self { double, len, open: Open::default() };
        }
        let long = len * (4 << usize::from(double)) > MOST;
        (long && self.len == len && self.double == double).then_some(())
    }
}

impl Compiler<'_> {
    /// Compiles the micro-ops from one on that are a loop; how many.
    pub(super) fn run(&mut self, from: usize, end: usize) -> Option<usize> {
        let mut ops = Ops::default();
        let mut at = from;
        while at < end && ops.open.steps.len() < STEPS && self.add(&mut ops, at).is_some() {
            at += 1;
        }
        if at == from {
            return Some(0);
        }
        let Ops { double, len, open } = ops;
        let (mut spans, mut streams) = (Vec::new(), Vec::new());
        for Extent { memory, start, end, truth, .. } in open.extents() {
            let Memory::Region(region) = memory else { return None };
            spans.push(Span { region, byte: start, bytes: end - start });
            streams.push((Base::Region(region, i32::try_from(start).ok()?), truth));
        }
        let mut steps = open.steps;
        // What is read from memory, and what need be stored, in the order of the micro-ops.
        for step in &mut steps {
            for x in &step.x[..step.primitive.arity()] {
                if let Source::Stream(stream) = x {
                    self.read(spans[*stream]);
                }
            }
            if let Some(stream) = step.to
                && !self.stores(spans[stream])
            {
                step.to = None;
            }
        }
        self.forget();
        self.assembler.second(u32::try_from(len).ok()?);
        Loop { double, steps, streams }.assemble(&mut self.assembler)?;
        Some(at - from)
    }

    /// Adds a micro-op to a loop, if it is one of those.
    fn add(&self, ops: &mut Ops, at: usize) -> Option<()> {
        let (op, function) = (self.plan.micro[at], self.plan.described(at).1);
        let bytes = usize::from(function.single.bytes[0]);
        match &function.what {
            What::Map(code) => {
                let body = code.what.body()?;
                let [instruction] = body.instructions() else { return None };
                let primitive = instruction.primitive;
                let last = instruction.operands[primitive.arity() - 1];
                let dtype = if let Primitive::Cast(to) = primitive { to } else { body.dtype(last).ok()? };
                let casts = matches!(primitive, Primitive::Cast(_)) && body.dtype(last).ok()? != DType::Bool;
                if !dtype.is_float() || !inlined(primitive) || casts {
                    return None;
                }
                let double = dtype == DType::F64;
                ops.fits(double, op.len as usize)?;
                let mut x = [Source::Number(0); 3];
                for (i, (x, address)) in x.iter_mut().zip(op.x).take(primitive.arity()).enumerate() {
                    let truth = i == 0 && matches!(primitive, Primitive::Select | Primitive::Cast(_));
                    *x = ops.open.read(self.extent(ops, (address, 0), truth))?;
                }
                ops.open.write(primitive, x, self.extent(ops, (op.out, 0), compares(primitive)))
            }
            What::Copy if bytes >= 4 => {
                ops.fits(bytes == 8, op.len as usize)?;
                self.moved(ops, (op.x[0], 0), (op.out, 0), false)
            }
            What::Copy => None,
            What::Small(..) => {
                let small = function.small().filter(|small| small.y.dtype.is_float())?;
                let (from, to, len, adds) = match small.line()? {
                    Line::Copy(from) => (from * bytes, 0, op.len as usize, false),
                    Line::Set(to) => (0, to * bytes, small.x[0].shape.elements(), false),
                    Line::Add(to) => (0, to * bytes, small.x[0].shape.elements(), true),
                    Line::Repeat(_) | Line::Sum => return None,
                };
                ops.fits(bytes == 8, len)?;
                self.moved(ops, (op.x[0], from), (op.out, to), adds)
            }
        }
    }

    fn moved(&self, ops: &mut Ops, from: (Address, usize), to: (Address, usize), adds: bool) -> Option<()> {
        let to = self.extent(ops, to, false);
        let x = ops.open.read(self.extent(ops, from, false))?;
        if !adds {
            return ops.open.write(Primitive::Copy, [x; 3], to);
        }
        let old = ops.open.read(to)?;
        ops.open.write(Primitive::Add, [old, x, x], to)
    }

    /// Where an array of a loop lies, from a byte behind an address on.
    fn extent(&self, ops: &Ops, (address, offset): (Address, usize), truth: bool) -> Extent {
        let (region, byte) = self.plan.addresses.place(address);
        let size = if truth { 1 } else { 4 << usize::from(ops.double) };
        let (start, bytes) = (byte + offset, ops.len * size);
        Extent { memory: Memory::Region(region), start, end: start + bytes, chunk: bytes, truth }
    }
}
