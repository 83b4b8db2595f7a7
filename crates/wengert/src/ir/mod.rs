//! The tape as data: rows, the kinds of ops they hold, and the handle that records them.

mod attrs;
mod axes;
#[cfg(feature = "nets")]
mod convolution;
mod emit;
mod form;
mod intern;
mod into_var;
mod kernel;
mod kinds;
mod list;
mod op;
mod print;
mod recorder;
mod states;
mod tape;
mod var;
mod verify;

#[cfg(feature = "nets")]
pub use crate::kernels::convolve::Part as ConvolutionPart;
pub use crate::kernels::{Body, Builder, Constant, Function, Function2, Instruction, Primitive, Scalar};
pub use attrs::{Attr, Attrs};
pub use axes::{Axes, Keep};
pub(crate) use axes::{ascending, named, single};
#[cfg(feature = "nets")]
pub use convolution::Convolution;
pub(crate) use form::one_block;
pub use form::{Contraction, Form, IndexMap, Indexed, Labels, Monoid, Opaque, Reduction, ScatterMode};
pub use into_var::{IntoVar, IntoVars};
pub use kernel::{Call, Kernel, Operand, ResultMut, ResultTypes};
pub(crate) use kernel::{float, one, operands};
pub use kinds::{
    Algebra, Bilinear, Contribution, Custom, Discrete, Domain, Elementwise, ElementwiseOp, Linear, Partial,
    Tangents, Vars, ZeroReason,
};
pub use list::List;
pub use op::{Control, Leaf, Op};
pub use print::Listing;
pub(crate) use recorder::Names;
pub use recorder::{Outputs, Recorder};
pub use states::{State, States};
pub use tape::{Origin, Phase, Row, Tape, Types, UsedState, Value};
pub(crate) use tape::{ValueHasher, ValueMap};
pub(crate) use var::Name;
pub use var::{Var, closure, closure_with};
pub use verify::verify;
