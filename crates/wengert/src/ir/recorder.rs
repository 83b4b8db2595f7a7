//! Recording: what a user asks of it. Rows are appended in [`emit`](super::emit).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use super::intern::{Calls, Known, Operation, Ops, Restore, identity};
use super::into_var::IntoVars;
use super::op::{Leaf, Op};
use super::states::{State, States};
use super::tape::{Origin, Tape, UsedState, Value, ValueHasher, ValueMap};
use super::var::{Name, Var};
use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::into_tensor::IntoTensor;
use crate::shape::{Shape, TensorType};
use crate::sizes::IntoShape;
use crate::tensor::Tensor;

/// Records a tape. Made by [`Program::record`](crate::Program::record), which lends it to a
/// closure; every [`Var`] borrows it.
///
/// No borrow of the tape is held while an op's code runs, so rules may record rows themselves.
pub struct Recorder {
    pub(super) tape: RefCell<Tape>,
    states: States,
    identity: u64,
    pub(super) error: RefCell<Option<Error>>,
    /// Types that poisoned variables would probably have had.
    pub(super) guesses: RefCell<Vec<TensorType>>,
    pub(super) calls: Calls,
    pub(super) types: Known,
    pub(super) ops: Ops,
    /// The operation of the user's that is recording.
    pub(super) operation: Cell<Option<Operation>>,
    /// The row of each state that was asked for: one leaf per state.
    leaves: RefCell<HashMap<usize, Value>>,
    /// The states that have a next value.
    updated: RefCell<HashSet<usize>>,
    /// For each row whether its results may differ between runs.
    pub(super) varying: RefCell<Vec<bool>>,
    /// How deep the transposes of custom rules are nested.
    depth: Cell<usize>,
    scopes: RefCell<HashMap<Arc<str>, u32>>,
    /// Values computed while recording, and those bound to inputs.
    known: RefCell<ValueMap<Arc<Tensor>>>,
    /// What computing values has made and may need again; of a type of its own.
    evaluator: RefCell<Option<Box<dyn Any>>>,
    /// The rows that a derivative has taken as one with others, and the first of those.
    taken_as_one: RefCell<HashMap<u32, u32, BuildHasherDefault<ValueHasher>>>,
    /// The names of values, to bind and to read them by.
    pub(super) names: RefCell<Vec<(Value, Arc<str>)>>,
    pub(super) scope: Cell<u32>,
    /// The origin of the row whose rule is running.
    pub(super) origin: Cell<Option<Origin>>,
    strict: bool,
    observed: Cell<bool>,
}

/// The names of inputs and outputs that have some.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) inputs: Vec<Option<Arc<str>>>,
    pub(crate) outputs: Vec<Option<Arc<str>>>,
}

/// What a recording returns: made by [`Recorder::outputs`].
#[derive(Clone, Debug)]
pub struct Outputs {
    values: SmallVec<[Value; 4]>,
    /// The identity of the recorder.
    recorder: u64,
}

impl Default for Recorder {
    /// An empty tape without states.
    fn default() -> Self {
        Self::new(&States::new())
    }
}

impl Recorder {
    /// An empty tape over these states.
    pub fn new(states: &States) -> Self {
        Self {
            tape: RefCell::new(Tape { scopes: vec!["".into()], ..Tape::default() }),
            states: states.clone(),
            identity: identity(),
            error: RefCell::new(None),
            guesses: RefCell::default(),
            calls: Calls::default(),
            types: Known::default(),
            ops: Ops::default(),
            operation: Cell::new(None),
            leaves: RefCell::default(),
            updated: RefCell::default(),
            varying: RefCell::default(),
            depth: Cell::new(0),
            scopes: RefCell::new(HashMap::from([("".into(), 0)])),
            known: RefCell::default(),
            evaluator: RefCell::default(),
            taken_as_one: RefCell::default(),
            names: RefCell::default(),
            scope: Cell::new(0),
            origin: Cell::new(None),
            strict: false,
            observed: Cell::new(false),
        }
    }

    /// The same, which refuses to look at values that may differ in another run: [`Var::value`] of them is an error.
    ///
    /// ```
    /// use wengert::{Recorder, States};
    /// let t = Recorder::new(&States::new()).strict();
    /// assert!(t.input_with(2.0).value().is_err());
    /// ```
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Forgets all rows and values, and the error if there was one, but keeps the memory: for a loop that records each step anew and
    /// looks at its [values](Var::value).
    ///
    /// ```
    /// let (mut t, mut x) = (wengert::Recorder::default(), 1.0);
    /// for _ in 0..20 {
    ///     t.clear();
    ///     let v = t.input_with(x);
    ///     let y = v * v - 2;
    ///     // Newton's method.
    ///     x -= y.value()?.item()? / y.gradients(v)[v].value()?.item()?;
    /// }
    /// assert!((x - 2f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn clear(&mut self) {
        let tape = self.tape.get_mut();
        tape.rows.clear();
        tape.inputs.clear();
        tape.states.clear();
        tape.updates.clear();
        self.guesses.get_mut().clear();
        self.varying.get_mut().clear();
        self.taken_as_one.get_mut().clear();
        self.names.get_mut().clear();
        self.leaves.get_mut().clear();
        self.updated.get_mut().clear();
        self.known.get_mut().clear();
        *self.error.get_mut() = None;
        self.identity = identity();
        self.observed.set(false);
    }

    /// A recorder that nothing is recorded on: that of variables which are made of none.
    pub(crate) fn nowhere() -> &'static Self {
        // One for each thread that has made this mistake, for ever; listed, so that leak checkers know of it.
        static ALL: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        thread_local! {
            static NOWHERE: &'static Recorder = {
                let nowhere: &'static Recorder = Box::leak(Box::default());
                ALL.lock().unwrap_or_else(PoisonError::into_inner).push(std::ptr::from_ref(nowhere).expose_provenance());
                nowhere
            };
        }
        NOWHERE.with(|nowhere| *nowhere)
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
            Err(kind) => self.fail_like(kind, "input", TensorType::new(dtype, Shape::SCALAR)),
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
    pub fn input_with(&self, value: impl IntoTensor) -> Var<'_> {
        match value.into_tensor() {
            Ok(value) => {
                let var = self.push_input(value.ty());
                if let Some(id) = var.id() {
                    self.known.borrow_mut().insert(id, Arc::new(value));
                }
                var
            }
            Err(e) => self.fail(e.kind().clone(), "input"),
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
    pub fn constant(&self, value: impl IntoTensor) -> Var<'_> {
        match value.into_tensor() {
            Ok(value) => {
                let ty = value.ty();
                self.leaf(Leaf::Constant(Arc::new(value)), ty)
            }
            Err(e) => self.fail(e.kind().clone(), "constant"),
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
            Ok(shape) => self.operation("full", || self.fill(TensorType::new(dtype, shape), value)),
            Err(kind) => self.fail_like(kind, "full", TensorType::new(dtype, Shape::SCALAR)),
        }
    }

    #[track_caller]
    pub(super) fn fill(&self, ty: TensorType, value: f64) -> Var<'_> {
        if !ty.dtype.holds(value) {
            return self.fail_like(
                ErrorKind::Argument(format!("{} cannot hold {value:?}", ty.dtype)),
                "fill",
                ty,
            );
        }
        self.leaf(Leaf::Fill(value), ty)
    }

    /// A state, at its value at the start of the run.
    ///
    /// ```
    /// use wengert::{Recorder, States};
    /// let mut states = States::new();
    /// let w = states.add("w", 3.0)?;
    /// let t = Recorder::new(&states);
    /// assert_eq!((t.state(w) * 2.0).value()?.item()?, 6.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn state(&self, state: State) -> Var<'_> {
        let tensor = match self.states.get(state) {
            Ok(tensor) => tensor,
            Err(e) => return self.fail(e.kind().clone(), "state"),
        };
        if let Some(&value) = self.leaves.borrow().get(&state.index) {
            return self.var(value);
        }
        let var = self.leaf(Leaf::State(state.index), tensor.ty());
        if let Some(value) = var.id() {
            self.leaves.borrow_mut().insert(state.index, value);
            let name = self.states.name(state).unwrap_or_default().into();
            self.tape.borrow_mut().states.push(UsedState { index: state.index, name, ty: tensor.ty() });
        }
        var
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
        let (true, Some(leaf), Some(value)) = (self.owns(&[state, next], "update"), state.id(), next.id())
        else {
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
    pub fn outputs<'t, M>(&'t self, outputs: impl IntoVars<'t, M>) -> Result<Outputs> {
        let mut values = SmallVec::new();
        let vars = outputs.into_vars();
        if self.owns(&vars, "outputs") {
            for var in vars {
                match var.id() {
                    Some(value) => values.push(value),
                    None => drop(self.fail(ErrorKind::Argument("a poisoned output".into()), "outputs")),
                }
            }
        }
        self.check()?;
        Ok(Outputs { values, recorder: self.identity })
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
        let inner = {
            let scopes = &mut self.tape.borrow_mut().scopes;
            let path: Arc<str> = match &*scopes[self.scope.get() as usize] {
                "" => name.into(),
                outer => format!("{outer}/{name}").into(),
            };
            *self.scopes.borrow_mut().entry(path.clone()).or_insert_with(|| {
                scopes.push(path);
                scopes.len() as u32 - 1
            })
        };
        let _outer = Restore::after(&self.scope, inner);
        record()
    }

    /// The variable of a value of this tape.
    pub(crate) fn var(&self, value: Value) -> Var<'_> {
        Var { recorder: self, name: Name::Row(value) }
    }

    /// Runs a rule whose rows belong to those of `origin`.
    pub(crate) fn on_behalf<R>(&self, origin: Origin, rule: impl FnOnce() -> R) -> R {
        let _outer = Restore::after(&self.origin, Some(origin));
        rule()
    }

    /// Runs what records the rows of an operation that users know by this name; of nested ones the outermost counts.
    #[track_caller]
    pub(crate) fn operation<R>(&self, name: &'static str, record: impl FnOnce() -> R) -> R {
        let location = Location::caller();
        let operation = self.operation.get().unwrap_or(Operation { name, location });
        let _outer = Restore::after(&self.operation, Some(operation));
        record()
    }

    /// Reads the tape. `read` must not record.
    pub(crate) fn with_tape<R>(&self, read: impl FnOnce(&Tape) -> R) -> R {
        read(&self.tape.borrow())
    }

    /// The value of something, if it is known while recording.
    pub(crate) fn known(&self, value: Value) -> Option<Arc<Tensor>> {
        self.known.borrow().get(&value).cloned()
    }

    /// Whether the value of something is known while recording.
    pub(crate) fn is_known(&self, value: Value) -> bool {
        self.known.borrow().contains_key(&value)
    }

    /// Runs with what computing values keeps from one time to the next.
    pub(crate) fn evaluating<E: Any + Default, R>(&self, run: impl FnOnce(&mut E) -> R) -> R {
        let mut kept = self.evaluator.take().and_then(|kept| kept.downcast::<E>().ok()).unwrap_or_default();
        let found = run(&mut kept);
        *self.evaluator.borrow_mut() = Some(kept);
        found
    }

    /// Remembers a value.
    pub(crate) fn remember(&self, value: Value, tensor: Arc<Tensor>) {
        self.known.borrow_mut().insert(value, tensor);
    }

    /// Whether a value may differ between runs.
    pub(crate) fn varies(&self, value: Value) -> bool {
        self.varying.borrow().get(value.row as usize).copied().unwrap_or(true)
    }

    /// Notes that a derivative takes a row as one with an earlier one.
    pub(crate) fn take_as_one(&self, row: u32, earlier: u32) {
        let mut taken = self.taken_as_one.borrow_mut();
        taken.insert(row, earlier);
        taken.insert(earlier, earlier);
    }

    /// The first of the rows that a derivative has taken as one with this row.
    pub(crate) fn taken_as_one(&self, row: u32) -> Option<u32> {
        self.taken_as_one.borrow().get(&row).copied()
    }

    /// The rows whose results have names.
    pub(crate) fn named_rows(&self) -> Vec<u32> {
        self.names.borrow().iter().map(|(value, _)| value.row).collect()
    }

    /// Runs the transpose of a custom rule, unless such are nested too deep.
    pub(crate) fn nested<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        const DEEPEST: usize = 32;
        if self.depth.get() >= DEEPEST {
            return None;
        }
        let _outer = Restore::after(&self.depth, self.depth.get() + 1);
        Some(run())
    }

    /// Notes that the user looked at something that may differ in the next run.
    pub(crate) fn observe(&self) -> Result<(), ErrorKind> {
        self.observed.set(true);
        if self.strict { Err(ErrorKind::Observed) } else { Ok(()) }
    }

    /// The finished tape, the names on it, and whether a value was observed.
    pub(crate) fn finish(self, outputs: Outputs) -> Result<(Tape, Names, bool)> {
        let tape = self.tape.take();
        self.finished(tape, outputs)
    }

    /// The same of a recording that goes on.
    pub(crate) fn so_far(&self, outputs: Outputs) -> Result<(Tape, Names, bool)> {
        self.finished(self.tape.borrow().clone(), outputs)
    }

    fn finished(&self, mut tape: Tape, outputs: Outputs) -> Result<(Tape, Names, bool)> {
        self.check()?;
        if outputs.recorder != self.identity {
            return Err(Error::of(ErrorKind::ForeignVar, "record")
                .with_note("the outputs are those of another recording"));
        }
        tape.outputs = outputs.values.into_vec();
        let given = self.names.borrow();
        let name = |value: Value| given.iter().find(|(v, _)| *v == value).map(|(_, name)| name.clone());
        let mut names = Names {
            inputs: vec![None; tape.inputs.len()],
            outputs: tape.outputs.iter().map(|&value| name(value)).collect(),
        };
        for (value, given) in &*given {
            if let Op::Leaf(Leaf::Input(i)) = tape.rows[value.row as usize].op {
                names.inputs[i] = Some(given.clone());
            }
        }
        Ok((tape, names, self.observed.get()))
    }
}
