//! Powers of two, logarithms and roots; what is made of logarithms of two numbers.

use std::f64::consts::{LN_2, LOG2_E, LOG10_E};

use crate::ir::{Domain, Elementwise, Op, Partial, Var};
use crate::kernels::Lane;
use crate::kernels::special;
use crate::ops::elementwise::{binary, unary};

unary! {
    /// 2 to the power of a number, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `2ˣ ln 2`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(3.0).exp2().value()?.item()?, 8.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Exp2, exp2, Domain::All, |x| x.each(f64::exp2), |_x, y| Partial::Factor(y * LN_2)
}
unary! {
    /// The logarithm to base 2, elementwise: −∞ at 0, NaN below.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/(x ln 2)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(8.0).log2().value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Log2, log2, Domain::Positive, |x| x.each(f64::log2), |x, _y| Partial::Factor(LOG2_E / x)
}
unary! {
    /// The logarithm to base 10, elementwise: −∞ at 0, NaN below.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/(x ln 10)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1000.0).log10().value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Log10, log10, Domain::Positive, |x| x.each(f64::log10), |x, _y| Partial::Factor(LOG10_E / x)
}
unary! {
    /// The third root, elementwise, of negative numbers too. The derivative at 0 is +∞, by continuity.
    ///
    /// *Shape*: as `x`. *Derivative*: `⅓ x^−⅔`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-8.0).cbrt().value()?.item()?, -2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    Cbrt, cbrt, Domain::NonZero, |x| x.each(f64::cbrt), |_x, y| Partial::Factor(1.0 / (y * y * 3.0))
}
binary! {
    /// `ln(eˣ + eʸ)`, elementwise with broadcasting, without overflow: the sum of two probabilities by their logarithms.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: `σ(x − y)` and `σ(y − x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(1e4).logaddexp(1e4).value()?.item()?, 1e4 + 2f64.ln());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    LogAddExp, logaddexp, |_i| Domain::All, |a, b| a.each_2(b, special::logaddexp), |i, a, b, _y| {
        let share = Op::elementwise(Share);
        Partial::Factor(if i == 0 { a.binary(share, b) } else { b.binary(share, a) })
    }
}
binary! {
    /// `x ln y`, elementwise with broadcasting: 0 where `x` is 0, whatever the logarithm is, NaN where `y` is NaN. Where `x` is 0 so is the derivative by
    /// `y`.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: `ln y` and `x/y`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).xlogy(0.0).value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    XLogY, xlogy, |i| if i == 0 { Domain::All } else { Domain::Positive }, |a, b| a.each_2(b, special::xlogy), |i, x, y, _z| {
        if i == 0 { Partial::Factor(y.ln()) } else { Partial::Factor(x.eq(0.0).select(0.0, x / y)) }
    }
}

/// `eᵃ / (eᵃ + eᵇ)`, the derivative of [`logaddexp`](Var::logaddexp), of equal infinities too.
#[derive(Clone, Copy)]
pub(crate) struct Share;
impl Elementwise<2> for Share {
    fn name(&self) -> &'static str {
        "share"
    }
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        L::select(a.eq(b), L::splat(0.0), a - b).sigmoid()
    }
    fn partial<'t>(&self, i: usize, [a, b]: [Var<'t>; 2], y: Var<'t>) -> Partial<'t> {
        let both = y * b.binary(Op::elementwise(Self), a);
        Partial::Factor(if i == 0 { both } else { -both })
    }
}

impl<'t> Var<'t> {
    /// `1/x`, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `−1/x²`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(4.0).recip().value()?.item()?, 0.25);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "reciprocal")]
    #[track_caller]
    pub fn recip(self) -> Var<'t> {
        self.operation("recip", || 1.0 / self)
    }

    /// `1/√x`, elementwise: +∞ at 0, NaN below.
    ///
    /// *Shape*: as `x`. *Derivative*: `−½ x^−3/2`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(4.0).rsqrt().value()?.item()?, 0.5);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn rsqrt(self) -> Var<'t> {
        self.operation("rsqrt", || 1.0 / self.sqrt())
    }
}
