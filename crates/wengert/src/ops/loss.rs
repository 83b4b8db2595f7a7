//! Losses: what is to become small.

use std::f64::consts::TAU;

use crate::dtype::DType;
use crate::error::{DTypeError, ShapeError};
use crate::ir::{IntoVar, Var};
use crate::shape::{Shape, TensorType};

impl<'t> Var<'t> {
    /// The mean squared distance to an array of the same shape, over all elements.
    ///
    /// *Shape*: a scalar. *Derivative*: `2 (x − y)/n`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let loss = t.constant(array![1.0, 2.0]).mse(&array![1.0, 4.0]);
    /// assert_eq!(loss.value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "mean_squared_error")]
    #[track_caller]
    pub fn mse(self, target: impl IntoVar<'t>) -> Var<'t> {
        self.loss("mse", target, |x, y| (x - y).square().mean(()))
    }

    /// The binary cross-entropy of these logits and labels between 0 and 1, elementwise, without overflow or cancellation:
    /// `y ln(1 + e⁻ˣ) + (1 − y) ln(1 + eˣ)`.
    ///
    /// *Shape*: as `x`. *Derivative*: `σ(x) − y` by the logits.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let loss = t.constant(array![0.0, 40.0]).binary_cross_entropy(&array![1.0, 1.0]).value()?;
    /// assert_eq!(loss.to_f64()[0], 2f64.ln());
    /// assert!((loss.to_f64()[1] / (-40f64).exp() - 1.0).abs() < 1e-14);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "bce_with_logits")]
    #[doc(alias = "sigmoid_cross_entropy")]
    #[track_caller]
    pub fn binary_cross_entropy(self, labels: impl IntoVar<'t>) -> Var<'t> {
        self.loss("binary_cross_entropy", labels, |x, labels| {
            labels * (-x).softplus() + (1.0 - labels) * x.softplus()
        })
    }

    /// The mean distance to an array of the same shape, over all elements.
    ///
    /// *Shape*: a scalar. *Derivative*: `sign(x − y)/n`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let loss = t.constant(array![1.0, 2.0]).mae(&array![1.0, 4.0]);
    /// assert_eq!(loss.value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "l1_loss")]
    #[doc(alias = "mean_absolute_error")]
    #[track_caller]
    pub fn mae(self, target: impl IntoVar<'t>) -> Var<'t> {
        self.loss("mae", target, |x, y| (x - y).abs().mean(()))
    }

    /// Huber's loss beside an array of the same shape, elementwise: `½ d²` up to a distance `δ`, from there on `δ (|d| − ½ δ)` (Huber, "Robust
    /// estimation of a location parameter", 1964).
    ///
    /// *Shape*: as `x`. *Derivative*: the distance, at most `±δ`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let loss = t.constant(array![1.0, 4.0]).huber(&array![0.0, 0.0], 1.0);
    /// assert_eq!(loss.value()?.to_f64(), [0.5, 3.5]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "smooth_l1_loss")]
    #[track_caller]
    pub fn huber(self, target: impl IntoVar<'t>, delta: f64) -> Var<'t> {
        self.loss("huber", target, |x, y| {
            let d = x - y;
            let near = d.abs().le(delta);
            near.select(d.square() * 0.5, (d.abs() - 0.5 * delta) * delta)
        })
    }

    /// The divergence of Kullback and Leibler of these probabilities from others of the same shape, elementwise: `p ln(p/q)`, 0 where `p` is 0; to
    /// be summed over the outcomes.
    ///
    /// *Shape*: as `x`. *Derivative*: `ln(p/q) + 1`; by the other `−p/q`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let d = t.constant(array![1.0, 0.0]).kl_divergence(&array![0.5, 0.5]).sum(());
    /// assert_eq!(d.value()?.item()?, 2f64.ln());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "kl_div")]
    #[doc(alias = "relative_entropy")]
    #[track_caller]
    pub fn kl_divergence(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.loss("kl_divergence", other, |p, q| p.xlogy(p) - p.xlogy(q))
    }

    /// How unlikely a target of the same shape is beside normal distributions with this mean and a variance, elementwise: `½ (ln 2πv + (x − y)²/v)`.
    ///
    /// *Shape*: as `x`. *Derivative*: `(x − y)/v`; by the variance `½ (1/v − (x − y)²/v²)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let loss = t.constant(0.0).gaussian_nll(0.0, 1.0).value()?.item()?;
    /// assert!((loss - (2.0 * std::f64::consts::PI).ln() / 2.0).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gaussian_nll(self, target: impl IntoVar<'t>, variance: impl IntoVar<'t>) -> Var<'t> {
        self.loss("gaussian_nll", target, |x, y| {
            let variance = variance.into_var(x);
            ((variance * TAU).ln() + (x - y).square() / variance) * 0.5
        })
    }

    /// [`cross_entropy`](Self::cross_entropy) of class labels, of which those that are `ignored` count for nothing, with a part `smoothing` of each
    /// label spread over all classes (Szegedy et al., "Rethinking the Inception architecture", 2016): the mean over the rows that count, NaN where none does.
    ///
    /// *Shape*: a scalar. *Derivative*: `softmax(x) − y` for the smoothed labels, divided by the rows that count.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let logits = t.constant(array![[0.0, 0.0], [9.0, 0.0]]);
    /// let loss = logits.cross_entropy_with(t.constant([0, -100]), Some(-100), 0.1);
    /// assert_eq!(loss.value()?.item()?, 2f64.ln());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "label_smoothing")]
    #[doc(alias = "ignore_index")]
    #[track_caller]
    pub fn cross_entropy_with(self, labels: Var<'t>, ignored: Option<i64>, smoothing: f64) -> Var<'t> {
        if labels.dtype().is_float() {
            let kind = DTypeError::Expected { expected: DType::INTEGERS, found: labels.dtype() };
            return self.recorder().fail_like(kind, "cross_entropy_with", self.ty());
        }
        self.operation("cross_entropy_with", || {
            let log = self.log_softmax();
            let labels = labels.cast(DType::I64);
            let counts = match ignored {
                Some(ignored) => labels.ne(ignored),
                None => labels.eq(labels),
            };
            let own = log.pick(counts.select(labels, 0)) * (1.0 - smoothing);
            let all = if smoothing == 0.0 { own } else { own + log.mean(-1) * smoothing };
            -counts.select(all, 0.0).sum(()) / counts.count(()).cast(self.dtype())
        })
    }

    /// Records a loss beside an array, which has the same shape.
    #[track_caller]
    fn loss(
        self,
        name: &'static str,
        target: impl IntoVar<'t>,
        record: impl FnOnce(Var<'t>, Var<'t>) -> Var<'t>,
    ) -> Var<'t> {
        self.operation(name, || {
            let target = target.into_var(self);
            self.unlike(name, target).unwrap_or_else(|| record(self, target))
        })
    }

    /// An error where another array has not the same shape: broadcasting would hide a mistake.
    #[track_caller]
    fn unlike(self, name: &'static str, other: Var<'t>) -> Option<Var<'t>> {
        (self.shape() != other.shape()).then(|| {
            let (left, right) = (self.shape().to_vec(), other.shape().to_vec());
            let guess = TensorType::new(self.dtype(), Shape::SCALAR);
            self.recorder().fail_like(ShapeError::Differ { left, right }, name, guess)
        })
    }
}
