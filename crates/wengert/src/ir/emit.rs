//! The one place that appends rows, and remembers what does not fit.

use std::panic::Location;

use smallvec::SmallVec;

use super::intern::Operation;
use super::kernel::{ResultTypes, arity};
use super::kinds::{Algebra, Vars};
use super::op::{Control, Leaf, Op};
use super::recorder::Recorder;
use super::tape::{CallSite, Origin, Phase, Row, Value};
use super::var::{Name, Var};
use crate::dtype::DType;
use crate::error::{Error, ErrorKind, ShapeError};
use crate::shape::{Shape, TensorType};

impl Recorder {
    /// Records a row and returns its results; poisoned ones if an operand is poisoned or does not fit.
    ///
    /// In the rows of a derivative some (co)tangents are *touched*: their zeros may come from a closed gate (a mask, or
    /// what writes zeros beside a part). A product of such a value is recorded in a form in which its zeros stay zero
    /// whatever they are multiplied by, as `docs/conventions.md` explains.
    #[track_caller]
    pub fn emit<'t>(&'t self, op: Op, operands: &[Var<'t>]) -> Vars<'t> {
        if !self.owns(operands, op.name()) {
            return self.poison(&[fallback(operands)]);
        }
        let (mut values, mut types) = (SmallVec::new(), SmallVec::<[TensorType; 3]>::new());
        let mut gates = 0;
        {
            let (tape, guesses) = (self.tape.borrow(), self.guesses.borrow());
            for (o, operand) in operands.iter().enumerate() {
                match operand.name {
                    Name::Row(value) => {
                        let row = &tape.rows[value.row as usize];
                        types.extend(row.results.get(value.result as usize).copied());
                        gates |= u64::from(row.origin.touched) << o.min(63);
                        values.push(value);
                    }
                    Name::Poisoned(guess) => types.extend(guesses.get(guess as usize).copied()),
                }
            }
        }
        let results = match infer(&op, &types) {
            Ok(results) => results,
            Err(_) if values.len() < operands.len() => return self.poison(&[fallback(operands)]),
            Err(kind) => {
                self.fail(kind, op.name());
                return self.poison(&[fallback(operands)]);
            }
        };
        if values.len() < operands.len() {
            return self.poison(&results);
        }
        let derived = self.origin.get().is_some_and(|origin| origin.phase != Phase::Forward);
        if gates == 0 || !derived {
            return self.push(op, values, results, false);
        }
        let gated = match &op {
            Op::Elementwise(f) => match f.gated(operands, gates) {
                Some(product) => return std::iter::once(product).collect(),
                None => None,
            },
            Op::Bilinear(f) if f.gates() & gates != gates => f.gated(f.gates() | gates),
            _ => None,
        };
        let touched = touched(gated.as_ref().unwrap_or(&op), gates, operands.len());
        self.push(gated.unwrap_or(op), values, results, touched)
    }

    /// Records a row with one result. An error where the op has none or several.
    #[track_caller]
    pub fn emit_one<'t>(&'t self, op: Op, operands: &[Var<'t>]) -> Var<'t> {
        let name = op.name();
        match self.emit(op, operands)[..] {
            [y] => y,
            ref several => {
                let kind = ErrorKind::Argument(format!("one result expected, found {}", several.len()));
                self.fail_like(kind, name, fallback(operands))
            }
        }
    }

    /// Records a leaf.
    #[track_caller]
    pub(crate) fn leaf(&self, leaf: Leaf, ty: TensorType) -> Var<'_> {
        // Zeros that a rule puts in the place of a (co)tangent that is not there.
        let derived = self.origin.get().is_some_and(|origin| origin.phase != Phase::Forward);
        let touched = derived && matches!(leaf, Leaf::Fill(0.0));
        self.push(Op::Leaf(leaf), SmallVec::new(), ty.into(), touched)[0]
    }

    #[track_caller]
    fn push(&self, op: Op, operands: SmallVec<[Value; 3]>, results: ResultTypes, touched: bool) -> Vars<'_> {
        let Ok(row) = u32::try_from(self.tape.borrow().rows.len()) else {
            self.fail(ErrorKind::Memory { bytes: usize::MAX }, "record");
            return self.poison(&results);
        };
        let origin = Origin { touched, ..self.origin() };
        let count = results.len() as u32;
        let mut varying = self.varying.borrow_mut();
        let new = matches!(op, Op::Leaf(Leaf::Input(_) | Leaf::State(_) | Leaf::Placeholder))
            || operands.iter().any(|v| varying[v.row as usize]);
        varying.push(new);
        let mut tape = self.tape.borrow_mut();
        let near = operands.iter().map(|v| v.row as usize).chain(tape.rows.len().checked_sub(1));
        let results = self.types.of(results, near.map(|i| &tape.rows[i].results));
        tape.rows.push(Row { op: self.ops.of(op), operands, results, origin });
        (0..count).map(|result| self.var(Value { row, result })).collect()
    }

    /// Marks variables as (co)tangents whose zeros may come from closed gates: copies of such.
    pub(crate) fn touch(&self, vars: &[Var<'_>]) {
        let mut tape = self.tape.borrow_mut();
        for value in vars.iter().filter_map(|v| v.id()) {
            tape.rows[value.row as usize].origin.touched = true;
        }
    }

    /// Where a row that is recorded now comes from.
    #[track_caller]
    fn origin(&self) -> Origin {
        if let Some(origin) = self.origin.get() {
            return origin;
        }
        let site = match self.operation.get() {
            Some(Operation { name, location }) => {
                CallSite { location, operation: Some(name), scope: self.scope.get() }
            }
            None => CallSite { location: Location::caller(), operation: None, scope: self.scope.get() },
        };
        let call = self.calls.of(site, &mut self.tape.borrow_mut().calls);
        Origin { call, phase: Phase::Forward, touched: false }
    }

    /// Whether variables are of this recorder; an error, if not.
    #[track_caller]
    pub(crate) fn owns(&self, vars: &[Var<'_>], op: &str) -> bool {
        match vars.iter().position(|v| !std::ptr::eq(v.recorder, self)) {
            None => true,
            Some(at) => {
                let note = (vars.len() > 1).then(|| format!("number {at} of {}, counted from 0", vars.len()));
                // A poisoned one of another recorder, where that says why.
                let theirs = vars[at].recorder.error.borrow().as_ref().map(|e| e.kind().clone());
                let why = theirs.filter(|_| vars[at].id().is_none()).unwrap_or(ErrorKind::ForeignVar);
                self.remember_error(why, op, note);
                false
            }
        }
    }

    /// Remembers an error, if it is the first, and returns a poisoned variable.
    #[track_caller]
    pub(crate) fn fail(&self, kind: impl Into<ErrorKind>, op: &str) -> Var<'_> {
        self.fail_like(kind, op, TensorType::new(DType::F32, Shape::SCALAR))
    }

    /// The same, with what would probably have been the type.
    #[track_caller]
    pub(crate) fn fail_like(&self, kind: impl Into<ErrorKind>, op: &str, guess: TensorType) -> Var<'_> {
        self.remember_error(kind.into(), op, None);
        self.poisoned(guess)
    }

    #[track_caller]
    fn remember_error(&self, kind: ErrorKind, op: &str, note: Option<String>) {
        if self.error.borrow().is_some() {
            return;
        }
        let origin = self.origin();
        let tape = self.tape.borrow();
        let name = tape.calls.get(origin.call as usize).and_then(|call| call.operation).unwrap_or(op);
        let error = Error::at(kind, name, tape.site(&origin));
        *self.error.borrow_mut() = Some(note.map_or(error.clone(), |note| error.with_note(note)));
    }

    /// A variable that names nothing.
    pub(crate) fn poisoned(&self, guess: TensorType) -> Var<'_> {
        let mut guesses = self.guesses.borrow_mut();
        if guesses.last() != Some(&guess) {
            guesses.push(guess);
        }
        Var { recorder: self, name: Name::Poisoned(guesses.len() as u32 - 1) }
    }

    fn poison(&self, results: &[TensorType]) -> Vars<'_> {
        results.iter().map(|&guess| self.poisoned(guess)).collect()
    }

    /// The type of what a variable names.
    pub(super) fn ty(&self, name: Name) -> TensorType {
        let found = match name {
            Name::Row(value) => self.tape.borrow().ty(value),
            Name::Poisoned(guess) => self.guesses.borrow().get(guess as usize).copied(),
        };
        found.unwrap_or(TensorType::new(DType::F32, Shape::SCALAR))
    }
}

/// What a result probably would have been: like the operand of most axes.
fn fallback(operands: &[Var<'_>]) -> TensorType {
    let scalar = TensorType::new(DType::F32, Shape::SCALAR);
    operands.iter().map(|v| v.ty()).fold(scalar, |a, b| if b.shape.rank() >= a.shape.rank() { b } else { a })
}

/// Whether zeros of a row of a derivative may come from closed gates, given which operands' may.
fn touched(op: &Op, gates: u64, count: usize) -> bool {
    let at = |o: usize| gates >> o.min(63) & 1 == 1;
    match op {
        // A sum is a hard zero if all of its terms are.
        Op::Elementwise(f) if matches!(f.algebra(), Algebra::Sum | Algebra::Difference) => (0..count).all(at),
        Op::Elementwise(_) => true,
        // Where something is added to a part, the rest stays what it was.
        Op::Linear(f) => match f.aliases() {
            Some(whole) if !f.replaces() => at(whole),
            _ => (0..count).any(|o| f.linear_in(o) && at(o)),
        },
        // Kernels that multiply inside, and know of no gates, may have made something else of the zeros.
        Op::Bilinear(f) => f.gates() & gates == gates,
        Op::Custom(_) | Op::Discrete(_) | Op::Leaf(_) | Op::Control(_) => false,
    }
}

/// The result types of an op on operands of these types.
pub(super) fn infer(op: &Op, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
    match op {
        Op::Leaf(_) => Err(ErrorKind::Argument("leaves are recorded by their own methods".into())),
        Op::Control(Control::Guard { .. }) => match types {
            [ty] if ty.dtype == DType::Bool && ty.shape == Shape::SCALAR => Ok(ResultTypes::new()),
            [ty] => Err(ShapeError::Other(format!("a branch needs a bool scalar, found {ty}")).into()),
            _ => Err(arity(1, types.len())),
        },
        _ => {
            let results = op.kernel().map_or_else(|| Ok(ResultTypes::new()), |k| k.infer(types))?;
            let fits = match op {
                Op::Elementwise(f) => types.len() == f.arity() && results.len() == 1,
                Op::Bilinear(_) => types.len() == 2 && results.len() == 1,
                _ => true,
            };
            if !fits {
                let found = format!("{} operands and {} results", types.len(), results.len());
                return Err(ErrorKind::Malformed(format!("an op of this kind cannot have {found}")));
            }
            Ok(results)
        }
    }
}
