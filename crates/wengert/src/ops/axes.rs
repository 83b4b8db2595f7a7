//! Axes as kernels see them.

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Attr, Attrs, Axes, Domain, Form, Monoid, Reduction, Var, ascending, single};
use crate::ops::registry::{Sampler, Spec};
use crate::shape::Shape;

/// Neighbouring axes, from `axis` on: what a row works along. A kernel sees an array as three axes: those outside of them, these as
/// one, and those inside.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) axis: usize,
    pub(crate) count: usize,
}
impl Span {
    /// The last axis, if there is one.
    pub(crate) fn last(shape: Shape) -> Result<Self, ErrorKind> {
        let axis = shape.rank().checked_sub(1).ok_or(ShapeError::NoAxis { axis: 0, rank: 0 })?;
        Ok(Self { axis, count: 1 })
    }
    /// The sizes outside, along and inside of the axes.
    pub(crate) fn split(self, shape: Shape) -> (usize, usize, usize) {
        shape.split_at(self.axis, self.count)
    }
    pub(crate) fn attrs(self) -> Attrs {
        Attrs::new().with("axis", Attr::Int(self.axis as i64)).with("count", Attr::Int(self.count as i64))
    }
    pub(crate) fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { axis: attrs.usize("axis")?, count: attrs.usize("count")? })
    }
    /// The shape without these axes.
    pub(crate) fn reduced(self, shape: Shape) -> Result<Shape, ErrorKind> {
        let end = self.axis.saturating_add(self.count);
        if end > shape.rank() {
            return Err(
                ShapeError::NoAxis { axis: end.saturating_sub(1) as isize, rank: shape.rank() }.into()
            );
        }
        Ok(shape.remove(self.axis, self.count))
    }
    /// The same, of at least one element along the axes.
    pub(crate) fn reduced_of_some(self, shape: Shape) -> Result<Shape, ErrorKind> {
        let reduced = self.reduced(shape)?;
        let (_, along, _) = self.split(shape);
        if along > 0 { Ok(reduced) } else { Err(ShapeError::Empty { shape: shape.to_vec() }.into()) }
    }
    pub(crate) fn form(self, monoid: Monoid) -> Form {
        Form::Reduce(Reduction { monoid, axis: self.axis, count: self.count })
    }
    /// The same behind another axis.
    pub(crate) fn shifted(self) -> Self {
        Self { axis: self.axis + 1, ..self }
    }
    pub(crate) fn sample(s: &mut Sampler, least: usize) -> (Self, Vec<Spec>) {
        let shape = if s.below(8) == 0 {
            // Long enough for the tree of pairs to have branches.
            Shape::new(&[40 + s.below(200), 2]).unwrap_or(Shape::SCALAR)
        } else {
            let rank = 1 + s.below(3);
            s.shape_of(rank, least)
        };
        let axis = s.below(shape.rank());
        let count = 1 + s.below(shape.rank() - axis);
        (Self { axis, count }, vec![Spec::float(shape, Domain::All)])
    }
    /// Puts the reduced axes back, as axes of the full size.
    pub(crate) fn spread<'t>(self, y: Var<'t>, full: Shape) -> Var<'t> {
        let mut shape = full;
        for axis in self.axis..self.axis + self.count {
            shape = shape.with(axis, 1);
        }
        y.reshape(shape).broadcast_to(full)
    }
}

impl<'t> Var<'t> {
    /// Records what works along one axis, under its name.
    #[track_caller]
    pub(super) fn on_axis(
        self,
        name: &'static str,
        axis: impl Axes,
        record: impl FnOnce(usize) -> Var<'t>,
    ) -> Var<'t> {
        match single(&axis, self.rank()) {
            Ok(axis) => self.operation(name, || record(axis)),
            Err(kind) => self.recorder().fail_like(kind, name, self.ty()),
        }
    }

    /// Records what works over axes, in ascending order, under its name.
    #[track_caller]
    pub(super) fn on_axes(
        self,
        name: &'static str,
        axes: &impl Axes,
        record: impl FnOnce(&[usize]) -> Var<'t>,
    ) -> Var<'t> {
        match ascending(axes, self.rank()) {
            Ok(axes) => self.operation(name, || record(&axes)),
            Err(kind) => self.recorder().fail_like(kind, name, self.ty()),
        }
    }
}
