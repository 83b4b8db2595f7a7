//! Elementwise functions over slices, a register at a time.

use super::lane::Lane;
use super::simd::{Level, Real, Simd, Vector};
use crate::dtype::Element;
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
        // SAFETY: `map` checked that all slices have the same length.
        unsafe { each::<V, F, N>(f, x.map(<[T]>::as_ptr), out.as_mut_ptr(), out.len()) };
    }
}

/// # Safety
/// All pointers are to `len` numbers, those of `out` unshared and writable.
#[inline(always)]
unsafe fn each<V: Vector, F: Map<N>, const N: usize>(
    f: &F,
    x: [*const V::Scalar; N],
    out: *mut V::Scalar,
    len: usize,
) {
    let mut i = 0;
    while i + V::LANES <= len {
        // SAFETY: `i` and the lanes from there on are below `len`.
        unsafe { f.apply(x.map(|x| V::load(x.add(i)))).store(out.add(i)) };
        i += V::LANES;
    }
    if i < len {
        // The rest goes through a register too, so that it has the bits of the others.
        let rest = len - i;
        // SAFETY: `i` and the `rest` from there on are below `len`, and fewer than there are lanes.
        unsafe { f.apply(x.map(|x| V::load_part(x.add(i), rest))).store_part(out.add(i), rest) };
    }
}

/// Multiplies numbers by β; at 0 they may have been anything.
pub(crate) fn rescale<T: Real>(c: &mut [T], beta: f64) {
    if beta == 0.0 {
        c.fill(T::default());
    } else if beta != 1.0 {
        c.iter_mut().for_each(|c| *c = *c * T::from_f64(beta));
    }
}

/// What only this crate can hand out: a method that takes it cannot be written anew elsewhere.
pub struct Own;

/// A function compiled for one level, behind plain pointers.
pub struct Applied {
    function: *const (),
    f32: Pointer<f32>,
    f64: Pointer<f64>,
}

/// The function, three operands (as many as it has count), the result, and their length.
type Pointer<T> = unsafe fn(*const (), *const T, *const T, *const T, *mut T, usize);

// SAFETY: the function behind the pointer is `Sync`, as every op is, and only called.
unsafe impl Send for Applied {}
// SAFETY: as above.
unsafe impl Sync for Applied {}

impl Applied {
    /// A function of at most three operands.
    pub(crate) fn new<F: Map<N> + Sync, const N: usize>(level: Level, f: &F) -> Option<Self> {
        if N > 3 {
            return None;
        }
        let function = std::ptr::from_ref(f).cast();
        #[cfg(target_arch = "x86_64")]
        {
            use super::x86;
            match level.min(Level::best()) {
                Level::Avx512 => {
                    return Some(Self {
                        function,
                        f32: x86::applied_avx512::<f32, F, N>,
                        f64: x86::applied_avx512::<f64, F, N>,
                    });
                }
                Level::Avx2 => {
                    return Some(Self {
                        function,
                        f32: x86::applied_avx2::<f32, F, N>,
                        f64: x86::applied_avx2::<f64, F, N>,
                    });
                }
                Level::Portable => {}
            }
        }
        let _ = level;
        Some(Self { function, f32: applied::<f32, F, N>, f64: applied::<f64, F, N> })
    }

    /// Applies the function.
    ///
    /// # Safety
    /// The function that this was made of still lives; the operands that it has and the result are `len`
    /// numbers, the result unshared and writable.
    #[inline(always)]
    pub(crate) unsafe fn run<T: Element + Pointed>(&self, x: [*const T; 3], out: *mut T, len: usize) {
        // SAFETY: passed on from the caller; the level was detected when this was made.
        unsafe { T::pointer(self)(self.function, x[0], x[1], x[2], out, len) }
    }
}

/// Which of the two pointers belongs to a type.
pub(crate) trait Pointed: Sized {
    fn pointer(of: &Applied) -> Pointer<Self>;
}
impl Pointed for f32 {
    #[inline(always)]
    fn pointer(of: &Applied) -> Pointer<Self> {
        of.f32
    }
}
impl Pointed for f64 {
    #[inline(always)]
    fn pointer(of: &Applied) -> Pointer<Self> {
        of.f64
    }
}

/// # Safety
/// As for [`Applied::run`], with `F` the type of the function.
#[inline(always)]
pub(super) unsafe fn applied_by<V: Vector, F: Map<N>, const N: usize>(
    f: *const (),
    x: [*const V::Scalar; 3],
    out: *mut V::Scalar,
    len: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { each::<V, F, N>(&*f.cast::<F>(), std::array::from_fn(|i| x[i]), out, len) }
}

/// # Safety
/// As for [`Applied::run`], with `F` the type of the function.
unsafe fn applied<T: Real, F: Map<N>, const N: usize>(
    f: *const (),
    x0: *const T,
    x1: *const T,
    x2: *const T,
    out: *mut T,
    len: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe { applied_by::<T, F, N>(f, [x0, x1, x2], out, len) }
}
