//! The closed kinds of ops, and the traits by which their open members join.

use std::any::{Any, TypeId};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::attrs::{Attr, Attrs};
use super::kernel::{Call, Kernel, ResultTypes, arity};
use super::var::Var;
use crate::dtype::DType;
use crate::error::{ErrorKind, Fault};
use crate::kernels::{Applied, Lane, Level, Map, Own, Real, map};
use crate::shape::{MAX_RANK, Shape, TensorType};
use crate::tensor::Tensor;

/// The variables a rule emits, one per result.
pub type Vars<'t> = SmallVec<[Var<'t>; 2]>;

/// Where the inputs of an elementwise function lie, so that laws can sample them.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    fn gated<'t>(&self, _x: &[Var<'t>], _gates: u64) -> Option<Var<'t>> {
        None
    }

    /// The function itself, to be applied to small arrays at the cost of little more than the arithmetic;
    /// `None` where only [`Kernel::eval`] can.
    #[doc(hidden)] // only the ops of `Op::elementwise` have it: nobody else can name its arguments
    fn applied(&self, _level: Level, _: Own) -> Option<Applied> {
        None
    }
}

/// Gives an [`Elementwise`] function its shape rule and its kernels.
struct Lanes<E, const N: usize>(E);

impl<E: Elementwise<N>, const N: usize> Lanes<E, N> {
    fn run<T: Real>(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let mut x: [&[T]; N] = [&[]; N];
        for (slot, operand) in x.iter_mut().zip(call.operands) {
            *slot = operand.elements::<T>()?;
        }
        let level = call.level;
        map(level, &self.0, x, call.result::<T>(0)?)
    }
}

/// An elementwise function as the kernels apply it.
impl<E: Elementwise<N>, const N: usize> Map<N> for E {
    #[inline(always)]
    fn apply<L: Lane>(&self, x: [L; N]) -> L {
        self.eval(x)
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
        if !first.dtype.is_float() {
            return Err(ErrorKind::DType(format!("{first} is not f32 or f64")));
        }
        for other in rest {
            if other.dtype != first.dtype {
                return Err(ErrorKind::DType(format!("{first} and {other} differ; cast one of them")));
            }
            if other.shape != first.shape {
                return Err(ErrorKind::Shape(format!("{} and {} differ", first.shape, other.shape)));
            }
        }
        Ok(smallvec![*first])
    }
    fn pointwise(&self) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match call.results.first().map(|r| r.ty.dtype) {
            Some(DType::F32) => self.run::<f32>(call),
            Some(DType::F64) => self.run::<f64>(call),
            _ => Err(Fault::Type),
        }
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
    fn applied(&self, level: Level, _: Own) -> Option<Applied> {
        Applied::new(level, &self.0)
    }
    fn gated<'t>(&self, x: &[Var<'t>], gates: u64) -> Option<Var<'t>> {
        self.0.gated(<[Var<'t>; N]>::try_from(x).ok()?, gates)
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

/// What a linear op does to its only operand, as data that a pass can compose with other rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IndexMap {
    /// Element `i` of the result is the operand's element at `offset + Σ iₖ · strides[k]`: reshape,
    /// permute, broadcast and slice.
    Strided {
        /// Where the result's first element lies in the operand.
        offset: isize,
        /// How far apart neighbours along each axis of the result lie in the operand.
        strides: [isize; MAX_RANK],
    },
    /// Every element times a number.
    Scale(f64),
    /// The sum over `count` axes from `axis` on.
    Sum {
        /// The first axis that is summed.
        axis: usize,
        /// How many are.
        count: usize,
    },
}

impl IndexMap {
    /// Whether element `i` of a result of this shape is the operand's element `i`.
    pub fn keeps_order(&self, shape: Shape) -> bool {
        let Self::Strided { offset: 0, strides } = self else { return false };
        let own = shape.strides();
        (0..shape.rank()).all(|a| shape[a] == 1 || strides[a] == own[a])
    }
}

/// An op that is linear, jointly, in some operands; the others are parameters. Of zeros it makes zeros, whatever the
/// parameters are.
pub trait Linear: Kernel {
    /// What the op does to an operand of this type, if it has one operand and does no more.
    fn index_map(&self, _operand: &TensorType) -> Option<IndexMap> {
        None
    }
    /// The op that gives the results of this one times a number, with the bits of two rows; `None` where there is none.
    fn scaled(&self, _factor: f64) -> Option<Op> {
        None
    }
    /// Whether the op is linear in operand `i`; otherwise it is a parameter.
    fn linear_in(&self, _i: usize) -> bool {
        true
    }
    /// The transpose by operand `i`, applied to the cotangents of the results. Of linear operands
    /// only the types may be used.
    fn transpose<'t>(
        &self,
        i: usize,
        cotangents: &[Option<Var<'t>>],
        operands: &[Var<'t>],
    ) -> Contribution<'t>;
    /// The op over a batch: operand `i` has a new leading axis where `batched[i]`, the results
    /// have it always.
    fn batched<'t>(&self, operands: &[Var<'t>], batched: &[bool]) -> Vars<'t>;
}

/// The axes of a contraction by name: `out = Σ lhs · rhs` over the names that `out` lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contraction<'a> {
    /// The name of each axis of the first operand.
    pub lhs: &'a [u8],
    /// The name of each axis of the second.
    pub rhs: &'a [u8],
    /// The name of each axis of the result.
    pub out: &'a [u8],
}

/// An op of two operands that is linear in each while the other is fixed.
pub trait Bilinear: Kernel {
    /// The axes, if the op is a contraction; `None` for one that passes must leave alone.
    fn contraction(&self) -> Option<Contraction<'_>> {
        None
    }
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
    ) -> Result<SmallVec<[Option<Var<'t>>; 2]>, ErrorKind>;
    /// The cotangents of the operands, where stating them costs less than transposing the rows of
    /// [`jvp`](Custom::jvp), which is what `None` asks for.
    #[allow(clippy::type_complexity)] // one cotangent or none per operand, if there is such a rule
    fn vjp<'t>(
        &self,
        _operands: &[Var<'t>],
        _results: &[Var<'t>],
        _cotangents: &[Option<Var<'t>>],
    ) -> Option<SmallVec<[Option<Var<'t>>; 2]>> {
        None
    }
    /// The op over a batch: operand `i` has a new leading axis where `batched[i]`, the results
    /// have it always.
    fn batched<'t>(&self, operands: &[Var<'t>], batched: &[bool]) -> Vars<'t>;
}

/// A row without operands.
#[derive(Clone, Debug)]
pub enum Leaf {
    /// An array bound at each run, by position.
    Input(usize),
    /// A named array of the store, at its value at the start of the run, by position.
    State(usize),
    /// A fixed array.
    Constant(Arc<Tensor>),
    /// An array of one number.
    Fill(f64),
    /// A stand-in for a tangent or an example while a rule is transposed or batched; never live.
    Placeholder,
}

/// A row that steers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Fails a run in which its predicate differs from the recorded outcome.
    Guard {
        /// The outcome while recording.
        recorded: bool,
    },
}

/// The op of a row: one of the closed kinds. Passes match these, never names.
#[derive(Clone)]
#[allow(missing_docs)] // each variant is documented at its payload
pub enum Op {
    Leaf(Leaf),
    Elementwise(Arc<dyn ElementwiseOp>),
    Discrete(Arc<dyn Discrete>),
    Linear(Arc<dyn Linear>),
    Bilinear(Arc<dyn Bilinear>),
    Custom(Arc<dyn Custom>),
    Control(Control),
}

impl Op {
    /// An op from an elementwise function.
    pub fn elementwise<const N: usize>(f: impl Elementwise<N>) -> Self {
        Self::Elementwise(Arc::new(Lanes(f)))
    }
    /// An op from a discrete one.
    pub fn discrete(op: impl Discrete) -> Self {
        Self::Discrete(Arc::new(op))
    }
    /// An op from a linear one.
    pub fn linear(op: impl Linear) -> Self {
        Self::Linear(Arc::new(op))
    }
    /// An op from a bilinear one.
    pub fn bilinear(op: impl Bilinear) -> Self {
        Self::Bilinear(Arc::new(op))
    }
    /// An op from a custom one.
    pub fn custom(op: impl Custom) -> Self {
        Self::Custom(Arc::new(op))
    }

    /// The numbers of the op; leaves and control rows have none.
    pub fn kernel(&self) -> Option<&dyn Kernel> {
        match self {
            Self::Leaf(_) | Self::Control(_) => None,
            Self::Elementwise(op) => Some(&**op),
            Self::Discrete(op) => Some(&**op),
            Self::Linear(op) => Some(&**op),
            Self::Bilinear(op) => Some(&**op),
            Self::Custom(op) => Some(&**op),
        }
    }

    /// The name under which the op is printed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Leaf(Leaf::Input(_)) => "input",
            Self::Leaf(Leaf::State(_)) => "state",
            Self::Leaf(Leaf::Constant(_)) => "constant",
            Self::Leaf(Leaf::Fill(_)) => "fill",
            Self::Leaf(Leaf::Placeholder) => "placeholder",
            Self::Control(Control::Guard { .. }) => "guard",
            _ => self.kernel().map_or("", |k| k.name()),
        }
    }

    /// The op's plain data.
    pub fn attrs(&self) -> Attrs {
        match self {
            Self::Leaf(Leaf::Input(i) | Leaf::State(i)) => Attrs::new().with("index", Attr::Int(*i as i64)),
            Self::Leaf(Leaf::Fill(v)) => Attrs::new().with("value", Attr::Float(*v)),
            Self::Leaf(Leaf::Constant(_) | Leaf::Placeholder) => Attrs::new(),
            Self::Control(Control::Guard { recorded }) => {
                Attrs::new().with("recorded", Attr::Int(i64::from(*recorded)))
            }
            _ => self.kernel().map_or_else(Attrs::new, |k| k.attrs()),
        }
    }

    /// Whether derivatives flow through operand `i` (if its elements are floats).
    pub fn differentiable_in(&self, i: usize) -> bool {
        match self {
            Self::Leaf(_) | Self::Discrete(_) | Self::Control(_) => false,
            Self::Elementwise(_) | Self::Bilinear(_) => true,
            Self::Linear(op) => op.linear_in(i),
            Self::Custom(op) => op.differentiable_in(i),
        }
    }
}

/// What tells an op of an open kind from others, besides its name: its Rust type and its plain data, or the object
/// itself where its type holds data of which it states none.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Data(TypeId, Attrs),
    Object(usize),
}

impl Identity {
    fn of(kernel: &dyn Kernel) -> Self {
        let attrs = kernel.attrs();
        if attrs.is_empty() && size_of_val(kernel) > 0 {
            return Self::Object(std::ptr::from_ref(kernel).addr());
        }
        Self::Data((kernel as &dyn Any).type_id(), attrs)
    }
}

impl PartialEq for Op {
    /// Ops are equal if they are the same object, or of the same Rust type with the same name and plain data
    /// (numbers bit by bit).
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => a == b,
            (Self::Control(a), Self::Control(b)) => a == b,
            _ => match (self.kernel(), other.kernel()) {
                (Some(a), Some(b)) => {
                    std::mem::discriminant(self) == std::mem::discriminant(other)
                        && a.name() == b.name()
                        && (std::ptr::addr_eq(a, b) && size_of_val(a) > 0
                            || Identity::of(a) == Identity::of(b))
                }
                _ => false,
            },
        }
    }
}

impl Eq for Op {}

impl Hash for Op {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Leaf(leaf) => leaf.hash(state),
            Self::Control(control) => control.hash(state),
            _ => {
                if let Some(kernel) = self.kernel() {
                    kernel.name().hash(state);
                    Identity::of(kernel).hash(state);
                }
            }
        }
    }
}

impl PartialEq for Leaf {
    /// Constants are equal if they are one array in memory.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Input(a), Self::Input(b)) | (Self::State(a), Self::State(b)) => a == b,
            (Self::Constant(a), Self::Constant(b)) => Arc::ptr_eq(a, b),
            (Self::Fill(a), Self::Fill(b)) => a.to_bits() == b.to_bits(),
            (Self::Placeholder, Self::Placeholder) => true,
            _ => false,
        }
    }
}

impl Eq for Leaf {}

impl Hash for Leaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Input(i) | Self::State(i) => i.hash(state),
            Self::Constant(tensor) => Arc::as_ptr(tensor).hash(state),
            Self::Fill(value) => value.to_bits().hash(state),
            Self::Placeholder => {}
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attrs = self.attrs();
        f.write_str(self.name())?;
        if attrs.is_empty() { Ok(()) } else { write!(f, "{attrs}") }
    }
}
