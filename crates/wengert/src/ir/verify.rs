//! The type-checker of tapes.

use super::emit::infer;
use super::op::{Leaf, Op};
use super::tape::Tape;
use crate::error::{ErrorKind, Result};
use crate::sort::sort;

/// Checks that a tape keeps its own rules: operands come before their users, every row's result
/// types are those its op infers, leaves name inputs of their type, updates are unique.
///
/// ```
/// use wengert::{DType::F64, Program, States};
/// let program = Program::record(&States::new(), |t| t.outputs(Some(t.input(F64, [3]).exp())))?;
/// wengert::ir::verify(program.tape())?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn verify(tape: &Tape) -> Result<()> {
    for (i, row) in tape.rows.iter().enumerate() {
        let broken = |what: String| Err(tape.blame(row, ErrorKind::Malformed(what)));
        let mut types = Vec::with_capacity(row.operands.len());
        for operand in &row.operands {
            match tape.ty(*operand).filter(|_| (operand.row as usize) < i) {
                Some(ty) => types.push(ty),
                None => return broken(format!("row {i} uses {operand}, which is no earlier result")),
            }
        }
        let inferred = match &row.op {
            Op::Leaf(leaf) => {
                let fits = match leaf {
                    Leaf::Input(index) => tape.inputs.get(*index) == row.results.first(),
                    Leaf::Constant(tensor) => row.results.first() == Some(&tensor.ty()),
                    Leaf::State(index) => {
                        tape.states.iter().any(|s| s.index == *index && Some(&s.ty) == row.results.first())
                    }
                    Leaf::Fill(_) | Leaf::Placeholder => true,
                };
                if !fits || row.results.len() != 1 || !row.operands.is_empty() {
                    return broken(format!("row {i} is no leaf of its type"));
                }
                continue;
            }
            op => infer(op, &types),
        };
        match inferred {
            Ok(results) if *results == *row.results => {}
            Ok(results) => {
                return broken(format!("row {i} says {:?}, its op infers {results:?}", row.results));
            }
            Err(kind) => return broken(format!("row {i}: {kind}")),
        }
    }
    let mut updated: Vec<usize> = tape.updates.iter().map(|(s, _)| *s).collect();
    sort(&mut updated);
    if updated.windows(2).any(|w| w[0] == w[1]) {
        return Err(ErrorKind::Malformed("a state is updated twice".into()).into());
    }
    match tape.outputs.iter().chain(tape.updates.iter().map(|(_, v)| v)).find(|v| tape.ty(**v).is_none()) {
        Some(v) => Err(ErrorKind::Malformed(format!("{v} is returned but not on the tape")).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outputs, Recorder, States, Tape, Value};
    use super::*;
    use crate::dtype::DType::F64;

    fn tape() -> Tape {
        let t = Recorder::new(&States::new());
        let y = t.input(F64, [2, 3]).exp().sum(1);
        let outputs: Outputs = t.outputs([y]).unwrap();
        t.finish(outputs).unwrap().0
    }

    #[test]
    fn broken_tapes_are_refused() {
        assert_eq!(verify(&tape()), Ok(()));
        let broken: [fn(&mut Tape); 5] = [
            |t| t.rows[1].operands[0] = Value { row: 2, result: 0 },
            |t| t.rows[1].operands[0] = Value { row: 0, result: 1 },
            |t| t.rows[2].results = t.rows[0].results.clone(),
            |t| t.outputs.push(Value { row: 9, result: 0 }),
            |t| t.updates = vec![(0, t.outputs[0]), (0, t.outputs[0])],
        ];
        for break_it in broken {
            let mut t = tape();
            break_it(&mut t);
            assert!(matches!(verify(&t).unwrap_err().kind(), ErrorKind::Malformed(_)));
        }
    }
}
