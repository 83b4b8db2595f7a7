//! Instructions on vectors of floats, and on truth values as bits of those.

use super::assembler::{
    Assembler, F2, F3, Gpr, Kind, MAP, MAP3A, MAP38, ONES, Opcode, P66, Place, Reg, Width,
};

/// A mask register, by its number as of any other.
const K1: Reg = Reg(1);

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

impl Assembler {
    pub(super) fn load(&mut self, kind: Kind, to: Reg, from: Place) {
        match from {
            Place::Constant(_) if kind.width == Width::Wide => self.repeat(kind, to, from),
            _ => self.vector(Opcode::new(MAP, kind.prefix(), 0x10, kind), to, Reg(0), from),
        }
    }
    pub(super) fn store(&mut self, kind: Kind, from: Reg, to: Place) {
        self.vector(Opcode::new(MAP, kind.prefix(), 0x11, kind), from, Reg(0), to);
    }
    pub(super) fn copy(&mut self, kind: Kind, to: Reg, from: Reg) {
        let width = if kind.width == Width::One { Width::Half } else { kind.width };
        self.load(Kind { width, ..kind }, to, Place::Register(from));
    }
    /// The number at a place in all lanes.
    pub(super) fn repeat(&mut self, kind: Kind, to: Reg, from: Place) {
        let code = match (kind.width, kind.double) {
            (Width::One, _) => return self.load(kind, to, from),
            (Width::Half, true) => Opcode::new(MAP, F2, 0x12, kind),
            (_, true) => Opcode::new(MAP38, P66, 0x19, kind),
            (_, false) => Opcode::new(MAP38, P66, 0x18, kind),
        };
        let bytes = Kind { width: Width::One, ..kind }.bytes();
        self.vector(Opcode { bytes, ..code }, to, Reg(0), from);
    }
    pub(super) fn arithmetic(&mut self, op: Arithmetic, kind: Kind, to: Reg, a: Reg, b: Place) {
        self.vector(Opcode::new(MAP, kind.prefix(), op as u8, kind), to, a, b);
    }
    /// `to ← a · b + to`, rounded once.
    pub(super) fn fused(&mut self, kind: Kind, to: Reg, a: Reg, b: Reg) {
        let opcode = if kind.width == Width::One { 0xb9 } else { 0xb8 };
        let code = Opcode { wide: (kind.double, kind.double), ..Opcode::new(MAP38, P66, opcode, kind) };
        self.vector(code, to, a, Place::Register(b));
    }
    pub(super) fn sqrt(&mut self, kind: Kind, to: Reg, from: Reg) {
        let second = if kind.width == Width::One { from } else { Reg(0) };
        self.vector(Opcode::new(MAP, kind.prefix(), 0x51, kind), to, second, Place::Register(from));
    }
    /// To the nearest whole number, or downwards.
    pub(super) fn round(&mut self, kind: Kind, down: bool, to: Reg, from: Reg) {
        let one = kind.width == Width::One;
        let opcode = 0x08 + u8::from(kind.double) + 2 * u8::from(one);
        let second = if one { from } else { Reg(0) };
        let code = Opcode::new(MAP3A, P66, opcode, kind).with(8 | u8::from(down));
        self.vector(code, to, second, Place::Register(from));
    }
    pub(super) fn bits(&mut self, op: Bits, kind: Kind, to: Reg, a: Reg, b: Place) {
        self.vector(Opcode::new(MAP, kind.packed(), op as u8, kind), to, a, b);
    }
    /// The numbers of half a register's second half in its first, or of each pair the second in both.
    pub(super) fn further(&mut self, kind: Kind, next: bool, to: Reg, from: Reg) {
        let (code, second) = match (next, kind.double) {
            (true, false) => (Opcode::new(MAP, F3, 0x16, kind), Reg(0)),
            // The second of a pair of doubles is the second half.
            _ => (Opcode { wide: (false, true), ..Opcode::new(MAP, P66, 0x15, kind) }, from),
        };
        self.vector(code, to, second, Place::Register(from));
    }
    /// All bits where it holds, none elsewhere.
    pub(super) fn compare(&mut self, how: Compare, kind: Kind, to: Reg, a: Reg, b: Reg) {
        let code = Opcode::new(MAP, kind.packed(), 0xc2, kind).with(how as u8);
        if self.wide {
            self.evex(code, 0, K1, a, Place::Register(b));
            self.evex(Opcode::new(MAP38, F3, 0x38, kind), 0, to, Reg(0), Place::Register(K1));
        } else {
            self.vector(code, to, a, Place::Register(b));
        }
    }
    /// One NaN for all of them: where a number is none it is that of a register; `mask` is overwritten.
    pub(super) fn canonical(&mut self, kind: Kind, number: Reg, nan: Reg, mask: Reg) {
        if self.wide {
            let compared = Opcode::new(MAP, kind.packed(), 0xc2, kind).with(Compare::Unordered as u8);
            self.evex(compared, 0, K1, number, Place::Register(number));
            self.evex(Opcode::new(MAP38, P66, 0x65, kind), K1.0, number, number, Place::Register(nan));
        } else {
            self.compare(Compare::Unordered, kind, mask, number, number);
            self.blend(kind, number, number, nan, mask);
        }
    }
    /// `b` where the mask's signs are set, `a` elsewhere.
    pub(super) fn blend(&mut self, kind: Kind, to: Reg, a: Reg, b: Reg, mask: Reg) {
        if self.wide {
            self.evex(Opcode::new(MAP38, F3, 0x39, kind), 0, K1, Reg(0), Place::Register(mask));
            self.evex(Opcode::new(MAP38, P66, 0x65, kind), K1.0, to, a, Place::Register(b));
        } else {
            let code = Opcode::new(MAP3A, P66, 0x4a + u8::from(kind.double), kind).with(mask.0 << 4);
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
            let code = Opcode { wide: (false, false), ..Opcode::new(MAP, P66, 0x6e, kind) };
            self.vector(code, to, none, Place::Register(Reg(Gpr::RAX.0)));
        } else {
            let bytes = kind.truths();
            self.vector(Opcode { bytes, ..Opcode::new(MAP38, P66, 0x31 + double, kind) }, to, none, from);
        }
        self.vector(Opcode::new(MAP, P66, 0xef, kind), zero, zero, Place::Register(zero));
        self.vector(Opcode::new(MAP, P66, 0xfa + double, kind), to, zero, Place::Register(to));
    }
    /// All bits or none as truth values; `low` is overwritten.
    pub(super) fn store_mask(&mut self, kind: Kind, from: Reg, low: Reg, to: Place) {
        let half = Kind { width: Width::Half, ..kind };
        let one = |opcode| Opcode { bytes: kind.truths(), ..Opcode::new(MAP3A, P66, opcode, half) }.with(0);
        if self.wide {
            self.evex(Opcode::new(MAP, P66, 0xdb, kind), 0, low, from, Place::Constant(ONES));
            if kind.width == Width::One {
                return self.vector(one(0x14), low, Reg(0), to);
            }
            // The lowest byte of each.
            let opcode = 0x31 + u8::from(kind.double);
            let code = Opcode { wide: (false, false), ..Opcode::new(MAP38, F3, opcode, kind) };
            return self.evex(Opcode { bytes: kind.truths(), ..code }, 0, low, Reg(0), to);
        }
        let packed = |opcode| Opcode::new(MAP, P66, opcode, half);
        let (mut upper, full) = (from, kind.width == Width::Full);
        if full {
            // The upper half of the register.
            self.vector(Opcode::new(MAP3A, P66, 0x39, kind).with(1), from, Reg(0), Place::Register(low));
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
}
