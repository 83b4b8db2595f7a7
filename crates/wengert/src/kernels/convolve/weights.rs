//! The transpose of a convolution by its weights: for a few elements of the kernel and a few channels of the output the sums over all pixels and lanes, which
//! are added up at the end.

use super::lanes::{Channels, Lanes, SPREAD, gather};
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
            gather::<V>(&images[done * one..], of, rows, (-x.padding, sizes.columns), input);
            let of = Channels { all: p.groups * o, first, count: outs, height: y.output, width: x.output };
            let together = lanes.together(x.output);
            for start in (0..lanes.rows).step_by(together) {
                let end = lanes.rows.min(start + together);
                let rows = (&lanes, lanes.rows, start as isize, end as isize);
                gather::<V>(&output[done * made..], of, rows, (0, x.output), cts);
                for row in start..end {
                    let cts = &cts[(row - start) * x.output * outs * width::<T>()..];
                    let block = Row { p, sizes: &sizes, lanes, first, outs, row };
                    block.add::<V>(input, cts, sums);
                }
            }
            done += lanes.examples;
        }
        let mut sums = sums.chunks_exact_mut(chains::<T>());
        for out in out.chunks_exact_mut(c * y.kernel * x.kernel) {
            for a in 0..y.kernel {
                for (i, sum) in sums.by_ref().take(sizes.run).enumerate() {
                    let (b, channel) = (i / c, i % c);
                    if b < x.kernel {
                        out[(channel * y.kernel + a) * x.kernel + b] = total(sum);
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

/// A row of the output in all lanes of a block.
struct Row<'a> {
    p: &'a Problem,
    sizes: &'a Sizes,
    lanes: Lanes,
    /// The channels of the output: the first, and how many.
    first: usize,
    outs: usize,
    row: usize,
}

impl Row<'_> {
    /// Adds its products with the rows of the input that the kernel meets.
    #[inline(always)]
    fn add<V: Vector>(&self, input: &[V::Scalar], cts: &[V::Scalar], sums: &mut [V::Scalar]) {
        let ([y, _], [c, o]) = (self.p.axes, self.p.channels);
        let length = self.sizes.columns * c * self.p.groups * width::<V::Scalar>();
        let rows = y.taps(false, self.row, self.lanes.from, self.lanes.to);
        for i in 0..rows.count {
            let kernel = rows.kernel + i * rows.kernel_step;
            let row = (rows.place + (i * rows.step) as isize - self.lanes.from) as usize;
            let input = &input[row * length..][..length];
            let mut out = 0;
            while out < self.outs {
                // The channels of a tile are of one group.
                let group = (self.first + out) / o;
                let left = ((group + 1) * o - self.first).min(self.outs) - out;
                let input = &input[group * c * width::<V::Scalar>()..];
                let size = [4, 2, 1].into_iter().find(|&size| size <= left).unwrap_or(1);
                match size {
                    4 => self.tiles::<V, 4>((kernel, out), input, cts, sums),
                    2 => self.tiles::<V, 2>((kernel, out), input, cts, sums),
                    _ => self.tiles::<V, 1>((kernel, out), input, cts, sums),
                }
                out += size;
            }
        }
    }

    /// The same for `N` channels of the output and a row of the kernel.
    #[inline(always)]
    fn tiles<V: Vector, const N: usize>(
        &self,
        (kernel, out): (usize, usize),
        input: &[V::Scalar],
        cts: &[V::Scalar],
        sums: &mut [V::Scalar],
    ) {
        let ([y, x], [c, _]) = (self.p.axes, self.p.channels);
        let (block, chains) = (width::<V::Scalar>(), const { simd::chains::<V::Scalar>() });
        let all = c * self.p.groups;
        for first in (0..self.sizes.run).step_by(ELEMENTS) {
            // What fills up the last tile is computed, and not used.
            let starts: [usize; ELEMENTS] = std::array::from_fn(|i| {
                let element = (first + i).min(x.kernel * c - 1);
                (element / c * x.dilation * all + element % c) * block
            });
            let tile = Tile {
                input: starts.map(|start| &input[start..]),
                input_step: x.stride * all * block,
                cts: &cts[out * block..],
                cts_step: self.outs * block,
                count: x.output,
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

/// Some elements of a row of the kernel against some channels of the output, over a row of it.
struct Tile<'a, T> {
    input: [&'a [T]; ELEMENTS],
    input_step: usize,
    cts: &'a [T],
    cts_step: usize,
    count: usize,
}

impl<T: Real> Tile<'_, T> {
    /// Adds to sums of `M` registers each, those of `N` channels `next` apart.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // as in the tile of a product: behind iterators sums are left in memory
    fn add<V: Vector<Scalar = T>, const M: usize, const N: usize>(&self, sums: &mut [T], next: usize) {
        if const { M * V::LANES != chains::<T>() } || self.count == 0 {
            return;
        }
        let Self { input, input_step, cts, cts_step, count } = *self;
        let (block, chains) = (width::<T>(), const { simd::chains::<T>() });
        let input = input.map(|input| input[..(count - 1) * input_step + block].as_ptr());
        let cts = cts[..(count - 1) * cts_step + N * block].as_ptr();
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
            for i in 0..count {
                for half in (0..block).step_by(chains) {
                    for m in 0..M {
                        let lane = half + m * V::LANES;
                        let x: [V; ELEMENTS] = [
                            V::load(input[0].add(i * input_step + lane)),
                            V::load(input[1].add(i * input_step + lane)),
                            V::load(input[2].add(i * input_step + lane)),
                        ];
                        for n in 0..N {
                            let ct = V::load(cts.add(i * cts_step + n * block + lane));
                            for e in 0..ELEMENTS {
                                totals[n][e][m] = x[e].mul_add(ct, totals[n][e][m]);
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
