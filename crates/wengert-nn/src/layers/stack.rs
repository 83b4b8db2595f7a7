//! Layers one behind the other.

use wengert::{Recorder, State, Var};

use super::{Layer, Training};
use crate::builder::Builder;
use crate::error::Result;

/// Named layers, applied in order. Each records under its name.
///
/// ```
/// use wengert_nn::{Relu, Stack};
/// let stack = Stack::new().with("relu", Relu);
/// let t = wengert::Recorder::default();
/// assert_eq!(stack.forward(&t, t.constant(2.0)).value()?.item()?, 2.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Default)]
pub struct Stack {
    layers: Vec<(String, Box<dyn Layer>)>,
}

impl Stack {
    /// No layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// These layers and one more.
    pub fn with(mut self, name: &str, layer: impl Layer + 'static) -> Self {
        self.layers.push((name.to_owned(), Box::new(layer)));
        self
    }

    /// Adds a layer that is built under its name, in which a model's states lie: `conv1.weight`.
    pub fn add<L: Layer + 'static>(
        &mut self,
        b: &mut Builder,
        name: &str,
        make: impl FnOnce(&mut Builder) -> Result<L>,
    ) -> Result<()> {
        let layer = b.within(name, make)?;
        self.layers.push((name.to_owned(), Box::new(layer)));
        Ok(())
    }

    /// These layers and those of another stack behind them.
    pub fn then(mut self, other: Self) -> Self {
        self.layers.extend(other.layers);
        self
    }

    /// The names of the layers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|(name, _)| name.as_str())
    }

    /// The layers with their names, in order.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &dyn Layer)> {
        self.layers.iter().map(|(name, layer)| (name.as_str(), &**layer))
    }

    /// Records all layers, in order.
    pub fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        self.layers.iter().fold(x, |x, (name, layer)| t.scope(name, || layer.forward(t, x)))
    }

    /// The states that training updates, in order.
    pub fn parameters(&self) -> Vec<State> {
        self.layers.iter().flat_map(|(_, layer)| layer.parameters()).collect()
    }

    /// The same while the model is trained.
    pub fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        let t = training.recorder();
        self.layers.iter().fold(x, |x, (name, layer)| t.scope(name, || layer.training(training, x)))
    }

    /// The states that layers keep beside their parameters, in order.
    pub fn statistics(&self) -> Vec<State> {
        self.layers.iter().flat_map(|(_, layer)| layer.statistics()).collect()
    }
}

impl Layer for Stack {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        self.forward(t, x)
    }
    fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        self.training(training, x)
    }
    fn parameters(&self) -> Vec<State> {
        self.parameters()
    }
    fn statistics(&self) -> Vec<State> {
        self.statistics()
    }
}
