//! Running sums, products, maxima and minima along an axis.

use super::axes::Span;
use crate::dtype::DType;
use crate::elements::with_float;
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attr, Attrs, Axes, Call, Contribution, Form, Kernel, Linear, Op, Opaque, ResultTypes, Var, Vars, float,
    one, operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// Running sums along an axis, from its start or from its end, of floats or of `i64`, which wrap around.
#[derive(Clone, Copy)]
pub(crate) struct CumSum {
    axis: usize,
    reverse: bool,
}
impl CumSum {
    fn span(self) -> Span {
        Span { axis: self.axis, count: 1 }
    }
}
impl Kernel for CumSum {
    fn name(&self) -> &'static str {
        "cumsum"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("axis", Attr::Int(self.axis as i64)).with_flag("reverse", self.reverse)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if x.dtype != DType::I64 {
            float(types)?;
        }
        self.span().reduced(x.shape)?;
        one(x.dtype, x.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::Opaque(Opaque::default().in_blocks(self.span().split(x[0].shape).0).chunked(0).infallible())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let ty = call.operands[0].ty;
        let (_, along, inner) = self.span().split(ty.shape);
        if ty.dtype == DType::I64 {
            let (x, out) = call.unary::<i64, i64>(0)?;
            running(x, out, (along, inner), self.reverse, i64::wrapping_add);
            return Ok(());
        }
        with_float!(ty.dtype, T => {
            let (x, out) = call.unary::<T, T>(0)?;
            running(x, out, (along, inner), self.reverse, |a, b| a + b);
            Ok(())
        })
    }
}
impl Linear for CumSum {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct.apply(Op::linear(Self { reverse: !self.reverse, ..*self })))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::linear(Self { axis: self.axis + 1, ..*self })).into()
    }
}
impl Registered for CumSum {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { axis: attrs.usize("axis")?, reverse: attrs.flag("reverse")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (span, specs) = Span::sample(s, 0);
        (Self { axis: span.axis, reverse: s.below(2) == 1 }, specs)
    }
}

/// Puts together what comes before each element, itself included, along the middle of three axes.
fn running<T: Copy>(
    x: &[T],
    out: &mut [T],
    (along, inner): (usize, usize),
    reverse: bool,
    with: impl Fn(T, T) -> T,
) {
    out.copy_from_slice(x);
    for block in out.chunks_exact_mut((along * inner).max(1)) {
        for i in 1..along {
            // From the row before, or behind.
            let (from, to) = if reverse { (along - i, along - i - 1) } else { (i - 1, i) };
            for j in 0..inner {
                block[to * inner + j] = with(block[from * inner + j], block[to * inner + j]);
            }
        }
    }
}

impl<'t> Var<'t> {
    /// Running results of an associative function, by doubling the distance of what is put together (Hillis and Steele, "Data parallel
    /// algorithms", 1986): derivatives of every order are those of the function, zeros and ties included.
    #[track_caller]
    fn doubling(self, axis: usize, with: impl Fn(Var<'t>, Var<'t>) -> Var<'t>) -> Var<'t> {
        let (size, mut y, mut distance) = (self.dim(axis), self, 1);
        while distance < size {
            let (first, last) = (y.slice(axis, ..distance), y.slice(axis, distance..));
            let before = y.slice(axis, ..size - distance);
            y = self.recorder().concat([first, with(before, last)], axis);
            distance *= 2;
        }
        y
    }

    /// The sum of each element and all before it along an axis, added one after the other. From the end: [`flip`](Self::flip) before and after. Integers and
    /// truth values are summed as `i64`, which wraps around.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to all before.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.cumsum(0).value()?.to_f64(), [1.0, 3.0, 6.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cumsum(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("cumsum", axis, |axis| {
            let x = if self.dtype().is_float() { self } else { self.cast(DType::I64) };
            x.apply(Op::linear(CumSum { axis, reverse: false }))
        })
    }

    /// The product of each element and all before it along an axis. Zeros are numbers like others, in derivatives too.
    ///
    /// *Shape*: as `x`. *Derivative*: the product of the others before.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.cumprod(0).value()?.to_f64(), [1.0, 2.0, 6.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cumprod(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("cumprod", axis, |axis| self.doubling(axis, |a, b| a * b))
    }

    /// The largest of each element and all before it along an axis; NaN from the first NaN on. Of equal ones each has a share of the derivative.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to the largest before.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![2.0, 1.0, 3.0]);
    /// assert_eq!(x.cummax(0).value()?.to_f64(), [2.0, 2.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cummax(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("cummax", axis, |axis| self.doubling(axis, |a, b| a.maximum(b)))
    }

    /// The smallest of each element and all before it along an axis, as [`cummax`](Self::cummax) in all else.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to the smallest before.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![2.0, 1.0, 3.0]);
    /// assert_eq!(x.cummin(0).value()?.to_f64(), [2.0, 1.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cummin(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("cummin", axis, |axis| self.doubling(axis, |a, b| a.minimum(b)))
    }

    /// `ln Σ eˣ` of each element and all before it along an axis, without overflow.
    ///
    /// *Shape*: as `x`. *Derivative*: `e^(x − y)` to all before.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1e4, 1e4]);
    /// assert_eq!(x.logcumsumexp(0).value()?.to_f64(), [1e4, 1e4 + 2f64.ln()]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn logcumsumexp(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("logcumsumexp", axis, |axis| self.doubling(axis, |a, b| a.logaddexp(b)))
    }
}
