//! Convolutions over one or two axes, and their transposes.

use super::window::Conv;
use crate::error::{ErrorKind, ShapeError};
use crate::ir::{
    Attr, Attrs, Bilinear, Convolution, ConvolutionPart, Domain, Form, Kernel, Op, ResultTypes, Var, Vars,
    operands,
};
use crate::kernels::pool::Windows;
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

/// The sum over a sliding kernel, by whichever of input, weights and output is left out: closed under transposition.
#[derive(Clone, Copy)]
pub(crate) struct Convolve(Convolution);

impl Convolve {
    /// The sums of windows over the last two of three axes.
    #[track_caller]
    pub(super) fn window_sums(x: Var<'_>, windows: [Windows; 2]) -> Var<'_> {
        let op = Convolution {
            part: ConvolutionPart::Output,
            size: windows.map(|w| w.places),
            stride: windows.map(|w| w.stride),
            dilation: windows.map(|w| w.dilation),
            padding: windows.map(|w| w.before as isize),
            groups: 1,
            gates: 0,
        };
        let ones = x.recorder().full(x.dtype(), [1, 1, windows[0].size, windows[1].size], 1.0);
        let y = x.recorder().emit_one(Op::bilinear(Self(op)), &[x.insert_axis(1), ones]);
        y.squeeze(1)
    }
    /// The sum of which this is one, by another array: of `like`'s height and width, and with these gates.
    fn other<'t>(&self, part: ConvolutionPart, like: Var<'t>, gates: u64, operands: [Var<'t>; 2]) -> Var<'t> {
        let size = [like.dim(2), like.dim(3)];
        like.recorder().emit_one(Op::bilinear(Self(Convolution { part, size, gates, ..self.0 })), &operands)
    }
}
impl Kernel for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }
    fn attrs(&self) -> Attrs {
        let Convolution { part, size, stride, dilation, padding, groups, gates } = self.0;
        let part = match part {
            ConvolutionPart::Input => "input",
            ConvolutionPart::Weights => "weights",
            ConvolutionPart::Output => "output",
        };
        Attrs::new()
            .with("part", Attr::Text(part.into()))
            .with_sizes("size", &size)
            .with_sizes("stride", &stride)
            .with_sizes("dilation", &dilation)
            .with("padding", Attr::Ints(padding.map(|p| p as i64).to_vec()))
            .with("groups", Attr::Int(groups as i64))
            .with("gates", Attr::Int(gates as i64))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [first, second] = operands(types)?;
        self.0.infer(first, second).map(ResultTypes::from)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Convolve(self.0)
    }
}
impl Bilinear for Convolve {
    fn gates(&self) -> u64 {
        self.0.gates
    }
    fn gated(&self, gates: u64) -> Option<Op> {
        Some(Op::bilinear(Self(Convolution { gates: gates & 3, ..self.0 })))
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Var<'t> {
        use ConvolutionPart::{Input, Output, Weights};
        let (like, gates) = (x[i], self.0.gates);
        // The gate of the operand that stays goes with it.
        let (first, second) = (gates & 1, gates >> 1 & 1);
        match (self.0.part, i) {
            (Output, 0) => self.other(Input, like, second << 1, [ct, x[1]]),
            (Output, _) => self.other(Weights, like, first, [x[0], ct]),
            (Input, 0) => self.other(Output, like, second << 1, [ct, x[1]]),
            (Input, _) => self.other(Weights, like, first << 1, [ct, x[0]]),
            (Weights, 0) => self.other(Input, like, second, [x[1], ct]),
            (Weights, _) => self.other(Output, like, first, [x[0], ct]),
        }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let batch = if batched[0] { x[0].dim(0) } else { x[1].dim(0) };
        let own = |x: Var<'t>, batched: bool| x.shape()[usize::from(batched)..].to_vec();
        let (a, b) = (own(x[0], batched[0]), own(x[1], batched[1]));
        let [height, width] = self.0.size;
        let emit = |op: Convolution, x: [Var<'t>; 2]| x[0].recorder().emit_one(Op::bilinear(Self(op)), &x);
        let weights = self.0.part == ConvolutionPart::Weights;
        if !weights && !batched[1] {
            // As many more examples.
            let images = x[0].reshape([batch * a[0], a[1], a[2], a[3]]);
            let y = emit(self.0, [images, x[1]]);
            return y.reshape([batch, a[0], y.dim(1), height, width]).into();
        }
        if batch == 0 {
            let result = self.0.infer(
                TensorType::new(x[0].dtype(), x[0].shape().remove(0, usize::from(batched[0]))),
                TensorType::new(x[1].dtype(), x[1].shape().remove(0, usize::from(batched[1]))),
            );
            let shape = result.and_then(|ty| ty.shape.insert(0, 0));
            return match shape {
                Ok(shape) => x[0].recorder().full(x[0].dtype(), shape, 0.0).into(),
                Err(kind) => x[0].fail(kind).into(),
            };
        }
        // As many more groups.
        let x = batch_all(x, batched);
        let images = |x: Var<'t>, own: &[usize]| {
            x.permute([1, 0, 2, 3, 4]).reshape([own[0], batch * own[1], own[2], own[3]])
        };
        let op = Convolution { groups: self.0.groups * batch, ..self.0 };
        if weights {
            let y = emit(op, [images(x[0], &a), images(x[1], &b)]);
            return y.reshape([batch, y.dim(0) / batch, y.dim(1), height, width]).into();
        }
        let y = emit(op, [images(x[0], &a), x[1].reshape([batch * b[0], b[1], b[2], b[3]])]);
        y.reshape([a[0], batch, y.dim(1) / batch, height, width]).permute([1, 0, 2, 3, 4]).into()
    }
}
impl Registered for Convolve {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let padding: Result<[i64; 2], _> = attrs.ints("padding")?.try_into();
        let padding = padding.map_err(|_| ErrorKind::Malformed("padding of other than two axes".into()))?;
        let part = match &*attrs.text("part")? {
            "input" => ConvolutionPart::Input,
            "weights" => ConvolutionPart::Weights,
            "output" => ConvolutionPart::Output,
            other => return Err(ErrorKind::Malformed(format!("a convolution has no part {other}"))),
        };
        let gates = attrs.usize("gates")?;
        if gates > 3 {
            return Err(ErrorKind::Malformed(format!("two operands have no gates {gates}")));
        }
        Ok(Self(Convolution {
            part,
            size: attrs.pair("size")?,
            stride: attrs.pair("stride")?,
            dilation: attrs.pair("dilation")?,
            padding: padding.map(|p| p as isize),
            groups: attrs.usize("groups")?,
            gates: gates as u64,
        }))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let mut two = |least: usize, most: usize| [0, 1].map(|_| least + s.below(most + 1 - least));
        let (stride, dilation, kernel, padding) = (two(1, 2), two(1, 2), two(1, 3), two(0, 2));
        let (input, after) = (two(1, 5), two(0, 2));
        // Of the input as much as the kernel needs.
        let span = |i: usize| dilation[i] * (kernel[i] - 1) + 1;
        let input: [usize; 2] = [0, 1].map(|i| input[i].max(span(i).saturating_sub(padding[i] + after[i])));
        let output = [0, 1].map(|i| (input[i] + padding[i] + after[i] - span(i)) / stride[i] + 1);
        let groups = 1 + s.below(4) / 3;
        let channels = [1 + s.below(3), 1 + s.below(3)];
        let n = if s.below(6) == 0 { 17 } else { s.below(3) };
        let gates = if s.below(2) == 0 { 0 } else { s.below(4) as u64 };
        let spec = |dims: [usize; 4]| Spec::float(Shape::new(&dims).unwrap_or(Shape::SCALAR), Domain::All);
        let x = spec([n, groups * channels[0], input[0], input[1]]);
        let w = spec([groups * channels[1], channels[0], kernel[0], kernel[1]]);
        let u = spec([n, groups * channels[1], output[0], output[1]]);
        let (part, size, specs) = match s.below(3) {
            0 => (ConvolutionPart::Input, input, vec![u, w]),
            1 => (ConvolutionPart::Weights, kernel, vec![x, u]),
            _ => (ConvolutionPart::Output, output, vec![x, w]),
        };
        let padding = padding.map(|p| p as isize);
        (Self(Convolution { part, size, stride, dilation, padding, groups, gates }), specs)
    }
}

/// Whether no element has neighbours: pixels are multiplied by one matrix, which a product does as it is.
fn is_product(window: &Convolution, x: Shape, w: Shape) -> bool {
    let Convolution { size, stride, padding, groups, .. } = *window;
    w[2..] == [1, 1] && x[2..] == size && stride == [1, 1] && padding == [0, 0] && groups == 1 && x[1] == w[1]
}

impl<'t> Var<'t> {
    /// A convolution along the last axis: at each place the sum over channels and a kernel, which is not turned around (frameworks' convolution, strictly a
    /// cross-correlation). `[n, channels, l]` or `[channels, l]`, weights `[out, channels / groups, k]`; strides and the like by [`Conv`].
    ///
    /// *Shape*: `[n, out, (l + padding − dilation (k − 1) − 1) / stride + 1]`. *Derivative*: of the same kind, by either operand.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Conv;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0, 4.0, 8.0]]);
    /// let w = t.constant(array![[[1.0, -1.0]]]);
    /// assert_eq!(x.conv1d(w, Conv::new()).value()?.to_f64(), [-1.0, -2.0, -4.0]);
    /// assert_eq!(x.conv1d(w, Conv::new().stride(2)).value()?.to_f64(), [-1.0, -4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn conv1d(self, weights: Var<'t>, conv: Conv) -> Var<'t> {
        self.convolved("conv1d", weights, &conv, 1, false)
    }

    /// A convolution along the last two axes, as [`conv1d`](Self::conv1d) in all else: `[n, channels, h, w]` or `[channels, h, w]`, weights
    /// `[out, channels / groups, kh, kw]`. A bias is added: `+ b.reshape((-1, 1, 1))`.
    ///
    /// *Shape*: `[n, out, oh, ow]`. *Derivative*: of the same kind, by either operand.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Conv;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[[1.0, 2.0], [3.0, 4.0]]]);
    /// let w = t.constant(array![[[[1.0, 1.0], [1.0, 1.0]]]]);
    /// let y = x.conv2d(w, Conv::new().padding(1));
    /// assert_eq!(y.shape(), [1, 3, 3]);
    /// assert_eq!(y.value()?.to_f64(), [1.0, 3.0, 2.0, 4.0, 10.0, 6.0, 3.0, 7.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "conv_general_dilated")]
    #[doc(alias = "convolve")]
    #[track_caller]
    pub fn conv2d(self, weights: Var<'t>, conv: Conv) -> Var<'t> {
        self.convolved("conv2d", weights, &conv, 2, false)
    }

    /// The transpose of [`conv1d`](Self::conv1d): what that makes of an input, this makes one of. `[n, channels, l]`, weights `[channels, out / groups, k]`.
    ///
    /// *Shape*: `[n, out, (l − 1) stride − padding + dilation (k − 1) + 1 + output padding]`. *Derivative*: a convolution.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Conv;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 10.0]]);
    /// let w = t.constant(array![[[1.0, 2.0, 3.0]]]);
    /// let y = x.conv_transpose1d(w, Conv::new().stride(2));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 2.0, 13.0, 20.0, 30.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "deconvolution")]
    #[track_caller]
    pub fn conv_transpose1d(self, weights: Var<'t>, conv: Conv) -> Var<'t> {
        self.convolved("conv_transpose1d", weights, &conv, 1, true)
    }

    /// The transpose of [`conv2d`](Self::conv2d), as [`conv_transpose1d`](Self::conv_transpose1d) of two axes.
    ///
    /// *Shape*: `[n, out, h, w]`. *Derivative*: a convolution.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Conv;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[[1.0, 10.0]]]);
    /// let w = t.constant(array![[[[1.0, 2.0]]]]);
    /// let y = x.conv_transpose2d(w, Conv::new().stride((1, 2)));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 2.0, 10.0, 20.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "deconvolution")]
    #[track_caller]
    pub fn conv_transpose2d(self, weights: Var<'t>, conv: Conv) -> Var<'t> {
        self.convolved("conv_transpose2d", weights, &conv, 2, true)
    }

    /// Brings operands of one axis, or without examples, into the shape of the op.
    #[track_caller]
    fn convolved(
        self,
        name: &'static str,
        weights: Var<'t>,
        conv: &Conv,
        axes: usize,
        back: bool,
    ) -> Var<'t> {
        let (x, w) = (self.shape(), weights.shape());
        let alone = x.rank() == axes + 1;
        if w.rank() != axes + 2 || (x.rank() != axes + 2 && !alone) {
            let found = if w.rank() == axes + 2 { x.rank() } else { w.rank() };
            let kind = ShapeError::Rank { expected: axes + 2, found };
            return self.recorder().fail_like(kind, name, self.ty());
        }
        let window = match conv.over(&x[x.rank() - axes..], &w[2..], back) {
            Ok(window) => window,
            Err(kind) => return self.recorder().fail_like(kind, name, self.ty()),
        };
        self.operation(name, || {
            // Without examples one; without a height one.
            let mut dims = x.to_vec();
            if alone {
                dims.insert(0, 1);
            }
            let mut weights_dims = w.to_vec();
            if axes == 1 {
                dims.insert(2, 1);
                weights_dims.insert(2, 1);
            }
            let (x, w) = (self.reshape(&dims[..]), weights.reshape(weights_dims));
            let y = if !back && is_product(&window, x.shape(), w.shape()) {
                let [n, c, height, width] = [0, 1, 2, 3].map(|axis| x.dim(axis));
                let y = w.reshape([w.dim(0), c]).matmul(x.reshape([n, c, height * width]));
                y.reshape([n, w.dim(0), height, width])
            } else {
                let part = if back { ConvolutionPart::Input } else { ConvolutionPart::Output };
                self.recorder().emit_one(Op::bilinear(Convolve(Convolution { part, ..window })), &[x, w])
            };
            let shape: Vec<usize> = y.shape().to_vec();
            let mut kept = shape[if alone { 1 } else { 0 }..].to_vec();
            if axes == 1 {
                kept.remove(kept.len() - 2);
            }
            y.reshape(kept)
        })
    }
}
