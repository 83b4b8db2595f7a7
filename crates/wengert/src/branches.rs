//! Functions that branch on numbers: a program for each way through them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{ErrorKind, Result};
use crate::ir::{Recorder, States, Var};
use crate::program::Program;
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// What a [`Branches`] does where no program that it has fits: a [branch](Var::decide) goes another way, or the types of the inputs are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchPolicy {
    /// It is an error: of the [guard](ErrorKind::Guard), or of the types.
    Error,
    /// The function is recorded anew, in place of what was there.
    Record,
    /// The function is recorded anew and so many programs are kept, those that were used last: one for each outcome.
    Keep(usize),
}

/// A recorded function: what it was recorded for, and the program.
type Known = (Vec<TensorType>, Arc<Program>);

type Record = dyn for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Result<Vec<Var<'t>>> + Send + Sync;

/// A function that may branch on numbers, look at them, and be called with arrays of different shapes: each way through it is recorded once, when it is
/// first taken, and from then on run as a program. It may be shared among threads.
///
/// ```
/// use wengert::{Branches, BranchPolicy, Tensor};
/// // Newton's steps to a root, until they are small.
/// let root = Branches::new(BranchPolicy::Keep(8), |t, x| {
///     let mut y = t.constant(1.0);
///     for _ in 0..50 {
///         let next = (y + x[0] / y) * 0.5;
///         let done = (next - y).abs().lt(1e-12).decide()?;
///         y = next;
///         if done {
///             break;
///         }
///     }
///     Ok(vec![y, y.gradients(x[0])[x[0]]])
/// });
/// let found = root.call(&[Tensor::scalar(4.0)])?;
/// assert_eq!((found[0].item()?, found[1].item()?), (2.0, 0.25));
/// // As many steps: the same program. More of them: another one.
/// root.call(&[Tensor::scalar(4.0001)])?;
/// assert_eq!(root.programs(), 1);
/// root.call(&[Tensor::scalar(1e6)])?;
/// assert_eq!(root.programs(), 2);
/// # Ok::<(), wengert::Error>(())
/// ```
pub struct Branches {
    record: Box<Record>,
    policy: BranchPolicy,
    /// What was used last comes first.
    known: Mutex<Vec<Known>>,
}

impl fmt::Debug for Branches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Branches").field("policy", &self.policy).field("programs", &self.programs()).finish()
    }
}

impl Branches {
    /// A function of arrays, which says what it returns. Nothing is recorded yet. To look at a [value](Var::value) without a branch is an error: what is
    /// recorded would hold for that value alone.
    pub fn new(
        policy: BranchPolicy,
        f: impl for<'t> Fn(&'t Recorder, &[Var<'t>]) -> Result<Vec<Var<'t>>> + Send + Sync + 'static,
    ) -> Self {
        Self { record: Box::new(f), policy, known: Mutex::default() }
    }

    /// The results for these arrays. An error of the function while it is recorded is returned; so is that of a run, but for
    /// guards, which the [`BranchPolicy`] decides.
    pub fn call(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let types: Vec<TensorType> = inputs.iter().map(Tensor::ty).collect();
        let known: Vec<Known> = self.lock().clone();
        let mut refused = None;
        for (of, program) in known.iter().filter(|(of, _)| *of == types) {
            match run(program, inputs) {
                Err(e) if matches!(e.kind(), ErrorKind::Guard { .. }) => refused = Some(e),
                outcome => {
                    self.used(of.clone(), program.clone());
                    return outcome;
                }
            }
        }
        if self.policy == BranchPolicy::Error && !known.is_empty() {
            return Err(refused.unwrap_or_else(|| {
                let list = |types: &[TensorType]| {
                    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let first = known.first().map_or_else(String::new, |(of, _)| list(of));
                ErrorKind::Argument(format!("a function recorded for {first}, called with {}", list(&types)))
                    .into()
            }));
        }
        let recorder = Recorder::new(&States::new()).strict();
        let x: Vec<Var<'_>> = inputs.iter().map(|x| recorder.input_with(x)).collect();
        let program = Arc::new(recorder.program((self.record)(&recorder, &x)?)?);
        let outcome = run(&program, inputs);
        self.used(types, program);
        outcome
    }

    /// How many programs there are.
    pub fn programs(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a program first, and forgets those that are too many.
    fn used(&self, types: Vec<TensorType>, program: Arc<Program>) {
        let mut known = self.lock();
        known.retain(|(_, other)| !Arc::ptr_eq(other, &program));
        known.insert(0, (types, program));
        known.truncate(match self.policy {
            BranchPolicy::Error | BranchPolicy::Record => 1,
            BranchPolicy::Keep(most) => most.max(1),
        });
    }
}

fn run(program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let called = program.call(inputs)?;
    (0..program.tape().outputs().len()).map(|i| called.tensor(i)).collect()
}
