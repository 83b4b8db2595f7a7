//! The primitives of bodies over slices: one function for each, each type and each instruction set.

use super::body::Primitive;
use super::lane::Lane;
use super::simd::{Isa, Real, Vector};
use crate::dtype::DType;
use crate::elements::{with_dtype, with_float, with_integer};

/// A primitive over elements that lie one behind the other: operands, of which those that it has not count for nothing, the
/// result, and how many there are. With the convention of C, which machine code knows; a function of the user may unwind, but not through
/// machine code.
///
/// # Safety
/// Operands and result are so many elements of the types that this was made for, the result's unshared and writable; it
/// may lie where an operand of as many bytes does.
pub(crate) type Pointer = unsafe extern "C-unwind" fn(*const u8, *const u8, *const u8, *mut u8, usize);

/// A function of up to three numbers, written once for registers of any width.
pub(super) trait Map {
    /// How many numbers.
    const OPERANDS: usize;
    /// The function; `#[inline(always)]`.
    fn apply<L: Lane>(a: L, b: L, c: L) -> L;
}

/// # Safety
/// As for [`Pointer`].
#[inline(always)]
pub(super) unsafe extern "C-unwind" fn map<V: Vector, F: Map>(
    a: *const u8,
    b: *const u8,
    c: *const u8,
    out: *mut u8,
    len: usize,
) {
    // Plain loops and no closures: there are so many of these functions that every layer shows in the time of a build.
    let (a, b, c): (*const V::Scalar, *const V::Scalar, *const V::Scalar) = (a.cast(), b.cast(), c.cast());
    let out: *mut V::Scalar = out.cast();
    let none = V::all(V::Scalar::default());
    let mut i = 0;
    while i + V::LANES <= len {
        // SAFETY: `i` and the lanes from there on are below `len`, in the operands that there are.
        unsafe {
            let b = if const { F::OPERANDS > 1 } { V::load(b.add(i)) } else { none };
            let c = if const { F::OPERANDS > 2 } { V::load(c.add(i)) } else { none };
            F::apply(V::load(a.add(i)), b, c).store(out.add(i));
        }
        i += V::LANES;
    }
    if i < len {
        // The rest goes through a register too, so that it has the bits of the others.
        let rest = len - i;
        // SAFETY: `i` and the `rest` from there on are below `len`, and fewer than there are lanes.
        unsafe {
            let b = if const { F::OPERANDS > 1 } { rest_of::<V>(b.add(i), rest) } else { none };
            let c = if const { F::OPERANDS > 2 } { rest_of::<V>(c.add(i), rest) } else { none };
            let y = F::apply(rest_of::<V>(a.add(i), rest), b, c);
            if rest == 1 { *out.add(i) = y.first() } else { y.store_part(out.add(i), rest) }
        }
    }
}

/// The last numbers of an array, fewer than there are lanes. What one writes alone another can read from the store queue, unlike parts of
/// registers.
///
/// # Safety
/// There are so many numbers.
#[inline(always)]
unsafe fn rest_of<V: Vector>(from: *const V::Scalar, rest: usize) -> V {
    // SAFETY: passed on from the caller.
    unsafe { if rest == 1 { V::all(*from) } else { V::load_part(from, rest) } }
}

/// The function of floats for an instruction set.
fn of_slices<F: Map>(dtype: DType, isa: Isa) -> Option<Pointer> {
    fn at<T: Real, F: Map>(isa: Isa) -> Pointer {
        #[cfg(target_arch = "x86_64")]
        match isa.min(Isa::best()) {
            Isa::Avx512 => return super::enter::avx512::map::<T, F>,
            Isa::Avx2 => return super::enter::avx2::map::<T, F>,
            Isa::Portable => {}
        }
        let _ = isa;
        map::<T, F>
    }
    with_float!(dtype, T => Some(at::<T, F>(isa)), None)
}

/// Where the function of a register lies, for 32 bytes or 64; `None` for instruction sets without registers.
#[cfg(feature = "jit")]
fn of_registers<F: Map>(dtype: DType, isa: Isa) -> Option<usize> {
    fn at<T: Real, F: Map>(isa: Isa) -> Option<usize> {
        #[cfg(target_arch = "x86_64")]
        match isa.min(Isa::best()) {
            Isa::Avx512 => return Some(super::enter::avx512::register::<T, F> as *const () as usize),
            Isa::Avx2 => return Some(super::enter::avx2::register::<T, F> as *const () as usize),
            Isa::Portable => {}
        }
        let _ = isa;
        None
    }
    with_float!(dtype, T => at::<T, F>(isa), None)
}

macro_rules! of_floats {
    ($of:ident, $p:expr, $dtype:expr, $isa:expr; $($Op:pat => $N:literal |$a:tt, $b:tt, $c:tt| $y:expr;)*) => {
        match $p {
            $($Op => {
                struct F;
                impl Map for F {
                    const OPERANDS: usize = $N;
                    #[inline(always)]
                    fn apply<L: Lane>($a: L, $b: L, $c: L) -> L {
                        $y
                    }
                }
                $of::<F>($dtype, $isa)
            })*
            _ => None,
        }
    };
}

/// The functions of [`Primitive::SPECIAL`].
macro_rules! special {
    ($of:ident, $p:expr, $dtype:expr, $isa:expr) => {
        of_floats!($of, $p, $dtype, $isa;
            Primitive::Exp => 1 |x, _, _| x.exp();
            Primitive::Ln => 1 |x, _, _| x.ln();
            Primitive::Sin => 1 |x, _, _| x.sin();
            Primitive::Cos => 1 |x, _, _| x.cos();
            Primitive::Tanh => 1 |x, _, _| x.tanh();
            Primitive::Erf => 1 |x, _, _| x.erf();
            Primitive::Sigmoid => 1 |x, _, _| x.sigmoid();
            Primitive::SechSquared => 1 |x, _, _| x.sech_squared();
        )
    };
}

/// A function of numbers of any types, written for the compiler to make registers of.
pub(super) trait Loop {
    /// Computes element `i`; `#[inline(always)]`.
    ///
    /// # Safety
    /// As for [`Pointer`], with `i` below the number of elements.
    unsafe fn at(x: [*const u8; 3], out: *mut u8, i: usize);
}

/// # Safety
/// As for [`Pointer`].
#[inline(always)]
pub(super) unsafe extern "C-unwind" fn each<F: Loop>(
    a: *const u8,
    b: *const u8,
    c: *const u8,
    out: *mut u8,
    len: usize,
) {
    let mut i = 0;
    while i < len {
        // SAFETY: `i` is below `len`.
        unsafe { F::at([a, b, c], out, i) };
        i += 1;
    }
}

/// The function of a loop for an instruction set: at most 32-byte registers, as these wait for memory.
fn of_loop<F: Loop>(isa: Isa) -> Pointer {
    #[cfg(target_arch = "x86_64")]
    if isa.min(Isa::best()) > Isa::Portable {
        return super::enter::each::<F>;
    }
    let _ = isa;
    each::<F>
}

/// A loop for the instruction set that is named; where none is, for what every processor has: integers are not worth more
/// copies of the code.
macro_rules! each {
    ($([$isa:expr])? $($x:ident: $A:ty = $n:tt),+ => $U:ty: $y:expr) => {{
        struct F;
        impl Loop for F {
            #[inline(always)]
            unsafe fn at(x: [*const u8; 3], out: *mut u8, i: usize) {
                // SAFETY: the caller promises element `i` of all of these.
                unsafe {
                    $(let $x: $A = *x[$n].cast::<$A>().add(i);)+
                    out.cast::<$U>().add(i).write($y);
                }
            }
        }
        each!(@pointer F $($isa)?)
    }};
    (@pointer $F:ident) => { each::<$F> as Pointer };
    (@pointer $F:ident $isa:expr) => { of_loop::<$F>($isa) };
}

/// A comparison of numbers of this type.
fn compare(p: Primitive, dtype: DType, isa: Isa) -> Option<Pointer> {
    macro_rules! of {
        ($T:ident $(, $isa:expr)?) => {
            match p {
                Primitive::Less => each!($([$isa])? a: $T = 0, b: $T = 1 => u8: u8::from(a < b)),
                Primitive::LessEqual => each!($([$isa])? a: $T = 0, b: $T = 1 => u8: u8::from(a <= b)),
                Primitive::Equal => each!($([$isa])? a: $T = 0, b: $T = 1 => u8: u8::from(a == b)),
                _ => return None,
            }
        };
    }
    with_float!(dtype, T => Some(of!(T, isa)), with_integer!(dtype, T => Some(of!(T)), None))
}

/// Arithmetic of integers, which wrap around.
fn whole(p: Primitive, dtype: DType) -> Option<Pointer> {
    with_integer!(dtype, T => Some(match p {
        Primitive::Add => each!(a: T = 0, b: T = 1 => T: a.wrapping_add(b)),
        Primitive::Sub => each!(a: T = 0, b: T = 1 => T: a.wrapping_sub(b)),
        Primitive::Mul => each!(a: T = 0, b: T = 1 => T: a.wrapping_mul(b)),
        Primitive::Max => each!(a: T = 0, b: T = 1 => T: a.max(b)),
        Primitive::Min => each!(a: T = 0, b: T = 1 => T: a.min(b)),
        _ => return None,
    }), None)
}

/// A conversion, as Rust's `as` does it.
fn cast(from: DType, to: DType, isa: Isa) -> Option<Pointer> {
    if to == DType::Bool {
        return Some(with_dtype!(from, A => each!(x: A = 0 => u8: u8::from(x != A::default()))));
    }
    with_dtype!(from, A => {
        with_float!(
            to,
            B => Some(each!([isa] x: A = 0 => B: x as B)),
            with_integer!(to, B => Some(each!(x: A = 0 => B: x as B)), None)
        )
    })
}

/// The same bits, of so many bytes.
pub(super) fn copy(bytes: usize) -> Option<Pointer> {
    Some(match bytes {
        1 => each!(x: u8 = 0 => u8: x),
        4 => each!(x: u32 = 0 => u32: x),
        8 => each!(x: u64 = 0 => u64: x),
        _ => return None,
    })
}

/// The choice between elements of so many bytes, for an instruction set: of bits, so that nothing is computed with those that are not
/// chosen, and without a branch.
fn select(bytes: usize, isa: Isa) -> Option<Pointer> {
    macro_rules! of {
        ($T:ident $(, $isa:expr)?) => {
            each!($([$isa])? mask: u8 = 0, a: $T = 1, b: $T = 2 => $T: {
                let chosen = $T::from(mask != 0).wrapping_neg();
                (a & chosen) | (b & !chosen)
            })
        };
    }
    Some(match bytes {
        1 => of!(u8),
        4 => of!(u32, isa),
        8 => of!(u64, isa),
        _ => return None,
    })
}

/// The magnitude of one number with the sign of another. That of a NaN depends on how it came about: it counts as positive.
#[inline(always)]
pub(super) fn signed<L: Lane>(x: L, sign: L) -> L {
    x.copysign(L::select(sign.is_nan(), L::splat(0.0), sign))
}

/// # Safety
/// As for [`Pointer`]; the second operand is one function.
unsafe extern "C-unwind" fn called<T: Real>(
    x: *const u8,
    f: *const u8,
    _: *const u8,
    out: *mut u8,
    len: usize,
) {
    // SAFETY: the caller promises the function.
    let f = unsafe { *f.cast::<fn(f64) -> f64>() };
    let (x, out): (*const T, *mut T) = (x.cast(), out.cast());
    for i in 0..len {
        // SAFETY: `i` is below `len`.
        unsafe { out.add(i).write(T::from_f64(f((*x.add(i)).to_f64()))) };
    }
}

/// # Safety
/// As for [`Pointer`]; the third operand is one function.
unsafe extern "C-unwind" fn called_2<T: Real>(
    a: *const u8,
    b: *const u8,
    f: *const u8,
    out: *mut u8,
    len: usize,
) {
    // SAFETY: the caller promises the function.
    let f = unsafe { *f.cast::<fn(f64, f64) -> f64>() };
    let (a, b, out): (*const T, *const T, *mut T) = (a.cast(), b.cast(), out.cast());
    for i in 0..len {
        // SAFETY: `i` is below `len`.
        unsafe { out.add(i).write(T::from_f64(f((*a.add(i)).to_f64(), (*b.add(i)).to_f64()))) };
    }
}

/// The function that applies a primitive to operands of which the last has the type `from`; `None` where there is none.
pub(crate) fn pointer(p: Primitive, from: DType, isa: Isa) -> Option<Pointer> {
    match p {
        Primitive::Less | Primitive::LessEqual | Primitive::Equal => compare(p, from, isa),
        Primitive::And => Some(each!(a: u8 = 0, b: u8 = 1 => u8: a & b)),
        Primitive::Or => Some(each!(a: u8 = 0, b: u8 = 1 => u8: a | b)),
        Primitive::Not => Some(each!(x: u8 = 0 => u8: x ^ 1)),
        Primitive::Cast(to) => cast(from, to, isa),
        Primitive::Copy => copy(from.bytes()),
        Primitive::Select => select(from.bytes(), isa),
        Primitive::Pow => with_float!(from, T => Some(each!(a: T = 0, b: T = 1 => T: a.powf(b))), None),
        Primitive::Each(_) => with_float!(from, T => Some(called::<T> as Pointer), None),
        Primitive::Each2(_) => with_float!(from, T => Some(called_2::<T> as Pointer), None),
        _ if !from.is_float() => whole(p, from),
        Primitive::GatedMul(0) => pointer(Primitive::Mul, from, isa),
        _ => of_floats!(of_slices, p, from, isa;
            Primitive::Add => 2 |a, b, _| a + b;
            Primitive::Sub => 2 |a, b, _| a - b;
            Primitive::Mul => 2 |a, b, _| a * b;
            Primitive::Div => 2 |a, b, _| a / b;
            Primitive::Max => 2 |a, b, _| a.max(b);
            Primitive::Min => 2 |a, b, _| a.min(b);
            Primitive::CopySign => 2 |a, b, _| signed(a, b);
            Primitive::GatedMul(1) => 2 |a, b, _| a.gated_mul(b, 1);
            Primitive::GatedMul(2) => 2 |a, b, _| a.gated_mul(b, 2);
            Primitive::GatedMul(_) => 2 |a, b, _| a.gated_mul(b, 3);
            Primitive::MulAdd => 3 |a, b, c| a.mul_add(b, c);
            Primitive::Neg => 1 |x, _, _| -x;
            Primitive::Abs => 1 |x, _, _| x.abs();
            Primitive::Sqrt => 1 |x, _, _| x.sqrt();
            Primitive::Round => 1 |x, _, _| x.round();
            Primitive::Floor => 1 |x, _, _| x.floor();
        )
        .or_else(|| special!(of_slices, p, from, isa)),
    }
}

/// Where a function of one register of floats lies that is passed in the first vector register and returned there, as the convention of C has
/// it, and reads no memory but its own: 32 bytes for AVX2, 64 for AVX-512. `None` of primitives that are a few instructions, or of anything else.
#[cfg(feature = "jit")]
pub(crate) fn register(p: Primitive, dtype: DType, isa: Isa) -> Option<usize> {
    special!(of_registers, p, dtype, isa)
}

/// A function of floats over a slice, for kernels of this crate.
pub(crate) fn map1<T: Real>(isa: Isa, p: Primitive, x: &[T], out: &mut [T]) {
    if let Some(f) = pointer(p, T::DTYPE, isa) {
        let (from, len) = (x.as_ptr().cast(), x.len().min(out.len()));
        // SAFETY: both slices have `len` elements of the type, and none of the functions of one number reads more.
        unsafe { f(from, from, from, out.as_mut_ptr().cast(), len) };
    }
}
