//! Which row of a function has the derivative that is wrong.

use super::{Function, function, laws, record};
use crate::error::Result;
use crate::ir::{Form, Op, Opaque, Row, Value};
use crate::tensor::Tensor;

/// What is to be suspected where the derivative of a function is wrong: the first row whose own derivative, of the numbers that it has here, is not that of its
/// values; else the rows where derivatives end. Each with its line.
pub(super) fn culprit(f: &dyn Function, inputs: &[Tensor]) -> String {
    match suspects(f, inputs) {
        Ok(Some(found)) => found,
        _ => "no row by itself".into(),
    }
}

fn suspects(f: &dyn Function, inputs: &[Tensor]) -> Result<Option<String>> {
    let program = record(f, inputs)?;
    let tape = program.tape();
    let (all, values) = program.of_values(|_| true)?;
    let numbers = super::execute(&all, inputs)?;
    let (mut ends, mut stated) = (None, None);
    for row in tape.rows() {
        let types = |row: &Row| row.operands.iter().filter_map(|&v| tape.ty(v)).collect::<Vec<_>>();
        let returns = |form: Form| matches!(form, Form::Opaque(Opaque { returns: Some(_), .. }));
        let name = || format!("{} at {}", tape.operation(&row.origin, &row.op), tape.site(&row.origin));
        match &row.op {
            Op::Leaf(_) | Op::Control(_) => continue,
            Op::Discrete(_) => {
                let floats = row.operands.iter().any(|&v| tape.ty(v).is_some_and(|ty| ty.dtype.is_float()));
                let float = row.results.iter().any(|ty| ty.dtype.is_float());
                if ends.is_none() && floats && float {
                    ends = Some(format!("derivatives end at {}", name()));
                }
                continue;
            }
            // Its values do not come of what its rule is about.
            Op::Custom(f) if returns(f.form(&types(row))) => {
                stated = stated.or_else(|| Some(format!("suspect the rule of {}", name())));
                continue;
            }
            _ => {}
        }
        let at = |v: &Value| values.binary_search(v).ok().and_then(|i| numbers.get(i)).cloned();
        let Some(operands) = row.operands.iter().map(at).collect::<Option<Vec<Tensor>>>() else { continue };
        let op = row.op.clone();
        let own = function(move |t, x| t.emit(op.clone(), x).into_iter().collect());
        let outcome = laws::adjoint(&own, &operands, 1).and_then(|()| laws::tangent(&own, &operands, 1));
        if let Err(e) = outcome {
            return Ok(Some(format!("suspect {}, or a kink or the border of its domain there: {e}", name())));
        }
    }
    Ok(stated.or(ends))
}
