//! Micro-ops as instructions.

use std::ops::Range;

use super::assembler::{Assembler, Gpr, Kind, MAGNITUDE, MOST_REGISTERS, ONE, Place, Reg, SIGN, Width};
use super::fuse::Fusion;
use super::stores::Stores;
use super::sums;
use super::vectors::{Arithmetic, Bits, Compare};
use super::verify::verify;
use crate::dtype::DType;
use crate::exec::frame::{Frame, POOL};
use crate::exec::memory::{Address, REGION};
use crate::exec::page::{Code, Page};
use crate::exec::plan::{Body, Function, Fused, Machined, MicroOp, Tiled, What};
use crate::ir::Primitive;
use crate::kernels::{Isa, Line, register};

/// Bytes of an array whose elements are all done one behind the other; longer ones are called for.
pub(super) const MOST: usize = 256;

/// Code of all micro-ops of a plan, each run of them a function of its own, and of its loops, verified; `None` where there is nothing of that
/// kind, or none for this processor.
pub(super) fn compile(frame: &Frame, plan: &Tiled) -> Option<Machined> {
    let (code, loops, end) = assembled(frame, plan)?;
    verify(plan, &code, &loops, end).ok()?;
    let mut begins = vec![None; plan.calls.len()];
    for (at, fused) in (0..).zip(&loops) {
        begins[fused.calls.start] = Some(at);
    }
    Some(Machined { page: Page::new(code)?, loops, begins })
}

/// That code, its loops, and where the instructions end.
pub(super) fn assembled(frame: &Frame, plan: &Tiled) -> Option<(Code, Vec<Fused>, usize)> {
    if frame.isa < Isa::Avx2 {
        return None;
    }
    let mut compiler = Compiler::new(frame, plan);
    let mut code = Code::default();
    if compiler.parts(&mut code).is_none() {
        (compiler, code) = (Compiler::new(frame, plan), Code::default());
    }
    let loops = compiler.loops()?;
    if code.parts.is_empty() && loops.is_empty() {
        return None;
    }
    let end = compiler.assembler.len();
    code.bytes = compiler.assembler.finish();
    Some((code, loops, end))
}

/// Some bytes of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) region: usize,
    pub(super) byte: usize,
    pub(super) bytes: usize,
}

impl Span {
    fn range(&self) -> Range<usize> {
        self.byte..self.byte + self.bytes
    }
    pub(super) fn meets(&self, other: &Self) -> bool {
        let (a, b) = (self.byte + self.bytes, other.byte + other.bytes);
        self.region == other.region && self.byte < b && other.byte < a
    }
}

/// As what a register holds something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Numbers,
    /// One number in all lanes, of so many bytes in all.
    Repeated(usize),
    /// Truth values as all bits or none of numbers of this kind.
    Mask(Kind),
}

/// What a register holds.
#[derive(Clone, Copy)]
struct Held {
    span: Span,
    form: Form,
    /// When it was last read or written; the register is not taken for another number of the same instruction.
    used: usize,
}

pub(super) struct Compiler<'a> {
    frame: &'a Frame,
    pub(super) plan: &'a Tiled,
    pub(super) assembler: Assembler,
    registers: [Option<Held>; MOST_REGISTERS],
    /// Counts pieces.
    clock: usize,
    /// Which values need be stored, if not all.
    stores: Option<Stores>,
}

/// An array cut into what registers hold: offsets in bytes, and widths.
fn pieces(widths: &'static [Width], double: bool, len: usize) -> impl Iterator<Item = (usize, Kind)> {
    let bytes = len * (4 << usize::from(double));
    let mut at = 0;
    std::iter::from_fn(move || {
        let kinds = widths.iter().map(|&width| Kind { double, width });
        let kind = kinds.into_iter().find(|kind| at + kind.bytes() <= bytes)?;
        at += kind.bytes();
        Some((at - kind.bytes(), kind))
    })
}

impl<'a> Compiler<'a> {
    fn new(frame: &'a Frame, plan: &'a Tiled) -> Self {
        let (assembler, registers) = (Assembler::new(frame.isa == Isa::Avx512), [None; MOST_REGISTERS]);
        Self { frame, plan, assembler, registers, clock: 0, stores: None }
    }

    /// All micro-ops; `None` where one calls a function that may be a user's: a panic in there could not pass through the code.
    fn parts(&mut self, code: &mut Code) -> Option<()> {
        if self.plan.micro.is_empty() {
            return Some(());
        }
        if self.plan.calls.is_empty() {
            // Nobody else reads what is in the thread's own memory: once to see what is read from there again, and once for good.
            self.stores = Some(Stores::new(self.plan.reach));
            self.part(0..self.plan.micro.len(), &mut Code::default())?;
            self.stores.iter_mut().for_each(Stores::again);
            self.assembler = Assembler::new(self.frame.isa == Isa::Avx512);
            return self.part(0..self.plan.micro.len(), code);
        }
        for tiles in &self.plan.loops {
            if let Body::Micro(ops) = &tiles.body {
                self.part(ops.clone(), code)?;
            }
        }
        Some(())
    }

    /// All loops of calls.
    fn loops(&mut self) -> Option<Vec<Fused>> {
        let (fusion, mut loops) = (Fusion::new(self.frame, self.plan), Vec::new());
        for group in &self.plan.groups {
            for tiles in &self.plan.loops[group.loops.clone()] {
                for (fused, steps) in fusion.of(group, tiles) {
                    let byte = u32::try_from(self.assembler.len()).ok().filter(|&at| at < 1 << 30)?;
                    steps.function(&mut self.assembler)?;
                    loops.push(Fused { byte, ..fused });
                }
            }
        }
        Some(loops)
    }

    /// Compiles some micro-ops as a function.
    fn part(&mut self, ops: Range<usize>, code: &mut Code) -> Option<()> {
        // Constants behind the code are told by distances of 31 bits.
        let here = |assembler: &Assembler| u32::try_from(assembler.len()).ok().filter(|&at| at < 1 << 30);
        code.parts.push((ops.clone(), here(&self.assembler)?));
        (self.registers, self.clock) = ([None; MOST_REGISTERS], 0);
        self.assembler.enter();
        self.assembler.word(Gpr::R14, Gpr::RBP, (POOL * REGION) as i32);
        let (mut at, end) = (ops.start, ops.end);
        while at < end {
            let (op, function) = (self.plan.micro[at], self.plan.described(at).1);
            let start = here(&self.assembler)?;
            let looped = self.run(at, end)?;
            // The first of a loop has its code.
            code.starts.extend(
                std::iter::once(start).chain((1..looped).map(|_| here(&self.assembler).unwrap_or(start))),
            );
            at += looped.max(1);
            if looped > 0 {
                continue;
            }
            if function.calls_out() {
                return None;
            }
            if !self.inline(&op, function)? {
                self.call(at - 1, &op, function)?;
            }
        }
        self.assembler.leave();
        Some(())
    }

    /// An op as instructions, if there are some for it.
    fn inline(&mut self, op: &MicroOp, function: &Function) -> Option<bool> {
        let len = op.len as usize;
        match &function.what {
            What::Map(code) => {
                let body = code.what.body()?;
                let [instruction] = body.instructions() else { return Some(false) };
                let primitive = instruction.primitive;
                // The type of the numbers, not of the outcome of a comparison.
                let last = instruction.operands[primitive.arity() - 1];
                let dtype = if let Primitive::Cast(to) = primitive { to } else { body.dtype(last).ok()? };
                let casts = matches!(primitive, Primitive::Cast(_)) && body.dtype(last).ok()? != DType::Bool;
                if !dtype.is_float() || len * dtype.bytes() > MOST || casts {
                    return Some(false);
                }
                if let Some((function, kind)) = self.special(primitive, dtype, len) {
                    return self.applied(function, kind, op).map(|()| true);
                }
                if !inlined(primitive) {
                    return Some(false);
                }
                for (offset, kind) in pieces(self.assembler.widths(), dtype == DType::F64, len) {
                    self.piece(primitive, kind, op, offset)?;
                }
            }
            What::Copy | What::Small(..) => {
                let size = usize::from(function.single.bytes[0]);
                let (line, elements) = match function.small() {
                    Some(small) if small.y.dtype.is_float() => (small.line(), small.x[0].shape.elements()),
                    Some(_) => (None, 0),
                    // Whatever the type, the same bits.
                    None => (Some(Line::Copy(0)).filter(|_| size > 1), len),
                };
                let Some(line) = line.filter(|_| len.max(elements) * size <= MOST) else {
                    return Some(false);
                };
                let double = size == 8;
                let (count, read, written) = match line {
                    Line::Sum if sums::fits(double, elements) => {
                        return self.sum(double, elements, op).map(|()| true);
                    }
                    Line::Sum => return Some(false),
                    Line::Copy(from) => (len, from * size, 0),
                    Line::Repeat(from) => (len, from * size, 0),
                    Line::Set(to) | Line::Add(to) => (elements, 0, to * size),
                };
                for (offset, kind) in pieces(self.assembler.widths(), double, count) {
                    self.begin();
                    let from = if let Line::Repeat(_) = line {
                        self.repeated(kind, op.x[0], read)?
                    } else {
                        self.value(kind, op.x[0], read + offset)?
                    };
                    let made = if let Line::Add(_) = line {
                        let old = self.value(kind, op.out, written + offset)?;
                        let to = self.free()?;
                        self.assembler.arithmetic(Arithmetic::Add, kind, to, old, Place::Register(from));
                        to
                    } else {
                        from
                    };
                    self.keep(kind, made, op.out, written + offset)?;
                }
            }
        }
        Some(true)
    }

    /// A primitive on the elements that a register holds.
    fn piece(&mut self, primitive: Primitive, kind: Kind, op: &MicroOp, offset: usize) -> Option<()> {
        self.begin();
        let mut x = [Reg(0); 3];
        for (i, (x, address)) in x.iter_mut().zip(op.x).take(primitive.arity()).enumerate() {
            let mask = i == 0 && matches!(primitive, Primitive::Select | Primitive::Cast(_));
            *x = if mask { self.mask(kind, address, offset)? } else { self.value(kind, address, offset)? };
        }
        if primitive == Primitive::Copy {
            return self.keep(kind, x[0], op.out, offset);
        }
        let to = self.free()?;
        let other = if spare(primitive) { self.free()? } else { to };
        operation(&mut self.assembler, primitive, kind, to, x, other)?;
        if compares(primitive) {
            self.keep_mask(kind, to, op.out, offset)
        } else {
            self.keep(kind, to, op.out, offset)
        }
    }

    /// Where the function of a register lies that a primitive is, if it is more than a few instructions and the array fills one register: of
    /// more, the one that goes through memory has them at once.
    fn special(&self, primitive: Primitive, dtype: DType, len: usize) -> Option<(u64, Kind)> {
        let mut all = pieces(self.assembler.widths(), dtype == DType::F64, len);
        let (only, None) = (all.next()?, all.next()) else { return None };
        let isa = if only.1.width == Width::Wide { Isa::Avx512 } else { Isa::Avx2 };
        register(primitive, dtype, isa).map(|function| (function as u64, only.1))
    }

    /// Such a function of an array: in and out of the first register, and no other keeps what it held.
    fn applied(&mut self, function: u64, kind: Kind, op: &MicroOp) -> Option<()> {
        self.begin();
        let x = self.value(kind, op.x[0], 0)?;
        if x != Reg(0) {
            self.assembler.copy(kind, Reg(0), x);
        }
        self.forget();
        self.assembler.call_register(function);
        self.keep(kind, Reg(0), op.out, 0)
    }

    /// A call of the function that an op is.
    fn call(&mut self, at: usize, op: &MicroOp, function: &Function) -> Option<()> {
        let addresses = self.plan.addresses;
        let span = |(address, bytes)| {
            let (region, byte) = addresses.place(address);
            Span { region, byte, bytes }
        };
        for read in self.plan.operands(at).map(span).collect::<Vec<_>>() {
            self.read(read);
        }
        let out = span(self.plan.result(at));
        if function.small().is_some_and(|small| small.changes()) {
            self.read(out);
        }
        if let Some(stores) = &mut self.stores {
            stores.written(out.range(), None);
        }
        self.forget();
        self.assembler.forget_upper();
        let arguments = [Gpr::RDI, Gpr::RSI, Gpr::RDX, Gpr::RCX];
        for (to, address) in arguments.into_iter().zip(op.x.into_iter().chain([op.out])) {
            match self.place(address, 0)? {
                Place::Memory(base, offset) => self.assembler.address(to, base, offset),
                _ => return None,
            }
        }
        self.assembler.call(op.function as usize as u64, op.len);
        Some(())
    }

    /// Forgets what registers hold.
    pub(super) fn forget(&mut self) {
        self.registers = [None; MOST_REGISTERS];
    }

    /// Begins a piece: what it needs stays in registers until it is done.
    pub(super) fn begin(&mut self) {
        self.clock += 1;
    }

    /// A register that holds nothing that this piece needs: an empty one, or that of what was not read for longest.
    pub(super) fn free(&mut self) -> Option<Reg> {
        let age = |n: &usize| self.registers[*n].map_or(0, |held| held.used);
        let n = (0..self.assembler.registers()).min_by_key(age)?;
        if self.registers[n].is_some_and(|held| held.used == self.clock) {
            return None;
        }
        // Nowhere in memory, until it is kept.
        let span = Span { region: usize::MAX, byte: 0, bytes: 0 };
        self.registers[n] = Some(Held { span, form: Form::Numbers, used: self.clock });
        Some(Reg(n as u8))
    }

    /// Where a byte of an array lies.
    fn place(&mut self, address: Address, offset: usize) -> Option<Place> {
        let (region, byte) = self.plan.addresses.place(address);
        let offset = i32::try_from(byte + offset).ok()?;
        Some(Place::Memory(self.assembler.region(region), offset))
    }

    fn span(&self, kind: Kind, address: Address, offset: usize) -> Span {
        let (region, byte) = self.plan.addresses.place(address);
        Span { region, byte: byte + offset, bytes: kind.bytes() }
    }

    /// Notes that what was stored there is read from memory.
    pub(super) fn read(&mut self, span: Span) {
        if let Some(stores) = self.stores.as_mut().filter(|_| span.region == 0) {
            stores.read(span.range());
        }
    }

    fn held(&mut self, span: Span, form: Form) -> Option<Reg> {
        let same = |held: &Option<Held>| held.is_some_and(|held| held.span == span && held.form == form);
        let n = self.registers.iter().position(same)?;
        self.registers[n].as_mut()?.used = self.clock;
        Some(Reg(n as u8))
    }

    /// A register for what lies in memory, which is read there: it, and the place.
    fn fetched(&mut self, span: Span, form: Form, address: Address, offset: usize) -> Option<(Reg, Place)> {
        self.read(span);
        let to = self.free()?;
        let from = self.place(address, offset)?;
        self.registers[usize::from(to.0)] = Some(Held { span, form, used: self.clock });
        Some((to, from))
    }

    /// A register with some elements of an array.
    pub(super) fn value(&mut self, kind: Kind, address: Address, offset: usize) -> Option<Reg> {
        let span = self.span(kind, address, offset);
        if let Some(reg) = self.held(span, Form::Numbers) {
            return Some(reg);
        }
        let (to, from) = self.fetched(span, Form::Numbers, address, offset)?;
        self.assembler.load(kind, to, from);
        Some(to)
    }

    /// The truth values of as many elements: where they lie, and what.
    fn truths(&self, kind: Kind, address: Address, offset: usize) -> (Span, usize) {
        let (region, byte) = self.plan.addresses.place(address);
        let size = 4 << usize::from(kind.double);
        (Span { region, byte: byte + offset / size, bytes: kind.bytes() / size }, offset / size)
    }

    /// A register with truth values, as masks of numbers of this kind.
    fn mask(&mut self, kind: Kind, address: Address, offset: usize) -> Option<Reg> {
        let (span, offset) = self.truths(kind, address, offset);
        if let Some(reg) = self.held(span, Form::Mask(kind)) {
            return Some(reg);
        }
        let zero = self.free()?;
        let (to, from) = self.fetched(span, Form::Mask(kind), address, offset)?;
        self.assembler.load_mask(kind, to, zero, from);
        Some(to)
    }

    /// Stores masks as truth values, if anybody reads them there, and remembers that a register holds them.
    fn keep_mask(&mut self, kind: Kind, from: Reg, address: Address, offset: usize) -> Option<()> {
        let (span, offset) = self.truths(kind, address, offset);
        if self.stores(span) {
            let (low, to) = (self.free()?, self.place(address, offset)?);
            self.assembler.store_mask(kind, from, low, to);
        } else {
            // As if it were needed, so that the registers are the same.
            self.free()?;
        }
        self.holds(from, span, Form::Mask(kind));
        Some(())
    }

    /// A register with one number of an array in all lanes.
    fn repeated(&mut self, kind: Kind, address: Address, offset: usize) -> Option<Reg> {
        let one = Kind { width: Width::One, ..kind };
        let span = self.span(one, address, offset);
        let form = Form::Repeated(kind.bytes());
        if let Some(reg) = self.held(span, form) {
            return Some(reg);
        }
        let (to, from) = self.fetched(span, form, address, offset)?;
        self.assembler.repeat(kind, to, from);
        Some(to)
    }

    /// Stores a register as elements of an array, if anybody reads them there, and remembers that it holds them.
    pub(super) fn keep(&mut self, kind: Kind, from: Reg, address: Address, offset: usize) -> Option<()> {
        let span = self.span(kind, address, offset);
        if self.stores(span) {
            let to = self.place(address, offset)?;
            self.assembler.store(kind, from, to);
        }
        self.holds(from, span, Form::Numbers);
        Some(())
    }

    /// Whether what is made there is stored.
    pub(super) fn stores(&mut self, span: Span) -> bool {
        // What lies elsewhere than in the thread's own memory outlives the run.
        let outlives = span.byte < self.frame.arena;
        self.stores.as_mut().is_none_or(|stores| stores.next(span.range(), outlives))
    }

    /// Remembers what a register holds, and that nothing holds what was there.
    fn holds(&mut self, reg: Reg, span: Span, form: Form) {
        for held in &mut self.registers {
            if held.is_some_and(|held| held.span.meets(&span)) {
                *held = None;
            }
        }
        // A copy of what is elsewhere too counts as the newer.
        self.registers[usize::from(reg.0)] = Some(Held { span, form, used: self.clock });
    }
}

/// Whether the instructions of a primitive make all bits or none, for numbers of the operands' type.
pub(super) fn compares(primitive: Primitive) -> bool {
    matches!(primitive, Primitive::Less | Primitive::LessEqual | Primitive::Equal)
}

/// Whether the instructions of a primitive need a register besides that of the result.
pub(super) fn spare(primitive: Primitive) -> bool {
    matches!(primitive, Primitive::Max | Primitive::Min | Primitive::GatedMul(1 | 2))
}

/// A primitive of what some registers hold, into another; `spare` may be overwritten.
pub(super) fn operation(
    asm: &mut Assembler,
    primitive: Primitive,
    kind: Kind,
    to: Reg,
    [a, b, c]: [Reg; 3],
    spare: Reg,
) -> Option<()> {
    let place = Place::Register;
    let constant = |which: [usize; 2]| Place::Constant(which[usize::from(kind.double)]);
    match primitive {
        Primitive::Add => asm.arithmetic(Arithmetic::Add, kind, to, a, place(b)),
        Primitive::Sub => asm.arithmetic(Arithmetic::Sub, kind, to, a, place(b)),
        Primitive::Mul | Primitive::GatedMul(0) => asm.arithmetic(Arithmetic::Mul, kind, to, a, place(b)),
        Primitive::Div => asm.arithmetic(Arithmetic::Div, kind, to, a, place(b)),
        Primitive::Neg => asm.bits(Bits::Xor, kind, to, a, constant(SIGN)),
        Primitive::Abs => asm.bits(Bits::And, kind, to, a, constant(MAGNITUDE)),
        Primitive::Sqrt => asm.sqrt(kind, to, a),
        Primitive::Round => asm.round(kind, false, to, a),
        Primitive::Floor => asm.round(kind, true, to, a),
        Primitive::MulAdd => {
            asm.copy(kind, to, c);
            asm.fused(kind, to, a, b);
        }
        // Where one is NaN, or both are zero, the processor takes the second: right but for a NaN that is the first.
        Primitive::Max | Primitive::Min => {
            let which = if primitive == Primitive::Max { Arithmetic::Max } else { Arithmetic::Min };
            asm.arithmetic(which, kind, to, a, place(b));
            asm.compare(Compare::Unordered, kind, spare, a, a);
            asm.blend(kind, to, to, a, spare);
        }
        // A zero of the operand that is a gate stands for itself; a NaN gives one whichever way.
        Primitive::GatedMul(gate @ (1 | 2)) => {
            let own = if gate == 1 { a } else { b };
            asm.bits(Bits::Xor, kind, to, to, place(to));
            asm.bits(Bits::And, kind, spare, own, constant(MAGNITUDE));
            asm.compare(Compare::Less, kind, spare, to, spare);
            asm.arithmetic(Arithmetic::Mul, kind, to, a, place(b));
            asm.blend(kind, to, own, to, spare);
        }
        Primitive::Select => asm.blend(kind, to, c, b, a),
        Primitive::Cast(_) => asm.bits(Bits::And, kind, to, a, constant(ONE)),
        Primitive::Less => asm.compare(Compare::Less, kind, to, a, b),
        Primitive::LessEqual => asm.compare(Compare::LessEqual, kind, to, a, b),
        Primitive::Equal => asm.compare(Compare::Equal, kind, to, a, b),
        Primitive::Copy => asm.copy(kind, to, a),
        _ => return None,
    }
    Some(())
}

/// Whether there are instructions for a primitive.
pub(super) fn inlined(primitive: Primitive) -> bool {
    use Primitive::{
        Abs, Add, Cast, Copy, Div, Equal, Floor, GatedMul, Less, LessEqual, Max, Min, Mul, MulAdd, Neg,
        Round, Select, Sqrt, Sub,
    };
    match primitive {
        Add | Sub | Mul | Div | Neg | Abs | Sqrt | Round | Floor | MulAdd | Max | Min | Copy => true,
        Less | LessEqual | Equal | Select | Cast(_) => true,
        GatedMul(gates) => gates < 3,
        _ => false,
    }
}
