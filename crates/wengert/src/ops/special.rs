//! Special functions, number by number: see `kernels/special/`.

use std::f64::consts::FRAC_2_SQRT_PI;

use crate::error::ErrorKind;
use crate::ir::{Attr, Attrs, Domain, Elementwise, Op, Partial, Var};
use crate::kernels::{Lane, special};
use crate::ops::elementwise::unary;
use crate::ops::registry::{Registered, Sampler, Spec};

unary! {
    /// The complement of the error function, `1 − erf(x)`, elementwise: to its last digit where that is small, too.
    ///
    /// *Shape*: as `x`. *Derivative*: `−2/√π · e^−x²`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).erfc().value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Erfc, erfc, Domain::All, |x| x.each(special::erfc), |x, _y| Partial::Factor((-(x * x)).exp() * -FRAC_2_SQRT_PI)
}
unary! {
    /// The number whose error function this is, elementwise: ±∞ at ±1, NaN beyond.
    ///
    /// *Shape*: as `x`. *Derivative*: `½√π · e^y²`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!((t.constant(0.5).erf().erfinv().value()?.item()? - 0.5).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "erf_inv")]
    Erfinv, erfinv, Domain::Between(-0.95, 0.95), |x| x.each(special::erfinv), |_x, y| Partial::Factor((y * y).exp() * (1.0 / FRAC_2_SQRT_PI))
}
unary! {
    /// The logarithm of the magnitude of the gamma function, elementwise: +∞ at 0 and the negative whole numbers. `Γ(n) = (n − 1)!`.
    ///
    /// *Shape*: as `x`. *Derivative*: `ψ(x)`, the [`digamma`](crate::Var::digamma) function.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!((t.constant(5.0).ln_gamma().value()?.item()? - 24f64.ln()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "lgamma")]
    #[doc(alias = "gammaln")]
    LnGamma, ln_gamma, Domain::Positive, |x| x.each(special::ln_gamma), |x, _y| Partial::Factor(x.digamma())
}
unary! {
    /// The derivative of [`ln_gamma`](crate::Var::ln_gamma), `ψ(x)`, elementwise: ∓∞ at ±0, NaN at the negative whole numbers.
    ///
    /// *Shape*: as `x`. *Derivative*: `ψ′(x)`, [`polygamma`](crate::Var::polygamma) of order 1.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!((t.constant(1.0).digamma().value()?.item()? + 0.577_215_664_901_532_9).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "psi")]
    Digamma, digamma, Domain::Positive, |x| x.each(special::digamma), |x, _y| Partial::Factor(x.polygamma(1))
}
/// A derivative of the digamma function.
#[derive(Clone, Copy)]
pub(crate) struct Polygamma {
    /// 1 or higher.
    order: usize,
}
impl Polygamma {
    fn new(order: usize) -> Result<Self, ErrorKind> {
        match order {
            1..=ORDERS => Ok(Self { order }),
            other => Err(ErrorKind::Argument(format!(
                "a polygamma function of order {other}: there are those from 1 to {ORDERS}"
            ))),
        }
    }
}
const ORDERS: usize = special::POLYGAMMA.len();
impl Elementwise<1> for Polygamma {
    fn name(&self) -> &'static str {
        "polygamma"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("order", Attr::Int(self.order as i64))
    }
    fn domain(&self, _: usize) -> Domain {
        Domain::Between(0.8, 3.0)
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        x.each(special::POLYGAMMA[self.order - 1])
    }
    fn partial<'t>(&self, _: usize, [x]: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
        Partial::Factor(x.polygamma(self.order + 1))
    }
}
impl Registered for Polygamma {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Self::new(attrs.usize("order")?)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let op = Self { order: 1 + s.below(3) };
        (op, vec![Spec::float(s.shape(3), op.domain(0))])
    }
}

impl<'t> Var<'t> {
    /// The derivative of this order of the [`digamma`](Self::digamma) function, `ψ⁽ⁿ⁾(x)`, elementwise: order 0 is that itself, 12 the last that there
    /// is. ±∞ at 0 and the negative whole numbers.
    ///
    /// *Shape*: as `x`. *Derivative*: `ψ⁽ⁿ⁺¹⁾(x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let trigamma = t.constant(1.0).polygamma(1).value()?.item()?;
    /// assert!((trigamma - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "trigamma")]
    #[track_caller]
    pub fn polygamma(self, order: usize) -> Var<'t> {
        if order == 0 {
            return self.digamma();
        }
        match Polygamma::new(order) {
            Ok(op) => self.apply(Op::elementwise(op)),
            Err(kind) => self.recorder().fail_like(kind, "polygamma", self.ty()),
        }
    }
}
