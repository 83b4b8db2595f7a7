//! A plan: what to compute when, and where everything lies.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::cpu::{Code, Strides};
use super::folds::Fold;
use super::rows::Rows;
use crate::dtype::DType;
use crate::error::Result;
use crate::ir::UsedState;
use crate::kernels::{Isa, Single};
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// Where the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// At this byte of the arena.
    Arena(usize),
    /// At this byte of the computing thread's own memory, which holds only the part that is being
    /// computed: one tile of a pass, or all of a panel.
    Local { offset: usize, tile: bool },
    /// In the array bound to this input.
    Input(usize),
    /// In the array of this one of the plan's states.
    State(usize),
    /// In this constant of the plan.
    Constant(usize),
    /// Anywhere in a constant whose elements are all the same.
    Fill(usize),
}

/// An array: where it is and what it is.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) ty: Arc<TensorType>,
    /// Elements in memory: others than the type's where an operand is read through another row.
    pub(super) len: usize,
    /// The slot of the array whose memory this is, under another name perhaps.
    pub(super) root: u32,
}

impl Slot {
    pub(super) fn new(place: Place, ty: TensorType) -> Self {
        Self { place, ty: Arc::new(ty), len: ty.shape.elements(), root: 0 }
    }
}

/// What a step reads or writes of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) slot: u32,
    /// Elements for each unit of the stage; `None` for the whole array, or where there are none.
    pub(super) unit: Option<NonZeroUsize>,
}

/// What a step does.
#[derive(Clone)]
pub(super) enum Action {
    /// Computes blocks of a row, of an op of this name.
    Compute(Arc<Code>, &'static str),
    /// Makes pieces of the layout of an operand that a row's code announced.
    Prepare(Arc<Code>, &'static str, usize),
    /// Compares a predicate with the recorded outcome.
    Guard { recorded: bool },
    /// Computes a row on slabs of its operands, and adds up parts of the result.
    Fold(Box<Fold>),
    /// Adds up the parts of a fold.
    Join,
    /// Copies elements.
    Copy,
}

impl Action {
    /// The code that it runs, if that is a row's.
    pub(super) fn code(&self) -> Option<&Code> {
        match self {
            Self::Compute(code, _) | Self::Prepare(code, ..) => Some(code),
            Self::Fold(fold) => Some(&fold.code),
            Self::Guard { .. } | Self::Join | Self::Copy => None,
        }
    }

    /// Whether it is a product of matrices.
    pub(super) fn multiplies(&self) -> bool {
        match self {
            Self::Compute(code, _) => matches!(**code, Code::Contract(_)),
            Self::Fold(fold) => matches!(*fold.code, Code::Contract(_)),
            _ => false,
        }
    }

    /// What it does, for people.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Compute(_, name) => (*name).into(),
            Self::Prepare(_, name, _) => format!("pack for {name}").into(),
            Self::Guard { .. } => "guard".into(),
            Self::Fold(fold) => format!("{} by parts", fold.name).into(),
            Self::Join => "sum of parts".into(),
            Self::Copy => "copy".into(),
        }
    }
}

/// One kernel call for each tile.
pub(super) struct Step {
    pub(super) action: Action,
    /// The row of the tape, to blame for faults.
    pub(super) row: u32,
    pub(super) operands: SmallVec<[View; 3]>,
    /// Of operands that are read where they lie, transposed say.
    pub(super) strides: Option<Box<[Option<Box<Strides>>]>>,
    pub(super) results: SmallVec<[View; 1]>,
    pub(super) prepared: Option<u32>,
    /// By what the numbers in the results' place are multiplied before the results are added to them.
    pub(super) beta: f64,
    /// By what the results are multiplied before that.
    pub(super) alpha: f64,
    /// The operand that lies where the first result does: asked of the kernel when planned, and never again.
    pub(super) onto: Option<u8>,
    /// Whether every tile of a panel has the same result, so that the first one's is made for all.
    pub(super) once: bool,
    /// Whether NaNs of the results are made canonical: those of outputs and states.
    pub(super) canonical: bool,
    /// Blocks for each unit of the stage.
    pub(super) blocks: usize,
    pub(super) scratch: usize,
}

/// Steps that one thread runs tile by tile: what one makes, the next finds in its cache.
pub(super) struct Pass {
    pub(super) body: Body,
    /// Units of a tile.
    pub(super) tile: usize,
    /// Whether no tile goes beyond the end of a segment of the units, because something is folded.
    pub(super) folds: bool,
}

/// What a pass runs.
pub(super) enum Body {
    Steps(Range<usize>),
    /// Steps in brief, where all of them are maps of small arrays by one primitive.
    Lines(Range<usize>),
}

/// A step of one primitive on arrays that lie in the arena, or in the memory of the first thread, in few bytes:
/// a program of small arrays is as fast as its steps can be read.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// The row of the tape.
    pub(super) row: u32,
    /// Position among the plan's functions.
    pub(super) function: u32,
    /// Elements.
    pub(super) len: u32,
    /// Where the result and the operands of the primitive lie, but for constants, in units of eight bytes.
    pub(super) out: u32,
    pub(super) x: [u32; 3],
}

impl Line {
    /// Bytes that it reads and writes, and the function.
    pub(super) fn bytes<'a>(&self, plan: &'a Plan) -> (usize, &'a Function) {
        let function = &plan.functions[self.function as usize];
        (self.len as usize * function.bytes(), function)
    }
}

/// A step or a line of a plan, and its position among those.
pub(super) enum Said<'a> {
    Step(usize, &'a Step),
    Line(usize, &'a Line),
}

/// What places of lines are counted in: everything in the arena is aligned to it.
pub(super) const WORD: usize = 8;

/// A function that lines apply: the only primitive of a body.
pub(super) struct Function {
    pub(super) single: Single,
    /// What it belongs to: its constants lie there.
    pub(super) code: Arc<Code>,
    pub(super) name: &'static str,
}

impl Function {
    /// Bytes of the elements that it reads and writes at a time.
    pub(super) fn bytes(&self) -> usize {
        self.single.bytes.into_iter().chain([self.single.result]).map(usize::from).sum()
    }
}

/// Passes over the same units: equal slabs of all arrays that they read and write in part.
pub(super) struct Stage {
    pub(super) units: usize,
    /// In how many panels the units are computed: by shapes alone, so that the bits are the same for any
    /// number of threads.
    pub(super) panels: usize,
    pub(super) passes: Range<usize>,
}

/// Stages that do not depend on one another: their panels are shared among the threads.
pub(super) struct Round {
    pub(super) stages: Range<usize>,
    pub(super) panels: usize,
}

/// Rounds of stages of passes of steps, and the memory that they work on.
pub(crate) struct Plan {
    pub(super) isa: Isa,
    /// What to do instead of rounds, in a trivial plan.
    pub(super) by_rows: Option<Rows>,
    pub(super) rounds: Vec<Round>,
    pub(super) stages: Vec<Stage>,
    pub(super) passes: Vec<Pass>,
    pub(super) steps: Vec<Step>,
    pub(super) lines: Vec<Line>,
    pub(super) functions: Vec<Function>,
    /// The byte before which all that lines touch lies.
    pub(super) reach: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) constants: Vec<Constant>,
    /// The arrays of the constants, made with the first workspace.
    arrays: OnceLock<Vec<Arc<Tensor>>>,
    /// Types of the inputs, by position.
    pub(super) inputs: Vec<TensorType>,
    /// The states read or written.
    pub(super) states: Vec<UsedState>,
    /// Those that steps write in place.
    pub(super) stored: Vec<usize>,
    /// The next values of the others that change, copied at the end.
    pub(super) commits: Vec<(usize, Slot)>,
    pub(super) outputs: Vec<Slot>,
    /// Bytes of the arena. Behind them each thread has `local` bytes and `scratch` bytes of its own.
    pub(super) arena: usize,
    pub(super) local: usize,
    pub(super) scratch: usize,
}

impl Plan {
    /// A plan without steps.
    pub(super) fn empty(isa: Isa, inputs: &[TensorType], states: &[UsedState]) -> Self {
        Self {
            isa,
            by_rows: None,
            rounds: Vec::new(),
            stages: Vec::new(),
            passes: Vec::new(),
            steps: Vec::new(),
            lines: Vec::new(),
            functions: Vec::new(),
            reach: 0,
            slots: Vec::new(),
            constants: Vec::new(),
            arrays: OnceLock::new(),
            inputs: inputs.to_vec(),
            states: states.to_vec(),
            stored: Vec::new(),
            commits: Vec::new(),
            outputs: Vec::new(),
            arena: 0,
            local: 0,
            scratch: 0,
        }
    }

    /// Adds a step to the last pass, if that is one of those from `begin` on and has steps; to a new one otherwise.
    pub(super) fn step(&mut self, begin: usize, (tile, folds): (usize, bool), step: Step) {
        self.steps.push(step);
        let end = self.steps.len();
        match self.passes[begin..].last_mut() {
            Some(Pass { body: Body::Steps(steps), .. }) => steps.end = end,
            _ => self.passes.push(Pass { body: Body::Steps(end - 1..end), tile, folds }),
        }
    }

    /// The same for a line.
    pub(super) fn line(&mut self, begin: usize, line: Line) {
        self.lines.push(line);
        let end = self.lines.len();
        match self.passes[begin..].last_mut() {
            Some(Pass { body: Body::Lines(lines), .. }) => lines.end = end,
            _ => self.passes.push(Pass { body: Body::Lines(end - 1..end), tile: 1, folds: false }),
        }
    }

    /// All steps and lines in the order of the plan.
    pub(super) fn walk(&self) -> impl Iterator<Item = (&Stage, &Pass, Said<'_>)> {
        let passes =
            self.stages.iter().flat_map(|s| self.passes[s.passes.clone()].iter().map(move |p| (s, p)));
        passes.flat_map(move |(stage, pass)| {
            let (range, steps) = match &pass.body {
                Body::Steps(steps) => (steps.clone(), true),
                Body::Lines(lines) => (lines.clone(), false),
            };
            range.map(move |at| {
                let said =
                    if steps { Said::Step(at, &self.steps[at]) } else { Said::Line(at, &self.lines[at]) };
                (stage, pass, said)
            })
        })
    }

    /// Whether a run writes states.
    pub(crate) fn updates(&self) -> bool {
        !(self.stored.is_empty() && self.commits.is_empty())
    }

    /// Bytes of a workspace for so many threads.
    pub(crate) fn workspace_bytes(&self, threads: usize) -> usize {
        (self.local + self.scratch).saturating_mul(threads).saturating_add(self.arena)
    }

    /// Bytes of the constants that all workspaces share.
    pub(crate) fn constant_bytes(&self) -> usize {
        self.constants.iter().map(Constant::bytes).fold(0, usize::saturating_add)
    }

    /// Makes the arrays of the constants, if they are not there yet.
    pub(super) fn prepare(&self) -> Result<&[Arc<Tensor>]> {
        if self.arrays.get().is_none() {
            let make = |c: &Constant| match c {
                Constant::Array(tensor) => Ok(tensor.clone()),
                Constant::Fill { value, dtype, len } => {
                    let shape = crate::shape::Shape::new(&[*len])?;
                    Tensor::filled(TensorType::new(*dtype, shape), *value).map(Arc::new)
                }
            };
            let arrays = self.constants.iter().map(make).collect::<Result<_>>()?;
            // Another thread may have been faster with the same arrays.
            let _ = self.arrays.set(arrays);
        }
        Ok(self.arrays.get().map_or(&[], Vec::as_slice))
    }
}

/// An array that is the same in every run.
pub(super) enum Constant {
    Array(Arc<Tensor>),
    /// So many times the same number: as many as any step reads at once.
    Fill {
        value: f64,
        dtype: DType,
        len: usize,
    },
}

impl Constant {
    fn bytes(&self) -> usize {
        match self {
            Self::Array(tensor) => tensor.ty().bytes(),
            Self::Fill { dtype, len, .. } => len.saturating_mul(dtype.bytes()),
        }
    }
}
