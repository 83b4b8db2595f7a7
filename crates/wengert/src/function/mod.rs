//! Functions and their derivatives, for programs that know nothing of tapes.

mod derive;
mod worker;

use std::sync::{Arc, OnceLock};

use crate::bind::Bind;
use crate::dtype::DType;
use crate::elements::{Element, Slice};
use crate::error::{Error, ErrorKind, Result, ShapeError};
use crate::exec::{Inputs, Results, Workspace};
use crate::into_tensor::IntoTensor;
use crate::ir::{Outputs, Recorder, States, Var};
use crate::program::Program;
use crate::shape::{Shape, TensorType};
use crate::sizes::IntoShape;
use crate::tensor::Tensor;
use derive::Derivative;
pub use worker::Worker;

/// A differentiable function of arrays: its value, and any of its derivatives.
///
/// The closure that defines it is called once. Each derivative is made from what that recorded, and planned, when it is first asked for;
/// a call after that only computes. It is cheap to clone and callable from any number of threads at once, which wait for one another only
/// while a derivative is planned; a thread's second call allocates nothing. A loop or a sampler of its own is better off with a
/// [`worker`](Self::worker).
///
/// Points are what can be [bound](Bind): `&x`, or a tuple of references for several arguments. Gradients, tangents and cotangents are
/// flat: the elements of all arguments that are differentiated, one behind the other. Results are written into what the caller has: a
/// slice, a vector, an array.
///
/// ```
/// use wengert::Function;
/// let rosenbrock = Function::new(2, |x| (1 - x.at(0)).square() + 100 * (x.at(1) - x.at(0).square()).square())?;
/// let mut gradient = [0.0; 2];
/// let value = rosenbrock.value_and_gradient(&[-1.0, 1.0], &mut gradient)?;
/// assert_eq!((value, gradient), (4.0, [-4.0, 0.0]));
/// let mut hessian = ndarray::Array2::<f64>::zeros((2, 2));
/// rosenbrock.hessian(&[1.0, 1.0], &mut hessian)?;
/// assert_eq!(hessian, ndarray::array![[802.0, -400.0], [-400.0, 200.0]]);
/// # Ok::<(), wengert::Error>(())
/// ```
///
/// An error in the closure is that of the recording, with the line. A branch on a number, by [`decide`](Var::decide), needs an
/// [example](Argument::like) of each argument, and a call where it comes out otherwise is the error
/// [`Guard`](ErrorKind::Guard).
#[derive(Clone)]
pub struct Function(Arc<Parts>);

struct Parts {
    arguments: Vec<Argument>,
    /// The function itself, whose tape derivatives are made from.
    value: Program,
    output: TensorType,
    derivatives: [OnceLock<Result<Program>>; Derivative::COUNT],
}

/// An argument of a [`Function`]: its type, whether derivatives are taken by it, and a value of it while recording, if branches need one.
///
/// ```
/// use wengert::{Argument, DType::F32, Function};
/// // Of two arguments the second is data.
/// let arguments = [Argument::new(F32, [3]), Argument::new(F32, [3]).fixed()];
/// let f = Function::with(arguments, |x| (x[0] * x[1]).sum(()))?;
/// let mut gradient = [0f32; 3];
/// f.gradient((&[1f32, 2.0, 3.0], &[4f32, 5.0, 6.0]), &mut gradient)?;
/// assert_eq!(gradient, [4.0, 5.0, 6.0]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Argument {
    ty: Result<TensorType>,
    example: Option<Tensor>,
    fixed: bool,
}

impl Argument {
    /// An array of this type. A shape that is none is an error of the function.
    pub fn new(dtype: DType, shape: impl IntoShape) -> Self {
        let ty = shape.into_shape().map(|shape| TensorType::new(dtype, shape));
        Self { ty: ty.map_err(Error::from), example: None, fixed: false }
    }

    /// An array like this one, which is its value while the function is recorded.
    pub fn like(example: impl IntoTensor) -> Self {
        match example.into_tensor() {
            Ok(example) => Self { ty: Ok(example.ty()), example: Some(example), fixed: false },
            Err(e) => Self { ty: Err(e), example: None, fixed: false },
        }
    }

    /// The same, by which no derivative is taken: data. Arguments that are not of floats are so in any case.
    pub fn fixed(self) -> Self {
        Self { fixed: true, ..self }
    }

    /// The number of elements of its gradient.
    fn elements(&self) -> usize {
        match &self.ty {
            Ok(ty) if !self.fixed && ty.dtype.is_float() => ty.shape.elements(),
            _ => 0,
        }
    }

    fn record<'t>(&self, t: &'t Recorder, examples: bool) -> Result<Var<'t>> {
        let ty = self.ty.clone()?;
        Ok(match &self.example {
            Some(example) if examples => t.input_with(example),
            _ => t.input(ty.dtype, ty.shape),
        })
    }
}

/// How a [Jacobian](Function::jacobian_by) is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Column by column, all in one batch: for at most as many arguments as results.
    Forward,
    /// Row by row, all in one batch: for fewer results than arguments.
    Reverse,
}

/// What results are written to: a mutable slice, vector or array.
#[diagnostic::on_unimplemented(
    message = "results cannot be written to `{Self}`",
    note = "they are written to a slice, a vector, an array or an `ndarray` array of `f32` or `f64`"
)]
pub trait Target {
    /// The type of its elements.
    type Element: Element;
    /// The elements in row-major order; `None` where they do not lie so.
    fn elements(&mut self) -> Option<&mut [Self::Element]>;
    /// The sizes of its axes, if it is more than a list.
    fn sizes(&self) -> Option<&[usize]> {
        None
    }
}
impl<T: Element> Target for [T] {
    type Element = T;
    fn elements(&mut self) -> Option<&mut [T]> {
        Some(self)
    }
}
impl<T: Element> Target for Vec<T> {
    type Element = T;
    fn elements(&mut self) -> Option<&mut [T]> {
        Some(self)
    }
}
impl<T: Element, const N: usize> Target for [T; N] {
    type Element = T;
    fn elements(&mut self) -> Option<&mut [T]> {
        Some(self)
    }
}
impl<T: Element, S: ndarray::DataMut<Elem = T>, D: ndarray::Dimension> Target for ndarray::ArrayBase<S, D> {
    type Element = T;
    fn elements(&mut self) -> Option<&mut [T]> {
        self.as_slice_mut()
    }
    fn sizes(&self) -> Option<&[usize]> {
        Some(self.shape()).filter(|sizes| sizes.len() > 1)
    }
}

impl Function {
    /// A function of one vector or array of `f64` of this shape.
    pub fn new(shape: impl IntoShape, f: impl for<'t> FnOnce(Var<'t>) -> Var<'t>) -> Result<Self> {
        Self::recorded(vec![Argument::new(DType::F64, shape)], |x| Ok(f(x[0])))
    }

    /// A function of these arguments.
    pub fn with(
        arguments: impl Into<Vec<Argument>>,
        f: impl for<'a, 't> FnOnce(&'a [Var<'t>]) -> Var<'t>,
    ) -> Result<Self> {
        Self::recorded(arguments.into(), |x| Ok(f(x)))
    }

    /// The same, by a closure that may fail: one that looks at values, or branches on them.
    ///
    /// ```
    /// use wengert::{Argument, ErrorKind, Function};
    /// let f = Function::try_with([Argument::like(2.0)], |x| {
    ///     Ok(if x[0].gt(0.0).decide()? { x[0].ln() } else { x[0] })
    /// })?;
    /// assert_eq!(f.value(&1.0)?, 0.0);
    /// assert!(matches!(f.value(&-1.0).unwrap_err().kind(), ErrorKind::Guard { .. }));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn try_with(
        arguments: impl Into<Vec<Argument>>,
        f: impl for<'a, 't> FnOnce(&'a [Var<'t>]) -> Result<Var<'t>>,
    ) -> Result<Self> {
        Self::recorded(arguments.into(), f)
    }

    fn recorded(
        arguments: Vec<Argument>,
        f: impl for<'a, 't> FnOnce(&'a [Var<'t>]) -> Result<Var<'t>>,
    ) -> Result<Self> {
        let value = Program::record(&States::new(), |t| -> Result<Outputs> {
            let x = arguments.iter().map(|a| a.record(t, true)).collect::<Result<Vec<_>>>()?;
            t.outputs(f(&x)?)
        })?;
        let tape = value.tape();
        let output = tape.outputs().first().and_then(|&y| tape.ty(y));
        let output = output.ok_or_else(|| ErrorKind::Malformed("a function without a result".into()))?;
        let derivatives = std::array::from_fn(|_| OnceLock::new());
        Ok(Self(Arc::new(Parts { arguments, value, output, derivatives })))
    }

    /// How many numbers derivatives are taken by: the length of a gradient.
    pub fn arguments(&self) -> usize {
        self.0.arguments()
    }

    /// The shape of the result.
    pub fn shape(&self) -> Shape {
        self.0.output.shape
    }

    /// A caller of this function with workspaces of its own.
    pub fn worker(&self) -> Worker {
        Worker::new(self.clone())
    }

    /// The value, of a single element.
    pub fn value(&self, point: impl Inputs) -> Result<f64> {
        self.0.of_one_number("`value`")?;
        self.call(Derivative::Value, &point, &[], |results| results.scalar(0))
    }

    /// The value, of any shape.
    pub fn value_into<O: Target + ?Sized>(&self, point: impl Inputs, value: &mut O) -> Result<()> {
        self.call(Derivative::Value, &point, &[], |results| write(&results, 0, value))
    }

    /// The value, and its gradient, in one run. An error where the value has more than one element.
    pub fn value_and_gradient<O: Target + ?Sized>(
        &self,
        point: impl Inputs,
        gradient: &mut O,
    ) -> Result<f64> {
        self.call(Derivative::Gradient, &point, &[], |results| {
            write(&results, 1, gradient)?;
            results.scalar(0)
        })
    }

    /// The gradient.
    pub fn gradient<O: Target + ?Sized>(&self, point: impl Inputs, gradient: &mut O) -> Result<()> {
        self.value_and_gradient(point, gradient).map(drop)
    }

    /// The tangent `J v` of the value where the arguments move along `v`: forward mode.
    ///
    /// ```
    /// let f = wengert::Function::new(2, |x| x * x)?;
    /// let mut y = [0.0; 2];
    /// f.jvp(&[1.0, 2.0], &[1.0, 10.0], &mut y)?;
    /// assert_eq!(y, [2.0, 40.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn jvp<V: Bind + ?Sized, O: Target + ?Sized>(
        &self,
        point: impl Inputs,
        v: &V,
        tangent: &mut O,
    ) -> Result<()> {
        self.call(Derivative::Jvp, &point, &self.0.split(v)?, |results| write(&results, 0, tangent))
    }

    /// The cotangent `Jᵀ u` of the arguments where that of the value is `u`: reverse mode.
    ///
    /// ```
    /// let f = wengert::Function::new(2, |x| x.sum(()) * x)?;
    /// let mut g = [0.0; 2];
    /// f.vjp(&[1.0, 2.0], &[1.0, 0.0], &mut g)?;
    /// assert_eq!(g, [4.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn vjp<V: Bind + ?Sized, O: Target + ?Sized>(
        &self,
        point: impl Inputs,
        u: &V,
        cotangent: &mut O,
    ) -> Result<()> {
        let u = [flat(u)?];
        self.call(Derivative::Vjp, &point, &u, |results| write(&results, 0, cotangent))
    }

    /// The Hessian of a value of a single element, times `v`, without computing that matrix.
    ///
    /// ```
    /// let f = wengert::Function::new(2, |x| x.pow(3).sum(()))?;
    /// let mut hv = [0.0; 2];
    /// f.hvp(&[1.0, 2.0], &[1.0, 1.0], &mut hv)?;
    /// assert_eq!(hv, [6.0, 12.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn hvp<V: Bind + ?Sized, O: Target + ?Sized>(
        &self,
        point: impl Inputs,
        v: &V,
        product: &mut O,
    ) -> Result<()> {
        self.call(Derivative::Hvp, &point, &self.0.split(v)?, |results| write(&results, 0, product))
    }

    /// The matrix of all derivatives: row `i` is the gradient of element `i` of the value. By the cheaper [mode](Mode).
    ///
    /// ```
    /// use ndarray::{array, Array2};
    /// let f = wengert::Function::new(2, |x| x * x.at(0))?;
    /// let mut jacobian = Array2::<f64>::zeros((2, 2));
    /// f.jacobian(&[3.0, 4.0], &mut jacobian)?;
    /// assert_eq!(jacobian, array![[6.0, 0.0], [4.0, 3.0]]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn jacobian<O: Target + ?Sized>(&self, point: impl Inputs, jacobian: &mut O) -> Result<()> {
        self.jacobian_by(self.0.cheaper(), point, jacobian)
    }

    /// The Jacobian by this mode.
    pub fn jacobian_by<O: Target + ?Sized>(
        &self,
        mode: Mode,
        point: impl Inputs,
        jacobian: &mut O,
    ) -> Result<()> {
        self.call(Derivative::jacobian(mode), &point, &[], |results| write(&results, 0, jacobian))
    }

    /// The matrix of second derivatives of a value of a single element, made symmetric: the mean of itself and its transpose, which
    /// differ by rounding.
    pub fn hessian<O: Target + ?Sized>(&self, point: impl Inputs, hessian: &mut O) -> Result<()> {
        self.call(Derivative::Hessian, &point, &[], |results| write(&results, 0, hessian))
    }

    /// Computes a derivative in a workspace that is free, or in a new one.
    fn call<R>(
        &self,
        what: Derivative,
        point: &dyn Inputs,
        more: &[Slice<'_>],
        read: impl FnOnce(Results<'_>) -> Result<R>,
    ) -> Result<R> {
        let program = self.0.program(what)?;
        self.0.check(point)?;
        let called = if more.is_empty() {
            program.call_dyn(States::none(), point)?
        } else {
            program.call_dyn(States::none(), &Point { point, more })?
        };
        read(called.results()?)
    }

    /// Computes a derivative in a workspace.
    fn call_in<R>(
        &self,
        what: Derivative,
        workspace: &mut Option<Workspace>,
        point: &dyn Inputs,
        more: &[Slice<'_>],
        read: impl FnOnce(Results<'_>) -> Result<R>,
    ) -> Result<R> {
        let program = self.0.program(what)?;
        let workspace = match workspace {
            Some(workspace) => workspace,
            None => workspace.insert(program.workspace()?),
        };
        self.0.check(point)?;
        read(if more.is_empty() {
            program.evaluate_dyn(workspace, States::none(), point)?
        } else {
            program.evaluate_dyn(workspace, States::none(), &Point { point, more })?
        })
    }
}

impl Parts {
    fn arguments(&self) -> usize {
        self.arguments.iter().map(Argument::elements).sum()
    }

    /// The mode in which fewer vectors go through the tape; a reverse one costs about twice as much.
    fn cheaper(&self) -> Mode {
        let results = self.output.shape.elements();
        if self.arguments() <= results.saturating_mul(2) { Mode::Forward } else { Mode::Reverse }
    }

    /// An error where the result has several elements.
    fn of_one_number(&self, what: &str) -> Result<()> {
        if self.output.shape.elements() == 1 {
            return Ok(());
        }
        let what = format!("{what} is of one number, the function makes {}", self.output);
        Err(ErrorKind::Shape(ShapeError::Other(what)).into())
    }

    /// The program of a derivative, planned by whoever asks first.
    fn program(&self, what: Derivative) -> Result<&Program> {
        let Some(at) = what.position() else { return Ok(&self.value) };
        self.derivatives[at].get_or_init(|| what.record(self)).as_ref().map_err(Clone::clone)
    }

    /// An error of a point of another number of arguments.
    fn check(&self, point: &dyn Inputs) -> Result<()> {
        let (expected, found) = (self.arguments.len(), point.count());
        if expected == found {
            return Ok(());
        }
        let what = format!("the function has {expected} arguments, {found} were given");
        Err(ErrorKind::Input(what).into())
    }

    /// A vector over all arguments, cut into the parts of each.
    fn split<'v>(&self, v: &'v (impl Bind + ?Sized)) -> Result<smallvec::SmallVec<[Slice<'v>; 4]>> {
        let (v, mut start) = (flat(v)?, 0);
        length(self.arguments(), v.len())?;
        let differentiated = self.arguments.iter().filter(|a| a.differentiated());
        Ok(differentiated
            .map(|argument| {
                start += argument.elements();
                v.get(start - argument.elements()..start)
            })
            .collect())
    }
}

impl Argument {
    /// Whether derivatives are taken by it.
    fn differentiated(&self) -> bool {
        !self.fixed && self.ty.as_ref().is_ok_and(|ty| ty.dtype.is_float())
    }
}

/// What a derivative is computed from.
struct Point<'a> {
    point: &'a dyn Inputs,
    more: &'a [Slice<'a>],
}
impl Inputs for Point<'_> {
    fn count(&self) -> usize {
        self.point.count() + self.more.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        match i.checked_sub(self.point.count()) {
            None => self.point.get(i),
            Some(i) => self.more.get(i).map(|slice| slice as &dyn Bind),
        }
    }
    fn name(&self, i: usize) -> Option<&str> {
        if i < self.point.count() { self.point.name(i) } else { None }
    }
}

/// The elements of a vector.
fn flat(v: &(impl Bind + ?Sized)) -> Result<Slice<'_>> {
    let strided = || ErrorKind::Input("a vector whose elements do not lie one behind the other".into());
    v.contiguous().ok_or_else(|| strided().into())
}

fn length(expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(ErrorKind::Shape(ShapeError::Elements { shape: vec![expected], found }).into())
}

/// Copies outputs from the `first` on, one behind the other, to where the caller wants them.
fn write<O: Target + ?Sized>(results: &Results<'_>, first: usize, target: &mut O) -> Result<()> {
    let strided =
        || ErrorKind::Argument("results are written to elements that lie in row-major order".into());
    // What is more than a list is of the result's shape; of several results there is but a list.
    if let Some(sizes) = target.sizes() {
        let due = if results.count() == first + 1 { results.shape(first)?.to_vec() } else { Vec::new() };
        if due != sizes {
            return Err(ErrorKind::Shape(ShapeError::Differ { left: due, right: sizes.to_vec() }).into());
        }
    }
    let target = target.elements().ok_or_else(strided)?;
    let parts = || (first..results.count()).map(|i| results.slice::<O::Element>(i));
    let len = parts().try_fold(0, |len, part| Ok::<usize, Error>(len + part?.len()))?;
    length(len, target.len())?;
    let mut rest = target;
    for part in parts() {
        let part = part?;
        let (here, behind) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = behind;
    }
    Ok(())
}
