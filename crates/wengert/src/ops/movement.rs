//! Moving elements without changing them: reshape, permute, broadcast.

use crate::dtype::{Native, with_dtype};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attrs, Call, Contribution, Domain, IndexMap, Kernel, Linear, Op, ResultTypes, Var, Vars, one, operands,
};
use crate::kernels::copy::{Gather, Walk};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{IntoShape, MAX_RANK, Shape, TensorType};

/// Copies the blocks of a call (slabs of the result's first axis) from operand 0.
pub(super) fn copy_blocks(mut call: Call<'_, '_>, map: Option<IndexMap>) -> Result<(), Fault> {
    fn run<T: Native>(call: &mut Call<'_, '_>, offset: isize, strides: &[isize]) -> Result<(), Fault> {
        let (mut dims, mut offset) = (call.results[0].ty.shape, offset);
        if dims.rank() > 0 {
            if !slab_by_slab(offset, strides, dims, call.operands[0].ty.shape) {
                offset += call.blocks.start as isize * strides[0];
            }
            dims = dims.with(0, call.blocks.len());
        }
        let level = call.level;
        let (x, out) = call.unary::<T, T>(0)?;
        level.run(Gather { out, input: x, walk: Walk { dims: &dims, offset, strides } });
        Ok(())
    }
    let Some(IndexMap::Strided { offset, strides }) = map else { return Err(Fault::Type) };
    with_dtype!(call.operands[0].ty.dtype, T => run::<T>(&mut call, offset, &strides))
}

/// Whether each slab of the result (along its first axis) reads the slab of the operand in the same
/// place, and no other.
fn slab_by_slab(offset: isize, strides: &[isize], dims: Shape, from: Shape) -> bool {
    let (Some(&count), Some(&slab)) = (dims.first(), strides.first()) else { return false };
    if slab <= 0 || dims.contains(&0) || count.checked_mul(slab as usize) != Some(from.elements()) {
        return false;
    }
    let reach = |sign: isize| -> isize {
        let inner = dims.iter().zip(strides).skip(1);
        inner.map(|(&d, &s)| (d as isize - 1) * s).filter(|r| r * sign > 0).sum()
    };
    offset + reach(-1) >= 0 && offset + reach(1) < slab
}

/// The same for an op that copies along strides.
pub(super) fn cut_by_slabs(op: &dyn Linear, operands: &[TensorType]) -> bool {
    let Some(x) = operands.first() else { return false };
    match (op.index_map(x), op.infer(operands).ok().and_then(|r| r.first().copied())) {
        (Some(IndexMap::Strided { offset, strides }), Some(y)) => {
            slab_by_slab(offset, &strides, y.shape, x.shape)
        }
        _ => false,
    }
}

/// As many blocks as the first result has slabs.
pub(super) fn slabs(results: &[TensorType]) -> usize {
    results.first().and_then(|r| r.shape.first().copied()).unwrap_or(1)
}

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
            return Err(ErrorKind::Shape(format!(
                "{} has {} elements, {} has {}",
                x.shape,
                x.shape.elements(),
                self.shape,
                self.shape.elements()
            )));
        }
        one(x.dtype, self.shape)
    }
    fn blocks(&self, _: &[TensorType], results: &[TensorType]) -> usize {
        results.first().map_or(1, |r| r.shape.elements())
    }
    fn cut(&self, _: usize, _: &[TensorType]) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        with_dtype!(call.operands[0].ty.dtype, T => {
            let (x, out) = call.unary::<T, T>(0)?;
            out.copy_from_slice(x);
            Ok(())
        })
    }
}
impl Linear for Reshape {
    fn index_map(&self, _: &TensorType) -> Option<IndexMap> {
        Some(IndexMap::Strided { offset: 0, strides: self.shape.strides() })
    }
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(cts[0].map_or(x[0].fill(0.0), |ct| ct.reshape(x[0].shape())))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0].reshape_to(self.shape.insert(0, x[0].dim(0)))].into_iter().collect()
    }
}
impl Registered for Reshape {
    const NAME: &'static str = "reshape";
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
        let mut seen = [false; MAX_RANK];
        let fits = self.order.rank() == x.shape.rank()
            && self.order.iter().all(|&a| a < x.shape.rank() && !std::mem::replace(&mut seen[a], true));
        if !fits {
            return Err(ErrorKind::Shape(format!("{} is no order of the axes of {}", self.order, x.shape)));
        }
        let mut shape = x.shape;
        for (i, &a) in self.order.iter().enumerate() {
            shape = shape.with(i, x.shape[a]);
        }
        one(x.dtype, shape)
    }
    fn blocks(&self, _: &[TensorType], results: &[TensorType]) -> usize {
        slabs(results)
    }
    fn cut(&self, _: usize, operands: &[TensorType]) -> bool {
        cut_by_slabs(self, operands)
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let map = self.index_map(call.operands[0].ty);
        copy_blocks(call, map)
    }
}
impl Linear for Permute {
    fn index_map(&self, x: &TensorType) -> Option<IndexMap> {
        let from = x.shape.strides();
        let mut strides = [0; MAX_RANK];
        for (s, &a) in strides.iter_mut().zip(self.order.iter()) {
            *s = from[a];
        }
        Some(IndexMap::Strided { offset: 0, strides })
    }
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        let mut back = self.order;
        for (i, &a) in self.order.iter().enumerate() {
            back = back.with(a, i);
        }
        Contribution::Whole(cts[0].map_or(x[0].fill(0.0), |ct| ct.permute(&back)))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        let order: Vec<usize> = std::iter::once(0).chain(self.order.iter().map(|a| a + 1)).collect();
        [x[0].permute(&order)].into_iter().collect()
    }
}
impl Registered for Permute {
    const NAME: &'static str = "permute";
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
            _ => Err(ErrorKind::Shape(format!("{} does not broadcast to {}", x.shape, self.shape))),
        }
    }
    fn blocks(&self, _: &[TensorType], results: &[TensorType]) -> usize {
        slabs(results)
    }
    fn cut(&self, _: usize, operands: &[TensorType]) -> bool {
        cut_by_slabs(self, operands)
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let map = self.index_map(call.operands[0].ty);
        copy_blocks(call, map)
    }
}
impl Linear for Broadcast {
    fn index_map(&self, x: &TensorType) -> Option<IndexMap> {
        let lead = self.shape.rank().checked_sub(x.shape.rank())?;
        let mut strides = [0; MAX_RANK];
        for (axis, &stride) in x.shape.strides()[..x.shape.rank()].iter().enumerate() {
            strides[lead + axis] = if x.shape[axis] == 1 { 0 } else { stride };
        }
        Some(IndexMap::Strided { offset: 0, strides })
    }
    /// Sums a cotangent over the axes that were repeated: the only place that un-broadcasts.
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        let to = x[0].shape();
        let lead = self.shape.rank() - to.rank();
        let repeated: Vec<usize> = (0..self.shape.rank())
            .filter(|&a| a < lead || (to[a - lead] == 1 && self.shape[a] != 1))
            .collect();
        Contribution::Whole(cts[0].map_or(x[0].fill(0.0), |ct| ct.sum(repeated.as_slice()).reshape(to)))
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
        [aligned.broadcast_into(self.shape.insert(0, size))].into_iter().collect()
    }
}
impl Registered for Broadcast {
    const NAME: &'static str = "broadcast";
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

    /// The same elements in row-major order under another shape. An error where their number
    /// differs.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(&x.reshape([4]).shape()[..], &[4]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn reshape(self, shape: impl IntoShape) -> Var<'t> {
        self.reshape_to(shape.into_shape())
    }

    /// A new axis of size 1 in front of `axis`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.full(wengert::DType::F32, [2, 3], 0.0);
    /// assert_eq!(&x.insert_axis(1).shape()[..], &[2, 1, 3]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn insert_axis(self, axis: usize) -> Var<'t> {
        self.operation("insert_axis", || self.reshape_to(self.shape().insert(axis, 1)))
    }

    /// Repeats axes of size 1, and the whole along new leading axes, to this shape (NumPy's rule).
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]).broadcast_to([2, 2]);
    /// assert_eq!(x.value()?.as_slice::<f64>()?, &[1.0, 2.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn broadcast_to(self, shape: impl IntoShape) -> Var<'t> {
        self.broadcast_into(shape.into_shape())
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of this.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.full(wengert::DType::F32, [2, 3, 4], 0.0);
    /// assert_eq!(&x.permute(&[2, 0, 1]).shape()[..], &[4, 2, 3]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn permute(self, order: &[usize]) -> Var<'t> {
        // Told by `Permute::infer`, but for sizes that are none.
        if let Some(axis) = order.iter().find(|&&axis| axis >= self.rank()) {
            let kind = ErrorKind::Shape(format!(
                "{order:?} is no order of the axes of {}: there is no axis {axis}",
                self.shape()
            ));
            return self.recorder().fail_like(kind, "permute", self.ty());
        }
        match Shape::new(order) {
            Ok(order) if order.iter().copied().eq(0..self.rank()) => self,
            Ok(order) => self.apply(Op::linear(Permute { order })),
            Err(kind) => self.recorder().fail_like(kind, "permute", self.ty()),
        }
    }

    /// The axes in reverse order: the transpose of a matrix.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.t().value()?.as_slice::<f64>()?, &[1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn t(self) -> Var<'t> {
        let order: Vec<usize> = (0..self.rank()).rev().collect();
        self.permute(&order)
    }
}
