//! What is made of sums: norm and variance; and numbers held between others.

use crate::ir::{Axes, IntoVar, Keep, Var};

impl<'t> Var<'t> {
    /// The Euclidean norm over axes (`()` for all), which disappear unless they are [kept](crate::Keep): `√Σ x²`. Its derivative at 0 is
    /// 0.
    ///
    /// *Shape*: without the axes. *Derivative*: `x/‖x‖`, 0 at 0.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[3.0, 4.0], [0.0, 0.0]]);
    /// let y = x.norm(-1);
    /// assert_eq!(y.value()?.to_f64(), [5.0, 0.0]);
    /// assert_eq!(y.sum(()).gradients(x)[x].value()?.to_f64()[2..], [0.0, 0.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn norm(self, axes: impl Axes) -> Var<'t> {
        self.reduction("norm", axes, |axes| self.square().sum(axes).gated_sqrt())
    }

    /// The root, with a derivative of 0 at 0.
    #[track_caller]
    fn gated_sqrt(self) -> Var<'t> {
        self.eq(0.0).select(0.0, self.sqrt())
    }

    /// The variance over axes (`()` for all), which disappear unless they are [kept](crate::Keep): the mean of the squared distance from
    /// the mean, divided by the number of elements, as in NumPy; times `n / (n − 1)` it is an unbiased estimate. An error over nothing.
    ///
    /// *Shape*: without the axes. *Derivative*: `2 (x − mean)/n`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(array![1.0, 3.0]).var(()).value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "variance")]
    #[track_caller]
    pub fn var(self, axes: impl Axes) -> Var<'t> {
        self.reduction("var", axes, |axes| (self - self.mean(Keep(axes))).square().mean(axes))
    }

    /// The standard deviation over axes: the root of [`var`](Self::var), with a derivative of 0 where that is 0.
    ///
    /// *Shape*: without the axes. *Derivative*: `(x − mean)/(n std)`, 0 where `std` is 0.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(array![1.0, 5.0]).std(()).value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn std(self, axes: impl Axes) -> Var<'t> {
        self.operation("std", || self.var(axes).gated_sqrt())
    }

    /// The nearest number between two others, elementwise with broadcasting: `max(low, min(high, x))`. Where it is a bound itself half of
    /// the derivative passes; NaN stays NaN.
    ///
    /// *Shape*: `x` and both bounds broadcast. *Derivative*: 1 between the bounds, 0 outside, ½ on one.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(array![-2.0, 0.5, 7.0]).clamp(0, 1).value()?.to_f64(), [0.0, 0.5, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "clip")]
    #[track_caller]
    pub fn clamp(self, low: impl IntoVar<'t>, high: impl IntoVar<'t>) -> Var<'t> {
        self.operation("clamp", || self.minimum(high).maximum(low))
    }
}
