//! The training loop.

mod batches;
mod checkpoint;
mod history;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wengert::{DType, Profile, Program, Recorder, State, States, Tensor, Var, Workspace};

use crate::augment::mixed;
use crate::data::Dataset;
use crate::epochs::Epochs;
use crate::error::{Error, Result};
use crate::examples::{Examples, Subset, checksum};
use crate::layers::Training;
use crate::model::{Evaluation, Model};
use crate::optim::{Average, Group, Optimizer, Plateau, Schedule, norm};
use crate::prefetch::Prefetch;
use crate::recipe::Recipe;

use batches::{Batch, Batches};
pub use history::{Best, Measure, Point, Progress};

/// Evaluations of a training, about, at most.
const MOST_EVALUATIONS: u64 = 200;

/// A training that can be stopped and taken up again anywhere: a recipe, a model on its way, and all that its next step depends on.
///
/// What is random depends on the seed and the number of the step alone, so the model has the same bits for any number of threads, and whether or not
/// the training was interrupted.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use wengert_nn::{Dataset, Progress, Recipe, Trainer};
/// let data = Dataset::load("datasets/mnist", 10, 2, &Default::default())?;
/// let mut trainer = Trainer::new(&Recipe::default(), &data, 2)?;
/// trainer.run(|_, progress| {
///     if let Progress::Evaluated(point) = progress {
///         println!("{}: {}", point.step, point.train.accuracy);
///     }
///     Ok::<_, wengert_nn::Error>(ControlFlow::Continue(()))
/// })?;
/// println!("{}", trainer.result()?.evaluate(&data.test, 2)?.accuracy);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub struct Trainer {
    recipe: Recipe,
    model: Model,
    optimizer: Optimizer,
    average: Option<Average>,
    schedule: Schedule,
    plateau: Option<Plateau>,
    splits: Splits,
    batches: Arc<Batches>,
    /// The next steps.
    ahead: Prefetch<Result<Batch>>,
    /// The batch of the last step, on which the gradient is measured.
    last: Option<Batch>,
    programs: Vec<Prepared>,
    threads: usize,
    /// Steps of an epoch, and in all.
    epoch: u64,
    steps: u64,
    /// The CRC-32 of the data.
    data: u32,
    step: u64,
    /// The losses since the last evaluation: their sum, and how many.
    recent: (f64, u64),
    best: Option<(Best, Vec<(State, Tensor)>)>,
    /// Evaluations since the best one.
    waited: u64,
    history: Vec<Point>,
    stepping: Duration,
}

/// What is evaluated.
struct Splits {
    measured: Arc<dyn Examples>,
    validation: Option<Arc<dyn Examples>>,
    /// The test set, where nothing is chosen.
    test: Option<Arc<dyn Examples>>,
}

/// The programs for batches of a size.
struct Prepared {
    size: usize,
    step: (Program, Workspace),
    norm: Option<(Program, Workspace)>,
}

impl Trainer {
    /// A training that has not begun, on so many threads. An error where the recipe makes no sense or does not fit the data.
    pub fn new(recipe: &Recipe, data: &Dataset, threads: usize) -> Result<Self> {
        Self::of(recipe, data.train.clone(), data.test.clone(), threads)
    }

    /// The same with examples that are anywhere: those to learn from, and those to test.
    pub fn of(
        recipe: &Recipe,
        train: Arc<dyn Examples>,
        test: Arc<dyn Examples>,
        threads: usize,
    ) -> Result<Self> {
        recipe.check()?;
        let size = (recipe.height, recipe.width);
        for found in [train.size(), test.size()] {
            if found != size {
                return Err(Error::Argument(format!("expected images of {size:?} pixels, found {found:?}")));
            }
        }
        let data = checksum(&[&train, &test], recipe.classes)?;
        let (train, validation): (Arc<dyn Examples>, Option<Arc<dyn Examples>>) = match recipe.validation {
            0.0 => (train, None),
            share => {
                let (train, validation) = Subset::divided(train, share, recipe.seed)?;
                (Arc::new(train), Some(Arc::new(validation)))
            }
        };
        let examples =
            u32::try_from(train.len()).map_err(|_| Error::Argument("more than 2³² images".into()))?;
        if examples == 0 {
            return Err(Error::Argument("training needs images".into()));
        }
        let measured = match recipe.measured {
            0 => train.clone(),
            most => Arc::new(Subset::first(train.clone(), most)),
        };
        let test = validation.is_none().then_some(test);
        let epochs = Epochs { examples, batch: recipe.batch, seed: recipe.seed, whole: false };
        // The book counts whole batches only.
        let drawn = recipe.iters.is_some();
        let epoch = if drawn { (examples as usize / recipe.batch).max(1) } else { epochs.batches() } as u64;
        let steps = recipe.iters.unwrap_or_else(|| recipe.epochs.unwrap_or(1).saturating_mul(epoch));
        let (schedule, plateau) = recipe.rates(epoch, steps)?;

        let mut model = Model::new(recipe)?;
        if recipe.normalize {
            measure(&mut model, &*train)?;
        }
        let parameters = model.parameters();
        let (mut weights, mut others) =
            (Group { decay: recipe.decay(), ..Group::default() }, Group::default());
        for &parameter in &parameters {
            let group =
                if model.states.get(parameter)?.shape().len() > 1 { &mut weights } else { &mut others };
            group.parameters.push(parameter);
        }
        let mut optimizer = Optimizer::boxed(&mut model.states, recipe.rule()?, [weights, others])?;
        if let Some(clip) = recipe.clip()? {
            optimizer = optimizer.with_clip(clip);
        }
        let average = match recipe.ema {
            0.0 => None,
            // Statistics too: those of one model are none of another.
            decay => {
                let averaged: Vec<State> = optimizer.parameters().into_iter().chain(model.moving()).collect();
                Some(Average::new(&mut model.states, &averaged, decay)?)
            }
        };
        let batches = Arc::new(Batches::new(train, epochs, drawn, recipe.augment()?));
        Ok(Self {
            recipe: recipe.clone(),
            model,
            optimizer,
            average,
            schedule,
            plateau,
            splits: Splits { measured, validation, test },
            ahead: batches.clone().ahead(0, steps, threads),
            batches,
            last: None,
            programs: Vec::new(),
            threads,
            epoch,
            steps,
            data,
            step: 0,
            recent: (0.0, 0),
            best: None,
            waited: 0,
            history: Vec::new(),
            stepping: Duration::ZERO,
        })
    }

    /// The model on its way.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The CRC-32 of the data, as files tell it.
    pub fn data_checksum(&self) -> String {
        format!("{:08x}", self.data)
    }

    /// How it is trained.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Steps made so far.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    /// Steps that the recipe asks for.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps of an epoch.
    pub fn steps_of_an_epoch(&self) -> u64 {
        self.epoch
    }

    /// Time spent in steps alone, here and not before the training was taken up again.
    pub fn time_in_steps(&self) -> Duration {
        self.stepping
    }

    /// All evaluations so far.
    pub fn history(&self) -> &[Point] {
        &self.history
    }

    /// The best of them on the validation split.
    pub fn best(&self) -> Option<Best> {
        self.best.as_ref().map(|(best, _)| *best)
    }

    /// Whether all steps are made, or the model has not become better for as long as the recipe has patience.
    pub fn is_done(&self) -> bool {
        let patience = self.recipe.patience;
        self.step >= self.steps || (patience > 0 && self.waited >= patience)
    }

    /// The learning rate of the next step.
    fn learning_rate(&self) -> f64 {
        self.rate(self.step)
    }

    fn rate(&self, step: u64) -> f64 {
        let lowered = self.plateau.as_ref().map_or(1.0, |plateau| plateau.total);
        self.recipe.lr * self.schedule.factor(step as usize) * lowered
    }

    /// Trains to the end, or until the callback asks for a break: it is told of each evaluation, and then of each step, behind which all is in a state that can be [saved](Self::save). An
    /// error where the loss is no longer finite.
    pub fn run<E: From<Error>>(
        &mut self,
        mut watch: impl FnMut(&Self, Progress<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        while !self.is_done() {
            let began = Instant::now();
            let made = self.step();
            if made.is_err() {
                // Whoever tries again meets the same batch.
                self.ahead = self.batches.clone().ahead(self.step, self.steps, self.threads);
            }
            let loss = made?;
            self.stepping += began.elapsed();
            let step = self.step;
            let evaluated = self.is_due();
            if evaluated {
                self.evaluate()?;
            }
            let mut flow = ControlFlow::Continue(());
            if let Some(point) = self.history.last().filter(|_| evaluated) {
                flow = watch(self, Progress::Evaluated(point))?;
            }
            let asked = watch(self, Progress::Step { step, loss })?;
            if flow.is_break() || asked.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the model is to be evaluated behind this step: once an epoch (of several, where there would be more than 200), and at the end.
    fn is_due(&self) -> bool {
        let every = match self.recipe.evaluate_every {
            0 => self.epoch.saturating_mul(self.steps.div_ceil(MOST_EVALUATIONS).div_ceil(self.epoch)),
            every => every,
        };
        // The book evaluates after the first step of an epoch.
        let book = self.recipe.iters.is_some() && self.recipe.evaluate_every == 0;
        let done = if book { self.step - 1 } else { self.step };
        done.is_multiple_of(every) || self.step == self.steps
    }

    /// Makes one step, and returns the loss of its batch before it.
    fn step(&mut self) -> Result<f64> {
        let batch = self.ahead.next().ok_or_else(|| Error::Argument("all steps are made".into()))??;
        let rate = self.learning_rate();
        let key = self.key();
        let at = self.prepared(batch.labels.len())?;
        let (program, workspace) = &mut self.programs[at].step;
        let inputs = (&batch.images, &batch.labels, &rate, &key);
        let loss = program.run(workspace, &mut self.model.states, inputs)?.scalar(0)?;
        self.last = Some(batch);
        self.step += 1;
        self.finite(loss, "the loss of the batch")?;
        self.recent = (self.recent.0 + loss, self.recent.1.saturating_add(1));
        Ok(loss)
    }

    /// For what is random in the next step.
    fn key(&self) -> i64 {
        mixed(mixed(self.recipe.seed ^ 0x6b65_7973) ^ self.step) as i64
    }

    fn finite(&self, number: f64, what: &str) -> Result<()> {
        if number.is_finite() {
            return Ok(());
        }
        Err(Error::Argument(format!(
            "{what} is {number} at step {}: the learning rate {} may be too high",
            self.step, self.recipe.lr
        )))
    }

    /// Where the programs for a size of batch are.
    fn prepared(&mut self, size: usize) -> Result<usize> {
        if let Some(at) = self.programs.iter().position(|prepared| prepared.size == size) {
            return Ok(at);
        }
        let program = self.program(size)?;
        let workspace = program.workspace_on(self.threads)?;
        self.programs.push(Prepared { size, step: (program, workspace), norm: None });
        Ok(self.programs.len() - 1)
    }

    /// Records the loss of a batch, whose images, labels, rate and key are inputs.
    fn loss<'t>(&self, t: &'t Recorder, size: usize) -> (Var<'t>, Var<'t>) {
        let images = t.input(DType::U8, [size, self.model.inputs]);
        let labels = t.input(DType::U32, [size]);
        let rate = t.input(DType::F64, []);
        let training = Training::new(t, t.input(DType::I64, []));
        let logits = self.model.stack.training(&training, self.model.pixels(t, images));
        let smoothing = self.recipe.label_smoothing;
        let loss = t.scope("loss", || match smoothing {
            0.0 => logits.cross_entropy(labels),
            _ => logits.cross_entropy_with(labels, None, smoothing),
        });
        (loss, rate)
    }

    /// The program of a step: it updates all states, and returns the loss before that.
    pub fn program(&self, batch: usize) -> Result<Program> {
        Ok(Program::record(&self.model.states, |t| {
            let (loss, rate) = self.loss(t, batch);
            let next = self.optimizer.update(t, loss, rate)?;
            if let Some(average) = &self.average {
                let statistics = self.model.moving().into_iter().map(|kept| t.state(kept));
                average.update(t, &next.into_iter().chain(statistics).collect::<Vec<_>>())?;
            }
            t.outputs(loss)
        })?)
    }

    /// The program of a step, and what each of its calls took on the first batch, behind a run that touches all memory.
    pub fn profile(&self) -> Result<(Program, Profile)> {
        let batch = self.batches.batch(0)?;
        let program = self.program(batch.labels.len())?;
        let mut workspace = program.workspace_on(self.threads)?;
        let mut states = self.model.states.clone();
        let inputs = (&batch.images, &batch.labels, &self.recipe.lr, &self.key());
        program.run(&mut workspace, &mut states, inputs)?;
        let profile = program.profile(&mut workspace, &mut states, inputs)?;
        Ok((program, profile))
    }

    /// The root of the sum of squares of the gradient on the last batch, by the weights as they are now.
    fn gradient_norm(&mut self) -> Result<f64> {
        let Some(batch) = self.last.take() else { return Ok(0.0) };
        let size = batch.labels.len();
        let at = self.prepared(size)?;
        if self.programs[at].norm.is_none() {
            let program = Program::record(&self.model.states, |t| {
                let (loss, _) = self.loss(t, size);
                let parameters: Vec<Var<'_>> =
                    self.optimizer.parameters().into_iter().map(|w| t.state(w)).collect();
                let found = loss.gradients(parameters.clone());
                let gradients: Vec<Var<'_>> = parameters.iter().map(|&w| found[w]).collect();
                t.outputs(norm(&gradients).unwrap_or_else(|| t.constant(0.0)))
            })?;
            let workspace = program.workspace_on(self.threads)?;
            self.programs[at].norm = Some((program, workspace));
        }
        let (rate, key) = (self.learning_rate(), self.key());
        let Some((program, workspace)) = &mut self.programs[at].norm else { return Ok(0.0) };
        // Statistics that this pass would move are moved in a copy.
        let mut states = self.model.states.clone();
        let inputs = (&batch.images, &batch.labels, &rate, &key);
        let found = program.run(workspace, &mut states, inputs)?.scalar(0)?;
        self.last = Some(batch);
        Ok(found)
    }

    /// The states as they are evaluated and kept: with the averages of the weights where there are any.
    fn shown(&self) -> Result<States> {
        let mut states = self.model.states.clone();
        if let Some(average) = &self.average {
            let averaged = self.optimizer.parameters().into_iter().chain(self.model.moving());
            for (state, &kept) in averaged.zip(average.states()) {
                states.set(state, self.model.states.get(kept)?.clone())?;
            }
        }
        Ok(states)
    }

    fn evaluate(&mut self) -> Result<()> {
        let shown = self.shown()?;
        let on = |examples: &dyn Examples, of: &str| -> Result<Evaluation> {
            let found = self.model.evaluate_with(&shown, examples, self.threads)?;
            self.finite(found.loss, &format!("the loss of {of}"))?;
            Ok(found)
        };
        let train = Measure::from(&on(&self.splits.measured, "the images to train with")?);
        let other = |examples: &Option<Arc<dyn Examples>>, of: &str| -> Result<Option<Measure>> {
            Ok(match examples {
                Some(examples) => Some(Measure::from(&on(examples, of)?)),
                None => None,
            })
        };
        let validation = other(&self.splits.validation, "the images to validate")?;
        let test = other(&self.splits.test, "the images to test")?;
        let lr = self.rate(self.step.saturating_sub(1));
        if let Some(found) = validation {
            self.choose(found, &shown)?;
        }
        let (sum, count) = std::mem::take(&mut self.recent);
        let (step, epoch) = (self.step, self.step as f64 / self.epoch as f64);
        let gradient_norm = self.gradient_norm()?;
        self.finite(gradient_norm, "the norm of the gradient")?;
        let loss = sum / count.max(1) as f64;
        self.history.push(Point { step, epoch, loss, lr, gradient_norm, train, validation, test });
        Ok(())
    }

    /// Keeps the model if it is the best so far on the validation split: the most accurate, among equals the one of the smallest loss.
    fn choose(&mut self, found: Measure, shown: &States) -> Result<()> {
        if let Some(plateau) = &mut self.plateau {
            plateau.observe(found.loss);
        }
        let better = self.best.as_ref().is_none_or(|(best, _)| {
            let Measure { accuracy, loss } = best.validation;
            found.accuracy > accuracy || (found.accuracy == accuracy && found.loss < loss)
        });
        if !better {
            self.waited = self.waited.saturating_add(1);
            return Ok(());
        }
        let tensors = self.model.tensors().into_iter().map(|state| Ok((state, shown.get(state)?.clone())));
        let best = Best { step: self.step, validation: found };
        self.best = Some((best, tensors.collect::<Result<_>>()?));
        self.waited = 0;
        Ok(())
    }

    /// The model that the training has come to: the best on the validation split, where there is one, else the last.
    pub fn result(&self) -> Result<Model> {
        let mut model = Model::blank(&self.recipe, usize::MAX)?;
        let shown = self.shown()?;
        for state in self.model.tensors() {
            let kept = self.best.as_ref().and_then(|(_, kept)| kept.iter().find(|(of, _)| *of == state));
            let value = kept.map_or_else(|| shown.get(state), |(_, value)| Ok(value))?.clone();
            let name = self.model.states.name(state).unwrap_or_default();
            if let Some(own) = model.states.find(name) {
                model.states.set(own, value)?;
            }
        }
        Ok(model)
    }
}

/// Sets the mean and deviation of the layer that normalizes, of all pixels as numbers of 0 … 1: from counts, so that no order of adding matters.
fn measure(model: &mut Model, examples: &dyn Examples) -> Result<()> {
    let mut counts = [0u64; 256];
    let mut pixels = vec![0; model.inputs];
    for number in 0..examples.len() {
        examples.example(number, &mut pixels)?;
        pixels.iter().for_each(|&p| counts[p as usize] += 1);
    }
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let mean_of = |f: &dyn Fn(f64) -> f64| {
        counts.iter().enumerate().map(|(p, &n)| n as f64 * f(p as f64 / 255.0)).sum::<f64>() / all
    };
    let mean = mean_of(&|x| x);
    let deviation = mean_of(&|x| (x - mean) * (x - mean)).sqrt().max(1e-6);
    for (name, value) in [("normalize.mean", mean), ("normalize.deviation", deviation)] {
        if let Some(state) = model.states.find(name) {
            let ty = model.states.get(state)?.ty();
            model.states.set(state, Tensor::filled(ty, value)?)?;
        }
    }
    Ok(())
}
