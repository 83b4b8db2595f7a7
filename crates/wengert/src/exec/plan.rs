//! The trivial plan: the live rows in order, each result in a place of its own.

use std::sync::Arc;

use smallvec::SmallVec;

use super::arena::ALIGN;
use crate::error::{ErrorKind, Result};
use crate::ir::{Leaf, Op, Tape, Value};
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
    pub(super) operands: SmallVec<[Slot; 3]>,
    pub(super) results: SmallVec<[Slot; 1]>,
    pub(super) blocks: usize,
    pub(super) scratch: usize,
}

/// A flat list of resolved instructions over one arena.
pub(crate) struct Plan {
    pub(super) instructions: Vec<Instruction>,
    pub(super) constants: Vec<Arc<Tensor>>,
    /// Types of the inputs, by position.
    pub(super) inputs: Vec<TensorType>,
    /// The states read or written, with their types.
    pub(super) states: Vec<(usize, TensorType)>,
    /// Copies into the arena after all instructions: outputs and next values that live elsewhere.
    pub(super) staged: Vec<(Slot, Slot)>,
    pub(super) updates: Vec<(usize, Slot)>,
    pub(super) outputs: Vec<Slot>,
    /// Bytes of the arena; the last `scratch` of them serve every call in turn.
    pub(super) arena: usize,
    pub(super) scratch: usize,
}

impl Plan {
    /// The trivial plan of a tape.
    pub(crate) fn trivial(tape: &Tape) -> Result<Self> {
        let mut memory = Memory { top: 0 };
        let mut plan = Self {
            instructions: Vec::new(),
            constants: Vec::new(),
            inputs: tape.inputs().to_vec(),
            states: Vec::new(),
            staged: Vec::new(),
            updates: Vec::new(),
            outputs: Vec::new(),
            arena: 0,
            scratch: 0,
        };
        let live = tape.live();
        let mut slots: Vec<SmallVec<[Slot; 1]>> = Vec::with_capacity(tape.rows().len());
        for (i, row) in tape.rows().iter().enumerate() {
            if !live[i] {
                slots.push(SmallVec::new());
                continue;
            }
            let places: SmallVec<[Slot; 1]> = match (&row.op, row.results.first()) {
                (Op::Leaf(leaf), Some(&ty)) => {
                    let place = plan.leaf(leaf, ty)?;
                    std::iter::once(Slot { place, ty }).collect()
                }
                _ => row.results.iter().map(|&ty| memory.slot(ty)).collect::<Result<_>>()?,
            };
            if !matches!(row.op, Op::Leaf(_)) {
                let operands: SmallVec<[Slot; 3]> =
                    row.operands.iter().map(|v| slots[v.row as usize][v.result as usize]).collect();
                let types: SmallVec<[TensorType; 3]> = operands.iter().map(|s| s.ty).collect();
                let kernel = row.op.kernel();
                let scratch = kernel.map_or(0, |k| k.scratch(&types));
                plan.scratch = plan.scratch.max(scratch);
                plan.instructions.push(Instruction {
                    op: row.op.clone(),
                    row: i,
                    operands,
                    results: places.clone(),
                    blocks: kernel.map_or(1, |k| k.blocks(&types, &row.results)),
                    scratch,
                });
            }
            slots.push(places);
        }
        let mut stage = |value: &Value| -> Result<Slot> {
            let from = slots[value.row as usize][value.result as usize];
            if matches!(from.place, Place::Arena(_)) {
                return Ok(from);
            }
            let to = memory.slot(from.ty)?;
            plan.staged.push((from, to));
            Ok(to)
        };
        plan.outputs = tape.outputs().iter().map(&mut stage).collect::<Result<_>>()?;
        plan.updates = tape.updates().iter().map(|(s, v)| Ok((*s, stage(v)?))).collect::<Result<_>>()?;
        for (state, slot) in &plan.updates {
            if !plan.states.iter().any(|(s, _)| s == state) {
                plan.states.push((*state, slot.ty));
            }
        }
        plan.scratch = plan.scratch.next_multiple_of(ALIGN);
        plan.arena = memory.take(plan.scratch)? + plan.scratch;
        Ok(plan)
    }

    fn leaf(&mut self, leaf: &Leaf, ty: TensorType) -> Result<Place> {
        let constant = |plan: &mut Self, tensor: Arc<Tensor>| {
            plan.constants.push(tensor);
            Place::Constant(plan.constants.len() - 1)
        };
        Ok(match leaf {
            Leaf::Input(i) => Place::Input(*i),
            Leaf::State(s) => {
                if !self.states.iter().any(|(known, _)| known == s) {
                    self.states.push((*s, ty));
                }
                Place::State(*s)
            }
            Leaf::Constant(tensor) => constant(self, tensor.clone()),
            Leaf::Fill(value) => constant(self, Arc::new(Tensor::filled(ty, *value))),
            Leaf::Placeholder => {
                return Err(ErrorKind::Malformed(
                    "a rule that must be linear in its tangents uses their values, or a variable left its vmap".into(),
                )
                .into());
            }
        })
    }

    /// Bytes of the workspace.
    pub(crate) fn bytes(&self) -> usize {
        self.arena
    }
}

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
