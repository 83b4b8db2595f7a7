//! Faults planted in plans: each must be found, under the name of the invariant that it breaks.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::Part;
use super::super::lower::draft;
use super::*;
use crate::dtype::DType::{F64, U32};
use crate::exec::frame::LiveOut;
use crate::exec::graph::{Action, Home, WriteMode};
use crate::exec::memory::Address;
use crate::exec::schedule::Machine;
use crate::exec::table::Id;
use crate::ir::{Outputs, Recorder, States, Tape};
use crate::kernels::Isa;
use crate::shape::{Shape, TensorType};

/// A call with everything in it: splits, products on packed matrices, gathered rows, a guard, states.
fn training(t: &Recorder) -> crate::Result<Outputs> {
    let [w, b, v] = ["w", "b", "v"].map(|name| t.state(t.states().find(name).unwrap()));
    let x = t.input(F64, [900, 64]).gather(t.input(U32, [400]));
    let turned = t.input(F64, [16, 64]).permute([1, 0]);
    let square = t.input(F64, [64, 64]);
    let scale = t.input_with(2.0);
    scale.gt(0.0).decide()?;
    let y = (x.matmul(w) + b).tanh();
    let z = y.matmul(v) * scale;
    let loss = (z * z).sum(());
    let g = loss.gradients([w, b, v]);
    for p in [w, b, v] {
        t.update(p, p * 0.9 - g[p] * 0.1);
    }
    let long = t.input(F64, [3000]);
    let parts = [0, 200, 400].map(|i| long.slice(0, i..i + 300).sum(()));
    let parts = (parts[0] + parts[1] * parts[2]).gradients([long])[long];
    let joined = t.concat([long.exp(), long, long.sin()], 0).sum(());
    t.outputs([loss, y.sum(0), y.max(1).sum(()), x.matmul(turned), square.matmul(square), parts, joined])
}

/// Small calls that one thread does alone.
fn small(t: &Recorder) -> crate::Result<Outputs> {
    let (x, y) = (t.input(F64, [8]), t.input(F64, [8]));
    let z = (x.exp() * y).tanh();
    let parts = [0, 2, 4].map(|i| x.slice(0, i..i + 3).sum(()));
    let g = (parts[0] + parts[1] * 2.0 + parts[2] * y.sum(())).gradients([x])[x];
    t.outputs([z.exp() * z.sin() + z, (z * z).sum(()), g])
}

fn states() -> States {
    let mut states = States::new();
    states.add("w", ndarray::Array2::<f64>::zeros((64, 32))).unwrap();
    states.add("b", ndarray::Array1::<f64>::zeros(32)).unwrap();
    states.add("v", ndarray::Array2::<f64>::zeros((32, 8))).unwrap();
    states
}

/// A plan that has not been verified.
struct Draft {
    frame: Frame,
    plan: Tiled,
}

fn drafted(record: fn(&Recorder) -> crate::Result<Outputs>, machine: &Machine) -> (Draft, Vec<Named>) {
    let t = Recorder::new(&states());
    let outputs = record(&t).unwrap();
    let tape: Tape = t.finish(outputs).unwrap().0.without_dead_rows();
    let (frame, plan, micro) = draft(&tape, Isa::best(), true, machine).unwrap();
    (Draft { frame, plan }, micro)
}

impl Draft {
    /// The first call that is such.
    fn find(&self, such: impl Fn(&KernelCall) -> bool) -> Option<usize> {
        self.plan.calls.iter().position(such)
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.find(|call| call.action.name().contains(name))
    }

    /// The first call whose result is such, and the result.
    fn making(&self, such: impl Fn(&Placed, &Part) -> bool) -> Option<(usize, Part)> {
        let made = |c: &KernelCall| c.results.first().is_some_and(|r| such(&self.plan.buffers[r.buffer], r));
        self.find(made).map(|call| (call, self.plan.calls[call].results[0]))
    }

    /// Puts a buffer elsewhere, under all its names.
    fn lay(&mut self, buffer: BufferId, change: impl Fn(&mut Place)) {
        let base = self.plan.buffers[buffer].base;
        self.plan.buffers.values_mut().filter(|b| b.base == base).for_each(|b| change(&mut b.place));
    }

    /// Adds a call before another, in its loop.
    fn insert(&mut self, at: usize, call: KernelCall) {
        self.plan.calls.insert(at, call);
        for tiles in &mut self.plan.loops {
            if let Body::Calls(calls) = &mut tiles.body {
                calls.start += usize::from(calls.start > at);
                calls.end += usize::from(calls.end > at);
            }
        }
    }
}

fn in_arena(buffer: &Placed, _: &Part) -> bool {
    matches!(buffer.place, Place::Arena(_))
}

/// What breaks, how, and the change; `None` where a plan has nothing to change so.
type Plant = (&'static str, &'static str, fn(&mut Draft) -> Option<()>);

const PLANTS: [Plant; 43] = [
    ("V1", "an output where another is", |d| {
        let [a, b] = [*d.frame.outputs.first()?, *d.frame.outputs.get(1)?];
        d.frame.outputs[1].offset = a.offset;
        d.lay(b.buffer?, |place| *place = Place::Arena(a.offset));
        d.frame.arena *= 2;
        Some(())
    }),
    ("V1", "all that a thread has in one place", |d| {
        let mut changed = 0;
        for buffer in d.plan.buffers.values_mut() {
            if let Place::Task(offset) | Place::Tile(offset) = &mut buffer.place {
                changed += std::mem::take(offset);
            }
        }
        (changed > 0).then_some(())
    }),
    ("V1", "partial results where their sum lies", |d| {
        let combine = d.named("combine")?;
        let (from, to) = (d.plan.calls[combine].operands[0].buffer, d.plan.calls[combine].results[0].buffer);
        let place = d.plan.buffers[to].place;
        d.frame.arena *= 16;
        d.lay(from, |from| *from = place);
        Some(())
    }),
    ("V2", "an operand that is made later", |d| {
        let tanh = d.named("tanh")?;
        d.plan.calls.swap(tanh, tanh.checked_sub(1)?);
        Some(())
    }),
    ("V2", "a tile that is read in another loop", |d| {
        let task = |b: &Placed| matches!(b.place, Place::Task(_));
        let (_, part) = d.making(|b, part| task(b) && part.chunk.is_some())?;
        d.lay(part.buffer, |place| {
            if let Place::Task(offset) = *place {
                *place = Place::Tile(offset);
            }
        });
        Some(())
    }),
    ("V3", "a result that every tile writes whole", |d| {
        let (call, _) = d.making(|_, part| part.chunk.is_some())?;
        d.plan.calls[call].results[0].chunk = None;
        Some(())
    }),
    ("V3", "micro-ops beside other tasks", |d| {
        let ops = d.plan.loops.iter().position(|t| matches!(t.body, Body::Micro(_)))?;
        let group = d.plan.groups.iter().position(|g| g.loops.contains(&ops))?;
        let level = d.plan.levels.iter_mut().find(|l| l.groups.contains(&group))?;
        (d.plan.groups[group].tasks, d.plan.groups[group].chunks, level.tasks) = (2, 2, 2);
        Some(())
    }),
    ("V3", "micro-ops in another order than their loops", |d| {
        let ops = d.plan.loops.iter_mut().find_map(|t| match &mut t.body {
            Body::Micro(ops) if ops.len() > 1 => Some(ops),
            _ => None,
        })?;
        ops.end -= 1;
        Some(())
    }),
    ("V6", "an input whose NaNs are made canonical", |d| {
        let input = |b: &Placed| matches!(b.place, Place::Home(Home::Input(_)));
        let (buffer, _) = d.plan.buffers.iter().find(|(_, b)| input(b))?;
        d.plan.canonical.push(buffer);
        Some(())
    }),
    ("V4", "a micro-op that writes outside of the arena", |d| {
        let op = d.plan.micro.first_mut()?;
        op.out = d.plan.addresses.at(d.frame.region(Home::Input(0)), 0)?;
        Some(())
    }),
    ("V4", "a micro-op that reads another array that is bound", |d| {
        let addresses = d.plan.addresses;
        let inputs = d.frame.region(Home::Input(0))..;
        let bound = |x: &&mut Address| inputs.contains(&addresses.place(**x).0);
        let x = d.plan.micro.iter_mut().flat_map(|op| &mut op.x).find(bound)?;
        *x = addresses.at(addresses.place(*x).0 - 1, 0)?;
        Some(())
    }),
    ("V7", "a micro-op with another constant", |d| {
        let word = d.plan.pool.first_mut()?;
        *word ^= 1;
        Some(())
    }),
    ("V4", "a micro-op with another function", |d| {
        let [a, b] = d.plan.micro.get_mut(..2)? else { return None };
        std::mem::swap(&mut a.function, &mut b.function);
        Some(())
    }),
    ("V4", "a part that ends behind its array", |d| {
        let part = |b: &&mut Placed| b.first > 0;
        let part = d.plan.buffers.values_mut().find(part)?;
        part.first += 1 << 20;
        Some(())
    }),
    ("V4", "a buffer that ends behind the arena", |d| {
        d.frame.arena = d.frame.arena.checked_sub(64)?;
        Some(())
    }),
    ("V4", "a tile that ends behind the thread's memory", |d| {
        d.frame.local = d.frame.local.checked_sub(64)?;
        Some(())
    }),
    ("V4", "a buffer between two words", |d| {
        let (_, part) = d.making(in_arena)?;
        d.frame.arena += 64;
        d.lay(part.buffer, |place| {
            if let Place::Arena(offset) = place {
                *offset += 4;
            }
        });
        Some(())
    }),
    ("V4", "chunks that are too large", |d| {
        let (call, part) = d.making(|_, part| part.chunk.is_some())?;
        d.plan.calls[call].results[0].chunk = NonZeroUsize::new(part.chunk?.get() + 1);
        Some(())
    }),
    ("V4", "another type than that of the buffer", |d| {
        let buffer = d.plan.calls[d.named("tanh")?].operands[0].buffer;
        let (shape, base) = (d.plan.buffers[buffer].ty.shape, d.frame.outputs[0].buffer?);
        d.plan.buffers[buffer].ty = Arc::new(TensorType::new(crate::DType::F32, shape));
        d.plan.buffers[buffer].base = base;
        Some(())
    }),
    ("V4", "strides that leave their buffer", |d| {
        let call = d.find(|c| c.strides.is_some())?;
        d.plan.calls[call].strides.as_mut()?.iter_mut().flatten().for_each(|s| s[0] += 1);
        Some(())
    }),
    ("V4", "less scratch than a kernel asks for", |d| {
        d.find(|c| c.scratch > 0)?;
        d.frame.scratch = 0;
        Some(())
    }),
    ("V4", "a map that reads another type", |d| {
        let is_map = |c: &KernelCall| c.action.computation().is_some_and(|w| w.body().is_some());
        let map = d.find(|c| is_map(c) && c.operands.len() > 1)?;
        let buffer = d.plan.calls[map].operands[0].buffer;
        let shape = d.plan.buffers[buffer].ty.shape;
        d.plan.buffers[buffer].ty = Arc::new(TensorType::new(crate::DType::I64, shape));
        Some(())
    }),
    ("V5", "a call that writes what it reads", |d| {
        let reads = |c: &KernelCall| {
            let computes = matches!(&c.action, Action::Compute(what) if !what.in_place());
            computes && c.operands.len() > 1 && c.mode == WriteMode::Overwrite
        };
        let ty = |d: &Draft, part: Part| d.plan.buffers[part.buffer].ty.clone();
        let alike = |c: &KernelCall| reads(c) && ty(d, c.results[0]) == ty(d, c.operands[1]);
        let call = d.find(alike)?;
        let part = d.plan.calls[call].results[0];
        // Something is there, so that it may be read.
        let first = copy(&d.plan.calls[call]);
        d.insert(call, first);
        d.plan.calls[call + 1].operands[1] = part;
        d.plan.calls[call + 1].strides = None;
        Some(())
    }),
    ("V5", "an array that is read once a part was added to it", |d| {
        let aliases: Vec<usize> =
            (0..d.plan.calls.len()).filter(|&c| d.plan.calls[c].alias().is_some()).collect();
        let [first, second] = *aliases.get(..2)? else { return None };
        d.plan.calls[second].operands[0] = d.plan.calls[first].operands[0];
        Some(())
    }),
    ("V5", "a micro-op that changes what is another array", |d| {
        let changed = |(id, b): &(BufferId, &Placed)| b.base != *id && b.of == *id;
        let (id, _) = d.plan.buffers.iter().find(changed).filter(|_| d.plan.calls.is_empty())?;
        d.plan.buffers[id].base = id;
        Some(())
    }),
    ("V2", "a call that is made for the first tile only", |d| {
        let in_tile = |part: &Part| matches!(d.plan.buffers[part.buffer].place, Place::Tile(_));
        let call = d.find(|c| !c.once && c.results.iter().all(in_tile))?;
        d.plan.calls[call].once = true;
        Some(())
    }),
    ("V4", "other blocks than those that there are", |d| {
        let call = d.find(|c| c.blocks > 1)?;
        d.plan.calls[call].blocks -= 1;
        Some(())
    }),
    ("V4", "the code of another call", |d| {
        let [a, b] = ["tanh", "contract"].map(|name| d.named(name));
        d.plan.calls[a?].code = d.plan.calls[b?].code.clone();
        Some(())
    }),
    ("V4", "a loop behind the last call", |d| {
        let last = d.plan.loops.iter_mut().rev().find_map(|t| match &mut t.body {
            Body::Calls(calls) => Some(calls),
            Body::Micro(_) => None,
        })?;
        last.end += 1;
        Some(())
    }),
    ("V6", "an output that nothing makes", |d| {
        let input = |b: &Placed| matches!(b.place, Place::Home(Home::Input(_)));
        let (buffer, placed) = d.plan.buffers.iter().find(|(_, b)| input(b))?;
        d.frame.outputs[0] = LiveOut { buffer: Some(buffer), offset: 0, ty: *placed.ty };
        Some(())
    }),
    ("V6", "a state that is written and copied to", |d| {
        let state = *d.frame.donated.first()?;
        d.frame.commits.push((state, d.frame.outputs[0]));
        Some(())
    }),
    ("V6", "a state that nobody writes", |d| {
        let (_, part) = d.making(|b, _| matches!(b.place, Place::Home(Home::State(_))))?;
        let (len, at) = (d.plan.buffers[part.buffer].len, d.frame.arena);
        d.frame.arena += 8 * len;
        d.lay(part.buffer, |place| *place = Place::Arena(at));
        Some(())
    }),
    ("V6", "a buffer that is made twice", |d| {
        let (call, _) = d.making(in_arena)?;
        let again = copy(&d.plan.calls[call]);
        d.insert(call, again);
        Some(())
    }),
    ("V6", "what may fail behind the first write", |d| {
        let guard = copy(&d.plan.calls[d.named("guard")?]);
        let last = d.plan.calls.len() - 1;
        d.insert(last, guard);
        d.plan.calls.swap(last, last + 1);
        Some(())
    }),
    ("V7", "an input that is written", |d| {
        let (_, part) = d.making(in_arena)?;
        let place = Place::Home(Home::Input(d.frame.inputs.len()));
        d.frame.inputs.push(*d.plan.buffers[part.buffer].ty);
        d.lay(part.buffer, |to| *to = place);
        Some(())
    }),
    ("V7", "an operand that is used before it is packed", |d| {
        let used = d.find(|c| c.packed.is_some())?;
        let packed = d.plan.calls[used].packed?;
        let made = d.find(|c| c.results.first().is_some_and(|r| r.buffer == packed))?;
        d.plan.calls[made].results = SmallVec::new();
        Some(())
    }),
    ("V8", "an input of another length", |d| {
        let ty = *d.frame.inputs.first()?;
        d.frame.inputs[0] = TensorType::new(ty.dtype, Shape::new(&[ty.shape.elements() - 1]).ok()?);
        Some(())
    }),
    ("V9", "tiles that do not end with the segments", |d| {
        d.plan.loops.iter_mut().find(|t| t.splits)?.splits = false;
        Some(())
    }),
    ("V9", "partial results that nobody combines", |d| {
        let combine = d.named("combine")?;
        let (result, partials) =
            (d.plan.calls[combine].results[0].buffer, d.plan.calls[combine].operands[0].buffer);
        let len = d.plan.buffers[result].len;
        let (other, _) = d.plan.buffers.iter().find(|(_, b)| b.len == len && b.base != partials)?;
        let call = &mut d.plan.calls[combine];
        call.operands[0] = Part { buffer: other, chunk: call.results[0].chunk };
        call.action = Action::Copy;
        Some(())
    }),
    ("V10", "parts in another order than they lie in", |d| {
        let join = d.named("join")?;
        d.plan.calls[join].operands.swap(0, 1);
        Some(())
    }),
    ("V10", "a whole with a gap", |d| {
        let join = d.named("join")?;
        d.plan.calls[join].operands.pop()?;
        Some(())
    }),
    ("V10", "a part of two wholes", |d| {
        let join = d.named("join")?;
        let (mut again, whole) = (copy(&d.plan.calls[join]), d.plan.calls[join].results[0]);
        let placed = d.plan.buffers[whole.buffer].clone();
        let other = BufferId::new(d.plan.buffers.len() as u32);
        d.plan.buffers.push(Placed { of: other, base: other, ..placed }).ok()?;
        again.results[0].buffer = other;
        d.insert(join + 1, again);
        Some(())
    }),
    ("V10", "a part that is written when it is joined", |d| {
        let join = d.named("join")?;
        let part = d.plan.calls[join].operands[0];
        let mut call = copy(&d.plan.calls[d.find(|c| c.alias() == Some(0))?]);
        (call.operands[0], call.results[0]) = (part, part);
        d.insert(join + 1, call);
        Some(())
    }),
];

fn copy(call: &KernelCall) -> KernelCall {
    KernelCall {
        action: call.action.clone(),
        code: call.code.clone(),
        operands: call.operands.clone(),
        strides: call.strides.clone(),
        results: call.results.clone(),
        ..*call
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
            let (mut drafted, micro) = drafted(record, machine);
            verify(&drafted.frame, &drafted.plan, &micro).unwrap();
            // Not every plan has what a fault needs.
            if plant(&mut drafted).is_some() {
                let found_now = verify(&drafted.frame, &drafted.plan, &micro);
                found.push(found_now.err().map(|b| b.invariant));
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
