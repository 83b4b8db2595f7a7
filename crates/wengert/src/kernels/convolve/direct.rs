//! The output of a convolution, and its transpose by the input: a tile of a few channels of one pixel, in all lanes of a
//! block, whose sums stay in registers.

use super::lanes::{Channels, Lanes, SPREAD, Steps, gather, spread};
use super::{Part, Problem, Taps, product, width};
use crate::error::Fault;
use crate::kernels::simd::{Isa, Real, Simd, Vector};

/// What is read and what is made: sizes of the images, and channels of a group.
struct Sides {
    back: bool,
    other: [usize; 2],
    result: [usize; 2],
    /// Channels of a group of the other array, and of the result.
    channels: [usize; 2],
}

fn sides(p: &Problem) -> Sides {
    let [y, x] = p.axes;
    let ([c, o], input, output) = (p.channels, [y.input, x.input], [y.output, x.output]);
    if p.part == Part::Input {
        Sides { back: true, other: output, result: input, channels: [o, c] }
    } else {
        Sides { back: false, other: input, result: output, channels: [c, o] }
    }
}

/// Elements of the weights, of a block of the other array, and of a block of the result.
fn sizes<T>(p: &Problem) -> [usize; 3] {
    let Sides { back, other, result, channels } = sides(p);
    let [y, x] = p.axes;
    let (reads, rows) = Lanes::most::<T>(&y, back);
    let weights = product([p.groups, channels[0], channels[1], y.kernel, x.kernel]);
    let block = width::<T>().saturating_mul(p.groups);
    [
        weights.checked_next_multiple_of(width::<T>()).unwrap_or(usize::MAX),
        product([reads, other[1], channels[0], block, 1]),
        // A row, or several short ones.
        product([rows.min(SPREAD.div_ceil(result[1].max(1))), result[1], channels[1], block, 1]),
    ]
}

pub(super) fn scratch<T>(p: &Problem) -> usize {
    sizes::<T>(p).into_iter().fold(width::<T>(), usize::saturating_add)
}

pub(super) fn run<T: Real>(
    p: &Problem,
    isa: Isa,
    operands: [&[T]; 2],
    out: &mut [T],
    scratch: &mut [T],
) -> Result<bool, Fault> {
    isa.run(Direct { p, operands, out, scratch })
}

struct Direct<'a, T> {
    p: &'a Problem,
    operands: [&'a [T]; 2],
    out: &'a mut [T],
    scratch: &'a mut [T],
}

/// Channels of the largest tile: as many as leave registers for the lanes and for a weight.
const fn most<V: Vector>() -> usize {
    match width::<V::Scalar>() / V::LANES {
        1 => 8,
        2 => 6,
        _ => 1,
    }
}

/// The channels of the next tile.
fn tile<V: Vector>(left: usize) -> usize {
    [most::<V>(), 4, 2, 1].into_iter().find(|&rows| rows <= left.min(most::<V>())).unwrap_or(1)
}

impl<T: Real> Simd<T> for Direct<'_, T> {
    /// Whether all is finite.
    type Output = Result<bool, Fault>;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> Self::Output {
        let Self { p, operands: [images, weights], out, scratch } = self;
        let Sides { back, other, result, channels: [from, to] } = sides(p);
        let (all_from, all_to) = (from * p.groups, to * p.groups);
        let [one, made] = [all_from * other[0] * other[1], all_to * result[0] * result[1]];
        let examples = out.len() / made.max(1);
        let [packed, source, _] = sizes::<T>(p);
        if images.len() != examples * one || scratch.len() < self::scratch::<T>(p) {
            return Err(Fault::Type);
        }
        // Blocks begin at cache lines.
        let skipped = scratch.as_ptr().align_offset(64).min(width::<T>());
        let (packed, rest) = scratch[skipped..].split_at_mut(packed);
        let (source, block) = rest.split_at_mut(source);
        pack::<T, V>(p, weights, packed);
        let (mut images, mut out, mut left) = (images, out, examples);
        let mut zeros = V::all(T::default());
        while left > 0 {
            let lanes = Lanes::next::<T>(&p.axes[0], back, left);
            let of = Channels { all: all_from, first: 0, count: all_from, height: other[0], width: other[1] };
            let (rows, steps) =
                ((&lanes, lanes.shift, lanes.from, lanes.to), Steps::channels_last::<T>(other[1], all_from));
            gather::<V>(images, of, rows, (0, other[1]), steps, source);
            let block_of =
                Block { p, back, lanes, source, channels: [from, to], columns: [other[1], result[1]] };
            let of = Channels { all: all_to, first: 0, count: all_to, height: result[0], width: result[1] };
            let (together, length) = (lanes.together(result[1]), result[1] * all_to * width::<T>());
            for first in (0..lanes.rows).step_by(together) {
                let count = together.min(lanes.rows - first);
                for (row, to) in (first..first + count).zip(block.chunks_exact_mut(length.max(1))) {
                    zeros = zeros + block_of.row::<V>(row, packed, to);
                }
                let cells = &block[..count * length];
                spread::<V>(cells, &lanes, of, (first, count), out);
            }
            left -= lanes.examples;
            images = &images[lanes.examples * one..];
            out = &mut out[lanes.examples * made..];
        }
        Ok(zeros.sum() == T::default())
    }
}

/// Lays the weights out as `[groups, tiles, rows and columns of the kernel, channels of the other array, channels of the tile]`; the kernel from
/// its end where the result is the input.
#[inline(always)]
fn pack<T: Real, V: Vector<Scalar = T>>(p: &Problem, weights: &[T], out: &mut [T]) {
    let Sides { back, channels: [from, to], .. } = sides(p);
    let [c, o] = p.channels;
    let taps = p.axes[0].kernel * p.axes[1].kernel;
    let mut cells = out.iter_mut();
    for group in 0..p.groups {
        let mut first = 0;
        while first < to {
            let rows = tile::<V>(to - first);
            for tap in 0..taps {
                let tap = if back { taps - 1 - tap } else { tap };
                for other in 0..from {
                    for own in first..first + rows {
                        let (o_at, c_at) = if back { (other, own) } else { (own, other) };
                        if let Some(cell) = cells.next() {
                            *cell = weights[((group * o + o_at) * c + c_at) * taps + tap];
                        }
                    }
                }
            }
            first += rows;
        }
    }
}

/// A block of lanes of the other array, laid out, and how it is read.
struct Block<'a, T> {
    p: &'a Problem,
    back: bool,
    lanes: Lanes,
    source: &'a [T],
    /// Channels of a group of the other array, and of the result.
    channels: [usize; 2],
    columns: [usize; 2],
}

impl<T: Real> Block<'_, T> {
    /// A row of the result, `[columns, channels, lanes]`. Returns zeros, or NaN where not all is finite.
    #[inline(always)]
    fn row<V: Vector<Scalar = T>>(&self, row: usize, packed: &[T], out: &mut [T]) -> V {
        let mut zeros = V::all(T::default());
        let Self { p, back, lanes, channels: [from, to], columns, .. } = *self;
        let [y, x] = p.axes;
        let rows = y.taps(back, row, lanes.from, lanes.to);
        for start in (0..columns[1]).step_by(NEAR) {
            // Once for all channels: they are not worth a division each.
            let near: [Taps; NEAR] = std::array::from_fn(|i| x.taps(back, start + i, 0, columns[0] as isize));
            let mut weights = packed;
            for group in 0..p.groups {
                let mut first = 0;
                while first < to {
                    let size = tile::<V>(to - first);
                    for (column, &taps) in (start..columns[1]).zip(&near) {
                        let tile = Tile {
                            rows,
                            columns: taps,
                            kernel: x.kernel,
                            channels: from,
                            group,
                            all: from * p.groups,
                            width: columns[0],
                            above: lanes.from,
                        };
                        let at = (column * to * p.groups + group * to + first) * width::<T>();
                        let out = &mut out[at..at + size * width::<T>()];
                        zeros = zeros + tile.compute::<V>(size, weights, self.source, out);
                    }
                    weights = &weights[size * from * y.kernel * x.kernel..];
                    first += size;
                }
            }
        }
        zeros
    }
}

/// Pixels of a row that are computed with one tile of channels after the other.
const NEAR: usize = 16;

/// Some channels of one pixel of the result.
struct Tile {
    rows: Taps,
    columns: Taps,
    /// Columns of the kernel.
    kernel: usize,
    /// Channels of a group of the other array, which group, and all channels.
    channels: usize,
    group: usize,
    all: usize,
    /// Columns of the other array, and the number of its first row.
    width: usize,
    above: isize,
}

impl Tile {
    #[inline(always)]
    fn compute<V: Vector>(
        &self,
        size: usize,
        weights: &[V::Scalar],
        source: &[V::Scalar],
        out: &mut [V::Scalar],
    ) -> V {
        let per = const { width::<V::Scalar>() / V::LANES };
        match (per, size) {
            (1, 8) => self.sums::<V, 1, 8>(weights, source, out),
            (1, 4) => self.sums::<V, 1, 4>(weights, source, out),
            (1, 2) => self.sums::<V, 1, 2>(weights, source, out),
            (1, _) => self.sums::<V, 1, 1>(weights, source, out),
            (2, 6) => self.sums::<V, 2, 6>(weights, source, out),
            (2, 4) => self.sums::<V, 2, 4>(weights, source, out),
            (2, 2) => self.sums::<V, 2, 2>(weights, source, out),
            (2, _) => self.sums::<V, 2, 1>(weights, source, out),
            (8, _) => self.sums::<V, 8, 1>(weights, source, out),
            _ => self.sums::<V, 16, 1>(weights, source, out),
        }
    }

    /// The sums of `N` channels, `M` registers of lanes each. Returns zeros, or NaN where one is not finite.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // as in the tile of a product: behind iterators sums are left in memory
    fn sums<V: Vector, const M: usize, const N: usize>(
        &self,
        weights: &[V::Scalar],
        source: &[V::Scalar],
        out: &mut [V::Scalar],
    ) -> V {
        if const { M * V::LANES != width::<V::Scalar>() } {
            return V::all(V::Scalar::default());
        }
        let mut sums = [[V::all(V::Scalar::default()); M]; N];
        let Self { rows, columns, channels, all, .. } = *self;
        let block = width::<V::Scalar>();
        // Where neighbours along a row of the kernel are neighbours in both arrays, they are one run with their channels.
        let whole = columns.kernel_step == 1 && columns.step == 1 && channels == all;
        let (runs, length) =
            if whole { (columns.count.min(1), columns.count * channels) } else { (columns.count, channels) };
        if rows.count * runs > 0 {
            // From one run to the next, along the kernel and to its next row.
            let (w_step, x_step) = (columns.kernel_step * channels * N, columns.step * all * block);
            let (w_row, x_row) =
                (rows.kernel_step * self.kernel * channels * N, rows.step * self.width * all * block);
            let above = (rows.place - self.above) as usize * self.width + columns.place as usize;
            let weights = &weights[(rows.kernel * self.kernel + columns.kernel) * channels * N..]
                [..(rows.count - 1) * w_row + (runs - 1) * w_step + length * N];
            let source = &source[(above * all + self.group * channels) * block..]
                [..(rows.count - 1) * x_row + (runs - 1) * x_step + length * block];
            for i in 0..rows.count {
                for j in 0..runs {
                    // SAFETY: the slices above have N numbers and a block of lanes for each of all runs.
                    unsafe {
                        let w = weights.as_ptr().add(i * w_row + j * w_step);
                        let x = source.as_ptr().add(i * x_row + j * x_step);
                        for k in 0..length {
                            let mut lanes = [V::all(V::Scalar::default()); M];
                            for m in 0..M {
                                lanes[m] = V::load(x.add(k * block + m * V::LANES));
                            }
                            for n in 0..N {
                                let weight = V::all(*w.add(k * N + n));
                                for m in 0..M {
                                    sums[n][m] = lanes[m].mul_add(weight, sums[n][m]);
                                }
                            }
                        }
                    }
                }
            }
        }
        let out = &mut out[..N * block];
        let zero = V::all(V::Scalar::default());
        let mut zeros = [zero; M];
        for n in 0..N {
            for m in 0..M {
                // SAFETY: `out` has a block of lanes for each of N channels.
                unsafe { sums[n][m].store(out.as_mut_ptr().add(n * block + m * V::LANES)) };
                zeros[m] = sums[n][m].mul_add(zero, zeros[m]);
            }
        }
        for m in 1..M {
            zeros[0] = zeros[0] + zeros[m];
        }
        zeros[0]
    }
}
