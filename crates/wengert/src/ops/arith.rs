//! Arithmetic: `+ - * /` and negation as operators, with broadcasting; maximum and minimum.

use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Algebra, Attr, Attrs, Call, Contribution, Domain, Elementwise, IndexMap, IntoVar, Kernel, Linear, Op,
    Partial, ResultTypes, Var, Vars, one, operands,
};
use crate::kernels::{Lane, Map, map};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

#[derive(Clone, Copy)]
pub(crate) struct Add;
impl Elementwise<2> for Add {
    fn name(&self) -> &'static str {
        "add"
    }
    fn algebra(&self) -> Algebra {
        Algebra::Sum
    }
    #[inline(always)]
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a + b
    }
    fn partial<'t>(&self, _: usize, _: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        Partial::One
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sub;
impl Elementwise<2> for Sub {
    fn name(&self) -> &'static str {
        "sub"
    }
    fn algebra(&self) -> Algebra {
        Algebra::Difference
    }
    #[inline(always)]
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a - b
    }
    fn partial<'t>(&self, i: usize, _: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        if i == 0 { Partial::One } else { Partial::Scale(-1.0) }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Mul;
impl Elementwise<2> for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }
    fn algebra(&self) -> Algebra {
        Algebra::Product
    }
    #[inline(always)]
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a * b
    }
    fn partial<'t>(&self, i: usize, x: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        Partial::Factor(x[1 - i])
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Div;
impl Elementwise<2> for Div {
    fn name(&self) -> &'static str {
        "div"
    }
    fn domain(&self, i: usize) -> Domain {
        if i == 0 { Domain::All } else { Domain::NonZero }
    }
    #[inline(always)]
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a / b
    }
    fn partial<'t>(&self, i: usize, [_, b]: [Var<'t>; 2], y: Var<'t>) -> Partial<'t> {
        Partial::Factor(if i == 0 { 1.0 / b } else { -(y / b) })
    }
}

/// The larger or the smaller of two numbers; NaN where either is.
#[derive(Clone, Copy)]
pub(crate) enum Extremum {
    Maximum,
    Minimum,
}
impl Elementwise<2> for Extremum {
    fn name(&self) -> &'static str {
        match self {
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
        }
    }
    fn domain(&self, i: usize) -> Domain {
        Domain::Apart(i as u8)
    }
    #[inline(always)]
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        let first = match self {
            Self::Maximum => a.gt(b),
            Self::Minimum => a.lt(b),
        };
        L::select(a.is_nan(), a, L::select(first, a, b))
    }
    fn partial<'t>(&self, i: usize, x: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        let (this, other) = (x[i], x[1 - i]);
        let chosen = match self {
            Self::Maximum => this.gt(other),
            Self::Minimum => this.lt(other),
        };
        let half = this.eq(other).select(this.fill(0.5), 0.0);
        Partial::Factor(chosen.select(this.fill(1.0), half))
    }
}

/// Multiplication by a number that is part of the op.
pub(crate) struct Scale {
    pub(crate) factor: f64,
}
impl Kernel for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("factor", Attr::Float(self.factor))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if !x.dtype.is_float() {
            return Err(ErrorKind::DType(format!("{x} is not f32 or f64")));
        }
        one(x.dtype, x.shape)
    }
    fn blocks(&self, _: &[TensorType], results: &[TensorType]) -> usize {
        results.first().map_or(1, |r| r.shape.elements())
    }
    fn pointwise(&self) -> bool {
        true
    }
    fn accumulates(&self) -> bool {
        true
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let (level, beta) = (call.level, call.beta);
        crate::dtype::with_float!(call.operands[0].ty.dtype, T => {
            let (x, out) = call.unary::<T, T>(0)?;
            if beta == 0.0 {
                return map(level, self, [x], out);
            }
            let (factor, beta) = (T::splat(self.factor), T::splat(beta));
            level.loops(|| out.iter_mut().zip(x).for_each(|(o, &x)| *o = *o * beta + x * factor));
            Ok(())
        })
    }
}
impl Map<1> for Scale {
    #[inline(always)]
    fn apply<L: Lane>(&self, [x]: [L; 1]) -> L {
        x * L::splat(self.factor)
    }
}
impl Linear for Scale {
    fn index_map(&self, _: &TensorType) -> Option<IndexMap> {
        Some(IndexMap::Scale(self.factor))
    }
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(cts[0].map_or(x[0].fill(0.0), |ct| ct * self.factor))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0] * self.factor].into_iter().collect()
    }
}
impl Registered for Scale {
    const NAME: &'static str = "scale";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { factor: attrs.f64("factor")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self { factor: s.float(Domain::All) }, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident, $op:expr, |$x:ident, $c:ident| $right:expr, |$d:ident, $y:ident| $left:expr) => {
        /// Elementwise, with broadcasting.
        impl<'t> std::ops::$Trait for Var<'t> {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, other: Self) -> Self {
                self.binary(Op::elementwise($op), other)
            }
        }
        /// With a number of the variable's own element type.
        impl<'t> std::ops::$Trait<f64> for Var<'t> {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, $c: f64) -> Self {
                let $x = self;
                $right
            }
        }
        /// With a number of the variable's own element type.
        impl<'t> std::ops::$Trait<Var<'t>> for f64 {
            type Output = Var<'t>;
            #[track_caller]
            fn $method(self, $y: Var<'t>) -> Var<'t> {
                let $d = self;
                $left
            }
        }
    };
}
operator!(Add, add, Add, |x, c| x + x.fill(c), |c, y| y + c);
operator!(Sub, sub, Sub, |x, c| x - x.fill(c), |c, y| y.fill(c) - y);
operator!(Mul, mul, Mul, |x, c| x.apply(Op::linear(Scale { factor: c })), |c, y| y * c);
operator!(Div, div, Div, |x, c| x / x.fill(c), |c, y| y.fill(c) / y);

impl<'t> std::ops::Neg for Var<'t> {
    type Output = Var<'t>;
    #[track_caller]
    fn neg(self) -> Self {
        self * -1.0
    }
}

impl<'t> Var<'t> {
    /// Records an elementwise op of two operands, broadcast to their common shape.
    #[track_caller]
    pub(crate) fn binary(self, op: Op, other: Var<'t>) -> Var<'t> {
        let (a, b) = (self.shape(), other.shape());
        if a == b {
            return self.recorder().emit_one(op, &[self, other]);
        }
        match a.broadcast(&b) {
            Ok(shape) => {
                let operands = [self.broadcast_to(shape), other.broadcast_to(shape)];
                self.recorder().emit_one(op, &operands)
            }
            Err(kind) => self.recorder().fail(kind, op.name()),
        }
    }

    /// The larger of two numbers, elementwise with broadcasting. Where they are equal each has
    /// half of the derivative; NaN where either is NaN.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 5.0]);
    /// assert_eq!(x.maximum(2.0).value()?.as_slice::<f64>()?, &[2.0, 5.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn maximum(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.binary(Op::elementwise(Extremum::Maximum), other.into_var(self))
    }

    /// The smaller of two numbers, elementwise with broadcasting. Where they are equal each has
    /// half of the derivative; NaN where either is NaN.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 5.0]);
    /// assert_eq!(x.minimum(2.0).value()?.as_slice::<f64>()?, &[1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn minimum(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.binary(Op::elementwise(Extremum::Minimum), other.into_var(self))
    }
}
