//! The few instructions of x86-64 that small programs are made of, in the encodings of AVX and AVX-512 ("Intel 64 and IA-32 Architectures Software
//! Developer's Manual", volume 2, 2.3 and 2.7).

use crate::exec::frame::POOL;
use crate::exec::memory::REGION;

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

/// Registers for addresses and arguments, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpr(u8);
impl Gpr {
    pub(super) const RAX: Self = Self(0);
    pub(super) const RCX: Self = Self(1);
    pub(super) const RDX: Self = Self(2);
    pub(super) const RBX: Self = Self(3);
    pub(super) const RSP: Self = Self(4);
    pub(super) const RBP: Self = Self(5);
    pub(super) const RSI: Self = Self(6);
    pub(super) const RDI: Self = Self(7);
    pub(super) const R14: Self = Self(14);
    /// What the first pointers of a loop are kept in: registers that nobody wants back.
    const POINTERS: [Self; 4] = [Self(8), Self(9), Self(10), Self(11)];
}

/// Numbers that an instruction works on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    One,
    /// Sixteen bytes.
    Half,
    /// A register of AVX.
    Full,
    /// A register of AVX-512.
    Wide,
}

/// What an instruction works on: floats of eight bytes or four, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) double: bool,
    pub(super) width: Width,
}

impl Kind {
    pub(super) fn bytes(self) -> usize {
        match self.width {
            Width::One => 4 << usize::from(self.double),
            Width::Half => 16,
            Width::Full => 32,
            Width::Wide => 64,
        }
    }
    /// The field that says how long registers are.
    fn length(self) -> u8 {
        match self.width {
            Width::One | Width::Half => 0,
            Width::Full => 1,
            Width::Wide => 2,
        }
    }
    /// The prefix of arithmetic, which says the type and whether it is one number.
    fn prefix(self) -> u8 {
        match (self.width, self.double) {
            (Width::One, true) => F2,
            (Width::One, false) => F3,
            (_, true) => P66,
            (_, false) => NONE,
        }
    }
    /// Bytes of as many truth values.
    fn truths(self) -> usize {
        self.bytes() >> (2 + u8::from(self.double))
    }
    /// That of bits, which one number has as half a register has.
    fn packed(self) -> u8 {
        if self.double { P66 } else { NONE }
    }
}

const NONE: u8 = 0;
const P66: u8 = 1;
const F3: u8 = 2;
const F2: u8 = 3;
/// Maps of opcodes: `0F`, `0F 38` and `0F 3A`.
const MAP: u8 = 1;
const MAP38: u8 = 2;
const MAP3A: u8 = 3;

/// What an instruction on vectors is.
#[derive(Clone, Copy)]
struct Code {
    map: u8,
    prefix: u8,
    opcode: u8,
    /// The bit W in VEX's encoding and in EVEX's, where most instructions have the type of the numbers in it.
    wide: (bool, bool),
    /// How long registers are.
    length: u8,
    /// Bytes that it reads or writes in memory.
    bytes: usize,
    /// A byte behind the address.
    immediate: Option<u8>,
}

impl Code {
    fn new(map: u8, prefix: u8, opcode: u8, kind: Kind) -> Self {
        let (wide, length, bytes) = ((false, kind.double), kind.length(), kind.bytes());
        Self { map, prefix, opcode, wide, length, bytes, immediate: None }
    }
    fn with(self, immediate: u8) -> Self {
        Self { immediate: Some(immediate), ..self }
    }
}

/// A mask register, by its number as of any other.
const K1: Reg = Reg(1);

/// Vector registers, at most.
pub(super) const MOST_REGISTERS: usize = 32;

/// A distance as a byte that counts units.
fn short(offset: i32, unit: i32) -> Option<i8> {
    (offset % unit == 0).then(|| i8::try_from(offset / unit).ok()).flatten()
}

/// What an instruction reads or writes besides registers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Register(Reg),
    Memory(Gpr, i32),
    /// The element that a loop is at of an array that begins there, of so many bytes as a power of two.
    Indexed(Base, u8),
    /// The same, behind a byte of what a register points to.
    Element(Gpr, i32, u8),
    /// This one of [`CONSTANTS`], or of the numbers that were asked for, behind the code.
    Constant(usize),
}

/// Where an array that a loop reads or writes begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Where this one of the loop's pointers points to.
    Pointer(usize),
    /// At this byte of a region.
    Region(usize, i32),
}

/// Two-operand arithmetic, by opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add = 0x58,
    Mul = 0x59,
    Sub = 0x5c,
    Min = 0x5d,
    Div = 0x5e,
    Max = 0x5f,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    And = 0x54,
    Xor = 0x57,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// Of which none is NaN.
    Equal = 0x00,
    Less = 0x11,
    LessEqual = 0x12,
    /// Whether one is NaN.
    Unordered = 0x03,
}

/// Numbers as often as they fill a register: the bits of all but the sign, and that of the sign, of floats and doubles.
pub(super) const MAGNITUDE: [usize; 2] = [0, 1];
pub(super) const SIGN: [usize; 2] = [2, 3];
/// The number one, of floats and doubles, and of bytes.
pub(super) const ONE: [usize; 2] = [4, 5];
const ONES: usize = 6;
const CONSTANTS: [[u64; 4]; 7] = [
    [0x7fff_ffff_7fff_ffff; 4],
    [0x7fff_ffff_ffff_ffff; 4],
    [0x8000_0000_8000_0000; 4],
    [0x8000_0000_0000_0000; 4],
    [0x3f80_0000_3f80_0000; 4],
    [0x3ff0_0000_0000_0000; 4],
    [0x0101_0101_0101_0101; 4],
];

/// Machine code in the making.
#[derive(Default)]
pub(super) struct Assembler {
    /// Whether the processor has AVX-512.
    wide: bool,
    code: Vec<u8>,
    /// Where the distance to which constant is to be put.
    constants: Vec<(usize, usize)>,
    /// Numbers behind the constants.
    numbers: Vec<[u64; 4]>,
}

impl Assembler {
    /// Code for a processor with or without AVX-512.
    pub(super) fn new(wide: bool) -> Self {
        Self { wide, ..Self::default() }
    }

    /// Vector registers that there are.
    pub(super) fn registers(&self) -> usize {
        if self.wide { MOST_REGISTERS } else { 16 }
    }

    /// What registers hold, the longest first.
    pub(super) fn widths(&self) -> &'static [Width] {
        let all = &[Width::Wide, Width::Full, Width::Half, Width::One];
        if self.wide { all } else { &all[1..] }
    }

    /// The code, and the constants behind it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.code.resize(self.code.len().next_multiple_of(32), 0xcc);
        let start = self.code.len();
        for (at, constant) in self.constants {
            // From the end of the instruction, which is that of the distance, or of the byte behind it.
            let distance =
                (start + 32 * constant) as i32 - i32::from_le_bytes([self.code[at], 0, 0, 0]) - at as i32;
            self.code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        let words = CONSTANTS.iter().chain(&self.numbers).flatten();
        self.code.extend(words.flat_map(|word| word.to_le_bytes()));
        self.code
    }

    pub(super) fn len(&self) -> usize {
        self.code.len()
    }

    /// The operand that may be in memory. A distance of one byte counts units of so many.
    fn modrm(&mut self, reg: u8, place: Place, unit: i32, behind: u8) {
        let reg = (reg & 7) << 3;
        let (base, offset, index) = match place {
            Place::Register(Reg(rm)) => return self.code.push(0xc0 | reg | (rm & 7)),
            Place::Memory(base, offset) => (base, offset, None),
            // [base + rcx · size + offset]
            Place::Element(base, offset, scale) => (base, offset, Some(scale << 6 | Gpr::RCX.0 << 3)),
            // `resolve` makes others of these.
            Place::Indexed(..) => return,
            Place::Constant(constant) => {
                self.code.push(reg | 5);
                self.constants.push((self.code.len(), constant));
                // For `finish`: how far the end of the instruction is.
                return self.code.extend([4 + behind, 0, 0, 0]);
            }
        };
        let low = base.0 & 7;
        let short = short(offset, unit);
        let mode = match short {
            // With this base there is always a distance.
            Some(0) if low != Gpr::RBP.0 => 0,
            Some(_) => 0x40,
            None => 0x80,
        };
        match index {
            Some(index) => self.code.extend([mode | reg | 4, index | low]),
            None => {
                self.code.push(mode | reg | low);
                if low == Gpr::RSP.0 {
                    self.code.push(0x24);
                }
            }
        }
        match short {
            Some(short) if mode > 0 => self.code.push(short as u8),
            Some(_) => {}
            None => self.code.extend(offset.to_le_bytes()),
        }
    }

    /// The element of a loop behind a register that points to the array.
    fn resolve(&mut self, place: Place) -> Place {
        let Place::Indexed(base, scale) = place else { return place };
        match base {
            Base::Pointer(at) => {
                let known = Gpr::POINTERS.get(at).copied();
                let base = known.unwrap_or(Gpr::RAX);
                if known.is_none() {
                    self.word(base, Gpr::RDI, 8 * at as i32);
                }
                Place::Element(base, 0, scale)
            }
            Base::Region(region, byte) => Place::Element(self.region(region), byte, scale),
        }
    }

    /// A register that points to a region.
    pub(super) fn region(&mut self, region: usize) -> Gpr {
        match region {
            0 => Gpr::RBX,
            POOL => Gpr::R14,
            _ => {
                self.word(Gpr::RAX, Gpr::RBP, (region * REGION) as i32);
                Gpr::RAX
            }
        }
    }

    /// An instruction on vectors.
    fn vector(&mut self, code: Code, reg: Reg, second: Reg, place: Place) {
        let place = self.resolve(place);
        let high = if let Place::Register(Reg(n)) = place { n } else { 0 };
        let only = code.length > 1 || (reg.0 | second.0 | high) > 15;
        let shorter = match place {
            Place::Memory(_, offset) | Place::Element(_, offset, _) => {
                short(offset, 1).is_none() && short(offset, code.bytes as i32).is_some()
            }
            _ => false,
        };
        if self.wide && (only || shorter) {
            return self.evex(code, 0, reg, second, place);
        }
        let base = match place {
            Place::Register(Reg(n)) | Place::Memory(Gpr(n), _) | Place::Element(Gpr(n), ..) => n >> 3,
            Place::Indexed(..) | Place::Constant(_) => 0,
        };
        let reg_high = (!(reg.0 >> 3) & 1) << 7;
        let rest = (!second.0 & 15) << 3 | code.length << 2 | code.prefix;
        if code.map == MAP && !code.wide.0 && base == 0 {
            self.code.extend([0xc5, reg_high | rest]);
        } else {
            let fields = reg_high | 1 << 6 | (!base & 1) << 5 | code.map;
            self.code.extend([0xc4, fields, u8::from(code.wide.0) << 7 | rest]);
        }
        self.code.push(code.opcode);
        self.modrm(reg.0, place, 1, u8::from(code.immediate.is_some()));
        self.code.extend(code.immediate);
    }

    /// The same in the encoding of AVX-512, under a mask if its number is not 0.
    fn evex(&mut self, code: Code, mask: u8, reg: Reg, second: Reg, place: Place) {
        let place = self.resolve(place);
        let (low, high) = match place {
            Place::Register(Reg(n)) => (n >> 3, n >> 4),
            Place::Memory(Gpr(n), _) | Place::Element(Gpr(n), ..) => (n >> 3, 0),
            Place::Indexed(..) | Place::Constant(_) => (0, 0),
        };
        let flag = |bit: u8, at: u8| (!bit & 1) << at;
        // Constants are of 32 bytes.
        let repeats = matches!(place, Place::Constant(_)) && code.bytes > 32;
        self.code.extend([
            0x62,
            flag(reg.0 >> 3, 7) | flag(high, 6) | flag(low, 5) | flag(reg.0 >> 4, 4) | code.map,
            u8::from(code.wide.1) << 7 | (!second.0 & 15) << 3 | 4 | code.prefix,
            code.length << 5 | u8::from(repeats) << 4 | flag(second.0 >> 4, 3) | mask,
            code.opcode,
        ]);
        self.modrm(reg.0, place, code.bytes as i32, u8::from(code.immediate.is_some()));
        self.code.extend(code.immediate);
    }

    pub(super) fn load(&mut self, kind: Kind, to: Reg, from: Place) {
        match from {
            Place::Constant(_) if kind.width == Width::Wide => self.repeat(kind, to, from),
            _ => self.vector(Code::new(MAP, kind.prefix(), 0x10, kind), to, Reg(0), from),
        }
    }
    pub(super) fn store(&mut self, kind: Kind, from: Reg, to: Place) {
        self.vector(Code::new(MAP, kind.prefix(), 0x11, kind), from, Reg(0), to);
    }
    pub(super) fn copy(&mut self, kind: Kind, to: Reg, from: Reg) {
        let width = if kind.width == Width::One { Width::Half } else { kind.width };
        self.load(Kind { width, ..kind }, to, Place::Register(from));
    }
    /// The number at a place in all lanes.
    pub(super) fn repeat(&mut self, kind: Kind, to: Reg, from: Place) {
        let code = match (kind.width, kind.double) {
            (Width::One, _) => return self.load(kind, to, from),
            (Width::Half, true) => Code::new(MAP, F2, 0x12, kind),
            (_, true) => Code::new(MAP38, P66, 0x19, kind),
            (_, false) => Code::new(MAP38, P66, 0x18, kind),
        };
        let bytes = Kind { width: Width::One, ..kind }.bytes();
        self.vector(Code { bytes, ..code }, to, Reg(0), from);
    }
    pub(super) fn arithmetic(&mut self, op: Arithmetic, kind: Kind, to: Reg, a: Reg, b: Place) {
        self.vector(Code::new(MAP, kind.prefix(), op as u8, kind), to, a, b);
    }
    /// `to ← a · b + to`, rounded once.
    pub(super) fn fused(&mut self, kind: Kind, to: Reg, a: Reg, b: Reg) {
        let opcode = if kind.width == Width::One { 0xb9 } else { 0xb8 };
        let code = Code { wide: (kind.double, kind.double), ..Code::new(MAP38, P66, opcode, kind) };
        self.vector(code, to, a, Place::Register(b));
    }
    pub(super) fn sqrt(&mut self, kind: Kind, to: Reg, from: Reg) {
        let second = if kind.width == Width::One { from } else { Reg(0) };
        self.vector(Code::new(MAP, kind.prefix(), 0x51, kind), to, second, Place::Register(from));
    }
    /// To the nearest whole number, or downwards.
    pub(super) fn round(&mut self, kind: Kind, down: bool, to: Reg, from: Reg) {
        let one = kind.width == Width::One;
        let opcode = 0x08 + u8::from(kind.double) + 2 * u8::from(one);
        let second = if one { from } else { Reg(0) };
        let code = Code::new(MAP3A, P66, opcode, kind).with(8 | u8::from(down));
        self.vector(code, to, second, Place::Register(from));
    }
    pub(super) fn bits(&mut self, op: Bits, kind: Kind, to: Reg, a: Reg, b: Place) {
        self.vector(Code::new(MAP, kind.packed(), op as u8, kind), to, a, b);
    }
    /// All bits where it holds, none elsewhere.
    pub(super) fn compare(&mut self, how: Compare, kind: Kind, to: Reg, a: Reg, b: Reg) {
        let code = Code::new(MAP, kind.packed(), 0xc2, kind).with(how as u8);
        if self.wide {
            self.evex(code, 0, K1, a, Place::Register(b));
            self.evex(Code::new(MAP38, F3, 0x38, kind), 0, to, Reg(0), Place::Register(K1));
        } else {
            self.vector(code, to, a, Place::Register(b));
        }
    }
    /// `b` where the mask's signs are set, `a` elsewhere.
    pub(super) fn blend(&mut self, kind: Kind, to: Reg, a: Reg, b: Reg, mask: Reg) {
        if self.wide {
            self.evex(Code::new(MAP38, F3, 0x39, kind), 0, K1, Reg(0), Place::Register(mask));
            self.evex(Code::new(MAP38, P66, 0x65, kind), K1.0, to, a, Place::Register(b));
        } else {
            let code = Code::new(MAP3A, P66, 0x4a + u8::from(kind.double), kind).with(mask.0 << 4);
            self.vector(code, to, a, Place::Register(b));
        }
    }
    /// Truth values, which are bytes, as all bits or none; `zero` is overwritten.
    pub(super) fn load_mask(&mut self, kind: Kind, to: Reg, zero: Reg, from: Place) {
        let (double, none) = (u8::from(kind.double), Reg(0));
        if kind.width == Width::One {
            // No more bytes than there are: movzx eax, byte; vmovd.
            let from = self.resolve(from);
            let (Place::Memory(base, _) | Place::Element(base, ..)) = from else { return };
            self.code.extend([0x40 | base.0 >> 3, 0x0f, 0xb6]);
            self.modrm(Gpr::RAX.0, from, 1, 0);
            let code = Code { wide: (false, false), ..Code::new(MAP, P66, 0x6e, kind) };
            self.vector(code, to, none, Place::Register(Reg(Gpr::RAX.0)));
        } else {
            let bytes = kind.truths();
            self.vector(Code { bytes, ..Code::new(MAP38, P66, 0x31 + double, kind) }, to, none, from);
        }
        self.vector(Code::new(MAP, P66, 0xef, kind), zero, zero, Place::Register(zero));
        self.vector(Code::new(MAP, P66, 0xfa + double, kind), to, zero, Place::Register(to));
    }
    /// All bits or none as truth values; `low` is overwritten.
    pub(super) fn store_mask(&mut self, kind: Kind, from: Reg, low: Reg, to: Place) {
        let half = Kind { width: Width::Half, ..kind };
        let one = |opcode| Code { bytes: kind.truths(), ..Code::new(MAP3A, P66, opcode, half) }.with(0);
        if self.wide {
            self.evex(Code::new(MAP, P66, 0xdb, kind), 0, low, from, Place::Constant(ONES));
            if kind.width == Width::One {
                return self.vector(one(0x14), low, Reg(0), to);
            }
            // The lowest byte of each.
            let opcode = 0x31 + u8::from(kind.double);
            let code = Code { wide: (false, false), ..Code::new(MAP38, F3, opcode, kind) };
            return self.evex(Code { bytes: kind.truths(), ..code }, 0, low, Reg(0), to);
        }
        let packed = |opcode| Code::new(MAP, P66, opcode, half);
        let (mut upper, full) = (from, kind.width == Width::Full);
        if full {
            // The upper half of the register.
            self.vector(Code::new(MAP3A, P66, 0x39, kind).with(1), from, Reg(0), Place::Register(low));
            upper = low;
        }
        // Each of these halves the bytes of all: words of four to two, twice for doubles, then to one.
        self.vector(packed(0x6b), low, from, Place::Register(upper));
        if kind.double {
            self.vector(packed(0x6b), low, low, Place::Register(low));
        }
        self.vector(packed(0x63), low, low, Place::Register(low));
        self.vector(packed(0xdb), low, low, Place::Constant(ONES));
        match kind.truths() {
            1 => self.vector(one(0x14), low, Reg(0), to),
            2 => self.vector(one(0x15), low, Reg(0), to),
            4 => self.vector(packed(0x7e), low, Reg(0), to),
            _ => self.vector(packed(0xd6), low, Reg(0), to),
        }
    }
    /// Forgets the upper halves of all registers, which code without VEX would wait for.
    pub(super) fn forget_upper(&mut self) {
        self.code.extend([0xc5, 0xf8, 0x77]);
    }

    /// An instruction on eight-byte numbers with one in memory.
    fn wide(&mut self, opcode: u8, reg: Gpr, base: Gpr, offset: i32) {
        self.code.push(0x48 | (reg.0 >> 3) << 2 | (base.0 >> 3));
        self.code.push(opcode);
        self.modrm(reg.0, Place::Memory(base, offset), 1, 0);
    }
    /// `to ← base + offset`.
    pub(super) fn address(&mut self, to: Gpr, base: Gpr, offset: i32) {
        self.wide(0x8d, to, base, offset);
    }
    /// The word at `base + offset`.
    pub(super) fn word(&mut self, to: Gpr, base: Gpr, offset: i32) {
        self.wide(0x8b, to, base, offset);
    }
    /// Calls a function with this as its fifth argument.
    pub(super) fn call(&mut self, function: u64, fifth: u32) {
        self.code.extend([0x41, 0xb8]);
        self.code.extend(fifth.to_le_bytes());
        self.code.extend([0x48, 0xb8]);
        self.code.extend(function.to_le_bytes());
        self.code.extend([0xff, 0xd0]);
    }
    /// Keeps the registers that are the caller's; the two arguments are the arena and the regions, of which the second is the pool.
    pub(super) fn enter(&mut self) {
        // push rbx; push rbp; push r14; mov rbx, rdi; mov rbp, rsi
        self.code.extend([0x53, 0x55, 0x41, 0x56, 0x48, 0x89, 0xfb, 0x48, 0x89, 0xf5]);
    }
    /// The place of a number in all lanes, by its bits.
    pub(super) fn number(&mut self, bits: u64, double: bool) -> Place {
        let words = [if double { bits } else { bits << 32 | bits & 0xffff_ffff }; 4];
        let at = self.numbers.iter().position(|known| *known == words).unwrap_or_else(|| {
            self.numbers.push(words);
            self.numbers.len() - 1
        });
        Place::Constant(CONSTANTS.len() + at)
    }

    /// The second argument, as if it were given.
    pub(super) fn second(&mut self, number: u32) {
        // mov esi, …
        self.code.push(0xbe);
        self.code.extend(number.to_le_bytes());
    }

    /// Reads the first of so many pointers.
    pub(super) fn pointers(&mut self, count: usize) {
        for (at, to) in Gpr::POINTERS.into_iter().enumerate().take(count) {
            self.word(to, Gpr::RDI, 8 * at as i32);
        }
    }

    /// Begins a loop: the arguments are a list of pointers and a number of elements. Returns what [`end_loop`](Self::end_loop) needs.
    pub(super) fn begin_loop(&mut self) -> usize {
        // sub rsp, …; xor ecx, ecx
        self.code.extend([0x48, 0x81, 0xec, 0, 0, 0, 0]);
        let frame = self.code.len() - 4;
        self.code.extend([0x31, 0xc9]);
        frame
    }
    /// Has the loop that comes take so many elements at once, a power of two, as long as there are so many.
    pub(super) fn lanes(&mut self, lanes: u8) {
        // mov rdx, rsi; and rdx, −lanes
        self.code.extend([0x48, 0x89, 0xf2]);
        if lanes > 1 {
            self.code.extend([0x48, 0x83, 0xe2, lanes.wrapping_neg()]);
        }
    }
    /// Goes elsewhere if no elements are left for this loop; where to is said by [`land`](Self::land).
    pub(super) fn jump_if_done(&mut self) -> usize {
        // cmp rcx, rdx; jae …
        self.code.extend([0x48, 0x39, 0xd1, 0x0f, 0x83, 0, 0, 0, 0]);
        self.code.len()
    }
    /// Has a jump go to here.
    pub(super) fn land(&mut self, jump: usize) {
        let distance = (self.code.len() - jump) as i32;
        self.code[jump - 4..jump].copy_from_slice(&distance.to_le_bytes());
    }
    /// To the next elements, and back to the beginning while there are some.
    pub(super) fn advance(&mut self, elements: u8, begin: usize) -> Option<()> {
        // add rcx, …; cmp rcx, rdx; jb …
        self.code.extend([0x48, 0x83, 0xc1, elements, 0x48, 0x39, 0xd1, 0x0f, 0x82]);
        let distance = i32::try_from(self.code.len() + 4 - begin).ok()?;
        self.code.extend((-distance).to_le_bytes());
        Some(())
    }
    /// Ends a loop that needs so many bytes of the stack.
    pub(super) fn end_loop(&mut self, frame: usize, stack: i32) {
        self.code[frame..frame + 4].copy_from_slice(&stack.to_le_bytes());
        // add rsp, …
        self.code.extend([0x48, 0x81, 0xc4]);
        self.code.extend(stack.to_le_bytes());
    }
    /// Ends a function that keeps no registers.
    pub(super) fn finish_function(&mut self) {
        self.forget_upper();
        self.code.push(0xc3);
    }
    pub(super) fn leave(&mut self) {
        self.forget_upper();
        // pop r14; pop rbp; pop rbx; ret
        self.code.extend([0x41, 0x5e, 0x5d, 0x5b, 0xc3]);
    }
}
