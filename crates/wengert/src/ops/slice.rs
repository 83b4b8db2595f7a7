//! Parts of arrays: taking a slice, and adding into one.

use std::fmt;

use ndarray::SliceInfoElem;

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{
    Attr, Attrs, Axes, Contribution, Domain, Form, IndexMap, Indexed, IntoVar, Kernel, Linear, Op,
    ResultTypes, Var, Vars, one, operands, single,
};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{MAX_RANK, Shape, TensorType, one_float_type, same_dtype, same_shape};
use crate::sizes::{IntoSlice, position};

/// Where a slice begins and how it steps along one axis.
#[derive(Clone, Copy, PartialEq)]
struct Stride {
    start: usize,
    step: isize,
    size: usize,
}

/// A rectangular part of an array, in steps that may be negative.
#[derive(Clone)]
struct Window(Vec<Stride>);

/// `[2 from 0, 3 from 5 by -1]`
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, Stride { start, step, size }) in self.0.iter().enumerate() {
            write!(f, "{}{size} from {start}", if i > 0 { ", " } else { "" })?;
            if *step != 1 {
                write!(f, " by {step}")?;
            }
        }
        f.write_str("]")
    }
}
impl Window {
    fn attrs(&self) -> Attrs {
        let column = |f: fn(&Stride) -> i64| Attr::Ints(self.0.iter().map(f).collect());
        Attrs::new()
            .with("starts", column(|s| s.start as i64))
            .with("steps", column(|s| s.step as i64))
            .with("sizes", column(|s| s.size as i64))
    }
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let (starts, steps, sizes) = (attrs.sizes("starts")?, attrs.ints("steps")?, attrs.sizes("sizes")?);
        if starts.len() != steps.len() || starts.len() != sizes.len() {
            return Err(ErrorKind::Malformed("a slice needs as many starts as steps and sizes".into()));
        }
        let rows = starts.into_iter().zip(steps).zip(sizes);
        Ok(Self(rows.map(|((start, step), size)| Stride { start, step: step as isize, size }).collect()))
    }
    /// The shape of the part, if it lies inside.
    fn shape(&self, of: Shape) -> Result<Shape, ErrorKind> {
        if self.0.iter().any(|s| s.step == 0) {
            return Err(ShapeError::Other(format!("the slice {self} has a step of 0")).into());
        }
        let inside = self.0.len() == of.rank()
            && self.0.iter().zip(of.iter()).all(|(s, &dim)| {
                let steps = isize::try_from(s.size.saturating_sub(1)).ok();
                let reach = steps.and_then(|n| n.checked_mul(if n > 0 { s.step } else { 0 }));
                let last = reach.and_then(|r| r.checked_add_unsigned(s.start));
                let first = s.start <= dim;
                first && (s.size == 0 || last.is_some_and(|l| s.start < dim && l >= 0 && (l as usize) < dim))
            });
        if !inside {
            return Err(ShapeError::Other(format!("the slice {self} leaves {of}")).into());
        }
        Shape::new(&self.0.iter().map(|s| s.size).collect::<Vec<_>>())
    }
    fn map(&self, of: Shape) -> IndexMap {
        let from = of.strides();
        let mut strides = [0; MAX_RANK];
        let mut offset = 0;
        for (axis, s) in self.0.iter().enumerate() {
            // One element makes no step, whatever the step is.
            strides[axis] = if s.size > 1 { from[axis] * s.step } else { 0 };
            offset += from[axis] * s.start as isize;
        }
        IndexMap { offset, strides }
    }
    fn batched(&self, size: usize) -> Self {
        let whole = Stride { start: 0, step: 1, size };
        Self(std::iter::once(whole).chain(self.0.iter().copied()).collect())
    }
    fn sample(s: &mut Sampler) -> (Self, Shape) {
        let rank = 1 + s.below(3);
        let of = s.shape_of(rank, 1);
        let window = of.iter().map(|&dim| {
            let start = s.below(dim);
            let step: isize = [1, 1, 2, -1, -2][s.below(5)];
            let room = if step > 0 { dim - 1 - start } else { start } / step.unsigned_abs();
            Stride { start, step, size: s.below(room + 2) }
        });
        (Self(window.collect()), of)
    }
}

/// A part of an array.
pub(crate) struct Slice(Window);
impl Kernel for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        one(x.dtype, self.0.shape(x.shape)?)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::View(self.0.map(x[0].shape))
    }
}
impl Linear for Slice {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Placed { op: Op::linear(AddSlice(self.0.clone())), part: ct, place: None }
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::linear(Self(self.0.batched(x[0].dim(0))))).into()
    }
}
impl Registered for Slice {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Window::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (window, of) = Window::sample(s);
        (Self(window), vec![Spec::float(of, Domain::All)])
    }
}

/// An array with another added to a part of it.
pub(crate) struct AddSlice(Window);
impl Kernel for AddSlice {
    fn name(&self) -> &'static str {
        "add_slice"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [acc, part] = operands(types)?;
        one_float_type(&[acc, part])?;
        same_shape(self.0.shape(acc.shape)?, part.shape)?;
        one(acc.dtype, acc.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::Indexed(Indexed::AddPart(self.0.map(x[0].shape)))
    }
}
impl Linear for AddSlice {
    fn aliases(&self) -> Option<usize> {
        Some(0)
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(if i == 0 { ct } else { ct.apply(Op::linear(Slice(self.0.clone()))) })
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        let op = Op::linear(Self(self.0.batched(x[0].dim(0))));
        x[0].recorder().emit(op, &x)
    }
}
impl Registered for AddSlice {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Window::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (window, of) = Window::sample(s);
        let part = window.shape(of).unwrap_or(of);
        (Self(window), vec![Spec::float(of, Domain::All), Spec::float(part, Domain::All)])
    }
}

/// An array with another in the place of a part of it.
pub(crate) struct SetSlice(Window);
impl Kernel for SetSlice {
    fn name(&self) -> &'static str {
        "set_slice"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [acc, part] = operands(types)?;
        same_dtype(acc, part)?;
        same_shape(self.0.shape(acc.shape)?, part.shape)?;
        one(acc.dtype, acc.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::Indexed(Indexed::SetPart(self.0.map(x[0].shape)))
    }
}
impl Linear for SetSlice {
    fn aliases(&self) -> Option<usize> {
        Some(0)
    }
    fn replaces(&self) -> bool {
        true
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(match i {
            0 => ct.recorder().emit_one(Op::linear(Self(self.0.clone())), &[ct, x[1].fill(0.0)]),
            _ => ct.apply(Op::linear(Slice(self.0.clone()))),
        })
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        let op = Op::linear(Self(self.0.batched(x[0].dim(0))));
        x[0].recorder().emit(op, &x)
    }
}
impl Registered for SetSlice {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Window::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (AddSlice(window), specs) = AddSlice::sample(s);
        (Self(window), specs)
    }
}

/// A rectangular part as users name it, which may lack axes of the array and have others of size 1.
pub(super) struct Part {
    window: Window,
    /// Its shape as users see it.
    pub(super) shape: Shape,
}
impl Part {
    /// The part that a slice of `ndarray`'s names. An error where it leaves the array.
    pub(super) fn of(slices: &[SliceInfoElem], of: Shape) -> Result<Self, ErrorKind> {
        let (mut window, mut shape) = (Vec::new(), Vec::new());
        let mut axes = of.iter().copied();
        for slice in slices {
            let next = if let SliceInfoElem::NewAxis = slice { Some(1) } else { axes.next() };
            let (rank, axis) = (of.rank(), window.len());
            let size = next.ok_or(ShapeError::NoAxis { axis: axis as isize, rank })?;
            match *slice {
                SliceInfoElem::NewAxis => shape.push(1),
                SliceInfoElem::Index(index) => window.push(at(index, size)?),
                SliceInfoElem::Slice { start, end, step } => {
                    let stride = range(start, end, step, size)?;
                    window.push(stride);
                    shape.push(stride.size);
                }
            }
        }
        for size in axes {
            window.push(Stride { start: 0, step: 1, size });
            shape.push(size);
        }
        Ok(Self { window: Window(window), shape: Shape::new(&shape)? })
    }

    /// Its shape with all axes of the array.
    fn full(&self, of: Shape) -> Result<Shape, ErrorKind> {
        self.window.shape(of)
    }
}

/// One position of an axis.
fn at(index: isize, size: usize) -> Result<Stride, ErrorKind> {
    match position(index, size) {
        Some(start) => Ok(Stride { start, step: 1, size: 1 }),
        None => Err(ShapeError::Other(format!("there is no position {index} on an axis of {size}")).into()),
    }
}

/// A range of an axis, which a negative step walks from its end, as `ndarray`'s slices do.
fn range(start: isize, end: Option<isize>, step: isize, size: usize) -> Result<Stride, ErrorKind> {
    let leaves = || {
        let end = end.map_or_else(String::new, |end| end.to_string());
        ErrorKind::from(ShapeError::Other(format!("the slice {start}..{end} leaves an axis of {size}")))
    };
    // Positions, or the end of the axis.
    let edge = |index: isize| match index {
        index if usize::try_from(index) == Ok(size) => Some(size),
        index => position(index, size),
    };
    let start_at = edge(start).ok_or_else(leaves)?;
    let end_at = edge(end.unwrap_or(size as isize)).ok_or_else(leaves)?;
    if step == 0 {
        return Err(ShapeError::Other(format!("the slice from {start} has a step of 0")).into());
    }
    // One that ends before it begins is empty.
    let length = end_at.saturating_sub(start_at);
    let count = length.div_ceil(step.unsigned_abs());
    let first = if step < 0 && length > 0 { end_at - 1 } else { start_at };
    Ok(Stride { start: first, step, size: count })
}

impl<'t> Var<'t> {
    /// The elements `range` of an axis: `1..3`, `1..`, `..-1`, or with a step, of `ndarray`'s [`Slice`](ndarray::Slice). A negative step
    /// walks the range from its end.
    ///
    /// *Shape*: shorter along the axis. *Derivative*: 1 in the part, else 0.
    ///
    /// ```
    /// use ndarray::{array, Slice};
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.slice(0, 1..3).value()?.to_f64(), [2.0, 3.0]);
    /// assert_eq!(x.slice(-1, ..-1).value()?.to_f64(), [1.0, 2.0]);
    /// assert_eq!(x.slice(0, Slice::from(..).step_by(-2)).value()?.to_f64(), [3.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "narrow")]
    #[doc(alias = "slice_axis")]
    #[track_caller]
    pub fn slice(self, axis: impl Axes, range: impl IntoSlice) -> Var<'t> {
        let ndarray::Slice { start, end, step } = range.into_slice();
        let shape = self.shape();
        let part = single(&axis, shape.rank()).and_then(|axis| {
            let mut slices = vec![SliceInfoElem::Slice { start: 0, end: None, step: 1 }; shape.rank()];
            slices[axis] = SliceInfoElem::Slice { start, end, step };
            Part::of(&slices, shape)
        });
        self.cut("slice", part)
    }

    /// `size` elements of an axis, from `start` on in steps that may be negative.
    ///
    /// *Shape*: `size` along the axis. *Derivative*: 1 in the part, else 0.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.slice_step(0, 2, -2, 2).value()?.as_slice::<f64>()?, &[3.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn slice_step(self, axis: impl Axes, start: usize, step: isize, size: usize) -> Var<'t> {
        let axis = match single(&axis, self.rank()) {
            Ok(axis) => axis,
            Err(kind) => return self.recorder().fail_like(kind, "slice", self.ty()),
        };
        let mut window: Vec<Stride> =
            self.shape().iter().map(|&size| Stride { start: 0, step: 1, size }).collect();
        window[axis] = Stride { start, step, size };
        self.apply(Op::linear(Slice(Window(window))))
    }

    /// Records a part.
    #[track_caller]
    pub(super) fn cut(self, name: &'static str, part: Result<Part, ErrorKind>) -> Var<'t> {
        match part {
            Ok(Part { shape, .. }) if shape == self.shape() && self.whole(&part) => self,
            Ok(Part { window, shape }) => {
                self.operation(name, || self.apply(Op::linear(Slice(window))).reshape(shape))
            }
            Err(kind) => self.recorder().fail_like(kind, name, self.ty()),
        }
    }

    /// Whether a part is all of the array as it is.
    fn whole(self, part: &Result<Part, ErrorKind>) -> bool {
        let as_is =
            |(stride, &size): (&Stride, &usize)| stride.size == size && (stride.step == 1 || size < 2);
        part.as_ref().is_ok_and(|part| part.window.0.iter().zip(self.shape().iter()).all(as_is))
    }

    /// Records this array with a part replaced, or with another added to it.
    #[track_caller]
    pub(super) fn with_part(
        self,
        name: &'static str,
        part: Result<Part, ErrorKind>,
        value: impl IntoVar<'t>,
        add: bool,
    ) -> Var<'t> {
        let t = self.recorder();
        let full = part.and_then(|part| Ok((part.full(self.shape())?, part)));
        match full {
            Ok((full, Part { window, shape })) => t.operation(name, || {
                // A number, or an array, becomes like the part that it stands for.
                let there = || self.apply(Op::linear(Slice(window.clone()))).reshape(shape);
                let value = value.var().unwrap_or_else(|| value.into_var(there()));
                let value = value.broadcast_to(shape).reshape(full);
                let op = if add { Op::linear(AddSlice(window)) } else { Op::linear(SetSlice(window)) };
                t.emit_one(op, &[self, value])
            }),
            Err(kind) => t.fail_like(kind, name, self.ty()),
        }
    }
}
