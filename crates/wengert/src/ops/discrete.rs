//! Ops whose derivative is exactly zero: comparisons, sign, floor, and the identity that stops
//! derivatives.

use crate::dtype::{DType, Native, with_dtype, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attr, Attrs, Call, Discrete, Domain, IntoVar, Kernel, Op, ResultTypes, Var, Vars, ZeroReason, one,
    operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// How two numbers compare.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Relation {
    Less,
    LessEqual,
    Equal,
}
const RELATIONS: [(Relation, &str); 3] =
    [(Relation::Less, "lt"), (Relation::LessEqual, "le"), (Relation::Equal, "eq")];

/// `a < b`, `a ≤ b` or `a = b`; false where either is NaN.
pub(crate) struct Compare(Relation);
impl Compare {
    fn word(&self) -> &'static str {
        RELATIONS.iter().find(|(r, _)| *r == self.0).map_or("", |(_, word)| word)
    }
}
impl Kernel for Compare {
    fn name(&self) -> &'static str {
        "compare"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("relation", Attr::Text(self.word().into()))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a, b] = operands(types)?;
        if a.dtype != b.dtype {
            return Err(ErrorKind::DType(format!("{a} and {b} differ; cast one of them")));
        }
        if a.shape != b.shape {
            return Err(ErrorKind::Shape(format!("{} and {} differ", a.shape, b.shape)));
        }
        one(DType::Bool, a.shape)
    }
    fn pointwise(&self) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        fn run<T: Native + PartialOrd>(relation: Relation, call: &mut Call<'_, '_>) -> Result<(), Fault> {
            let a = call.operands[0].elements::<T>()?;
            let b = call.operands[1].elements::<T>()?;
            let (level, out) = (call.level, call.result::<u8>(0)?);
            level.loops(|| match relation {
                Relation::Less => each(out, a, b, |a, b| a < b),
                Relation::LessEqual => each(out, a, b, |a, b| a <= b),
                Relation::Equal => each(out, a, b, |a, b| a == b),
            });
            Ok(())
        }
        with_dtype!(call.operands[0].ty.dtype, T => run::<T>(self.0, &mut call))
    }
}
/// Writes whether a relation holds between each two numbers.
#[inline(always)]
fn each<T: Copy>(out: &mut [u8], a: &[T], b: &[T], holds: impl Fn(T, T) -> bool) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = u8::from(holds(a, b));
    }
}
impl Discrete for Compare {
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = super::movement::batch_all(x, batched);
        [x[0].binary(Op::discrete(Self(self.0)), x[1])].into_iter().collect()
    }
}
impl Registered for Compare {
    const NAME: &'static str = "compare";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let word = attrs.text("relation")?;
        let known = RELATIONS.iter().find(|(_, w)| *w == word);
        known.map(|(r, _)| Self(*r)).ok_or_else(|| ErrorKind::Malformed(format!("no relation {word}")))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        let relation = RELATIONS[s.below(RELATIONS.len())].0;
        // Indices are equal often enough to tell `<` from `≤`.
        let spec = if s.below(2) == 0 { Spec::index(shape, 3) } else { Spec::float(shape, Domain::All) };
        (Self(relation), vec![spec.clone(), spec])
    }
}

/// Sign or floor.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Sign,
    Floor,
}
impl Kernel for Step {
    fn name(&self) -> &'static str {
        "step"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("function", Attr::Text(if *self == Self::Sign { "sign" } else { "floor" }.into()))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if !x.dtype.is_float() {
            return Err(ErrorKind::DType(format!("{x} is not f32 or f64")));
        }
        one(x.dtype, x.shape)
    }
    fn pointwise(&self) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        with_float!(call.operands[0].ty.dtype, T => {
            let (x, out) = call.unary::<T, T>(0)?;
            for (o, &x) in out.iter_mut().zip(x) {
                *o = match self {
                    // Zero and NaN stay what they are.
                    Self::Sign => if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x },
                    Self::Floor => x.floor(),
                };
            }
            Ok(())
        })
    }
}
impl Discrete for Step {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0].apply(Op::discrete(*self))].into_iter().collect()
    }
}
impl Registered for Step {
    const NAME: &'static str = "step";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        match attrs.text("function")?.as_str() {
            "sign" => Ok(Self::Sign),
            "floor" => Ok(Self::Floor),
            other => Err(ErrorKind::Malformed(format!("no step function {other}"))),
        }
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let op = if s.below(2) == 0 { Self::Sign } else { Self::Floor };
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
    fn pointwise(&self) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        with_dtype!(call.operands[0].ty.dtype, T => {
            let (x, out) = call.unary::<T, T>(0)?;
            out.copy_from_slice(x);
            Ok(())
        })
    }
}
impl Discrete for StopGradient {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0].stop_gradient()].into_iter().collect()
    }
    fn reason(&self) -> ZeroReason {
        ZeroReason::StopGradient
    }
}
impl Registered for StopGradient {
    const NAME: &'static str = "stop_gradient";
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
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(2.0).le(2.0).decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn le(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("le", || self.binary(Op::discrete(Compare(Relation::LessEqual)), other.into_var(self)))
    }

    /// `self > other`, elementwise with broadcasting; false where either is NaN.
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
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(3.0);
    /// let g = (x * x.stop_gradient()).gradients([x]);
    /// assert_eq!(g[x].value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn stop_gradient(self) -> Var<'t> {
        self.apply(Op::discrete(StopGradient))
    }
}
