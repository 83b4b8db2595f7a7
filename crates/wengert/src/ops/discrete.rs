//! Ops whose derivative is exactly zero: comparisons, sign, floor, and the identity that stops
//! derivatives.

use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::ir::{
    Attr, Attrs, Body, Discrete, Domain, Form, IntoVar, Kernel, Op, Primitive, ResultTypes, Var, Vars,
    ZeroReason, float, one, operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{TensorType, same_dtype, same_shape};

/// How two numbers compare.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Relation {
    Less,
    LessEqual,
    Equal,
}
const RELATIONS: [(Relation, &str, Primitive); 3] = [
    (Relation::Less, "lt", Primitive::Less),
    (Relation::LessEqual, "le", Primitive::LessEqual),
    (Relation::Equal, "eq", Primitive::Equal),
];

/// `a < b`, `a ≤ b` or `a = b`; false where either is NaN.
pub(crate) struct Compare(Relation);
impl Relation {
    fn known(self) -> (&'static str, Primitive) {
        let (_, word, primitive) = RELATIONS[self as usize];
        (word, primitive)
    }
}
impl Kernel for Compare {
    fn name(&self) -> &'static str {
        "compare"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("relation", Attr::Text(self.0.known().0.into()))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a, b] = operands(types)?;
        same_dtype(a, b)?;
        same_shape(a.shape, b.shape)?;
        one(DType::Bool, a.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(self.0.known().1, &[x[0].dtype; 2]))
    }
}
impl Discrete for Compare {
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = super::movement::batch_all(x, batched);
        x[0].binary(Op::discrete(Self(self.0)), x[1]).into()
    }
}
impl Registered for Compare {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let word = attrs.text("relation")?;
        let known = RELATIONS.iter().find(|(_, w, _)| *w == word);
        known.map(|(r, ..)| Self(*r)).ok_or_else(|| ErrorKind::Malformed(format!("no relation {word}")))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        let relation = RELATIONS[s.below(RELATIONS.len())].0;
        // Indices are equal often enough to tell `<` from `≤`.
        let spec = if s.below(2) == 0 { Spec::index(shape, 3) } else { Spec::float(shape, Domain::All) };
        (Self(relation), vec![spec.clone(), spec])
    }
}

/// Sign, floor, or the nearest whole number, of two the even one.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Sign,
    Floor,
    Round,
}
const STEPS: [(Step, &str); 3] = [(Step::Sign, "sign"), (Step::Floor, "floor"), (Step::Round, "round")];
impl Step {
    fn body(self, dtype: DType) -> Result<Body, ErrorKind> {
        match self {
            Self::Floor => return Body::of(Primitive::Floor, &[dtype]),
            Self::Round => return Body::of(Primitive::Round, &[dtype]),
            Self::Sign => {}
        }
        let mut b = Body::builder(&[dtype]);
        let (x, zero, one) = (b.operand(0)?, b.constant(dtype, 0.0)?, b.constant(dtype, 1.0)?);
        let size = b.apply(Primitive::Abs, &[x])?;
        let sign = b.apply(Primitive::CopySign, &[one, x])?;
        // Zero and NaN stay what they are.
        let signed = b.apply(Primitive::Less, &[zero, size])?;
        let y = b.apply(Primitive::Select, &[signed, sign, x])?;
        b.finish(&[y])
    }
}
impl Kernel for Step {
    fn name(&self) -> &'static str {
        "step"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("function", Attr::Text(STEPS[*self as usize].1.into()))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        float(types).map(ResultTypes::from)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(self.body(x[0].dtype))
    }
}
impl Discrete for Step {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::discrete(*self)).into()
    }
}
impl Registered for Step {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let word = attrs.text("function")?;
        let known = STEPS.iter().find(|(_, w)| *w == word);
        known.map(|(step, _)| *step).ok_or_else(|| ErrorKind::Malformed(format!("no step function {word}")))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let op = STEPS[s.below(STEPS.len())].0;
        // Of both signs, and not close to a whole number.
        (op, vec![Spec::float(s.shape(3), Domain::Apart(2))])
    }
}

/// The identity, behind which every derivative is zero.
pub(crate) struct StopGradient;
impl Kernel for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        one(x.dtype, x.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(Primitive::Copy, &[x[0].dtype]))
    }
}
impl Discrete for StopGradient {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].stop_gradient().into()
    }
    fn reason(&self) -> ZeroReason {
        ZeroReason::StopGradient
    }
}
impl Registered for StopGradient {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// `self < other`, elementwise with broadcasting; false where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(1.0).lt(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn lt(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("lt", || self.binary(Op::discrete(Compare(Relation::Less)), other.into_var(self)))
    }

    /// `self ≤ other`, elementwise with broadcasting; false where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(2.0).le(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn le(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("le", || self.binary(Op::discrete(Compare(Relation::LessEqual)), other.into_var(self)))
    }

    /// `self ≠ other`, elementwise with broadcasting; true where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(3.0).ne(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn ne(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("ne", || {
            let same = self.eq(other.into_var(self));
            same.binary(Op::discrete(Compare(Relation::Equal)), same.fill(0.0))
        })
    }

    /// `self > other`, elementwise with broadcasting; false where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(3.0).gt(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gt(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("gt", || other.into_var(self).binary(Op::discrete(Compare(Relation::Less)), self))
    }

    /// `self ≥ other`, elementwise with broadcasting; false where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(2.0).ge(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn ge(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("ge", || other.into_var(self).binary(Op::discrete(Compare(Relation::LessEqual)), self))
    }

    /// `self = other`, elementwise with broadcasting; false where either is NaN.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(!t.constant(3.0).eq(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn eq(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("eq", || self.binary(Op::discrete(Compare(Relation::Equal)), other.into_var(self)))
    }

    /// −1, 0 or 1, elementwise; NaN stays NaN. The derivative is exactly zero.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-0.5).sign().value()?.item()?, -1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn sign(self) -> Var<'t> {
        self.operation("sign", || self.apply(Op::discrete(Step::Sign)))
    }

    /// The largest whole number not above each element. The derivative is exactly zero.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-0.5).floor().value()?.item()?, -1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn floor(self) -> Var<'t> {
        self.operation("floor", || self.apply(Op::discrete(Step::Floor)))
    }

    /// The same numbers, through which no derivative flows.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(3.0);
    /// let g = (x * x.stop_gradient()).gradients([x]);
    /// assert_eq!(g[x].value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "detach")]
    #[doc(alias = "stop_grad")]
    #[track_caller]
    pub fn stop_gradient(self) -> Var<'t> {
        self.apply(Op::discrete(StopGradient))
    }
}
