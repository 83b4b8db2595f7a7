//! The few instructions of x86-64 that small programs are made of, in the encodings of AVX and AVX-512 ("Intel 64 and IA-32 Architectures Software
//! Developer's Manual", volume 2, 2.3 and 2.7).

use crate::exec::frame::POOL;
use crate::exec::memory::REGION;

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(pub(super) u8);

/// Registers for addresses and arguments, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpr(pub(super) u8);
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
    pub(super) fn prefix(self) -> u8 {
        match (self.width, self.double) {
            (Width::One, true) => F2,
            (Width::One, false) => F3,
            (_, true) => P66,
            (_, false) => NONE,
        }
    }
    /// Bytes of as many truth values.
    pub(super) fn truths(self) -> usize {
        self.bytes() >> (2 + u8::from(self.double))
    }
    /// That of bits, which one number has as half a register has.
    pub(super) fn packed(self) -> u8 {
        if self.double { P66 } else { NONE }
    }
}

const NONE: u8 = 0;
pub(super) const P66: u8 = 1;
pub(super) const F3: u8 = 2;
pub(super) const F2: u8 = 3;
/// Maps of opcodes: `0F`, `0F 38` and `0F 3A`.
pub(super) const MAP: u8 = 1;
pub(super) const MAP38: u8 = 2;
pub(super) const MAP3A: u8 = 3;

/// What an instruction on vectors is.
#[derive(Clone, Copy)]
pub(super) struct Opcode {
    pub(super) map: u8,
    pub(super) prefix: u8,
    pub(super) opcode: u8,
    /// The bit W in VEX's encoding and in EVEX's, where most instructions have the type of the numbers in it.
    pub(super) wide: (bool, bool),
    /// How long registers are.
    pub(super) length: u8,
    /// Bytes that it reads or writes in memory.
    pub(super) bytes: usize,
    /// A byte behind the address.
    pub(super) immediate: Option<u8>,
}

impl Opcode {
    pub(super) fn new(map: u8, prefix: u8, opcode: u8, kind: Kind) -> Self {
        let (wide, length, bytes) = ((false, kind.double), kind.length(), kind.bytes());
        Self { map, prefix, opcode, wide, length, bytes, immediate: None }
    }
    pub(super) fn with(self, immediate: u8) -> Self {
        Self { immediate: Some(immediate), ..self }
    }
}

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

/// Numbers as often as they fill a register: the bits of all but the sign, and that of the sign, of floats and doubles.
pub(super) const MAGNITUDE: [usize; 2] = [0, 1];
pub(super) const SIGN: [usize; 2] = [2, 3];
/// The number one, of floats and doubles, and of bytes.
pub(super) const ONE: [usize; 2] = [4, 5];
pub(super) const ONES: usize = 6;
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
    pub(super) wide: bool,
    pub(super) code: Vec<u8>,
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
    pub(super) fn modrm(&mut self, reg: u8, place: Place, unit: i32, behind: u8) {
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
    pub(super) fn resolve(&mut self, place: Place) -> Place {
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
    pub(super) fn vector(&mut self, code: Opcode, reg: Reg, second: Reg, place: Place) {
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
    pub(super) fn evex(&mut self, code: Opcode, mask: u8, reg: Reg, second: Reg, place: Place) {
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
        self.call_register(function);
    }
    /// Calls a function whose argument and result are in the first vector register.
    pub(super) fn call_register(&mut self, function: u64) {
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
