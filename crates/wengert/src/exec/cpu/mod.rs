//! How a plan is carried out on this processor: its calls and micro-ops, on a few threads.

mod bind;
mod interpret;
mod pool;
mod profile;
mod slots;
mod workspace;

pub use bind::{Input, Inputs};
pub(crate) use profile::profile;
pub use profile::{CallProfile, Profile};
pub(crate) use slots::Slots;
pub use workspace::{OutputKey, Results, Workspace};
pub(crate) use workspace::{Store, first_fault, read, run, run_small};
