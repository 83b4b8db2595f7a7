//! Faults planted in plans: each must be found, under the name of the invariant that it breaks.

use std::num::NonZeroUsize;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::machine::Machine;
use super::*;
use crate::dtype::DType::{F64, U32};
use crate::ir::{Outputs, Recorder, States, Tape};
use crate::kernels::Isa;
use crate::shape::Shape;
use crate::shape::TensorType;
use std::collections::BTreeMap;

/// A step with everything in it: folds, products on packed matrices, gathered rows, a guard, states.
fn training(t: &Recorder) -> crate::Result<Outputs> {
    let [w, b, v] = ["w", "b", "v"].map(|name| t.state(t.states().find(name).unwrap()));
    let x = t.input(F64, [900, 64]).gather(t.input(U32, [400]));
    let turned = t.input(F64, [16, 64]).permute(&[1, 0]);
    let scale = t.input_with(2.0);
    scale.gt(0.0).decide()?;
    let y = (x.matmul(w) + b).tanh();
    let z = y.matmul(v) * scale;
    let loss = (z * z).sum(());
    let g = loss.gradients([w, b, v]);
    for p in [w, b, v] {
        t.update(p, p * 0.9 - g[p] * 0.1);
    }
    t.outputs([loss, y.sum(0), y.max(1).sum(()), x.matmul(turned)])
}

/// Small steps that one thread does alone.
fn small(t: &Recorder) -> crate::Result<Outputs> {
    let (x, y) = (t.input(F64, [8]), t.input(F64, [8]));
    let z = (x.exp() * y).tanh();
    t.outputs([z.exp() * z.sin() + z, (z * z).sum(())])
}

fn states() -> States {
    let mut states = States::new();
    states.add("w", ndarray::Array2::<f64>::zeros((64, 32))).unwrap();
    states.add("b", ndarray::Array1::<f64>::zeros(32)).unwrap();
    states.add("v", ndarray::Array2::<f64>::zeros((32, 8))).unwrap();
    states
}

fn plan(record: fn(&Recorder) -> crate::Result<Outputs>, machine: &Machine) -> (Plan, Vec<Slots>) {
    let t = Recorder::new(&states(), false);
    let outputs = record(&t).unwrap();
    let tape: Tape = t.finish(outputs).unwrap().0.without_dead_rows();
    Plan::draft(&tape, Isa::best(), true, machine).unwrap()
}

/// The first step that is such.
fn find(plan: &Plan, such: impl Fn(&Step) -> bool) -> Option<usize> {
    plan.steps.iter().position(such)
}

fn named(plan: &Plan, name: &str) -> Option<usize> {
    find(plan, |step| step.action.name().contains(name))
}

/// The first step whose result is such, and the result.
fn making(plan: &Plan, such: impl Fn(&Slot, &View) -> bool) -> Option<(usize, View)> {
    let made = |s: &Step| s.results.first().is_some_and(|r| such(&plan.slots[r.slot as usize], r));
    find(plan, made).map(|step| (step, plan.steps[step].results[0]))
}

/// Puts an array elsewhere, under all its names.
fn lay(plan: &mut Plan, slot: u32, change: impl Fn(&mut Place)) {
    let root = plan.slots[slot as usize].root;
    plan.slots.iter_mut().filter(|s| s.root == root).for_each(|s| change(&mut s.place));
}

/// Adds a step before another, in its pass.
fn insert(plan: &mut Plan, at: usize, step: Step) {
    plan.steps.insert(at, step);
    for pass in &mut plan.passes {
        if let Body::Steps(steps) = &mut pass.body {
            steps.start += usize::from(steps.start > at);
            steps.end += usize::from(steps.end > at);
        }
    }
}

/// What breaks, how, and the change; `None` where a plan has nothing to change so.
type Plant = (&'static str, &'static str, fn(&mut Plan) -> Option<()>);

const PLANTS: [Plant; 26] = [
    ("V1", "an output where another is", |plan| {
        let [a, b] = [plan.outputs.first()?.clone(), plan.outputs.get(1)?.clone()];
        plan.outputs[1].place = a.place;
        lay(plan, b.root, |place| *place = a.place);
        plan.arena *= 2;
        Some(())
    }),
    ("V1", "all that a thread has in one place", |plan| {
        let mut changed = 0;
        for slot in &mut plan.slots {
            if let Place::Local { offset, .. } = &mut slot.place {
                changed += std::mem::take(offset);
            }
        }
        (changed > 0).then_some(())
    }),
    ("V1", "parts where their sum lies", |plan| {
        let join = named(plan, "sum of parts")?;
        let (from, to) = (plan.steps[join].operands[0].slot, plan.steps[join].results[0].slot);
        let place = plan.slots[to as usize].place;
        plan.arena *= 16;
        lay(plan, from, |from| *from = place);
        Some(())
    }),
    ("V2", "an operand that is made later", |plan| {
        let tanh = named(plan, "tanh")?;
        plan.steps.swap(tanh, tanh.checked_sub(1)?);
        Some(())
    }),
    ("V2", "a tile that is read in another pass", |plan| {
        let panel = |s: &Slot| matches!(s.place, Place::Local { tile: false, .. });
        let (_, view) = making(plan, |s, view| panel(s) && view.unit.is_some())?;
        lay(plan, view.slot, |place| {
            if let Place::Local { tile, .. } = place {
                *tile = true;
            }
        });
        Some(())
    }),
    ("V3", "a result that every tile writes whole", |plan| {
        let (step, _) = making(plan, |_, view| view.unit.is_some())?;
        plan.steps[step].results[0].unit = None;
        Some(())
    }),
    ("V3", "lines beside other panels", |plan| {
        let line = plan.passes.iter().position(|p| matches!(p.body, Body::Lines(_)))?;
        let stage = plan.stages.iter().position(|s| s.passes.contains(&line))?;
        let round = plan.rounds.iter_mut().find(|r| r.stages.contains(&stage))?;
        (plan.stages[stage].panels, plan.stages[stage].units, round.panels) = (2, 2, 2);
        Some(())
    }),
    ("V4", "an array that ends behind the arena", |plan| {
        plan.arena = plan.arena.checked_sub(64)?;
        Some(())
    }),
    ("V4", "a tile that ends behind the thread's memory", |plan| {
        plan.local = plan.local.checked_sub(64)?;
        Some(())
    }),
    ("V4", "an array between two words", |plan| {
        let (_, view) = making(plan, |s, _| matches!(s.place, Place::Arena(_)))?;
        plan.arena += 64;
        lay(plan, view.slot, |place| {
            if let Place::Arena(offset) = place {
                *offset += 4;
            }
        });
        Some(())
    }),
    ("V4", "parts that are too large", |plan| {
        let (step, view) = making(plan, |_, view| view.unit.is_some())?;
        plan.steps[step].results[0].unit = NonZeroUsize::new(view.unit?.get() + 1);
        Some(())
    }),
    ("V4", "another type than that of the array", |plan| {
        let slot = plan.steps[named(plan, "tanh")?].operands[0].slot;
        let (shape, root) = (plan.slots[slot as usize].ty.shape, plan.outputs[0].root);
        plan.slots[slot as usize].ty = Arc::new(TensorType::new(crate::DType::F32, shape));
        plan.slots[slot as usize].root = root;
        Some(())
    }),
    ("V4", "strides that leave their array", |plan| {
        let step = find(plan, |s| s.strides.is_some())?;
        plan.steps[step].strides.as_mut()?.iter_mut().flatten().for_each(|s| s[0] += 1);
        Some(())
    }),
    ("V4", "less scratch than a kernel asks for", |plan| {
        find(plan, |s| s.scratch > 0)?;
        plan.scratch = 0;
        Some(())
    }),
    ("V4", "a map that reads another type", |plan| {
        let map =
            find(plan, |s| s.action.code().is_some_and(|c| c.body().is_some()) && s.operands.len() > 1)?;
        let (slot, unlike) = (plan.steps[map].operands[0].slot as usize, crate::DType::I64);
        let shape = plan.slots[slot].ty.shape;
        plan.slots[slot].ty = Arc::new(TensorType::new(unlike, shape));
        Some(())
    }),
    ("V5", "a step that writes what it reads", |plan| {
        let reads = |s: &Step| {
            matches!(&s.action, Action::Compute(code, _) if !code.in_place()) && s.operands.len() > 1
        };
        let step = find(plan, |s| reads(s) && s.onto.is_none() && s.beta == 0.0)?;
        let view = plan.steps[step].results[0];
        // Something is there, so that it may be read.
        let first = shallow(&plan.steps[step]);
        insert(plan, step, first);
        plan.steps[step + 1].operands[1] = view;
        plan.steps[step + 1].strides = None;
        Some(())
    }),
    ("V6", "an output that nothing makes", |plan| {
        let input = plan.slots.iter().find(|s| matches!(s.place, Place::Input(_)))?.clone();
        plan.outputs[0] = input;
        Some(())
    }),
    ("V6", "a state that is written and copied to", |plan| {
        let state = *plan.stored.first()?;
        plan.commits.push((state, plan.outputs[0].clone()));
        Some(())
    }),
    ("V6", "a state that nobody writes", |plan| {
        let (_, view) = making(plan, |s, _| matches!(s.place, Place::State(_)))?;
        let (len, at) = (plan.slots[view.slot as usize].len, plan.arena);
        plan.arena += 8 * len;
        lay(plan, view.slot, |place| *place = Place::Arena(at));
        Some(())
    }),
    ("V6", "an array that is made twice", |plan| {
        let (step, _) = making(plan, |s, _| matches!(s.place, Place::Arena(_)))?;
        let again = shallow(&plan.steps[step]);
        insert(plan, step, again);
        Some(())
    }),
    ("V6", "what may fail behind the first write", |plan| {
        let guard = named(plan, "guard")?;
        let guard = shallow(&plan.steps[guard]);
        let last = plan.steps.len() - 1;
        insert(plan, last, guard);
        plan.steps.swap(last, last + 1);
        Some(())
    }),
    ("V7", "an input that is written", |plan| {
        let (_, view) = making(plan, |s, _| matches!(s.place, Place::Arena(_)))?;
        let place = Place::Input(plan.inputs.len());
        plan.inputs.push(*plan.slots[view.slot as usize].ty);
        lay(plan, view.slot, |to| *to = place);
        Some(())
    }),
    ("V7", "a layout that is used before it is made", |plan| {
        let used = find(plan, |s| s.prepared.is_some())?;
        let layout = plan.steps[used].prepared?;
        let made = find(plan, |s| s.results.first().is_some_and(|r| r.slot == layout))?;
        plan.steps[made].results = SmallVec::new();
        Some(())
    }),
    ("V8", "an input of another length", |plan| {
        let ty = *plan.inputs.first()?;
        plan.inputs[0] = TensorType::new(ty.dtype, Shape::new(&[ty.shape.elements() - 1]).ok()?);
        Some(())
    }),
    ("V9", "tiles that do not end with the parts", |plan| {
        plan.passes.iter_mut().find(|p| p.folds)?.folds = false;
        Some(())
    }),
    ("V9", "parts that are added up by nobody", |plan| {
        let join = named(plan, "sum of parts")?;
        let slot = plan.steps[join].results[0].slot;
        let parts = plan.steps[join].operands[0].slot;
        let other =
            plan.slots.iter().position(|s| s.len == plan.slots[slot as usize].len && s.root != parts)?;
        plan.steps[join].operands[0].slot = other as u32;
        plan.steps[join].action = Action::Copy;
        plan.steps[join].operands[0].unit = plan.steps[join].results[0].unit;
        Some(())
    }),
];

fn shallow(step: &Step) -> Step {
    Step {
        action: step.action.clone(),
        row: step.row,
        operands: step.operands.clone(),
        strides: step.strides.clone(),
        results: step.results.clone(),
        prepared: step.prepared,
        beta: step.beta,
        alpha: step.alpha,
        onto: step.onto,
        once: step.once,
        canonical: step.canonical,
        blocks: step.blocks,
        scratch: step.scratch,
    }
}

#[test]
fn every_planted_fault_is_found_by_name() {
    let mut caught: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (invariant, what, plant) in PLANTS {
        let mut found = Vec::new();
        for (record, machine) in [
            (training as fn(&Recorder) -> _, &Machine::TINY),
            (training, &Machine::THIS),
            (training, &Machine::HUGE),
            (small, &Machine::THIS),
        ] {
            let (mut plan, lines) = plan(record, machine);
            verify(&plan, &lines).unwrap();
            // Not every plan has what a fault needs.
            if plant(&mut plan).is_some() {
                found.push(verify(&plan, &lines).err().map(|b| b.invariant));
            }
        }
        let count = caught.entry(invariant).or_default();
        count.0 += 1;
        count.1 += usize::from(found.contains(&Some(invariant)));
        assert!(found.contains(&Some(invariant)), "{what}: {found:?}, not {invariant}");
    }
    for (invariant, (planted, found)) in caught {
        println!("{invariant}: {planted} planted, {found} caught");
    }
}
