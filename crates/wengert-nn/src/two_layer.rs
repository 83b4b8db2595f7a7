//! The book's network: two affine layers with a ReLU between them.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use ndarray::{Array1, Array2, ArrayBase, ArrayD, Data, Ix2, IxDyn};
use wengert::{Outputs, Program, Recorder, Results, SliceMut, Var};

use crate::error::{Error, Result};
use crate::init::{Init, rng};
use crate::layers::{Affine, Relu, SoftmaxCrossEntropy, Stack};
use crate::model::{Float, Model};

/// What the examples of a batch are: their classes, or one row of probabilities (one-hot) each.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a, T> {
    /// The number of the class of each example.
    Classes(&'a Array1<u32>),
    /// A row for each example.
    OneHot(&'a Array2<T>),
}

/// One array for each of `W1 b1 W2 b2`.
pub type Gradients<T> = BTreeMap<String, ArrayD<T>>;

/// The network of chapter 5 of "Deep Learning from Scratch" (K. Saitoh, 2019):
/// affine (`W1`, `b1`), ReLU, affine (`W2`, `b2`), softmax with cross-entropy. Weights start at
/// 0.01·N(0,1), biases at 0.
///
/// ```
/// use ndarray::array;
/// use wengert_nn::{Labels, TwoLayerNet};
/// let net = TwoLayerNet::<f32>::new(2, 3, 2, 42)?;
/// let x = array![[0.0f32, 1.0], [1.0, 0.0]];
/// assert_eq!(net.predict(&x)?.shape(), &[2, 2]);
/// let (classes, one_hot) = (array![0u32, 1], array![[1.0f32, 0.0], [0.0, 1.0]]);
/// assert_eq!(net.loss(&x, Labels::Classes(&classes))?, net.loss(&x, Labels::OneHot(&one_hot))?);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub struct TwoLayerNet<T> {
    model: Model,
    float: PhantomData<T>,
}

const NAMES: [&str; 4] = ["W1", "b1", "W2", "b2"];

/// The layers of the network, in order.
pub(crate) fn stack(first: Affine, second: Affine) -> Stack {
    Stack::new().with("affine1", first).with("relu1", Relu).with("affine2", second)
}

impl<T: Float> TwoLayerNet<T> {
    /// A network with random weights of a seed. An error where a size is zero, or there would be more
    /// than 2²⁷ parameters.
    pub fn new(inputs: usize, hidden: usize, classes: usize, seed: u64) -> Result<Self> {
        const MOST: usize = 1 << 27;
        let parameters = inputs.saturating_add(classes).saturating_mul(hidden);
        if parameters > MOST {
            return Err(Error::Argument(format!(
                "a network of {inputs} inputs, {hidden} hidden units and {classes} classes has over {MOST} parameters"
            )));
        }
        if inputs == 0 || hidden == 0 || classes == 0 {
            return Err(Error::Argument("a network needs inputs, hidden units and classes".into()));
        }
        let mut states = wengert::States::new();
        let mut rng = rng(seed);
        let init = Init::Normal(0.01);
        let first = Affine::new(&mut states, ("W1", "b1"), (inputs, hidden), init, T::DTYPE, &mut rng)?;
        let second = Affine::new(&mut states, ("W2", "b2"), (hidden, classes), init, T::DTYPE, &mut rng)?;
        let stack = stack(first, second);
        let model = Model { states, stack, dtype: T::DTYPE, inputs, size: (1, inputs), classes };
        Ok(Self { model, float: PhantomData })
    }

    /// The network as a model of images.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The network as a model of images, to train it.
    pub fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The network as a model of images.
    pub fn into_model(self) -> Model {
        self.model
    }

    /// The logits of rows of inputs.
    pub fn predict<S: Data<Elem = T>>(&self, x: &ArrayBase<S, Ix2>) -> Result<Array2<T>> {
        let logits =
            self.run(x, None, |t, logits, _| t.outputs(logits), |r| Ok(r.slice::<T>(0)?.to_vec()))?;
        Array2::from_shape_vec((x.nrows(), self.model.classes), logits)
            .map_err(|e| Error::Argument(e.to_string()))
    }

    /// The mean cross-entropy of rows of inputs.
    pub fn loss<S: Data<Elem = T>>(&self, x: &ArrayBase<S, Ix2>, labels: Labels<'_, T>) -> Result<f64> {
        let record =
            |t: &'_ Recorder, logits: Var<'_>, labels: Option<Var<'_>>| t.outputs(loss(t, logits, labels));
        self.run(x, Some(labels), record, |r| Ok(r.scalar(0)?))
    }

    /// The share of rows whose largest logit is at their label.
    pub fn accuracy<S: Data<Elem = T>>(&self, x: &ArrayBase<S, Ix2>, labels: Labels<'_, T>) -> Result<f64> {
        let logits = self.predict(x)?;
        let expected: Vec<usize> = match labels {
            Labels::Classes(classes) => classes.iter().map(|&c| c as usize).collect(),
            Labels::OneHot(rows) => rows.rows().into_iter().map(argmax).collect(),
        };
        if expected.len() != logits.nrows() || expected.is_empty() {
            return Err(Error::Argument(format!("{} rows have {} labels", logits.nrows(), expected.len())));
        }
        let hits = logits.rows().into_iter().zip(&expected).filter(|(row, e)| argmax(*row) == **e).count();
        Ok(hits as f64 / expected.len() as f64)
    }

    /// The gradients of the loss by `W1 b1 W2 b2`, by backpropagation.
    pub fn gradient<S: Data<Elem = T>>(
        &self,
        x: &ArrayBase<S, Ix2>,
        labels: Labels<'_, T>,
    ) -> Result<Gradients<T>> {
        let parameters = self.model.parameters();
        let record = |t: &'_ Recorder, logits: Var<'_>, labels: Option<Var<'_>>| {
            let wrt: Vec<Var<'_>> = parameters.iter().map(|&p| t.state(p)).collect();
            let g = loss(t, logits, labels).gradients(wrt);
            t.outputs(g.iter().map(|(_, g)| g))
        };
        self.run(x, Some(labels), record, |r| {
            let named = NAMES.iter().enumerate();
            named.map(|(i, name)| Ok(((*name).to_owned(), r.view::<T>(i)?.to_owned()))).collect()
        })
    }

    /// The gradients of the loss by `W1 b1 W2 b2`, by central differences: slow, and a check on
    /// [`gradient`](Self::gradient). The step is 10⁻⁶, not the book's 10⁻⁴: so few units of the ReLU
    /// change sides within it that in `f64` the two agree to about 10⁻⁹. In `f32` rounding
    /// drowns the difference.
    pub fn numerical_gradient<S: Data<Elem = T>>(
        &self,
        x: &ArrayBase<S, Ix2>,
        labels: Labels<'_, T>,
    ) -> Result<Gradients<T>> {
        Ok(self.differences(x, labels, false, |_, _| {})?.0)
    }

    /// The same, with how many slopes of each parameter lie at a kink of a ReLU: there the differences to either side
    /// disagree, and the slope is NaN (in `f64`; in `f32` rounding hides kinks). `progress` hears how many slopes of how
    /// many are done.
    pub fn numerical_slopes<S: Data<Elem = T>>(
        &self,
        x: &ArrayBase<S, Ix2>,
        labels: Labels<'_, T>,
        progress: impl FnMut(usize, usize),
    ) -> Result<(Gradients<T>, BTreeMap<String, usize>)> {
        self.differences(x, labels, T::DTYPE == wengert::DType::F64, progress)
    }

    fn differences<S: Data<Elem = T>>(
        &self,
        x: &ArrayBase<S, Ix2>,
        labels: Labels<'_, T>,
        mark_kinks: bool,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(Gradients<T>, BTreeMap<String, usize>)> {
        const STEP: f64 = 1e-6;
        let program =
            self.program(x.dim(), Some(labels), |t, logits, labels| t.outputs(loss(t, logits, labels)))?;
        let mut workspace = program.workspace()?;
        let mut states = self.model.states.clone();
        let (mut gradients, mut kinks) = (Gradients::new(), BTreeMap::new());
        let sizes = self.model.parameters().into_iter().map(|p| states.get(p).map(|t| t.shape().elements()));
        let all = sizes.sum::<wengert::Result<usize>>()?;
        let mut done = 0;
        for (name, &parameter) in NAMES.iter().zip(&self.model.parameters()) {
            let shape = states.get(parameter)?.shape();
            let mut slopes = Vec::with_capacity(shape.elements());
            for i in 0..shape.elements() {
                let old = states.get(parameter)?.data().f64_at(i).unwrap_or(f64::NAN);
                let mut at = |value: f64| -> Result<f64> {
                    store(&mut states.data_mut(parameter)?, i, value);
                    let results = match labels {
                        Labels::Classes(c) => program.evaluate(&mut workspace, &states, (x, c))?,
                        Labels::OneHot(o) => program.evaluate(&mut workspace, &states, (x, o))?,
                    };
                    Ok(results.scalar(0)?)
                };
                let (above, here, below) = (at(old + STEP)?, at(old)?, at(old - STEP)?);
                // How much the slopes to either side differ: of a smooth function in proportion to the step.
                let apart =
                    |above: f64, below: f64, step: f64| ((above - here) - (here - below)).abs() / step;
                let (narrow, noise) = (apart(above, below, STEP), 1e-15 * (1.0 + here.abs()) / STEP);
                let slope = (above - below) / (2.0 * STEP);
                let mut kink = mark_kinks && narrow > 1e-3 * slope.abs() + 8.0 * noise;
                if kink {
                    kink = apart(at(old + 8.0 * STEP)?, at(old - 8.0 * STEP)?, 8.0 * STEP) < 4.0 * narrow;
                }
                store(&mut states.data_mut(parameter)?, i, old);
                *kinks.entry((*name).to_owned()).or_insert(0) += usize::from(kink);
                slopes.push(T::from_f64(if kink { f64::NAN } else { slope }));
                done += 1;
                progress(done, all);
            }
            let array =
                ArrayD::from_shape_vec(IxDyn(&shape), slopes).map_err(|e| Error::Argument(e.to_string()))?;
            gradients.insert((*name).to_owned(), array);
        }
        Ok((gradients, kinks))
    }

    fn program<F>(
        &self,
        (rows, columns): (usize, usize),
        labels: Option<Labels<'_, T>>,
        record: F,
    ) -> Result<Program>
    where
        F: for<'t> FnOnce(&'t Recorder, Var<'t>, Option<Var<'t>>) -> wengert::Result<Outputs>,
    {
        Ok(Program::record(&self.model.states, |t| {
            let x = t.input(T::DTYPE, [rows, columns]);
            let labels = labels.map(|labels| match labels {
                Labels::Classes(c) => t.input(wengert::DType::U32, [c.len()]),
                Labels::OneHot(o) => t.input(T::DTYPE, [o.nrows(), o.ncols()]),
            });
            record(t, self.model.stack.forward(t, x), labels)
        })?)
    }

    fn run<S, F, R>(
        &self,
        x: &ArrayBase<S, Ix2>,
        labels: Option<Labels<'_, T>>,
        record: F,
        read: impl FnOnce(&Results<'_>) -> Result<R>,
    ) -> Result<R>
    where
        S: Data<Elem = T>,
        F: for<'t> FnOnce(&'t Recorder, Var<'t>, Option<Var<'t>>) -> wengert::Result<Outputs>,
    {
        let program = self.program(x.dim(), labels, record)?;
        let mut workspace = program.workspace()?;
        let states = &self.model.states;
        let results = match labels {
            None => program.evaluate(&mut workspace, states, (x,))?,
            Some(Labels::Classes(c)) => program.evaluate(&mut workspace, states, (x, c))?,
            Some(Labels::OneHot(o)) => program.evaluate(&mut workspace, states, (x, o))?,
        };
        read(&results)
    }
}

fn loss<'t>(t: &'t Recorder, logits: Var<'t>, labels: Option<Var<'t>>) -> Var<'t> {
    labels.map_or(logits, |labels| SoftmaxCrossEntropy.loss(t, logits, labels))
}

fn argmax<T: Float>(row: ndarray::ArrayView1<'_, T>) -> usize {
    let number = |i: usize| row.get(i).map_or(f64::NAN, |x| x.to_f64());
    // The first of the largest, or the first NaN, as `Var::argmax` has it.
    (1..row.len()).fold(0, |best, i| {
        let (x, b) = (number(i), number(best));
        if !b.is_nan() && (x > b || x.is_nan()) { i } else { best }
    })
}

fn store(slice: &mut SliceMut<'_>, i: usize, value: f64) {
    match slice {
        SliceMut::F32(s) => s[i] = value as f32,
        SliceMut::F64(s) => s[i] = value,
        _ => {}
    }
}
