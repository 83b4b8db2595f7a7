//! Functions of one number.

use std::f64::consts::FRAC_2_SQRT_PI;

use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::ir::{
    Attrs, Body, Custom, Domain, Elementwise, Form, Kernel, Op, Partial, Primitive, ResultTypes, Tangents,
    Var, Vars, float,
};
use crate::kernels::Lane;
use crate::ops::elementwise::unary;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

unary! {
    /// `eˣ`, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `eˣ`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).exp().value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Exp, exp, Domain::All, |x| x.exp(), |_x, y| Partial::Factor(y)
}
unary! {
    /// The natural logarithm, elementwise: −∞ at 0, NaN below.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1.0).ln().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "log")]
    Ln, ln, Domain::Positive, |x| x.ln(), |x, _y| Partial::Factor(1.0 / x)
}
unary! {
    /// `eˣ − 1`, elementwise, without the cancellation near 0 (Kahan, "Mathematics written in sand", 1983).
    ///
    /// *Shape*: as `x`. *Derivative*: `eˣ`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1e-20).exp_m1().value()?.item()?, 1e-20);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    ExpM1, exp_m1, Domain::All,
    |x| {
        let (u, one) = (x.exp(), L::splat(1.0));
        let less = u - one;
        // By how much the rounding of eˣ moved x.
        let y = less * (x / u.ln());
        let y = L::select(u.eq(one), x, y);
        L::select(less.eq(-one) | u.eq(L::splat(f64::INFINITY)), less, y)
    },
    |x, _y| Partial::Factor(x.exp())
}
unary! {
    /// `ln(1 + x)`, elementwise, without the cancellation near 0 (Kahan, as for [`exp_m1`](Var::exp_m1)): −∞ at −1, NaN below.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/(1 + x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1e-20).ln_1p().value()?.item()?, 1e-20);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "log1p")]
    Ln1p, ln_1p, Domain::Between(-0.9, 3.0), |x| ln_1p(x), |x, _y| Partial::Factor(1.0 / (x + 1.0))
}
unary! {
    /// `ln(1 + eˣ)`, elementwise, without overflow and without a kink in its derivatives.
    ///
    /// *Shape*: as `x`. *Derivative*: `sigmoid(x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).softplus().value()?.item()?, 2f64.ln());
    /// assert_eq!(t.constant(1e4).softplus().value()?.item()?, 1e4);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "logaddexp")]
    Softplus, softplus, Domain::All,
    |x| x.max(L::splat(0.0)) + ln_1p((-x.abs()).exp()),
    |x, _y| Partial::Factor(x.sigmoid())
}
unary! {
    /// `√x`, elementwise: NaN below 0. The derivative at 0 is +∞, by continuity.
    ///
    /// *Shape*: as `x`. *Derivative*: `½/√x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(4.0).sqrt().value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Sqrt, sqrt, Domain::Positive, |x| x.sqrt(), |_x, y| Partial::Factor(0.5 / y)
}
unary! {
    /// The sine of radians, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `cos x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).sin().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Sin, sin, Domain::All, |x| x.sin(), |x, _y| Partial::Factor(x.cos())
}
unary! {
    /// The cosine of radians, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `−sin x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).cos().value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Cos, cos, Domain::All, |x| x.cos(), |x, _y| Partial::Factor(-x.sin())
}
unary! {
    /// The hyperbolic tangent, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/cosh² x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).tanh().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Tanh, tanh, Domain::All, |x| x.tanh(), |x, _y| Partial::Factor(x.apply(Op::elementwise(SechSquared)))
}
unary! {
    /// The error function, elementwise: `2/√π ∫ e^{−t²} dt` from 0 to `x` (Abramowitz & Stegun, 7.1.1), odd and
    /// between −1 and 1.
    ///
    /// *Shape*: as `x`. *Derivative*: `2/√π · e^−x²`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).erf().value()?.item()?, 0.0);
    /// // A normal number is within one standard deviation with probability erf(√½).
    /// assert!((t.constant(0.5).sqrt().erf().value()?.item()? - 0.682_689_492_137).abs() < 1e-12);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Erf, erf, Domain::All, |x| x.erf(), |x, _y| Partial::Factor((-(x * x)).exp() * FRAC_2_SQRT_PI)
}
unary! {
    /// The logistic function `1 / (1 + e⁻ˣ)`, elementwise, without overflow on either side.
    ///
    /// *Shape*: as `x`. *Derivative*: `σ(x) · σ(−x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).sigmoid().value()?.item()?, 0.5);
    /// assert_eq!(t.constant(-1e4).sigmoid().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Sigmoid, sigmoid, Domain::All,
    |x| x.sigmoid(),
    // Not y · (1 − y), of which nothing is left where y is nearly 1.
    |x, y| Partial::Factor(y * (-x).sigmoid())
}
unary! {
    /// `max(x, 0)`, elementwise; the derivative at 0 is 0, NaN stays NaN.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 above 0, else 0.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-3.0).relu().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Relu, relu, Domain::NonZero,
    |x| x.max(L::splat(0.0)),
    |x, _y| Partial::Masked { mask: x.gt(0.0), factor: None }
}
unary! {
    /// `|x|`, elementwise; the derivative at 0 is 0.
    ///
    /// *Shape*: as `x`. *Derivative*: `sign(x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-3.0).abs().value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Abs, abs, Domain::NonZero, |x| x.abs(), |x, _y| {
        // Not zero, and for a NaN too.
        let mask = x.eq(0.0);
        Partial::Masked { mask: mask.eq(0.0), factor: Some(x.sign()) }
    }
}

fn ln_1p<L: Lane>(x: L) -> L {
    let one = L::splat(1.0);
    let u = x + one;
    let more = u - one;
    // By how much the rounding of 1 + x moved x.
    let y = u.ln() * (x / more);
    let y = L::select(more.eq(L::splat(0.0)), x, y);
    L::select(u.eq(L::splat(f64::INFINITY)), u, y)
}

/// `1 / cosh²`, the derivative of `tanh`, without the cancellation in `1 − tanh²` and without overflow.
#[derive(Clone, Copy)]
pub(crate) struct SechSquared;
impl Elementwise<1> for SechSquared {
    fn name(&self) -> &'static str {
        "sech_squared"
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        x.sech_squared()
    }
    fn partial<'t>(&self, _: usize, [x]: [Var<'t>; 1], y: Var<'t>) -> Partial<'t> {
        Partial::Factor(y * x.tanh() * -2.0)
    }
}

/// Sine and cosine in one row of two results.
pub(crate) struct SinCos;
fn sin_cos(dtype: DType) -> Result<Body, ErrorKind> {
    let mut b = Body::builder(&[dtype]);
    let x = b.operand(0)?;
    let both = [b.apply(Primitive::Sin, &[x])?, b.apply(Primitive::Cos, &[x])?];
    b.finish(&both)
}
impl Kernel for SinCos {
    fn name(&self) -> &'static str {
        "sin_cos"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        float(types).map(|x| [x, x].into())
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(sin_cos(x[0].dtype))
    }
}
impl Custom for SinCos {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        Ok([t[0].map(|t| t * y[1]), t[0].map(|t| -(t * y[0]))].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        let (sin, cos) = x[0].sin_cos();
        [sin, cos].into()
    }
}
impl Registered for SinCos {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// `ln(1 / (1 + e⁻ˣ))`, elementwise: the logarithm of [`sigmoid`](Self::sigmoid), without overflow.
    ///
    /// *Shape*: as `x`. *Derivative*: `σ(−x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-1e4).log_sigmoid().value()?.item()?, -1e4);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn log_sigmoid(self) -> Var<'t> {
        self.operation("log_sigmoid", || -(-self).softplus())
    }

    /// Sine and cosine of radians, elementwise, as one row.
    ///
    /// *Shape*: two, as `x`. *Derivative*: `cos x` and `−sin x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let (sin, cos) = t.constant(0.0).sin_cos();
    /// assert_eq!((sin.value()?.item()?, cos.value()?.item()?), (0.0, 1.0));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn sin_cos(self) -> (Var<'t>, Var<'t>) {
        let both = self.recorder().emit(Op::custom(SinCos), &[self]);
        let at = |i: usize| both.get(i).copied().unwrap_or(self.recorder().poisoned(self.ty()));
        (at(0), at(1))
    }
}
