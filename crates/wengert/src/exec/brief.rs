//! Elementwise functions behind pointers, and the steps that need no more than those.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::plan::{Action, Function, Line, Place, Plan, Step, View, WORD};
use crate::dtype::DType;
use crate::ir::{ElementwiseOp, Op};
use crate::kernels::{Level, Own};

/// The functions of a plan, each once.
#[derive(Default)]
pub(super) struct Functions {
    known: HashMap<(Op, DType), u32>,
    pub(super) all: Vec<Function>,
}

impl Functions {
    /// The position of a function on arrays of this type, if there is a pointer to it.
    pub(super) fn of(&mut self, op: &Arc<dyn ElementwiseOp>, dtype: DType, level: Level) -> Option<u32> {
        if !dtype.is_float() {
            return None;
        }
        Some(match self.known.entry((Op::Elementwise(op.clone()), dtype)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let (applied, double) = (op.applied(level, Own)?, dtype == DType::F64);
                self.all.push(Function { applied, double, op: op.clone() });
                *new.insert(self.all.len() as u32 - 1)
            }
        })
    }
}

/// A step in brief, if it is an elementwise function of small arrays in memory that is the first thread's.
pub(super) fn brief(step: &Step, plan: &mut Plan, functions: &mut Functions) -> Option<Line> {
    let line = line(step, plan, functions)?;
    let last = line.x.into_iter().chain([line.out]).max().unwrap_or(0) as usize;
    let bytes = functions.all[line.function as usize].bytes();
    plan.reach = plan.reach.max(last * WORD + line.len as usize * bytes);
    Some(line)
}

fn line(step: &Step, plan: &Plan, functions: &mut Functions) -> Option<Line> {
    let (Action::Compute(Op::Elementwise(function)), [out]) = (&step.action, step.results.as_slice()) else {
        return None;
    };
    if step.canonical {
        return None;
    }
    let word = |view: &View| {
        let byte = match plan.slots[view.slot as usize].place {
            Place::Arena(offset) => offset,
            Place::Local { offset, .. } => plan.arena + offset,
            _ => return None,
        };
        u32::try_from(byte / WORD).ok()
    };
    let mut x = [0; 3];
    if step.operands.len() > x.len() {
        return None;
    }
    for (x, view) in x.iter_mut().zip(&step.operands) {
        *x = word(view)?;
    }
    let (ty, out) = (&plan.slots[out.slot as usize].ty, word(out)?);
    let function = functions.of(function, ty.dtype, plan.level)?;
    let (row, len) = (step.row, u32::try_from(ty.shape.elements()).ok()?);
    Some(Line { row, function, len, out, x })
}
