//! The logistic function and the derivative of the hyperbolic tangent, without overflow.

use crate::kernels::lane::Lane;

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(in crate::kernels) fn sigmoid<L: Lane>(x: L) -> L {
    // e⁻|x| never overflows: 1 / (1 + e) above zero, e / (1 + e) below.
    let one = L::splat(1.0);
    let e = (-x.abs()).exp();
    L::select(x.lt(L::splat(0.0)), e, one) / (one + e)
}

/// `1 / cosh²`, without the cancellation in `1 − tanh²`.
#[inline(always)]
pub(in crate::kernels) fn sech_squared<L: Lane>(x: L) -> L {
    // 4e / (1 + e)² with e = e^{−2|x|}.
    let (one, e) = (L::splat(1.0), (-(x.abs() + x.abs())).exp());
    let root = one + e;
    L::splat(4.0) * e / (root * root)
}
