#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod aligned;
pub mod check;
mod dtype;
mod elements;
mod error;
#[allow(unsafe_code)] // the arena's typed views, and the pool
mod exec;
mod gradients;
pub mod ir;
#[allow(unsafe_code)] // registers, and prefetching
mod kernels;
mod ops;
mod program;
mod shape;
mod tensor;
mod transform;
mod value;

/// The version of `ndarray` that signatures of this crate speak of.
pub use ndarray;

pub use aligned::Aligned;
pub use dtype::DType;
pub use elements::{Buffer, Element, Native, Slice, SliceMut};
pub use error::{DTypeError, Error, ErrorKind, Fault, Result, ShapeError, Site};
pub use exec::{
    CallProfile, Inputs, Lowering, MemoryReport, PlanListing, Profile, Results, RowMemory, Workspace,
};
pub use gradients::Gradients;
pub use ir::{IntoVar, Outputs, Recorder, State, States, Var, ZeroReason};
pub use kernels::{Isa, Lane};
pub use ops::{Axes, Content, Entry, Registered, Registry, Sample, Sampler, Spec};
pub use program::Program;
pub use shape::{IntoShape, MAX_RANK, Shape, TensorType};
pub use tensor::{Bind, Tensor};
pub use transform::{PASSES, Pass};
