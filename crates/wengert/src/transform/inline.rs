//! A finished tape as part of one that is being recorded.

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::ir::{Leaf, Op, Recorder, Tape, Value, Var, Vars};
use crate::shape::{Shape, TensorType};

impl Recorder {
    /// Records the rows of a finished tape with these variables for its inputs, and returns its
    /// outputs; so a recorded program can be differentiated, mapped and composed. Its states are those
    /// of the same names here; its updates are left out. An error where inputs or states do not fit.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let states = States::new();
    /// let cube = Program::record(&states, |t| {
    ///     let x = t.input(F64, []);
    ///     t.outputs(x * x * x)
    /// })?;
    /// let slope = Program::record(&states, |t| {
    ///     let x = t.input(F64, []);
    ///     let y = t.inline(cube.tape(), &[x])[0];
    ///     t.outputs(y.gradients([x])[x])
    /// })?;
    /// let mut workspace = slope.workspace()?;
    /// assert_eq!(slope.evaluate(&mut workspace, &states, (&2.0,))?.scalar(0)?, 12.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn inline<'t>(&'t self, tape: &Tape, inputs: &[Var<'t>]) -> Vec<Var<'t>> {
        let misfit = tape.inputs().len() != inputs.len()
            || inputs.iter().zip(tape.inputs()).any(|(x, ty)| x.id().is_some() && x.ty() != *ty);
        if misfit {
            let found: Vec<String> = inputs.iter().map(|x| x.ty().to_string()).collect();
            let due: Vec<String> = tape.inputs().iter().map(|ty| ty.to_string()).collect();
            let kind = ErrorKind::Input(format!(
                "the tape takes ({}), found ({})",
                due.join(", "),
                found.join(", ")
            ));
            self.fail(kind, "inline");
            let guess = |v: &Value| tape.ty(*v).unwrap_or(TensorType::new(DType::F32, Shape::SCALAR));
            return tape.outputs().iter().map(|v| self.poisoned(guess(v))).collect();
        }
        let mut results: Vec<Vars<'t>> = Vec::with_capacity(tape.rows().len());
        let find = |results: &[Vars<'t>], v: &Value| {
            let var = results.get(v.row as usize).and_then(|r| r.get(v.result as usize));
            var.copied().unwrap_or_else(|| {
                let scalar = TensorType::new(DType::F32, Shape::SCALAR);
                self.poisoned(tape.ty(*v).unwrap_or(scalar))
            })
        };
        for row in tape.rows() {
            let made = match &row.op {
                Op::Leaf(Leaf::Input(i)) => inputs.get(*i).copied().into_iter().collect(),
                Op::Leaf(Leaf::State(s)) => std::iter::once(self.state_of(tape, *s)).collect(),
                Op::Leaf(leaf) => row.results.iter().map(|&ty| self.leaf(leaf.clone(), ty)).collect(),
                op => {
                    let operands: SmallVec<[Var<'t>; 3]> =
                        row.operands.iter().map(|v| find(&results, v)).collect();
                    self.emit(op.clone(), &operands)
                }
            };
            if row.origin.touched {
                self.touch(&made);
            }
            results.push(made);
        }
        tape.outputs().iter().map(|v| find(&results, v)).collect()
    }

    fn state_of(&self, tape: &Tape, index: usize) -> Var<'_> {
        let used = tape.states().iter().find(|s| s.index == index);
        let here = used.and_then(|used| self.states().find(&used.name));
        match (used, here) {
            (Some(used), Some(state)) => {
                let var = self.state(state);
                if var.ty() == used.ty {
                    return var;
                }
                self.fail(
                    ErrorKind::State(format!(
                        "the state {} was {}, here it is {}",
                        used.name,
                        used.ty,
                        var.ty()
                    )),
                    "inline",
                )
            }
            _ => self
                .fail(ErrorKind::State("the tape uses a state that is not in this store".into()), "inline"),
        }
    }
}
