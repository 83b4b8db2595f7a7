//! A block of a transformer.

use wengert::{Recorder, State, Var};

use super::{Affine, Attention, Dropout, Layer, LayerNorm, Training};
use crate::builder::Builder;
use crate::error::Result;
use crate::init::Init;

/// `y = x + attention(norm x)`, `z = y + W₂ gelu(W₁ norm y)` of a sequence `[batch, time, size]`, with dropout behind both (Vaswani et al., "Attention is all you need", 2017, with the normalization
/// in front, as Xiong et al., "On layer normalization in the transformer architecture", 2020).
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Builder, Layer, TransformerBlock};
/// let mut b = Builder::new(F32, 1);
/// let block = b.within("block1", |b| TransformerBlock::build(b, 8, 2, 32, 0.1, false))?;
/// let t = wengert::Recorder::new(&b.states);
/// assert_eq!(block.forward(&t, t.full(F32, [2, 5, 8], 0.1)).shape()[..], [2, 5, 8]);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TransformerBlock {
    first_norm: LayerNorm,
    attention: Attention,
    second_norm: LayerNorm,
    wide: Affine,
    narrow: Affine,
    dropout: Dropout,
}

impl TransformerBlock {
    /// Rows of so many numbers, so many heads, so many numbers between the two products: the layers `norm1`, `attention`, `norm2`, `linear1` and `linear2`.
    pub fn build(
        b: &mut Builder,
        size: usize,
        heads: usize,
        hidden: usize,
        dropout: f64,
        causal: bool,
    ) -> Result<Self> {
        Ok(Self {
            first_norm: b.within("norm1", |b| LayerNorm::build(b, size))?,
            attention: b.within("attention", |b| Attention::build(b, size, heads, causal))?,
            second_norm: b.within("norm2", |b| LayerNorm::build(b, size))?,
            wide: b.within("linear1", |b| Affine::build(b, (size, hidden), Init::GlorotUniform))?,
            narrow: b.within("linear2", |b| Affine::build(b, (hidden, size), Init::GlorotUniform))?,
            dropout: Dropout(dropout),
        })
    }

    fn block<'t>(&self, t: &'t Recorder, x: Var<'t>, noise: impl Fn(Var<'t>) -> Var<'t>) -> Var<'t> {
        let y = x + noise(self.attention.forward(t, self.first_norm.forward(t, x)));
        let hidden = self.wide.forward(t, self.second_norm.forward(t, y)).gelu();
        y + noise(self.narrow.forward(t, hidden))
    }
}

impl Layer for TransformerBlock {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        self.block(t, x, |x| x)
    }
    fn training<'t>(&self, training: &Training<'t>, x: Var<'t>) -> Var<'t> {
        self.block(training.recorder(), x, |x| self.dropout.training(training, x))
    }
    fn parameters(&self) -> Vec<State> {
        let layers: [&dyn Layer; 5] =
            [&self.first_norm, &self.attention, &self.second_norm, &self.wide, &self.narrow];
        layers.iter().flat_map(|layer| layer.parameters()).collect()
    }
}
