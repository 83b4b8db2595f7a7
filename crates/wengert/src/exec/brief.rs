//! Elementwise functions behind pointers, and the steps that need no more than those.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::plan::{Action, Function, Line, Pass, Place, Plan, Slot, Step, View, WORD};
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
                self.all.push(Function { applied, double, _op: op.clone() });
                *new.insert(self.all.len() as u32 - 1)
            }
        })
    }
}

/// Splits the passes of stages that the first thread runs alone, array by array, into those whose steps can
/// be said in brief and the others.
pub(super) fn brief(plan: &mut Plan, functions: &mut Functions) {
    let mut passes: Vec<Pass> = Vec::new();
    let alone: Vec<bool> = plan.rounds.iter().flat_map(|r| r.stages.clone().map(|_| r.panels == 1)).collect();
    for (stage, alone) in plan.stages.iter_mut().zip(alone) {
        let first = passes.len();
        for pass in plan.passes[stage.passes.clone()].iter() {
            if stage.units > 1 || !alone {
                passes.push(Pass { lines: None, steps: pass.steps.clone(), tile: pass.tile });
                continue;
            }
            for at in pass.steps.clone() {
                let line = line(&plan.steps[at], &plan.slots, (plan.arena, plan.level), functions);
                let next = plan.lines.len();
                match (passes[first..].last_mut(), &line) {
                    (Some(Pass { steps, lines: Some(lines), .. }), Some(_)) => {
                        (steps.end, lines.end) = (at + 1, next + 1)
                    }
                    (Some(Pass { steps, lines: None, .. }), None) => steps.end = at + 1,
                    (_, line) => passes.push(Pass {
                        steps: at..at + 1,
                        tile: 1,
                        lines: line.is_some().then(|| next..next + 1),
                    }),
                }
                if let Some(Line { function, len, out, x }) = line {
                    let last = x.into_iter().chain([out]).max().unwrap_or(0) as usize;
                    let bytes = if functions.all[function as usize].double { 8 } else { 4 };
                    plan.reach = plan.reach.max(last * WORD + len as usize * bytes);
                }
                plan.lines.extend(line);
            }
        }
        stage.passes = first..passes.len();
    }
    plan.passes = passes;
}

/// A step in brief, if it is an elementwise function of small arrays in memory that is the first thread's.
fn line(
    step: &Step,
    slots: &[Slot],
    (arena, level): (usize, Level),
    functions: &mut Functions,
) -> Option<Line> {
    let (Action::Compute(Op::Elementwise(function)), [out]) = (&step.action, step.results.as_slice()) else {
        return None;
    };
    if step.canonical {
        return None;
    }
    let word = |view: &View| {
        let byte = match slots[view.slot as usize].place {
            Place::Arena(offset) => offset,
            Place::Local { offset, .. } => arena + offset,
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
    let (ty, out) = (slots[out.slot as usize].ty, word(out)?);
    let function = functions.of(function, ty.dtype, level)?;
    Some(Line { function, len: u32::try_from(ty.shape.elements()).ok()?, out, x })
}
