//! Programs: a recorded tape and a plan to run it.

use std::sync::Arc;

use ndarray::{Array, Dimension};

use crate::dtype::DType;
use crate::elements::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{
    Inputs, Lowering, Machine, MemoryReport, OutputKey, Plan, PlanListing, Profile, Results, Slots, Store,
    Workspace, first_fault, lowered, profile, read, run, run_small,
};
#[cfg(feature = "jit")]
use crate::exec::{MachineCode, compile};
use crate::ir::{IntoVars, Names, Outputs, Recorder, States, Tape, Value};
use crate::kernels::Isa;
use crate::tensor::Tensor;
use crate::transform::optimise;

/// A tape, recorded once, that runs as often as one likes. Cheap to clone, `Send + Sync`, holds
/// no states; each thread that runs it has a [`Workspace`] of its own.
///
/// ```
/// use ndarray::array;
/// use wengert::{DType::F64, Program, States};
/// let mut states = States::new();
/// let w = states.add("w", array![0.0, 0.0])?;
///
/// let step = Program::record(&states, |t| {
///     let (x, w) = (t.input(F64, [2]), t.state(w));
///     let error = w - x;
///     let loss = (error * error).sum(());
///     let g = loss.gradients([w]);
///     t.update(w, w - g[w] * 0.25);
///     t.outputs(loss)
/// })?;
///
/// let mut workspace = step.workspace()?;
/// let x = array![4.0, 8.0];
/// let first = step.run(&mut workspace, &mut states, (&x,))?.scalar(0)?;
/// let second = step.run(&mut workspace, &mut states, (&x,))?.scalar(0)?;
/// assert_eq!((first, second), (80.0, 20.0));
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone)]
pub struct Program {
    /// As recorded, and as planned.
    tape: Arc<Tape>,
    planned: Arc<Tape>,
    plan: Arc<Plan>,
    names: Arc<Names>,
    /// Workspaces of calls that have ended.
    spare: Arc<Slots<Workspace>>,
    observed: bool,
    /// What the plan was made for, to make its earlier forms again.
    rounding: bool,
    machine: Machine,
}

/// What the closure of a recording returns: what [`Recorder::outputs`] made.
#[diagnostic::on_unimplemented(
    message = "a recording returns its outputs, not `{Self}`",
    label = "end it with `t.outputs(y)`, or with `t.outputs((y, z))`",
    note = "without a closure, `t.program(y)` makes a program of a recorder's rows"
)]
pub trait Recorded {
    /// The outputs.
    fn outputs(self) -> Result<Outputs>;
}
impl Recorded for Outputs {
    fn outputs(self) -> Result<Outputs> {
        Ok(self)
    }
}
impl Recorded for Result<Outputs> {
    fn outputs(self) -> Result<Outputs> {
        self
    }
}

/// Which passes a tape goes through before it is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Passes {
    /// None, and the plan is the trivial one.
    None,
    Exact,
    All,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program of {} rows\n{}", self.tape.rows().len(), self.tape.listing(20))
    }
}

impl Program {
    /// Records a program over these states. The error is the first of the recording, with the line
    /// of the closure that caused it.
    pub fn record<F, R: Recorded>(states: &States, record: F) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Recorder) -> R,
    {
        Self::planned(Recorder::new(states), Passes::All, &Machine::THIS, record)
    }

    /// Like [`record`](Self::record), with the bits of the rows as they were recorded, computed one by one: only
    /// passes that are [exact](crate::Pass::exact) change the tape before it is planned.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let thrice = |t: &wengert::Recorder| t.outputs(t.input(F64, [1]) * 0.1 * 3.0);
    /// let (any, exact) = (Program::record(&States::new(), thrice)?, Program::record_exact(&States::new(), thrice)?);
    /// assert_eq!((any.optimised().rows().len(), exact.optimised().rows().len()), (2, 3));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn record_exact<F, R: Recorded>(states: &States, record: F) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Recorder) -> R,
    {
        Self::planned(Recorder::new(states), Passes::Exact, &Machine::THIS, record)
    }

    /// Like [`record_exact`](Self::record_exact), for a program that runs only a few times: planned row by row,
    /// at the least cost. The results have the same bits.
    pub fn record_once<F, R: Recorded>(states: &States, record: F) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Recorder) -> R,
    {
        Self::planned(Recorder::new(states), Passes::None, &Machine::THIS, record)
    }

    /// Like [`record`](Self::record), but looking at a [`value`](crate::Var::value) that may differ
    /// in the next run is an error; branches through [`decide`](crate::Var::decide) are guarded
    /// and so remain allowed.
    pub fn record_strict<F, R: Recorded>(states: &States, record: F) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Recorder) -> R,
    {
        Self::planned(Recorder::new(states).strict(), Passes::All, &Machine::THIS, record)
    }

    /// Records a program and plans it after these passes, for this machine.
    pub(crate) fn planned<F, R: Recorded>(
        recorder: Recorder,
        passes: Passes,
        machine: &Machine,
        record: F,
    ) -> Result<Self>
    where
        F: for<'t> FnOnce(&'t Recorder) -> R,
    {
        let outputs = record(&recorder).outputs()?;
        Self::of(recorder.finish(outputs)?, passes, machine)
    }

    /// Plans what was recorded: a tape, the names on it, and whether a value was observed.
    fn of((tape, names, observed): (Tape, Names, bool), passes: Passes, machine: &Machine) -> Result<Self> {
        let tape = tape.without_dead_rows();
        if let Some(row) = tape.placeholder() {
            let kind = ErrorKind::Malformed(
                "a rule that must be linear in its tangents uses their values, or a variable left its vmap"
                    .into(),
            );
            return Err(tape.blame(row, kind));
        }
        let tape = Arc::new(tape);
        let (isa, rounding) = (Isa::best(), passes == Passes::All);
        let (planned, plan) = if passes == Passes::None {
            (tape.clone(), Plan::rows(&tape, isa)?)
        } else {
            let planned = Arc::new(optimise(Tape::clone(&tape), rounding));
            let plan = Plan::new(&planned, isa, rounding, machine)?;
            #[cfg(feature = "jit")]
            let plan = compile(plan);
            (planned, plan)
        };
        Ok(Self {
            tape,
            planned,
            plan: Arc::new(plan),
            names: Arc::new(names),
            spare: Arc::default(),
            observed,
            rounding,
            machine: *machine,
        })
    }

    /// A program, row by row, that returns all values of these types on the tape and updates nothing; and those values,
    /// in ascending order.
    pub(crate) fn of_values(&self, wanted: impl Fn(DType) -> bool) -> Result<(Self, Vec<Value>)> {
        let mut values = Vec::new();
        for (row, made) in self.tape.rows().iter().enumerate() {
            let wanted = made.results.iter().enumerate().filter(|(_, ty)| wanted(ty.dtype));
            values.extend(wanted.map(|(result, _)| Value { row: row as u32, result: result as u32 }));
        }
        let tape = Tape { outputs: values.clone(), updates: Vec::new(), ..Tape::clone(&self.tape) };
        let program = Self::of((tape, Names::clone(&self.names), false), Passes::None, &self.machine)?;
        Ok((program, values))
    }

    /// The tape as it was recorded, without the rows that nothing depends on.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The tape as it is planned: what the [passes](crate::PASSES) made of the one that was recorded.
    pub fn optimised(&self) -> &Tape {
        &self.planned
    }

    /// Whether the recording looked at a value that may differ in another run: what it did with it
    /// is fixed in the tape.
    pub fn observed(&self) -> bool {
        self.observed
    }

    /// What the program needs to run: bytes by row and in all, before it runs.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let x = t.input(F64, [1000]);
    ///     t.outputs([x.exp().cos(), x.sum(())])
    /// })?;
    /// let report = program.memory_report();
    /// let exp = report.rows.iter().find(|r| r.op == "exp").expect("a row that takes memory");
    /// assert_eq!((exp.bytes, exp.by_thread), (8000, true));
    /// assert!(report.workspace(1) >= 16_000);
    /// println!("{report}");
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn memory_report(&self) -> MemoryReport {
        self.plan.memory_report(&self.planned)
    }

    /// The plan as text: what is computed when, in what parts, and where everything lies.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [3]).exp()))?;
    /// let text = program.plan().to_string();
    /// assert!(text.contains("%1 exp(input 0) -> f64[3]"), "{text}");
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn plan(&self) -> PlanListing {
        PlanListing::new(&self.plan, &self.planned)
    }

    /// What the tape is on its way to numbers, as text: its graph, the schedule of that, or the plan.
    ///
    /// ```
    /// use wengert::{DType::F64, Lowering, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [3]).exp().sum(())))?;
    /// let graph = program.lowered(Lowering::Graph)?;
    /// assert!(graph.contains("exp(input 0 f64[3]) -> b1 f64[3]"), "{graph}");
    /// assert!(program.lowered(Lowering::Schedule)?.starts_with("level 0"));
    /// assert_eq!(program.lowered(Lowering::Plan)?, program.plan().to_string());
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn lowered(&self, lowering: Lowering) -> Result<String> {
        match lowering {
            Lowering::Plan => Ok(self.plan().to_string()),
            _ if self.plan.is_rows() => {
                let what = "a program recorded to run once is computed row by row: it has no graph";
                Err(ErrorKind::Argument(what.into()).into())
            }
            earlier => lowered(&self.planned, self.rounding, &self.machine, earlier),
        }
    }

    /// The names of the inputs.
    pub(crate) fn input_names(&self) -> &[Option<Arc<str>>] {
        &self.names.inputs
    }

    /// The machine code of a program, with the feature `jit`: of what one thread computes of small arrays, and of neighbouring elementwise
    /// rows of longer ones, where the processor is one of x86-64 with AVX2, and the system calls functions as Unix does. `None` where there is
    /// nothing of that kind: the program then runs as without the feature, with the same bits.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [8]) * 2.0))?;
    /// if let Some(code) = program.machine_code() {
    ///     println!("{} bytes\n{code}", code.bytes().len());
    /// }
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[cfg(feature = "jit")]
    pub fn machine_code(&self) -> Option<MachineCode<'_>> {
        MachineCode::of(&self.plan)
    }

    /// Memory for runs on one thread: all that they need, unless an input is not row-major, which
    /// takes room for a copy when it is first bound. An error where the allocation fails.
    pub fn workspace(&self) -> Result<Workspace> {
        Workspace::new(&self.plan, 1)
    }

    /// Memory for runs that share the work of large rows among `threads` threads (at least one),
    /// the calling one among them; the others wait in the workspace and end with it. The results have the
    /// same bits for any number of threads. An error where memory cannot be allocated, threads cannot be spawned, or for more than 1024
    /// threads.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [300, 300]).exp()))?;
    /// let x = ndarray::Array2::<f64>::ones((300, 300));
    /// let (mut one, mut two) = (program.workspace()?, program.workspace_on(2)?);
    /// let alone = program.evaluate(&mut one, &States::new(), (&x,))?;
    /// let shared = program.evaluate(&mut two, &States::new(), (&x,))?;
    /// assert_eq!(alone.slice::<f64>(0)?, shared.slice::<f64>(0)?);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn workspace_on(&self, threads: usize) -> Result<Workspace> {
        Workspace::new(&self.plan, threads.max(1))
    }

    /// Like [`workspace_on`](Self::workspace_on), within a budget of bytes: an error that says how many are
    /// needed where they are more.
    ///
    /// ```
    /// use wengert::{DType::F64, ErrorKind, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [1000]).exp()))?;
    /// assert!(program.workspace_within(1, 10_000).is_ok());
    /// let error = program.workspace_within(1, 1000).err().expect("too little");
    /// assert!(matches!(error.kind(), ErrorKind::Budget { needed: 8000.., budget: 1000 }));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn workspace_within(&self, threads: usize, budget: usize) -> Result<Workspace> {
        let needed = self.plan.workspace_bytes(threads.max(1));
        if needed > budget {
            return Err(ErrorKind::Budget { needed, budget }.into());
        }
        self.workspace_on(threads)
    }

    /// Runs the program and updates the states. `inputs` is a tuple of references, in the order in
    /// which they were recorded. A run that returns an error has changed no state.
    pub fn run<'w>(
        &'w self,
        workspace: &'w mut Workspace,
        states: &mut States,
        inputs: impl Inputs,
    ) -> Result<Results<'w>> {
        let outcome = run(
            &self.plan,
            &self.planned,
            &self.names,
            workspace,
            Store::Exclusive(&mut *states),
            &inputs,
            None,
        );
        outcome.map_err(|found| self.first_fault(found, states, &inputs))
    }

    /// Of several rows that fail in a run the first of the tape is told, whatever the order in which the plan came to
    /// them: a run that failed has changed no state, so the rows can be computed one by one to find out.
    #[cold]
    fn first_fault(&self, found: Error, states: &States, inputs: &dyn Inputs) -> Error {
        match found.kind() {
            ErrorKind::Fault(_) | ErrorKind::Guard { .. } => {
                first_fault(&self.tape, &self.names, states, inputs).unwrap_or(found)
            }
            _ => found,
        }
    }

    /// Runs the program and updates the states, and tells what each call of the plan took. Taking the time
    /// costs some 50 ns for each call of a kernel. An error for a program that was recorded to run
    /// [once](Self::record_once): its plan has no calls.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [300, 300]).exp()))?;
    /// let x = ndarray::Array2::<f64>::ones((300, 300));
    /// let profile = program.profile(&mut program.workspace()?, &mut States::new(), (&x,))?;
    /// assert_eq!(profile.calls()[0].op, "exp");
    /// assert_eq!(profile.calls()[0].bytes, 2 * 8 * 300 * 300);
    /// println!("{profile}");
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn profile(
        &self,
        workspace: &mut Workspace,
        states: &mut States,
        inputs: impl Inputs,
    ) -> Result<Profile> {
        let outcome = profile(&self.plan, &self.planned, &self.names, workspace, states, &inputs);
        outcome.map_err(|found| self.first_fault(found, states, &inputs))
    }

    /// Runs a program that updates no states, so that many threads may share them. An error where
    /// it does update some.
    pub fn evaluate<'w>(
        &'w self,
        workspace: &'w mut Workspace,
        states: &States,
        inputs: impl Inputs,
    ) -> Result<Results<'w>> {
        self.evaluate_dyn(workspace, states, &inputs)
    }

    /// The same.
    pub(crate) fn evaluate_dyn<'w>(
        &'w self,
        workspace: &'w mut Workspace,
        states: &States,
        inputs: &dyn Inputs,
    ) -> Result<Results<'w>> {
        if run_small(&self.plan, workspace, inputs) {
            return Ok(read(&self.plan, &self.names, workspace));
        }
        if self.plan.updates() {
            return Err(ErrorKind::State("the program updates states; bind them mutably".into()).into());
        }
        let outcome =
            run(&self.plan, &self.planned, &self.names, workspace, Store::Shared(states), inputs, None);
        outcome.map_err(|found| self.first_fault(found, states, inputs))
    }

    /// Runs a program that neither reads nor updates states, from any number of threads at once: each call has a workspace of its own,
    /// which calls that have ended leave to later ones, so that only as many are made as there are calls at one time. They are
    /// freed with the program.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [2]).sum(())))?;
    /// assert_eq!(program.call(&array![1.0, 2.0])?.scalar(0)?, 3.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn call(&self, inputs: impl Inputs) -> Result<Called<'_>> {
        if let Some(state) = self.tape.states().first() {
            let what =
                format!("the program reads the state {}: bind a store, `call_with(&states, …)`", state.name);
            return Err(ErrorKind::State(what).into());
        }
        self.call_with(States::none(), inputs)
    }

    /// The same for a program that reads states.
    pub fn call_with(&self, states: &States, inputs: impl Inputs) -> Result<Called<'_>> {
        self.call_dyn(states, &inputs)
    }

    /// The same.
    pub(crate) fn call_dyn(&self, states: &States, inputs: &dyn Inputs) -> Result<Called<'_>> {
        let workspace = self.spare.take().map_or_else(|| self.workspace().map(Box::new), Ok)?;
        let mut called = Called { program: self, workspace: Some(workspace) };
        if let Some(workspace) = &mut called.workspace {
            self.evaluate_dyn(workspace, states, inputs)?;
        }
        Ok(called)
    }
}

impl Recorder {
    /// A program of what was recorded so far, which returns these outputs: [`Program::record`] without a closure. Recording may go on: the
    /// next program has what comes then too.
    ///
    /// ```
    /// use wengert::{DType::F64, Recorder};
    /// let t = Recorder::default();
    /// let x = t.input(F64, [2]);
    /// let program = t.program((x.sum(()), x * 2))?;
    /// assert_eq!(program.call(&[1.0, 2.0])?.scalar(0)?, 3.0);
    /// assert_eq!(t.program(x.max(()))?.call(&[1.0, 2.0])?.scalar(0)?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn program<'t, M>(&'t self, outputs: impl IntoVars<'t, M>) -> Result<Program> {
        let outputs = self.outputs(outputs)?;
        Program::of(self.so_far(outputs)?, Passes::All, &Machine::THIS)
    }
}

/// What a [call](Program::call) returned. Its memory serves other calls once this is dropped.
pub struct Called<'p> {
    program: &'p Program,
    /// Taken when this is dropped.
    workspace: Option<Box<Workspace>>,
}

impl Called<'_> {
    /// The results, which have further ways to be read.
    pub fn results(&self) -> Result<Results<'_>> {
        let workspace = self.workspace.as_deref();
        let workspace = workspace.ok_or_else(|| ErrorKind::Malformed("a call without a workspace".into()))?;
        Ok(read(&self.program.plan, &self.program.names, workspace))
    }

    /// An output of a single element, as f64.
    pub fn scalar(&self, output: impl OutputKey) -> Result<f64> {
        self.results()?.scalar(output)
    }

    /// The row-major elements of an output. An error where `T` is not its element type.
    pub fn slice<T: Element>(&self, output: impl OutputKey) -> Result<&[T]> {
        self.results()?.slice(output)
    }

    /// A copy of an output as an array. An error where the element type or the number of axes is another.
    pub fn array<T: Element, D: Dimension>(&self, output: impl OutputKey) -> Result<Array<T, D>> {
        self.results()?.array(output)
    }

    /// A copy of an output.
    pub fn tensor(&self, output: impl OutputKey) -> Result<Tensor> {
        self.results()?.tensor(output)
    }
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        if let Some(workspace) = self.workspace.take() {
            self.program.spare.give(workspace);
        }
    }
}
