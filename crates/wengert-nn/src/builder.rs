//! Where the states of a model are made.

use rand_pcg::Pcg64;
use wengert::{DType, Element, ErrorKind, IntoShape, Shape, State, States, Tensor, TensorType};

use crate::error::{Error, Result};
use crate::init::{Init, rng};

/// Numbers of a model, at most: a gigabyte in `f64`.
const MOST: usize = 1 << 27;

/// A store in the making: layers add their parameters to it, under the path of the layer, drawn by one generator in the order in which they are
/// added.
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Builder, Init};
/// let mut b = Builder::new(F32, 1);
/// let w = b.within("fc1", |b| b.parameter("weight", [4, 3], Init::He, (4, 3)))?;
/// assert_eq!(b.states.name(w), Some("fc1.weight"));
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    /// What was added so far.
    pub states: States,
    dtype: DType,
    /// Of an initialiser's numbers; none where values are set afterwards.
    rng: Option<Pcg64>,
    path: String,
    /// Numbers that may still be added.
    left: usize,
}

impl Builder {
    /// An empty store of floats of a type; the same seed, the same numbers.
    pub fn new(dtype: DType, seed: u64) -> Self {
        Self { states: States::new(), dtype, rng: Some(rng(seed)), path: String::new(), left: MOST }
    }

    /// One whose parameters are zeros, for values that are set afterwards: so many numbers at most.
    pub(crate) fn blank(dtype: DType, most: usize) -> Self {
        Self { rng: None, left: most.min(MOST), ..Self::new(dtype, 0) }
    }

    /// Takes so many numbers off those that may still be added.
    fn take(&mut self, name: &str, shape: Shape) -> Result<()> {
        let left = self.left.checked_sub(shape.elements());
        let path = &self.path;
        self.left = left.ok_or_else(|| {
            Error::Argument(format!(
                "{path}{name} of {shape} is more than the {} numbers that are left",
                self.left
            ))
        })?;
        Ok(())
    }

    /// What models compute in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Has what a function adds lie behind a name and a dot.
    pub fn within<R>(&mut self, name: &str, make: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.path.len();
        self.path.push_str(name);
        self.path.push('.');
        let made = make(self);
        self.path.truncate(outer);
        made
    }

    /// Adds an array to train, of 2²⁷ numbers at most in all. `inputs` and `outputs` are how many numbers are added up where one of it is used, forwards and backwards. An error where
    /// the name is taken, or an allocation fails.
    pub fn parameter(
        &mut self,
        name: &str,
        shape: impl IntoShape,
        init: Init,
        (inputs, outputs): (usize, usize),
    ) -> Result<State> {
        let shape = shape.into_shape()?;
        self.take(name, shape)?;
        let tensor = match &mut self.rng {
            Some(rng) => drawn(self.dtype, shape, init, (inputs, outputs), rng)?,
            None => Tensor::filled(TensorType::new(self.dtype, shape), 0.0)?,
        };
        Ok(self.states.add(&format!("{}{name}", self.path), tensor)?)
    }

    /// Adds an array that layers keep and gradients do not train: running statistics.
    pub fn statistic(&mut self, name: &str, shape: impl IntoShape, value: f64) -> Result<State> {
        let shape = shape.into_shape()?;
        self.take(name, shape)?;
        let tensor = Tensor::filled(TensorType::new(self.dtype, shape), value)?;
        Ok(self.states.add(&format!("{}{name}", self.path), tensor)?)
    }
}

/// An array of numbers that an initialiser draws; what is the same everywhere draws none. An error where its allocation fails.
pub(crate) fn drawn(
    dtype: DType,
    shape: Shape,
    init: Init,
    fans: (usize, usize),
    rng: &mut Pcg64,
) -> wengert::Result<Tensor> {
    fn filled<T: Element>(shape: Shape, mut next: impl FnMut() -> f64) -> wengert::Result<Tensor> {
        let (mut numbers, bytes) = (Vec::new(), shape.elements().saturating_mul(size_of::<T>()));
        let memory = |_| wengert::Error::from(ErrorKind::Memory { bytes });
        numbers.try_reserve_exact(shape.elements()).map_err(memory)?;
        numbers.extend(std::iter::repeat_with(|| T::from_f64(next())).take(shape.elements()));
        Tensor::new(shape, numbers)
    }
    if let Init::Constant(value) = init {
        return Tensor::filled(TensorType::new(dtype, shape), value);
    }
    // Of more axes the first against all others, as kernels are matrices of their outputs.
    let rows = shape.first().copied().unwrap_or(1);
    let next = init.numbers((rows, shape.elements() / rows.max(1)), fans, rng);
    if dtype == DType::F32 { filled::<f32>(shape, next) } else { filled::<f64>(shape, next) }
}
