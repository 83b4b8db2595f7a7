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

/// Windows beside each other that are searched together.
const TOGETHER: usize = 4;

impl<T: Real> Simd<T> for Largest<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { planes, lengths: [height, width], windows: [rows, columns], out } = self;
        let made = out.chunks_exact_mut((rows.places * columns.places).max(1));
        let whole = columns.whole(width);
        let many = whole.len() >= TOGETHER;
        for (x, out) in planes.chunks_exact((height * width).max(1)).zip(made) {
            for (row, out) in out.chunks_exact_mut(columns.places).enumerate() {
                let elements = rows.elements(row, height);
                let lines = Lines {
                    first: elements.clone().next().unwrap_or(0) * width,
                    step: rows.dilation * width,
                    count: elements.len(),
                };
                for column in whole.clone().step_by(TOGETHER).take_while(|_| many) {
                    // The last ones begin where they end with the row.
                    let column = column.min(whole.end - TOGETHER);
                    let start = column * columns.stride - columns.before;
                    let found: [u32; TOGETHER] = search(x, lines, start, columns);
                    out[column..][..TOGETHER].copy_from_slice(&found);
                }
                for column in (0..out.len()).filter(|column| !many || !whole.contains(column)) {
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

/// The positions of the first largest elements, or of the first NaN, of `N` windows over some lines, from `start` on. Without a branch, for which is largest nobody
/// can guess: the largest of numbers that hold both an element and how early it is.
#[inline(always)]
fn search<T: Real, const N: usize>(x: &[T], lines: Lines, start: usize, windows: Windows) -> [u32; N] {
    let stride = windows.stride;
    let first = lines.first + start;
    if const { size_of::<T>() == size_of::<f32>() } {
        let mut largest = [0; N];
        each::<T, N>(x, lines, first, windows, |n, x, from| largest[n] = narrow(x, from).max(largest[n]));
        return std::array::from_fn(|n| (first + n * stride) as u32 + (!largest[n] & NEAR) as u32);
    }
    let mut largest = [0; N];
    each::<T, N>(x, lines, first, windows, |n, x, from| largest[n] = wide(x, from).max(largest[n]));
    std::array::from_fn(|n| (first + n * stride) as u32 + !(largest[n] as u32))
}

/// Every element of `N` windows, and how far it is behind the first.
#[inline(always)]
fn each<T: Copy, const N: usize>(
    x: &[T],
    lines: Lines,
    first: usize,
    Windows { size, stride, dilation, .. }: Windows,
    mut with: impl FnMut(usize, T, usize),
) {
    for line in 0..lines.count {
        for i in 0..size {
            let from = line * lines.step + i * dilation;
            let numbers = &x[first + from..first + from + (N - 1) * stride + 1];
            (0..N).for_each(|n| with(n, numbers[n * stride], from));
        }
    }
}

/// The bits of an element, in the order of elements: those of NaN last, and of both zeros the same.
#[inline(always)]
fn ordered<T: Real>(x: T) -> u64 {
    let x = x.to_f64() + 0.0;
    let bits = x.to_bits();
    // The bits of negative numbers are in the opposite order, below those of positive ones.
    let negative = ((bits as i64) >> 63) as u64;
    let nan = u64::from(x.partial_cmp(&x).is_none()).wrapping_neg();
    (bits ^ (negative | 1 << 63)) | nan
}

/// The bits that an `f32` leaves free as an `f64`.
const NEAR: u64 = (1 << 29) - 1;

/// A number that is larger for larger elements, and of equal ones for nearer.
#[inline(always)]
fn narrow<T: Real>(x: T, distance: usize) -> u64 {
    (ordered(x) & !NEAR) | (NEAR - distance as u64)
}

/// The same of an element that needs all bits.
#[inline(always)]
fn wide<T: Real>(x: T, distance: usize) -> u128 {
    (u128::from(ordered(x)) << 32) | u128::from(!(distance as u32))
}
