//! Rows times a matrix.

use rand_pcg::Pcg64;
use wengert::{DType, IntoShape, Recorder, State, States, Tensor, TensorType, Var};

use super::Layer;
use crate::builder::{Builder, drawn};
use crate::error::Result;
use crate::init::Init;

/// `x W + b`.
///
/// ```
/// use rand::SeedableRng;
/// use wengert::{DType::F32, Program, States};
/// use wengert_nn::{Affine, Init, Layer};
/// let mut states = States::new();
/// let mut rng = rand_pcg::Pcg64::seed_from_u64(1);
/// let layer = Affine::new(&mut states, ("W1", "b1"), (4, 3), Init::He, F32, &mut rng)?;
/// let program = Program::record(&states, |t| t.outputs(layer.forward(t, t.input(F32, [2, 4]))))?;
/// assert_eq!(states.find("b1"), Some(layer.parameters()[1]));
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    weights: State,
    bias: State,
}

impl Affine {
    /// Adds weights `[inputs, outputs]` and a zero bias of these names to the store. An error where
    /// a name is taken, or an allocation fails.
    pub fn new(
        states: &mut States,
        (weights, bias): (&str, &str),
        (inputs, outputs): (usize, usize),
        init: Init,
        dtype: DType,
        rng: &mut Pcg64,
    ) -> Result<Self> {
        let w = drawn(dtype, [inputs, outputs].into_shape()?, init, (inputs, outputs), rng)?;
        let b = Tensor::filled(TensorType::new(dtype, [outputs].into_shape()?), 0.0)?;
        Self::of(states, (weights, bias), w, b)
    }

    /// The same as a layer of a model in the making: `weight` and `bias`.
    pub fn build(b: &mut Builder, (inputs, outputs): (usize, usize), init: Init) -> Result<Self> {
        Self::named(b, ("weight", "bias"), (inputs, outputs), init)
    }

    /// The same by other names.
    pub(crate) fn named(
        b: &mut Builder,
        (weights, bias): (&str, &str),
        (inputs, outputs): (usize, usize),
        init: Init,
    ) -> Result<Self> {
        let weights = b.parameter(weights, [inputs, outputs], init, (inputs, outputs))?;
        Ok(Self { weights, bias: b.parameter(bias, [outputs], Init::Constant(0.0), (inputs, outputs))? })
    }

    /// Adds these weights and this bias to the store. An error where a name is taken.
    pub(crate) fn of(
        states: &mut States,
        (weights, bias): (&str, &str),
        w: Tensor,
        b: Tensor,
    ) -> Result<Self> {
        Ok(Self { weights: states.add(weights, w)?, bias: states.add(bias, b)? })
    }
}

impl Layer for Affine {
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.matmul(t.state(self.weights)) + t.state(self.bias)
    }
    fn parameters(&self) -> Vec<State> {
        vec![self.weights, self.bias]
    }
}
