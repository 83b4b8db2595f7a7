//! Whether machine code may be run: its bytes are read back, without the help of what made them, and every address, call and jump in them is
//! held against the verified plan.
//!
//! A function of micro-ops reads and writes only what its micro-ops do, each in its own instructions, and calls only their functions with their
//! own arguments; a loop reads only operands and writes only results of its calls, no element beyond their number; jumps stay within a loop,
//! and what is moved to the stack within the room made there. What a code computes is not looked into: that is for tests.

use std::collections::HashSet;

use super::compiler::Span;
use crate::dtype::DType;
use crate::exec::frame::POOL;
use crate::exec::memory::REGION;
use crate::exec::page::Code;
use crate::exec::plan::{Fused, Tiled};
use crate::ir::Primitive;
use crate::kernels::{Fixed, Isa, register};

/// Why code is refused.
pub(super) type Check<T = ()> = Result<T, &'static str>;

/// What a general register holds.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    Unknown,
    /// Where this region begins.
    Region(usize),
    Regions,
    /// Where this one of a loop's arrays begins.
    Array(usize),
    Arrays,
    Address(usize, i64),
    Function(u64),
    Number(u32),
    /// How many elements a loop is over.
    Elements,
}

/// What an instruction touches.
#[derive(Clone, Copy)]
struct Operand {
    base: u8,
    offset: i64,
    /// Of an element of a loop its bytes.
    element: Option<u64>,
}

/// What may be touched by the code at hand.
enum Allowed<'a> {
    /// Operands and results of micro-ops, and how many elements a loop is over.
    Micro { reads: &'a [Span], writes: &'a [Span] },
    /// By array: bytes of an element, whether it is read, and whether it is written.
    Arrays(&'a [(u64, bool, bool)]),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: [Value; 16],
    /// Room on the stack.
    room: i64,
    /// Whether the function began by keeping registers, which it gives back at its end.
    keeps: bool,
    /// Where instructions of the loop at hand begin, and where its jumps go.
    begins: Vec<usize>,
    jumps: Vec<usize>,
    /// Elements of a vector of the loop at hand, as told before it and after each turn; and those of what it touches.
    lanes: u64,
    touched: Vec<u64>,
    /// Where constants begin.
    constants: usize,
}

const RCX: u8 = 1;
const RSP: u8 = 4;
const RSI: usize = 6;
const RDI: usize = 7;
const R8: usize = 8;

/// Checks the code of some micro-ops, and of loops of calls; `end` is where its instructions end.
pub(super) fn verify(plan: &Tiled, code: &Code, loops: &[Fused], end: usize) -> Check {
    let fresh = |at: u32| Reader {
        bytes: &code.bytes,
        at: at as usize,
        values: [Value::Unknown; 16],
        room: 0,
        keeps: false,
        begins: Vec::new(),
        jumps: Vec::new(),
        lanes: 0,
        touched: Vec::new(),
        constants: end.next_multiple_of(32),
    };
    let special: HashSet<u64> = special().collect();
    for (ops, byte) in &code.parts {
        let mut reader = fresh(*byte);
        (reader.values[RDI], reader.values[RSI]) = (Value::Region(0), Value::Regions);
        let starts = code.starts.get(ops.clone()).ok_or("micro-ops without code")?;
        let (mut reads, mut writes, mut at) = (Vec::new(), Vec::new(), 0);
        loop {
            if starts.get(at).is_some_and(|&start| start as usize <= reader.at) {
                let begun = starts[at..].iter().take_while(|&&start| start as usize <= reader.at).count();
                at += begun;
                // Those that begin where this one ends may be one loop with it.
                let next = starts.get(at);
                let loops = starts[at..].iter().take_while(|&start| Some(start) == next).count();
                reads.clear();
                writes.clear();
                for op in ops.start + at - 1..ops.start + at + loops {
                    let span = |(address, bytes)| {
                        let (region, byte) = plan.addresses.place(address);
                        Span { region, byte, bytes }
                    };
                    let result = span(plan.result(op));
                    writes.push(result);
                    reads.extend(plan.operands(op).map(span).chain([result]).chain(constants(plan, op)));
                }
            }
            let allowed = Allowed::Micro { reads: &reads, writes: &writes };
            match reader.instruction(&allowed)? {
                Done::Call(function) if special.contains(&function) => reader.called(),
                Done::Call(function) => {
                    let op = at.checked_sub(1).and_then(|at| plan.micro.get(ops.start + at));
                    let op = op.ok_or("a call of no micro-op")?;
                    let own = op.x.into_iter().chain([op.out]).map(|address| {
                        let (region, byte) = plan.addresses.place(address);
                        Value::Address(region, byte as i64)
                    });
                    let given = [7, 6, 2, 1].map(|register| reader.values[register]);
                    let same = own.eq(given) && reader.values[R8] == Value::Number(op.len);
                    if function != op.function as usize as u64 || !same {
                        return Err("a call of another function, or with other arguments");
                    }
                    reader.called();
                }
                Done::Return => break,
                Done::Next => {}
            }
        }
        if at != starts.len() {
            return Err("code that ends before its micro-ops do");
        }
    }
    for fused in loops {
        let calls = plan.calls.get(fused.calls.clone()).ok_or("a loop of no calls")?;
        let arrays: Vec<(u64, bool, bool)> = fused
            .streams
            .iter()
            .map(|part| {
                // Buffers in one place are one array.
                let lies = |buffer| {
                    let placed = &plan.buffers[buffer];
                    (placed.place, placed.first, placed.ty.dtype)
                };
                let own = lies(part.buffer);
                let result = calls.iter().flat_map(|call| &call.results).any(|r| lies(r.buffer) == own);
                let operand = calls.iter().flat_map(|call| &call.operands).any(|o| lies(o.buffer) == own);
                (own.2.bytes() as u64, operand || result, result)
            })
            .collect();
        let mut reader = fresh(fused.byte);
        (reader.values[RDI], reader.values[RSI]) = (Value::Arrays, Value::Elements);
        loop {
            match reader.instruction(&Allowed::Arrays(&arrays))? {
                Done::Call(_) => return Err("a call in a loop of calls"),
                Done::Return => break,
                Done::Next => {}
            }
        }
    }
    Ok(())
}

/// Functions of a register, which touch no memory that anybody else has.
fn special() -> impl Iterator<Item = u64> {
    let types = Primitive::SPECIAL.into_iter().flat_map(|p| [DType::F32, DType::F64].map(|dtype| (p, dtype)));
    let sets = types.flat_map(|(p, dtype)| [Isa::Avx2, Isa::Avx512].map(|isa| register(p, dtype, isa)));
    sets.flatten().map(|function| function as u64)
}

/// The constants that a micro-op has in the pool.
fn constants(plan: &Tiled, op: usize) -> impl Iterator<Item = Span> + '_ {
    let (op, function) = (plan.micro[op], plan.described(op).1);
    let own = op.x.into_iter().zip(function.single.fixed);
    own.filter(|(_, fixed)| matches!(fixed, Fixed::Constant(_))).map(move |(address, _)| {
        let (region, byte) = plan.addresses.place(address);
        // Whole registers of them.
        Span { region, byte, bytes: 8 * (op.len as usize).next_multiple_of(8) }
    })
}

enum Done {
    Next,
    Call(u64),
    Return,
}

impl Reader<'_> {
    fn byte(&mut self) -> Check<u8> {
        let byte = self.bytes.get(self.at).copied().ok_or("code without an end")?;
        self.at += 1;
        Ok(byte)
    }

    fn number<const N: usize>(&mut self) -> Check<i64> {
        let mut number = [0; 8];
        for byte in &mut number[..N] {
            *byte = self.byte()?;
        }
        let unused = 64 - 8 * N as u32;
        Ok(i64::from_le_bytes(number) << unused >> unused)
    }

    /// Whether these bytes come next; then they are read.
    fn next(&mut self, bytes: &[u8]) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(bytes));
        self.at += if found { bytes.len() } else { 0 };
        found
    }

    /// Of what a call leaves the caller's registers are its own no more.
    fn called(&mut self) {
        for register in [0, 1, 2, 6, 7, 8, 9, 10, 11] {
            self.values[register] = Value::Unknown;
        }
    }

    /// One instruction.
    fn instruction(&mut self, allowed: &Allowed<'_>) -> Check<Done> {
        if self.lanes > 0 {
            self.begins.push(self.at);
        }
        if self.next(&[0xc5, 0xf8, 0x77]) {
        } else if let Some(encoding @ (0x62 | 0xc4 | 0xc5)) = self.bytes.get(self.at).copied() {
            // Most are of this kind.
            self.at += 1;
            if let Some((operand, bytes, writes)) = self.vector(encoding)? {
                self.touch(operand, bytes, writes, allowed)?;
            }
        } else if self.next(&[0x53, 0x55, 0x41, 0x56, 0x48, 0x89, 0xfb, 0x48, 0x89, 0xf5]) {
            (self.values[3], self.values[5]) = (self.values[RDI], self.values[RSI]);
            if std::mem::replace(&mut self.keeps, true) || self.room != 0 {
                return Err("a function within a function");
            }
        } else if self.next(if self.keeps { &[0x41, 0x5e, 0x5d, 0x5b, 0xc3] } else { &[0xc3] }) {
            let open = self.room != 0 || !self.jumps.is_empty() || !self.touched.is_empty();
            return if open { Err("a return out of a loop") } else { Ok(Done::Return) };
        } else if self.next(&[0x41, 0xb8]) {
            self.values[R8] = Value::Number(self.number::<4>()? as u32);
        } else if self.next(&[0x48, 0xb8]) {
            self.values[0] = Value::Function(self.number::<8>()? as u64);
        } else if self.next(&[0xff, 0xd0]) {
            let Value::Function(function) = self.values[0] else { return Err("a call of no function") };
            return Ok(Done::Call(function));
        } else if self.next(&[0xbe]) {
            self.values[RSI] = Value::Number(self.number::<4>()? as u32);
        } else if self.next(&[0x48, 0x81, 0xec]) {
            self.room = self.number::<4>()?;
        } else if self.next(&[0x48, 0x81, 0xc4]) {
            let same = self.number::<4>()? == std::mem::take(&mut self.room);
            let jumps = std::mem::take(&mut self.jumps);
            self.lanes = 0;
            if !same || !jumps.iter().all(|jump| self.begins.contains(jump)) {
                return Err("a loop that jumps elsewhere, or leaves something on the stack");
            }
        } else if self.next(&[0x31, 0xc9]) {
            // As many as any: those that come are fewer.
            self.lanes = 1 << 8;
            self.begins.clear();
        } else if self.next(&[0x48, 0x39, 0xd1, 0x0f, 0x83]) {
            let jump = self.number::<4>()? + self.at as i64;
            self.jumps.push(usize::try_from(jump).map_err(|_| "a jump to nowhere")?);
        } else if self.next(&[0x48, 0x83, 0xc1]) {
            let step = self.number::<1>()? as u64;
            let alike = std::mem::take(&mut self.touched).iter().all(|&lanes| lanes == step);
            let back = self.next(&[0x48, 0x39, 0xd1, 0x0f, 0x82]);
            let jump = self.number::<4>()? + self.at as i64;
            self.jumps.push(usize::try_from(jump).map_err(|_| "a jump to nowhere")?);
            if !alike || !back || step != self.lanes || !step.is_power_of_two() {
                return Err("a loop that touches other elements than it counts");
            }
        } else if self.next(&[0x48, 0x89, 0xf2]) {
            let lanes = if self.next(&[0x48, 0x83, 0xe2]) { self.number::<1>()?.unsigned_abs() } else { 1 };
            if lanes == 0 || !self.lanes.is_multiple_of(lanes) {
                return Err("vectors that go beyond the end");
            }
            self.lanes = lanes;
        } else {
            self.general(allowed)?;
        }
        Ok(Done::Next)
    }

    /// An instruction on words, or one that reads a byte.
    fn general(&mut self, allowed: &Allowed<'_>) -> Check {
        let (rex, opcode) = (self.byte()?, self.byte()?);
        if rex & 0xf2 != 0x40 {
            return Err("an instruction that code has not");
        }
        if opcode == 0x0f {
            let more = self.byte()?;
            let (register, operand) = self.operand(0, rex & 1 == 0, 1, 0)?;
            let operand = operand.filter(|_| more == 0xb6).ok_or("an instruction that code has not")?;
            self.touch(operand, 1, false, allowed)?;
            self.values[usize::from(register)] = Value::Unknown;
            return Ok(());
        }
        let (register, operand) = self.operand(rex >> 2 & 1, rex & 1 == 0, 1, 0)?;
        let Operand { base, offset, element: None } = operand.ok_or("an address of no memory")? else {
            return Err("a word of an array");
        };
        let value = match (opcode, self.values[usize::from(base)], allowed) {
            (0x8d, Value::Region(region), _) => Value::Address(region, offset),
            (0x8b, Value::Regions, _) if offset >= 0 && (offset as usize).is_multiple_of(REGION) => {
                Value::Region(offset as usize / REGION)
            }
            (0x8b, Value::Arrays, Allowed::Arrays(arrays)) if offset >= 0 && offset % 8 == 0 => {
                let at = offset as usize / 8;
                if at >= arrays.len() {
                    return Err("an array that is not there");
                }
                Value::Array(at)
            }
            _ => return Err("an address of something else"),
        };
        if register == 14 && value != Value::Region(POOL) {
            return Err("another region than the pool");
        }
        self.values[usize::from(register)] = value;
        Ok(())
    }

    /// The register of an instruction, and what it has in memory, if it has: bytes that count as one of a distance of one byte, and bytes that
    /// come behind.
    fn operand(&mut self, r: u8, low: bool, unit: i64, behind: usize) -> Check<(u8, Option<Operand>)> {
        let modrm = self.byte()?;
        let (mode, register, rm) = (modrm >> 6, r << 3 | modrm >> 3 & 7, modrm & 7);
        let high = u8::from(!low) << 3;
        if mode == 3 {
            return Ok((register, None));
        }
        if (mode, rm) == (0, 5) {
            let target = self.number::<4>()? + (self.at + behind) as i64;
            let inside = target >= self.constants as i64 && target + 32 <= self.bytes.len() as i64;
            if !inside || (target - self.constants as i64) % 32 != 0 {
                return Err("a constant that is not there");
            }
            return Ok((register, None));
        }
        let (mut base, mut element) = (rm | high, None);
        if rm == RSP {
            let sib = self.byte()?;
            base = sib & 7 | high;
            element = match (sib >> 3 & 7, base) {
                (RSP, RSP) => None,
                (RCX, _) => Some(1 << (sib >> 6)),
                _ => return Err("an index that no loop has"),
            };
        }
        let offset = match mode {
            0 if base & 7 == 5 => return Err("an address that code has not"),
            0 => 0,
            1 => self.number::<1>()? * unit,
            _ => self.number::<4>()?,
        };
        Ok((register, Some(Operand { base, offset, element })))
    }

    /// An instruction on vectors, in the encoding that its first byte says: what it has in memory, how many bytes of that, and whether it
    /// writes them.
    fn vector(&mut self, encoding: u8) -> Check<Option<(Operand, u64, bool)>> {
        let (mut masked, mut repeats) = (false, false);
        let (map, first, second) = match encoding {
            0xc5 => {
                let second = self.byte()?;
                (1, second & 0x80 | 0x60, second)
            }
            0xc4 => {
                let (first, second) = (self.byte()?, self.byte()?);
                (first & 31, first, second)
            }
            _ => {
                let (first, second, third) = (self.byte()?, self.byte()?, self.byte()?);
                (masked, repeats) = (third & 0x87 != 0, third & 0x10 != 0);
                if first & 8 != 0 || second & 4 == 0 || third & 0x80 != 0 {
                    return Err("an instruction that code has not");
                }
                // The length where the other encodings have it, in two bits.
                (first & 7, first, second & 3 | third >> 3 & 12)
            }
        };
        let (prefix, length) = (second & 3, second >> 2 & if encoding == 0x62 { 3 } else { 1 });
        let long = 16u64 << length;
        if length == 3 {
            return Err("an instruction that code has not");
        }
        let opcode = self.byte()?;
        let whole = match prefix {
            2 => 4,
            3 => 8,
            _ => long,
        };
        let evex = encoding == 0x62;
        let (bytes, writes) = match (map, opcode, prefix) {
            (1, 0x10, _) => (whole, false),
            (1, 0x11, _) => (whole, true),
            (1, 0x12, 3) | (2, 0x19, 1) => (8, false),
            (2, 0x18, 1) => (4, false),
            (2, 0x31, 1) => (long / 4, false),
            (2, 0x32, 1) => (long / 8, false),
            (2, 0x31, 2) if evex => (long / 4, true),
            (2, 0x32, 2) if evex => (long / 8, true),
            (1, 0x7e, 1) => (4, true),
            (1, 0xd6, 1) => (8, true),
            (3, 0x14, 1) => (1, true),
            (3, 0x15, 1) => (2, true),
            // On registers and constants alone.
            (
                1,
                0x51
                | 0x54
                | 0x57..=0x59
                | 0x5c..=0x5f
                | 0x63
                | 0x6b
                | 0x6e
                | 0xc2
                | 0xdb
                | 0xef
                | 0xfa
                | 0xfb,
                _,
            )
            | (1, 0x15, 1)
            | (1, 0x16, 2)
            | (2, 0xb8 | 0xb9, 1)
            | (3, 0x08..=0x0b | 0x39 | 0x4a | 0x4b, 1) => (0, false),
            (2, 0x38 | 0x39, 2) | (2, 0x65, 1) if evex => (0, false),
            _ => return Err("an instruction that code has not"),
        };
        // Only what goes with each number is under a mask, and only bits with constants read one number for all.
        let register = self.bytes.get(self.at).is_some_and(|modrm| *modrm >= 0xc0);
        let repeatable = !register && map == 1 && matches!(opcode, 0x54 | 0x57 | 0xdb);
        if masked && (map, opcode) != (2, 0x65) || repeats && !repeatable {
            return Err("an instruction that code has not");
        }
        let behind = usize::from(map == 3 || (map, opcode) == (1, 0xc2));
        let unit = if evex { bytes as i64 } else { 1 };
        let (_, operand) = self.operand(u8::from(first & 0x80 == 0), first & 0x20 != 0, unit, behind)?;
        self.at += behind;
        if operand.is_some() && (bytes == 0 || repeats) {
            return Err("arithmetic with memory");
        }
        if operand.is_some_and(|operand| operand.element.is_some()) && first & 0x40 == 0 {
            return Err("an index that no loop has");
        }
        Ok(operand.map(|operand| (operand, bytes, writes)))
    }

    fn touch(&mut self, operand: Operand, bytes: u64, writes: bool, allowed: &Allowed<'_>) -> Check {
        let Operand { base, offset, element } = operand;
        if base == RSP {
            let inside = offset >= 0 && offset + bytes as i64 <= self.room;
            return if inside { Ok(()) } else { Err("a place that is not on the stack") };
        }
        if let Some(element) = element {
            self.touched.push(bytes / element);
        }
        match (self.values[usize::from(base)], allowed, element) {
            (Value::Region(region), Allowed::Micro { reads, writes: written }, _) => {
                let bytes = match (element, self.values[RSI]) {
                    (None, _) => bytes,
                    (Some(element), Value::Number(len)) => element * u64::from(len),
                    _ => return Err("a loop over nobody knows how many elements"),
                };
                let spans = if writes { written } else { reads };
                let inside = |span: &&Span| {
                    let (begin, end) = (span.byte as i64, (span.byte + span.bytes) as i64);
                    span.region == region && begin <= offset && offset + bytes as i64 <= end
                };
                if spans.iter().any(|span| inside(&span)) { Ok(()) } else { Err("memory of something else") }
            }
            (Value::Array(at), Allowed::Arrays(arrays), Some(element)) if offset == 0 => {
                let (size, read, written) = arrays[at];
                let fits = size == element && if writes { written } else { read };
                if fits { Ok(()) } else { Err("an array that is not read, or written") }
            }
            _ => Err("memory of nobody"),
        }
    }
}
