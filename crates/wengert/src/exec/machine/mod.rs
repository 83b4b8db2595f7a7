//! Machine code for micro-ops, and for neighbouring maps of long arrays: the same operations on the same numbers in the same order, with values
//! kept in registers from where they are made to where they are read.
//!
//! [`compiler`] turns micro-ops into instructions; [`runs`] finds those that are one loop, [`fuse`] such calls ([`streams`] has it in the making), and [`loops`] makes it; [`assembler`] and
//! [`vectors`] turn instructions into bytes. What has no instructions here is called, as the interpreter calls it. Only what was verified is compiled, and
//! [`verify`] reads the bytes back: all that they touch and call is what those micro-ops and calls do.

mod assembler;
mod compiler;
mod fuse;
mod loops;
#[cfg(test)]
mod planted;
mod runs;
mod stores;
mod streams;
mod sums;
#[cfg(test)]
mod tests;
mod vectors;
mod verify;

use std::fmt::{self, Write};
use std::sync::OnceLock;

use super::plan::{Machined, Plan, Tiled};

/// Gives the micro-ops and maps of a plan their machine code, if this processor has the instructions, unless `WENGERT_JIT=off`, a switch for tests and
/// benchmarks.
pub(crate) fn compile(mut plan: Plan) -> Plan {
    static OFF: OnceLock<bool> = OnceLock::new();
    let off = *OFF.get_or_init(|| std::env::var("WENGERT_JIT").is_ok_and(|asked| asked == "off"));
    if let Plan::Tiled(frame, tiled) = &mut plan
        && !off
    {
        tiled.machine = compiler::compile(frame, tiled).map(Box::new);
    }
    plan
}

/// The machine code of a program: see [`Program::machine_code`](crate::Program::machine_code).
pub struct MachineCode<'a> {
    machine: &'a Machined,
    plan: &'a Tiled,
}

impl<'a> MachineCode<'a> {
    pub(crate) fn of(plan: &'a Plan) -> Option<Self> {
        let Plan::Tiled(_, plan) = plan else { return None };
        Some(Self { machine: plan.machine.as_ref()?, plan })
    }

    /// The instructions, which begin with the first byte; constants that they read follow them.
    pub fn bytes(&self) -> &'a [u8] {
        self.machine.page.bytes()
    }
}

/// The instructions of each micro-op and of each loop, as bytes; with the last of a part those that leave it, with the last of all constants.
impl fmt::Display for MachineCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, from: usize, to: usize| {
            let mut bytes = String::new();
            self.bytes()[from..to].iter().try_for_each(|byte| write!(bytes, " {byte:02x}"))?;
            writeln!(f, "{from:>6}  {name}\n        {bytes}")
        };
        let code = self.machine.page.code();
        let loops = &self.machine.loops;
        let behind = |next: Option<u32>| next.map_or(self.bytes().len(), |byte| byte as usize);
        let first = loops.first().map(|first| first.byte);
        for (at, (ops, byte)) in code.parts.iter().enumerate() {
            let end = behind(code.parts.get(at + 1).map(|(_, byte)| *byte).or(first));
            let start = |op: usize| code.starts.get(op).map_or(end, |&byte| byte as usize);
            line(f, "enter", *byte as usize, start(ops.start))?;
            for op in ops.clone() {
                let (row, function) = self.plan.described(op);
                let end = if op + 1 < ops.end { start(op + 1) } else { end };
                line(f, &format!("%{row} {}", function.name()), start(op), end)?;
            }
        }
        for (at, fused) in loops.iter().enumerate() {
            let mut name = "loop of".to_owned();
            for call in &self.plan.calls[fused.calls.clone()] {
                write!(name, " %{} {}", call.row, call.action.name())?;
            }
            line(f, &name, fused.byte as usize, behind(loops.get(at + 1).map(|next| next.byte)))?;
        }
        Ok(())
    }
}
