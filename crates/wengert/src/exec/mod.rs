//! From a tape to numbers. Knows forms and kernels, and no op by name.
//!
//! Each folder is one lowering. [`graph`] says what is computed, [`code`] by which kernels, [`schedule`] when, [`place`] where;
//! [`plan`] is the verified result, which [`cpu`] runs. Graph, schedule and plan can be printed. [`mod@reference`] computes row
//! by row, and all else is held to it. The words:
//!
//! - *buffer*: an array of the graph, or a view of one; *node*: what writes some, reading others;
//! - *write mode*: whether a node overwrites, accumulates, or changes an operand that its result aliases;
//! - *chunk*: one of equal parts of a buffer along its outer axes; *chunked* operand: one that is read chunk by chunk;
//! - *level*: what lies between two meetings of the threads; *sink*: to move a node to the level that reads it;
//! - *fusion group*: nodes of a level that are cut into the same chunks, and computed chunk by chunk;
//! - *task*: neighbouring chunks of a group that one thread computes; *tile*: those of a task that stay in the first cache;
//! - *tile loop*: calls that are made for one tile after another; *kernel call*: one node for one tile;
//! - *micro-op*: a kernel call of one primitive, a view or a sum of small arrays, in few bytes;
//! - *split reduction*: one in *partial* results, which are *combined*;
//! - *packed* operand: a matrix in the *panels* that a product reads;
//! - *donated* state: one whose next value is written where the old one lies; *live-out*: what outlives a run;
//! - *place*: in the arena, in a thread's own memory, or at home: input, state or constant.

mod code;
mod cpu;
mod frame;
mod graph;
#[cfg(feature = "jit")]
mod machine;
mod memory;
#[cfg(feature = "jit")]
mod page;
mod place;
mod plan;
mod reference;
mod schedule;
mod table;

pub(crate) use code::{Call, Code, Codes, Laid, Packing};
pub use cpu::{CallProfile, Input, Inputs, OutputKey, Profile, Results, Workspace};
pub(crate) use cpu::{Slots, Store, first_fault, profile, read, run, run_small};
pub(crate) use graph::Strides;
#[cfg(feature = "jit")]
pub use machine::MachineCode;
#[cfg(feature = "jit")]
pub(crate) use machine::compile;
pub use plan::{Lowering, MemoryReport, PlanListing, RowMemory};
pub(crate) use plan::{Plan, lowered};
pub(crate) use reference::evaluate;
pub(crate) use schedule::Machine;
