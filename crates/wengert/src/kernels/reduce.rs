//! Reductions of `[outer, reduced, inner]` to `[outer, inner]`, in an order fixed by the shape.

use std::ops::Add;

/// Rows that are added one after the other before sums are paired.
const LEAF: usize = 16;

/// Elements of scratch that [`sum`] needs.
pub(crate) fn sum_scratch(reduced: usize, inner: usize) -> usize {
    if reduced <= LEAF { 0 } else { inner * (reduced.div_ceil(LEAF).next_power_of_two().ilog2() as usize) }
}

/// Sums over the middle axis, as a balanced tree of pairs above short runs: the rounding error
/// grows with the logarithm of the length (Higham, "The accuracy of floating point summation",
/// 1993). Writes the sums, or adds them to what is there.
pub(crate) fn sum<T>(
    out: &mut [T],
    input: &[T],
    (reduced, inner): (usize, usize),
    accumulate: bool,
    scratch: &mut [T],
) where
    T: Copy + Default + Add<Output = T>,
{
    if inner == 0 {
        return;
    }
    if inner == 1
        && !accumulate
        && let Some(rows) = short(reduced)
    {
        return rows(out, input);
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

/// Writes the sums of neighbouring rows.
type Rows<T> = fn(&mut [T], &[T]);

/// The sums of neighbouring rows of so many numbers, compiled for that number where it is small.
fn short<T: Copy + Default + Add<Output = T>>(reduced: usize) -> Option<Rows<T>> {
    fn rows<T: Copy + Default + Add<Output = T>, const N: usize>(out: &mut [T], x: &[T]) {
        for (out, x) in out.iter_mut().zip(x.as_chunks::<N>().0) {
            *out = run(x);
        }
    }
    Some(match reduced {
        2 => rows::<T, 2>,
        3 => rows::<T, 3>,
        4 => rows::<T, 4>,
        5 => rows::<T, 5>,
        6 => rows::<T, 6>,
        7 => rows::<T, 7>,
        8 => rows::<T, 8>,
        9 => rows::<T, 9>,
        10 => rows::<T, 10>,
        12 => rows::<T, 12>,
        16 => rows::<T, 16>,
        _ => return None,
    })
}

const LANES: usize = 8;
/// Columns whose sums registers hold.
const COLUMNS: usize = 32;

/// The sum of contiguous numbers.
fn tree<T: Copy + Default + Add<Output = T>>(x: &[T]) -> T {
    if x.len() > LEAF * LANES {
        let runs = x.len().div_ceil(LEAF * LANES);
        let (a, b) = x.split_at(runs.div_ceil(2) * LEAF * LANES);
        return tree(a) + tree(b);
    }
    run(x)
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

/// Adds the sums of the columns of a contiguous matrix.
fn columns<T: Copy + Default + Add<Output = T>>(out: &mut [T], x: &[T], scratch: &mut [T]) {
    let inner = out.len();
    let rows = x.len() / inner;
    if rows <= LEAF {
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
            out[whole..].iter_mut().zip(&row[whole..]).for_each(|(o, &x)| *o = *o + x);
        }
        return;
    }
    let half = (rows.div_ceil(LEAF)).div_ceil(2) * LEAF;
    let (a, b) = x.split_at(half * inner);
    columns(out, a, scratch);
    let (right, scratch) = scratch.split_at_mut(inner);
    right.fill(T::default());
    columns(right, b, scratch);
    for (o, &x) in out.iter_mut().zip(right.iter()) {
        *o = *o + x;
    }
}

/// The largest number over the middle axis (which is not empty); NaN where any is NaN.
pub(crate) fn max<T: Copy + PartialOrd>(out: &mut [T], input: &[T], reduced: usize, inner: usize) {
    if inner == 0 {
        return;
    }
    if inner == 1 && reduced > 0 {
        let row = |(out, x): (&mut T, &[T])| *out = largest(x);
        return out.iter_mut().zip(input.chunks_exact(reduced)).for_each(row);
    }
    for (i, out) in out.chunks_exact_mut(inner).enumerate() {
        let mut rows = input[i * reduced * inner..(i + 1) * reduced * inner].chunks_exact(inner);
        if let Some(first) = rows.next() {
            out.copy_from_slice(first);
        }
        for row in rows {
            for (o, &x) in out.iter_mut().zip(row) {
                if x > *o || is_nan(x) {
                    *o = x;
                }
            }
        }
    }
}

/// The largest of contiguous numbers (at least one); NaN where any is NaN.
#[inline(always)]
fn largest<T: Copy + PartialOrd>(x: &[T]) -> T {
    const LANES: usize = 8;
    let larger = |a: T, b: T| if b > a || is_nan(b) { b } else { a };
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

    #[test]
    fn sums_of_every_length_are_exact_on_integers_and_use_the_declared_scratch() {
        for rows in 0..300usize {
            for inner in [1usize, 2, 3] {
                let x: Vec<f64> = (0..2 * rows * inner).map(|i| (i % 97) as f64).collect();
                let mut out = vec![f64::NAN; 2 * inner];
                let mut scratch = vec![0.0; sum_scratch(rows, inner)];
                sum(&mut out, &x, (rows, inner), false, &mut scratch);
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
        sum(&mut out, &x, (x.len(), 1), false, &mut []);
        assert!((f64::from(out[0]) / (1e7 * f64::from(0.1f32)) - 1.0).abs() < 1e-6, "{}", out[0]);
    }

    #[test]
    fn nan_wins_and_ties_go_to_the_first() {
        let mut out = [0.0; 1];
        max(&mut out, &[1.0, f64::NAN, 2.0], 3, 1);
        assert!(out[0].is_nan());
        let mut at = [0; 1];
        argmax(&mut at, &[1.0, 5.0, 5.0], 3, 1);
        assert_eq!(at, [1]);
        argmax(&mut at, &[1.0, f64::NAN, 9.0], 3, 1);
        assert_eq!(at, [1]);
    }
}
