//! Images laid out so that neighbours in memory are the same element of several lanes.

use super::{Axis, width};
use crate::kernels::copy::prefetch;
use crate::kernels::simd::{Vector, WIDEST};
use crate::kernels::turn::turn;

/// How the examples of a call become the lanes of a block: each example as so many strips of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes {
    pub(super) examples: usize,
    pub(super) strips: usize,
    /// Rows of the result in a strip; the last one may have fewer.
    pub(super) rows: usize,
    /// By how many rows of the other array each strip begins behind the one before.
    pub(super) shift: usize,
    /// The rows of the other array that a strip reads, from its own first row. Those beyond the array are zeros, unless there is one strip, which has all rows and
    /// no others.
    pub(super) from: isize,
    pub(super) to: isize,
}

impl Lanes {
    /// The next block of `left` examples: as many as there are lanes, or a power of two, in as many strips as fill them.
    pub(super) fn next<T>(axis: &Axis, back: bool, left: usize) -> Self {
        let (result, other) = if back { (axis.input, axis.output) } else { (axis.output, axis.input) };
        // Of fewer examples than lanes so many that strips can fill the rest.
        let examples = if left < width::<T>() { 1 << left.max(1).ilog2() } else { width::<T>() };
        let strips = (width::<T>() / examples.max(1)).clamp(1, result.max(1));
        // Strips of the input begin where its rows meet the same elements of the kernel.
        let unit = if back { axis.stride } else { 1 };
        let rows = result.div_ceil(strips).next_multiple_of(unit).max(1);
        let strips = result.div_ceil(rows).max(1);
        if strips == 1 {
            return Self { examples, strips, rows: result, shift: 0, from: 0, to: other as isize };
        }
        let shift = if back { rows / axis.stride } else { rows * axis.stride };
        let (from, to) = axis.reach(back, rows);
        Self { examples, strips, rows, shift, from, to: to.max(from) }
    }

    /// Rows that a strip reads.
    pub(super) fn reads(&self) -> usize {
        (self.to - self.from) as usize
    }

    /// The most rows that a strip of any block reads, and has.
    pub(super) fn most<T>(axis: &Axis, back: bool) -> (usize, usize) {
        let all = (1..=width::<T>()).map(|left| Self::next::<T>(axis, back, left));
        all.fold((0, 0), |(reads, rows), lanes| (reads.max(lanes.reads()), rows.max(lanes.rows)))
    }

    /// How many rows of a result, of so many columns, are spread at a time: few, which are near, but of short ones more than a register.
    pub(super) fn together(&self, columns: usize) -> usize {
        if self.strips == 1 { (SPREAD / columns.max(1)).clamp(1, self.rows.max(1)) } else { 1 }
    }
}

/// Pixels of a result that are spread at a time, about.
pub(super) const SPREAD: usize = 56;

/// Channels of images, `[examples, channels, height, width]`, of which some are taken.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    /// All of them.
    pub(super) all: usize,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Where a row of each lane begins, in the first channel that is taken; lanes that have no such row have none.
type Starts = [Option<usize>; WIDEST];

impl Channels {
    /// The rows of strips that begin `shift` rows apart: row `row` of each, counted from its first.
    #[inline(always)]
    fn starts(&self, lanes: &Lanes, shift: usize, row: isize) -> Starts {
        let mut starts = [None; WIDEST];
        let all =
            (0..lanes.examples).flat_map(|example| (0..lanes.strips).map(move |strip| (example, strip)));
        for (start, (example, strip)) in starts.iter_mut().zip(all) {
            let row = usize::try_from(row + (strip * shift) as isize).ok().filter(|&row| row < self.height);
            *start = row.map(|row| ((example * self.all + self.first) * self.height + row) * self.width);
        }
        starts
    }
}

/// Numbers of a row that are moved with all channels before the next ones: as many as a cache line has.
#[inline(always)]
fn pieces<T>(columns: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..columns).step_by(width::<T>()).map(move |x| x..columns.min(x + width::<T>()))
}

/// Where squares begin that cover a piece of a row of so many columns: the last one begins where it ends with the row.
#[inline(always)]
fn squares<V: Vector>(piece: std::ops::Range<usize>, columns: usize) -> impl Iterator<Item = usize> {
    piece.step_by(V::LANES).map(move |x| x.min(columns - V::LANES))
}

/// How far apart in a layout lanes of neighbours are: along a row, in the next row, and in the next channel.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) column: usize,
    pub(super) row: usize,
    pub(super) channel: usize,
}

impl Steps {
    /// `[rows, columns, channels, lanes]`: what all channels have at one place is one run.
    pub(super) fn channels_last<T>(columns: usize, channels: usize) -> Self {
        let column = channels * width::<T>();
        Self { column, row: columns * column, channel: width::<T>() }
    }

    /// `[channels, rows, columns, lanes]`: so are rows of a channel.
    pub(super) fn channels_first<T>(rows: usize, columns: usize) -> Self {
        let row = columns * width::<T>();
        Self { column: width::<T>(), row, channel: rows * row }
    }
}

/// Lays examples out: the rows `from..to` of strips that begin `shift` rows apart, and so many columns from `left` on (which may be
/// before the first). What lies beyond the images is zero, and so are lanes that have no strip.
#[inline(always)]
pub(super) fn gather<V: Vector>(
    images: &[V::Scalar],
    of: Channels,
    (lanes, shift, from, to): (&Lanes, usize, isize, isize),
    (left, mut columns): (isize, usize),
    steps: Steps,
    out: &mut [V::Scalar],
) {
    let (mut rows, mut wide) = ((to - from) as usize, of.width);
    // Rows that lie behind one another are one.
    if lanes.strips == 1 && left == 0 && columns == of.width && from >= 0 && to <= of.height as isize {
        (rows, columns, wide) = (1, rows * columns, rows * wide);
    }
    let block = width::<V::Scalar>();
    let plane = of.height * of.width;
    let zero = [V::Scalar::default(); WIDEST];
    let inside = (-left).clamp(0, columns as isize) as usize
        ..(wide as isize - left).clamp(0, columns as isize) as usize;
    for r in 0..rows {
        let out = &mut out[r * steps.row..];
        for x in (0..inside.start.min(columns)).chain(inside.end..columns) {
            for c in 0..of.count {
                out[x * steps.column + c * steps.channel..][..block].fill(V::Scalar::default());
            }
        }
        if inside.is_empty() {
            continue;
        }
        let first = (left + inside.start as isize) as usize;
        let starts = of.starts(lanes, shift, from + r as isize).map(|start| start.map(|start| start + first));
        for piece in pieces::<V::Scalar>(inside.len()) {
            for c in 0..of.count {
                let out = &mut out[inside.start * steps.column + c * steps.channel..];
                for start in starts.iter().flatten() {
                    prefetch(&images[(start + c * plane + piece.end).min(images.len() - 1)..][..1]);
                }
                if inside.len() < V::LANES {
                    for (lane, start) in starts.iter().enumerate().take(block) {
                        for x in piece.clone() {
                            let number = start.map(|start| images[start + c * plane + x]);
                            out[x * steps.column + lane] = number.unwrap_or_default();
                        }
                    }
                    continue;
                }
                for x in squares::<V>(piece.clone(), inside.len()) {
                    for group in (0..block).step_by(V::LANES) {
                        let line = |i: usize| match starts[group + i] {
                            Some(start) => images[start + c * plane + x..][..V::LANES].as_ptr(),
                            None => zero.as_ptr(),
                        };
                        let step = steps.column;
                        let cells = out[x * step + group..][..(V::LANES - 1) * step + V::LANES].as_mut_ptr();
                        // SAFETY: slices as long as what is read and written.
                        unsafe { turn::<V>(line, |i| cells.add(i * step)) };
                    }
                }
            }
        }
    }
}

/// The way back, for `count` rows of the result from row `row` of each strip on: to where they belong. More than one only where strips are whole images.
#[inline(always)]
pub(super) fn spread<V: Vector>(
    cells: &[V::Scalar],
    lanes: &Lanes,
    of: Channels,
    (row, count): (usize, usize),
    images: &mut [V::Scalar],
) {
    let (block, cell) = (width::<V::Scalar>(), of.count * width::<V::Scalar>());
    let (plane, columns) = (of.height * of.width, count * of.width);
    let mut nowhere = [V::Scalar::default(); WIDEST];
    let starts = of.starts(lanes, lanes.rows, row as isize);
    for piece in pieces::<V::Scalar>(columns) {
        for c in 0..of.count {
            if columns < V::LANES {
                for (lane, start) in starts.iter().enumerate().take(block) {
                    let Some(start) = start else { continue };
                    piece
                        .clone()
                        .for_each(|x| images[start + c * plane + x] = cells[x * cell + c * block + lane]);
                }
                continue;
            }
            for x in squares::<V>(piece.clone(), columns) {
                for group in (0..block).step_by(V::LANES) {
                    let from =
                        cells[x * cell + c * block + group..][..(V::LANES - 1) * cell + V::LANES].as_ptr();
                    let nowhere = nowhere.as_mut_ptr();
                    let mut to = [nowhere; WIDEST];
                    for (to, start) in to.iter_mut().zip(&starts[group..]).take(V::LANES) {
                        if let Some(start) = start {
                            *to = images[start + c * plane + x..][..V::LANES].as_mut_ptr();
                        }
                    }
                    // SAFETY: slices as long as what is read and written.
                    unsafe { turn::<V>(|i| from.add(i * cell), |i| to[i]) };
                }
            }
        }
    }
}
