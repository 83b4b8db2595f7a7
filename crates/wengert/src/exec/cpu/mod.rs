//! How a plan is carried out on this processor: memory, threads, and the kernels of forms.

mod arena;
mod bind;
mod code;
mod contract;
mod indexed;
mod interpret;
mod pool;
mod profile;
mod reduce;
mod view;
mod workspace;

pub use bind::Inputs;
pub(crate) use code::{Call, Code, Codes, Laid, Packing};
pub(super) use interpret::Memory;
pub(crate) use profile::profile;
pub use profile::{CallProfile, Profile};
pub use workspace::{Results, Workspace};
pub(crate) use workspace::{Store, first_fault, run};
