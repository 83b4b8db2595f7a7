//! Tape to tape: each transform reads rows and records more of them; none computes a number.

mod equal;
mod inline;
mod jvp;
mod optimise;
mod vjp;
mod vmap;
mod walk;

pub(crate) use jvp::jvp;
pub(crate) use optimise::optimise;
pub use optimise::{PASSES, Pass};
pub(crate) use vjp::vjp;
pub(crate) use walk::ambiguous;

use smallvec::SmallVec;

use crate::error::ErrorKind;
use crate::ir::{Origin, Partial, Phase, Recorder, Row, Value, Var, Vars};
use crate::shape::TensorType;

/// Applies the derivative of an elementwise op to a tangent or a cotangent.
fn diagonal<'t>(partial: Partial<'t>, t: Var<'t>) -> Var<'t> {
    match partial {
        Partial::One => t,
        Partial::Scale(factor) => t * factor,
        Partial::Factor(factor) => t * factor,
        Partial::Masked { mask, factor } => mask.select(factor.map_or(t, |factor| t * factor), 0.0),
        Partial::Gate(factor) => t.gated_mul(factor, 2),
    }
}

fn carries(float: bool, row: &Row, operand: usize) -> bool {
    float && row.op.differentiable_in(operand)
}

/// Whether derivatives flow through operand `o` of a row.
fn differentiable(t: &Recorder, row: &Row, o: usize) -> bool {
    let float = t.with_tape(|tape| tape.ty(row.operands[o]).is_some_and(|ty| ty.dtype.is_float()));
    carries(float, row, o)
}

/// A copy of a row whose operands have these names, and its operands and results as variables.
#[allow(clippy::type_complexity)] // a row, operands, results
fn open<'t>(
    t: &'t Recorder,
    index: usize,
    name: impl Fn(Value) -> Value,
) -> Option<(Row, SmallVec<[Var<'t>; 3]>, Vars<'t>)> {
    let mut row = t.with_tape(|tape| tape.rows().get(index).cloned())?;
    row.operands.iter_mut().for_each(|v| *v = name(*v));
    let operands = row.operands.iter().map(|&v| t.var(v)).collect();
    let results =
        (0..row.results.len() as u32).map(|result| t.var(Value { row: index as u32, result })).collect();
    Some((row, operands, results))
}

/// What a rule made for a value, if it is of the value's type; otherwise an error that names the op.
fn checked<'t>(t: &'t Recorder, found: Var<'t>, expected: TensorType, op: &str) -> Var<'t> {
    if !t.owns(&[found], op) {
        return t.poisoned(expected);
    }
    if found.id().is_none() || found.ty() == expected {
        return found;
    }
    t.fail(ErrorKind::Malformed(format!("a rule made {} where {expected} was due", found.ty())), op)
}

/// The origin of rows that differentiate a row of this one.
fn derived(origin: Origin, phase: Phase) -> Origin {
    Origin { phase, ..origin }
}
