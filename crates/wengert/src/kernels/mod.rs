//! Numbers: slices in, slices out.
//!
//! Every kernel keeps one contract. It gets contiguous row-major operands (some may get strides), results owned by the
//! caller, scratch whose size it declared from shapes, and a range of independent output blocks. It never
//! allocates, never spawns, and returns a typed [`Fault`](crate::Fault).

mod body;
pub(crate) mod contract;
#[cfg(feature = "nets")]
pub(crate) mod convolve;
pub(crate) mod copy;
#[cfg(target_arch = "x86_64")]
mod enter;
mod functions;
mod fused;
pub(crate) mod gemm;
mod interpret;
mod lane;
#[cfg(feature = "linalg")]
pub(crate) mod linalg;
mod pack;
mod philox;
#[cfg(feature = "nets")]
pub(crate) mod pool;
mod primitives;
mod product;
pub(crate) mod reduce;
mod simd;
mod skinny;
mod small;
pub(crate) mod special;
mod tile;
mod trace;
#[cfg(any(feature = "linalg", feature = "nets"))]
mod turn;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use body::{Body, Builder, Constant, Function, Function2, Instruction, Primitive, Scalar};
pub(crate) use fused::Fused;
pub(crate) use interpret::{CHUNK, Compiled, Fixed, Single, repeat};
pub use lane::Lane;
pub(crate) use lane::Whole;
pub(crate) use philox::{philox, uniform_f32, uniform_f64};
pub(crate) use primitives::Pointer;
pub(crate) use primitives::map1;
#[cfg(feature = "jit")]
pub(crate) use primitives::register;
pub(crate) use reduce::rescale;
pub use simd::Isa;
pub(crate) use simd::Real;
#[cfg(feature = "jit")]
pub(crate) use small::Line;
pub(crate) use small::{Small, copied};
pub(crate) use trace::{Trace, trace};
