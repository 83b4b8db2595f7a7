//! Order along an axis.

use std::cmp::Ordering;

use super::axes::Span;
use crate::dtype::DType;
use crate::elements::with_dtype;
use crate::error::{ErrorKind, Fault, ShapeError};
use crate::ir::{
    Attr, Attrs, Axes, Call, Discrete, Form, Kernel, Op, Opaque, ResultTypes, Var, Vars, one, operands,
    single,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// The positions along the last axis in the order of their elements.
#[derive(Clone, Copy)]
pub(crate) struct ArgSort {
    descending: bool,
}
impl Kernel for ArgSort {
    fn name(&self) -> &'static str {
        "argsort"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("descending", Attr::Int(i64::from(self.descending)))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        Span::last(x.shape)?;
        one(DType::I64, x.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let (rows, size) =
            x[0].shape.split_last().map_or((1, 1), |(&size, rest)| (rest.iter().product(), size));
        let work = x[0].shape.elements().saturating_mul(size.max(2).ilog2() as usize);
        Form::Opaque(Opaque::default().in_blocks(rows).chunked(0).with_work(work).infallible())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let ty = call.operands[0].ty;
        let size = ty.shape.last().copied().unwrap_or(1).max(1);
        with_dtype!(ty.dtype, T => {
            let (x, out) = call.unary::<T, i64>(0)?;
            for (x, out) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
                order(out, self.descending, &|a, b| {
                    let (a, b) = (&x[a as usize], &x[b as usize]);
                    // What does not compare with itself is a NaN, and greater than all numbers.
                    let nan = |x: &T| x.partial_cmp(x).is_none();
                    a.partial_cmp(b).unwrap_or_else(|| nan(a).cmp(&nan(b)))
                });
            }
            Ok(())
        })
    }
}

/// Sorts positions, equal elements in their order. By a function behind a pointer: a sort for each type would be much code.
fn order(positions: &mut [i64], descending: bool, compare: &dyn Fn(i64, i64) -> Ordering) {
    positions.iter_mut().zip(0..).for_each(|(to, i)| *to = i);
    positions.sort_unstable_by(|&a, &b| {
        let order = compare(a, b);
        if descending { order.reverse() } else { order }.then(a.cmp(&b))
    });
}

impl Discrete for ArgSort {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::discrete(*self)).into()
    }
}
impl Registered for ArgSort {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        match attrs.usize("descending")? {
            known @ 0..2 => Ok(Self { descending: known == 1 }),
            other => Err(ErrorKind::Malformed(format!("no order {other}"))),
        }
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let rank = 1 + s.below(3);
        // Indices are equal often enough to tell whether they keep their order.
        let shape = s.shape_of(rank, 0);
        let spec = if s.below(2) == 0 { Spec::index(shape, 3) } else { Spec::distinct(shape) };
        (Self { descending: s.below(2) == 1 }, vec![spec])
    }
}

impl<'t> Var<'t> {
    /// Records the order along an axis.
    #[track_caller]
    fn ordered(self, axis: usize, descending: bool) -> Var<'t> {
        let last = self.rank() - 1;
        self.swap_axes(axis, last).apply(Op::discrete(ArgSort { descending })).swap_axes(axis, last)
    }

    /// The positions along an axis in ascending order of their elements, as `i64`: equal ones keep their order, NaN comes last.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![3.0, 1.0, 2.0]);
    /// assert_eq!(x.argsort(0).value()?.to_f64(), [1.0, 2.0, 0.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn argsort(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("argsort", axis, |axis| self.ordered(axis, false))
    }

    /// The elements along an axis in ascending order; NaN comes last. The derivative goes where the element came from. Descending: [`top_k`](Self::top_k)
    /// of all.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to where each element was.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![3.0, 1.0, 2.0]);
    /// assert_eq!(x.sort(0).value()?.to_f64(), [1.0, 2.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(self, axis: impl Axes) -> Var<'t> {
        self.on_axis("sort", axis, |axis| self.take_along(axis, self.ordered(axis, false)))
    }

    /// The largest elements along an axis, the largest first, and their positions as `i64`: equal ones in their order, NaN before all numbers. An error where
    /// there are fewer.
    ///
    /// *Shape*: so many along the axis, both. *Derivative*: 1 to where each element was.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![3.0, 1.0, 2.0]);
    /// let (values, positions) = x.top_k(2, 0);
    /// assert_eq!(values.value()?.to_f64(), [3.0, 2.0]);
    /// assert_eq!(positions.value()?.to_f64(), [0.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "topk")]
    #[track_caller]
    pub fn top_k(self, count: usize, axis: impl Axes) -> (Var<'t>, Var<'t>) {
        let axis = match single(&axis, self.rank()) {
            Ok(axis) if count <= self.dim(axis) => Ok(axis),
            Ok(axis) => Err(ErrorKind::Argument(format!("the largest {count} of {}", self.dim(axis)))),
            Err(kind) => Err(kind),
        };
        self.operation("top_k", || match axis {
            Ok(axis) => {
                let order = self.ordered(axis, true).slice(axis, ..count);
                (self.take_along(axis, order), order)
            }
            Err(kind) => {
                let failed = self.recorder().fail_like(kind, "top_k", self.ty());
                (failed, failed)
            }
        })
    }

    /// The middle one of the numbers over axes (`()` for all), which disappear unless they are [kept](crate::Keep); the mean of the two in the middle of an even
    /// number; NaN where any is NaN. An error over nothing.
    ///
    /// *Shape*: without the axes. *Derivative*: 1 to the middle element, ½ to each of two.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![3.0, 1.0, 2.0, 10.0]);
    /// assert_eq!(x.median(()).value()?.item()?, 2.5);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn median(self, axes: impl Axes) -> Var<'t> {
        self.reduction("median", axes, |axes| {
            let (x, size) = self.last(axes);
            if size == 0 {
                let kind = ShapeError::Empty { shape: self.shape().to_vec() };
                return self.recorder().fail_like(kind, "median", self.ty());
            }
            let sorted = x.sort(-1);
            let middle = sorted.slice(-1, (size - 1) / 2..size / 2 + 1).mean(-1);
            // NaN is the largest: where there is one, it is last.
            let last = sorted.slice(-1, -1..).squeeze(-1);
            last.is_nan().select(last, middle)
        })
    }
}
