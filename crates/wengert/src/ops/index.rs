//! Picking rows by number.

use super::scatter::ScatterAdd;
use crate::dtype::DType;
use crate::error::{ErrorKind, ShapeError};
use crate::ir::{
    Attr, Attrs, Axes, Contribution, Domain, Form, Indexed, Kernel, Linear, Op, Recorder, ResultTypes, Var,
    Vars, one, operands, single,
};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

/// How rows are addressed: `x` is `[batch…, rows, row…]`, the index `[batch…, picks…]`, the picked
/// rows `[batch…, picks…, row…]`; the first `batch` axes run together.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) batch: usize,
}
impl Rows {
    pub(super) fn attrs(self) -> Attrs {
        Attrs::new().with("batch", Attr::Int(self.batch as i64))
    }
    pub(super) fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { batch: attrs.usize("batch")? })
    }
    pub(super) fn sample(s: &mut Sampler) -> (Self, Shape, Shape) {
        let batch = s.below(2);
        let common = s.shape_of(batch, 1);
        let (rest, picks) = (s.shape(2), s.shape(2));
        let rows = 1 + s.below(4);
        let join = |a: &[usize], b: &[usize]| Shape::new(&[a, b].concat()).unwrap_or(Shape::SCALAR);
        (Self { batch }, join(&join(&common, &[rows]), &rest), join(&common, &picks))
    }
}

/// Rows of an array, picked by an index.
pub(crate) struct Gather(pub(super) Rows);
impl Kernel for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x, index] = operands(types)?;
        one(x.dtype, Indexed::picked(self.0.batch, x, index)?)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Indexed(Indexed::Gather { batch: self.0.batch })
    }
}
impl Linear for Gather {
    fn linear_in(&self, i: usize) -> bool {
        i == 0
    }
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Placed { op: Op::linear(ScatterAdd(self.0)), part: ct, place: Some(x[1]) }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        if !batched[0] && self.0.batch == 0 {
            // Only the index varies: more picks from the same rows.
            return x[0].recorder().emit(Op::linear(Self(self.0)), x);
        }
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::linear(Self(Rows { batch: self.0.batch + 1 })), &x)
    }
}
impl Registered for Gather {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Rows::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (rows, x, index) = Rows::sample(s);
        (Self(rows), vec![Spec::float(x, Domain::All), Spec::index(index, x[rows.batch])])
    }
}

/// What a function makes of the numbers from 0 on, so many, as `i64`: an error where there is no memory for them.
#[track_caller]
pub(super) fn numbers<'t>(
    t: &'t Recorder,
    name: &'static str,
    count: usize,
    of: impl Fn(i64) -> i64,
) -> Var<'t> {
    let mut list = Vec::new();
    match list.try_reserve_exact(count) {
        Ok(()) => {
            list.extend((0..count as i64).map(of));
            t.constant(list)
        }
        Err(_) => {
            let ty = TensorType::new(DType::I64, Shape::new(&[count]).unwrap_or(Shape::SCALAR));
            t.fail_like(ErrorKind::Memory { bytes: count.saturating_mul(8) }, name, ty)
        }
    }
}

impl<'t> Var<'t> {
    /// The rows (along axis 0) that an integer array names: `[rows, row…]` by `[picks…]` is
    /// `[picks…, row…]`. Rows named twice have derivatives that accumulate. A run fails at the
    /// first index that is out of range.
    ///
    /// *Shape*: that of the index, then the rest of a row. *Derivative*: 1 to each row picked, summed where several are.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.gather(t.constant(array![1u8, 1, 0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "take")]
    #[doc(alias = "embedding")]
    #[doc(alias = "index_select")]
    #[track_caller]
    pub fn gather(self, index: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(Gather(Rows { batch: 0 })), &[self, index])
    }

    /// [`gather`](Self::gather) along any axis: the axes of the index take that axis's place.
    ///
    /// *Shape*: that of the index in the axis's place. *Derivative*: 1 to each row picked, summed where several are.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// let y = x.gather_along(-1, t.constant([2, 0]));
    /// assert_eq!(y.value()?.to_f64(), [3.0, 1.0, 6.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "take")]
    #[doc(alias = "index_select")]
    #[track_caller]
    pub fn gather_along(self, axis: impl Axes, index: Var<'t>) -> Var<'t> {
        self.along("gather_along", axis, |x, axis| {
            let picks = index.rank();
            x.gather(index).move_axes(0..picks, axis)
        })
    }

    /// Records what works along the first axis with another one moved there.
    #[track_caller]
    pub(super) fn along(
        self,
        name: &'static str,
        axis: impl Axes,
        record: impl FnOnce(Var<'t>, usize) -> Var<'t>,
    ) -> Var<'t> {
        match single(&axis, self.rank()) {
            Ok(axis) => self.operation(name, || record(self.move_axes(axis..axis + 1, 0), axis)),
            Err(kind) => self.recorder().fail_like(kind, name, self.ty()),
        }
    }

    /// Takes neighbouring axes out, and puts them in front of what is then axis `to`.
    #[track_caller]
    pub(super) fn move_axes(self, axes: std::ops::Range<usize>, to: usize) -> Var<'t> {
        let rest: Vec<usize> = (0..self.rank()).filter(|axis| !axes.contains(axis)).collect();
        if axes.end > self.rank() || to > rest.len() {
            let kind = ShapeError::Rank { expected: axes.end.max(to), found: self.rank() };
            return self.recorder().fail_like(kind, "gather", self.ty());
        }
        self.permute([&rest[..to], &axes.collect::<Vec<_>>(), &rest[to..]].concat())
    }

    /// One element of the last axis for each of the others, named by an integer array of their
    /// shape: `[i, j, …, k]` by `[i, j, …]`. A run fails at the first index that is out of range.
    ///
    /// *Shape*: without the last axis. *Derivative*: 1 to the element picked.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.pick(t.constant(array![1i64, 0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[2.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn pick(self, index: Var<'t>) -> Var<'t> {
        self.operation("pick", || self.pick_last(index))
    }

    #[track_caller]
    fn pick_last(self, index: Var<'t>) -> Var<'t> {
        let batch = self.rank().saturating_sub(1);
        if self.rank() == 0 || index.shape()[..] != self.shape()[..batch] {
            let (left, right) = (index.shape().to_vec(), self.shape()[..batch].to_vec());
            let kind = ShapeError::Differ { left, right };
            return self.recorder().fail_like(kind, "pick", TensorType::new(self.dtype(), index.shape()));
        }
        self.recorder().emit_one(Op::linear(Gather(Rows { batch })), &[self, index])
    }
}
