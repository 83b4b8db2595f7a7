//! The values that a person can look at while recording.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{ErrorKind, Result};
use crate::exec::code::Codes;
use crate::ir::{Control, Leaf, Op, Operand, Recorder, ResultMut, Row, Value, ValueMap};
use crate::kernels::Isa;
use crate::shape::TensorType;
use crate::sort::sort;
use crate::tensor::Tensor;

/// The value of something on a tape that is being recorded, computing what it depends on and
/// remembering all of it.
pub(crate) fn evaluate(t: &Recorder, value: Value) -> Result<Arc<Tensor>> {
    if let Some(known) = t.known(value) {
        return Ok(known);
    }
    // Iterative, so that a chain of any length needs no stack.
    let mut wanted = vec![value.row as usize];
    let mut rows = Vec::new();
    let mut seen = ValueMap::default();
    while let Some(index) = wanted.pop() {
        let first = Value { row: index as u32, result: 0 };
        if t.is_known(first) || seen.insert(first, ()).is_some() {
            continue;
        }
        rows.push(index);
        t.with_tape(|tape| wanted.extend(tape.rows()[index].operands.iter().map(|v| v.row as usize)));
    }
    sort(&mut rows);
    t.evaluating(|codes: &mut Codes| -> Result<()> {
        for index in rows {
            let row = t.with_tape(|tape| tape.rows()[index].clone());
            for (result, tensor) in compute(t, &row, codes)?.into_iter().enumerate() {
                t.remember(Value { row: index as u32, result: result as u32 }, tensor);
            }
        }
        Ok(())
    })?;
    t.known(value).ok_or_else(|| ErrorKind::NoValue("the row has no such result".into()).into())
}

fn compute(t: &Recorder, row: &Row, codes: &mut Codes) -> Result<SmallVec<[Arc<Tensor>; 1]>> {
    let fail = |kind: ErrorKind| Err(t.with_tape(|tape| tape.blame(row, kind)));
    let ty = row.results.first().copied();
    match (&row.op, ty) {
        (Op::Leaf(Leaf::Constant(tensor)), _) => return Ok(std::iter::once(tensor.clone()).collect()),
        (Op::Leaf(Leaf::Fill(value)), Some(ty)) => {
            return Ok(std::iter::once(Arc::new(Tensor::filled(ty, *value)?)).collect());
        }
        (Op::Leaf(Leaf::State(s)), _) => {
            return Ok(std::iter::once(t.states().at(*s)?.1.clone()).collect());
        }
        (Op::Leaf(Leaf::Placeholder), _) => {
            let what = "it stands for every example of a batch, or for a tangent; choose with `select`";
            return fail(ErrorKind::NoValue(what.into()));
        }
        (Op::Leaf(_), _) => {
            return fail(ErrorKind::NoValue(
                "it has no value while recording; give it one with `input_with`".into(),
            ));
        }
        _ => {}
    }
    let operands: SmallVec<[Arc<Tensor>; 3]> = row.operands.iter().filter_map(|&v| t.known(v)).collect();
    let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| o.ty()).collect();
    let operands: SmallVec<[Operand<'_>; 3]> =
        types.iter().zip(&operands).map(|(ty, o)| Operand { ty, data: o.data() }).collect();
    if row.op.kernel().is_none() {
        let found = operands.first().and_then(|p| p.data.f64_at(0)).is_some_and(|p| p != 0.0);
        return match row.op {
            Op::Control(Control::Guard { recorded }) if recorded != found => {
                fail(ErrorKind::Guard { recorded, found })
            }
            _ => Ok(SmallVec::new()),
        };
    }
    let mut tensors: SmallVec<[Tensor; 1]> =
        row.results.iter().map(|&ty| Tensor::filled(ty, 0.0)).collect::<Result<_>>()?;
    let mut results: SmallVec<[ResultMut<'_>; 1]> = row
        .results
        .iter()
        .zip(&mut tensors)
        .map(|(ty, tensor)| ResultMut { ty, data: tensor.data_mut() })
        .collect();
    let isa = Isa::best();
    let code = codes.of_op(&row.op, &types, &row.results, isa);
    let outcome = code.and_then(|code| code.run_whole(&operands, &mut results, isa));
    drop(results);
    if let Err(kind) = outcome {
        return fail(kind);
    }
    tensors.iter_mut().for_each(|tensor| tensor.data_mut().canonicalise());
    Ok(tensors.into_iter().map(Arc::new).collect())
}
