//! Reductions: sum and mean, maximum, position of the maximum.

use super::axes::Span;
use crate::dtype::DType;
use crate::elements::with_dtype;
use crate::error::{ErrorKind, Fault, ShapeError};
use crate::ir::{
    Attrs, Axes, Call, Contribution, Custom, Discrete, Form, IntoVar, Keep, Kernel, Linear, Monoid, Op,
    Opaque, ResultTypes, Tangents, Var, Vars, float, one, operands, single,
};
use crate::kernels::reduce;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

/// The sum over neighbouring axes, of floats or of `i64`, which wraps around.
pub(crate) struct Sum(Span);
impl Kernel for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if x.dtype != DType::I64 {
            float(types)?;
        }
        one(x.dtype, self.0.reduced(x.shape)?)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        self.0.form(Monoid::Sum)
    }
}
impl Linear for Sum {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let shape = x[0].shape();
        Contribution::Whole(self.0.spread(ct, shape))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::linear(Self(self.0.shifted()))).into()
    }
}
impl Registered for Sum {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Span::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (span, specs) = Span::sample(s, 0);
        (Self(span), specs)
    }
}

/// The maximum over neighbouring axes.
pub(crate) struct Max(Span);
impl Kernel for Max {
    fn name(&self) -> &'static str {
        "max"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        one(x.dtype, self.0.reduced_of_some(x.shape)?)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        self.0.form(Monoid::Max)
    }
}
impl Custom for Max {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let Some(t) = t[0] else { return Ok(None.into()) };
        // Every element that attains the maximum has an equal share of the derivative. Where the
        // maximum is NaN so is every share.
        let sum = |v: Var<'t>| v.apply(Op::linear(Sum(self.0)));
        let below = x[0].lt(self.0.spread(y[0], x[0].shape()));
        let ties = sum(below.select(t.fill(0.0), 1.0));
        let share = y[0].eq(y[0]).select(1.0 / ties, f64::NAN);
        Ok(Some(sum(below.select(t.fill(0.0), t)) * share).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::custom(Self(self.0.shifted()))).into()
    }
}
impl Registered for Max {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Span::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (span, specs) = Span::sample(s, 1);
        (Self(span), specs.into_iter().map(|spec| Spec::distinct(spec.shape)).collect())
    }
}

/// The position of the maximum along one axis, or along all after flattening.
pub(crate) struct ArgMax(Span);
impl Kernel for ArgMax {
    fn name(&self) -> &'static str {
        "argmax"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        one(DType::I64, self.0.reduced_of_some(x.shape)?)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::Opaque(Opaque::default().in_blocks(self.0.split(x[0].shape).0).chunked(0).infallible())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let ty = call.operands[0].ty;
        let (_, reduced, inner) = self.0.split(ty.shape);
        with_dtype!(ty.dtype, T => {
            let (x, out) = call.unary::<T, i64>(0)?;
            reduce::argmax(out, x, reduced, inner);
            Ok(())
        })
    }
}
impl Discrete for ArgMax {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::discrete(Self(self.0.shifted()))).into()
    }
}
impl Registered for ArgMax {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Span::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (span, specs) = Span::sample(s, 1);
        (Self(span), specs)
    }
}

impl<'t> Var<'t> {
    /// Reduces axes by one row for each run of neighbouring axes, the last run first.
    #[track_caller]
    fn reduce(self, axes: &[usize], op: impl Fn(Span) -> Op) -> Var<'t> {
        let mut out = self;
        let mut end = axes.len();
        while end > 0 {
            let mut start = end - 1;
            while start > 0 && axes[start - 1] + 1 == axes[start] {
                start -= 1;
            }
            out = out.apply(op(Span { axis: axes[start], count: end - start }));
            end = start;
        }
        out
    }

    /// Records a reduction under its name: over the axes in ascending order, which stay where that is asked for.
    #[track_caller]
    pub(super) fn reduction(
        self,
        name: &'static str,
        axes: impl Axes,
        record: impl FnOnce(&[usize]) -> Var<'t>,
    ) -> Var<'t> {
        self.on_axes(name, &axes, |found| {
            let y = record(found);
            if axes.keep() { y.keep(self.shape(), found) } else { y }
        })
    }

    /// The array with these axes last, as one: and its size.
    #[track_caller]
    pub(super) fn last(self, axes: &[usize]) -> (Var<'t>, usize) {
        let (shape, kept) =
            (self.shape(), (0..self.rank()).filter(|a| !axes.contains(a)).collect::<Vec<_>>());
        let size = axes.iter().map(|&a| shape[a]).product();
        let mut dims: Vec<usize> = kept.iter().map(|&a| shape[a]).collect();
        dims.push(size);
        (self.permute([&kept[..], axes].concat()).reshape(dims), size)
    }

    /// Puts reduced axes back, with size 1.
    #[track_caller]
    pub(super) fn keep(self, full: Shape, axes: &[usize]) -> Var<'t> {
        self.reshape(axes.iter().fold(full, |shape, &axis| shape.with(axis, 1)))
    }

    /// The sum over axes (`()` for all), which disappear unless they are [kept](crate::Keep); 0 over nothing. Added as a tree of pairs
    /// whose shape depends on the sizes only. Integers and truth values are summed as `i64`, which wraps around.
    ///
    /// *Shape*: without the axes. *Derivative*: 1.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum(0).value()?.as_slice::<f64>()?, &[4.0, 6.0]);
    /// assert_eq!(x.sum(()).value()?.item()?, 10.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn sum(self, axes: impl Axes) -> Var<'t> {
        self.reduction("sum", axes, |axes| {
            let x = if self.dtype().is_float() { self } else { self.cast(DType::I64) };
            x.reduce(axes, |span| Op::linear(Sum(span)))
        })
    }

    /// [`sum`](Self::sum), which keeps the axes with size 1: `x / x.sum_keep(-1)`.
    ///
    /// *Shape*: with size 1 along the axes. *Derivative*: 1.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 3.0]]);
    /// assert_eq!((x / x.sum_keep(-1)).value()?.to_f64(), [0.25, 0.75]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "keepdims")]
    #[track_caller]
    pub fn sum_keep(self, axes: impl Axes) -> Var<'t> {
        self.sum(Keep(axes))
    }

    /// The mean over axes (`()` for all), which disappear unless they are [kept](crate::Keep). An error over nothing.
    ///
    /// *Shape*: without the axes. *Derivative*: `1/n`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.mean(1).value()?.as_slice::<f64>()?, &[1.5, 3.5]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "average")]
    #[track_caller]
    pub fn mean(self, axes: impl Axes) -> Var<'t> {
        self.reduction("mean", axes, |axes| match self.count_of_some(axes) {
            Ok(count) => self.sum(axes) / count,
            Err(kind) => self.recorder().fail_like(kind, "mean", self.ty()),
        })
    }

    /// How many floats there are along axes: an error for none.
    pub(super) fn count_of_some(self, axes: &[usize]) -> Result<f64, ErrorKind> {
        float(&[self.ty()])?;
        let shape = self.shape();
        match axes.iter().map(|&a| shape[a]).product::<usize>() {
            0 => Err(ShapeError::Empty { shape: shape.to_vec() }.into()),
            count => Ok(count as f64),
        }
    }

    /// The maximum over axes (`()` for all), which disappear unless they are [kept](crate::Keep); NaN where any is NaN, an error over
    /// nothing. Elements that attain it share the derivative equally. Of two arrays the larger is [`maximum`](Self::maximum).
    ///
    /// *Shape*: without the axes. *Derivative*: 1 to the maximum, shared where several are.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 5.0, 5.0]);
    /// let y = x.max(());
    /// assert_eq!(y.value()?.item()?, 5.0);
    /// assert_eq!(y.gradients([x])[x].value()?.as_slice::<f64>()?, &[0.0, 0.5, 0.5]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "amax")]
    #[track_caller]
    pub fn max(self, axes: impl Axes) -> Var<'t> {
        self.reduction("max", axes, |axes| {
            // A maximum of maxima would share ties among runs first, so axes that are not neighbours are brought together.
            if axes.windows(2).all(|w| w[0] + 1 == w[1]) {
                return self.reduce(axes, |span| Op::custom(Max(span)));
            }
            let kept: Vec<usize> = (0..self.rank()).filter(|a| !axes.contains(a)).collect();
            let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
            let span = Span { axis: kept.len(), count: axes.len() };
            self.permute(order).apply(Op::custom(Max(span)))
        })
    }

    /// The minimum over axes (`()` for all), as [`max`](Self::max) in all else. Of two arrays the smaller is
    /// [`minimum`](Self::minimum).
    ///
    /// *Shape*: without the axes. *Derivative*: 1 to the minimum, shared where several are.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[3.0, 1.0], [2.0, 4.0]]);
    /// assert_eq!(x.min(-1).value()?.to_f64(), [1.0, 2.0]);
    /// assert_eq!(t.constant(array![7u8, 200]).min(()).value()?.item()?, 7.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "amin")]
    #[track_caller]
    pub fn min(self, axes: impl Axes) -> Var<'t> {
        self.reduction("min", axes, |axes| self.backwards().max(axes).backwards())
    }

    /// In the opposite order: what a minimum is the maximum of. It undoes itself.
    #[track_caller]
    fn backwards(self) -> Var<'t> {
        match self.dtype() {
            // −1 − x, which does not overflow.
            DType::I64 => -1 - self,
            DType::U8 => u8::MAX.into_var(self) - self,
            DType::U32 => u32::MAX.into_var(self) - self,
            DType::Bool => !self,
            DType::F32 | DType::F64 => -self,
        }
    }

    /// `ln Σ eˣ` over axes (`()` for all), which disappear unless they are [kept](crate::Keep), without overflow; −∞ where all numbers
    /// are. An error over nothing.
    ///
    /// *Shape*: without the axes. *Derivative*: `softmax(x)`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1e4, 1e4]);
    /// assert_eq!(x.logsumexp(()).value()?.item()?, 1e4 + 2f64.ln());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "log_sum_exp")]
    #[track_caller]
    pub fn logsumexp(self, axes: impl Axes) -> Var<'t> {
        self.reduction("logsumexp", axes, |axes| {
            // The maximum only shifts, so nothing is differentiated through it; an infinite one would leave NaN.
            let top = self.max(axes).stop_gradient();
            let shift = top.abs().eq(f64::INFINITY).select(0.0, top);
            let sum = (self - shift.keep(self.shape(), axes)).exp().sum(axes);
            // Of nothing but −∞ the sum is 0, whose logarithm has an infinite derivative: a gate keeps it out.
            sum.eq(0.0).select(f64::NEG_INFINITY, sum.ln()) + shift
        })
    }

    /// The position of the first maximum along an axis, which disappears, as `i64`; of the first
    /// NaN, if there is one. No derivative flows through it.
    ///
    /// *Shape*: without the axis. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 5.0], [3.0, 2.0]]);
    /// assert_eq!(x.argmax(1).value()?.as_slice::<i64>()?, &[1, 0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(self, axis: impl Axes) -> Var<'t> {
        if let Err(kind) = single(&axis, self.rank()) {
            return self.recorder().fail_like(kind, "argmax", self.ty());
        }
        self.reduction("argmax", axis, |axis| self.reduce(axis, |span| Op::discrete(ArgMax(span))))
    }

    /// The position of the first minimum along an axis, as [`argmax`](Self::argmax) in all else.
    ///
    /// *Shape*: without the axis. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(array![2.0, 1.0, 1.0]).argmin(0).value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn argmin(self, axis: impl Axes) -> Var<'t> {
        self.operation("argmin", || self.backwards().argmax(axis))
    }

    /// How many truth values hold along axes (`()` for all), as `i64`; of numbers, how many are not 0.
    ///
    /// *Shape*: without the axes. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.gt(1.5).count(()).value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "count_nonzero")]
    #[track_caller]
    pub fn count(self, axes: impl Axes) -> Var<'t> {
        self.operation("count", || self.cast(DType::Bool).sum(axes))
    }

    /// Whether any truth value holds along axes (`()` for all); none over nothing.
    ///
    /// *Shape*: without the axes. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(array![1.0, f64::NAN]).ne(1.0).any(()).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn any(self, axes: impl Axes) -> Var<'t> {
        self.operation("any", || self.count(axes).gt(0))
    }

    /// Whether all truth values hold along axes (`()` for all); they do over nothing.
    ///
    /// *Shape*: without the axes. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(array![1.0, 2.0]).gt(0.0).all(()).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn all(self, axes: impl Axes) -> Var<'t> {
        self.operation("all", || self.eq(0).count(axes).eq(0))
    }
}
