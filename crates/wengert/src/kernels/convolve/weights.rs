//! The transpose of a convolution by its weights: for a few elements of the kernel and a few channels of the output the sums over all pixels and lanes, which
//! are added up at the end.

use std::ops::Range;

use super::lanes::{Channels, Lanes, SPREAD, Steps, gather};
use super::{Problem, product, width};
use crate::error::Fault;
use crate::kernels::simd::{self, Isa, Real, Simd, Vector, chains};

/// Elements of a row of the kernel, with their channels, in a tile.
const ELEMENTS: usize = 3;

/// How a call lays its arrays out.
struct Sizes {
    /// Columns of an input row, with those beyond its ends that the kernel meets.
    columns: usize,
    /// Elements of a row of the kernel with the channels of a group, in whole tiles.
    run: usize,
    input: usize,
    output: usize,
    sums: usize,
}

fn sizes<T>(p: &Problem, outs: usize) -> Sizes {
    let [y, x] = p.axes;
    let [c, _] = p.channels;
    let columns = if x.output == 0 { 0 } else { (x.output - 1) * x.stride + (x.kernel - 1) * x.dilation + 1 };
    let run = x.kernel.saturating_mul(c).checked_next_multiple_of(ELEMENTS).unwrap_or(usize::MAX);
    let (reads, rows) = Lanes::most::<T>(&y, false);
    Sizes {
        columns,
        run,
        input: product([reads, columns, c, p.groups, width::<T>()]),
        // A row, or several short ones.
        output: product([rows.min(SPREAD.div_ceil(x.output.max(1))), x.output, outs, width::<T>(), 1]),
        sums: product([outs, y.kernel, run, chains::<T>(), 1]),
    }
}

pub(super) fn scratch<T>(p: &Problem) -> usize {
    let sizes = sizes::<T>(p, p.channels[1] * p.groups);
    [sizes.input, sizes.output, sizes.sums].into_iter().fold(width::<T>(), usize::saturating_add)
}

pub(super) fn run<T: Real>(
    p: &Problem,
    isa: Isa,
    operands: [&[T]; 2],
    first: usize,
    out: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    isa.narrow(Weights { p, operands, first, out, scratch })
}

struct Weights<'a, T> {
    p: &'a Problem,
    operands: [&'a [T]; 2],
    first: usize,
    out: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Simd<T> for Weights<'_, T> {
    type Output = Result<(), Fault>;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> Self::Output {
        let Self { p, operands: [images, output], first, out, scratch } = self;
        let ([y, x], [c, o]) = (p.axes, p.channels);
        let outs = out.len() / (c * y.kernel * x.kernel).max(1);
        let sizes = sizes::<T>(p, outs);
        let (one, made) = (p.groups * c * y.input * x.input, p.groups * o * y.output * x.output);
        let fits = images.len() == p.examples * one && output.len() == p.examples * made;
        if !fits || scratch.len() < self::scratch::<T>(p) {
            return Err(Fault::Type);
        }
        let skipped = scratch.as_ptr().align_offset(64).min(width::<T>());
        let (input, rest) = scratch[skipped..].split_at_mut(sizes.input);
        let (cts, sums) = rest.split_at_mut(sizes.output);
        let sums = &mut sums[..sizes.sums];
        sums.fill(T::default());
        let mut done = 0;
        while done < p.examples {
            let lanes = Lanes::next::<T>(&y, false, p.examples - done);
            let of = Channels {
                all: p.groups * c,
                first: 0,
                count: p.groups * c,
                height: y.input,
                width: x.input,
            };
            let rows = (&lanes, lanes.shift, lanes.from, lanes.to);
            let steps = Steps::channels_first::<T>(lanes.reads(), sizes.columns);
            gather::<V>(&images[done * one..], of, rows, (-x.padding, sizes.columns), steps, input);
            let of = Channels { all: p.groups * o, first, count: outs, height: y.output, width: x.output };
            let together = (SPREAD / x.output.max(1)).clamp(1, lanes.rows.max(1));
            for start in (0..lanes.rows).step_by(together) {
                let end = lanes.rows.min(start + together);
                let rows = (&lanes, lanes.rows, start as isize, end as isize);
                let cts_steps = Steps::channels_first::<T>(end - start, x.output);
                gather::<V>(&output[done * made..], of, rows, (0, x.output), cts_steps, cts);
                let rows = Rows { p, sizes: &sizes, lanes, first, outs, rows: start..end, steps, cts_steps };
                rows.add::<V>(input, cts, sums);
            }
            done += lanes.examples;
        }
        let mut sums = sums.chunks_exact_mut(sizes.run * chains::<T>());
        for out in out.chunks_exact_mut(c * y.kernel * x.kernel) {
            for (a, sums) in sums.by_ref().take(y.kernel).enumerate() {
                let mut sums = sums.chunks_exact_mut(chains::<T>());
                for out in out.chunks_exact_mut(y.kernel * x.kernel) {
                    let row = &mut out[a * x.kernel..][..x.kernel];
                    for (out, sum) in row.iter_mut().zip(&mut sums) {
                        *out = if const { chains::<T>() == V::LANES } {
                            // SAFETY: the sum is as long as a register.
                            unsafe { V::load(sum.as_ptr()) }.sum()
                        } else {
                            total(sum)
                        };
                    }
                }
            }
        }
        Ok(())
    }
}

/// The sum of chains, in pairs half of them apart, then a quarter, …
pub(super) fn total<T: Real>(chains: &mut [T]) -> T {
    let mut half = chains.len() / 2;
    while half > 0 {
        for i in 0..half {
            chains[i] = chains[i] + chains[i + half];
        }
        half /= 2;
    }
    chains[0]
}

/// Some rows of the output in all lanes of a block.
struct Rows<'a> {
    p: &'a Problem,
    sizes: &'a Sizes,
    lanes: Lanes,
    /// The channels of the output: the first, and how many.
    first: usize,
    outs: usize,
    rows: Range<usize>,
    steps: Steps,
    cts_steps: Steps,
}

impl Rows<'_> {
    /// Adds their products with the rows of the input that the kernel meets.
    #[inline(always)]
    fn add<V: Vector>(&self, input: &[V::Scalar], cts: &[V::Scalar], sums: &mut [V::Scalar]) {
        let ([y, _], [c, o]) = (self.p.axes, self.p.channels);
        for kernel in 0..y.kernel {
            // The rows that meet one of the input here.
            let Lanes { from, to, .. } = self.lanes;
            let before = (kernel * y.dilation) as isize - y.padding;
            let first = |place: isize| {
                let row = -(before - place).div_euclid(y.stride as isize);
                (row.max(0) as usize).clamp(self.rows.start, self.rows.end)
            };
            let rows = first(from)..first(to);
            if rows.is_empty() {
                continue;
            }
            let place = ((rows.start * y.stride) as isize + before - from) as usize;
            let input = &input[place * self.steps.row..];
            let cts = &cts[(rows.start - self.rows.start) * self.cts_steps.row..];
            let mut out = 0;
            while out < self.outs {
                // The channels of a tile are of one group.
                let group = (self.first + out) / o;
                let left = ((group + 1) * o - self.first).min(self.outs) - out;
                let input = &input[group * c * self.steps.channel..];
                let size = [4, 2, 1].into_iter().find(|&size| size <= left).unwrap_or(1);
                let count = rows.len();
                match size {
                    4 => self.tiles::<V, 4>((kernel, out, count), input, cts, sums),
                    2 => self.tiles::<V, 2>((kernel, out, count), input, cts, sums),
                    _ => self.tiles::<V, 1>((kernel, out, count), input, cts, sums),
                }
                out += size;
            }
        }
    }

    /// The same for `N` channels of the output and a row of the kernel, which meets so many rows.
    #[inline(always)]
    fn tiles<V: Vector, const N: usize>(
        &self,
        (kernel, out, rows): (usize, usize, usize),
        input: &[V::Scalar],
        cts: &[V::Scalar],
        sums: &mut [V::Scalar],
    ) {
        let ([y, x], [c, _]) = (self.p.axes, self.p.channels);
        let (chains, steps) = (const { simd::chains::<V::Scalar>() }, self.steps);
        let (mut channel, mut element) = (0, 0);
        for first in (0..self.sizes.run).step_by(ELEMENTS) {
            let mut starts = [0; ELEMENTS];
            for start in &mut starts {
                *start = channel * steps.channel + element * x.dilation * steps.column;
                element += 1;
                if element == x.kernel {
                    // What fills up the last tile is computed, and not used.
                    (channel, element) = ((channel + 1).min(c - 1), 0);
                }
            }
            let tile = Tile {
                input: starts.map(|start| &input[start..]),
                input_step: x.stride * steps.column,
                input_row: y.stride * steps.row,
                cts: &cts[out * self.cts_steps.channel..],
                cts_step: self.cts_steps.channel,
                rows,
                columns: x.output,
            };
            let at = ((out * y.kernel + kernel) * self.sizes.run + first) * chains;
            let sums = &mut sums[at..];
            let next = y.kernel * self.sizes.run * chains;
            match const { simd::chains::<V::Scalar>() / V::LANES } {
                1 => tile.add::<V, 1, N>(sums, next),
                4 => tile.add::<V, 4, N>(sums, next),
                _ => tile.add::<V, 8, N>(sums, next),
            }
        }
    }
}

/// Some elements of a row of the kernel against some channels of the output, over rows of it.
struct Tile<'a, T> {
    input: [&'a [T]; ELEMENTS],
    /// How far apart neighbours along a row are, and rows.
    input_step: usize,
    input_row: usize,
    cts: &'a [T],
    /// How far apart channels of the output are; its rows and columns lie behind one another.
    cts_step: usize,
    rows: usize,
    columns: usize,
}

impl<T: Real> Tile<'_, T> {
    /// Adds to sums of `M` registers each, those of `N` channels `next` apart.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // as in the tile of a product: behind iterators sums are left in memory
    fn add<V: Vector<Scalar = T>, const M: usize, const N: usize>(&self, sums: &mut [T], next: usize) {
        let Self { input, input_step, input_row, cts, cts_step, rows, columns } = *self;
        if const { M * V::LANES != chains::<T>() } || rows * columns == 0 {
            return;
        }
        let (block, chains) = (width::<T>(), const { simd::chains::<T>() });
        let reach = (rows - 1) * input_row + (columns - 1) * input_step + block;
        let input = input.map(|input| input[..reach].as_ptr());
        let cts = cts[..(N - 1) * cts_step + rows * columns * block].as_ptr();
        let sums = sums[..(N - 1) * next + ELEMENTS * chains].as_mut_ptr();
        // SAFETY: the slices above have all that is read and written here.
        unsafe {
            let mut totals = [[[V::all(T::default()); M]; ELEMENTS]; N];
            for n in 0..N {
                for e in 0..ELEMENTS {
                    for m in 0..M {
                        totals[n][e][m] = V::load(sums.add(n * next + e * chains + m * V::LANES));
                    }
                }
            }
            for row in 0..rows {
                for i in 0..columns {
                    let x = row * input_row + i * input_step;
                    let ct = cts.add((row * columns + i) * block);
                    for half in (0..block).step_by(chains) {
                        for m in 0..M {
                            let lane = half + m * V::LANES;
                            let x: [V; ELEMENTS] = [
                                V::load(input[0].add(x + lane)),
                                V::load(input[1].add(x + lane)),
                                V::load(input[2].add(x + lane)),
                            ];
                            for n in 0..N {
                                let ct = V::load(ct.add(n * cts_step + lane));
                                for e in 0..ELEMENTS {
                                    totals[n][e][m] = x[e].mul_add(ct, totals[n][e][m]);
                                }
                            }
                        }
                    }
                }
            }
            for n in 0..N {
                for e in 0..ELEMENTS {
                    for m in 0..M {
                        totals[n][e][m].store(sums.add(n * next + e * chains + m * V::LANES));
                    }
                }
            }
        }
    }
}
