//! Everything about each op in one place: name, data, types, numbers, derivative, batching, and
//! operands to test it with. One line here registers it.

mod activation;
pub(crate) mod arith;
mod axes;
mod cast;
pub(crate) mod contract;
#[cfg(feature = "nets")]
mod convolve;
mod discrete;
mod einsum;
mod elementwise;
pub(crate) mod index;
#[cfg(feature = "linalg")]
mod linalg;
mod logarithm;
mod loss;
pub(crate) mod math;
mod matrix;
pub(crate) mod movement;
mod network;
mod operators;
mod parts;
#[cfg(feature = "nets")]
mod pool;
mod power;
mod product;
mod random;
pub(crate) mod reduce;
mod registry;
mod repeat;
mod rounding;
mod rule;
mod scan;
mod scatter;
mod select;
mod slice;
mod softmax;
mod sort;
mod special;
mod statistics;
mod take;
mod trigonometry;
mod unpack;
mod whole;
#[cfg(feature = "nets")]
mod window;

#[cfg(feature = "linalg")]
pub use linalg::Triangular;
pub use registry::{Content, Entry, Registered, Registry, Sample, Sampler, Spec};
pub use unpack::{Layout, Unpacked};
#[cfg(feature = "nets")]
pub use window::{Conv, Pool};

use crate::error::ErrorKind;

impl Registry {
    /// All ops of this crate.
    pub fn builtin() -> Self {
        Self::registered_here().unwrap_or_else(|_| Self::empty())
    }

    /// An error where two of them have one name, which a test forbids.
    pub(crate) fn registered_here() -> Result<Self, ErrorKind> {
        let mut r = Self::empty();
        r.elementwise(arith::Add)?;
        r.elementwise(arith::Sub)?;
        r.elementwise(arith::Mul)?;
        r.elementwise(arith::Div)?;
        r.elementwise_with::<arith::GatedMul, 2>()?;
        r.linear::<arith::Scale>()?;
        r.elementwise(arith::Extremum::<true>)?;
        r.elementwise(arith::Extremum::<false>)?;
        r.linear::<cast::Cast>()?;
        r.discrete::<cast::ToInteger>()?;
        r.bilinear::<contract::Contract>()?;
        #[cfg(feature = "nets")]
        r.bilinear::<convolve::Convolve>()?;
        r.discrete::<discrete::Compare>()?;
        r.discrete::<discrete::StopGradient>()?;
        r.discrete::<discrete::Step>()?;
        r.discrete::<whole::Whole>()?;
        r.linear::<index::Gather>()?;
        #[cfg(feature = "linalg")]
        {
            r.custom::<linalg::Cholesky>()?;
            r.custom::<linalg::Cofactors>()?;
            r.custom::<linalg::Determinant>()?;
            r.custom::<linalg::Lu>()?;
            r.custom::<linalg::Solve>()?;
            r.custom::<linalg::TriangularSolve>()?;
        }
        r.elementwise(logarithm::Cbrt)?;
        r.elementwise(logarithm::Exp2)?;
        r.elementwise(logarithm::Log10)?;
        r.elementwise(logarithm::Log2)?;
        r.elementwise(logarithm::LogAddExp)?;
        r.elementwise(logarithm::Share)?;
        r.elementwise(logarithm::XLogY)?;
        r.elementwise(math::Abs)?;
        r.elementwise(math::Cos)?;
        r.elementwise(math::Erf)?;
        r.elementwise(math::Exp)?;
        r.elementwise(math::ExpM1)?;
        r.elementwise(math::Ln)?;
        r.elementwise(math::Ln1p)?;
        #[cfg(feature = "nets")]
        r.discrete::<pool::PoolIndex>()?;
        r.custom::<power::Pow>()?;
        r.elementwise(math::Relu)?;
        r.elementwise(math::SechSquared)?;
        r.elementwise(math::Sigmoid)?;
        r.elementwise(math::Sin)?;
        r.elementwise(math::Softplus)?;
        r.custom::<math::SinCos>()?;
        r.elementwise(math::Sqrt)?;
        r.elementwise(math::Tanh)?;
        r.linear::<movement::Broadcast>()?;
        r.linear::<movement::Permute>()?;
        r.linear::<movement::Reshape>()?;
        r.discrete::<random::Uniform>()?;
        r.elementwise(rounding::Rem)?;
        r.discrete::<reduce::ArgMax>()?;
        r.custom::<reduce::Max>()?;
        r.linear::<reduce::Sum>()?;
        r.linear::<scan::CumSum>()?;
        r.linear::<scatter::Scatter>()?;
        r.linear::<scatter::ScatterAdd>()?;
        r.custom::<scatter::ScatterMax>()?;
        r.linear::<select::Select>()?;
        r.linear::<slice::AddSlice>()?;
        r.linear::<slice::SetSlice>()?;
        r.linear::<slice::Slice>()?;
        r.custom::<softmax::LogSoftmax>()?;
        r.discrete::<sort::ArgSort>()?;
        r.elementwise(special::Digamma)?;
        r.elementwise(special::Erfc)?;
        r.elementwise(special::Erfinv)?;
        r.elementwise(special::LnGamma)?;
        r.elementwise_with::<special::Polygamma, 1>()?;
        r.elementwise(trigonometry::Acos)?;
        r.elementwise(trigonometry::Acosh)?;
        r.elementwise(trigonometry::Asin)?;
        r.elementwise(trigonometry::Asinh)?;
        r.elementwise(trigonometry::Atan)?;
        r.elementwise(trigonometry::Atan2)?;
        r.elementwise(trigonometry::Atanh)?;
        r.elementwise(trigonometry::Cosh)?;
        r.elementwise(trigonometry::Hypot)?;
        r.elementwise(trigonometry::Inverse)?;
        r.elementwise(trigonometry::Sinh)?;
        r.elementwise(trigonometry::Tan)?;
        Ok(r)
    }
}
