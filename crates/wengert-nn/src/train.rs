//! The training loop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::ArrayView1;
use wengert::{DType, Program, Workspace};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::model::{Evaluation, Model};
use crate::optim::Sgd;
use crate::sampler::{BatchSampler, Sampling};

/// How to train. The defaults are the book's.
///
/// ```
/// let config = wengert_nn::Config { iterations: 600, ..Default::default() };
/// assert_eq!((config.batch, config.learning_rate), (100, 0.1));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Steps.
    pub iterations: usize,
    /// Examples a step.
    pub batch: usize,
    /// The step size: a finite number above zero, also in the element type of the model.
    pub learning_rate: f64,
    /// How batches are drawn.
    pub sampling: Sampling,
    /// For the batches.
    pub seed: u64,
    /// Threads for steps and evaluation. The results do not depend on it.
    pub threads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            iterations: 10_000,
            batch: 100,
            learning_rate: 0.1,
            sampling: Sampling::WithReplacement,
            seed: 0,
            threads: 1,
        }
    }
}

/// What the loop tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made.
    Step {
        /// Steps made so far.
        iteration: usize,
        /// The loss of its batch, before its update.
        loss: f64,
    },
    /// The model was evaluated: after the first step, after the first of each epoch (of several, where there would
    /// be more than 200), and at the end.
    Evaluated {
        /// Steps made so far.
        iteration: usize,
        /// The loss of the last batch.
        loss: f64,
        /// On all images it learns from.
        train: &'a Evaluation,
        /// On all images it has never seen.
        test: &'a Evaluation,
        /// Time since training began.
        elapsed: Duration,
    },
}

/// Evaluations of a training, about, at most.
const MOST_EVALUATIONS: usize = 200;

/// How a training went.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps made.
    pub iterations: usize,
    /// Of the final model.
    pub train: Evaluation,
    /// Of the final model.
    pub test: Evaluation,
    /// Time spent in steps alone.
    pub stepping: Duration,
    /// Time spent in all.
    pub total: Duration,
}

/// Trains a model by stochastic gradient descent. `watch` hears of every step and evaluation, and may end
/// the training early by [`ControlFlow::Break`]. An error where the loss is no longer finite, and for a
/// learning rate that is not above zero in the element type of the model.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use wengert_nn::{Config, Dataset, Event, TwoLayerNet, train};
/// let data = Dataset::load("datasets/mnist", 10, 2, &Default::default())?;
/// let mut net = TwoLayerNet::<f32>::new(784, 50, 10, 0)?;
/// let summary = train(net.model_mut(), &data, &Config::default(), |event| {
///     if let Event::Evaluated { iteration, test, .. } = event {
///         println!("{iteration}: {}", test.accuracy);
///     }
///     ControlFlow::Continue(())
/// })?;
/// println!("{}", summary.test.accuracy);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn train(
    model: &mut Model,
    data: &Dataset,
    config: &Config,
    mut watch: impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Summary> {
    let began = Instant::now();
    let examples =
        u32::try_from(data.train.len()).map_err(|_| Error::Argument("more than 2³² images".into()))?;
    if examples == 0 || config.batch == 0 || config.iterations == 0 {
        return Err(Error::Argument("training needs images, a batch size and iterations above zero".into()));
    }
    // Not so often that evaluating takes longer than learning, however small the data set is.
    let epoch = (examples as usize / config.batch).max(config.iterations.div_ceil(MOST_EVALUATIONS)).max(1);
    let held =
        if model.dtype == DType::F32 { f64::from(config.learning_rate as f32) } else { config.learning_rate };
    if !(held > 0.0 && held.is_finite()) {
        return Err(Error::Argument(format!(
            "expected a learning rate above zero that {} can hold, found {:?}",
            model.dtype, config.learning_rate
        )));
    }
    let optimiser = Sgd { learning_rate: config.learning_rate };
    let mut steps = Steps { programs: Vec::new(), optimiser, threads: config.threads };
    let mut sampler = BatchSampler::new(examples, config.batch, config.sampling, config.seed);
    let mut stepping = Duration::ZERO;
    let mut iteration = 0;
    loop {
        let clock = Instant::now();
        let loss = steps.step(model, data, sampler.next_batch())?;
        stepping += clock.elapsed();
        iteration += 1;
        let finite = |loss: f64, of: &str| match loss.is_finite() {
            true => Ok(()),
            false => Err(Error::Argument(format!(
                "the loss of {of} is {loss} at step {iteration}: the learning rate {} may be too high",
                config.learning_rate
            ))),
        };
        finite(loss, "the batch")?;
        let mut stop = watch(Event::Step { iteration, loss }).is_break() || iteration == config.iterations;
        if stop || (iteration - 1) % epoch == 0 {
            let train = model.evaluate(&data.train, config.threads)?;
            let test = model.evaluate(&data.test, config.threads)?;
            finite(train.loss, "the images to train with")?;
            finite(test.loss, "the images to test")?;
            let elapsed = began.elapsed();
            let event = Event::Evaluated { iteration, loss, train: &train, test: &test, elapsed };
            stop |= watch(event).is_break();
            if stop {
                return Ok(Summary { iterations: iteration, train, test, stepping, total: began.elapsed() });
            }
        }
    }
}

/// One program and workspace for each size of batch that occurs.
struct Steps {
    programs: Vec<(usize, Program, Workspace)>,
    optimiser: Sgd,
    threads: usize,
}

impl Steps {
    fn step(&mut self, model: &mut Model, data: &Dataset, batch: &[u32]) -> Result<f64> {
        let known = self.programs.iter().position(|(size, ..)| *size == batch.len());
        let at = match known {
            Some(at) => at,
            None => {
                let program = model.training_step(data.train.len(), batch.len(), self.optimiser)?;
                let workspace = program.workspace_on(self.threads)?;
                self.programs.push((batch.len(), program, workspace));
                self.programs.len() - 1
            }
        };
        let (_, program, workspace) = &mut self.programs[at];
        let inputs = (&data.train.images, &data.train.labels, &ArrayView1::from(batch));
        Ok(program.run(workspace, &mut model.states, inputs)?.scalar(0)?)
    }
}
