//! The trivial plan: the live rows in order, each result in a place of its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::arena::ALIGN;
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Leaf, Op, Tape, UsedState, Value};
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// Where the elements of a value are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// At this byte of the arena.
    Arena(usize),
    /// In the array bound to this input.
    Input(usize),
    /// In this state's array, at its value at the start of the run.
    State(usize),
    /// In this constant of the plan.
    Constant(usize),
}

/// A value: where it is and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) ty: TensorType,
}

/// One kernel call, or one guard.
pub(super) struct Instruction {
    pub(super) op: Op,
    /// The row of the tape, to blame for faults.
    pub(super) row: usize,
    /// Operands and results as positions in [`Plan::slots`].
    pub(super) operands: SmallVec<[u32; 4]>,
    pub(super) results: SmallVec<[u32; 2]>,
    pub(super) blocks: usize,
    /// In how many pieces the blocks are computed: by shapes alone, so that the bits are the same for
    /// any number of threads.
    pub(super) panels: usize,
    pub(super) scratch: usize,
}

/// The work of a panel: what takes much longer than to hand it to another thread.
const PANEL: usize = 1 << 15;
const MOST_PANELS: usize = 64;

/// A flat list of resolved instructions over one arena.
pub(crate) struct Plan {
    pub(super) instructions: Vec<Instruction>,
    pub(super) slots: Vec<Slot>,
    constants: Vec<Constant>,
    /// The arrays of the constants, made with the first workspace.
    arrays: OnceLock<Vec<Arc<Tensor>>>,
    /// Types of the inputs, by position.
    pub(super) inputs: Vec<TensorType>,
    /// The states read or written.
    pub(super) states: Vec<UsedState>,
    /// Copies into the arena after all instructions: outputs and next values that live elsewhere.
    pub(super) staged: Vec<(Slot, Slot)>,
    pub(super) updates: Vec<(usize, Slot)>,
    pub(super) outputs: Vec<Slot>,
    /// Bytes of the arena. Behind them each thread has `scratch` bytes, which serve every call in turn.
    pub(super) arena: usize,
    pub(super) scratch: usize,
}

impl Plan {
    /// The trivial plan of a tape.
    pub(crate) fn trivial(tape: &Tape) -> Result<Self> {
        let mut memory = Memory { top: 0 };
        let mut plan = Self {
            instructions: Vec::new(),
            slots: Vec::new(),
            constants: Vec::new(),
            arrays: OnceLock::new(),
            inputs: tape.inputs().to_vec(),
            states: tape.states().to_vec(),
            staged: Vec::new(),
            updates: Vec::new(),
            outputs: Vec::new(),
            arena: 0,
            scratch: 0,
        };
        let mut fills = Fills::new();
        let live = tape.live();
        // The slot of each row's first result; the others follow it.
        let mut first = Vec::with_capacity(tape.rows().len());
        for (i, row) in tape.rows().iter().enumerate() {
            first.push(plan.slots.len() as u32);
            if !live[i] {
                continue;
            }
            if let (Op::Leaf(leaf), Some(&ty)) = (&row.op, row.results.first()) {
                let place = plan.leaf(leaf, ty, &mut fills)?;
                plan.slots.push(Slot { place, ty });
                continue;
            }
            for &ty in &row.results {
                plan.slots.push(memory.slot(ty)?);
            }
            plan.instruction(tape, i, &first)?;
        }
        let mut staged = Vec::new();
        let mut stage = |value: &Value| -> Result<Slot> {
            let from = plan.slots[(first[value.row as usize] + value.result) as usize];
            if matches!(from.place, Place::Arena(_)) {
                return Ok(from);
            }
            let to = memory.slot(from.ty)?;
            staged.push((from, to));
            Ok(to)
        };
        let outputs = tape.outputs().iter().map(&mut stage).collect::<Result<_>>()?;
        let updates = tape.updates().iter().map(|(s, v)| Ok((*s, stage(v)?))).collect::<Result<_>>()?;
        (plan.staged, plan.outputs, plan.updates) = (staged, outputs, updates);
        plan.scratch = plan.scratch.next_multiple_of(ALIGN);
        plan.arena = memory.take(0)?.next_multiple_of(ALIGN);
        Ok(plan)
    }

    /// Resolves the call of a row whose results have their slots.
    fn instruction(&mut self, tape: &Tape, index: usize, first: &[u32]) -> Result<()> {
        let row = &tape.rows()[index];
        let operands: SmallVec<[u32; 4]> =
            row.operands.iter().map(|v| first[v.row as usize] + v.result).collect();
        let types: SmallVec<[TensorType; 3]> = operands.iter().map(|&s| self.slots[s as usize].ty).collect();
        let kernel = row.op.kernel();
        let scratch = kernel.map_or(0, |k| k.scratch(&types));
        if scratch > isize::MAX as usize / 2 {
            return Err(ErrorKind::Memory { bytes: scratch }.into());
        }
        let blocks = kernel.map_or(1, |k| k.blocks(&types, &row.results));
        let uneven = |ty: &&TensorType| match blocks {
            0 => ty.shape.elements() > 0,
            n => !ty.shape.elements().is_multiple_of(n),
        };
        if let Some(ty) = row.results.iter().find(uneven) {
            let kind = ErrorKind::Malformed(format!("{blocks} blocks do not divide {ty}"));
            return Err(Error::at(kind, row.op.name(), tape.site(&row.origin)));
        }
        self.scratch = self.scratch.max(scratch);
        let work = kernel.map_or(0, |k| k.work(&types, &row.results));
        // A power of two, so that panels are alike on two threads as on four.
        let panels = 1 << (work / PANEL).clamp(1, blocks.clamp(1, MOST_PANELS)).ilog2();
        let results = (0..row.results.len() as u32).map(|r| first[index] + r).collect();
        let op = row.op.clone();
        self.instructions.push(Instruction { op, row: index, operands, results, blocks, panels, scratch });
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf, ty: TensorType, fills: &mut Fills) -> Result<Place> {
        let mut constant = |constant: Constant| {
            self.constants.push(constant);
            Place::Constant(self.constants.len() - 1)
        };
        Ok(match leaf {
            Leaf::Input(i) => Place::Input(*i),
            Leaf::State(s) => Place::State(*s),
            Leaf::Constant(tensor) => constant(Constant::Array(tensor.clone())),
            Leaf::Fill(value) => match fills.entry((value.to_bits(), ty)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(constant(Constant::Fill(*value, ty))),
            },
            Leaf::Placeholder => {
                return Err(ErrorKind::Malformed(
                    "a rule that must be linear in its tangents uses their values, or a variable left its vmap".into(),
                )
                .into());
            }
        })
    }

    /// Bytes of a workspace for so many threads.
    pub(crate) fn workspace_bytes(&self, threads: usize) -> usize {
        self.scratch.saturating_mul(threads).saturating_add(self.arena)
    }

    /// Bytes of the constants that all workspaces share.
    pub(crate) fn constant_bytes(&self) -> usize {
        let bytes = self.constants.iter().map(|c| match c {
            Constant::Array(tensor) => tensor.ty().bytes(),
            Constant::Fill(_, ty) => ty.bytes(),
        });
        bytes.fold(0, usize::saturating_add)
    }

    /// Makes the arrays of the constants, if they are not there yet.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.arrays.get().is_none() {
            let make = |c: &Constant| match c {
                Constant::Array(tensor) => Ok(tensor.clone()),
                Constant::Fill(value, ty) => Tensor::filled(*ty, *value).map(Arc::new),
            };
            let arrays = self.constants.iter().map(make).collect::<Result<_>>()?;
            // Another thread may have been faster with the same arrays.
            let _ = self.arrays.set(arrays);
        }
        Ok(())
    }

    /// The array of a constant.
    pub(super) fn constant(&self, index: usize) -> Option<&Tensor> {
        self.arrays.get()?.get(index).map(|t| &**t)
    }
}

/// An array that is the same in every run.
enum Constant {
    Array(Arc<Tensor>),
    Fill(f64, TensorType),
}

/// Where each number fills an array of each type already.
type Fills = HashMap<(u64, TensorType), Place>;

/// Hands out places of an arena, one behind the other.
struct Memory {
    top: usize,
}

impl Memory {
    fn take(&mut self, bytes: usize) -> Result<usize> {
        // Small values need not fill a cache line each.
        let align = bytes.next_power_of_two().clamp(8, ALIGN);
        let start = self.top.next_multiple_of(align);
        let end = start.checked_add(bytes).filter(|&e| e <= isize::MAX as usize - ALIGN);
        self.top = end.ok_or(ErrorKind::Memory { bytes })?;
        Ok(start)
    }

    fn slot(&mut self, ty: TensorType) -> Result<Slot> {
        Ok(Slot { place: Place::Arena(self.take(ty.bytes())?), ty })
    }
}
