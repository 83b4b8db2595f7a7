//! What a stack of layers is, without running it.

use std::fmt;

use wengert::{DType, IntoShape, Recorder, Shape, States};

use crate::error::Result;
use crate::layers::Stack;

/// One layer of a [`ModelSummary`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// The shape of what it makes of the input.
    pub output: Shape,
    /// Numbers that training updates.
    pub parameters: usize,
}

/// The layers of a stack with the shapes of their outputs and their parameters; prints itself as a table.
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Affine, Builder, Init, Relu, Stack, ModelSummary};
/// let mut b = Builder::new(F32, 1);
/// let mut stack = Stack::new();
/// stack.add(&mut b, "fc1", |b| Affine::build(b, (784, 50), Init::He))?;
/// stack.add(&mut b, "relu1", |_| Ok(Relu))?;
/// let summary = ModelSummary::of(&stack, &b.states, F32, [100, 784])?;
/// assert_eq!((summary.layers[0].output[..].to_vec(), summary.parameters()), (vec![100, 50], 39_250));
/// assert!(summary.to_string().contains("fc1"));
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSummary {
    /// The shape of the input.
    pub input: Shape,
    /// The layers, in order.
    pub layers: Vec<LayerSummary>,
}

impl ModelSummary {
    /// Records a stack on an input of this type and shape, the batch included, and computes nothing. An error where a layer does not fit the one before.
    pub fn of(stack: &Stack, states: &States, dtype: DType, input: impl IntoShape) -> Result<Self> {
        let input = input.into_shape()?;
        let t = Recorder::new(states);
        let mut x = t.input(dtype, input);
        let mut layers = Vec::new();
        for (name, layer) in stack.layers() {
            x = t.scope(name, || layer.forward(&t, x));
            t.check()?;
            let mut parameters = 0;
            for state in layer.parameters() {
                parameters += states.get(state)?.shape().elements();
            }
            layers.push(LayerSummary { name: name.to_owned(), output: x.shape(), parameters });
        }
        Ok(Self { input, layers })
    }

    /// Numbers that training updates, in all.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.layers.iter().map(|layer| layer.name.chars().count());
        let width = names.max().unwrap_or(0).max("input".len());
        let shape = |shape: &Shape| shape.to_string();
        let column = self.layers.iter().map(|layer| shape(&layer.output).len());
        let column = column.chain([shape(&self.input).len(), "output".len()]).max().unwrap_or(0);
        writeln!(f, "{:width$}  {:column$}  parameters", "layer", "output")?;
        writeln!(f, "{:width$}  {:column$}", "input", shape(&self.input))?;
        for LayerSummary { name, output, parameters } in &self.layers {
            let parameters = if *parameters > 0 { parameters.to_string() } else { "–".to_owned() };
            writeln!(f, "{name:width$}  {:column$}  {parameters:>10}", shape(output))?;
        }
        write!(f, "{:width$}  {:column$}  {:>10}", "in all", "", self.parameters())
    }
}
