//! Numbers: slices in, slices out.
//!
//! Every kernel keeps one contract. It gets contiguous row-major operands (those that declare
//! [`strided`](crate::ir::Kernel::strided) may get strides), results owned by the caller, scratch
//! whose size it declared from shapes, and a range of independent output blocks. It never
//! allocates, never spawns, and returns a typed [`Fault`](crate::Fault).

pub(crate) mod contract;
pub(crate) mod copy;
pub(crate) mod gemm;
mod lane;
mod map;
mod math;
mod narrow;
mod pack;
mod philox;
pub(crate) mod reduce;
mod simd;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use lane::Lane;
pub(crate) use map::{Applied, Map, Own, map, rescale};
pub(crate) use philox::{philox, uniform_f32, uniform_f64};
pub use simd::Level;
pub(crate) use simd::Real;
