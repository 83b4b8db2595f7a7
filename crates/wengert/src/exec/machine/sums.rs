//! Sums of a few numbers, in the order of the kernel: those in every eighth place, then across.

use super::assembler::{Kind, Place, Reg, Width};
use super::compiler::Compiler;
use super::vectors::Arithmetic;
use crate::exec::plan::MicroOp;

/// Bytes of an array whose sum is instructions; a longer one is called for.
pub(super) const FEW: usize = 128;

/// Eight numbers, as so many registers of sixteen bytes.
fn registers(double: bool) -> usize {
    if double { 4 } else { 2 }
}

/// Whether the sum of so many numbers is instructions: of registers of sixteen bytes, the last of which may have one double alone.
pub(super) fn fits(double: bool, len: usize) -> bool {
    len > 0 && len * (4 << usize::from(double)) <= FEW && (double || len.is_multiple_of(4))
}

impl Compiler<'_> {
    /// The sum of so many numbers.
    pub(super) fn sum(&mut self, double: bool, len: usize, op: &MicroOp) -> Option<()> {
        let [one, half] = [Width::One, Width::Half].map(|width| Kind { double, width });
        self.begin();
        // Of each register of the eight places whether it is the sum's own.
        let mut places: Vec<(Reg, bool)> = Vec::new();
        let (mut offset, bytes) = (0, len * one.bytes());
        while offset < bytes {
            let kind = if bytes - offset < 16 { one } else { half };
            let x = self.value(kind, op.x[0], offset)?;
            let place = offset / 16 % registers(double);
            match places.get(place).copied() {
                None => places.push((x, false)),
                Some(sum) => places[place] = self.plus(half, sum, x)?,
            }
            offset += 16;
        }
        // Places that are half of all apart, then a quarter.
        while places.len() > 1 {
            let apart = places.len().next_power_of_two() / 2;
            for (i, (x, _)) in places.split_off(apart).into_iter().enumerate() {
                places[i] = self.plus(half, places[i], x)?;
            }
        }
        let mut sum = places[0];
        if len > 1 {
            if !double {
                sum = self.across(half, sum, false)?;
            }
            sum = self.across(half, sum, true)?;
        }
        // The kernel begins with zeros, so that no sum is −0.
        let (to, zero) = (self.free()?, self.assembler.number(0, double));
        self.assembler.arithmetic(Arithmetic::Add, one, to, sum.0, zero);
        self.keep(one, to, op.out, 0)
    }

    /// A sum in its own register, with more added.
    fn plus(&mut self, kind: Kind, (sum, own): (Reg, bool), x: Reg) -> Option<(Reg, bool)> {
        let to = if own { sum } else { self.free()? };
        self.assembler.arithmetic(Arithmetic::Add, kind, to, sum, Place::Register(x));
        Some((to, true))
    }

    /// Numbers with those half a register further on added to them, or those one further.
    fn across(&mut self, kind: Kind, sum: (Reg, bool), next: bool) -> Option<(Reg, bool)> {
        let other = self.free()?;
        self.assembler.further(kind, next, other, sum.0);
        self.plus(kind, sum, other)
    }
}
