//! Axes as users name them, and as kernels see them.

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Attr, Attrs, Domain, Form, List, Monoid, Reduction, Var};
use crate::ops::registry::{Sampler, Spec};
use crate::shape::Shape;

/// Which axes to reduce: `()` for all, one axis, or several in any order.
pub trait Axes {
    /// The axes in ascending order, each once. An error where one does not exist or is repeated.
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind>;
}

/// The axes that are meant, whatever an implementation outside of this crate says.
pub(crate) fn resolved(axes: &impl Axes, rank: usize) -> Result<List<usize>, ErrorKind> {
    (&*axes.resolve(rank)?).resolve(rank)
}

impl Axes for () {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        Ok((0..rank).collect())
    }
}
impl Axes for usize {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        [*self].as_slice().resolve(rank)
    }
}
impl<const N: usize> Axes for [usize; N] {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        self.as_slice().resolve(rank)
    }
}
impl Axes for &[usize] {
    fn resolve(&self, rank: usize) -> Result<List<usize>, ErrorKind> {
        let mut axes = self.to_vec();
        axes.sort_unstable();
        if let Some(axis) = axes.iter().find(|&&a| a >= rank) {
            return Err(ShapeError::NoAxis { axis: *axis, rank }.into());
        }
        if let Some(twice) = axes.windows(2).find(|w| w[0] == w[1]) {
            return Err(ShapeError::RepeatedAxis { axis: twice[0] }.into());
        }
        Ok(axes.into_iter().collect())
    }
}

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
            return Err(ShapeError::NoAxis { axis: end.saturating_sub(1), rank: shape.rank() }.into());
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
