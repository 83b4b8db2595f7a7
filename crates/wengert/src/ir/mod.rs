//! The tape as data: rows, the kinds of ops they hold, and the handle that records them.

mod attrs;
mod emit;
mod intern;
mod kernel;
mod op;
mod print;
mod recorder;
mod states;
mod tape;
mod var;
mod verify;

pub use attrs::{Attr, Attrs};
pub use kernel::{Call, Kernel, Operand, Preparation, Prepared, ResultMut, ResultTypes, Strides};
pub(crate) use kernel::{blocks_of, eval_whole, eval_within, memory_of, one, operands, prepared_of};
pub use op::{
    Algebra, Bilinear, Contraction, Contribution, Control, Custom, Discrete, Domain, Elementwise,
    ElementwiseOp, IndexMap, Leaf, Linear, Op, Partial, Vars, ZeroReason,
};
pub use print::Listing;
pub use recorder::{Outputs, Recorder};
pub use states::{State, States};
pub use tape::{Origin, Phase, Row, Tape, Types, UsedState, Value};
pub(crate) use tape::{ValueHasher, ValueMap};
pub(crate) use var::Name;
pub use var::{IntoVar, Var};
pub use verify::verify;
