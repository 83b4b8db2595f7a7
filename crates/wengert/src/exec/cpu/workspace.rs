//! Running a plan: bind, compute, then write the states.

use std::sync::Arc;

use ndarray::{Array, Dimension};

use super::bind::{Inputs, bind, bind_in_place};
use super::interpret::{Interpreter, Spent};
use super::pool::Pool;
use crate::elements::{Element, Slice, with_dtype};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::frame::{Frame, LiveOut};
use crate::exec::graph::Home;
use crate::exec::memory::{Arena, Memory, Region};
use crate::exec::plan::Plan;
use crate::ir::{Names, States, Tape};
use crate::kernels::Isa;
use crate::shape::Shape;
use crate::tensor::{self, Tensor};

/// The most threads of a workspace: more than any machine it is meant for has.
const MOST_THREADS: usize = 1024;

/// Every byte that runs of one program need. Made by [`Program::workspace`](crate::Program::workspace);
/// one for each thread that runs the program.
pub struct Workspace {
    /// The plan it was made for, and no other.
    plan: Arc<Plan>,
    arena: Arena,
    /// Row-major copies of inputs that came in another layout.
    packed: Vec<Option<Tensor>>,
    /// Where everything lies during a run; what is bound is put in its place at the beginning of each.
    regions: Box<[Region]>,
    pool: Pool,
}

impl Workspace {
    pub(crate) fn new(plan: &Arc<Plan>, threads: usize) -> Result<Self> {
        if threads > MOST_THREADS {
            let kind =
                ErrorKind::Argument(format!("a workspace has at most {MOST_THREADS} threads, not {threads}"));
            return Err(kind.into());
        }
        let frame = plan.frame();
        let constants = frame.arrays()?;
        let mut arena = Arena::new(plan.workspace_bytes(threads))?;
        let packed = vec![None; frame.inputs.len()];
        let pool = Region::of_bytes(bytemuck::cast_slice(plan.pool()));
        let own =
            [arena.region(), pool].into_iter().chain(constants.iter().map(|c| Region::shared(c.data())));
        let regions = own.chain(std::iter::repeat(Region::NOWHERE)).take(frame.regions()).collect();
        Ok(Self { plan: plan.clone(), arena, packed, regions, pool: Pool::new(threads)? })
    }
}

impl Clone for Workspace {
    /// Another one for as many threads, as empty as a new one. Ends the process where memory is used up, as clones of vectors do; on
    /// fewer threads where no more can be had.
    fn clone(&self) -> Self {
        let bytes = self.plan.workspace_bytes(self.pool.threads());
        let alike = Self::new(&self.plan, self.pool.threads()).or_else(|_| Self::new(&self.plan, 1));
        alike.unwrap_or_else(|_| {
            let layout = std::alloc::Layout::array::<u8>(bytes).unwrap_or(std::alloc::Layout::new::<u8>());
            std::alloc::handle_alloc_error(layout)
        })
    }
}

/// The store a run reads from, and writes to if it may.
pub(crate) enum Store<'a> {
    Shared(&'a States),
    Exclusive(&'a mut States),
}

impl Store<'_> {
    fn states(&self) -> &States {
        match self {
            Self::Shared(states) => states,
            Self::Exclusive(states) => states,
        }
    }
}

/// What a run returned, in the workspace until the next run.
pub struct Results<'w> {
    arena: &'w Arena,
    outputs: &'w [LiveOut],
    names: &'w Names,
}

/// What names an output: its position, or the name that it was [given](crate::Var::named).
pub trait OutputKey: Copy + std::fmt::Debug {
    /// The position, where names are found by `named`.
    fn position(self, named: &mut dyn FnMut(&str) -> Option<usize>) -> Option<usize>;
}
impl OutputKey for usize {
    fn position(self, _: &mut dyn FnMut(&str) -> Option<usize>) -> Option<usize> {
        Some(self)
    }
}
impl OutputKey for &str {
    fn position(self, named: &mut dyn FnMut(&str) -> Option<usize>) -> Option<usize> {
        named(self)
    }
}

impl<'w> Results<'w> {
    #[inline]
    fn live_out(&self, key: impl OutputKey) -> Result<&'w LiveOut> {
        let names = &self.names.outputs;
        let found = key.position(&mut |name| names.iter().position(|n| n.as_deref() == Some(name)));
        found.and_then(|i| self.outputs.get(i)).ok_or_else(|| self.missing(&key))
    }

    #[cold]
    fn missing(&self, key: &dyn std::fmt::Debug) -> Error {
        let names: Vec<&str> = self.names.outputs.iter().flatten().map(|name| &**name).collect();
        let names = if names.is_empty() { String::new() } else { format!(" (named {})", names.join(", ")) };
        let count = self.outputs.len();
        ErrorKind::Argument(format!("there are {count} outputs{names}, none is {key:?}")).into()
    }

    #[inline]
    fn output(&self, key: impl OutputKey) -> Result<(&'w Shape, Slice<'w>)> {
        let LiveOut { offset, ty, .. } = self.live_out(key)?;
        Ok((&ty.shape, self.arena.slice(*offset, ty.dtype, ty.shape.elements())))
    }

    /// How many outputs there are.
    pub fn count(&self) -> usize {
        self.outputs.len()
    }

    /// The shape of output `i`.
    pub fn shape(&self, i: impl OutputKey) -> Result<Shape> {
        self.live_out(i).map(|out| out.ty.shape)
    }

    /// Output `i`, a single element, as f64.
    pub fn scalar(&self, i: impl OutputKey) -> Result<f64> {
        let LiveOut { offset, ty, .. } = self.live_out(i)?;
        let len = ty.shape.elements();
        with_dtype!(ty.dtype, T => match self.arena.part::<T>(*offset, len) {
            [only] => Ok(only.to_f64()),
            _ => tensor::item(&ty.shape, self.arena.slice(*offset, ty.dtype, len)),
        })
    }

    /// The row-major elements of output `i`. An error where `T` is not its element type.
    pub fn slice<T: Element>(&self, i: impl OutputKey) -> Result<&'w [T]> {
        tensor::typed(self.output(i)?.1)
    }

    /// Output `i` as an `ndarray` view. An error where `T` is not its element type.
    pub fn view<T: Element>(&self, i: impl OutputKey) -> Result<ndarray::ArrayViewD<'w, T>> {
        let (shape, data) = self.output(i)?;
        tensor::view(shape, data)
    }

    /// Output `i`, a single element of this type. An error where `T` is not its element type.
    pub fn item<T: Element>(&self, i: impl OutputKey) -> Result<T> {
        let (shape, data) = self.output(i)?;
        tensor::only(shape, data)
    }

    /// A copy of output `i` as an `ndarray` array of this number of axes. An error where the element type is another, or the number of
    /// axes.
    pub fn array<T: Element, D: Dimension>(&self, i: impl OutputKey) -> Result<Array<T, D>> {
        let (shape, data) = self.output(i)?;
        tensor::array(shape, data)
    }

    /// A copy of output `i`.
    pub fn tensor(&self, i: impl OutputKey) -> Result<Tensor> {
        let LiveOut { offset, ty, .. } = self.live_out(i)?;
        let mut copy = Tensor::filled(*ty, 0.0)?;
        copy.data_mut().copy_from(self.arena.slice(*offset, ty.dtype, ty.shape.elements()));
        Ok(copy)
    }
}

/// Runs a plan. A run that returns an error has changed no state.
pub(crate) fn run<'w>(
    plan: &'w Arc<Plan>,
    tape: &Tape,
    names: &'w Names,
    workspace: &'w mut Workspace,
    mut store: Store<'_>,
    inputs: &dyn Inputs,
    clock: Option<&[Spent]>,
) -> Result<Results<'w>> {
    if !Arc::ptr_eq(plan, &workspace.plan) {
        return Err(ErrorKind::Argument("the workspace is that of another program".into()).into());
    }
    let frame = plan.frame();
    check_states(frame, store.states())?;
    let Workspace { arena, packed, regions, pool, .. } = workspace;
    let (to_inputs, to_states) = bound(frame, regions);
    bind(&frame.inputs, &names.inputs, packed, inputs, to_inputs)?;
    bind_states(frame, &mut store, to_states)?;
    let memory = Memory { frame, regions };
    let outcome = match &**plan {
        Plan::Rows(_, rows) => rows.run(&memory, tape),
        Plan::Tiled(_, plan) => Interpreter { plan, memory, clock }.run(pool),
    };
    if let Plan::Rows(..) = &**plan {
        for LiveOut { offset, ty, .. } in &frame.outputs {
            arena.slice_mut(*offset, ty.dtype, ty.shape.elements()).canonicalise();
        }
    }
    outcome.map_err(|(row, kind)| tape.blame(&tape.rows()[row as usize], kind))?;
    if let Store::Exclusive(states) = &mut store {
        commit(frame, arena, states)?;
    }
    Ok(Results { arena, outputs: &frame.outputs, names })
}

/// The same for a program without states, on inputs that lie as they should: such programs are called millions of times. `false` where it
/// is not so, or something failed.
#[inline]
pub(crate) fn run_small(plan: &Arc<Plan>, workspace: &mut Workspace, inputs: &dyn Inputs) -> bool {
    let Plan::Tiled(frame, tiled) = &**plan else { return false };
    let Workspace { plan: own, regions, pool, .. } = workspace;
    let fits = frame.states.is_empty() && Arc::ptr_eq(plan, own);
    if !fits || !bind_in_place(&frame.inputs, inputs, bound(frame, regions).0) {
        return false;
    }
    let interpreter = Interpreter { plan: tiled, memory: Memory { frame, regions }, clock: None };
    if tiled.calls.is_empty() { interpreter.small().is_ok() } else { interpreter.run(pool).is_ok() }
}

/// Where inputs are bound, and states.
#[inline]
fn bound<'r>(frame: &Frame, regions: &'r mut [Region]) -> (&'r mut [Region], &'r mut [Region]) {
    let (_, bound) = regions.split_at_mut(frame.region(Home::Input(0)));
    bound.split_at_mut(frame.inputs.len())
}

/// The results of the last run in a workspace.
pub(crate) fn read<'w>(plan: &'w Plan, names: &'w Names, workspace: &'w Workspace) -> Results<'w> {
    Results { arena: &workspace.arena, outputs: &plan.frame().outputs, names }
}

/// Lists where the states are: those that calls write in place exclusively.
fn bind_states(frame: &Frame, store: &mut Store<'_>, regions: &mut [Region]) -> Result<()> {
    if let Store::Exclusive(store) = store {
        // Arrays that snapshots share are copied before anything refers to them, and before anything is written.
        for used in frame.commits.iter().filter_map(|(k, _)| frame.states.get(*k)) {
            store.get_mut(used.index)?;
        }
    }
    for (region, used) in regions.iter_mut().zip(&frame.states) {
        *region = Region::shared(store.states().at(used.index)?.1.data());
    }
    if let Store::Exclusive(store) = store {
        for &k in &frame.donated {
            let Some(used) = frame.states.get(k) else { continue };
            regions[k] = Region::exclusive(&mut store.get_mut(used.index)?.data_mut());
        }
    }
    Ok(())
}

/// Copies the next values that were not written in place.
fn commit(frame: &Frame, arena: &Arena, states: &mut States) -> Result<()> {
    for (k, LiveOut { offset, ty, .. }) in &frame.commits {
        let Some(used) = frame.states.get(*k) else { continue };
        let next = arena.slice(*offset, ty.dtype, ty.shape.elements());
        let mut state = states.get_mut(used.index)?.data_mut();
        if !state.copy_from(next) {
            return Err(ErrorKind::Malformed("a next value that does not fit its state".into()).into());
        }
        state.canonicalise();
    }
    Ok(())
}

/// The error of the first row of a tape that fails on these inputs, if one does: that of a run row by row. Plans that
/// compute rows in another order ask for it when something failed.
pub(crate) fn first_fault(tape: &Tape, names: &Names, states: &States, inputs: &dyn Inputs) -> Option<Error> {
    let plan = Arc::new(Plan::rows(tape, Isa::best()).ok()?);
    let mut workspace = Workspace::new(&plan, 1).ok()?;
    let outcome = run(&plan, tape, names, &mut workspace, Store::Shared(states), inputs, None);
    outcome.err().filter(|e| matches!(e.kind(), ErrorKind::Fault(_) | ErrorKind::Guard { .. }))
}

fn check_states(frame: &Frame, states: &States) -> Result<()> {
    for used in &frame.states {
        let (name, found) = states.at(used.index).map(|(name, value)| (name, value.ty()))?;
        if found != used.ty || name != &*used.name {
            return Err(ErrorKind::State(format!(
                "the program was recorded with the state {} {} in this place, the store has {name} {found}",
                used.name, used.ty
            ))
            .into());
        }
    }
    Ok(())
}
