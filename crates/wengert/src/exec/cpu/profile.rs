//! What each call of a plan takes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::bind::Inputs;
use super::interpret::Spent;
use super::workspace::{Store, Workspace, run};
use crate::error::{ErrorKind, Result, Site};
use crate::exec::graph::{Action, Computation};
use crate::exec::plan::{Part, Plan, Run};
use crate::ir::{Form, Names, States, Tape};

/// What one call of a plan took, or a micro-op in a run.
#[derive(Clone, Debug)]
pub struct CallProfile {
    /// The row of the tape that it computes, or computes something for.
    pub row: usize,
    /// The op of that row; for calls that only move data, what they do.
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

/// What a run of a program took, call by call, in the order of the plan. Prints as a table.
#[derive(Clone, Debug)]
pub struct Profile {
    calls: Vec<CallProfile>,
}

impl Profile {
    /// The calls, in the order in which they run.
    pub fn calls(&self) -> &[CallProfile] {
        &self.calls
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.calls.iter().map(|c| c.time).sum();
        writeln!(f, "{:>9} {:>6} {:>6} {:>8} {:>8}  row  op, line", "µs", "%", "calls", "GB/s", "GFLOP/s")?;
        for call in &self.calls {
            let seconds = call.time.as_secs_f64().max(1e-12);
            let share = 100.0 * seconds / total.as_secs_f64().max(1e-12);
            write!(f, "{:>9.1} {share:>6.1} {:>6}", seconds * 1e6, call.calls)?;
            write!(
                f,
                " {:>8.1} {:>8.1}",
                call.bytes as f64 / seconds / 1e9,
                call.flops as f64 / seconds / 1e9
            )?;
            writeln!(f, "  {:>3}  {} at {}", call.row, call.op, call.site)?;
        }
        writeln!(f, "{:>9.1} µs in {} calls", total.as_secs_f64() * 1e6, self.calls.len())
    }
}

/// Runs a plan and takes the time of each call.
pub(crate) fn profile(
    plan: &Arc<Plan>,
    tape: &Tape,
    names: &Names,
    workspace: &mut Workspace,
    states: &mut States,
    inputs: &dyn Inputs,
) -> Result<Profile> {
    let Plan::Tiled(_, tiled) = &**plan else {
        let what = "a program recorded to run once has no calls to profile";
        return Err(ErrorKind::Argument(what.into()).into());
    };
    let clock: Vec<Spent> = (0..tiled.calls.len() + tiled.micro.len()).map(|_| Spent::default()).collect();
    run(plan, tape, names, workspace, Store::Exclusive(states), inputs, Some(&clock))?;
    let calls = tiled.walk().map(|(_, _, run)| {
        let (spent, row, op, bytes, flops) = match run {
            Run::Call(at, call) => {
                let bytes = |part: &Part| tiled.buffers[part.buffer].ty.bytes();
                let computed = call.action.computation().filter(|_| !matches!(call.action, Action::Pack(..)));
                let flops = computed.map_or(0, |what| flops(what, tape, call.row as usize));
                let bytes = call.operands.iter().chain(&call.results).map(bytes).sum();
                (&clock[at], call.row, call.action.name().into_owned(), bytes, flops)
            }
            Run::Micro(at) => {
                let (row, function) = tiled.described(at);
                let bytes = tiled.operands(at).chain([tiled.result(at)]).map(|(_, bytes)| bytes).sum();
                (&clock[tiled.calls.len() + at], row, function.name().into(), bytes, 0)
            }
        };
        CallProfile {
            row: row as usize,
            op,
            site: tape.site(&tape.rows()[row as usize].origin),
            calls: spent.calls.load(Relaxed),
            time: Duration::from_nanos(spent.nanoseconds.load(Relaxed)),
            bytes,
            flops,
        }
    });
    Ok(Profile { calls: calls.collect() })
}

/// Two operations for each product of a contraction or convolution.
fn flops(what: &Computation, tape: &Tape, row: usize) -> u64 {
    let row = &tape.rows()[row];
    let shape = |i: usize| row.operands.get(i).and_then(|&v| tape.ty(v)).map(|ty| ty.shape);
    let c = match &what.form {
        Form::Contract(c) => c,
        #[cfg(feature = "nets")]
        Form::Convolve(c) => return shape(0).zip(shape(1)).map_or(0, |(a, b)| 2 * c.products(a, b) as u64),
        _ => return 0,
    };
    let result = row.results.first().map_or(0, |r| r.shape.elements());
    let Some(lhs) = shape(0) else { return 0 };
    let summed = c.lhs.iter().zip(lhs.iter()).filter(|(l, _)| !c.out.contains(l));
    2 * (result * summed.map(|(_, d)| d).product::<usize>()) as u64
}
