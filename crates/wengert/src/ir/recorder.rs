//! Recording: the one place that appends rows.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use super::kernel::{ResultTypes, arity};
use super::op::{Control, Leaf, Op, Vars};
use super::states::{State, States};
use super::tape::{Origin, Phase, Row, Tape, UsedState, Value};
use super::var::Var;
use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::shape::{IntoShape, Shape, TensorType};
use crate::tensor::Tensor;

/// Records a tape. Made by [`Program::record`](crate::Program::record), which lends it to a
/// closure; every [`Var`] borrows it.
///
/// No borrow of the tape is held while an op's code runs, so rules may record rows themselves.
pub struct Recorder {
    tape: RefCell<Tape>,
    states: States,
    error: RefCell<Option<Error>>,
    /// The row of each state that was asked for: one leaf per state.
    leaves: RefCell<HashMap<usize, Value>>,
    /// The states that have a next value.
    updated: RefCell<HashSet<usize>>,
    /// For each row whether its results may differ between runs.
    varying: RefCell<Vec<bool>>,
    /// How deep the transposes of custom rules are nested.
    depth: Cell<usize>,
    scopes: RefCell<HashMap<Arc<str>, u32>>,
    /// Values computed while recording, and those bound to inputs.
    known: RefCell<HashMap<Value, Arc<Tensor>>>,
    scope: Cell<u32>,
    /// The origin of the row whose rule is running.
    origin: Cell<Option<Origin>>,
    strict: bool,
    observed: Cell<bool>,
}

/// What a recording returns: made by [`Recorder::outputs`].
#[derive(Clone, Debug)]
pub struct Outputs {
    values: SmallVec<[Value; 4]>,
    /// The address of the recorder, to tell tapes apart.
    recorder: usize,
}

impl Default for Recorder {
    /// An empty tape without states.
    fn default() -> Self {
        Self::new(&States::new(), false)
    }
}

impl Recorder {
    /// An empty tape over these states. A `strict` one refuses to look at values.
    pub fn new(states: &States, strict: bool) -> Self {
        Self {
            tape: RefCell::new(Tape { scopes: vec!["".into()], ..Tape::default() }),
            states: states.clone(),
            error: RefCell::new(None),
            leaves: RefCell::default(),
            updated: RefCell::default(),
            varying: RefCell::default(),
            depth: Cell::new(0),
            scopes: RefCell::new(HashMap::from([("".into(), 0)])),
            known: RefCell::default(),
            scope: Cell::new(0),
            origin: Cell::new(None),
            strict,
            observed: Cell::new(false),
        }
    }

    /// An array that is bound at each run, in the order of these calls. It has no value while
    /// recording.
    ///
    /// ```
    /// use wengert::{DType::F32, Recorder};
    /// let t = Recorder::default();
    /// assert_eq!(t.input(F32, [100, 784]).ty().to_string(), "f32[100, 784]");
    /// ```
    #[track_caller]
    pub fn input(&self, dtype: DType, shape: impl IntoShape) -> Var<'_> {
        match shape.into_shape() {
            Ok(shape) => self.push_input(TensorType::new(dtype, shape)),
            Err(kind) => self.fail(kind, "input"),
        }
    }

    /// An array that is bound at each run and has this value while recording.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.input_with(ndarray::array![1.0, 2.0]);
    /// assert_eq!(x.sum(()).value()?.item()?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn input_with<E>(&self, value: impl TryInto<Tensor, Error = E>) -> Var<'_>
    where
        Error: From<E>,
    {
        match value.try_into() {
            Ok(value) => {
                let var = self.push_input(value.ty());
                if let Some(id) = var.value {
                    self.known.borrow_mut().insert(id, Arc::new(value));
                }
                var
            }
            Err(e) => self.fail(Error::from(e).kind().clone(), "input"),
        }
    }

    #[track_caller]
    fn push_input(&self, ty: TensorType) -> Var<'_> {
        let index = {
            let inputs = &mut self.tape.borrow_mut().inputs;
            inputs.push(ty);
            inputs.len() - 1
        };
        self.leaf(Leaf::Input(index), ty)
    }

    /// A fixed array, kept in the tape.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(ndarray::array![1u8, 2]).ty().to_string(), "u8[2]");
    /// ```
    #[track_caller]
    pub fn constant<E>(&self, value: impl TryInto<Tensor, Error = E>) -> Var<'_>
    where
        Error: From<E>,
    {
        match value.try_into() {
            Ok(value) => {
                let ty = value.ty();
                self.leaf(Leaf::Constant(Arc::new(value)), ty)
            }
            Err(e) => self.fail(Error::from(e).kind().clone(), "constant"),
        }
    }

    /// An array of this type whose elements are all `value`.
    ///
    /// ```
    /// use wengert::{DType::F64, Recorder};
    /// let t = Recorder::default();
    /// assert_eq!(t.full(F64, [2, 2], 0.5).sum(()).value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn full(&self, dtype: DType, shape: impl IntoShape, value: f64) -> Var<'_> {
        match shape.into_shape() {
            Ok(shape) => self.fill(TensorType::new(dtype, shape), value),
            Err(kind) => self.fail(kind, "fill"),
        }
    }

    #[track_caller]
    pub(super) fn fill(&self, ty: TensorType, value: f64) -> Var<'_> {
        if !ty.dtype.holds(value) {
            return self.fail(ErrorKind::Argument(format!("{value} is no {}", ty.dtype)), "fill");
        }
        self.leaf(Leaf::Fill(value), ty)
    }

    /// A state, at its value at the start of the run.
    ///
    /// ```
    /// use wengert::{Recorder, States};
    /// let mut states = States::new();
    /// let w = states.add("w", 3.0)?;
    /// let t = Recorder::new(&states, false);
    /// assert_eq!((t.state(w) * 2.0).value()?.item()?, 6.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn state(&self, state: State) -> Var<'_> {
        if let Some(&value) = self.leaves.borrow().get(&state.0) {
            return Var { recorder: self, value: Some(value) };
        }
        match self.states.get(state) {
            Ok(tensor) => {
                let var = self.leaf(Leaf::State(state.0), tensor.ty());
                if let Some(value) = var.value {
                    self.leaves.borrow_mut().insert(state.0, value);
                    let name = self.states.name(state).unwrap_or_default().into();
                    self.tape.borrow_mut().states.push(UsedState { index: state.0, name, ty: tensor.ty() });
                }
                var
            }
            Err(e) => self.fail(e.kind().clone(), "state"),
        }
    }

    /// The states as they were when recording began.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Declares the next value of a state, given by the variable that [`state`](Self::state)
    /// returned. All updates of a run take effect together, after everything was read; declaring
    /// one twice is an error.
    ///
    /// ```
    /// use wengert::{Program, States};
    /// let mut states = States::new();
    /// let count = states.add("count", 0.0)?;
    /// let tick = Program::record(&states, |t| {
    ///     t.update(t.state(count), t.state(count) + 1.0);
    ///     t.outputs(t.state(count))
    /// })?;
    /// let before = tick.run(&mut tick.workspace()?, &mut states, ())?.scalar(0)?;
    /// assert_eq!((before, states.get(count)?.item()?), (0.0, 1.0));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn update<'t>(&'t self, state: Var<'t>, next: Var<'t>) {
        let (true, Some(leaf), Some(value)) = (self.owns(&[state, next]), state.value, next.value) else {
            return;
        };
        let misfit = {
            let mut tape = self.tape.borrow_mut();
            let (old, new) = (tape.ty(leaf), tape.ty(value));
            match tape.rows[leaf.row as usize].op {
                Op::Leaf(Leaf::State(index)) if old == new => {
                    if self.updated.borrow_mut().insert(index) {
                        tape.updates.push((index, value));
                        None
                    } else {
                        Some(ErrorKind::State("the state has an update already".into()))
                    }
                }
                Op::Leaf(Leaf::State(_)) => Some(ErrorKind::State(format!(
                    "the state is {}, its next value is {}",
                    old.map_or_else(String::new, |t| t.to_string()),
                    new.map_or_else(String::new, |t| t.to_string())
                ))),
                _ => Some(ErrorKind::State("only a state can be updated".into())),
            }
        };
        if let Some(kind) = misfit {
            self.fail(kind, "update");
        }
    }

    /// Ends a recording: what each run returns. The first error of the recording, if there was one.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let x = t.input(F64, [2]);
    ///     t.outputs([x.sum(()), x * 2.0])
    /// })?;
    /// assert_eq!(program.tape().outputs().len(), 2);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn outputs<'t>(&'t self, outputs: impl IntoIterator<Item = Var<'t>>) -> Result<Outputs> {
        let mut values = SmallVec::new();
        for var in outputs {
            match var.value.filter(|_| self.owns(&[var])) {
                Some(value) => values.push(value),
                None => drop(self.fail(ErrorKind::Argument("a poisoned output".into()), "outputs")),
            }
        }
        self.check()?;
        Ok(Outputs { values, recorder: self.address() })
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The first error of the recording so far.
    ///
    /// ```
    /// use wengert::{DType::F64, Recorder};
    /// let t = Recorder::default();
    /// let _ = t.input(F64, [2]) + t.input(F64, [3]);
    /// assert!(t.check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        self.error.borrow().clone().map_or(Ok(()), Err)
    }

    /// Names the rows that `record` makes, in errors, profiles and pictures; scopes nest.
    ///
    /// ```
    /// use wengert::{DType::F64, Recorder};
    /// let t = Recorder::default();
    /// t.scope("encoder", || t.scope("layer1", || t.input(F64, [2]).reshape([3])));
    /// assert!(t.check().unwrap_err().to_string().contains("(encoder/layer1)"));
    /// ```
    pub fn scope<R>(&self, name: &str, record: impl FnOnce() -> R) -> R {
        let outer = self.scope.get();
        let inner = {
            let scopes = &mut self.tape.borrow_mut().scopes;
            let path: Arc<str> = match &*scopes[outer as usize] {
                "" => name.into(),
                outer => format!("{outer}/{name}").into(),
            };
            *self.scopes.borrow_mut().entry(path.clone()).or_insert_with(|| {
                scopes.push(path);
                scopes.len() as u32 - 1
            })
        };
        self.scope.set(inner);
        let result = record();
        self.scope.set(outer);
        result
    }

    /// Records a row and returns its results; none if an operand is poisoned or does not fit.
    #[track_caller]
    pub fn emit<'t>(&'t self, op: Op, operands: &[Var<'t>]) -> Vars<'t> {
        if !self.owns(operands) {
            return Vars::new();
        }
        let (mut values, mut types) = (SmallVec::new(), SmallVec::<[TensorType; 3]>::new());
        {
            let tape = self.tape.borrow();
            for operand in operands {
                let Some(value) = operand.value else { return Vars::new() };
                values.push(value);
                types.extend(tape.ty(value));
            }
        }
        match infer(&op, &types) {
            Ok(results) => {
                let count = results.len();
                let row = self.push(op, values, results);
                (0..count as u32)
                    .map(|result| Var { recorder: self, value: row.map(|row| Value { row, result }) })
                    .collect()
            }
            Err(kind) => {
                self.fail(kind, op.name());
                Vars::new()
            }
        }
    }

    /// Records a row with one result. An error where the op has none or several.
    #[track_caller]
    pub fn emit_one<'t>(&'t self, op: Op, operands: &[Var<'t>]) -> Var<'t> {
        let name = op.name();
        match self.emit(op, operands)[..] {
            [y] => y,
            // Nothing came of a misfit or of poison, which is remembered; anything else is new.
            [] if self.error.borrow().is_some() => self.poisoned(),
            ref several => {
                let kind = ErrorKind::Argument(format!("one result expected, found {}", several.len()));
                self.fail(kind, name)
            }
        }
    }

    /// Records a leaf.
    #[track_caller]
    pub(crate) fn leaf(&self, leaf: Leaf, ty: TensorType) -> Var<'_> {
        let row = self.push(Op::Leaf(leaf), SmallVec::new(), smallvec::smallvec![ty]);
        Var { recorder: self, value: row.map(|row| Value { row, result: 0 }) }
    }

    #[track_caller]
    fn push(&self, op: Op, operands: SmallVec<[Value; 3]>, results: ResultTypes) -> Option<u32> {
        let origin = self.origin.get().unwrap_or(Origin {
            location: Location::caller(),
            scope: self.scope.get(),
            phase: Phase::Forward,
        });
        let row = u32::try_from(self.tape.borrow().rows.len()).ok().filter(|&r| r < u32::MAX);
        match row {
            Some(_) => {
                let mut varying = self.varying.borrow_mut();
                let new = matches!(op, Op::Leaf(Leaf::Input(_) | Leaf::State(_) | Leaf::Placeholder))
                    || operands.iter().any(|v| varying[v.row as usize]);
                varying.push(new);
                self.tape.borrow_mut().rows.push(Row { op, operands, results, origin });
            }
            None => drop(self.fail(ErrorKind::Memory { bytes: usize::MAX }, "record")),
        }
        row
    }

    /// Whether variables are of this recorder; an error, if not.
    #[track_caller]
    pub(crate) fn owns(&self, vars: &[Var<'_>]) -> bool {
        let all = vars.iter().all(|v| std::ptr::eq(v.recorder, self));
        if !all {
            self.fail(ErrorKind::ForeignVar, "");
        }
        all
    }

    /// Remembers an error, if it is the first, and returns a poisoned variable.
    #[track_caller]
    pub(crate) fn fail(&self, kind: ErrorKind, op: &str) -> Var<'_> {
        let origin = self.origin.get().unwrap_or(Origin {
            location: Location::caller(),
            scope: self.scope.get(),
            phase: Phase::Forward,
        });
        let site = self.tape.borrow().site(&origin);
        let mut error = self.error.borrow_mut();
        if error.is_none() {
            *error = Some(Error::at(kind, op, site));
        }
        self.poisoned()
    }

    pub(crate) fn poisoned(&self) -> Var<'_> {
        Var { recorder: self, value: None }
    }

    /// The variable of a value of this tape.
    pub(crate) fn var(&self, value: Value) -> Var<'_> {
        Var { recorder: self, value: Some(value) }
    }

    /// Runs a rule whose rows belong to those of `origin`.
    pub(crate) fn on_behalf<R>(&self, origin: Origin, rule: impl FnOnce() -> R) -> R {
        let outer = self.origin.replace(Some(origin));
        let result = rule();
        self.origin.set(outer);
        result
    }

    /// Reads the tape. `read` must not record.
    pub(crate) fn with_tape<R>(&self, read: impl FnOnce(&Tape) -> R) -> R {
        read(&self.tape.borrow())
    }

    /// The value of something, if it is known while recording.
    pub(crate) fn known(&self, value: Value) -> Option<Arc<Tensor>> {
        self.known.borrow().get(&value).cloned()
    }

    /// Remembers a value.
    pub(crate) fn remember(&self, value: Value, tensor: Arc<Tensor>) {
        self.known.borrow_mut().insert(value, tensor);
    }

    /// Whether a value may differ between runs.
    pub(crate) fn varies(&self, value: Value) -> bool {
        self.varying.borrow().get(value.row as usize).copied().unwrap_or(true)
    }

    /// Runs the transpose of a custom rule, unless such are nested too deep.
    pub(crate) fn nested<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        const DEEPEST: usize = 32;
        if self.depth.get() >= DEEPEST {
            return None;
        }
        self.depth.set(self.depth.get() + 1);
        let result = run();
        self.depth.set(self.depth.get() - 1);
        Some(result)
    }

    /// Notes that the user looked at something that may differ in the next run.
    pub(crate) fn observe(&self) -> Result<(), ErrorKind> {
        self.observed.set(true);
        if self.strict { Err(ErrorKind::Observed) } else { Ok(()) }
    }

    /// The finished tape, and whether a value was observed.
    pub(crate) fn finish(&self, outputs: Outputs) -> Result<(Tape, bool)> {
        self.check()?;
        if outputs.recorder != self.address() {
            return Err(ErrorKind::ForeignVar.into());
        }
        let mut tape = self.tape.take();
        tape.outputs = outputs.values.into_vec();
        Ok((tape, self.observed.get()))
    }
}

/// The result types of an op on operands of these types.
pub(super) fn infer(op: &Op, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
    match op {
        Op::Leaf(_) => Err(ErrorKind::Argument("leaves are recorded by their own methods".into())),
        Op::Control(Control::Guard { .. }) => match types {
            [ty] if ty.dtype == DType::Bool && ty.shape == Shape::SCALAR => Ok(ResultTypes::new()),
            [ty] => Err(ErrorKind::Shape(format!("a branch needs a bool scalar, found {ty}"))),
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
