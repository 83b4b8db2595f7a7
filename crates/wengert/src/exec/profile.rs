//! What each step of a plan takes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::compute::Spent;
use super::cpu::Code;
use super::plan::{Action, Function, Plan, Said, View};
use super::run::{Inputs, Store, Workspace, run};
use crate::error::{ErrorKind, Result, Site};
use crate::ir::{States, Tape};

/// What one step of a plan took in a run.
#[derive(Clone, Debug)]
pub struct StepProfile {
    /// The row of the tape that the step computes, or computes something for.
    pub row: usize,
    /// The op of that row; for steps that only move data, what they do.
    pub op: String,
    /// The line that recorded the row, and its scope.
    pub site: Site,
    /// Calls of the kernel: one for each tile.
    pub calls: u64,
    /// Time in all calls, on whatever thread.
    pub time: Duration,
    /// Bytes of all operands and results, each counted once.
    pub bytes: usize,
    /// Floating-point operations of a contraction, products and sums; 0 for other ops.
    pub flops: u64,
}

/// What a run of a program took, step by step, in the order of the plan. Prints as a table.
#[derive(Clone, Debug)]
pub struct Profile {
    steps: Vec<StepProfile>,
}

impl Profile {
    /// The steps, in the order in which they run.
    pub fn steps(&self) -> &[StepProfile] {
        &self.steps
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.steps.iter().map(|s| s.time).sum();
        writeln!(f, "{:>9} {:>6} {:>6} {:>8} {:>8}  row  op, line", "µs", "%", "calls", "GB/s", "GFLOP/s")?;
        for step in &self.steps {
            let seconds = step.time.as_secs_f64().max(1e-12);
            let share = 100.0 * seconds / total.as_secs_f64().max(1e-12);
            write!(f, "{:>9.1} {share:>6.1} {:>6}", seconds * 1e6, step.calls)?;
            write!(
                f,
                " {:>8.1} {:>8.1}",
                step.bytes as f64 / seconds / 1e9,
                step.flops as f64 / seconds / 1e9
            )?;
            writeln!(f, "  {:>3}  {} at {}", step.row, step.op, step.site)?;
        }
        writeln!(f, "{:>9.1} µs in {} steps", total.as_secs_f64() * 1e6, self.steps.len())
    }
}

/// Runs a plan and takes the time of each step.
pub(crate) fn profile(
    plan: &Arc<Plan>,
    tape: &Tape,
    workspace: &mut Workspace,
    states: &mut States,
    inputs: &dyn Inputs,
) -> Result<Profile> {
    if plan.by_rows.is_some() {
        return Err(
            ErrorKind::Argument("a program recorded to run once has no steps to profile".into()).into()
        );
    }
    let clock: Vec<Spent> = (0..plan.steps.len() + plan.lines.len()).map(|_| Spent::default()).collect();
    run(plan, tape, workspace, Store::Exclusive(states), inputs, Some(&clock))?;
    let steps = plan.walk().map(|(_, _, said)| {
        let (spent, row, op, bytes, flops) = match said {
            Said::Step(at, step) => {
                let bytes = |view: &View| plan.slots[view.slot as usize].ty.bytes();
                let flops = match &step.action {
                    Action::Compute(code, _) => flops(code, tape, step.row as usize),
                    Action::Fold(fold) => flops(&fold.code, tape, step.row as usize),
                    _ => 0,
                };
                let bytes = step.operands.iter().chain(&step.results).map(bytes).sum();
                (&clock[at], step.row, step.action.name().into_owned(), bytes, flops)
            }
            Said::Line(at, line) => {
                let (bytes, Function { name, .. }) = line.bytes(plan);
                (&clock[plan.steps.len() + at], line.row, (*name).into(), bytes, 0)
            }
        };
        StepProfile {
            row: row as usize,
            op,
            site: tape.site(&tape.rows()[row as usize].origin),
            calls: spent.calls.load(Relaxed),
            time: Duration::from_nanos(spent.nanoseconds.load(Relaxed)),
            bytes,
            flops,
        }
    });
    Ok(Profile { steps: steps.collect() })
}

/// Two operations for each product of a contraction.
fn flops(code: &Code, tape: &Tape, row: usize) -> u64 {
    let Code::Contract(names) = code else { return 0 };
    let (c, row) = (names.names(), &tape.rows()[row]);
    let result = row.results.first().map_or(0, |r| r.shape.elements());
    let Some(lhs) = row.operands.first().and_then(|&v| tape.ty(v)) else { return 0 };
    let summed = c.lhs.iter().zip(lhs.shape.iter()).filter(|(l, _)| !c.out.contains(l));
    2 * (result * summed.map(|(_, d)| d).product::<usize>()) as u64
}
