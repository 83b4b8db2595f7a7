//! Reductions: sum and mean, maximum, position of the maximum.

use super::axes::{Axes, Span, resolved};
use crate::dtype::DType;
use crate::elements::with_dtype;
use crate::error::{ErrorKind, Fault, ShapeError};
use crate::ir::{
    Attrs, Call, Contribution, Custom, Discrete, Form, Kernel, Linear, Monoid, Op, Opaque, ResultTypes,
    Tangents, Var, Vars, float, one, operands,
};
use crate::kernels::reduce;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// The sum over neighbouring axes.
pub(crate) struct Sum(Span);
impl Kernel for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let x = float(types)?;
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
    fn reduce(self, axes: impl Axes, name: &str, op: impl Fn(Span) -> Op) -> Var<'t> {
        let axes = match resolved(&axes, self.rank()) {
            Ok(axes) => axes,
            Err(kind) => return self.recorder().fail_like(kind, name, self.ty()),
        };
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

    /// The sum over axes (`()` for all), which disappear; 0 over nothing. Added as a tree of pairs
    /// whose shape depends on the sizes only.
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
        self.reduce(axes, "sum", |span| Op::linear(Sum(span)))
    }

    /// The mean over axes (`()` for all), which disappear. An error over nothing.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.mean(1).value()?.as_slice::<f64>()?, &[1.5, 3.5]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn mean(self, axes: impl Axes) -> Var<'t> {
        let shape = self.shape();
        let count: usize = match resolved(&axes, shape.rank()) {
            Ok(axes) => axes.iter().map(|&a| shape[a]).product(),
            Err(kind) => return self.recorder().fail_like(kind, "mean", self.ty()),
        };
        if count == 0 {
            let kind = ShapeError::Empty { shape: shape.to_vec() };
            return self.recorder().fail_like(kind, "mean", self.ty());
        }
        self.operation("mean", || self.sum(axes) / count as f64)
    }

    /// The maximum over axes (`()` for all), which disappear; NaN where any is NaN, an error over
    /// nothing. Elements that attain it share the derivative equally.
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
    #[track_caller]
    pub fn max(self, axes: impl Axes) -> Var<'t> {
        // A maximum of maxima would share ties among runs first, so axes that are not neighbours
        // are brought together.
        let resolved = match resolved(&axes, self.rank()) {
            Ok(resolved) => resolved,
            Err(kind) => return self.recorder().fail_like(kind, "max", self.ty()),
        };
        let apart = resolved.windows(2).any(|w| w[0] + 1 != w[1]);
        if !apart {
            return self.reduce(&*resolved, "max", |span| Op::custom(Max(span)));
        }
        let kept: Vec<usize> = (0..self.rank()).filter(|a| !resolved.contains(a)).collect();
        let order: Vec<usize> = kept.iter().chain(&resolved).copied().collect();
        let span = Span { axis: kept.len(), count: resolved.len() };
        self.operation("max", || self.permute(&order).apply(Op::custom(Max(span))))
    }

    /// `ln Σ eˣ` over axes (`()` for all), which disappear, without overflow; −∞ where all numbers are. An
    /// error over nothing.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1e4, 1e4]);
    /// assert_eq!(x.logsumexp(()).value()?.item()?, 1e4 + 2f64.ln());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp(self, axes: impl Axes) -> Var<'t> {
        let resolved = match resolved(&axes, self.rank()) {
            Ok(resolved) => resolved,
            Err(kind) => return self.recorder().fail_like(kind, "logsumexp", self.ty()),
        };
        self.operation("logsumexp", || self.logsumexp_over(&resolved))
    }

    #[track_caller]
    fn logsumexp_over(self, axes: &[usize]) -> Var<'t> {
        // The maximum only shifts, so nothing is differentiated through it; an infinite one would leave NaN.
        let top = self.max(axes).stop_gradient();
        let shift = top.abs().eq(f64::INFINITY).select(top.fill(0.0), top);
        let spread = axes.iter().fold(shift, |s, &axis| s.insert_axis(axis));
        let sum = (self - spread).exp().sum(axes);
        // Of nothing but −∞ the sum is 0, whose logarithm has an infinite derivative: a gate keeps it out.
        sum.eq(0.0).select(sum.fill(f64::NEG_INFINITY), sum.ln()) + shift
    }

    /// The position of the first maximum along an axis, which disappears, as `i64`; of the first
    /// NaN, if there is one. No derivative flows through it.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 5.0], [3.0, 2.0]]);
    /// assert_eq!(x.argmax(1).value()?.as_slice::<i64>()?, &[1, 0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(self, axis: usize) -> Var<'t> {
        self.reduce(axis, "argmax", |span| Op::discrete(ArgMax(span)))
    }
}
