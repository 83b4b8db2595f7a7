//! How kernels and windows slide over the last axes of an array.

use smallvec::SmallVec;

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Convolution, ConvolutionPart};
use crate::sizes::IntoShape;

/// A number for all axes, or one for each.
type PerAxis = SmallVec<[usize; 2]>;

/// What is put around an array.
#[derive(Clone, Debug, PartialEq)]
enum Padding {
    /// Before and behind each axis, or all of them.
    Sides(SmallVec<[(usize, usize); 2]>),
    /// As much as gives so many places as strides fit into the axis; the larger half behind.
    Same,
}

/// How the kernel of a convolution slides: [`conv1d`](crate::Var::conv1d) and its kin. Numbers are for all axes, or one for each.
///
/// ```
/// use wengert::Conv;
/// let conv = Conv::new().stride(2).padding((1, 2)).groups(4);
/// # let _ = conv;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Conv {
    window: Window,
    groups: usize,
    output_padding: PerAxis,
}

impl Default for Conv {
    fn default() -> Self {
        Self::new()
    }
}

impl Conv {
    /// Strides and dilation 1, no padding, one group.
    pub fn new() -> Self {
        Self { window: Window::default(), groups: 1, output_padding: PerAxis::from_slice(&[0]) }
    }
    /// By how much neighbours of the output are apart in the input.
    pub fn stride(mut self, stride: impl IntoShape) -> Self {
        self.window.stride = self.window.read(stride);
        self
    }
    /// Zeros before and behind each axis, as many on both sides. A kernel leaves them out: it is not multiplied by them.
    pub fn padding(mut self, padding: impl IntoShape) -> Self {
        let padding = self.window.read(padding);
        self.window.padding = Padding::Sides(padding.iter().map(|&p| (p, p)).collect());
        self
    }
    /// The same, so many before and so many behind each axis.
    pub fn padding_sides(mut self, sides: impl AsRef<[(usize, usize)]>) -> Self {
        self.window.padding = Padding::Sides(sides.as_ref().iter().copied().collect());
        self
    }
    /// As much padding as makes the output as long as the input, divided by the stride and rounded up; where it is odd the larger half behind.
    pub fn same(mut self) -> Self {
        self.window.padding = Padding::Same;
        self
    }
    /// By how much neighbours of the kernel are apart in the input.
    #[doc(alias = "rhs_dilation")]
    pub fn dilation(mut self, dilation: impl IntoShape) -> Self {
        self.window.dilation = self.window.read(dilation);
        self
    }
    /// Into how many groups the channels are split that have nothing to do with one another.
    #[doc(alias = "feature_group_count")]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }
    /// Of transposed convolutions, which strides leave open: by how much the output is longer.
    pub fn output_padding(mut self, padding: impl IntoShape) -> Self {
        self.output_padding = self.window.read(padding);
        self
    }

    /// The convolution of an input and a kernel of these heights and widths, or widths alone; or its transpose.
    pub(super) fn over(
        &self,
        input: &[usize],
        kernel: &[usize],
        back: bool,
    ) -> Result<Convolution, ErrorKind> {
        let axes = input.len();
        let of = |numbers: &PerAxis, what| per_axis(numbers, axes, what);
        let extra = of(&self.output_padding, "output paddings")?;
        if !back && extra.iter().any(|&e| e > 0) {
            return Err(ErrorKind::Argument("only transposed convolutions have an output padding".into()));
        }
        let slides = self.window.slides(input, kernel, back)?;
        let mut out = Convolution {
            part: ConvolutionPart::Output,
            size: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            padding: [0; 2],
            groups: self.groups,
            gates: 0,
        };
        for (axis, slide) in slides.iter().enumerate() {
            let to = 2 - axes + axis;
            (out.stride[to], out.dilation[to]) = (slide.stride, slide.dilation);
            out.padding[to] = slide.before as isize;
            out.size[to] = slide.places;
            if back {
                if extra[axis] >= slide.stride.max(slide.dilation) && extra[axis] > 0 {
                    let what =
                        format!("an output padding of {} at a stride of {}", extra[axis], slide.stride);
                    return Err(ErrorKind::Argument(what));
                }
                out.size[to] = out.size[to].saturating_add(extra[axis]);
            }
        }
        Ok(out)
    }
}

/// How the window of a pooling slides: [`max_pool2d`](crate::Var::max_pool2d) and its kin. Numbers are for all axes, or one for each.
///
/// ```
/// use wengert::Pool;
/// let pool = Pool::new(3).stride(2).padding(1);
/// # let _ = pool;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Pool {
    window: Window,
    size: PerAxis,
    strided: bool,
    pub(super) count_padding: bool,
}

impl Pool {
    /// Windows of a size beside each other, without padding.
    pub fn new(size: impl IntoShape) -> Self {
        let mut window = Window::default();
        let size = window.read(size);
        Self { window, size, strided: false, count_padding: true }
    }
    /// By how much neighbouring windows are apart; as much as they are long, if nothing is said.
    pub fn stride(mut self, stride: impl IntoShape) -> Self {
        (self.window.stride, self.strided) = (self.window.read(stride), true);
        self
    }
    /// So much before and behind each axis: of a mean zeros, of a maximum nothing. At most half a window.
    pub fn padding(mut self, padding: impl IntoShape) -> Self {
        let padding = self.window.read(padding);
        self.window.padding = Padding::Sides(padding.iter().map(|&p| (p, p)).collect());
        self
    }
    /// The same, so much before and so much behind each axis.
    pub fn padding_sides(mut self, sides: impl AsRef<[(usize, usize)]>) -> Self {
        self.window.padding = Padding::Sides(sides.as_ref().iter().copied().collect());
        self
    }
    /// By how much neighbours in a window are apart.
    pub fn dilation(mut self, dilation: impl IntoShape) -> Self {
        self.window.dilation = self.window.read(dilation);
        self
    }
    /// Whether means count padding as zeros, as they do if nothing is said, or leave it out.
    #[doc(alias = "count_include_pad")]
    pub fn count_padding(mut self, count: bool) -> Self {
        self.count_padding = count;
        self
    }

    /// The windows over axes of these sizes.
    pub(super) fn over(&self, input: &[usize]) -> Result<SmallVec<[Slide; 2]>, ErrorKind> {
        let size = per_axis(&self.size, input.len(), "window sizes")?;
        let mut window = self.window.clone();
        if !self.strided {
            window.stride = size.clone();
        }
        let slides = window.slides(input, &size, false)?;
        for slide in &slides {
            let span = (slide.size - 1) * slide.dilation + 1;
            if slide.before > span / 2 || slide.after > span / 2 {
                let what = format!(
                    "a padding of {} and {} is more than half a window of {span}",
                    slide.before, slide.after
                );
                return Err(ErrorKind::Argument(what));
            }
        }
        Ok(slides)
    }
}

/// What convolutions and poolings say alike.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    /// What was said that is none.
    error: Option<String>,
}

impl Default for Window {
    fn default() -> Self {
        let one = PerAxis::from_slice(&[1]);
        Self {
            stride: one.clone(),
            padding: Padding::Sides([(0, 0)].as_slice().into()),
            dilation: one,
            error: None,
        }
    }
}

/// A window over one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slide {
    pub(super) size: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// How much lies before the axis, and behind it.
    pub(super) before: usize,
    pub(super) after: usize,
    /// How many places it has; of a transpose, how long what it makes is.
    pub(super) places: usize,
}

fn per_axis(numbers: &PerAxis, axes: usize, what: &str) -> Result<PerAxis, ErrorKind> {
    match numbers.as_slice() {
        [one] => Ok(PerAxis::from_elem(*one, axes)),
        all if all.len() == axes => Ok(numbers.clone()),
        all => Err(ErrorKind::Argument(format!("{what} {all:?} for {axes} axes"))),
    }
}

impl Window {
    fn read(&mut self, numbers: impl IntoShape) -> PerAxis {
        match numbers.into_shape() {
            Ok(shape) if shape.rank() > 0 => shape.iter().copied().collect(),
            Ok(_) => PerAxis::from_slice(&[1]),
            Err(kind) => {
                self.error = Some(kind.to_string());
                PerAxis::from_slice(&[1])
            }
        }
    }

    fn slides(
        &self,
        input: &[usize],
        sizes: &[usize],
        back: bool,
    ) -> Result<SmallVec<[Slide; 2]>, ErrorKind> {
        if let Some(error) = &self.error {
            return Err(ErrorKind::Argument(error.clone()));
        }
        let axes = input.len();
        let strides = per_axis(&self.stride, axes, "strides")?;
        let dilations = per_axis(&self.dilation, axes, "dilations")?;
        let sides: SmallVec<[(usize, usize); 2]> = match &self.padding {
            Padding::Same if back => {
                let what = "a transposed convolution has no padding that keeps the size: say how much";
                return Err(ErrorKind::Argument(what.into()));
            }
            Padding::Same => SmallVec::from_elem((0, 0), axes),
            Padding::Sides(sides) if sides.len() == 1 => SmallVec::from_elem(sides[0], axes),
            Padding::Sides(sides) if sides.len() == axes => sides.clone(),
            Padding::Sides(sides) => {
                return Err(ErrorKind::Argument(format!("paddings {sides:?} for {axes} axes")));
            }
        };
        let one = |axis: usize| -> Result<Slide, ErrorKind> {
            let (length, size, stride, dilation) = (input[axis], sizes[axis], strides[axis], dilations[axis]);
            if size == 0 || stride == 0 || dilation == 0 {
                let what = format!(
                    "a window of {size} with stride {stride} and dilation {dilation}: all are at least 1"
                );
                return Err(ErrorKind::Argument(what));
            }
            let far =
                |what: &str| ErrorKind::from(ShapeError::Other(format!("{what} is larger than memory")));
            let span = (size - 1)
                .checked_mul(dilation)
                .and_then(|s| s.checked_add(1))
                .ok_or_else(|| far("the window"))?;
            let (mut before, mut after) = sides[axis];
            if self.padding == Padding::Same {
                let places = length.div_ceil(stride);
                let wanted = (places.saturating_sub(1) * stride).saturating_add(span).saturating_sub(length);
                (before, after) = (wanted / 2, wanted - wanted / 2);
            }
            let padding = before.checked_add(after).ok_or_else(|| far("the padding"))?;
            let places = if back {
                let long = length.saturating_sub(1).checked_mul(stride).and_then(|l| l.checked_add(span));
                long.ok_or_else(|| far("the result"))?.checked_sub(padding)
            } else {
                let long = length.checked_add(padding).ok_or_else(|| far("the array"))?;
                long.checked_sub(span).map(|rest| rest / stride + 1)
            };
            let places = places.ok_or_else(|| {
                let what = format!(
                    "a window of {span} does not fit into {length} with paddings {before} and {after}"
                );
                ErrorKind::from(ShapeError::Other(what))
            })?;
            Ok(Slide { size, stride, dilation, before, after, places })
        };
        (0..axes).map(one).collect()
    }
}
