//! Where the largest elements of sliding windows are.

use super::simd::{Isa, Real, Simd, Vector};

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

/// Windows beside each other that are searched together: of long rows, and of short ones.
const MANY: usize = 8;
const FEW: usize = 4;

impl<T: Real> Simd<T> for Largest<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { planes, lengths: [height, width], windows: [rows, columns], out } = self;
        let made = out.chunks_exact_mut((rows.places * columns.places).max(1));
        let whole = columns.whole(width);
        let together = whole.len() >= FEW;
        for (x, out) in planes.chunks_exact((height * width).max(1)).zip(made) {
            for (row, out) in out.chunks_exact_mut(columns.places).enumerate() {
                let elements = rows.elements(row, height);
                let lines = Lines {
                    first: elements.clone().next().unwrap_or(0) * width,
                    step: rows.dilation * width,
                    count: elements.len(),
                };
                // The last ones begin where they end with the row.
                if whole.len() >= MANY {
                    for column in whole.clone().step_by(MANY) {
                        many::<T, MANY>(x, lines, column.min(whole.end - MANY), columns, out);
                    }
                } else if together {
                    for column in whole.clone().step_by(FEW) {
                        many::<T, FEW>(x, lines, column.min(whole.end - FEW), columns, out);
                    }
                }
                for column in (0..out.len()).filter(|column| !together || !whole.contains(column)) {
                    let elements = columns.elements(column, width);
                    let window = Windows { size: elements.len(), stride: 1, ..columns };
                    [out[column]] = search(x, lines, elements.clone().next().unwrap_or(0), window);
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

/// Searches `N` windows from the one at `column` on, none of which is cut.
#[inline(always)]
fn many<T: Real, const N: usize>(x: &[T], lines: Lines, column: usize, columns: Windows, out: &mut [u32]) {
    let found: [u32; N] = search(x, lines, column * columns.stride - columns.before, columns);
    out[column..][..N].copy_from_slice(&found);
}

/// The positions of the first largest elements, or of the first NaN, of `N` windows over some lines, from `start` on.
#[inline(always)]
fn search<T: Real, const N: usize>(x: &[T], lines: Lines, start: usize, windows: Windows) -> [u32; N] {
    // Neighbours at a known distance the compiler loads together.
    match windows.stride {
        1 => stepped::<T, N, 1>(x, lines, start, windows),
        2 => stepped::<T, N, 2>(x, lines, start, windows),
        _ => stepped::<T, N, 0>(x, lines, start, windows),
    }
}

/// The same with windows `STRIDE` apart; at 0 as they say. Without a branch, for which is largest nobody can guess.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN is neither more nor less
fn stepped<T: Real, const N: usize, const STRIDE: usize>(
    x: &[T],
    lines: Lines,
    start: usize,
    Windows { size, stride, dilation, .. }: Windows,
) -> [u32; N] {
    let stride = if const { STRIDE > 0 } { STRIDE } else { stride };
    let first = lines.first + start;
    let mut largest = [T::from_f64(f64::NEG_INFINITY); N];
    let mut found = [0; N];
    for line in 0..lines.count {
        for i in 0..size {
            let from = line * lines.step + i * dilation;
            let numbers = &x[first + from..];
            // With what is behind the last one, where there is something, they fill whole registers.
            let numbers: [T; N] = match numbers.get(..N * stride) {
                Some(numbers) => std::array::from_fn(|n| numbers[n * stride]),
                None => std::array::from_fn(|n| numbers[n * stride]),
            };
            for (n, number) in numbers.into_iter().enumerate() {
                // Larger, or the first NaN.
                let larger = !(number <= largest[n]) & largest[n].partial_cmp(&largest[n]).is_some();
                largest[n] = if larger { number } else { largest[n] };
                found[n] = if larger { from as u32 } else { found[n] };
            }
        }
    }
    std::array::from_fn(|n| (first + n * stride) as u32 + found[n])
}
