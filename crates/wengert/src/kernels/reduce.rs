//! Reductions of `[outer, reduced, inner]` to `[outer, inner]`, in an order fixed by the shape.

use std::ops::Add;

use super::simd::{Real, Simd, Vector};

/// Rows that are added one after the other before sums are paired.
const LEAF: usize = 16;

/// Elements of scratch that [`Sum`] needs.
pub(crate) fn sum_scratch(reduced: usize, inner: usize) -> usize {
    if reduced <= LEAF || inner == 1 { 0 } else { inner * (reduced.div_ceil(LEAF).ilog2() as usize + 1) }
}

// Everything here is inlined into its caller, and so compiled for the instruction set of that.

/// Sums over the middle axis, as a tree of pairs above short runs: the rounding error grows with the
/// logarithm of the length (Higham, "The accuracy of floating point summation", 1993). Writes the sums, or
/// adds them to what is there.
pub(crate) struct Sum<'a, T> {
    pub(crate) out: &'a mut [T],
    pub(crate) input: &'a [T],
    /// The sizes of the reduced and of the inner axis.
    pub(crate) sizes: (usize, usize),
    pub(crate) accumulate: bool,
    /// [`sum_scratch`] elements.
    pub(crate) scratch: &'a mut [T],
}

impl<T: Copy + Default + Add<Output = T>> Simd<f32> for Sum<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = f32>>(self) {
        let Self { out, input, sizes: (reduced, inner), accumulate, scratch } = self;
        // Without wide registers there is nothing to gain by knowing the length.
        if inner == 0 || (const { V::LANES > 1 } && inner == 1 && !accumulate && short(out, input, reduced)) {
            return;
        }
        if !accumulate {
            out.fill(T::default());
        }
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let input = &input[i * reduced * inner..(i + 1) * reduced * inner];
            if inner == 1 {
                out[0] = out[0] + tree(input);
            } else {
                columns(out, input, scratch);
            }
        }
    }
}

/// Sums of integers over the middle axis, which wrap around: in any order they are the same.
pub(crate) fn whole_sum(out: &mut [i64], input: &[i64], (reduced, inner): (usize, usize), accumulate: bool) {
    if !accumulate {
        out.fill(0);
    }
    for (i, out) in out.chunks_exact_mut(inner.max(1)).enumerate() {
        for row in input[i * reduced * inner..(i + 1) * reduced * inner].chunks_exact(inner.max(1)) {
            out.iter_mut().zip(row).for_each(|(sum, &x)| *sum = sum.wrapping_add(x));
        }
    }
}

/// Writes the sums of neighbouring rows, compiled for their length if that is small; whether it is.
#[inline(always)]
fn short<T: Copy + Default + Add<Output = T>>(out: &mut [T], x: &[T], reduced: usize) -> bool {
    #[inline(always)]
    fn rows<T: Copy + Default + Add<Output = T>, const N: usize>(out: &mut [T], x: &[T]) {
        for (out, x) in out.iter_mut().zip(x.as_chunks::<N>().0) {
            *out = run(x);
        }
    }
    match reduced {
        2 => rows::<T, 2>(out, x),
        3 => rows::<T, 3>(out, x),
        4 => rows::<T, 4>(out, x),
        5 => rows::<T, 5>(out, x),
        6 => rows::<T, 6>(out, x),
        7 => rows::<T, 7>(out, x),
        8 => rows::<T, 8>(out, x),
        9 => rows::<T, 9>(out, x),
        10 => rows::<T, 10>(out, x),
        12 => rows::<T, 12>(out, x),
        16 => rows::<T, 16>(out, x),
        _ => return false,
    }
    true
}

const LANES: usize = 8;
/// Columns whose sums registers hold.
const COLUMNS: usize = 32;

/// The sum of contiguous numbers: runs are counted in binary, and where a digit is carried two sums become one.
#[inline(always)]
pub(crate) fn tree<T: Copy + Default + Add<Output = T>>(x: &[T]) -> T {
    if x.len() <= LEAF * LANES {
        return run(x);
    }
    let mut held = [T::default(); usize::BITS as usize];
    let mut runs = 0usize;
    for x in x.chunks(LEAF * LANES) {
        let carries = runs.trailing_ones() as usize;
        held[carries] = held[..carries].iter().fold(run(x), |sum, &held| held + sum);
        runs += 1;
    }
    let digits = (0..held.len()).filter(|d| runs >> d & 1 == 1);
    digits.map(|d| held[d]).reduce(|sum, held| held + sum).unwrap_or_default()
}

/// The sum of few numbers: those in every eighth place, then across.
#[inline(always)]
fn run<T: Copy + Default + Add<Output = T>>(x: &[T]) -> T {
    let mut lanes = [T::default(); LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = *lane + x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = *lane + x;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Adds the sums of the columns of a contiguous matrix; runs of rows are counted as those of [`tree`] are.
#[inline(always)]
fn columns<T: Copy + Default + Add<Output = T>>(out: &mut [T], x: &[T], scratch: &mut [T]) {
    let inner = out.len();
    if x.len() <= LEAF * inner {
        return leaf(out, x);
    }
    let mut runs = 0usize;
    for x in x.chunks(LEAF * inner) {
        let carries = runs.trailing_ones() as usize;
        let (held, free) = scratch.split_at_mut(carries * inner);
        let sums = &mut free[..inner];
        sums.fill(T::default());
        leaf(sums, x);
        held.chunks_exact(inner).for_each(|held| add(sums, held));
        runs += 1;
    }
    // From the lowest digit on, each sum into that of the next.
    let mut lower = None;
    for digit in (0..usize::BITS).map(|d| d as usize).filter(|d| runs >> d & 1 == 1) {
        let (before, here) = scratch.split_at_mut(digit * inner);
        if let Some(lower) = lower {
            add(&mut here[..inner], &before[lower * inner..][..inner]);
        }
        lower = Some(digit);
    }
    let highest = lower.unwrap_or(0) * inner;
    add(out, &scratch[highest..][..inner]);
}

/// Adds the sums of the columns of a few rows.
#[inline(always)]
fn leaf<T: Copy + Default + Add<Output = T>>(out: &mut [T], x: &[T]) {
    let inner = out.len();
    // A few columns at a time, whose sums stay in registers.
    let (blocks, _) = out.as_chunks_mut::<COLUMNS>();
    let whole = blocks.len() * COLUMNS;
    for (i, sums) in blocks.iter_mut().enumerate() {
        let mut held = *sums;
        for row in x.chunks_exact(inner) {
            let row: &[T] = &row[i * COLUMNS..][..COLUMNS];
            held.iter_mut().zip(row).for_each(|(sum, &x)| *sum = *sum + x);
        }
        *sums = held;
    }
    for row in x.chunks_exact(inner) {
        add(&mut out[whole..], &row[whole..]);
    }
}

/// Adds numbers to as many others.
#[inline(always)]
fn add<T: Copy + Add<Output = T>>(sums: &mut [T], x: &[T]) {
    sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum = *sum + x);
}

/// One of parts of equal length, in their order; of those numbers of each that begin at `start`. `None` where they are too
/// short.
#[inline(always)]
pub(crate) fn combine<T: Copy>(
    out: &mut [T],
    parts: &[T],
    (start, part): (usize, usize),
    with: impl Fn(T, T) -> T + Copy,
) -> Option<()> {
    for (i, x) in parts.chunks_exact(part.max(1)).enumerate() {
        let x = x.get(start..start + out.len())?;
        if i == 0 {
            out.copy_from_slice(x);
        } else {
            out.iter_mut().zip(x).for_each(|(o, &x)| *o = with(*o, x));
        }
    }
    Some(())
}

/// Multiplies numbers by β; at 0 they may have been anything.
pub(crate) fn rescale<T: Real>(c: &mut [T], beta: f64) {
    if beta == 0.0 {
        c.fill(T::default());
    } else if beta != 1.0 {
        c.iter_mut().for_each(|c| *c = *c * T::from_f64(beta));
    }
}

/// The largest number over the middle axis (which is not empty), and of what is there if that counts; NaN where any is
/// NaN.
#[inline(always)]
pub(crate) fn max<T: Copy + PartialOrd>(
    out: &mut [T],
    input: &[T],
    (reduced, inner): (usize, usize),
    accumulate: bool,
) {
    if inner == 0 {
        return;
    }
    if inner == 1 && reduced > 0 {
        for (out, x) in out.iter_mut().zip(input.chunks_exact(reduced)) {
            let found = largest(x);
            *out = if accumulate { larger(*out, found) } else { found };
        }
        return;
    }
    for (i, out) in out.chunks_exact_mut(inner).enumerate() {
        let mut rows = input[i * reduced * inner..(i + 1) * reduced * inner].chunks_exact(inner);
        if let Some(first) = if accumulate { None } else { rows.next() } {
            out.copy_from_slice(first);
        }
        for row in rows {
            out.iter_mut().zip(row).for_each(|(o, &x)| *o = larger(*o, x));
        }
    }
}

/// The larger of two numbers, the first of equal ones; NaN where one is NaN.
#[inline(always)]
pub(crate) fn larger<T: Copy + PartialOrd>(a: T, b: T) -> T {
    if b > a || is_nan(b) { b } else { a }
}

/// The largest of contiguous numbers (at least one); NaN where any is NaN.
#[inline(always)]
fn largest<T: Copy + PartialOrd>(x: &[T]) -> T {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let Some((first, chunks)) = chunks.split_first() else {
        return x.iter().skip(1).fold(x[0], |a, &b| larger(a, b));
    };
    let mut lanes = *first;
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).reduce(larger).unwrap_or(x[0])
}

/// The position of the first largest number over the middle axis; of the first NaN, if any.
pub(crate) fn argmax<T: Copy + PartialOrd>(out: &mut [i64], input: &[T], reduced: usize, inner: usize) {
    for (o, out) in out.iter_mut().enumerate() {
        let at = |r: usize| input[(o / inner * reduced + r) * inner + o % inner];
        let mut best = 0;
        for r in 1..reduced {
            let (x, b) = (at(r), at(best));
            if !is_nan(b) && (x > b || is_nan(x)) {
                best = r;
            }
        }
        *out = best as i64;
    }
}

#[allow(clippy::eq_op)] // the definition of a NaN, over any ordered type
#[inline(always)]
fn is_nan<T: PartialOrd>(x: T) -> bool {
    x != x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn sums_of_every_length_are_exact_on_integers_and_use_the_declared_scratch() {
        for rows in 0..300usize {
            for inner in [1usize, 2, 3] {
                let x: Vec<f64> = (0..2 * rows * inner).map(|i| (i % 97) as f64).collect();
                let mut out = vec![f64::NAN; 2 * inner];
                let mut scratch = vec![0.0; sum_scratch(rows, inner)];
                let (sizes, accumulate) = ((rows, inner), false);
                Isa::best().narrow(Sum {
                    out: &mut out,
                    input: &x,
                    sizes,
                    accumulate,
                    scratch: &mut scratch,
                });
                for (o, &found) in out.iter().enumerate() {
                    let expected: f64 =
                        (0..rows).map(|r| x[(o / inner * rows + r) * inner + o % inner]).sum();
                    assert_eq!(found, expected, "{rows} rows, {inner} inner");
                }
            }
        }
    }

    #[test]
    fn long_f32_sums_stay_accurate() {
        let x = vec![0.1f32; 10_000_000];
        let mut out = [0.0f32];
        let (sizes, accumulate) = ((x.len(), 1), false);
        Isa::best().narrow(Sum { out: &mut out, input: &x, sizes, accumulate, scratch: &mut [] });
        assert!((f64::from(out[0]) / (1e7 * f64::from(0.1f32)) - 1.0).abs() < 1e-6, "{}", out[0]);
    }

    #[test]
    fn nan_wins_and_ties_go_to_the_first() {
        let mut out = [0.0; 1];
        max(&mut out, &[1.0, f64::NAN, 2.0], (3, 1), false);
        assert!(out[0].is_nan());
        let mut at = [0; 1];
        argmax(&mut at, &[1.0, 5.0, 5.0], 3, 1);
        assert_eq!(at, [1]);
        argmax(&mut at, &[1.0, f64::NAN, 9.0], 3, 1);
        assert_eq!(at, [1]);
    }
}
