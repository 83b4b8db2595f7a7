//! Cotangents backwards: reverse mode.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::walk::Walk;
use super::{checked, derived, diagonal, differentiable, open};
use crate::error::ErrorKind;
use crate::ir::{Contribution, Custom, Leaf, Op, Phase, Recorder, Value, ValueMap, Var};

/// For each of `wrt` the sum over `outputs` of the cotangents that reach it; `None` is exactly
/// zero. Records rows on the tape; walks it once, iteratively.
pub(crate) fn vjp<'t>(
    t: &'t Recorder,
    outputs: &[(Var<'t>, Var<'t>)],
    wrt: &[Var<'t>],
) -> Vec<Option<Var<'t>>> {
    let targets: HashSet<Value> = wrt.iter().filter_map(|v| v.id()).collect();
    let walk = Walk::new(t, &targets, outputs.iter().filter_map(|(y, _)| y.id()));
    let mut cotangents: ValueMap<Var<'t>> = ValueMap::default();
    for (y, ct) in outputs {
        if let Some(id) = y.id().map(|id| walk.of(id)).filter(|id| walk.reaches(id.row)) {
            accumulate(&mut cotangents, id, *y, Contribution::Whole(*ct));
        }
    }
    for index in walk.rows().rev() {
        let id = |result: usize| Value { row: index as u32, result: result as u32 };
        let results = t.with_tape(|tape| tape.rows().get(index).map_or(0, |r| r.results.len()));
        let cts: SmallVec<[Option<Var<'t>>; 2]> =
            (0..results).map(|r| cotangents.get(&id(r)).copied()).collect();
        if cts.iter().all(Option::is_none) {
            continue;
        }
        let Some((row, x, y)) = open(t, index, |v| walk.of(v)) else { continue };
        for value in (0..results).map(id).filter(|v| !targets.contains(v)) {
            cotangents.remove(&value);
        }
        let flows = |o: usize| walk.reaches(row.operands[o].row) && differentiable(t, &row, o);
        let wanted: SmallVec<[bool; 3]> = (0..x.len()).map(flows).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let contributions = t.on_behalf(derived(row.origin, Phase::Cotangent), || {
            contributions(t, &row.op, &x, &y, &cts, &wanted)
        });
        for (o, contribution) in contributions {
            t.on_behalf(derived(row.origin, Phase::Cotangent), || {
                let contribution = match contribution {
                    // Before it is added: a sum would broadcast what does not fit.
                    Contribution::Whole(ct) => Contribution::Whole(checked(t, ct, x[o].ty(), row.op.name())),
                    placed => placed,
                };
                accumulate(&mut cotangents, row.operands[o], x[o], contribution);
                if let Some(ct) = cotangents.get_mut(&row.operands[o]) {
                    *ct = checked(t, *ct, x[o].ty(), row.op.name());
                }
            });
        }
    }
    wrt.iter().map(|v| v.id().and_then(|id| cotangents.get(&id).copied())).collect()
}

/// Adds a contribution to the cotangent of a value: the only place that accumulates.
fn accumulate<'t>(
    cotangents: &mut ValueMap<Var<'t>>,
    value: Value,
    operand: Var<'t>,
    contribution: Contribution<'t>,
) {
    let sum = match (contribution, cotangents.get(&value).copied()) {
        (Contribution::Whole(ct), None) => ct,
        (Contribution::Whole(ct), Some(acc)) => acc + ct,
        (Contribution::Placed { op, part, place }, acc) => {
            let acc = acc.unwrap_or_else(|| operand.fill(0.0));
            let operands: SmallVec<[Var<'t>; 3]> = [acc, part].into_iter().chain(place).collect();
            part.recorder().emit_one(op, &operands)
        }
    };
    cotangents.insert(value, sum);
}

/// What one row passes back to the operands that want it.
fn contributions<'t>(
    t: &'t Recorder,
    op: &Op,
    x: &[Var<'t>],
    y: &[Var<'t>],
    cts: &[Option<Var<'t>>],
    wanted: &[bool],
) -> SmallVec<[(usize, Contribution<'t>); 2]> {
    let operands = (0..x.len()).filter(|&o| wanted[o]);
    let (Some(&y0), Some(ct)) = (y.first(), cts.iter().flatten().next().copied()) else {
        return SmallVec::new();
    };
    match op {
        Op::Leaf(_) | Op::Discrete(_) | Op::Control(_) => SmallVec::new(),
        Op::Elementwise(f) => {
            operands.map(|o| (o, Contribution::Whole(diagonal(f.partial(o, x, y0), ct)))).collect()
        }
        Op::Linear(f) => operands.map(|o| (o, f.transpose_all(o, cts, x))).collect(),
        Op::Bilinear(f) => operands.map(|o| (o, Contribution::Whole(f.transpose(o, ct, x)))).collect(),
        Op::Custom(f) => custom(t, &**f, x, y, cts, wanted)
            .into_iter()
            .enumerate()
            .filter_map(|(o, ct)| Some((o, Contribution::Whole(ct?))))
            .filter(|(o, _)| wanted.get(*o).copied().unwrap_or(false))
            .collect(),
    }
}

/// The cotangents of a custom op's operands: by its own rule, or by transposing its `jvp`, which
/// is the reverse walk over rows that are linear in stand-ins for the tangents.
fn custom<'t>(
    t: &'t Recorder,
    f: &dyn Custom,
    x: &[Var<'t>],
    y: &[Var<'t>],
    cts: &[Option<Var<'t>>],
    wanted: &[bool],
) -> Vec<Option<Var<'t>>> {
    if let Some(own) = f.vjp(x, y, cts) {
        if own.len() != x.len() {
            let what = format!("a rule made {} cotangents for {} operands", own.len(), x.len());
            return vec![Some(t.fail(ErrorKind::Malformed(what), f.name())); x.len()];
        }
        return own.into_iter().collect();
    }
    let tangents: Vec<Option<Var<'t>>> =
        x.iter().zip(wanted).map(|(v, &w)| w.then(|| t.leaf(Leaf::Placeholder, v.ty()))).collect();
    let pushed = match f.jvp(x, y, &tangents) {
        Ok(pushed) if pushed.len() == y.len() => pushed,
        Ok(pushed) => {
            let kind = ErrorKind::Malformed(format!(
                "a rule made {} tangents for {} results",
                pushed.len(),
                y.len()
            ));
            return vec![Some(t.fail(kind, f.name())); x.len()];
        }
        Err(kind) => return vec![Some(t.fail(kind, f.name())); x.len()],
    };
    let seeds: Vec<(Var<'t>, Var<'t>)> = pushed
        .iter()
        .zip(y)
        .zip(cts)
        .filter_map(|((p, y), c)| Some((checked(t, (*p)?, y.ty(), f.name()), (*c)?)))
        .collect();
    let stand_ins: Vec<Var<'t>> = tangents.iter().flatten().copied().collect();
    let Some(pulled) = t.nested(|| vjp(t, &seeds, &stand_ins)) else {
        let kind = ErrorKind::NoRule(
            "its jvp applies the op to its tangents; give it a vjp, or make it linear".into(),
        );
        return vec![Some(t.fail(kind, f.name())); x.len()];
    };
    let mut pulled = pulled.into_iter();
    tangents.iter().map(|v| v.and_then(|_| pulled.next().flatten())).collect()
}
