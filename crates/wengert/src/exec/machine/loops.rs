//! Calls of a tile as one loop: each number is read once, goes through all maps in registers, and is stored only where somebody
//! else reads it.

use std::collections::HashMap;

use super::assembler::{Assembler, Base, Gpr, Kind, MOST_REGISTERS, Place, Reg, Width};
use super::compiler::{compares, operation, spare};
use crate::ir::Primitive;

/// Where a number of a loop comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Source {
    /// An earlier step.
    Made(usize),
    /// The array that this pointer is to.
    Stream(usize),
    /// A number, by its bits.
    Number(u64),
}

/// A primitive, of numbers that come before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) primitive: Primitive,
    pub(super) x: [Source; 3],
    /// The array that the result is stored in.
    pub(super) to: Option<usize>,
    /// Whether that has one NaN for all.
    pub(super) canonical: bool,
}

/// Steps that are done for each element of arrays of one type of floats, and truth values.
#[derive(Default)]
pub(super) struct Loop {
    pub(super) double: bool,
    pub(super) steps: Vec<Step>,
    /// Of each array where it begins, and whether its elements are truth values.
    pub(super) streams: Vec<(Base, bool)>,
}

/// What a register holds while the numbers of one vector are computed.
struct Registers<'a> {
    assembler: &'a mut Assembler,
    steps: &'a Loop,
    /// The steps that read something, in order.
    readers: &'a HashMap<Source, Vec<usize>>,
    kind: Kind,
    held: [Option<Source>; MOST_REGISTERS],
    /// Registers that may hold something else.
    open: usize,
    /// Those that the step in the making needs.
    pinned: u32,
    /// What was moved to the stack, each in a place of its own.
    spilled: Vec<Source>,
    at: usize,
}

impl Loop {
    /// Adds the loop as a function of pointers to the arrays, and of the number of elements.
    pub(super) fn function(&self, assembler: &mut Assembler) -> Option<()> {
        assembler.pointers(self.streams.len());
        self.assemble(assembler)?;
        assembler.finish_function();
        Some(())
    }

    /// Adds the loop over as many elements as the second argument says.
    pub(super) fn assemble(&self, assembler: &mut Assembler) -> Option<()> {
        let frame = assembler.begin_loop();
        let mut readers: HashMap<Source, Vec<usize>> = HashMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            step.x[..step.primitive.arity()].iter().for_each(|&x| readers.entry(x).or_default().push(at));
        }
        let mut stack = 0;
        for &width in assembler.widths().iter().filter(|width| **width != Width::Half) {
            let kind = Kind { double: self.double, width };
            let lanes = (kind.bytes() >> (2 + u8::from(self.double))) as u8;
            assembler.lanes(lanes);
            let skip = assembler.jump_if_done();
            // What every turn needs is read once, as far as there is room.
            let mut numbers = self.numbers();
            numbers.truncate(assembler.registers() / 3);
            let first = assembler.registers() - numbers.len();
            for (n, bits) in (first..).zip(&numbers) {
                let number = assembler.number(*bits, self.double);
                assembler.load(kind, Reg(n as u8), number);
            }
            let begin = assembler.len();
            stack = self.vector(assembler, &readers, kind, &numbers)?.max(stack);
            assembler.advance(lanes, begin)?;
            assembler.land(skip);
        }
        assembler.end_loop(frame, i32::try_from(stack).ok()?);
        Some(())
    }

    /// The numbers that steps read, each once, by their bits.
    fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        for step in &self.steps {
            let read = step.x[..step.primitive.arity()].iter();
            let read = read.filter_map(|x| if let Source::Number(bits) = x { Some(*bits) } else { None });
            let nan = (step.canonical && step.to.is_some()).then(|| nan(self.double));
            for bits in read.chain(nan) {
                if !numbers.contains(&bits) {
                    numbers.push(bits);
                }
            }
        }
        numbers
    }

    /// All steps for the elements of one vector, with some numbers in the last registers; how many bytes of the stack they need.
    fn vector(
        &self,
        assembler: &mut Assembler,
        readers: &HashMap<Source, Vec<usize>>,
        kind: Kind,
        numbers: &[u64],
    ) -> Option<usize> {
        let (mut held, spilled) = ([None; MOST_REGISTERS], Vec::new());
        let open = assembler.registers() - numbers.len();
        for (held, bits) in held[open..].iter_mut().zip(numbers) {
            *held = Some(Source::Number(*bits));
        }
        let mut registers =
            Registers { assembler, steps: self, readers, kind, held, open, pinned: 0, spilled, at: 0 };
        // Arrays often lie whole pages apart, and a processor takes reading one for reading what it has just written to another.
        let mut read: Vec<Source> = Vec::new();
        for x in self.steps.iter().flat_map(|step| &step.x[..step.primitive.arity()]) {
            let stream = matches!(x, Source::Stream(stream) if !self.streams[*stream].1);
            if stream && !read.contains(x) {
                read.push(*x);
            }
        }
        let some = registers.open / 2;
        for source in read.into_iter().take(some) {
            registers.pinned = 0;
            registers.load(source)?;
        }
        for at in 0..self.steps.len() {
            registers.step(at)?;
        }
        Some(registers.spilled.len() * registers.whole().bytes())
    }
}

impl Registers<'_> {
    fn step(&mut self, at: usize) -> Option<()> {
        self.at = at;
        let Step { primitive, x: sources, to, canonical } = self.steps.steps[at];
        let sources = &sources[..primitive.arity()];
        // What is there already stays.
        let wanted = |held: &Option<Source>| held.is_some_and(|held| sources.contains(&held));
        self.pinned = self.held.iter().enumerate().map(|(n, held)| u32::from(wanted(held)) << n).sum();
        let mut x = [Reg(0); 3];
        for (x, source) in x.iter_mut().zip(sources) {
            *x = self.load(*source)?;
        }
        let made = self.free()?;
        self.held[usize::from(made.0)] = Some(Source::Made(at));
        let other = if spare(primitive) { self.free()? } else { made };
        operation(self.assembler, primitive, self.kind, made, x, other)?;
        if canonical && to.is_some() {
            let (nan, mask) = (self.load(Source::Number(nan(self.steps.double)))?, self.free()?);
            self.assembler.canonical(self.kind, made, nan, mask);
            self.held[usize::from(mask.0)] = None;
        }
        if let Some(stream) = to {
            let place = self.place(stream);
            if compares(primitive) {
                let low = self.free()?;
                self.assembler.store_mask(self.kind, made, low, place);
            } else {
                self.assembler.store(self.kind, made, place);
            }
        }
        // What nobody reads any more makes room.
        for n in 0..self.open {
            if self.held[n].is_some_and(|source| self.next(source, at + 1).is_none()) {
                self.held[n] = None;
            }
        }
        Some(())
    }

    /// The first step from this one on that reads something.
    fn next(&self, source: Source, from: usize) -> Option<usize> {
        let readers = self.readers.get(&source)?;
        readers.get(readers.partition_point(|&reader| reader < from)).copied()
    }

    fn place(&self, stream: usize) -> Place {
        let (base, truth) = self.steps.streams[stream];
        Place::Indexed(base, if truth { 0 } else { 2 + u8::from(self.steps.double) })
    }

    /// Where something that was moved there lies, from the top of the stack.
    fn slot(&self, slot: usize) -> Place {
        Place::Memory(Gpr::RSP, (self.whole().bytes() * slot) as i32)
    }

    /// A register for something new: an empty one, or that of what is needed last.
    fn free(&mut self) -> Option<Reg> {
        let open = |n: &usize| self.pinned >> n & 1 == 0;
        let wanted = |n: &usize| {
            self.held[*n].map_or(usize::MAX, |s| self.next(s, self.at + 1).unwrap_or(usize::MAX - 1))
        };
        let n = (0..self.open).filter(open).max_by_key(wanted)?;
        if let Some(source @ Source::Made(_)) = self.held[n].take()
            && self.next(source, self.at + 1).is_some()
            && !self.spilled.contains(&source)
        {
            let slot = self.slot(self.spilled.len());
            self.spilled.push(source);
            self.assembler.store(self.whole(), Reg(n as u8), slot);
        }
        self.pinned |= 1 << n;
        Some(Reg(n as u8))
    }

    /// As much of a register as may hold something: masks of one number are as wide as half a register.
    fn whole(&self) -> Kind {
        Kind { width: if self.kind.width == Width::One { Width::Half } else { self.kind.width }, ..self.kind }
    }

    /// A register with this, for the step in the making.
    fn load(&mut self, source: Source) -> Option<Reg> {
        if let Some(n) = self.held.iter().position(|held| *held == Some(source)) {
            self.pinned |= 1 << n;
            return Some(Reg(n as u8));
        }
        let to = self.free()?;
        match source {
            Source::Made(_) => {
                let slot = self.spilled.iter().position(|spilled| *spilled == source)?;
                let (kind, slot) = (self.whole(), self.slot(slot));
                self.assembler.load(kind, to, slot);
            }
            Source::Stream(stream) if self.steps.streams[stream].1 => {
                let (zero, place) = (self.free()?, self.place(stream));
                self.assembler.load_mask(self.kind, to, zero, place);
                self.pinned &= !(1 << zero.0);
            }
            Source::Stream(stream) => {
                let place = self.place(stream);
                self.assembler.load(self.kind, to, place);
            }
            Source::Number(bits) => {
                let number = self.assembler.number(bits, self.steps.double);
                self.assembler.load(self.kind, to, number);
            }
        }
        self.held[usize::from(to.0)] = Some(source);
        Some(to)
    }
}

/// The bits of the NaN that stands for all.
fn nan(double: bool) -> u64 {
    if double { f64::NAN.to_bits() } else { u64::from(f32::NAN.to_bits()) }
}
