//! Rows written in the places that an index names: set, added, multiplied, or the largest of them kept.

use super::index::{Gather, Rows, numbers};
use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::ir::{
    Attrs, Axes, Contribution, Custom, Domain, Form, Indexed, Kernel, Linear, Op, ResultTypes, ScatterMode,
    Tangents, Var, Vars, one, operands,
};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType, one_float_type, same_dtype, same_shape};

/// An array with rows added in the places an index names; repeated ones accumulate, in order.
pub(crate) struct ScatterAdd(pub(super) Rows);
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
        Form::Indexed(Indexed::Scatter { batch: self.0.batch, mode: ScatterMode::Add })
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

/// An array with rows in the places an index names; of those that are named twice the last stays.
pub(crate) struct Scatter(Rows);
impl Kernel for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [acc, part, index] = operands(types)?;
        same_dtype(acc, part)?;
        same_shape(Indexed::picked(self.0.batch, acc, index)?, part.shape)?;
        one(acc.dtype, acc.shape)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Indexed(Indexed::Scatter { batch: self.0.batch, mode: ScatterMode::Set })
    }
}
impl Linear for Scatter {
    fn linear_in(&self, i: usize) -> bool {
        i < 2
    }
    fn aliases(&self) -> Option<usize> {
        Some(0)
    }
    fn replaces(&self) -> bool {
        true
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let (t, part, index) = (ct.recorder(), x[1], x[2]);
        let scatter = |acc: Var<'t>, part: Var<'t>| t.emit_one(Op::linear(Self(self.0)), &[acc, part, index]);
        let gather = |from: Var<'t>| t.emit_one(Op::linear(Gather(self.0)), &[from, index]);
        if i == 0 {
            return Contribution::Whole(scatter(ct, part.fill(0.0)));
        }
        // A row that a later one replaced has no derivative: every row writes its number, and looks whether that stayed.
        let numbers = numbers(t, "scatter", index.shape().elements(), |i| i)
            .reshape(lined(index.shape(), part.shape()))
            .broadcast_to(part.shape());
        let stayed = gather(scatter(t.full(DType::I64, ct.shape(), -1.0), numbers)).eq(numbers);
        Contribution::Whole(stayed.select(gather(ct), 0.0))
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::linear(Self(Rows { batch: self.0.batch + 1 })), &x)
    }
}
impl Registered for Scatter {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Rows::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (ScatterAdd(rows), specs) = ScatterAdd::sample(s);
        (Self(rows), specs)
    }
}

/// An array with the largest of each number and of those in the rows that an index puts in its place.
pub(crate) struct ScatterMax(Rows);
impl Kernel for ScatterMax {
    fn name(&self) -> &'static str {
        "scatter_max"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        ScatterAdd(self.0).infer(types)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Indexed(Indexed::Scatter { batch: self.0.batch, mode: ScatterMode::Max })
    }
}
impl Custom for ScatterMax {
    fn differentiable_in(&self, i: usize) -> bool {
        i < 2
    }
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (&[acc, part, index], y) = (x, y[0]) else { return Ok(None.into()) };
        let add =
            |acc: Var<'t>, part| acc.recorder().emit_one(Op::linear(ScatterAdd(self.0)), &[acc, part, index]);
        // As of a maximum over axes: all that attain it have an equal share of the derivative, and every share of NaN is NaN.
        let top = y.recorder().emit_one(Op::linear(Gather(self.0)), &[y, index]);
        let (below, part_below) = (acc.lt(y), part.lt(top));
        let zero = (acc.fill(0.0), part.fill(0.0));
        let ties = add(below.select(zero.0, 1.0), part_below.select(zero.1, 1.0));
        let share = y.eq(y).select(1.0 / ties, f64::NAN);
        let moved = t[0].map_or(zero.0, |t| below.select(zero.0, t));
        let moved = match t[1] {
            Some(t) => add(moved, part_below.select(zero.1, t)),
            None => moved,
        };
        Ok(Some(moved * share).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::custom(Self(Rows { batch: self.0.batch + 1 })), &x)
    }
}
impl Registered for ScatterMax {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Rows::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (ScatterAdd(rows), mut specs) = ScatterAdd::sample(s);
        for (class, spec) in specs.iter_mut().take(2).enumerate() {
            *spec = Spec::distinct_from(spec.shape, class as u8);
        }
        (Self(rows), specs)
    }
}

/// The shape of an index, with axes of size 1 behind it for those of a row.
fn lined(index: Shape, part: Shape) -> Vec<usize> {
    (0..part.rank()).map(|axis| index.get(axis).copied().unwrap_or(1)).collect()
}

impl<'t> Var<'t> {
    /// This array with rows added in the places (along axis 0) that an integer array names: `part` is
    /// `[picks…, row…]`. Rows named twice accumulate, in order. A run fails at the first index that is out
    /// of range.
    ///
    /// *Shape*: as `x`. *Derivative*: 1; by the part 1.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x.scatter_add(t.constant(array![1u8, 1]), t.constant(array![10.0, 20.0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[1.0, 32.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "index_add")]
    #[track_caller]
    pub fn scatter_add(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(ScatterAdd(Rows { batch: 0 })), &[self, part, index])
    }

    /// This array with `part` in the places that an index names: rows along the first axis, as [`gather`](Self::gather) picks them. Of rows
    /// that are named twice the last stays. A run fails at the first index that is out of range.
    ///
    /// *Shape*: as `x`. *Derivative*: 0 where replaced, else 1; by the part 1 to the rows that stay.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// let y = x.scatter(t.constant([0, 2]), t.constant(array![10.0, 30.0]));
    /// assert_eq!(y.value()?.to_f64(), [10.0, 2.0, 30.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "index_put")]
    #[doc(alias = "put")]
    #[track_caller]
    pub fn scatter(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(Scatter(Rows { batch: 0 })), &[self, part, index])
    }

    /// [`scatter`](Self::scatter) along any axis: in `part` the axes of the index stand in that axis's place.
    ///
    /// *Shape*: as `x`. *Derivative*: 0 where replaced, else 1; by the part 1 to the rows that stay.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.scatter_along(1, t.constant([1]), t.constant(array![[9.0], [8.0]]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 9.0, 3.0, 8.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_along(self, axis: impl Axes, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.written("scatter_along", axis, index, part, Self::scatter)
    }

    /// This array with rows multiplied into the places (along axis 0) that an integer array names, as [`scatter_add`](Self::scatter_add) adds them. Zeros are numbers
    /// like others, in derivatives of every order too. A run fails at the first index that is out of range.
    ///
    /// *Shape*: as `x`. *Derivative*: the product of what else is multiplied there.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x.scatter_multiply(t.constant(array![1u8, 1]), t.constant(array![10.0, 20.0]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 400.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "scatter_mul")]
    #[doc(alias = "scatter_reduce")]
    #[track_caller]
    pub fn scatter_multiply(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.operation("scatter_multiply", || {
            let picked = Indexed::picked(0, self.ty(), index.ty());
            if let Err(kind) = picked.and_then(|rows| same_shape(rows, part.shape())) {
                return self.recorder().fail_like(kind, "scatter_multiply", self.ty());
            }
            // Rows of one place beside each other, in their order; then running products within each place, the last of which is written.
            let count = index.shape().elements();
            let index = index.reshape([count]);
            let order = index.argsort(0);
            let (index, row) = (index.gather(order), [&[count], &self.shape()[1..]].concat());
            let (mut y, mut distance) = (part.reshape(&row[..]).gather(order), 1);
            while distance < count {
                let (first, last) = (y.slice(0, ..distance), y.slice(0, distance..));
                let one_place = index.slice(0, ..count - distance).eq(index.slice(0, distance..));
                let one_place = one_place.reshape(lined(one_place.shape(), last.shape()));
                let product = one_place.select(y.slice(0, ..count - distance) * last, last);
                y = self.recorder().concat([first, product], 0);
                distance *= 2;
            }
            self * self.fill(1.0).scatter(index, y)
        })
    }

    /// This array with the largest of each number and of those that rows put in its place (along axis 0), as an integer array names them; NaN where any is NaN. Those that are
    /// equal share the derivative. A run fails at the first index that is out of range.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to the largest.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x.scatter_max(t.constant(array![1u8, 1]), t.constant(array![5.0, 4.0]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 5.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "scatter_reduce")]
    #[track_caller]
    pub fn scatter_max(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::custom(ScatterMax(Rows { batch: 0 })), &[self, part, index])
    }

    /// This array with the smallest of each number and of those that rows put in its place, as [`scatter_max`](Self::scatter_max) in all else.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to the smallest.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x.scatter_min(t.constant(array![1u8, 1]), t.constant(array![5.0, -4.0]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, -4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "scatter_reduce")]
    #[track_caller]
    pub fn scatter_min(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.operation("scatter_min", || -(-self).scatter_max(index, -part))
    }

    /// [`scatter_multiply`](Self::scatter_multiply) along any axis: in `part` the axes of the index stand in that axis's place.
    ///
    /// *Shape*: as `x`. *Derivative*: the product of what else is multiplied there.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.scatter_multiply_along(1, t.constant([1]), t.constant(array![[9.0], [8.0]]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 18.0, 3.0, 32.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_multiply_along(self, axis: impl Axes, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.written("scatter_multiply_along", axis, index, part, Self::scatter_multiply)
    }

    /// [`scatter_max`](Self::scatter_max) along any axis: in `part` the axes of the index stand in that axis's place.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to the largest.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.scatter_max_along(1, t.constant([1]), t.constant(array![[9.0], [0.0]]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 9.0, 3.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_max_along(self, axis: impl Axes, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.written("scatter_max_along", axis, index, part, Self::scatter_max)
    }

    /// [`scatter_min`](Self::scatter_min) along any axis: in `part` the axes of the index stand in that axis's place.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 to the smallest.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.scatter_min_along(1, t.constant([1]), t.constant(array![[9.0], [0.0]]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 2.0, 3.0, 0.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_min_along(self, axis: impl Axes, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.written("scatter_min_along", axis, index, part, Self::scatter_min)
    }

    /// [`scatter_add`](Self::scatter_add) along any axis: in `part` the axes of the index stand in that axis's place.
    ///
    /// *Shape*: as `x`. *Derivative*: 1; by the part 1.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.scatter_add_along(1, t.constant([1]), t.constant(array![[9.0], [8.0]]));
    /// assert_eq!(y.value()?.to_f64(), [1.0, 11.0, 3.0, 12.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_add_along(self, axis: impl Axes, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.written("scatter_add_along", axis, index, part, Self::scatter_add)
    }

    /// Records what writes rows along the first axis along another one.
    #[track_caller]
    fn written(
        self,
        name: &'static str,
        axis: impl Axes,
        index: Var<'t>,
        part: Var<'t>,
        write: impl FnOnce(Var<'t>, Var<'t>, Var<'t>) -> Var<'t>,
    ) -> Var<'t> {
        self.along(name, axis, |x, axis| {
            let part = part.move_axes(axis..axis + index.rank(), 0);
            write(x, index, part).move_axes(0..1, axis)
        })
    }
}
