//! Picking rows by number, and adding rows in their places.

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{
    Attr, Attrs, Contribution, Domain, Form, Indexed, Kernel, Linear, Op, ResultTypes, Var, Vars, one,
    operands,
};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType, one_float_type, same_shape};

/// How rows are addressed: `x` is `[batch…, rows, row…]`, the index `[batch…, picks…]`, the picked
/// rows `[batch…, picks…, row…]`; the first `batch` axes run together.
#[derive(Clone, Copy)]
struct Rows {
    batch: usize,
}
impl Rows {
    fn attrs(self) -> Attrs {
        Attrs::new().with("batch", Attr::Int(self.batch as i64))
    }
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { batch: attrs.usize("batch")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Shape, Shape) {
        let batch = s.below(2);
        let common = s.shape_of(batch, 1);
        let (rest, picks) = (s.shape(2), s.shape(2));
        let rows = 1 + s.below(4);
        let join = |a: &[usize], b: &[usize]| Shape::new(&[a, b].concat()).unwrap_or(Shape::SCALAR);
        (Self { batch }, join(&join(&common, &[rows]), &rest), join(&common, &picks))
    }
}

/// Rows of an array, picked by an index.
pub(crate) struct Gather(Rows);
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

/// An array with rows added in the places an index names; repeated ones accumulate, in order.
pub(crate) struct ScatterAdd(Rows);
impl Kernel for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [acc, part, index] = operands(types)?;
        one_float_type(&[acc, part])?;
        same_shape(Indexed::picked(self.0.batch, acc, index)?, part.shape)?;
        one(acc.dtype, acc.shape)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Indexed(Indexed::ScatterAdd { batch: self.0.batch })
    }
}
impl Linear for ScatterAdd {
    fn linear_in(&self, i: usize) -> bool {
        i < 2
    }
    fn aliases(&self) -> Option<usize> {
        Some(0)
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let rows = || ct.recorder().emit_one(Op::linear(Gather(self.0)), &[ct, x[2]]);
        Contribution::Whole(if i == 0 { ct } else { rows() })
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::linear(Self(Rows { batch: self.0.batch + 1 })), &x)
    }
}
impl Registered for ScatterAdd {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Rows::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (rows, acc, index) = Rows::sample(s);
        let dims = [&index[..], &acc[rows.batch + 1..]].concat();
        let part = Shape::new(&dims).unwrap_or(Shape::SCALAR);
        let specs = vec![
            Spec::float(acc, Domain::All),
            Spec::float(part, Domain::All),
            Spec::index(index, acc[rows.batch]),
        ];
        (Self(rows), specs)
    }
}

impl<'t> Var<'t> {
    /// The rows (along axis 0) that an integer array names: `[rows, row…]` by `[picks…]` is
    /// `[picks…, row…]`. Rows named twice have derivatives that accumulate. A run fails at the
    /// first index that is out of range.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.gather(t.constant(array![1u8, 1, 0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gather(self, index: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(Gather(Rows { batch: 0 })), &[self, index])
    }

    /// This array with rows added in the places (along axis 0) that an integer array names: `part` is
    /// `[picks…, row…]`. Rows named twice accumulate, in order. A run fails at the first index that is out
    /// of range.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x.scatter_add(t.constant(array![1u8, 1]), t.constant(array![10.0, 20.0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[1.0, 32.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_add(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(ScatterAdd(Rows { batch: 0 })), &[self, part, index])
    }

    /// One element of the last axis for each of the others, named by an integer array of their
    /// shape: `[i, j, …, k]` by `[i, j, …]`. A run fails at the first index that is out of range.
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
