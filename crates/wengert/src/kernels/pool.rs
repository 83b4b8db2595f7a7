//! Where the largest elements of sliding windows are.

use super::simd::{Isa, Real, Simd, Vector, WIDEST};

/// The windows over one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// How far the first one begins before the axis.
    pub(crate) before: usize,
    pub(crate) places: usize,
    /// Instead, as many as there are places, which together cover the axis and are as equal as can be.
    pub(crate) adaptive: bool,
}

impl Windows {
    /// One element each, beside each other.
    pub(crate) fn single(places: usize) -> Self {
        Self { size: 1, stride: 1, dilation: 1, before: 0, places, adaptive: false }
    }

    /// The elements of a window that lie inside an axis.
    pub(crate) fn elements(
        self,
        place: usize,
        length: usize,
    ) -> impl ExactSizeIterator<Item = usize> + Clone {
        let Self { size, stride, dilation, before, places, .. } = self;
        if self.adaptive {
            let start = place * length / places;
            return (start..((place + 1) * length).div_ceil(places)).step_by(1);
        }
        let start = place * stride;
        // The first that is not before the array.
        let skipped = before.saturating_sub(start).div_ceil(dilation).min(size);
        let first = (start + skipped * dilation).saturating_sub(before);
        let end = (start + (size - 1) * dilation + 1).saturating_sub(before).min(length);
        (first..end.max(first)).step_by(dilation)
    }

    /// The windows that lie inside an axis as a whole.
    fn whole(self, length: usize) -> std::ops::Range<usize> {
        let Self { size, stride, dilation, before, places, .. } = self;
        let span = (size - 1) * dilation + 1;
        if self.adaptive || length + before < span {
            return 0..0;
        }
        let first = before.div_ceil(stride).min(places);
        first..((length + before - span) / stride + 1).clamp(first, places)
    }
}

/// For each window over planes of so many rows and columns the position of its largest element in the plane: the first of several, or the first that is NaN.
pub(crate) fn largest<T: Real>(
    isa: Isa,
    planes: &[T],
    lengths: [usize; 2],
    windows: [Windows; 2],
    out: &mut [u32],
) {
    isa.narrow(Largest { planes, lengths, windows, out });
}

struct Largest<'a, T> {
    planes: &'a [T],
    lengths: [usize; 2],
    windows: [Windows; 2],
    out: &'a mut [u32],
}

impl<T: Real> Simd<T> for Largest<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { planes, lengths: [height, width], windows: [rows, columns], out } = self;
        let (plane, made) = (height * width, rows.places * columns.places);
        let (tall, whole) = (rows.whole(height), columns.whole(width));
        for (i, out) in out.chunks_exact_mut(made.max(1)).enumerate() {
            let x = &planes[i * plane..];
            for (row, out) in out.chunks_exact_mut(columns.places).enumerate() {
                let (first, count) = if tall.contains(&row) {
                    (row * rows.stride - rows.before, rows.size)
                } else {
                    let elements = rows.elements(row, height);
                    (elements.clone().next().unwrap_or(0), elements.len())
                };
                let lines = Lines { first: first * width, step: rows.dilation * width, count };
                // Whole registers are read, of few windows also what is behind the last one.
                let last = whole.start.max(whole.end.saturating_sub(V::LANES)) * columns.stride;
                let fits = lines.first + last + lines.read::<V>(&columns) <= x.len() + columns.before;
                let whole = if fits { whole.clone() } else { 0..0 };
                match columns {
                    Windows { stride: 1, .. } => several::<V, 1>(x, lines, &whole, columns, out),
                    Windows { stride: 2, dilation: 1, .. } => several::<V, 2>(x, lines, &whole, columns, out),
                    _ => several::<V, 0>(x, lines, &whole, columns, out),
                }
                for column in (0..whole.start).chain(whole.end..out.len()) {
                    let elements = columns.elements(column, width);
                    let window = Windows { size: elements.len(), ..columns };
                    out[column] = one(x, lines, elements.clone().next().unwrap_or(0), window);
                }
            }
        }
    }
}

/// Lines of a plane: where the first one begins, and how far apart they are.
#[derive(Clone, Copy)]
struct Lines {
    first: usize,
    step: usize,
    count: usize,
}

impl Lines {
    /// The elements from the first of a register of windows to the last that is read with them.
    fn read<V: Vector>(&self, windows: &Windows) -> usize {
        let Windows { size, stride, dilation, .. } = *windows;
        // Two apart, two neighbours are read at a time.
        let size = if stride == 2 && dilation == 1 { size.next_multiple_of(2) } else { size };
        self.count.saturating_sub(1) * self.step + (size - 1) * dilation + (V::LANES - 1) * stride + 1
    }
}

/// The position of the first largest element of a window that begins in column `start`, or of the first NaN.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN is neither more nor less
fn one<T: Real>(x: &[T], lines: Lines, start: usize, window: Windows) -> u32 {
    let first = lines.first + start;
    let mut found = first;
    for line in 0..lines.count {
        for i in 0..window.size {
            let at = first + line * lines.step + i * window.dilation;
            // Without a branch, for which is largest nobody can guess.
            let larger = !(x[at] <= x[found]) & x[found].partial_cmp(&x[found]).is_some();
            found = if larger { at } else { found };
        }
    }
    found as u32
}

/// The same for the windows `whole`, none of which is cut, a register of them at a time: windows `STRIDE` apart or, at 0, as they say.
#[inline(always)]
fn several<V: Vector, const STRIDE: usize>(
    x: &[V::Scalar],
    lines: Lines,
    whole: &std::ops::Range<usize>,
    windows: Windows,
    out: &mut [u32],
) {
    let Windows { size, dilation, stride, before, .. } = windows;
    let stride = if const { STRIDE > 0 } { STRIDE } else { stride };
    let mut column = whole.start;
    while column < whole.end {
        // The last ones begin where they end with the row.
        let at = column.min(whole.end.saturating_sub(V::LANES).max(whole.start));
        let first = lines.first + at * stride - before;
        let from = x[first..][..lines.read::<V>(&windows)].as_ptr();
        let (mut largest, mut found) = (V::splat(f64::NEG_INFINITY), V::all(from_position(0)));
        for line in 0..lines.count {
            let mut i = 0;
            while i < size {
                let place = line * lines.step + i * dilation;
                // SAFETY: a register of windows reads no further than `Lines::read`, which `from` was sliced to; where two registers are read it
                // has rounded the size up.
                unsafe {
                    let from = from.add(place);
                    if const { STRIDE == 2 } {
                        let (even, odd) = V::unzip(V::load(from), V::load(from.add(V::LANES)));
                        (largest, found) = better(largest, found, even, place);
                        i += 1;
                        if i < size {
                            (largest, found) = better(largest, found, odd, place + 1);
                        }
                    } else if const { STRIDE == 1 } {
                        (largest, found) = better(largest, found, V::load(from), place);
                    } else {
                        let mut apart = [V::Scalar::default(); WIDEST];
                        for (n, apart) in apart.iter_mut().enumerate().take(V::LANES) {
                            *apart = *from.add(n * stride);
                        }
                        (largest, found) = better(largest, found, V::load(apart.as_ptr()), place);
                    }
                }
                i += 1;
            }
        }
        let mut bits = [V::Scalar::default(); WIDEST];
        // SAFETY: as long as the widest register.
        unsafe { found.store(bits.as_mut_ptr()) };
        let mut positions = [0; WIDEST];
        for n in 0..V::LANES {
            positions[n] = first as u32 + n as u32 * stride as u32 + to_position(bits[n]);
        }
        let out = &mut out[at..whole.end];
        if out.len() >= V::LANES {
            out[..V::LANES].copy_from_slice(&positions[..V::LANES]);
        } else {
            out.copy_from_slice(&positions[..out.len()]);
        }
        column += V::LANES;
    }
}

/// The larger of the largest numbers so far and those at another position, with the position; of equal ones the first, and the first NaN.
#[inline(always)]
fn better<V: Vector>(largest: V, found: V, numbers: V, position: usize) -> (V, V) {
    let larger = !numbers.le(largest) & !largest.is_nan();
    let position = V::all(from_position(position));
    (V::select(larger, numbers, largest), V::select(larger, position, found))
}

/// A position as the bits of a number, which are only moved.
#[inline(always)]
fn from_position<T: Real>(position: usize) -> T {
    bytemuck::pod_read_unaligned(&(position as u64).to_le_bytes()[..size_of::<T>()])
}

#[inline(always)]
fn to_position<T: Real>(bits: T) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&bytemuck::bytes_of(&bits)[..4]);
    u32::from_le_bytes(bytes)
}
