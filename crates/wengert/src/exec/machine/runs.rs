//! Micro-ops of arrays that are too long for registers: neighbours of one length are one loop, like calls.

use super::assembler::Base;
use super::compiler::{Compiler, MOST, Span, compares, inlined};
use super::loops::{Loop, Source, Step};
use crate::dtype::DType;
use crate::exec::memory::Address;
use crate::exec::plan::What;
use crate::ir::Primitive;
use crate::kernels::Line;

/// Steps of a loop, at most.
const STEPS: usize = 64;

/// A loop of micro-ops in the making.
#[derive(Default)]
struct Open {
    code: Loop,
    /// Elements of all arrays.
    len: usize,
    spans: Vec<Span>,
    written: Vec<bool>,
    values: Vec<Source>,
}

impl Compiler<'_> {
    /// Compiles the micro-ops from one on that are a loop; how many.
    pub(super) fn run(&mut self, from: usize, end: usize) -> Option<usize> {
        let mut open = Open::default();
        let mut at = from;
        while at < end && open.code.steps.len() < STEPS && self.add(&mut open, at).is_some() {
            at += 1;
        }
        if at == from {
            return Some(0);
        }
        let Open { mut code, len, spans, .. } = open;
        // What is read from memory, and what need be stored, in the order of the micro-ops.
        for step in &mut code.steps {
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
        code.assemble(&mut self.assembler)?;
        Some(at - from)
    }

    /// Adds a micro-op to a loop, if it is one of those.
    fn add(&self, open: &mut Open, at: usize) -> Option<()> {
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
                self.fits(open, double, op.len as usize)?;
                let mut x = [Source::Number(0); 3];
                for (i, (x, address)) in x.iter_mut().zip(op.x).take(primitive.arity()).enumerate() {
                    let truth = i == 0 && matches!(primitive, Primitive::Select | Primitive::Cast(_));
                    let stream = self.stream(open, address, 0, truth, false)?;
                    *x = open.values[stream];
                }
                self.made(open, primitive, x, op.out, 0, compares(primitive))
            }
            What::Copy if bytes >= 4 => {
                self.fits(open, bytes == 8, op.len as usize)?;
                self.moved(open, (op.x[0], 0), (op.out, 0), false)
            }
            What::Copy => None,
            What::Small(..) => {
                let small = function.small().filter(|small| small.x.dtype.is_float())?;
                let (from, to, len, adds) = match small.line()? {
                    Line::Copy(from) => (from * bytes, 0, op.len as usize, false),
                    Line::Set(to) => (0, to * bytes, small.x.shape.elements(), false),
                    Line::Add(to) => (0, to * bytes, small.x.shape.elements(), true),
                    Line::Repeat(_) => return None,
                };
                self.fits(open, bytes == 8, len)?;
                self.moved(open, (op.x[0], from), (op.out, to), adds)
            }
        }
    }

    /// Whether arrays of floats of this type and so many elements may be in a loop.
    fn fits(&self, open: &mut Open, double: bool, len: usize) -> Option<()> {
        if open.code.steps.is_empty() {
            *open = Open { len, ..Open::default() };
            open.code.double = double;
        }
        let long = len * (4 << usize::from(double)) > MOST;
        (long && open.len == len && open.code.double == double).then_some(())
    }

    fn moved(&self, open: &mut Open, from: (Address, usize), to: (Address, usize), adds: bool) -> Option<()> {
        let stream = self.stream(open, from.0, from.1, false, false)?;
        let x = open.values[stream];
        if !adds {
            return self.made(open, Primitive::Copy, [x; 3], to.0, to.1, false);
        }
        let stream = self.stream(open, to.0, to.1, false, false)?;
        let old = open.values[stream];
        self.made(open, Primitive::Add, [old, x, x], to.0, to.1, false)
    }

    fn made(
        &self,
        open: &mut Open,
        primitive: Primitive,
        x: [Source; 3],
        to: Address,
        offset: usize,
        truth: bool,
    ) -> Option<()> {
        let stream = self.stream(open, to, offset, truth, true)?;
        open.values[stream] = Source::Made(open.code.steps.len());
        open.code.steps.push(Step { primitive, x, to: Some(stream) });
        Some(())
    }

    /// An array among those of a loop; `None` where it would meet others in other elements.
    fn stream(
        &self,
        open: &mut Open,
        address: Address,
        offset: usize,
        truth: bool,
        writes: bool,
    ) -> Option<usize> {
        let (region, byte) = self.plan.addresses.place(address);
        let byte = byte + offset;
        let size = if truth { 1 } else { 4 << usize::from(open.code.double) };
        let span = Span { region, byte, bytes: open.len * size };
        let known =
            open.spans.iter().zip(&open.code.streams).position(|(s, (_, t))| *s == span && *t == truth);
        let mut others = open.spans.iter().zip(&open.written).enumerate();
        let met =
            others.any(|(i, (other, written))| (writes || *written) && Some(i) != known && span.meets(other));
        if met {
            return None;
        }
        let at = match known {
            Some(at) => at,
            None => {
                open.code.streams.push((Base::Region(region, i32::try_from(byte).ok()?), truth));
                open.spans.push(span);
                open.written.push(false);
                open.values.push(Source::Stream(open.spans.len() - 1));
                open.spans.len() - 1
            }
        };
        open.written[at] |= writes;
        Some(at)
    }
}
