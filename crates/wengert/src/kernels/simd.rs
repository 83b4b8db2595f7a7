//! Vector registers, and the choice among instruction sets at run time.
//!
//! A kernel is written once over [`Vector`] and compiled once for each [`Isa`]; [`Isa::run`] enters
//! the copy of the instruction set at hand.

use std::sync::OnceLock;

use super::functions;
use super::lane::Lane;
use super::tile::Tile;
use crate::elements::Native;

/// An instruction set that kernels are compiled for.
///
/// ```
/// use wengert::Isa;
/// assert!(Isa::available().contains(&Isa::best()));
/// assert_eq!(Isa::available()[0], Isa::Portable);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Isa {
    /// What every processor of the target has; products and sums round separately.
    Portable,
    /// x86-64 with AVX2 and FMA: 32-byte registers.
    Avx2,
    /// x86-64 with AVX-512F, DQ, BW and VL: 64-byte registers.
    Avx512,
}

impl Isa {
    /// The instruction sets that this processor has, in ascending order.
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            return if wide {
                &[Self::Portable, Self::Avx2, Self::Avx512]
            } else {
                &[Self::Portable, Self::Avx2]
            };
        }
        &[Self::Portable]
    }

    /// The highest instruction set that this processor has, or a lower one that the environment variable
    /// `WENGERT_SIMD` names (`portable`, `avx2`, `avx512`): a switch for tests.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let asked = match std::env::var("WENGERT_SIMD").as_deref() {
                Ok("portable") => Self::Portable,
                Ok("avx2") => Self::Avx2,
                _ => Self::Avx512,
            };
            Self::available().iter().copied().rfind(|&l| l <= asked).unwrap_or(Self::Portable)
        })
    }

    /// Runs a kernel compiled for this instruction set, or for the best below that the processor has.
    #[inline]
    pub(crate) fn run<T: Real, K: Simd<T>>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            use super::enter;
            match self.min(Self::best()) {
                // SAFETY: `best` is an instruction set whose features were detected on this processor.
                Self::Avx512 => return unsafe { enter::avx512::run(kernel) },
                // SAFETY: as above; processors with AVX-512 have these features too.
                Self::Avx2 => return unsafe { enter::avx2::run(kernel) },
                Self::Portable => {}
            }
        }
        kernel.run::<T>()
    }

    /// Runs a kernel compiled for 32-byte registers where the processor has them: a reduction, whose eight chains
    /// fill those, and which waits for memory. A copy for wider ones would be as large as the kernels of products.
    #[inline]
    pub(crate) fn narrow<T: Real, K: Simd<T>>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        if self.min(Self::best()) > Self::Portable {
            // SAFETY: see `run`.
            return unsafe { super::enter::avx2::run(kernel) };
        }
        kernel.run::<T>()
    }

    /// Runs plain loops over reductions, for the compiler to make vectors of: see [`Isa::narrow`].
    #[inline]
    pub(crate) fn loops<R>(self, f: impl FnOnce() -> R) -> R {
        struct Loops<F>(F);
        impl<F: FnOnce() -> R, R> Simd<f32> for Loops<F> {
            type Output = R;
            #[inline(always)]
            fn run<V: Vector<Scalar = f32>>(self) -> R {
                (self.0)()
            }
        }
        self.narrow(Loops(f))
    }
}

/// Lanes of the widest register.
pub(crate) const WIDEST: usize = 16;

/// Into how many chains a sum along a register is split: as many numbers as 32 bytes hold, however wide registers are.
pub(crate) const fn chains<T>() -> usize {
    32 / size_of::<T>()
}

/// A computation over vectors of any width. `run` must be `#[inline(always)]`, so that it is compiled
/// with the instructions of the instruction set that calls it.
pub(crate) trait Simd<T: Real> {
    /// What it returns.
    type Output;
    /// The computation.
    fn run<V: Vector<Scalar = T>>(self) -> Self::Output;
}

/// A register of floating-point numbers: the lanes of elementwise ops, and what kernels need beyond.
/// A value exists only inside [`Isa::run`], where the processor is known to have the register.
pub(crate) trait Vector: Lane {
    /// The type of one lane.
    type Scalar: Real;
    /// A register of one lane that rounds as this one: for what is rare.
    type One: Vector<Scalar = Self::Scalar>;
    /// The number of lanes.
    const LANES: usize;
    /// Whether a part of a register is read and written as fast as the whole.
    const MASKED: bool = false;
    /// Rows of the tile of a matrix product whose sums all registers but a few hold.
    const ROWS: usize;
    /// Vectors in a row of such a tile.
    const VECTORS: usize;
    /// The same number in every lane.
    fn all(value: Self::Scalar) -> Self;
    /// Reads the lanes.
    ///
    /// # Safety
    /// `from` points to as many readable numbers as there are lanes.
    unsafe fn load(from: *const Self::Scalar) -> Self;
    /// Writes the lanes.
    ///
    /// # Safety
    /// `to` points to as many writable numbers as there are lanes.
    unsafe fn store(self, to: *mut Self::Scalar);
    /// Reads the first lanes; the others are zero.
    ///
    /// # Safety
    /// `from` points to `count` readable numbers, no more than there are lanes.
    unsafe fn load_part(from: *const Self::Scalar, count: usize) -> Self;
    /// Writes the first lanes.
    ///
    /// # Safety
    /// `to` points to `count` writable numbers, no more than there are lanes.
    unsafe fn store_part(self, to: *mut Self::Scalar, count: usize);
    /// The lanes of both, in turn: those of the first halves, and those of the second.
    fn zip(self, other: Self) -> (Self, Self);
    /// The other way: every other lane of both, from the first on and from the second on.
    #[cfg_attr(not(feature = "nets"), allow(dead_code))]
    #[inline(always)]
    fn unzip(mut self, mut other: Self) -> (Self, Self) {
        // Each round turns the bits of a lane's place round by one.
        for _ in 0..const { Self::LANES.ilog2() } {
            (self, other) = self.zip(other);
        }
        (self, other)
    }
    /// Rows for columns, of a square of as many registers as each has lanes; others stay.
    #[cfg_attr(not(any(feature = "linalg", feature = "nets")), allow(dead_code))]
    #[inline(always)]
    fn transpose(rows: &mut [Self; WIDEST]) {
        // Each round makes the highest bit of the row's number the lowest of the place.
        for _ in 0..const { Self::LANES.ilog2() } {
            let old = *rows;
            for i in 0..Self::LANES / 2 {
                (rows[2 * i], rows[2 * i + 1]) = old[i].zip(old[i + Self::LANES / 2]);
            }
        }
    }
    /// The first lane.
    fn first(self) -> Self::Scalar;
    /// The sum of the lanes, in pairs of those that are half a register apart, then a quarter, …
    fn sum(self) -> Self::Scalar;
    /// How many groups of [`chains`] lanes there are: 1 where a register holds no more than one.
    const GROUPS: usize;
    /// Reads the lanes of each group, `step` numbers behind those of the one before.
    ///
    /// # Safety
    /// In all these places are as many readable numbers as a group has.
    unsafe fn load_rows(from: *const Self::Scalar, step: usize) -> Self;
    /// Reads the first lanes of each group; the others are zero.
    ///
    /// # Safety
    /// In all these places are `count` readable numbers, no more than a group has.
    unsafe fn load_rows_part(from: *const Self::Scalar, step: usize, count: usize) -> Self;
    /// The [sum](Self::sum) of each group.
    fn row_sums(self) -> [Self::Scalar; 2];
    /// [`Tile::run`], compiled once: too large to be part of whatever calls it.
    ///
    /// # Safety
    /// As for [`Tile::run`].
    unsafe fn tile<const LAYOUT: bool>(tile: &Tile<Self::Scalar>, rows: usize);
    /// [`mul_add`](Lane::mul_add) of single numbers.
    fn fused(a: Self::Scalar, b: Self::Scalar, c: Self::Scalar) -> Self::Scalar;
}

/// What functions need of a register beyond arithmetic.
pub(super) trait Bits: Vector {
    /// `2ⁿ` of whole numbers `n` that are exponents of normal numbers.
    fn pow2(n: Self) -> Self;
    /// Splits positive normal numbers into a whole exponent and a mantissa in [½√2, √2).
    fn split(self) -> (Self, Self);
    /// Whether the whole number in each lane is odd, in bit `bit` (0: odd, 1: the twos, …).
    fn bit(self, bit: u32) -> Self::Mask;
    /// Whether `mask` holds in any lane.
    fn any(mask: Self::Mask) -> bool;
}

/// `f32` and `f64`: the numbers that vectors hold.
pub(crate) trait Real:
    Native + Vector<Scalar = Self> + PartialOrd + bytemuck::Pod + Registers + functions::Coefficients
{
}
impl Real for f32 {}
impl Real for f64 {}

/// The vector type that holds a number at each instruction set.
pub(crate) trait Registers: Sized {
    /// `a · b + c`, rounded once; a slow call where the processor has no such instruction.
    fn fuse(a: Self, b: Self, c: Self) -> Self;
    /// 32-byte registers.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Scalar = Self>;
    /// 64-byte registers.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Scalar = Self>;
}
#[cfg(target_arch = "x86_64")]
impl Registers for f32 {
    fn fuse(a: Self, b: Self, c: Self) -> Self {
        a.mul_add(b, c)
    }
    type Avx2 = super::x86::F32x8;
    type Avx512 = super::x86::F32x16;
}
#[cfg(target_arch = "x86_64")]
impl Registers for f64 {
    fn fuse(a: Self, b: Self, c: Self) -> Self {
        a.mul_add(b, c)
    }
    type Avx2 = super::x86::F64x4;
    type Avx512 = super::x86::F64x8;
}
#[cfg(not(target_arch = "x86_64"))]
impl Registers for f32 {
    fn fuse(a: Self, b: Self, c: Self) -> Self {
        a.mul_add(b, c)
    }
}
#[cfg(not(target_arch = "x86_64"))]
impl Registers for f64 {
    fn fuse(a: Self, b: Self, c: Self) -> Self {
        a.mul_add(b, c)
    }
}
