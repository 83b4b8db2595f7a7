//! A convolution by its definition, product by product.

use crate::ir::{Convolution, ConvolutionPart};
use crate::kernels::convolve::{Axis, Problem};
use crate::tensor::Tensor;

/// The element of the input that one of the output meets at one of the kernel.
fn met(axis: Axis, output: usize, kernel: usize) -> Option<usize> {
    let at = (output * axis.stride + kernel * axis.dilation) as isize - axis.padding;
    usize::try_from(at).ok().filter(|&at| at < axis.input)
}

/// The sums of all products of two of the three arrays, in the places of the third.
pub(super) fn convolved(c: Convolution, [a, b]: [&Tensor; 2], elements: usize) -> Vec<f64> {
    let Problem { part, examples, groups, channels: [inputs, outputs], axes: [y, x], gates } =
        c.problem(a.shape(), b.shape());
    let (a, b, mut sums) = (a.to_f64(), b.to_f64(), vec![0.0; elements]);
    let sizes = [examples, groups, inputs, outputs, y.output, x.output, y.kernel, x.kernel];
    let mut at = [0; 8];
    for mut step in 0..sizes.iter().product() {
        at.iter_mut().zip(sizes).rev().for_each(|(at, size)| {
            (*at, step) = (step % size, step / size);
        });
        let [n, group, i, o, row, column, k, l] = at;
        let (Some(height), Some(width)) = (met(y, row, k), met(x, column, l)) else { continue };
        let input = (((n * groups + group) * inputs + i) * y.input + height) * x.input + width;
        let weight = (((group * outputs + o) * inputs + i) * y.kernel + k) * x.kernel + l;
        let output = (((n * groups + group) * outputs + o) * y.output + row) * x.output + column;
        let (first, second, to) = match part {
            ConvolutionPart::Input => (a[output], b[weight], input),
            ConvolutionPart::Weights => (a[input], b[output], weight),
            ConvolutionPart::Output => (a[input], b[weight], output),
        };
        let closed = (gates & 1 != 0 && first == 0.0) || (gates & 2 != 0 && second == 0.0);
        sums[to] += if closed { 0.0 } else { first * second };
    }
    sums
}
