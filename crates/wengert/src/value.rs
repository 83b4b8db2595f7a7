//! Looking at numbers while recording, and branching on them.

use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::exec::evaluate;
use crate::ir::{Control, Op, Value, Var};
use crate::tensor::Tensor;

impl Var<'_> {
    /// The numbers behind this variable, computed now and remembered. An error where they depend
    /// on an input that has no value while recording.
    ///
    /// What a program does with them is fixed when it is recorded: looking at anything that is not
    /// constant marks it as [observed](crate::Program::observed), and a strict recording refuses.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.input_with(array![1.0, 2.0]);
    /// assert_eq!((x * 2.0).value()?.as_slice::<f64>()?, &[2.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn value(self) -> Result<Arc<Tensor>> {
        let id = self.checked()?;
        if self.recorder().varies(id)
            && let Err(kind) = self.recorder().observe()
        {
            self.recorder().fail(kind, "value");
            self.recorder().check()?;
        }
        evaluate(self.recorder(), id)
    }

    /// The outcome of a `bool` scalar, to branch on. The row that this appends makes a run in which
    /// the predicate comes out otherwise fail, naming this line and both outcomes.
    ///
    /// ```
    /// use wengert::{ErrorKind, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let x = t.input_with(2.0);
    ///     t.outputs(if x.gt(0.0).decide()? { x } else { -x })
    /// })?;
    /// let mut workspace = program.workspace()?;
    /// let states = States::new();
    /// assert_eq!(program.evaluate(&mut workspace, &states, (&3.0,))?.scalar(0)?, 3.0);
    /// let other = program.evaluate(&mut workspace, &states, (&-3.0,)).err();
    /// assert!(matches!(other.unwrap().kind(), ErrorKind::Guard { recorded: true, found: false }));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn decide(self) -> Result<bool> {
        let id = self.checked()?;
        let recorded = evaluate(self.recorder(), id)?.item().is_ok_and(|p| p != 0.0);
        self.operation("decide", || self.recorder().emit(Op::Control(Control::Guard { recorded }), &[self]));
        self.recorder().check()?;
        Ok(recorded)
    }

    fn checked(self) -> Result<Value> {
        self.recorder().check()?;
        self.id().ok_or_else(|| ErrorKind::NoValue("the variable is poisoned".into()).into())
    }
}
