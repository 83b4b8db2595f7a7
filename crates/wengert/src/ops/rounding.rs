//! Whole numbers near a number, remainders, and what is no number.

use crate::dtype::DType;
use crate::ir::{Domain, Elementwise, Op, Partial, Var};
use crate::kernels::Lane;
use crate::ops::discrete::Step;

/// What is left of one number after whole multiples of another, with the sign of the first: the operator `%`.
#[derive(Clone, Copy)]
pub(crate) struct Rem;
impl Elementwise<2> for Rem {
    fn name(&self) -> &'static str {
        "rem"
    }
    fn domain(&self, i: usize) -> Domain {
        // With quotients between 2 and 3.
        if i == 0 { Domain::Between(2.5, 2.8) } else { Domain::Between(1.0, 1.2) }
    }
    fn eval<L: Lane>(&self, [a, b]: [L; 2]) -> L {
        a.each_2(b, |a, b| a % b)
    }
    fn partial<'t>(&self, i: usize, [a, b]: [Var<'t>; 2], y: Var<'t>) -> Partial<'t> {
        if i == 0 { Partial::One } else { Partial::Factor(((y - a) / b).round_ties_even()) }
    }
}

impl<'t> Var<'t> {
    /// The smallest whole number not below each element. The derivative is exactly zero.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-0.5).ceil().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn ceil(self) -> Var<'t> {
        self.operation("ceil", || -(-self).floor())
    }

    /// The whole number next to each element on the way to 0. The derivative is exactly zero.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-1.5).trunc().value()?.item()?, -1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn trunc(self) -> Var<'t> {
        self.operation("trunc", || self.lt(0.0).select(self.ceil(), self.floor()))
    }

    /// The nearest whole number, of two equally near ones the one further from 0, as `f64::round`. NumPy, PyTorch and JAX take
    /// the even one: [`round_ties_even`](Self::round_ties_even). The derivative is exactly zero.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(2.5).round().value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn round(self) -> Var<'t> {
        self.operation("round", || {
            let (size, below) = (self.abs(), self.abs().floor());
            let near = (size - below).ge(0.5).select(below + 1.0, below);
            self.lt(0.0).select(-near, near)
        })
    }

    /// The nearest whole number, of two equally near ones the even one. The derivative is exactly zero.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(2.5).round_ties_even().value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "rint")]
    #[track_caller]
    pub fn round_ties_even(self) -> Var<'t> {
        self.operation("round_ties_even", || self.apply(Op::discrete(Step::Round)))
    }

    /// Whether each element is NaN.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(f64::NAN).is_nan().decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn is_nan(self) -> Var<'t> {
        self.operation("is_nan", || self.ne(self))
    }

    /// Whether each element is neither infinite nor NaN.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(!t.constant(f64::INFINITY).is_finite().decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn is_finite(self) -> Var<'t> {
        self.operation("is_finite", || match self.dtype().is_float() {
            true => self.abs().lt(f64::INFINITY),
            false => self.eq(self),
        })
    }

    /// Whether each element is +∞ or −∞.
    ///
    /// *Shape*: as `x`. *Derivative*: none.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert!(t.constant(f64::INFINITY).is_infinite().decide()?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "isinf")]
    #[track_caller]
    pub fn is_infinite(self) -> Var<'t> {
        self.operation("is_infinite", || match self.dtype().is_float() {
            true => self.abs().eq(f64::INFINITY),
            false => self.ne(self),
        })
    }

    /// The same numbers with 0 for NaN and the largest and smallest number of the type for +∞ and −∞, elementwise. Where an element is replaced
    /// the derivative is 0.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 where finite, else 0.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(f64::NAN).nan_to_num().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn nan_to_num(self) -> Var<'t> {
        self.operation("nan_to_num", || {
            let most = match self.dtype() {
                DType::F32 => f64::from(f32::MAX),
                DType::F64 => f64::MAX,
                // All are finite.
                _ => return self,
            };
            let high = self.gt(most).select(most, self);
            let within = high.lt(-most).select(-most, high);
            self.is_nan().select(0.0, within)
        })
    }
}
