//! Elements that came out as no number, once more, one by one.

use super::lanes::Lanes;
use super::{Part, Problem, width};
use crate::kernels::simd::{Real, chains};
use crate::kernels::tile::is_nan;

/// Computes what is NaN again, in the same order, without products that a row does not have: with zeros beyond the border of an image, which registers
/// multiply like others, and with zeros that stand for themselves.
pub(super) fn repair<T: Real>(p: &Problem, operands: [&[T]; 2], first: usize, out: &mut [T]) {
    /// Numbers that are looked at together.
    const PIECE: usize = 256;
    let mut all_finite = None;
    for (piece, numbers) in out.chunks_mut(PIECE).enumerate() {
        if !numbers.iter().fold(false, |found, &x| found | is_nan(x)) {
            continue;
        }
        // A zero beyond the border makes a NaN only of what is not finite: weights, or cotangents beside an input.
        let finite = |x: &T| (x.to_f64() * 0.0) == 0.0;
        if p.gates == 0 && *all_finite.get_or_insert_with(|| operands[1].iter().all(finite)) {
            return;
        }
        for (i, number) in numbers.iter_mut().enumerate().filter(|(_, x)| is_nan(**x)) {
            let i = piece * PIECE + i;
            *number = match p.part {
                Part::Weights => weight(p, operands, first, i),
                _ => pixel(p, operands, i),
            };
        }
    }
}

/// `a · b + sum`, but for products with a zero that stands for itself.
fn add<T: Real>(p: &Problem, a: T, b: T, sum: T) -> T {
    let zero = |x: T, bit: u64| p.gates & bit != 0 && x == T::default();
    if zero(a, 1) || zero(b, 2) { sum } else { T::fused(a, b, sum) }
}

/// An element of the input or output.
fn pixel<T: Real>(p: &Problem, [images, weights]: [&[T]; 2], i: usize) -> T {
    let back = p.part == Part::Input;
    let [y, x] = p.axes;
    let [c, o] = p.channels;
    let (from, to) = if back { (o, c) } else { (c, o) };
    let size = |axis: super::Axis| if back { (axis.output, axis.input) } else { (axis.input, axis.output) };
    let ((height, own_height), (width, own_width)) = (size(y), size(x));
    let (column, row) = (i % own_width, i / own_width % own_height);
    let (channel, example) =
        (i / own_width / own_height % (to * p.groups), i / own_width / own_height / (to * p.groups));
    let (group, channel) = (channel / to, channel % to);
    let (rows, columns) = (y.taps(back, row, 0, height as isize), x.taps(back, column, 0, width as isize));
    let mut sum = T::default();
    for r in 0..rows.count {
        for k in 0..columns.count {
            for other in 0..from {
                let (mut a, mut b) =
                    (rows.kernel + r * rows.kernel_step, columns.kernel + k * columns.kernel_step);
                let (o_at, c_at) = if back { (other, channel) } else { (channel, other) };
                if back {
                    (a, b) = (y.kernel - 1 - a, x.kernel - 1 - b);
                }
                let weight = weights[(((group * o + o_at) * c + c_at) * y.kernel + a) * x.kernel + b];
                let place =
                    (rows.place as usize + r * rows.step) * width + columns.place as usize + k * columns.step;
                let image = images[((example * p.groups + group) * from + other) * height * width + place];
                sum = add(p, image, weight, sum);
            }
        }
    }
    sum
}

/// An element of the weights: as many sums as chains, then those in pairs.
fn weight<T: Real>(p: &Problem, [images, output]: [&[T]; 2], first: usize, i: usize) -> T {
    let [y, x] = p.axes;
    let [c, o] = p.channels;
    let (b, a) = (i % x.kernel, i / x.kernel % y.kernel);
    let (channel, out) = (i / x.kernel / y.kernel % c, i / x.kernel / y.kernel / c + first);
    let group = out / o;
    let mut sums = [T::default(); 16];
    let mut done = 0;
    while done < p.examples {
        let lanes = Lanes::next::<T>(&y, false, p.examples - done);
        for row in 0..lanes.rows {
            for column in 0..x.output {
                for lane in 0..(lanes.examples * lanes.strips).min(width::<T>()) {
                    let (example, row) = (done + lane / lanes.strips, lane % lanes.strips * lanes.rows + row);
                    let at = |axis: super::Axis, of: usize, k: usize| {
                        let at = (of * axis.stride + k * axis.dilation) as isize - axis.padding;
                        usize::try_from(at).ok().filter(|&at| at < axis.input)
                    };
                    let (Some(i), Some(j)) = (at(y, row, a), at(x, column, b)) else { continue };
                    if row >= y.output {
                        continue;
                    }
                    let image = images
                        [((example * p.groups + group) * c + channel) * y.input * x.input + i * x.input + j];
                    let ct = output
                        [(example * p.groups * o + out) * y.output * x.output + row * x.output + column];
                    let sum = &mut sums[lane % chains::<T>()];
                    *sum = add(p, image, ct, *sum);
                }
            }
        }
        done += lanes.examples;
    }
    super::weights::total(&mut sums[..chains::<T>()])
}
