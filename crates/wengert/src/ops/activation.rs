//! Activations of networks, each made of other ops: what costs and what is rounded is the same as in one of its own.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::ir::{IntoVar, Var};

/// `2 √(2/π)`.
const TWICE_ROOT: f64 = 1.5957691216057308;
const SELU_ALPHA: f64 = 1.6732632423543772;
const SELU_SCALE: f64 = 1.0507009873554805;

impl<'t> Var<'t> {
    /// `x σ(x)`, elementwise (Elfwing et al., "Sigmoid-weighted linear units", 2018).
    ///
    /// *Shape*: as `x`. *Derivative*: `σ(x) (1 + x σ(−x))`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).silu().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "swish")]
    #[track_caller]
    pub fn silu(self) -> Var<'t> {
        self.operation("silu", || self * self.sigmoid())
    }

    /// `x tanh(ln(1 + eˣ))`, elementwise (Misra, "Mish", 2019).
    ///
    /// *Shape*: as `x`. *Derivative*: `tanh s + x σ(x)/cosh² s`, with `s = ln(1 + eˣ)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).mish().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn mish(self) -> Var<'t> {
        self.operation("mish", || self * self.softplus().tanh())
    }

    /// `x Φ(x)` with the distribution function of normal numbers, elementwise (Hendrycks and Gimpel, "Gaussian error linear units", 2016). Far below 0 it is
    /// accurate beside 1, not beside itself.
    ///
    /// *Shape*: as `x`. *Derivative*: `Φ(x) + x φ(x)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).gelu().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gelu(self) -> Var<'t> {
        self.operation("gelu", || self * 0.5 * ((self * FRAC_1_SQRT_2).erf() + 1.0))
    }

    /// An approximation of [`gelu`](Self::gelu) by way of the hyperbolic tangent, `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, elementwise (from the
    /// same paper).
    ///
    /// *Shape*: as `x`. *Derivative*: by those rules.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).gelu_tanh().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gelu_tanh(self) -> Var<'t> {
        self.operation("gelu_tanh", || {
            self * ((self * self.square() * 0.044715 + self) * TWICE_ROOT).sigmoid()
        })
    }

    /// `x / (1 + |x|)`, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `1/(1 + |x|)²`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-3.0).softsign().value()?.item()?, -0.75);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn softsign(self) -> Var<'t> {
        self.operation("softsign", || self / (self.abs() + 1.0))
    }

    /// `min(max(x, 0), 6)`, elementwise. The derivative at 0 and at 6 is 0.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 between 0 and 6, else 0.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(7.0).relu6().value()?.item()?, 6.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn relu6(self) -> Var<'t> {
        self.operation("relu6", || self.hardtanh(0.0, 6.0))
    }

    /// The nearest number between two bounds, elementwise, with a derivative of 0 at a bound itself; NaN stays NaN. [`clamp`](Self::clamp) is the same with bounds that
    /// may be arrays, and half of the derivative.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 between the bounds, else 0.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(7.0).hardtanh(-1.0, 1.0).value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn hardtanh(self, low: f64, high: f64) -> Var<'t> {
        self.operation("hardtanh", || self.le(low).select(low, self.ge(high).select(high, self)))
    }

    /// `x` above 0, else `slope · x`, elementwise. The derivative at 0 is the slope.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 above 0, else the slope.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-3.0).leaky_relu(0.5).value()?.item()?, -1.5);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn leaky_relu(self, slope: f64) -> Var<'t> {
        self.operation("leaky_relu", || self.gt(0.0).select(self, self * slope))
    }

    /// `x` above 0, else `α (eˣ − 1)`, elementwise (Clevert et al., "Exponential linear units", 2016). The derivative at 0 is `α`.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 above 0, else `α eˣ`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(3.0).elu(1.0).value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn elu(self, alpha: f64) -> Var<'t> {
        self.operation("elu", || {
            // What is not chosen must not overflow: its derivative would.
            let below = self.gt(0.0).select(0.0, self);
            self.gt(0.0).select(self, below.exp_m1() * alpha)
        })
    }

    /// [`elu`](Self::elu), scaled so that what is spread as normal numbers stays so (Klambauer et al., "Self-normalizing neural networks", 2017): `α` is 1.67326,
    /// the scale 1.05070.
    ///
    /// *Shape*: as `x`. *Derivative*: the scale above 0, else `scale α eˣ`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(0.0).selu().value()?.item()?, 0.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn selu(self) -> Var<'t> {
        self.operation("selu", || self.elu(SELU_ALPHA) * SELU_SCALE)
    }

    /// Between this at a weight of 0 and another at 1, elementwise with broadcasting: `(1 − w) x + w y`, exactly `x` and `y` at the ends.
    ///
    /// *Shape*: all three broadcast. *Derivative*: `1 − w`, `w`, and `y − x` by the weight.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(2.0).lerp(4.0, 0.5).value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn lerp(self, other: impl IntoVar<'t>, weight: impl IntoVar<'t>) -> Var<'t> {
        self.operation("lerp", || {
            let weight = weight.into_var(self);
            self * (1.0 - weight) + other.into_var(self) * weight
        })
    }
}
