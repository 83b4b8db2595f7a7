//! Tangents forwards: forward mode.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::walk::Walk;
use super::{checked, derived, diagonal, differentiable, open};
use crate::error::ErrorKind;
use crate::ir::{Op, Phase, Recorder, Tangents, Value, ValueMap, Var, Vars};

/// The tangents of `outputs` when each of `inputs` moves along its tangent; `None` is exactly
/// zero. Records rows on the tape; walks it once, iteratively.
pub(crate) fn jvp<'t>(
    t: &'t Recorder,
    outputs: &[Var<'t>],
    inputs: &[(Var<'t>, Var<'t>)],
) -> Vec<Option<Var<'t>>> {
    let sources: HashSet<Value> = inputs.iter().filter_map(|(x, _)| x.id()).collect();
    let walk = Walk::new(t, &sources, outputs.iter().filter_map(|y| y.id()));
    let mut tangents: ValueMap<Var<'t>> = ValueMap::default();
    for (x, tangent) in inputs {
        if let Some(id) = x.id() {
            let sum = tangents.get(&id).map_or(*tangent, |&t| t + *tangent);
            tangents.insert(id, sum);
        }
    }
    for index in walk.rows() {
        let Some((row, x, y)) = open(t, index, |v| walk.of(v)) else { continue };
        let flows = |o: usize| tangents.get(&row.operands[o]).copied().filter(|_| differentiable(t, &row, o));
        let incoming: SmallVec<[Option<Var<'t>>; 3]> = (0..x.len()).map(flows).collect();
        if incoming.iter().all(Option::is_none) {
            continue;
        }
        let outgoing =
            t.on_behalf(derived(row.origin, Phase::Tangent), || pushed(t, &row.op, &x, &y, &incoming));
        if !outgoing.is_empty() && outgoing.len() != y.len() {
            let kind = ErrorKind::Malformed(format!(
                "a rule made {} tangents for {} results",
                outgoing.len(),
                y.len()
            ));
            t.fail(kind, row.op.name());
        }
        for (result, (tangent, y)) in outgoing.into_iter().zip(&y).enumerate() {
            let id = Value { row: index as u32, result: result as u32 };
            if let Some(tangent) = tangent.map(|tangent| checked(t, tangent, y.ty(), row.op.name())) {
                let sum = tangents.get(&id).map_or(tangent, |&seed| seed + tangent);
                tangents.insert(id, sum);
            }
        }
    }
    outputs.iter().map(|y| y.id().and_then(|id| tangents.get(&walk.of(id)).copied())).collect()
}

/// The tangents of one row's results.
fn pushed<'t>(
    t: &'t Recorder,
    op: &Op,
    x: &[Var<'t>],
    y: &[Var<'t>],
    tangents: &[Option<Var<'t>>],
) -> Tangents<'t> {
    let some = |vars: Vars<'t>| vars.into_iter().map(Some).collect();
    let moved = tangents.iter().enumerate().filter_map(|(o, t)| Some((o, (*t)?)));
    match op {
        Op::Leaf(_) | Op::Discrete(_) | Op::Control(_) => Tangents::new(),
        Op::Elementwise(f) => {
            let terms = moved.map(|(o, tangent)| diagonal(f.partial(o, x, y[0]), tangent));
            terms.reduce(|a, b| a + b).into()
        }
        Op::Linear(f) => {
            let operands: SmallVec<[Var<'t>; 3]> = (0..x.len())
                .map(|o| match tangents[o] {
                    Some(tangent) => tangent,
                    // Integers are parameters, whatever the op says.
                    None if f.linear_in(o) && x[o].dtype().is_float() => x[o].fill(0.0),
                    None => x[o],
                })
                .collect();
            some(t.emit(op.clone(), &operands))
        }
        Op::Bilinear(f) => {
            let terms = moved.map(|(o, tangent)| {
                let operands = if o == 0 { [tangent, x[1]] } else { [x[0], tangent] };
                // The tangent takes the place of the operand, and is a gate only if it is touched itself.
                let other = f.gates() & !(1 << o);
                let op = if other == f.gates() { None } else { f.gated(other) };
                t.emit_one(op.unwrap_or_else(|| Op::Bilinear(f.clone())), &operands)
            });
            terms.reduce(|a, b| a + b).into()
        }
        Op::Custom(f) => f.jvp(x, y, tangents).unwrap_or_else(|kind| {
            let failed = t.fail(kind, f.name());
            y.iter().map(|_| Some(failed)).collect()
        }),
    }
}
