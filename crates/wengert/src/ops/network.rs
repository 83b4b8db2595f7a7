//! What networks are made of beside products and activations: numbers brought to one scale, dropout, attention; each made of other
//! ops. Scales and shifts that are learnt are a product and a sum behind them.

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Axes, IntoVar, Keep, Var};
use crate::shape::Shape;

impl<'t> Var<'t> {
    /// With mean 0 and variance 1 over axes, `(x − mean)/√(var + ε)` (Ba et al., "Layer normalization", 2016). Over the channels of a group that is [`group_norm`](Self::group_norm), over the
    /// batch [`batch_norm`](Self::batch_norm).
    ///
    /// *Shape*: as `x`. *Derivative*: `(g − mean g − y mean(g y))/√(var + ε)` of a cotangent `g`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 3.0]]);
    /// assert_eq!(x.layer_norm(-1, 0.0).value()?.to_f64(), [-1.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm(self, axes: impl Axes, epsilon: f64) -> Var<'t> {
        self.on_axes("layer_norm", &axes, |axes| {
            let centred = self - self.mean(Keep(axes));
            centred * (centred.square().mean(Keep(axes)) + epsilon).rsqrt()
        })
    }

    /// With mean square 1 over axes, `x/√(mean x² + ε)` (Zhang and Sennrich, "Root mean square layer normalization", 2019).
    ///
    /// *Shape*: as `x`. *Derivative*: `(g − y mean(g y))/√(mean x² + ε)` of a cotangent `g`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, -1.0]]);
    /// assert_eq!(x.rms_norm(-1, 0.0).value()?.to_f64(), [1.0, -1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn rms_norm(self, axes: impl Axes, epsilon: f64) -> Var<'t> {
        self.on_axes("rms_norm", &axes, |axes| self * (self.square().mean(Keep(axes)) + epsilon).rsqrt())
    }

    /// [`layer_norm`](Self::layer_norm) of an array `[batch, channels, …]` over groups of neighbouring channels and all axes behind them (Wu and He, "Group normalization",
    /// 2018).
    ///
    /// *Shape*: as `x`. *Derivative*: as that of `layer_norm`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 3.0, 5.0, 7.0]]);
    /// assert_eq!(x.group_norm(2, 0.0).value()?.to_f64(), [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn group_norm(self, groups: usize, epsilon: f64) -> Var<'t> {
        let shape = self.shape();
        let split = match shape[..] {
            [batch, channels, ref rest @ ..] if groups > 0 && channels % groups == 0 => {
                Shape::new(&[&[batch, groups, channels / groups], rest].concat())
            }
            [_, channels, ..] => Err(ErrorKind::Argument(format!("{channels} channels in {groups} groups"))),
            _ => Err(ShapeError::Rank { expected: 2, found: shape.rank() }.into()),
        };
        match split {
            Ok(split) => self.operation("group_norm", || {
                let axes: Vec<usize> = (2..split.rank()).collect();
                self.reshape(split).layer_norm(axes, epsilon).reshape(shape)
            }),
            Err(kind) => self.recorder().fail_like(kind, "group_norm", self.ty()),
        }
    }

    /// [`layer_norm`](Self::layer_norm) of an array `[batch, channels, …]` over all axes but the channels (Ioffe and Szegedy, "Batch normalization", 2015), and the mean and variance of
    /// each channel, of which running ones may be kept for [`batch_norm_with`](Self::batch_norm_with).
    ///
    /// *Shape*: as `x`; `[channels]` twice. *Derivative*: as that of `layer_norm`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0], [3.0]]);
    /// let (y, mean, variance) = x.batch_norm(0.0);
    /// assert_eq!(y.value()?.to_f64(), [-1.0, 1.0]);
    /// assert_eq!((mean.value()?.item()?, variance.value()?.item()?), (2.0, 1.0));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm(self, epsilon: f64) -> (Var<'t>, Var<'t>, Var<'t>) {
        let axes: Vec<usize> = (0..self.rank()).filter(|&axis| axis != 1).collect();
        self.operation("batch_norm", || {
            let (mean, variance) = (self.mean(&axes[..]), self.var(&axes[..]));
            (self.batch_norm_with(mean, variance, epsilon), mean, variance)
        })
    }

    /// An array `[batch, channels, …]` with each channel at a scale that is known: `(x − mean)/√(variance + ε)`, as networks in use apply what they kept of
    /// [`batch_norm`](Self::batch_norm).
    ///
    /// *Shape*: as `x`. *Derivative*: `1/√(variance + ε)`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[3.0]]);
    /// let y = x.batch_norm_with(&array![1.0], &array![4.0], 0.0);
    /// assert_eq!(y.value()?.to_f64(), [1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm_with(
        self,
        mean: impl IntoVar<'t>,
        variance: impl IntoVar<'t>,
        epsilon: f64,
    ) -> Var<'t> {
        self.operation("batch_norm_with", || {
            // Beside the axes behind the channels; a number is an array like this one already.
            let behind = self.rank().saturating_sub(2);
            let channels = |v: Var<'t>| match v.rank() {
                1 => (0..behind).fold(v, |v, _| v.insert_axis(-1)),
                _ => v,
            };
            let (mean, variance) = (channels(mean.into_var(self)), channels(variance.into_var(self)));
            (self - mean) * (variance + epsilon).rsqrt()
        })
    }

    /// Elements set to 0 at this rate, the others scaled so that the mean stays (Srivastava et al., "Dropout", 2014): drawn by an `i64` key, which gives the same ones
    /// each time.
    ///
    /// *Shape*: as `x`. *Derivative*: the scale where kept, else 0.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 1.0, 1.0, 1.0]);
    /// let y = x.dropout(t.constant(7i64), 0.5).value()?;
    /// assert!(y.to_f64().iter().all(|&y| y == 0.0 || y == 2.0));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn dropout(self, key: Var<'t>, rate: f64) -> Var<'t> {
        if !(0.0..1.0).contains(&rate) {
            let kind = ErrorKind::Argument(format!("a rate of {rate}, not from 0 to below 1"));
            return self.recorder().fail_like(kind, "dropout", self.ty());
        }
        self.operation("dropout", || {
            let kept = key.uniform(self.dtype(), self.shape()).ge(rate);
            kept.select(self * (1.0 / (1.0 - rate)), 0.0)
        })
    }

    /// What queries `[…, q, d]` find among keys `[…, k, d]`: the mean of values `[…, k, v]`, weighted by `softmax(query · key/√d)` (Vaswani et al., "Attention is all you need", 2017). Where
    /// a mask of truth values `[…, q, k]` does not hold, a key is not seen; a query that sees none is NaN.
    ///
    /// *Shape*: `[…, q, v]`. *Derivative*: by those rules.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let q = t.constant(array![[0.0, 0.0]]);
    /// let (k, v) = (t.constant(array![[1.0, 0.0], [0.0, 1.0]]), t.constant(array![[2.0], [4.0]]));
    /// assert_eq!(q.attention(k, v, None).value()?.to_f64(), [3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn attention(self, keys: Var<'t>, values: Var<'t>, mask: Option<Var<'t>>) -> Var<'t> {
        self.operation("attention", || {
            let size = self.shape().last().copied().unwrap_or(1).max(1);
            let scores = (self * (1.0 / (size as f64).sqrt())).matmul(keys.swap_axes(-1, -2));
            let scores = match mask {
                Some(mask) => mask.select(scores, f64::NEG_INFINITY),
                None => scores,
            };
            scores.softmax().matmul(values)
        })
    }
}
