//! Convolutions: which elements meet, and the types of the three arrays.

use crate::error::{ErrorKind, ShapeError};
use crate::kernels::convolve::{Axis, Part, Problem};
use crate::shape::{Shape, TensorType, one_float_type};

/// A sum over all examples, channels, elements `y` of the output and `k` of the kernel that it does not keep, of the product of two of three arrays:
/// the input `[examples, channels, height, width]` at `y · stride + k · dilation − padding`, the weights `[channels of the output, channels of a group, height, width]` at `k`
/// and the output at `y`. What lies outside the input is left out. The result is the third array; so the derivatives of a convolution are convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Which array is the result. Its operands are the others, in the order input, weights, output; but the output comes before the weights.
    pub part: Part,
    /// Height and width of the result.
    pub size: [usize; 2],
    /// By how much neighbours of the output are apart in the input.
    pub stride: [usize; 2],
    /// By how much neighbours of the kernel are apart in the input.
    pub dilation: [usize; 2],
    /// By how much the kernel begins before the input.
    pub padding: [isize; 2],
    /// Into how many groups channels are split that have nothing to do with one another.
    pub groups: usize,
    /// The operands (a bit each) whose zeros stand for themselves, whatever they are multiplied by.
    pub gates: u64,
}

impl Convolution {
    /// The type of the result.
    pub fn infer(&self, first: TensorType, second: TensorType) -> Result<TensorType, ErrorKind> {
        one_float_type(&[first, second])?;
        let ([&[n, a, ..], &[o, b, ..]], 4, 4) =
            ([&first.shape[..], &second.shape[..]], first.shape.rank(), second.shape.rank())
        else {
            let found = if first.shape.rank() == 4 { second.shape.rank() } else { first.shape.rank() };
            return Err(ShapeError::Rank { expected: 4, found }.into());
        };
        let Self { groups, size: [height, width], .. } = *self;
        if groups == 0 || [self.stride, self.dilation].as_flattened().contains(&0) {
            let what = "strides, dilations and groups of a convolution are at least 1";
            return Err(ErrorKind::Argument(what.into()));
        }
        let unfit = |what: String| Err(ShapeError::Other(what).into());
        let dims = match self.part {
            Part::Output if b.checked_mul(groups) != Some(a) || o % groups != 0 => {
                return unfit(format!(
                    "{first} has {a} channels, {second} wants {groups} groups of {b}, for {o} of the output"
                ));
            }
            Part::Output => [n, o],
            Part::Input if a != o || o % groups != 0 => {
                return unfit(format!("{first} has {a} channels, {second} wants {o}, in {groups} groups"));
            }
            Part::Input => [n, b.checked_mul(groups).ok_or(ErrorKind::Memory { bytes: usize::MAX })?],
            Part::Weights if n != o || a % groups != 0 || b % groups != 0 => {
                return unfit(format!(
                    "{first} and {second} have not the same examples, or channels of {groups} groups"
                ));
            }
            Part::Weights => [b, a / groups],
        };
        let kernel = if self.part == Part::Weights { self.size } else { [second.shape[2], second.shape[3]] };
        // Places are counted in `isize`.
        let most = |axis: usize| {
            let sizes = [first.shape[2 + axis], second.shape[2 + axis], self.size[axis]];
            let far = sizes.iter().max()?.checked_mul(self.stride[axis].max(self.dilation[axis]))?;
            far.checked_add(self.padding[axis].unsigned_abs())?.checked_mul(4)
        };
        if kernel.contains(&0) || [most(0), most(1)].iter().any(|m| m.is_none_or(|m| m > isize::MAX as usize))
        {
            let what = format!("a kernel of {kernel:?} over sizes of {} and {}", first.shape, self.size[0]);
            return unfit(what);
        }
        Ok(TensorType::new(first.dtype, Shape::new(&[dims[0], dims[1], height, width])?))
    }

    /// What is computed, for operands whose types fit.
    pub(crate) fn problem(&self, first: Shape, second: Shape) -> Problem {
        let sizes = |axis: usize| {
            let (a, b, own) = (first[2 + axis], second[2 + axis], self.size[axis]);
            match self.part {
                Part::Input => (own, b, a),
                Part::Weights => (a, own, b),
                Part::Output => (a, b, own),
            }
        };
        let axis = |axis: usize| {
            let (input, kernel, output) = sizes(axis);
            let (stride, dilation, padding) = (self.stride[axis], self.dilation[axis], self.padding[axis]);
            Axis { input, kernel, output, stride, dilation, padding }
        };
        let channels = match self.part {
            Part::Input => [second[1], second[0] / self.groups],
            Part::Weights => [first[1] / self.groups, second[1] / self.groups],
            Part::Output => [second[1], second[0] / self.groups],
        };
        let axes = [axis(0), axis(1)];
        Problem {
            part: self.part,
            examples: first[0],
            groups: self.groups,
            channels,
            axes,
            gates: self.gates,
        }
    }

    /// Whether examples are summed over, so that no part of an operand is enough for a part of the result.
    pub(crate) fn sums_examples(&self) -> bool {
        self.part == Part::Weights
    }

    /// Independent pieces of the result: examples, or few of the weights, of which each reads all examples.
    pub(crate) fn blocks(&self, second: Shape, result: Shape) -> usize {
        match self.part {
            Part::Weights if second[1].is_multiple_of(2) => 2,
            Part::Weights => 1,
            _ => result[0],
        }
    }

    /// Products that a result takes.
    pub(crate) fn products(&self, first: Shape, second: Shape) -> usize {
        let Problem { examples, groups, channels: [c, o], axes: [y, x], .. } = self.problem(first, second);
        [examples, groups, c, o, y.output, x.output, y.kernel, x.kernel]
            .into_iter()
            .fold(1, usize::saturating_mul)
    }
}
