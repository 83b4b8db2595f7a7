//! Tape to numbers. Knows rows and kernels, and no op by name.

mod arena;
mod eager;
mod plan;
mod pool;
mod run;

pub(crate) use eager::evaluate;
pub(crate) use plan::Plan;
pub use run::{Inputs, Results, Workspace};
pub(crate) use run::{Store, run};
