//! A function with workspaces of its own.

use super::derive::Derivative;
use super::{Function, Mode, Target, flat, write};
use crate::bind::Bind;
use crate::elements::Slice;
use crate::error::Result;
use crate::exec::{Inputs, Results, Workspace};

/// A caller of a [`Function`] with memory of its own: for a loop, or a sampler of many chains, each with a clone. Its methods are those of the
/// function.
///
/// ```
/// let mut worker = wengert::Function::new(3, |x| x.square().sum(()))?.worker();
/// let (mut x, mut gradient) = ([3.0, 2.0, 1.0], [0.0; 3]);
/// while worker.value_and_gradient(&x, &mut gradient)? > 1e-6 {
///     x.iter_mut().zip(gradient).for_each(|(x, g)| *x -= 0.2 * g);
/// }
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone)]
pub struct Worker {
    function: Function,
    workspaces: [Option<Workspace>; Derivative::COUNT + 1],
}

impl Worker {
    pub(super) fn new(function: Function) -> Self {
        Self { function, workspaces: std::array::from_fn(|_| None) }
    }

    /// The function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// [`Function::value`].
    pub fn value(&mut self, point: impl Inputs) -> Result<f64> {
        self.function.0.of_one_number("`value`")?;
        self.call(Derivative::Value, &point, &[], |results| results.scalar(0))
    }

    /// [`Function::value_into`].
    pub fn value_into<O: Target + ?Sized>(&mut self, point: impl Inputs, value: &mut O) -> Result<()> {
        self.call(Derivative::Value, &point, &[], |results| write(&results, 0, value))
    }

    /// [`Function::value_and_gradient`].
    pub fn value_and_gradient<O: Target + ?Sized>(
        &mut self,
        point: impl Inputs,
        gradient: &mut O,
    ) -> Result<f64> {
        self.call(Derivative::Gradient, &point, &[], |results| {
            write(&results, 1, gradient)?;
            results.scalar(0)
        })
    }

    /// [`Function::gradient`].
    pub fn gradient<O: Target + ?Sized>(&mut self, point: impl Inputs, gradient: &mut O) -> Result<()> {
        self.value_and_gradient(point, gradient).map(drop)
    }

    /// [`Function::jvp`].
    pub fn jvp<V: Bind + ?Sized, O: Target + ?Sized>(
        &mut self,
        point: impl Inputs,
        v: &V,
        tangent: &mut O,
    ) -> Result<()> {
        let v = self.function.0.split(v)?;
        self.call(Derivative::Jvp, &point, &v, |results| write(&results, 0, tangent))
    }

    /// [`Function::vjp`].
    pub fn vjp<V: Bind + ?Sized, O: Target + ?Sized>(
        &mut self,
        point: impl Inputs,
        u: &V,
        cotangent: &mut O,
    ) -> Result<()> {
        let u = [flat(u)?];
        self.call(Derivative::Vjp, &point, &u, |results| write(&results, 0, cotangent))
    }

    /// [`Function::hvp`].
    pub fn hvp<V: Bind + ?Sized, O: Target + ?Sized>(
        &mut self,
        point: impl Inputs,
        v: &V,
        product: &mut O,
    ) -> Result<()> {
        let v = self.function.0.split(v)?;
        self.call(Derivative::Hvp, &point, &v, |results| write(&results, 0, product))
    }

    /// [`Function::jacobian`].
    pub fn jacobian<O: Target + ?Sized>(&mut self, point: impl Inputs, jacobian: &mut O) -> Result<()> {
        self.jacobian_by(self.function.0.cheaper(), point, jacobian)
    }

    /// [`Function::jacobian_by`].
    pub fn jacobian_by<O: Target + ?Sized>(
        &mut self,
        mode: Mode,
        point: impl Inputs,
        jacobian: &mut O,
    ) -> Result<()> {
        self.call(Derivative::jacobian(mode), &point, &[], |results| write(&results, 0, jacobian))
    }

    /// [`Function::hessian`].
    pub fn hessian<O: Target + ?Sized>(&mut self, point: impl Inputs, hessian: &mut O) -> Result<()> {
        self.call(Derivative::Hessian, &point, &[], |results| write(&results, 0, hessian))
    }

    fn call<R>(
        &mut self,
        what: Derivative,
        point: &dyn Inputs,
        more: &[Slice<'_>],
        read: impl FnOnce(Results<'_>) -> Result<R>,
    ) -> Result<R> {
        self.function.call_in(what, &mut self.workspaces[what as usize], point, more, read)
    }
}
