//! The three sums of a convolution against plain loops, over sizes at the edges of lanes, tiles and strips.

use super::{Axis, Part, Problem};
use crate::kernels::simd::{Isa, Real};

/// Small whole numbers, whose sums are exact.
fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
    (0..count).map(|i| T::from_f64(((i * 7919 + seed * 104_729) % 11) as f64 - 5.0)).collect()
}

/// `Σ x[n, c, i] · w[o, c, k] · u[n, o, y]` over all that meet, by the array that is left out.
fn loops(p: &Problem, [a, b]: [&[f64]; 2]) -> Vec<f64> {
    let ([y, x], [c, o], g) = (p.axes, p.channels, p.groups);
    let mut out = match p.part {
        Part::Input => vec![0.0; p.examples * g * c * y.input * x.input],
        Part::Weights => vec![0.0; g * o * c * y.kernel * x.kernel],
        Part::Output => vec![0.0; p.examples * g * o * y.output * x.output],
    };
    let meets = |axis: Axis, of: usize, k: usize| {
        let at = (of * axis.stride + k * axis.dilation) as isize - axis.padding;
        usize::try_from(at).ok().filter(|&at| at < axis.input)
    };
    for n in 0..p.examples {
        for ((group, own), other) in
            (0..g).flat_map(|g| (0..o).map(move |o| (g, o))).flat_map(|s| (0..c).map(move |c| (s, c)))
        {
            for (row, column) in (0..y.output).flat_map(|r| (0..x.output).map(move |c| (r, c))) {
                for (k, l) in (0..y.kernel).flat_map(|k| (0..x.kernel).map(move |l| (k, l))) {
                    let (Some(i), Some(j)) = (meets(y, row, k), meets(x, column, l)) else { continue };
                    let input = (((n * g + group) * c + other) * y.input + i) * x.input + j;
                    let weight = (((group * o + own) * c + other) * y.kernel + k) * x.kernel + l;
                    let output = (((n * g + group) * o + own) * y.output + row) * x.output + column;
                    match p.part {
                        Part::Input => out[input] += a[output] * b[weight],
                        Part::Weights => out[weight] += a[input] * b[output],
                        Part::Output => out[output] += a[input] * b[weight],
                    }
                }
            }
        }
    }
    out
}

fn check<T: Real>(p: Problem, isa: Isa) {
    let [y, x] = p.axes;
    let sizes = [
        p.examples * p.groups * p.channels[0] * y.input * x.input,
        p.groups * p.channels[0] * p.channels[1] * y.kernel * x.kernel,
        p.examples * p.groups * p.channels[1] * y.output * x.output,
    ];
    let (a, b, out) = match p.part {
        Part::Input => (sizes[2], sizes[1], sizes[0]),
        Part::Weights => (sizes[0], sizes[2], sizes[1]),
        Part::Output => (sizes[0], sizes[1], sizes[2]),
    };
    let (a, b) = (numbers::<T>(a, 1), numbers::<T>(b, 2));
    let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let due = loops(&p, [&wide(&a), &wide(&b)]);
    let mut scratch = vec![T::from_f64(f64::NAN); p.scratch::<T>()];
    // Once with all, and once the last part alone.
    let pieces = if p.part == Part::Weights { p.groups * p.channels[1] } else { p.examples };
    for first in [0, pieces / 2] {
        let mut found = vec![T::from_f64(f64::NAN); out / pieces * (pieces - first)];
        let chunk = if p.part == Part::Weights { 0 } else { a.len() / pieces * first };
        p.run(isa, [&a[chunk..], &b], first, &mut found, &mut scratch).unwrap();
        assert_eq!(wide(&found), due[out / pieces * first..], "{p:?} on {isa:?} from {first}");
    }
}

#[test]
fn sums_are_those_of_plain_loops() {
    let axis = |input, kernel, stride, dilation, padding: isize, after: isize| {
        let output =
            (input as isize + padding + after - (dilation * (kernel - 1)) as isize - 1) / stride as isize + 1;
        Axis { input, kernel, output: output as usize, stride, dilation, padding }
    };
    let axes = [
        [axis(5, 3, 1, 1, 1, 1), axis(6, 3, 1, 1, 1, 1)],
        [axis(7, 2, 2, 1, 1, 0), axis(5, 3, 1, 2, 0, 2)],
        [axis(9, 3, 3, 2, 2, 3), axis(4, 1, 2, 1, 0, 0)],
        [axis(1, 1, 1, 1, 0, 0), axis(9, 4, 2, 3, -1, 5)],
        [axis(33, 5, 1, 1, 2, 2), axis(3, 3, 2, 2, 4, 4)],
        [axis(6, 2, 4, 2, 1, 2), axis(5, 2, 3, 1, 0, 0)],
        [axis(3, 3, 1, 1, 1, 1), axis(37, 5, 1, 1, 2, 2)],
        [axis(2, 1, 1, 1, 0, 0), axis(71, 2, 2, 1, 1, 0)],
    ];
    for (i, axes) in axes.into_iter().enumerate() {
        for (groups, channels) in [(1, [1, 1]), (1, [2, 7]), (1, [5, 11]), (2, [1, 3]), (3, [2, 1])] {
            for examples in [1, 3, 17, 19] {
                if (i + examples + channels[1]) % 2 == 1 && (2..6).contains(&i) {
                    continue;
                }
                for part in [Part::Input, Part::Weights, Part::Output] {
                    for &isa in Isa::available() {
                        let p = Problem { part, examples, groups, channels, axes, gates: 0 };
                        check::<f32>(p, isa);
                        check::<f64>(p, isa);
                    }
                }
            }
        }
    }
}
