//! Pooling of images.

use wengert::{Pool, Recorder, Var};

use super::Layer;

/// The largest number of each window of images `[batch, channels, height, width]`.
///
/// ```
/// use ndarray::Array4;
/// use wengert_nn::{Layer, MaxPool};
/// let t = wengert::Recorder::default();
/// let x = t.constant(Array4::from_shape_fn((1, 1, 2, 2), |(.., i, j)| (2 * i + j) as f64));
/// assert_eq!(MaxPool(wengert::Pool::new(2)).forward(&t, x).value()?.item()?, 3.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaxPool(pub Pool);

impl Layer for MaxPool {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.max_pool2d(self.0.clone())
    }
}

/// The mean of each window of such images.
///
/// ```
/// use ndarray::Array4;
/// use wengert_nn::{AvgPool, Layer};
/// let t = wengert::Recorder::default();
/// let x = t.constant(Array4::from_shape_fn((1, 1, 2, 2), |(.., i, j)| (2 * i + j) as f64));
/// assert_eq!(AvgPool(wengert::Pool::new(2)).forward(&t, x).value()?.item()?, 1.5);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AvgPool(pub Pool);

impl Layer for AvgPool {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.avg_pool2d(self.0.clone())
    }
}

/// The mean over all axes behind the channels: `[batch, channels, …]` to `[batch, channels]` (Lin et al., "Network in network", 2014).
///
/// ```
/// use ndarray::Array4;
/// use wengert_nn::{GlobalAvgPool, Layer};
/// let t = wengert::Recorder::default();
/// let x = t.constant(Array4::<f64>::ones((2, 3, 4, 4)));
/// assert_eq!(GlobalAvgPool.forward(&t, x).shape()[..], [2, 3]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let axes: Vec<usize> = (2..x.rank()).collect();
        x.mean(&axes[..])
    }
}
