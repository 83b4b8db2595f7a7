//! Layers and losses as rows of the tape, and ordered stacks of them.

use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use wengert::{DType, Element, ErrorKind, IntoShape, Recorder, State, States, Tensor, Var};

use crate::error::Result;

/// A step from one array to the next. It holds the states it reads, never their values.
pub trait Layer: Send + Sync {
    /// Records the layer applied to a batch, one example a row.
    fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t>;
    /// The states that training updates, in order.
    fn parameters(&self) -> Vec<State> {
        Vec::new()
    }
}

/// How weights start; biases start at zero.
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand_pcg::Pcg64::seed_from_u64(1);
/// let w = wengert_nn::Init::Normal(0.01).draw(784, 50, &mut rng);
/// assert!(w.std(0.0) < 0.011 && w.std(0.0) > 0.009);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal numbers of this standard deviation.
    Normal(f64),
    /// Normal numbers of variance 2/inputs (He et al., "Delving deep into rectifiers", 2015).
    He,
}

impl Init {
    /// A matrix of initial weights, drawn in row-major order.
    pub fn draw(self, inputs: usize, outputs: usize, rng: &mut Pcg64) -> Array2<f64> {
        Array2::from_shape_simple_fn((inputs, outputs), self.weights(inputs, rng))
    }

    /// One weight after another.
    fn weights(self, inputs: usize, rng: &mut Pcg64) -> impl FnMut() -> f64 {
        let scale = match self {
            Self::Normal(deviation) => deviation,
            Self::He => (2.0 / inputs as f64).sqrt(),
        };
        move || {
            let z: f64 = StandardNormal.sample(rng);
            z * scale
        }
    }
}

/// An array of numbers that are made one by one. An error where its allocation fails.
fn filled<T: Element>(shape: impl IntoShape, next: impl FnMut() -> T) -> Result<Tensor> {
    let shape = shape.into_shape().map_err(wengert::Error::from)?;
    let (mut numbers, bytes) = (Vec::new(), shape.elements().saturating_mul(size_of::<T>()));
    let memory = |_| wengert::Error::from(ErrorKind::Memory { bytes });
    numbers.try_reserve_exact(shape.elements()).map_err(memory)?;
    numbers.extend(std::iter::repeat_with(next).take(shape.elements()));
    Ok(Tensor::new(shape, numbers)?)
}

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
        let mut weight = init.weights(inputs, rng);
        let (w, b) = match dtype {
            DType::F32 => (filled([inputs, outputs], || weight() as f32)?, filled([outputs], || 0f32)?),
            _ => (filled([inputs, outputs], weight)?, filled([outputs], || 0f64)?),
        };
        Self::of(states, (weights, bias), w, b)
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

/// `max(x, 0)`.
///
/// ```
/// use wengert_nn::{Layer, Relu};
/// let t = wengert::Recorder::default();
/// assert_eq!(Relu.forward(&t, t.constant(-1.0)).value()?.item()?, 0.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Layer for Relu {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.relu()
    }
}

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

    /// The names of the layers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|(name, _)| name.as_str())
    }

    /// Records all layers, in order.
    pub fn forward<'t>(&self, t: &'t Recorder, x: Var<'t>) -> Var<'t> {
        self.layers.iter().fold(x, |x, (name, layer)| t.scope(name, || layer.forward(t, x)))
    }

    /// The states that training updates, in order.
    pub fn parameters(&self) -> Vec<State> {
        self.layers.iter().flat_map(|(_, layer)| layer.parameters()).collect()
    }
}

/// The generator that all initial weights of a seed come from.
pub(crate) fn weights_rng(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}
