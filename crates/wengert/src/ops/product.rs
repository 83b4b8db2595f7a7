//! Products over axes, and norms of any order.

use crate::error::ErrorKind;
use crate::ir::{Axes, Keep, Var};

impl<'t> Var<'t> {
    /// The product over axes (`()` for all), which disappear unless they are [kept](crate::Keep); 1 over nothing. Zeros are numbers like others, in derivatives of
    /// every order too.
    ///
    /// *Shape*: without the axes. *Derivative*: the product of the others.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![2.0, 0.0, 3.0]);
    /// let y = x.prod(());
    /// assert_eq!(y.value()?.item()?, 0.0);
    /// assert_eq!(y.gradients(x)[x].value()?.to_f64(), [0.0, 6.0, 0.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "product")]
    #[track_caller]
    pub fn prod(self, axes: impl Axes) -> Var<'t> {
        self.reduction("prod", axes, |axes| {
            let (mut y, mut size) = self.last(axes);
            if size == 0 {
                return y.sum(-1) + 1.0;
            }
            // In pairs: derivatives are those of products, zeros included.
            while size > 1 {
                let half = size / 2;
                let pairs = y.slice(-1, ..half) * y.slice(-1, half..2 * half);
                y = if size % 2 == 0 {
                    pairs
                } else {
                    self.recorder().concat([pairs, y.slice(-1, -1..)], -1)
                };
                size = size.div_ceil(2);
            }
            y.squeeze(-1)
        })
    }

    /// The norm of an order over axes (`()` for all), which disappear unless they are [kept](crate::Keep): `(Σ |x|ᵖ)^(1/p)`; of order 1 the sum of sizes, of order ∞ the largest
    /// of them, which equal ones share. [`norm`](Self::norm) is that of order 2. Its derivative at 0 is 0.
    ///
    /// *Shape*: without the axes. *Derivative*: `sign(x) (|x|/‖x‖)ᵖ⁻¹`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![3.0, -4.0]);
    /// assert_eq!(x.norm_of(1.0, ()).value()?.item()?, 7.0);
    /// assert_eq!(x.norm_of(f64::INFINITY, ()).value()?.item()?, 4.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn norm_of(self, order: f64, axes: impl Axes) -> Var<'t> {
        self.reduction("norm_of", axes, |axes| {
            let size = self.abs();
            if order == 1.0 {
                return size.sum(axes);
            }
            if order == f64::INFINITY {
                return size.max(axes);
            }
            if order.is_nan() || order < 1.0 {
                let kind = ErrorKind::Argument(format!("a norm of order {order}, not of 1 or more"));
                return self.recorder().fail_like(kind, "norm_of", self.ty());
            }
            // Beside the largest, so that no power overflows; that only scales, and nothing is differentiated through it.
            let most = size.max(Keep(axes)).stop_gradient();
            let scale = (most.eq(0.0) | most.eq(f64::INFINITY)).select(1.0, most);
            let sum = (size / scale).pow(order).sum(Keep(axes));
            let root = sum.eq(0.0).select(0.0, sum.eq(0.0).select(1.0, sum).pow(1.0 / order));
            (root * scale).squeeze(axes)
        })
    }
}
