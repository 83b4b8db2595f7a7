//! The kinds of ops, and the traits by which their open members join: what an op is to calculus.

use super::attrs::Attrs;
use super::form::Form;
use super::kernel::{Kernel, ResultTypes, arity};
use super::list::List;
use super::op::Op;
use super::var::Var;
use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::kernels::{Lane, Trace, trace};
use crate::shape::{TensorType, one_float_type, same_shape};

/// The variables a rule emits, one per result.
pub type Vars<'t> = List<Var<'t>>;

/// Tangents or cotangents, one per operand or result; `None` stands for zero.
pub type Tangents<'t> = List<Option<Var<'t>>>;

/// Where the inputs of an elementwise function lie, so that laws can sample them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Domain {
    /// All numbers.
    All,
    /// Numbers above zero.
    Positive,
    /// Numbers other than zero.
    NonZero,
    /// Numbers strictly between two bounds.
    Between(f64, f64),
    /// All numbers, but never close to those of `Apart` with another number: for operands whose ties
    /// are kinks.
    Apart(u8),
}

/// What an elementwise function is to algebra: what a pass may do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algebra {
    /// Nothing is known.
    Opaque,
    /// `f(a, b) = f(b, a)`, bit for bit but for NaNs.
    Commutative,
    /// `a + b`.
    Sum,
    /// `a − b`.
    Difference,
    /// `a · b`.
    Product,
    /// `f(−a, b) = f(a, −b) = −f(a, b)`, bit for bit but for NaNs and the signs of zeros.
    Odd,
}

impl Algebra {
    /// Whether the operands may change places.
    pub fn commutes(self) -> bool {
        matches!(self, Self::Commutative | Self::Sum | Self::Product)
    }
}

/// The derivative of an elementwise result by one operand, as a diagonal map on tangents and
/// cotangents alike.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Partial<'t> {
    /// The identity.
    One,
    /// Multiplication by a number.
    Scale(f64),
    /// Multiplication by an array of the operand's shape.
    Factor(Var<'t>),
    /// A gate: the tangent, multiplied by a factor if there is one, where a mask holds; zero elsewhere, without
    /// multiplying by the mask, and whatever the factors further on.
    Masked {
        /// Truth values of the operand's shape.
        mask: Var<'t>,
        /// An array of the operand's shape.
        factor: Option<Var<'t>>,
    },
    /// Multiplication by an array of the operand's shape whose zeros come from a gate, so that they are zeros whatever
    /// the tangent is.
    Gate(Var<'t>),
}

/// An elementwise function of `N` operands of one float type and shape. The author states the
/// function and its partial derivatives; everything else is derived.
///
/// ```
/// use wengert::ir::{Elementwise, Op, Partial};
/// use wengert::{Lane, Var};
///
/// struct Cube;
/// impl Elementwise<1> for Cube {
///     fn name(&self) -> &'static str {
///         "cube"
///     }
///     fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
///         x * x * x
///     }
///     fn partial<'t>(&self, _: usize, [x]: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
///         Partial::Factor(x * x * 3.0)
///     }
/// }
///
/// let report = wengert::check::gradcheck(
///     |t, x| t.emit_one(Op::elementwise(Cube), &[x[0]]),
///     &[wengert::Tensor::scalar(1.5)],
///     &wengert::check::Options::default(),
/// )?;
/// assert!(report.worst < 1e-7);
/// # Ok::<(), wengert::Error>(())
/// ```
pub trait Elementwise<const N: usize>: Send + Sync + 'static {
    /// The name under which the op is registered and printed.
    fn name(&self) -> &'static str;

    /// The op's plain data.
    fn attrs(&self) -> Attrs {
        Attrs::new()
    }

    /// Where operand `i` lies.
    fn domain(&self, _i: usize) -> Domain {
        Domain::All
    }

    /// What the function is to algebra, for passes to use.
    fn algebra(&self) -> Algebra {
        Algebra::Opaque
    }

    /// The function, without `if`.
    fn eval<L: Lane>(&self, x: [L; N]) -> L;

    /// The derivative of `y = eval(x)` by operand `i`, as rows.
    fn partial<'t>(&self, i: usize, x: [Var<'t>; N], y: Var<'t>) -> Partial<'t>;

    /// `eval(x)` of (co)tangents of which those in `gates` (a bit for each operand) may be zeros of a closed gate, which
    /// stand for themselves whatever they are multiplied by. `None` where the function is no product, or has this form
    /// already.
    fn gated<'t>(&self, _x: [Var<'t>; N], _gates: u64) -> Option<Var<'t>> {
        None
    }
}

/// An [`Elementwise`] function behind a pointer: what a tape keeps.
pub trait ElementwiseOp: Kernel {
    /// The number of operands.
    fn arity(&self) -> usize;
    /// Where operand `i` lies.
    fn domain(&self, i: usize) -> Domain;
    /// What the function is to algebra.
    fn algebra(&self) -> Algebra;
    /// The derivative of the result `y` by operand `i`, as rows.
    fn partial<'t>(&self, i: usize, x: &[Var<'t>], y: Var<'t>) -> Partial<'t>;
    /// As [`Elementwise::gated`].
    fn gated<'t>(&self, x: &[Var<'t>], gates: u64) -> Option<Var<'t>>;
    /// The function of one number each, as its text has it, with a fused multiply-add: what laws hold the numbers of its
    /// form to. `None` where there is no text.
    fn scalar(&self, _dtype: DType, _x: &[f64]) -> Option<f64> {
        None
    }
}

/// Gives an [`Elementwise`] function its shape rule and its form.
pub(super) struct Lanes<E, const N: usize>(pub(super) E);

impl<E: Elementwise<N>, const N: usize> Lanes<E, N> {
    /// The one place where the function is compiled: for the lane that records, or knows.
    fn eval<'b>(&self, x: [Trace<'b>; N]) -> Trace<'b> {
        self.0.eval(x)
    }
}

impl<E: Elementwise<N>, const N: usize> Kernel for Lanes<E, N> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, operands: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [first, rest @ ..] = operands else { return Err(arity(N, 0)) };
        if operands.len() != N {
            return Err(arity(N, operands.len()));
        }
        one_float_type(operands)?;
        for other in rest {
            same_shape(first.shape, other.shape)?;
        }
        Ok((*first).into())
    }
    fn form(&self, operands: &[TensorType]) -> Form {
        let dtype = operands.first().map_or(DType::F64, |ty| ty.dtype);
        Form::traced(trace(dtype, |x| self.eval(x)))
    }
}

impl<E: Elementwise<N>, const N: usize> ElementwiseOp for Lanes<E, N> {
    fn arity(&self) -> usize {
        N
    }
    fn domain(&self, i: usize) -> Domain {
        self.0.domain(i)
    }
    fn algebra(&self) -> Algebra {
        // All of these are of two operands.
        if N == 2 { self.0.algebra() } else { Algebra::Opaque }
    }
    fn gated<'t>(&self, x: &[Var<'t>], gates: u64) -> Option<Var<'t>> {
        self.0.gated(<[Var<'t>; N]>::try_from(x).ok()?, gates)
    }
    fn scalar(&self, dtype: DType, x: &[f64]) -> Option<f64> {
        let mut of = [Trace::known(f64::NAN); N];
        of.iter_mut().zip(x).for_each(|(of, &x)| *of = Trace::known(x));
        self.eval(of).value(dtype)
    }
    fn partial<'t>(&self, i: usize, x: &[Var<'t>], y: Var<'t>) -> Partial<'t> {
        match <[Var<'t>; N]>::try_from(x) {
            Ok(x) => self.0.partial(i, x, y),
            Err(_) => Partial::Factor(y.fail(arity(N, x.len()))),
        }
    }
}

/// Why a gradient is exactly zero although it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroReason {
    /// No path leads from the leaf to the result.
    Disconnected,
    /// Every path leads through a `stop_gradient`.
    StopGradient,
    /// Every path leads through a `stop_gradient` or an op whose derivative is zero (a comparison, an
    /// index), at least one through the latter.
    Discrete,
}

/// An op whose result does not vary smoothly: its derivative is exactly zero.
pub trait Discrete: Kernel {
    /// The op over a batch: operand `i` has a new leading axis where `batched[i]`, the results
    /// have it always.
    fn batched<'t>(&self, operands: &[Var<'t>], batched: &[bool]) -> Vars<'t>;
    /// What to call the zero.
    fn reason(&self) -> ZeroReason {
        ZeroReason::Discrete
    }
}

/// What a transposed linear op adds to the cotangent of one operand.
#[derive(Clone, Debug)]
pub enum Contribution<'t> {
    /// An array of the operand's shape.
    Whole(Var<'t>),
    /// A part of it: the row `op(acc, part, place…)` adds the part to an array in its place, so
    /// that many parts of one operand need no padded arrays.
    Placed {
        /// The op that adds `part` to an accumulator.
        op: Op,
        /// The cotangent of the part.
        part: Var<'t>,
        /// The op's further operands, such as indices.
        place: Option<Var<'t>>,
    },
}

/// An op that is linear, jointly, in some operands; the others are parameters. Of zeros it makes zeros, whatever the
/// parameters are.
pub trait Linear: Kernel {
    /// Whether the op is linear in operand `i`; otherwise it is a parameter.
    fn linear_in(&self, _i: usize) -> bool {
        true
    }
    /// The operand that the result is, but for a part that others are added to: zeros elsewhere are that operand's.
    fn aliases(&self) -> Option<usize> {
        None
    }
    /// Whether that part is replaced, instead of added to: then zeros may come from either.
    fn replaces(&self) -> bool {
        false
    }
    /// The transpose by operand `i`, applied to the cotangent of the only result. Of linear operands
    /// only the types may be used.
    fn transpose<'t>(&self, i: usize, cotangent: Var<'t>, operands: &[Var<'t>]) -> Contribution<'t>;
    /// The same for an op of several results: at least one of them has a cotangent.
    fn transpose_all<'t>(
        &self,
        i: usize,
        cotangents: &[Option<Var<'t>>],
        operands: &[Var<'t>],
    ) -> Contribution<'t> {
        match cotangents {
            [Some(only)] => self.transpose(i, *only, operands),
            _ => Contribution::Whole(operands[i].fail(ErrorKind::NoRule(format!(
                "{} has several results, and no transpose of several",
                self.name()
            )))),
        }
    }
    /// The op over a batch: operand `i` has a new leading axis where `batched[i]`, the results
    /// have it always.
    fn batched<'t>(&self, operands: &[Var<'t>], batched: &[bool]) -> Vars<'t>;
}

/// An op of two operands that is linear in each while the other is fixed.
pub trait Bilinear: Kernel {
    /// The operands (a bit each) whose zeros stand for themselves, whatever they are multiplied by.
    fn gates(&self) -> u64 {
        0
    }
    /// The op with these [`gates`](Self::gates); `None` where its kernel knows none, so that a zero of a closed gate
    /// is multiplied like any other number.
    fn gated(&self, _gates: u64) -> Option<Op> {
        None
    }
    /// The transpose by operand `i` (0 or 1) at the other operand, applied to a cotangent.
    fn transpose<'t>(&self, i: usize, cotangent: Var<'t>, operands: &[Var<'t>]) -> Var<'t>;
    /// The op over a batch: operand `i` has a new leading axis where `batched[i]`, the result has
    /// it always.
    fn batched<'t>(&self, operands: &[Var<'t>], batched: &[bool]) -> Vars<'t>;
}

/// Any other op: it states its derivative as rows that are linear in the tangents.
pub trait Custom: Kernel {
    /// Whether the op has derivatives by operand `i`; otherwise it is a parameter.
    fn differentiable_in(&self, _i: usize) -> bool {
        true
    }
    /// The tangents of the results, as rows linear in the tangents; `None` stands for zero. An
    /// error where the op has no such rule.
    fn jvp<'t>(
        &self,
        operands: &[Var<'t>],
        results: &[Var<'t>],
        tangents: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind>;
    /// The cotangents of the operands, where stating them costs less than transposing the rows of
    /// [`jvp`](Custom::jvp), which is what `None` asks for.
    fn vjp<'t>(
        &self,
        _operands: &[Var<'t>],
        _results: &[Var<'t>],
        _cotangents: &[Option<Var<'t>>],
    ) -> Option<Tangents<'t>> {
        None
    }
    /// The op over a batch: operand `i` has a new leading axis where `batched[i]`, the results
    /// have it always.
    fn batched<'t>(&self, operands: &[Var<'t>], batched: &[bool]) -> Vars<'t>;
}
