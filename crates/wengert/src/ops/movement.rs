//! Moving elements without changing them: reshape, permute, broadcast.

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{
    Attrs, Axes, Contribution, Domain, Form, IndexMap, Kernel, Linear, Op, ResultTypes, Var, Vars, named,
    one, operands, single,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{MAX_RANK, Shape, TensorType};
use crate::sizes::{IntoShape, IntoSizes};

/// The same elements in the same row-major order, under another shape.
pub(crate) struct Reshape {
    shape: Shape,
}
impl Kernel for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with_sizes("shape", &self.shape)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if x.shape.elements() != self.shape.elements() {
            let shape = self.shape.to_vec();
            return Err(ShapeError::Elements { shape, found: x.shape.elements() }.into());
        }
        one(x.dtype, self.shape)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::View(IndexMap::row_major(self.shape))
    }
}
impl Linear for Reshape {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct.reshape(x[0].shape()))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].reshape_to(self.shape.insert(0, x[0].dim(0))).into()
    }
}
impl Registered for Reshape {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { shape: Shape::new(&attrs.sizes("shape")?)? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let from = s.shape(3);
        let order = s.permutation(from.rank());
        let shape = Shape::new(&order.iter().map(|&a| from[a]).collect::<Vec<_>>()).unwrap_or(from);
        (Self { shape }, vec![Spec::float(from, Domain::All)])
    }
}

/// Axis `i` of the result is axis `order[i]` of the operand.
pub(crate) struct Permute {
    order: Shape,
}
impl Kernel for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with_sizes("order", &self.order)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        let (expected, found) = (x.shape.rank(), self.order.rank());
        self.order[..].resolve(expected)?;
        if found != expected {
            return Err(ShapeError::Rank { expected, found }.into());
        }
        let mut shape = x.shape;
        for (i, &a) in self.order.iter().enumerate() {
            shape = shape.with(i, x.shape[a]);
        }
        one(x.dtype, shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let from = x[0].shape.strides();
        let mut strides = [0; MAX_RANK];
        for (s, &a) in strides.iter_mut().zip(self.order.iter()) {
            *s = from[a];
        }
        Form::View(IndexMap { offset: 0, strides })
    }
}
impl Linear for Permute {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        let mut back = self.order;
        for (i, &a) in self.order.iter().enumerate() {
            back = back.with(a, i);
        }
        Contribution::Whole(ct.permute(&back[..]))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        let order: Vec<usize> = std::iter::once(0).chain(self.order.iter().map(|a| a + 1)).collect();
        x[0].permute(order).into()
    }
}
impl Registered for Permute {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { order: Shape::new(&attrs.sizes("order")?)? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(4);
        let order = Shape::new(&s.permutation(shape.rank())).unwrap_or(Shape::SCALAR);
        (Self { order }, vec![Spec::float(shape, Domain::All)])
    }
}

/// Repeats axes of size 1, and the whole along new leading axes: NumPy's `broadcast_to`.
pub(crate) struct Broadcast {
    shape: Shape,
}
impl Kernel for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with_sizes("shape", &self.shape)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        match x.shape.broadcast(&self.shape) {
            Ok(shape) if shape == self.shape => one(x.dtype, shape),
            _ => Err(ShapeError::Broadcast { from: x.shape.to_vec(), to: self.shape.to_vec() }.into()),
        }
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let from = x[0].shape;
        let lead = self.shape.rank().saturating_sub(from.rank());
        let mut strides = [0; MAX_RANK];
        for (axis, &stride) in from.strides()[..from.rank()].iter().enumerate() {
            strides[lead + axis] = if from[axis] == 1 { 0 } else { stride };
        }
        Form::View(IndexMap { offset: 0, strides })
    }
}
impl Linear for Broadcast {
    /// Sums a cotangent over the axes that were repeated: the only place that un-broadcasts.
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let to = x[0].shape();
        let lead = self.shape.rank() - to.rank();
        let repeated: Vec<usize> = (0..self.shape.rank())
            .filter(|&a| a < lead || (to[a - lead] == 1 && self.shape[a] != 1))
            .collect();
        Contribution::Whole(ct.sum(repeated.as_slice()).reshape(to))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        // The operand's own axes move to the end, behind as many ones as the result has more.
        let own = x[0].shape().remove(0, 1);
        let mut shape = Ok(own);
        for _ in own.rank()..self.shape.rank() {
            shape = shape.and_then(|s| s.insert(0, 1));
        }
        let size = x[0].dim(0);
        let aligned = x[0].reshape_to(shape.and_then(|s| s.insert(0, size)));
        aligned.broadcast_into(self.shape.insert(0, size)).into()
    }
}
impl Registered for Broadcast {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { shape: Shape::new(&attrs.sizes("shape")?)? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        let mut from = shape.remove(0, s.below(shape.rank() + 1));
        for axis in 0..from.rank() {
            if s.below(2) == 0 {
                from = from.with(axis, 1);
            }
        }
        (Self { shape }, vec![Spec::float(from, Domain::All)])
    }
}

/// Gives every operand of a batched rule the batch axis, by repeating those that lack it.
pub(crate) fn batch_all<'t>(operands: &[Var<'t>], batched: &[bool]) -> Vec<Var<'t>> {
    let size = operands.iter().zip(batched).find(|(_, b)| **b).map_or(1, |(v, _)| v.dim(0));
    let repeat = |v: Var<'t>| v.broadcast_into(v.shape().insert(0, size));
    operands.iter().zip(batched).map(|(&v, &b)| if b { v } else { repeat(v) }).collect()
}

impl<'t> Var<'t> {
    #[track_caller]
    fn reshape_to(self, shape: Result<Shape, ErrorKind>) -> Var<'t> {
        match shape {
            Ok(shape) if shape == self.shape() => self,
            Ok(shape) => self.apply(Op::linear(Reshape { shape })),
            Err(kind) => self.recorder().fail_like(kind, "reshape", self.ty()),
        }
    }

    #[track_caller]
    fn broadcast_into(self, shape: Result<Shape, ErrorKind>) -> Var<'t> {
        match shape {
            Ok(shape) if shape == self.shape() => self,
            Ok(shape) => self.apply(Op::linear(Broadcast { shape })),
            Err(kind) => self.recorder().fail_like(kind, "broadcast", self.ty()),
        }
    }

    /// The same elements in row-major order under another shape, of which one size may be −1: whatever the others
    /// leave. An error where the number of elements differs.
    ///
    /// *Shape*: the one given. *Derivative*: 1, in the old shape.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.reshape([4]).shape(), [4]);
    /// assert_eq!(x.reshape([-1, 1]).shape(), [4, 1]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "view")]
    #[doc(alias = "flatten")]
    #[doc(alias = "ravel")]
    #[track_caller]
    pub fn reshape(self, shape: impl IntoSizes) -> Var<'t> {
        self.reshape_to(shape.into_sizes(self.shape().elements()))
    }

    /// A new axis of size 1 in front of `axis`; −1 puts it behind the last.
    ///
    /// *Shape*: with one more axis. *Derivative*: 1.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.full(wengert::DType::F32, [2, 3], 0.0);
    /// assert_eq!(x.insert_axis(1).shape(), [2, 1, 3]);
    /// assert_eq!(x.insert_axis(-1).shape(), [2, 3, 1]);
    /// ```
    #[doc(alias = "unsqueeze")]
    #[doc(alias = "expand_dims")]
    #[doc(alias = "newaxis")]
    #[track_caller]
    pub fn insert_axis(self, axis: impl Axes) -> Var<'t> {
        let axis = single(&axis, self.rank() + 1);
        self.operation("insert_axis", || self.reshape_to(axis.and_then(|axis| self.shape().insert(axis, 1))))
    }

    /// Without these axes, which have size 1; `()` for all that have.
    ///
    /// *Shape*: without the axes. *Derivative*: 1.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.full(wengert::DType::F32, [1, 3, 1], 0.0);
    /// assert_eq!(x.squeeze(-1).shape(), [1, 3]);
    /// assert_eq!(x.squeeze(()).shape(), [3]);
    /// ```
    #[track_caller]
    pub fn squeeze(self, axes: impl Axes) -> Var<'t> {
        let shape = self.shape();
        let squeezed = named(&axes, shape.rank()).and_then(|named| {
            let all = named.iter().copied().eq(0..shape.rank());
            let named: Vec<usize> = named.iter().copied().filter(|&a| !all || shape[a] == 1).collect();
            if let Some(&axis) = named.iter().find(|&&a| shape[a] != 1) {
                return Err(ShapeError::Other(format!("axis {axis} of {shape} has not the size 1")).into());
            }
            let left = (0..shape.rank()).filter(|a| !named.contains(a)).map(|a| shape[a]);
            Shape::new(&left.collect::<Vec<_>>())
        });
        self.operation("squeeze", || self.reshape_to(squeezed))
    }

    /// Repeats axes of size 1, and the whole along new leading axes, to this shape (NumPy's rule).
    ///
    /// *Shape*: the one given. *Derivative*: 1, summed over what is repeated.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]).broadcast_to([2, 2]);
    /// assert_eq!(x.value()?.as_slice::<f64>()?, &[1.0, 2.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "expand")]
    #[doc(alias = "repeat")]
    #[track_caller]
    pub fn broadcast_to(self, shape: impl IntoShape) -> Var<'t> {
        self.broadcast_into(shape.into_shape())
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of this.
    ///
    /// *Shape*: in the order given. *Derivative*: 1, in the old order.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.full(wengert::DType::F32, [2, 3, 4], 0.0);
    /// assert_eq!(x.permute([2, 0, 1]).shape(), [4, 2, 3]);
    /// ```
    #[doc(alias = "permuted_axes")]
    #[doc(alias = "transpose")]
    #[track_caller]
    pub fn permute(self, order: impl Axes) -> Var<'t> {
        match named(&order, self.rank()).and_then(|order| Shape::new(&order)) {
            Ok(order) if order.iter().copied().eq(0..self.rank()) => self,
            Ok(order) => self.apply(Op::linear(Permute { order })),
            Err(kind) => self.recorder().fail_like(kind, "permute", self.ty()),
        }
    }

    /// The axes in reverse order: the transpose of a matrix.
    ///
    /// *Shape*: in reverse order. *Derivative*: 1.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.t().value()?.as_slice::<f64>()?, &[1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "transpose")]
    #[doc(alias = "T")]
    #[track_caller]
    pub fn t(self) -> Var<'t> {
        let order: Vec<usize> = (0..self.rank()).rev().collect();
        self.permute(order)
    }

    /// With two axes in each other's place.
    ///
    /// *Shape*: with two axes exchanged. *Derivative*: 1.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.full(wengert::DType::F32, [2, 3, 4], 0.0);
    /// assert_eq!(x.swap_axes(0, -1).shape(), [4, 3, 2]);
    /// ```
    #[doc(alias = "transpose")]
    #[track_caller]
    pub fn swap_axes(self, a: impl Axes, b: impl Axes) -> Var<'t> {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        match (single(&a, self.rank()), single(&b, self.rank())) {
            (Ok(a), Ok(b)) => {
                order.swap(a, b);
                self.operation("swap_axes", || self.permute(order))
            }
            (Err(kind), _) | (_, Err(kind)) => self.recorder().fail_like(kind, "swap_axes", self.ty()),
        }
    }
}
