//! Softmax, its logarithm, and the cross-entropy built from them.

use super::axes::Span;
use crate::elements::with_float;
use crate::error::{ErrorKind, Fault, ShapeError};
use crate::ir::{
    Attrs, Axes, Call, Custom, Domain, Form, Kernel, Op, Opaque, Primitive, ResultTypes, Tangents, Var, Vars,
    float, single,
};
use crate::kernels::{Real, map1, reduce};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

/// Rows of logits that are too few to be shared among threads one by one, and numbers of a row that is worth sharing.
const FEW: usize = 8;
const WIDE: usize = 1 << 13;

/// `x − ln Σ eˣ` along the last axis.
pub(crate) struct LogSoftmax;
impl LogSoftmax {
    /// Numbers whose exponentials are taken together: all of a row, or many short rows.
    const TOGETHER: usize = 256;

    fn run<T: Real>(call: &mut Call<'_, '_>) -> Result<(), Fault> {
        let (isa, width) = (call.isa, call.operands[0].ty.shape.last().copied().unwrap_or(1));
        let x = call.operands[0].elements::<T>()?;
        let scratch: &mut [T] = bytemuck::cast_slice_mut(&mut *call.scratch);
        let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
        if width == 0 {
            return Ok(());
        }
        let rows = (Self::TOGETHER / width).max(1);
        let (exps, sums) = scratch.split_at_mut(rows * width);
        for (out, x) in out.chunks_mut(rows * width).zip(x.chunks(rows * width)) {
            let (exps, sums) = (&mut exps[..out.len()], &mut sums[..out.len() / width]);
            isa.loops(|| {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let mut top = [x[0]];
                    reduce::max(&mut top, x, (width, 1), false);
                    out.iter_mut().zip(x).for_each(|(o, &x)| *o = x - top[0]);
                }
            });
            map1(isa, Primitive::Exp, out, exps);
            isa.loops(|| {
                sums.iter_mut().zip(exps.chunks_exact(width)).for_each(|(s, e)| *s = reduce::tree(e))
            });
            // No longer needed, the exponentials make room for the logarithms.
            let logs = &mut exps[..sums.len()];
            map1(isa, Primitive::Ln, sums, logs);
            isa.loops(|| {
                for (out, &log) in out.chunks_exact_mut(width).zip(&*logs) {
                    out.iter_mut().for_each(|o| *o = *o - log);
                }
            });
        }
        Ok(())
    }
}
impl Kernel for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let x = float(types)?;
        Span::last(x.shape)?;
        Ok(x.into())
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let (rows, width, _) = Span::last(x[0].shape).map_or((1, 1, 1), |last| last.split(x[0].shape));
        let width = width.max(1);
        let together = (Self::TOGETHER / width).max(1);
        let scratch = (together * width + together).saturating_mul(x[0].dtype.bytes());
        Form::Opaque(Opaque::default().in_blocks(rows).chunked(0).with_scratch(scratch).infallible())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        with_float!(call.operands[0].ty.dtype, T => Self::run::<T>(&mut call))
    }
}
impl Custom for LogSoftmax {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let last = y[0].rank().saturating_sub(1);
        Ok(t[0].map(|t| t - (y[0].exp() * t).sum(last).insert_axis(last)).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].log_softmax().into()
    }
}
impl Registered for LogSoftmax {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let rank = 1 + s.below(3);
        (Self, vec![Spec::float(s.shape_of(rank, 0), Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// `x − ln Σ eˣ` along the last axis, without overflow for numbers of any size; NaN where a
    /// whole row is −∞ or one number is +∞.
    ///
    /// *Shape*: as `x`. *Derivative*: `δᵢⱼ − pⱼ`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let y = t.constant(array![1e4, -1e4]).log_softmax();
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[0.0, -2e4]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn log_softmax(self) -> Var<'t> {
        let last = self.rank().saturating_sub(1);
        let width = self.shape().last().copied().unwrap_or(0);
        let rows = self.shape().elements() / width.max(1);
        if self.dtype().is_float() && rows <= FEW && width >= WIDE {
            return self.operation("log_softmax", || self.wide_log_softmax(last));
        }
        self.apply(Op::custom(LogSoftmax))
    }

    /// The same by ops of their own, which many threads share where one row is most of the work.
    #[track_caller]
    fn wide_log_softmax(self, last: usize) -> Var<'t> {
        // The maximum only shifts, so nothing is differentiated through it.
        let z = self - self.max(last).stop_gradient().insert_axis(last);
        z - z.exp().sum(last).ln().insert_axis(last)
    }

    /// `eˣ / Σ eˣ` along the last axis: class probabilities.
    ///
    /// *Shape*: as `x`. *Derivative*: `pᵢ (δᵢⱼ − pⱼ)`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let y = t.constant(array![3.0, 3.0]).softmax();
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[0.5, 0.5]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(self) -> Var<'t> {
        self.operation("softmax", || self.log_softmax().exp())
    }

    /// [`log_softmax`](Self::log_softmax) along any axis.
    ///
    /// *Shape*: as `x`. *Derivative*: `δᵢⱼ − pⱼ`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let y = t.constant(array![[1e4], [-1e4]]).log_softmax_along(0);
    /// assert_eq!(y.value()?.to_f64(), [0.0, -2e4]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn log_softmax_along(self, axis: impl Axes) -> Var<'t> {
        let last = self.rank().saturating_sub(1);
        match single(&axis, self.rank()) {
            Ok(axis) => {
                let name = "log_softmax_along";
                self.operation(name, || self.swap_axes(axis, last).log_softmax().swap_axes(axis, last))
            }
            Err(kind) => self.recorder().fail_like(kind, "log_softmax_along", self.ty()),
        }
    }

    /// [`softmax`](Self::softmax) along any axis.
    ///
    /// *Shape*: as `x`. *Derivative*: `pᵢ (δᵢⱼ − pⱼ)`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let y = t.constant(array![[3.0, 1.0], [3.0, 1.0]]).softmax_along(0);
    /// assert_eq!(y.value()?.to_f64(), [0.5; 4]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax_along(self, axis: impl Axes) -> Var<'t> {
        self.operation("softmax_along", || self.log_softmax_along(axis).exp())
    }

    /// [`cross_entropy`](Self::cross_entropy) of logits whose classes lie along any axis; labels that are probabilities have them along
    /// the same.
    ///
    /// *Shape*: a scalar. *Derivative*: `(p − y)/rows` by the logits.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[2.0, 1e4], [2.0, -1e4]]);
    /// let loss = x.cross_entropy_along(0, t.constant([0, 0]));
    /// assert!((loss.value()?.item()? - 0.5 * 2f64.ln()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy_along(self, axis: impl Axes, labels: Var<'t>) -> Var<'t> {
        let axis = match single(&axis, self.rank()) {
            Ok(axis) => axis,
            Err(kind) => return self.recorder().fail_like(kind, "cross_entropy_along", self.ty()),
        };
        // Classes go behind the others, whose order labels that are classes keep.
        let last = |x: Var<'t>| {
            let others = (0..x.rank()).filter(|&a| a != axis);
            x.permute(others.chain([axis]).collect::<Vec<_>>())
        };
        self.operation("cross_entropy_along", || {
            let alike = labels.dtype().is_float() && labels.rank() == self.rank();
            last(self).cross_entropy(if alike { last(labels) } else { labels })
        })
    }

    /// The mean cross-entropy `−Σ p ln softmax(x)` over all rows of these logits. The last axis
    /// holds the classes; `labels` are integers of the shape of the other axes, or probabilities
    /// (one-hot, say) of the shape of the logits. A run fails at the first label that is no class.
    ///
    /// *Shape*: a scalar. *Derivative*: `(p − y)/rows` by the logits.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[2.0, 2.0], [1e4, -1e4]]);
    /// let loss = x.cross_entropy(t.constant(array![0u8, 0]));
    /// assert!((loss.value()?.item()? - 0.5 * 2f64.ln()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy(self, labels: Var<'t>) -> Var<'t> {
        self.operation("cross_entropy", || self.mean_cross_entropy(labels))
    }

    #[track_caller]
    fn mean_cross_entropy(self, labels: Var<'t>) -> Var<'t> {
        let ln = self.log_softmax();
        let last = ln.rank().saturating_sub(1);
        let rows = if !labels.dtype().is_float() {
            ln.pick(labels)
        } else if labels.shape() == ln.shape() {
            // A class of probability 0 adds nothing, even where its logit is −∞.
            let finite = labels.eq(0.0).select(ln.maximum(-f64::from(f32::MAX)), ln);
            (finite * labels).sum(last)
        } else {
            let kind = ShapeError::Differ { left: ln.shape().to_vec(), right: labels.shape().to_vec() };
            let guess = TensorType::new(self.dtype(), Shape::SCALAR);
            return self.recorder().fail_like(kind, "cross_entropy", guess);
        };
        -rows.mean(())
    }
}
