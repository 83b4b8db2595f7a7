//! Arithmetic: sum, difference, product and quotient, with broadcasting; maximum and minimum.

use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::ir::{
    Algebra, Attr, Attrs, Body, Contribution, Domain, Elementwise, Form, IntoVar, Kernel, Linear, Op,
    Partial, Primitive, ResultTypes, Var, Vars, float,
};
use crate::kernels::Lane;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::ops::whole::Whole;
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
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a * b
    }
    fn partial<'t>(&self, i: usize, x: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        Partial::Factor(x[1 - i])
    }
    fn gated<'t>(&self, [a, b]: [Var<'t>; 2], gates: u64) -> Option<Var<'t>> {
        Some(a.gated_mul(b, gates))
    }
}

/// A product in which zeros of some operands stand for themselves, whatever the other operand is: those of tangents
/// and cotangents behind a closed gate.
#[derive(Clone, Copy)]
pub(crate) struct GatedMul {
    /// A bit for each operand.
    gates: u64,
}
impl Elementwise<2> for GatedMul {
    fn name(&self) -> &'static str {
        "gated_mul"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("gates", Attr::Int(self.gates as i64))
    }
    fn algebra(&self) -> Algebra {
        Algebra::Odd
    }
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a.gated_mul(b, self.gates as u8)
    }
    fn partial<'t>(&self, i: usize, x: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        let other = x[1 - i];
        if self.gates >> (1 - i) & 1 == 1 { Partial::Gate(other) } else { Partial::Factor(other) }
    }
    fn gated<'t>(&self, [a, b]: [Var<'t>; 2], gates: u64) -> Option<Var<'t>> {
        (self.gates & gates != gates & 3).then(|| a.gated_mul(b, self.gates | gates))
    }
}
impl Registered for GatedMul {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        match attrs.usize("gates")? {
            gates @ 0..4 => Ok(Self { gates: gates as u64 }),
            other => Err(ErrorKind::Malformed(format!("two operands have no gates {other}"))),
        }
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        (Self { gates: s.below(4) as u64 }, vec![Spec::float(shape, Domain::NonZero); 2])
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
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a / b
    }
    fn partial<'t>(&self, i: usize, [_, b]: [Var<'t>; 2], y: Var<'t>) -> Partial<'t> {
        Partial::Factor(if i == 0 { 1.0 / b } else { -(y / b) })
    }
    fn gated<'t>(&self, [a, b]: [Var<'t>; 2], gates: u64) -> Option<Var<'t>> {
        (gates & 1 == 1).then(|| a.gated_mul(1.0 / b, 1))
    }
}

/// The larger or the smaller of two numbers; NaN where either is.
#[derive(Clone, Copy)]
pub(crate) struct Extremum<const LARGEST: bool>;
impl<const LARGEST: bool> Elementwise<2> for Extremum<LARGEST> {
    fn name(&self) -> &'static str {
        if LARGEST { "maximum" } else { "minimum" }
    }
    fn domain(&self, i: usize) -> Domain {
        Domain::Apart(i as u8)
    }
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        if LARGEST { a.max(b) } else { a.min(b) }
    }
    fn partial<'t>(&self, i: usize, x: [Var<'t>; 2], _: Var<'t>) -> Partial<'t> {
        let (this, other) = (x[i], x[1 - i]);
        let mask = if LARGEST { this.ge(other) } else { this.le(other) };
        Partial::Masked { mask, factor: Some(this.eq(other).select(this.fill(0.5), 1.0)) }
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
        float(types).map(ResultTypes::from)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(scaled(x[0].dtype, self.factor))
    }
}
/// A number times another.
fn scaled(dtype: DType, factor: f64) -> Result<Body, ErrorKind> {
    let mut b = Body::builder(&[dtype]);
    let (x, factor) = (b.operand(0)?, b.constant(dtype, factor)?);
    let y = b.apply(Primitive::Mul, &[x, factor])?;
    b.finish(&[y])
}
impl Linear for Scale {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct * self.factor)
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        (x[0] * self.factor).into()
    }
}
impl Registered for Scale {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { factor: attrs.f64("factor")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self { factor: s.float(Domain::All) }, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// Records a multiplication by a number.
    #[track_caller]
    pub(super) fn scale(self, factor: f64) -> Var<'t> {
        if !self.dtype().is_float() || !factor.is_finite() || !self.dtype().holds(factor) {
            // An array of it: an error where the type cannot hold it, and a product that respects gates.
            return self.times(self.fill(factor));
        }
        self.apply(Op::linear(Scale { factor }))
    }

    /// A product in which zeros of the operands in `gates` (bit 0 for this) stand for themselves.
    #[track_caller]
    pub(crate) fn gated_mul(self, other: Var<'t>, gates: u64) -> Var<'t> {
        self.recorder().emit_one(Op::elementwise(GatedMul { gates: gates & 3 }), &[self, other])
    }

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
            Err(kind) => {
                let like = if a.rank() < b.rank() { other } else { self };
                self.recorder().fail_like(kind, op.name(), like.ty())
            }
        }
    }

    /// The larger of two numbers, elementwise with broadcasting. Where they are equal each has
    /// half of the derivative; NaN where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: 1 to the larger, ½ each where equal.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 5.0]);
    /// assert_eq!(x.maximum(2.0).value()?.as_slice::<f64>()?, &[2.0, 5.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "max")]
    #[doc(alias = "fmax")]
    #[track_caller]
    pub fn maximum(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("maximum", || {
            self.arithmetic(Whole::Max, Op::elementwise(Extremum::<true>), other.into_var(self))
        })
    }

    /// The smaller of two numbers, elementwise with broadcasting. Where they are equal each has
    /// half of the derivative; NaN where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: 1 to the smaller, ½ each where equal.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 5.0]);
    /// assert_eq!(x.minimum(2.0).value()?.as_slice::<f64>()?, &[1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "min")]
    #[doc(alias = "fmin")]
    #[track_caller]
    pub fn minimum(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("minimum", || {
            self.arithmetic(Whole::Min, Op::elementwise(Extremum::<false>), other.into_var(self))
        })
    }
}
