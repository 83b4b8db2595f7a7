//! Maps of one primitive behind pointers, and the steps that need no more than those.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::cpu::Code;
use super::plan::{Action, Function, Line, Place, Plan, Step, View, WORD};

/// The functions of a plan, each once.
#[derive(Default)]
pub(super) struct Functions {
    /// By where their code is: codes are each known once.
    known: HashMap<usize, Option<u32>>,
    pub(super) all: Vec<Function>,
}

impl Functions {
    /// The position of the function that some code is, if it is no more than one.
    fn of(&mut self, code: &Arc<Code>, name: &'static str) -> Option<u32> {
        match self.known.entry(Arc::as_ptr(code).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let function = function(code, name);
                *new.insert(function.map(|function| {
                    self.all.push(function);
                    self.all.len() as u32 - 1
                }))
            }
        }
    }
}

fn function(code: &Arc<Code>, name: &'static str) -> Option<Function> {
    let Code::Map(map) = &**code else { return None };
    Some(Function { single: map.single()?, code: code.clone(), name })
}

/// A step in brief, if it is one primitive on small arrays in memory that is the first thread's.
pub(super) fn brief(step: &Step, plan: &mut Plan, functions: &mut Functions) -> Option<Line> {
    let line = line(step, plan, functions)?;
    let single = &functions.all[line.function as usize].single;
    let end = |(word, bytes): (u32, u8)| word as usize * WORD + line.len as usize * usize::from(bytes);
    let touched = line.x.into_iter().zip(single.bytes).chain([(line.out, single.result)]);
    plan.reach = plan.reach.max(touched.map(end).max().unwrap_or(0));
    Some(line)
}

fn line(step: &Step, plan: &Plan, functions: &mut Functions) -> Option<Line> {
    let (Action::Compute(code, name), [out]) = (&step.action, step.results.as_slice()) else {
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
    let (ty, out) = (&plan.slots[out.slot as usize].ty, word(out)?);
    let function = functions.of(code, name)?;
    let single = &functions.all[function as usize].single;
    if ty.shape.elements() > single.most {
        return None;
    }
    // The primitive's operands that are no constants are the step's, in order.
    let mut operands = step.operands.iter();
    let mut x = [0; 3];
    for (x, _) in x.iter_mut().zip(single.bytes).filter(|(_, bytes)| *bytes > 0) {
        *x = word(operands.next()?)?;
    }
    let (row, len) = (step.row, u32::try_from(ty.shape.elements()).ok()?);
    Some(Line { row, function, len, out, x })
}
