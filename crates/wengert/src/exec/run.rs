//! Running a plan: bind, compute, then write the states.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use super::arena::{Arena, Parts};
use super::plan::{Instruction, Place, Plan, Slot};
use super::pool::Pool;
use crate::dtype::{Element, Slice, SliceMut};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::ir::{Call, Control, Kernel, Op, Operand, ResultMut, States, Tape};
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

/// Every byte that runs of one program need. Made by [`Program::workspace`](crate::Program::workspace);
/// one for each thread that runs the program.
pub struct Workspace {
    /// The plan it was made for, and no other.
    plan: Arc<Plan>,
    arena: Arena,
    /// Row-major copies of inputs that came in another layout.
    packed: Vec<Option<Tensor>>,
    pool: Pool,
}

impl Workspace {
    pub(crate) fn new(plan: &Arc<Plan>, threads: usize) -> Result<Self> {
        plan.prepare()?;
        let arena = Arena::new(plan.workspace_bytes(threads))?;
        let packed = vec![None; plan.inputs.len()];
        Ok(Self { plan: plan.clone(), arena, packed, pool: Pool::new(threads)? })
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
            Some(Slot { place: Place::Arena(offset), ty }) => {
                Ok((ty.shape, self.arena.slice(*offset, ty.dtype, ty.shape.elements())))
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
        let mut copy = Tensor::filled(self.outputs[i].ty, 0.0)?;
        copied(copy.data_mut().copy_from(data))?;
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
) -> Result<Results<'w>> {
    if !Arc::ptr_eq(plan, &workspace.plan) {
        return Err(ErrorKind::Argument("the workspace is that of another program".into()).into());
    }
    if matches!(store, Store::Shared(_)) && !plan.updates.is_empty() {
        return Err(ErrorKind::State("the program updates states; bind them mutably".into()).into());
    }
    check_states(plan, store.states())?;
    let Workspace { arena, packed, pool, .. } = workspace;
    let bound = bind(plan, packed, inputs)?;
    let parts = arena.parts();
    let memory = Memory { plan, bound: &bound, states: store.states(), parts: &parts };
    for instruction in &plan.instructions {
        if let Err(kind) = memory.execute(instruction, pool) {
            let row = &tape.rows()[instruction.row];
            return Err(Error::at(kind, row.op.name(), tape.site(&row.origin)));
        }
    }
    for (from, to) in &plan.staged {
        // SAFETY: a staged slot is a place of its own, so it overlaps no operand's.
        let (source, mut target) = unsafe { (memory.read(from), memory.write(to, 0..1, 1)) };
        copied(target.copy_from(source))?;
    }
    drop(bound);
    if let Store::Exclusive(states) = &mut store {
        for (state, slot) in &plan.updates {
            let Place::Arena(offset) = slot.place else { continue };
            let next = arena.slice(offset, slot.ty.dtype, slot.ty.shape.elements());
            copied(states.get_mut(*state)?.data_mut().copy_from(next))?;
        }
    }
    Ok(Results { arena, outputs: &plan.outputs })
}

/// Copies fit by the plan's own making; if one did not, silence would be a wrong result.
fn copied(fits: bool) -> Result<()> {
    if fits { Ok(()) } else { Err(ErrorKind::Malformed("a copy between arrays that differ".into()).into()) }
}

fn check_states(plan: &Plan, states: &States) -> Result<()> {
    for used in &plan.states {
        let state = crate::ir::State(used.index);
        let found = states.get(state)?.ty();
        let name = states.name(state).unwrap_or_default();
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

/// Inputs, operands and results up to this number are listed on the stack.
const INLINE: usize = 16;

/// The elements of each input: bound in place where they are row-major, packed otherwise.
fn bind<'a>(
    plan: &Plan,
    packed: &'a mut [Option<Tensor>],
    inputs: &'a dyn Inputs,
) -> Result<SmallVec<[Slice<'a>; INLINE]>> {
    if inputs.count() != plan.inputs.len() {
        return Err(ErrorKind::Input(format!(
            "the program has {} inputs, {} were bound",
            plan.inputs.len(),
            inputs.count()
        ))
        .into());
    }
    let mut bound = SmallVec::new();
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
        bound.push(slice);
    }
    Ok(bound)
}

/// All places of one run.
struct Memory<'a, 'p> {
    plan: &'a Plan,
    bound: &'a [Slice<'a>],
    states: &'a States,
    parts: &'p Parts<'a>,
}

impl<'a> Memory<'a, '_> {
    /// # Safety
    /// No writer of this slot lives at the same time.
    unsafe fn read(&self, slot: &Slot) -> Slice<'a> {
        let none = Slice::U8(&[]);
        match slot.place {
            // SAFETY: passed on to the caller.
            Place::Arena(offset) => unsafe {
                self.parts.slice(offset, slot.ty.dtype, slot.ty.shape.elements())
            },
            Place::Input(i) => self.bound.get(i).copied().unwrap_or(none),
            Place::State(s) => self.states.get(crate::ir::State(s)).map_or(none, Tensor::data),
            Place::Constant(c) => self.plan.constant(c).map_or(none, Tensor::data),
        }
    }

    /// The blocks `range`, of `blocks` in all, of a slot.
    ///
    /// # Safety
    /// No other user of these blocks lives at the same time.
    unsafe fn write(&self, slot: &Slot, range: Range<usize>, blocks: usize) -> SliceMut<'a> {
        let Place::Arena(offset) = slot.place else { return SliceMut::U8(&mut []) };
        let block = slot.ty.shape.elements() / blocks.max(1);
        let start = offset + range.start * block * slot.ty.dtype.bytes();
        // SAFETY: passed on to the caller.
        unsafe { self.parts.slice_mut(start, slot.ty.dtype, range.len() * block) }
    }

    fn execute(&self, instruction: &Instruction, pool: &mut Pool) -> Result<(), ErrorKind> {
        let Instruction { op, operands, blocks, panels, .. } = instruction;
        let kernel = match op {
            Op::Control(Control::Guard { recorded }) => {
                // SAFETY: nothing is written while this value is read.
                let predicate = operands.first().map(|&s| unsafe { self.read(&self.plan.slots[s as usize]) });
                let found = predicate.and_then(|p| p.f64_at(0)).is_some_and(|p| p != 0.0);
                return if found == *recorded {
                    Ok(())
                } else {
                    Err(ErrorKind::Guard { recorded: *recorded, found })
                };
            }
            op => op.kernel().ok_or(ErrorKind::Fault(Fault::Type))?,
        };
        if *panels == 1 {
            return self.call(instruction, kernel, 0..*blocks, 0).map_err(ErrorKind::Fault);
        }
        // Of several faults that of the first panel counts, whichever came first in time.
        let first: Mutex<Option<(usize, Fault)>> = Mutex::new(None);
        pool.run(*panels, &|panel, thread| {
            let range = panel * blocks / panels..(panel + 1) * blocks / panels;
            if let Err(fault) = self.call(instruction, kernel, range, thread) {
                let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                if first.is_none_or(|(known, _)| panel < known) {
                    *first = Some((panel, fault));
                }
            }
        });
        match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, fault)) => Err(ErrorKind::Fault(fault)),
            None => Ok(()),
        }
    }

    /// Computes some blocks of an instruction.
    fn call(
        &self,
        instruction: &Instruction,
        kernel: &dyn Kernel,
        range: Range<usize>,
        thread: usize,
    ) -> Result<(), Fault> {
        let Instruction { operands, results, blocks, scratch, .. } = instruction;
        let slot = |&s: &u32| &self.plan.slots[s as usize];
        let read = |slot: &'a Slot| {
            // SAFETY: the plan gives every result a place of its own, and only results of this
            // instruction are written until it is done.
            let data = unsafe { self.read(slot) };
            Operand { ty: &slot.ty, data, strides: None }
        };
        let write = |slot: &'a Slot| {
            // SAFETY: as above; ranges of blocks that run at the same time do not overlap.
            let data = unsafe { self.write(slot, range.clone(), *blocks) };
            ResultMut { ty: &slot.ty, data }
        };
        let operands: SmallVec<[Operand<'_>; INLINE]> = operands.iter().map(slot).map(read).collect();
        let mut results: SmallVec<[ResultMut<'_>; INLINE]> = results.iter().map(slot).map(write).collect();
        // SAFETY: behind all slots each thread has a part of its own.
        let scratch = unsafe { self.parts.words(self.plan.arena + thread * self.plan.scratch, *scratch) };
        kernel.eval(Call { operands: &operands, results: &mut results, scratch, blocks: range })
    }
}
