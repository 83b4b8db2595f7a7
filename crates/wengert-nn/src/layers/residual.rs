//! Residual connections.

use wengert::{Recorder, State, Var};

use super::{Layer, Stack, Training};

/// `x + f(x)` of a stack of layers that keeps the shape (He et al., "Deep residual learning for image recognition", 2016).
///
/// ```
/// use wengert_nn::{Layer, Relu, Residual, Stack};
/// let t = wengert::Recorder::default();
/// let twice = Residual(Stack::new().with("relu", Relu));
/// assert_eq!(twice.forward(&t, t.constant(2.0)).value()?.item()?, 4.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Default)]
pub struct Residual(pub Stack);

impl Layer for Residual {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x + self.0.forward(t, x)
    }
    fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        x + self.0.training(training, x)
    }
    fn parameters(&self) -> Vec<State> {
        self.0.parameters()
    }
    fn statistics(&self) -> Vec<State> {
        self.0.statistics()
    }
}
