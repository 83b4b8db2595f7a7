//! Losses with names.

use wengert::{Recorder, Var};

/// The mean cross-entropy of logits under the softmax.
///
/// ```
/// use ndarray::array;
/// use wengert_nn::SoftmaxCrossEntropy;
/// let t = wengert::Recorder::default();
/// let (x, y) = (t.constant(array![[1.0, 1.0]]), t.constant(array![0u32]));
/// let loss = SoftmaxCrossEntropy.loss(&t, x, y).value()?.item()?;
/// assert!((loss - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxCrossEntropy;

impl SoftmaxCrossEntropy {
    /// The loss of logits `[n, classes]` for labels `[n]` (classes) or `[n, classes]` (one-hot).
    #[track_caller]
    pub fn loss<'t>(&self, t: &'t Recorder, logits: Var<'t>, labels: Var<'t>) -> Var<'t> {
        t.scope("loss", || logits.cross_entropy(labels))
    }
}
