//! Elementwise functions over slices, a register at a time.

use super::lane::Lane;
use super::simd::{Level, Real, Simd, Vector};
use crate::error::Fault;

/// A function of `N` numbers, written once for registers of any width.
pub(crate) trait Map<const N: usize> {
    /// The function; `#[inline(always)]`.
    fn apply<L: Lane>(&self, x: [L; N]) -> L;
}

/// `out[i] = f(x₀[i], x₁[i], …)`. Every element has the same bits wherever it stands in the slice.
pub(crate) fn map<T: Real, F: Map<N>, const N: usize>(
    level: Level,
    f: &F,
    x: [&[T]; N],
    out: &mut [T],
) -> Result<(), Fault> {
    if x.iter().any(|x| x.len() != out.len()) {
        return Err(Fault::Type);
    }
    level.run(Mapped { f, x, out });
    Ok(())
}

struct Mapped<'a, T, F, const N: usize> {
    f: &'a F,
    x: [&'a [T]; N],
    out: &'a mut [T],
}

impl<T: Real, F: Map<N>, const N: usize> Simd<T> for Mapped<'_, T, F, N> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { f, x, out } = self;
        let (lanes, len) = (V::LANES, out.len());
        let mut i = 0;
        while i + lanes <= len {
            // SAFETY: `map` checked that all slices have `len` elements, and `i + lanes` is not beyond.
            unsafe { f.apply(x.map(|x| V::load(x.as_ptr().add(i)))).store(out.as_mut_ptr().add(i)) };
            i += lanes;
        }
        if i < len {
            // The rest goes through a register too, so that it has the bits of the others.
            let mut rest = [[T::default(); WIDEST]; N];
            for (rest, x) in rest.iter_mut().zip(x) {
                rest[..len - i].copy_from_slice(&x[i..]);
            }
            let mut result = [T::default(); WIDEST];
            // SAFETY: no register has more lanes than `WIDEST`.
            unsafe { f.apply(rest.each_ref().map(|x| V::load(x.as_ptr()))).store(result.as_mut_ptr()) };
            out[i..].copy_from_slice(&result[..len - i]);
        }
    }
}

/// Lanes of the widest register.
const WIDEST: usize = 16;
