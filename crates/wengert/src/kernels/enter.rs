//! Where code for an instruction set of x86-64 is entered: functions compiled with its instructions.

use super::primitives::{self, Loop, Map};
use super::simd::{Real, Simd, Vector};
use super::tile::Tile;

/// The functions of an instruction set.
macro_rules! isa {
    ($isa:ident, $Registers:ident, $features:literal) => {
        pub(super) mod $isa {
            use super::*;

            /// Runs a kernel.
            ///
            /// # Safety
            /// The processor has the features of this instruction set.
            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe fn run<T: Real, K: Simd<T>>(kernel: K) -> K::Output {
                kernel.run::<T::$Registers>()
            }

            /// A tile of a matrix product.
            ///
            /// # Safety
            /// The processor has the features of this instruction set; and as for [`Tile::run`].
            #[target_feature(enable = $features)]
            #[inline(never)]
            pub(in crate::kernels) unsafe fn tile<V: Vector, const LAYOUT: bool>(
                tile: &Tile<V::Scalar>,
                rows: usize,
            ) {
                // SAFETY: passed on from the caller.
                unsafe { tile.run::<V, LAYOUT>(rows) }
            }

            /// A primitive of floats, behind a pointer.
            ///
            /// # Safety
            /// The processor has the features of this instruction set; and as for [`primitives::Pointer`].
            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe extern "C-unwind" fn map<T: Real, F: Map>(
                a: *const u8,
                b: *const u8,
                c: *const u8,
                out: *mut u8,
                len: usize,
            ) {
                // SAFETY: passed on from the caller.
                unsafe { primitives::map::<T::$Registers, F>(a, b, c, out, len) }
            }

            /// A function of one float, of a register of them that is passed as such.
            ///
            /// # Safety
            /// The processor has the features of this instruction set.
            #[cfg(feature = "jit")]
            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe extern "C" fn register<T: Real, F: Map>(
                x: T::$Registers,
            ) -> T::$Registers {
                F::apply(x, x, x)
            }
        }
    };
}
isa!(avx2, Avx2, "avx2,fma");
isa!(avx512, Avx512, "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma");

/// Any other primitive, behind a pointer.
///
/// # Safety
/// The processor has AVX2 and FMA; and as for [`primitives::Pointer`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe extern "C-unwind" fn each<F: Loop>(
    a: *const u8,
    b: *const u8,
    c: *const u8,
    out: *mut u8,
    len: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { primitives::each::<F>(a, b, c, out, len) }
}
