//! Tape to numbers. Knows rows and kernels, and no op by name.

mod arena;
mod assemble;
mod brief;
mod compute;
mod cpu;
mod eager;
mod folds;
mod layout;
mod machine;
mod nodes;
mod plan;
mod pool;
mod profile;
mod report;
mod rows;
mod run;
mod schedule;
mod store;
mod verify;

pub(crate) use cpu::{Call, Code, Codes, Laid, Preparation, Prepared, Strides};
pub(crate) use eager::evaluate;
pub(crate) use machine::Machine;
pub(crate) use plan::Plan;
pub(crate) use profile::profile;
pub use profile::{Profile, StepProfile};
pub use report::{MemoryReport, PlanListing, RowMemory};
pub use run::{Inputs, Results, Workspace};
pub(crate) use run::{Store, first_fault, run};
