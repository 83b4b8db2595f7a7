//! Dropout.

use wengert::{Recorder, Var};

use super::{Layer, Training};

/// Sets numbers to zero at a rate while the model is trained, and scales the others so that the mean stays (Srivastava et al., "Dropout: a simple way to prevent neural
/// networks from overfitting", 2014). Which ones is said by the step's key. In use it changes nothing.
///
/// ```
/// use wengert_nn::{Dropout, Layer, Training};
/// let t = wengert::Recorder::default();
/// let x = t.full(wengert::DType::F32, [1000], 1.0);
/// let training = Training::new(&t, t.constant(7i64));
/// let y = Dropout(0.25).training(&training, x).value()?.to_f64();
/// let dropped = y.iter().filter(|y| **y == 0.0).count();
/// assert!((200..300).contains(&dropped) && y.iter().all(|y| *y == 0.0 || (*y - 4.0 / 3.0).abs() < 1e-6));
/// assert_eq!(Dropout(0.25).forward(&t, x).value()?.to_f64(), vec![1.0; 1000]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dropout(pub f64);

impl Layer for Dropout {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x
    }
    fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        if self.0 == 0.0 { x } else { x.dropout(training.key(), self.0) }
    }
}
