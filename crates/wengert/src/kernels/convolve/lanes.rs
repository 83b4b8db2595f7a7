//! Images laid out so that neighbours in memory are the same element of several lanes.

use super::{Axis, width};

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
    /// The next block of `left` examples: a whole one, or all that are left, in as many strips as fill it.
    pub(super) fn next<T>(axis: &Axis, back: bool, left: usize) -> Self {
        let (result, other) = if back { (axis.input, axis.output) } else { (axis.output, axis.input) };
        let examples = left.min(width::<T>());
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
}

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

impl Channels {
    /// Where a row begins.
    fn row(&self, example: usize, channel: usize, row: usize) -> usize {
        ((example * self.all + self.first + channel) * self.height + row) * self.width
    }
}

/// Lays examples out as `[rows, columns, channels, lanes]`: the rows `from..to` of strips that begin `shift` rows apart, and so many columns from `left` on (which may be
/// before the first). What lies beyond the images is zero, and so are lanes that have no strip.
pub(super) fn gather<T: Copy + Default>(
    images: &[T],
    of: Channels,
    (lanes, shift, from, to): (&Lanes, usize, isize, isize),
    (left, columns): (isize, usize),
    out: &mut [T],
) {
    let block = width::<T>();
    let rows = (to - from) as usize;
    let out = &mut out[..rows * columns * of.count * block];
    let used = lanes.examples * lanes.strips;
    let inside = (-left).clamp(0, columns as isize) as usize
        ..(of.width as isize - left).clamp(0, columns as isize) as usize;
    if used < block || inside != (0..columns) || lanes.strips > 1 {
        out.fill(T::default());
    }
    for lane in 0..used {
        let (example, strip) = (lane / lanes.strips, lane % lanes.strips);
        for r in 0..rows {
            let row = from + r as isize + (strip * shift) as isize;
            let Some(row) = usize::try_from(row).ok().filter(|&row| row < of.height) else { continue };
            for c in 0..of.count {
                let line = &images[of.row(example, c, row)..][..of.width];
                let to = &mut out[((r * columns) * of.count + c) * block + lane..];
                let cells = to.iter_mut().step_by(of.count * block).skip(inside.start).take(inside.len());
                let first = (left + inside.start as isize) as usize;
                cells.zip(&line[first.min(line.len())..]).for_each(|(cell, &x)| *cell = x);
            }
        }
    }
}

/// The way back, for results: rows of strips to where they belong.
pub(super) fn spread<T: Copy>(block_of: &[T], lanes: &Lanes, of: Channels, images: &mut [T]) {
    let block = width::<T>();
    for lane in 0..lanes.examples * lanes.strips {
        let (example, strip) = (lane / lanes.strips, lane % lanes.strips);
        for r in 0..lanes.rows.min(of.height.saturating_sub(strip * lanes.rows)) {
            for c in 0..of.count {
                let line = &mut images[of.row(example, c, strip * lanes.rows + r)..][..of.width];
                let from = &block_of[(r * of.width * of.count + c) * block + lane..];
                line.iter_mut().zip(from.iter().step_by(of.count * block)).for_each(|(to, &x)| *to = x);
            }
        }
    }
}
