#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
// Pages speak of methods that a build can leave out.
#![cfg_attr(not(all(feature = "linalg", feature = "nets")), allow(rustdoc::broken_intra_doc_links))]

mod aligned;
mod bind;
mod branches;
pub mod check;
#[doc = include_str!("../guide.md")]
pub mod guide {}
mod diagnose;
mod dtype;
mod elements;
mod error;
#[allow(unsafe_code)] // the arena's typed views, and the pool
mod exec;
mod function;
mod gradients;
mod into_tensor;
pub mod ir;
#[allow(unsafe_code)] // registers, and prefetching
mod kernels;
mod ops;
mod program;
mod shape;
mod sizes;
mod sort;
mod tensor;
mod transform;
mod value;

/// The version of `ndarray` that signatures of this crate speak of.
pub use ndarray;

pub use aligned::Aligned;
pub use bind::Bind;
pub use branches::{BranchPolicy, Branches};
pub use diagnose::{NotFinite, NumberRange};
pub use dtype::DType;
pub use elements::{Buffer, Element, Native, Number, Slice, SliceMut};
pub use error::{DTypeError, Error, ErrorKind, Fault, Result, ShapeError, Site};
#[cfg(feature = "jit")]
pub use exec::MachineCode;
pub use exec::{
    CallProfile, Input, Inputs, Lowering, MemoryReport, OutputKey, PlanListing, Profile, Results, RowMemory,
    Workspace,
};
pub use function::{Argument, Function, Mode, Target, Worker};
pub use gradients::Gradients;
pub use into_tensor::IntoTensor;
#[doc(inline)]
pub use ir::{
    Axes, IntoVar, IntoVars, Keep, Outputs, Recorder, State, States, Var, ZeroReason, closure, closure_with,
};
pub use kernels::{Isa, Lane};
#[cfg(feature = "linalg")]
pub use ops::Triangular;
pub use ops::{Content, Entry, Layout, Registered, Registry, Sample, Sampler, Spec, Unpacked};
#[cfg(feature = "nets")]
pub use ops::{Conv, Pool};
pub use program::{Called, Program, Recorded};
pub use shape::{MAX_RANK, Shape, TensorType};
pub use sizes::{Integer, IntoShape, IntoSizes, IntoSlice};
pub use tensor::Tensor;
pub use transform::{PASSES, Pass};
