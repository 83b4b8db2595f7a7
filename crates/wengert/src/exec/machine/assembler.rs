//! The few instructions of x86-64 that small programs are made of, in VEX's encoding ("Intel 64 and IA-32 Architectures Software Developer's
//! Manual", volume 2, 2.3).

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
    /// Half a register.
    Half,
    Full,
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
        }
    }
    fn long(self) -> bool {
        self.width == Width::Full
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
    code: Vec<u8>,
    /// Where the distance to which constant is to be put.
    constants: Vec<(usize, usize)>,
    /// Numbers behind the constants.
    numbers: Vec<[u64; 4]>,
}

impl Assembler {
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

    fn modrm(&mut self, reg: u8, place: Place, behind: u8) {
        let reg = (reg & 7) << 3;
        match place {
            Place::Register(Reg(rm)) => self.code.push(0xc0 | reg | (rm & 7)),
            Place::Memory(Gpr(base), offset) => {
                self.code.push(0x80 | reg | (base & 7));
                if base & 7 == Gpr::RSP.0 {
                    self.code.push(0x24);
                }
                self.code.extend(offset.to_le_bytes());
            }
            // [base + rcx · size + offset]
            Place::Element(Gpr(base), offset, scale) => {
                self.code.extend([0x80 | reg | 4, scale << 6 | Gpr::RCX.0 << 3 | (base & 7)]);
                self.code.extend(offset.to_le_bytes());
            }
            // `resolve` makes others of these.
            Place::Indexed(..) => {}
            Place::Constant(constant) => {
                self.code.push(reg | 5);
                self.constants.push((self.code.len(), constant));
                // For `finish`: how far the end of the instruction is.
                self.code.extend([4 + behind, 0, 0, 0]);
            }
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

    /// An instruction with a VEX prefix of three bytes.
    fn vex(
        &mut self,
        (map, prefix, wide, long, opcode): (u8, u8, bool, bool, u8),
        reg: Reg,
        second: Reg,
        place: Place,
        behind: u8,
    ) {
        let place = self.resolve(place);
        let high = match place {
            Place::Register(Reg(n)) | Place::Memory(Gpr(n), _) | Place::Element(Gpr(n), ..) => n >> 3,
            Place::Indexed(..) | Place::Constant(_) => 0,
        };
        let fields = (!(reg.0 >> 3) & 1) << 7 | 1 << 6 | (!high & 1) << 5 | map;
        self.code.extend([0xc4, fields]);
        self.code.push(u8::from(wide) << 7 | (!second.0 & 15) << 3 | u8::from(long) << 2 | prefix);
        self.code.push(opcode);
        self.modrm(reg.0, place, behind);
    }

    pub(super) fn load(&mut self, kind: Kind, to: Reg, from: Place) {
        self.vex((MAP, kind.prefix(), false, kind.long(), 0x10), to, Reg(0), from, 0);
    }
    pub(super) fn store(&mut self, kind: Kind, from: Reg, to: Place) {
        self.vex((MAP, kind.prefix(), false, kind.long(), 0x11), from, Reg(0), to, 0);
    }
    pub(super) fn copy(&mut self, kind: Kind, to: Reg, from: Reg) {
        let width = if kind.width == Width::One { Width::Half } else { kind.width };
        self.load(Kind { width, ..kind }, to, Place::Register(from));
    }
    /// The number at a place in all lanes.
    pub(super) fn repeat(&mut self, kind: Kind, to: Reg, from: Place) {
        match (kind.width, kind.double) {
            (Width::One, _) => self.load(kind, to, from),
            (Width::Half, true) => self.vex((MAP, F2, false, false, 0x12), to, Reg(0), from, 0),
            (_, true) => self.vex((MAP38, P66, false, true, 0x19), to, Reg(0), from, 0),
            (_, false) => self.vex((MAP38, P66, false, kind.long(), 0x18), to, Reg(0), from, 0),
        }
    }
    pub(super) fn arithmetic(&mut self, op: Arithmetic, kind: Kind, to: Reg, a: Reg, b: Place) {
        self.vex((MAP, kind.prefix(), false, kind.long(), op as u8), to, a, b, 0);
    }
    /// `to ← a · b + to`, rounded once.
    pub(super) fn fused(&mut self, kind: Kind, to: Reg, a: Reg, b: Reg) {
        let opcode = if kind.width == Width::One { 0xb9 } else { 0xb8 };
        self.vex((MAP38, P66, kind.double, kind.long(), opcode), to, a, Place::Register(b), 0);
    }
    pub(super) fn sqrt(&mut self, kind: Kind, to: Reg, from: Reg) {
        let second = if kind.width == Width::One { from } else { Reg(0) };
        self.vex((MAP, kind.prefix(), false, kind.long(), 0x51), to, second, Place::Register(from), 0);
    }
    /// To the nearest whole number, or downwards.
    pub(super) fn round(&mut self, kind: Kind, down: bool, to: Reg, from: Reg) {
        let one = kind.width == Width::One;
        let opcode = 0x08 + u8::from(kind.double) + 2 * u8::from(one);
        let second = if one { from } else { Reg(0) };
        self.vex((MAP3A, P66, false, kind.long(), opcode), to, second, Place::Register(from), 1);
        self.code.push(8 | u8::from(down));
    }
    pub(super) fn bits(&mut self, op: Bits, kind: Kind, to: Reg, a: Reg, b: Place) {
        self.vex((MAP, kind.packed(), false, kind.long(), op as u8), to, a, b, 0);
    }
    /// All bits where it holds, none elsewhere.
    pub(super) fn compare(&mut self, how: Compare, kind: Kind, to: Reg, a: Reg, b: Reg) {
        self.vex((MAP, kind.packed(), false, kind.long(), 0xc2), to, a, Place::Register(b), 1);
        self.code.push(how as u8);
    }
    /// `b` where the mask's signs are set, `a` elsewhere.
    pub(super) fn blend(&mut self, kind: Kind, to: Reg, a: Reg, b: Reg, mask: Reg) {
        let opcode = 0x4a + u8::from(kind.double);
        self.vex((MAP3A, P66, false, kind.long(), opcode), to, a, Place::Register(b), 1);
        self.code.push(mask.0 << 4);
    }
    /// Truth values, which are bytes, as all bits or none; `zero` is overwritten.
    pub(super) fn load_mask(&mut self, kind: Kind, to: Reg, zero: Reg, from: Place) {
        let (double, none) = (u8::from(kind.double), Reg(0));
        if kind.width == Width::One {
            // No more bytes than there are: movzx eax, byte; vmovd.
            let from = self.resolve(from);
            let (Place::Memory(base, _) | Place::Element(base, ..)) = from else { return };
            self.code.extend([0x40 | base.0 >> 3, 0x0f, 0xb6]);
            self.modrm(Gpr::RAX.0, from, 0);
            self.vex((MAP, P66, false, false, 0x6e), to, none, Place::Register(Reg(Gpr::RAX.0)), 0);
        } else {
            self.vex((MAP38, P66, false, kind.long(), 0x31 + double), to, none, from, 0);
        }
        self.vex((MAP, P66, false, kind.long(), 0xef), zero, zero, Place::Register(zero), 0);
        self.vex((MAP, P66, false, kind.long(), 0xfa + double), to, zero, Place::Register(to), 0);
    }
    /// All bits or none as truth values; `low` is overwritten.
    pub(super) fn store_mask(&mut self, kind: Kind, from: Reg, low: Reg, to: Place) {
        let mut half = from;
        if kind.long() {
            // The upper half of the register.
            self.vex((MAP3A, P66, false, true, 0x39), from, Reg(0), Place::Register(low), 1);
            self.code.push(1);
            half = low;
        }
        // Each of these halves the bytes of all: words of four to two, twice for doubles, then to one.
        let upper = if kind.long() { half } else { from };
        self.vex((MAP, P66, false, false, 0x6b), low, from, Place::Register(upper), 0);
        if kind.double {
            self.vex((MAP, P66, false, false, 0x6b), low, low, Place::Register(low), 0);
        }
        self.vex((MAP, P66, false, false, 0x63), low, low, Place::Register(low), 0);
        self.vex((MAP, P66, false, false, 0xdb), low, low, Place::Constant(ONES), 0);
        match (kind.width, kind.double) {
            (Width::One, _) => self.vex((MAP3A, P66, false, false, 0x14), low, Reg(0), to, 1),
            (Width::Half, true) => self.vex((MAP3A, P66, false, false, 0x15), low, Reg(0), to, 1),
            (Width::Half, false) | (Width::Full, true) => {
                self.vex((MAP, P66, false, false, 0x7e), low, Reg(0), to, 0)
            }
            (Width::Full, false) => self.vex((MAP, P66, false, false, 0xd6), low, Reg(0), to, 0),
        }
        if kind.width == Width::One || (kind.width == Width::Half && kind.double) {
            // The first of them.
            self.code.push(0);
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
        self.modrm(reg.0, Place::Memory(base, offset), 0);
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

    /// Begins a loop: the arguments are a list of pointers and a number of elements, of which so many, a power of two, are a vector. Returns what
    /// [`end_loop`](Self::end_loop) needs.
    pub(super) fn begin_loop(&mut self, lanes: u8) -> usize {
        // sub rsp, …; xor ecx, ecx; mov rdx, rsi; and rdx, −lanes
        self.code.extend([0x48, 0x81, 0xec, 0, 0, 0, 0]);
        let frame = self.code.len() - 4;
        self.code.extend([0x31, 0xc9, 0x48, 0x89, 0xf2, 0x48, 0x83, 0xe2, lanes.wrapping_neg()]);
        frame
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
    /// Goes on with the elements that are left.
    pub(super) fn rest(&mut self) {
        // mov rdx, rsi
        self.code.extend([0x48, 0x89, 0xf2]);
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
