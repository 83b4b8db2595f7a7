//! Running a plan: bind, compute, then write the states.

use std::sync::Arc;

use super::arena::{Arena, Block};
use super::compute::{Memory, Spent};
use super::plan::{Place, Plan, Slot};
use super::pool::Pool;
use crate::dtype::{Element, Slice};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{States, Tape};
use crate::kernels::Isa;
use crate::shape::Shape;
use crate::tensor::{self, Bind, Tensor};

/// What a run's arrays are bound from: a tuple of references to things that can be bound, or a slice
/// of such things.
pub trait Inputs {
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at this position.
    fn get(&self, i: usize) -> Option<&dyn Bind>;
}

impl Inputs for () {
    fn count(&self) -> usize {
        0
    }
    fn get(&self, _: usize) -> Option<&dyn Bind> {
        None
    }
}
impl<B: Bind> Inputs for &[B] {
    fn count(&self) -> usize {
        self.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        <[B]>::get(self, i).map(|b| b as &dyn Bind)
    }
}
impl Inputs for &[&dyn Bind] {
    fn count(&self) -> usize {
        self.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        <[&dyn Bind]>::get(self, i).copied()
    }
}
macro_rules! tuple_inputs {
    ($($B:ident $i:tt),+) => {
        impl<$($B: Bind),+> Inputs for ($(&$B,)+) {
            fn count(&self) -> usize {
                [$($i),+].len()
            }
            fn get(&self, i: usize) -> Option<&dyn Bind> {
                match i {
                    $($i => Some(self.$i),)+
                    _ => None,
                }
            }
        }
    };
}
tuple_inputs!(A 0);
tuple_inputs!(A 0, B 1);
tuple_inputs!(A 0, B 1, C 2);
tuple_inputs!(A 0, B 1, C 2, D 3);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5);

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
    /// Where everything lies during a run, kept so that the next need not allocate.
    blocks: Vec<Block>,
    pool: Pool,
}

impl Workspace {
    pub(crate) fn new(plan: &Arc<Plan>, threads: usize) -> Result<Self> {
        if threads > MOST_THREADS {
            let kind =
                ErrorKind::Argument(format!("a workspace has at most {MOST_THREADS} threads, not {threads}"));
            return Err(kind.into());
        }
        let constants = plan.prepare()?.len();
        let arena = Arena::new(plan.workspace_bytes(threads))?;
        let packed = vec![None; plan.inputs.len()];
        let blocks = Vec::with_capacity(1 + plan.inputs.len() + plan.states.len() + constants);
        Ok(Self { plan: plan.clone(), arena, packed, blocks, pool: Pool::new(threads)? })
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
    outputs: &'w [Slot],
}

impl<'w> Results<'w> {
    fn slot(&self, i: usize) -> Result<(Shape, Slice<'w>)> {
        match self.outputs.get(i) {
            Some(Slot { place: Place::Arena(offset), ty, len, .. }) => {
                Ok((ty.shape, self.arena.slice(*offset, ty.dtype, *len)))
            }
            _ => Err(ErrorKind::Argument(format!("there are {} outputs, no number {i}", self.outputs.len()))
                .into()),
        }
    }

    /// Output `i`, a single element, as f64.
    pub fn scalar(&self, i: usize) -> Result<f64> {
        let (shape, data) = self.slot(i)?;
        tensor::item(shape, data)
    }

    /// The row-major elements of output `i`. An error where `T` is not its element type.
    pub fn slice<T: Element>(&self, i: usize) -> Result<&'w [T]> {
        tensor::typed(self.slot(i)?.1)
    }

    /// Output `i` as an `ndarray` view. An error where `T` is not its element type.
    pub fn view<T: Element>(&self, i: usize) -> Result<ndarray::ArrayViewD<'w, T>> {
        let (shape, data) = self.slot(i)?;
        tensor::view(shape, data)
    }

    /// A copy of output `i`.
    pub fn tensor(&self, i: usize) -> Result<Tensor> {
        let (_, data) = self.slot(i)?;
        let mut copy = Tensor::filled(*self.outputs[i].ty, 0.0)?;
        copy.data_mut().copy_from(data);
        Ok(copy)
    }
}

/// Runs a plan. A run that returns an error has changed no state.
pub(crate) fn run<'w>(
    plan: &'w Arc<Plan>,
    tape: &Tape,
    workspace: &'w mut Workspace,
    mut store: Store<'_>,
    inputs: &dyn Inputs,
    clock: Option<&[Spent]>,
) -> Result<Results<'w>> {
    if !Arc::ptr_eq(plan, &workspace.plan) {
        return Err(ErrorKind::Argument("the workspace is that of another program".into()).into());
    }
    check_states(plan, store.states())?;
    let Workspace { arena, packed, blocks, pool, .. } = workspace;
    blocks.clear();
    blocks.push(arena.block());
    bind(plan, packed, inputs, blocks)?;
    if let Store::Exclusive(store) = &mut store {
        // Arrays that snapshots share are copied before anything refers to them, and before anything is written.
        for used in plan.commits.iter().filter_map(|(k, _)| plan.states.get(*k)) {
            store.get_mut(used.index)?;
        }
    }
    let states = blocks.len();
    for used in &plan.states {
        blocks.push(Block::shared(store.states().at(used.index)?.1.data()));
    }
    if let Store::Exclusive(store) = &mut store {
        for &k in &plan.stored {
            let Some(used) = plan.states.get(k) else { continue };
            blocks[states + k] = Block::exclusive(&mut store.get_mut(used.index)?.data_mut());
        }
    }
    blocks.extend(plan.prepare()?.iter().map(|c| Block::shared(c.data())));
    let memory = Memory { plan, blocks, states, constants: states + plan.states.len(), clock };
    let outcome = match &plan.by_rows {
        Some(rows) => memory.rows(rows, tape),
        None => memory.run(pool),
    };
    if plan.by_rows.is_some() {
        for slot in &plan.outputs {
            if let Place::Arena(offset) = slot.place {
                arena.slice_mut(offset, slot.ty.dtype, slot.len).canonicalise();
            }
        }
    }
    outcome.map_err(|(row, kind)| tape.blame(&tape.rows()[row as usize], kind))?;
    if let Store::Exclusive(states) = &mut store {
        for (k, slot) in &plan.commits {
            let (Place::Arena(offset), Some(used)) = (slot.place, plan.states.get(*k)) else { continue };
            let next = arena.slice(offset, slot.ty.dtype, slot.len);
            let mut state = states.get_mut(used.index)?.data_mut();
            if !state.copy_from(next) {
                return Err(ErrorKind::Malformed("a next value that does not fit its state".into()).into());
            }
            state.canonicalise();
        }
    }
    Ok(Results { arena, outputs: &plan.outputs })
}

/// The error of the first row of a tape that fails on these inputs, if one does: that of a run row by row. Plans that
/// compute rows in another order ask for it when something failed.
pub(crate) fn first_fault(tape: &Tape, states: &States, inputs: &dyn Inputs) -> Option<Error> {
    let plan = Arc::new(Plan::rows(tape, Isa::best()).ok()?);
    let mut workspace = Workspace::new(&plan, 1).ok()?;
    let outcome = run(&plan, tape, &mut workspace, Store::Shared(states), inputs, None);
    outcome.err().filter(|e| matches!(e.kind(), ErrorKind::Fault(_) | ErrorKind::Guard { .. }))
}

fn check_states(plan: &Plan, states: &States) -> Result<()> {
    for used in &plan.states {
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

/// Lists where the elements of each input are: in place where they are row-major, packed otherwise.
fn bind(
    plan: &Plan,
    packed: &mut [Option<Tensor>],
    inputs: &dyn Inputs,
    blocks: &mut Vec<Block>,
) -> Result<()> {
    if inputs.count() != plan.inputs.len() {
        return Err(ErrorKind::Input(format!(
            "the program has {} inputs, {} were bound",
            plan.inputs.len(),
            inputs.count()
        ))
        .into());
    }
    for (i, (packed, &ty)) in packed.iter_mut().zip(&plan.inputs).enumerate() {
        let misfit =
            |found: String| Error::from(ErrorKind::Input(format!("input {i} is {ty}, {found} was bound")));
        let input = inputs.get(i).ok_or_else(|| misfit("nothing".into()))?;
        let shape = input.shape().transpose()?;
        if input.dtype() != ty.dtype || shape.is_some_and(|s| s != ty.shape) {
            let shape = shape.map_or_else(String::new, |s| s.to_string());
            return Err(misfit(format!("{}{shape}", input.dtype())));
        }
        let slice = match input.contiguous() {
            Some(slice) => slice,
            None => {
                let copy = match packed {
                    Some(copy) => copy,
                    None => packed.insert(Tensor::filled(ty, 0.0)?),
                };
                if !input.pack(copy.data_mut()) {
                    return Err(misfit("an array that says otherwise".into()));
                }
                copy.data()
            }
        };
        if slice.len() != ty.shape.elements() || slice.dtype() != ty.dtype {
            return Err(misfit(format!("a slice of {} {}", slice.len(), slice.dtype())));
        }
        if matches!(slice, Slice::Bool(bytes) if bytes.iter().any(|&b| b > 1)) {
            return Err(misfit("a truth value other than 0 and 1".into()));
        }
        blocks.push(Block::shared(slice));
    }
    Ok(())
}
