//! Convolutions over one or two axes.
//!
//! Registers hold the same element of several *lanes*: examples, or strips of rows of few examples. So every stride, padding and number of channels runs at full
//! width, and weights are single numbers that all lanes share. The three sums of a convolution are: its result, and, of the same shape of loop with the kernel turned
//! around, that by its input ([`direct`]); and that by its weights ([`weights`]). No array of patches is made.

mod careful;
mod direct;
mod lanes;
mod weights;

use super::simd::Isa;
use crate::error::Fault;
use crate::kernels::Real;

/// One axis of an image, and of the kernel that slides over it: element `i` of the input meets element `k` of the kernel in
/// element `y` of the output where `i = y · stride + k · dilation − padding`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) kernel: usize,
    pub(crate) output: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) padding: isize,
}

/// Which of the three arrays of a convolution is computed from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[examples, channels, height, width]`, from the output and the weights.
    Input,
    /// `[channels of the output, channels of a group, height, width]`, from the input and the output.
    Weights,
    /// `[examples, channels, height, width]`, from the input and the weights.
    Output,
}

/// A convolution of arrays in the order `[examples, channels, height, width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) part: Part,
    /// All examples, of which a call may have some.
    pub(crate) examples: usize,
    pub(crate) groups: usize,
    /// Channels of a group, of the input and of the output.
    pub(crate) channels: [usize; 2],
    pub(crate) axes: [Axis; 2],
    /// Whether zeros of the first operand (bit 0) and of the second (bit 1) stand for themselves, whatever they are
    /// multiplied by.
    pub(crate) gates: u64,
}

/// Lanes of a block: a cache line of them, whatever registers there are.
pub(super) const fn width<T>() -> usize {
    64 / size_of::<T>()
}

/// A number of elements; more than there can be where it has no place in a register.
fn product(sizes: [usize; 5]) -> usize {
    sizes.into_iter().fold(1, usize::saturating_mul)
}

/// The elements of the kernel that an element of the result meets, in the order of increasing places of the other array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taps {
    /// The first element of the kernel, counted from its end where the result is the input, and the distance of the next.
    kernel: usize,
    kernel_step: usize,
    /// Where it meets the other array, and the distance of the next.
    place: isize,
    step: usize,
    count: usize,
}

impl Axis {
    /// The taps of element `r` of the result: of the output, or, with `back`, of the input; of an array that has the places `from..to`.
    fn taps(&self, back: bool, r: usize, from: isize, to: isize) -> Taps {
        let (stride, dilation, size) = (self.stride as isize, self.dilation as isize, self.kernel as isize);
        // Element k of the kernel, counted from its end with `back`, lies at `first + k · dilation`, in units of 1 / `unit` places.
        let (unit, first) = if back {
            (stride, r as isize + self.padding - dilation * (size - 1))
        } else {
            (1, r as isize * stride - self.padding)
        };
        // Far from the borders there is nothing to divide.
        if unit == 1 && first >= from && first + dilation * (size - 1) < to {
            return Taps { kernel: 0, kernel_step: 1, place: first, step: self.dilation, count: self.kernel };
        }
        let Some(k) = (0..unit.min(size)).find(|k| (first + k * dilation).rem_euclid(unit) == 0) else {
            return Taps::default();
        };
        let place = (first + k * dilation) / unit;
        let kernel_step = unit / gcd(unit, dilation);
        let step = dilation * kernel_step / unit;
        let skipped = if place < from { (from - place + step - 1) / step } else { 0 };
        let (k, place) = (k + skipped * kernel_step, place + skipped * step);
        let last_by_kernel = (size - 1 - k).div_euclid(kernel_step);
        let last_by_place = (to - 1 - place).div_euclid(step);
        let count = (last_by_kernel.min(last_by_place) + 1).max(0) as usize;
        let (kernel_step, step) = (kernel_step as usize, step as usize);
        if count == 0 {
            Taps::default()
        } else {
            Taps { kernel: k as usize, kernel_step, place, step, count }
        }
    }

    /// The places that the taps of the first `rows` elements of a result can have.
    fn reach(&self, back: bool, rows: usize) -> (isize, isize) {
        let span = ((self.kernel - 1) * self.dilation) as isize;
        if back {
            let stride = self.stride as isize;
            let last = rows as isize - 1 + self.padding;
            ((self.padding - span).div_euclid(stride), last.div_euclid(stride) + 1)
        } else {
            (-self.padding, (rows as isize - 1) * self.stride as isize - self.padding + span + 1)
        }
    }
}

fn gcd(a: isize, b: isize) -> isize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Problem {
    /// Elements of scratch that a call needs.
    pub(crate) fn scratch<T>(&self) -> usize {
        match self.part {
            Part::Weights => weights::scratch::<T>(self),
            _ => direct::scratch::<T>(self),
        }
    }

    /// Computes as many examples of the input or output as `out` has, the operand that is such an array having as many; or as many first channels of the weights as
    /// `out` has, from the channel `first` on.
    pub(crate) fn run<T: Real>(
        &self,
        isa: Isa,
        operands: [&[T]; 2],
        first: usize,
        out: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Fault> {
        if out.is_empty() {
            return Ok(());
        }
        let finite = match self.part {
            Part::Weights => {
                weights::run(self, isa, operands, first, out, scratch)?;
                false
            }
            _ => direct::run(self, isa, operands, out, scratch)?,
        };
        if !finite {
            careful::repair(self, operands, first, out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
