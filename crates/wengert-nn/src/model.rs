//! A classifier of images: a stack of layers over a store, and the programs that use it.

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayView2, Axis};
use wengert::{DType, Element, Program, Recorder, State, States, Tensor, Var, Workspace};

use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::examples::{Examples, gathered};
use crate::layers::{Normalize, SoftmaxCrossEntropy, Stack};
use crate::recipe::Recipe;
use crate::summary::ModelSummary;

/// The float types that models compute in: `f32` and `f64`.
pub trait Float: Element {}
impl Float for f32 {}
impl Float for f64 {}

/// A stack of layers that turns rows of pixels into logits, and its states.
pub struct Model {
    /// The parameters.
    pub states: States,
    /// The layers.
    pub stack: Stack,
    /// What the model computes in.
    pub dtype: DType,
    /// Pixels of one image.
    pub inputs: usize,
    /// Rows of one image, and pixels of a row.
    pub size: (usize, usize),
    /// Classes that it tells apart.
    pub classes: usize,
}

/// How a model does on some examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The share of images whose most probable class is their label.
    pub accuracy: f64,
    /// The mean cross-entropy.
    pub loss: f64,
    /// How many images of each class (row) were taken for each class (column).
    pub confusion: Array2<u64>,
}

/// What one chunk of examples came to.
struct Chunk {
    number: usize,
    mean_loss: f64,
    labels: Array1<u32>,
    predicted: Vec<i64>,
}

/// The name of the layer that normalizes inputs.
const NORMALIZE: &str = "normalize";

/// Images that are evaluated at a time. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 200;

impl Model {
    /// The network of a recipe, with random weights of its seed. An error where sizes do not fit.
    ///
    /// ```
    /// use wengert_nn::{Model, Recipe};
    /// let model = Model::new(&Recipe { model: "conv".into(), ..Recipe::default() })?;
    /// assert!(model.states.find("conv1.weight").is_some());
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn new(recipe: &Recipe) -> Result<Self> {
        Self::built(recipe, Builder::new(recipe.dtype()?, recipe.seed))
    }

    /// The same with zeros as weights, for values that are set afterwards: of so many numbers at most.
    pub(crate) fn blank(recipe: &Recipe, most: usize) -> Result<Self> {
        Self::built(recipe, Builder::blank(recipe.dtype()?, most))
    }

    fn built(recipe: &Recipe, mut b: Builder) -> Result<Self> {
        recipe.check()?;
        let (architecture, size) = (recipe.architecture()?, (recipe.height, recipe.width));
        let mut stack = Stack::new();
        if recipe.normalize {
            stack.add(&mut b, NORMALIZE, Normalize::build)?;
        }
        let stack = stack.then(architecture.build(&mut b, size, recipe.classes, recipe.dropout)?);
        let (dtype, inputs, classes) = (b.dtype(), size.0 * size.1, recipe.classes);
        let model = Self { states: b.states, stack, dtype, inputs, size, classes };
        // What a layer refuses is found here, and not in the middle of a training.
        ModelSummary::of(&model.stack, &model.states, dtype, [1, inputs])?;
        Ok(model)
    }

    /// Records bytes as numbers of 0 … 1.
    pub fn pixels<'t>(&self, t: &'t Recorder, pixels: Var<'t>) -> Var<'t> {
        t.scope("pixels", || pixels.cast(self.dtype) * (1.0 / 255.0))
    }

    /// Records the logits of bytes, one image a row, scaled to 0 … 1.
    pub fn logits<'t>(&self, t: &'t Recorder, pixels: Var<'t>) -> Var<'t> {
        self.stack.forward(t, self.pixels(t, pixels))
    }

    /// The states that training updates.
    pub fn parameters(&self) -> Vec<State> {
        self.stack.parameters()
    }

    /// The statistics that training moves: those of the layer that normalizes inputs are measured once.
    pub(crate) fn moving(&self) -> Vec<State> {
        let layers = self.stack.layers().filter(|(name, _)| *name != NORMALIZE);
        layers.flat_map(|(_, layer)| layer.statistics()).collect()
    }

    /// All that the model computes with: its parameters, and the statistics that layers keep.
    pub fn tensors(&self) -> Vec<State> {
        let statistics = self.stack.statistics();
        self.stack.parameters().into_iter().chain(statistics).collect()
    }

    fn evaluation(&self, batch: usize) -> Result<Program> {
        Ok(Program::record(&self.states, |t| {
            let images = t.input(DType::U8, [batch, self.inputs]);
            let labels = t.input(DType::U32, [batch]);
            let logits = self.logits(t, images);
            let loss = SoftmaxCrossEntropy.loss(t, logits, labels);
            t.outputs([logits.argmax(1), loss])
        })?)
    }

    /// Class probabilities of images `[n, pixels]`.
    pub fn probabilities(&self, images: ArrayView2<'_, u8>) -> Result<Array2<f64>> {
        let mut found = Vec::with_capacity(images.nrows().saturating_mul(self.classes));
        let mut prepared: Option<(usize, Program, Workspace)> = None;
        for part in images.axis_chunks_iter(Axis(0), CHUNK) {
            let count = part.nrows();
            if prepared.as_ref().is_none_or(|(size, ..)| *size != count) {
                let program = Program::record(&self.states, |t| {
                    let images = t.input(DType::U8, [count, self.inputs]);
                    t.outputs(self.logits(t, images).softmax())
                })?;
                let workspace = program.workspace()?;
                prepared = Some((count, program, workspace));
            }
            if let Some((_, program, workspace)) = &mut prepared {
                found.extend(program.evaluate(workspace, &self.states, (&part,))?.tensor(0)?.to_f64());
            }
        }
        Array2::from_shape_vec((images.nrows(), self.classes), found)
            .map_err(|e| Error::Argument(e.to_string()))
    }

    /// Evaluates examples on `threads` threads, which share the states. The result has the same bits
    /// for any number of them.
    pub fn evaluate(&self, examples: &dyn Examples, threads: usize) -> Result<Evaluation> {
        self.evaluate_with(&self.states, examples, threads)
    }

    /// The same with other values of the states, in a clone of the store.
    pub fn evaluate_with(
        &self,
        states: &States,
        examples: &dyn Examples,
        threads: usize,
    ) -> Result<Evaluation> {
        let total = examples.len();
        if total == 0 {
            return Err(Error::Argument("there is nothing to evaluate".into()));
        }
        let chunks = total.div_ceil(CHUNK);
        let whole = self.evaluation(CHUNK.min(total))?;
        let last = self.evaluation(total - (chunks - 1) * CHUNK)?;
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<Chunk>> {
            let (mut whole_space, mut last_space) = (whole.workspace()?, last.workspace()?);
            let mut done = Vec::new();
            loop {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= chunks {
                    return Ok(done);
                }
                let (program, space) =
                    if chunk + 1 == chunks { (&last, &mut last_space) } else { (&whole, &mut whole_space) };
                let (from, to) = (chunk * CHUNK, ((chunk + 1) * CHUNK).min(total));
                let (images, labels) = gathered(examples, from..to)?;
                let found = program.evaluate(space, states, (&images, &labels))?;
                let predicted = found.slice::<i64>(0)?.to_vec();
                done.push(Chunk { number: chunk, mean_loss: found.scalar(1)?, labels, predicted });
            }
        };
        let parts: Vec<Result<Vec<Chunk>>> = std::thread::scope(|scope| {
            // Threads that cannot be spawned leave their chunks to the others.
            let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..threads.min(chunks)).filter_map(spawn).collect();
            let own = work();
            let join = |h: std::thread::ScopedJoinHandle<'_, _>| {
                h.join().unwrap_or_else(|_| Err(Error::Argument("an evaluating thread ended early".into())))
            };
            std::iter::once(own).chain(others.into_iter().map(join)).collect()
        });
        let mut done: Vec<Chunk> = Vec::with_capacity(chunks);
        for part in parts {
            done.extend(part?);
        }
        done.sort_by_key(|chunk| chunk.number);
        let mut confusion = Array2::<u64>::zeros((self.classes, self.classes));
        let mut loss = 0.0;
        for chunk in &done {
            loss += chunk.mean_loss * chunk.predicted.len() as f64;
            for (&class, &label) in chunk.predicted.iter().zip(&chunk.labels) {
                if let Some(cell) = confusion.get_mut((label as usize, class as usize)) {
                    *cell += 1;
                }
            }
        }
        let correct: u64 = confusion.diag().sum();
        Ok(Evaluation { accuracy: correct as f64 / total as f64, loss: loss / total as f64, confusion })
    }

    /// The value of a parameter, by its name.
    pub fn parameter(&self, name: &str) -> Option<&Tensor> {
        self.states.find(name).and_then(|s| self.states.get(s).ok())
    }
}
