//! Trigonometric and hyperbolic functions, their inverses, and two functions of the sides of a triangle. Those here are computed
//! number by number: see `kernels/special/`.

use crate::ir::{Domain, Elementwise, Op, Partial, Var};
use crate::kernels::{Lane, special};
use crate::ops::elementwise::{binary, unary};

unary! {
    /// The tangent of radians, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `1 + tan² x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).tan().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Tan, tan, Domain::Between(-1.2, 1.2), |x| x.each(f64::tan), |_x, y| Partial::Factor(y * y + 1.0)
}
unary! {
    /// The angle in radians whose sine this is, elementwise: from −π/2 to π/2, NaN beyond ±1. The derivative at ±1 is +∞.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/√(1 − x²)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1.0).asin().value()?.item()?, std::f64::consts::FRAC_PI_2);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arcsin")]
    Asin, asin, Domain::Between(-0.95, 0.95), |x| x.each(f64::asin), |x, _y| Partial::Factor(1.0 / ((1.0 - x) * (x + 1.0)).sqrt())
}
unary! {
    /// The angle in radians whose cosine this is, elementwise: from 0 to π, NaN beyond ±1. The derivative at ±1 is −∞.
    ///
    /// *Shape*: as `x`. *Derivative*: `−1/√(1 − x²)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1.0).acos().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arccos")]
    Acos, acos, Domain::Between(-0.95, 0.95), |x| x.each(f64::acos), |x, _y| Partial::Factor(-1.0 / ((1.0 - x) * (x + 1.0)).sqrt())
}
unary! {
    /// The angle in radians whose tangent this is, elementwise: from −π/2 to π/2.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/(1 + x²)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1.0).atan().value()?.item()?, std::f64::consts::FRAC_PI_4);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arctan")]
    Atan, atan, Domain::All, |x| x.each(f64::atan), |x, _y| Partial::Factor(1.0 / (x * x + 1.0))
}
unary! {
    /// The hyperbolic sine, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `cosh x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).sinh().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Sinh, sinh, Domain::All, |x| x.each(f64::sinh), |x, _y| Partial::Factor(x.cosh())
}
unary! {
    /// The hyperbolic cosine, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `sinh x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).cosh().value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Cosh, cosh, Domain::All, |x| x.each(f64::cosh), |x, _y| Partial::Factor(x.sinh())
}
unary! {
    /// The number whose hyperbolic sine this is, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/√(x² + 1)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1e-20).asinh().value()?.item()?, 1e-20);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arcsinh")]
    Asinh, asinh, Domain::All, |x| x.each(special::asinh), |x, _y| Partial::Factor(1.0 / x.hypot(1.0))
}
unary! {
    /// The number that is not negative whose hyperbolic cosine this is, elementwise: NaN below 1. The derivative at 1 is +∞.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/√(x² − 1)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1.0).acosh().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arccosh")]
    Acosh, acosh, Domain::Between(1.2, 4.0), |x| x.each(special::acosh), |_x, y| Partial::Factor(1.0 / y.sinh())
}
unary! {
    /// The number whose hyperbolic tangent this is, elementwise: ±∞ at ±1, NaN beyond.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/(1 − x²)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1e-20).atanh().value()?.item()?, 1e-20);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arctanh")]
    Atanh, atanh, Domain::Between(-0.95, 0.95), |x| x.each(special::atanh), |x, _y| Partial::Factor(1.0 / ((1.0 - x) * (x + 1.0)))
}
binary! {
    /// The angle in radians of the point that is this far up and as far to the right as the other number, elementwise with broadcasting: from
    /// −π to π, 0 at the origin. There the derivatives are 0.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: `x/(x² + y²)` and `−y/(x² + y²)`, of `y.atan2(x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1.0).atan2(1.0).value()?.item()?, std::f64::consts::FRAC_PI_4);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "arctan2")]
    Atan2, atan2, |_i| Domain::NonZero, |a, b| a.each_2(b, f64::atan2), |i, y, x, _angle| {
        Partial::Factor(if i == 0 { x.inverse_slope(y) } else { -y.inverse_slope(x) })
    }
}
binary! {
    /// The distance of a point from the origin, `√(x² + y²)`, elementwise with broadcasting, without overflow. Its derivatives at the origin are
    /// 0, as that of [`norm`](crate::Var::norm).
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: `x/r` and `y/r`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!((t.constant(3e200).hypot(4e200).value()?.item()? / 5e200 - 1.0).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Hypot, hypot, |_i| Domain::NonZero, |a, b| a.each_2(b, f64::hypot), |i, a, b, r| {
        let part = if i == 0 { a } else { b } / r;
        Partial::Factor(r.eq(0.0).select(0.0, part))
    }
}

/// `a/(a² + b²)`, the real part of `1/(a + bi)`, and 0 at the origin: the derivatives of [`atan2`](Var::atan2), and its own.
#[derive(Clone, Copy)]
pub(crate) struct Inverse;
impl Elementwise<2> for Inverse {
    fn name(&self) -> &'static str {
        "inverse"
    }
    fn domain(&self, _: usize) -> Domain {
        Domain::NonZero
    }
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a.each_2(b, |a, b| if a == 0.0 { 0.0 } else { a / a.hypot(b) / a.hypot(b) })
    }
    fn partial<'t>(&self, i: usize, [a, b]: [Var<'t>; 2], y: Var<'t>) -> Partial<'t> {
        let other = b.inverse_slope(a);
        Partial::Factor(if i == 0 { other * other - y * y } else { y * other * -2.0 })
    }
}

impl<'t> Var<'t> {
    #[track_caller]
    fn inverse_slope(self, other: Var<'t>) -> Var<'t> {
        self.binary(Op::elementwise(Inverse), other)
    }
}
