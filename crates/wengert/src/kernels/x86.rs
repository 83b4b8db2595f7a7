//! The registers of x86-64.

use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::enter::{avx2, avx512};
use super::functions;
use super::fused::Fused;
use super::lane::{Lane, Whole};
use super::simd::{Bits, Vector, WIDEST};
use super::tile::Tile;

/// What differs between registers: the type, its lanes, its masks and the names of its instructions.
macro_rules! register {
    (
        $V:ident($Raw:ident) of $T:ident x $lanes:literal, tile $isa:ident $rows:literal x $vectors:literal, bits $I:ident, mantissa $mantissa:literal, mask $Mask:ident by $wrap:path;
        $set1:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident $div:ident $fma:ident $sqrt:ident
        $to_int:ident $from_int:ident $int1:ident $int_add:ident $int_sub:ident $int_and:ident $int_or:ident
        $shl:ident $shr:ident;
        round $round:expr; floor $floor:expr; compare $compare:ident; select $select:expr; any |$m:ident| $any:expr;
        nonzero $nonzero:expr; zip |$a:ident, $b:ident| $zip:expr; lane $lane:ident; sum |$x:ident| $sum:expr;
        first |$n:ident| $first:expr; $load_part:expr; $store_part:expr;
        groups $groups:literal; lines |$from:ident, $step:ident| $lines:expr;
        parts |$part:ident, $part_step:ident, $count:ident| $parts:expr; sums |$both:ident| $sums:expr
        $(; own $($own:item)+)?
    ) => {
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        #[allow(missing_docs)]
        pub(crate) struct $V($Raw);

        impl $V {
            /// The sign bit of every lane.
            const SIGN: $I = $I::MIN;
        }

        // SAFETY of every block below: a register exists only inside `Isa::run`, which entered a
        // function compiled for a processor that has its instructions.
        impl Add for $V {
            type Output = Self;
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $add(self.0, b.0) })
            }
        }
        impl Sub for $V {
            type Output = Self;
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $sub(self.0, b.0) })
            }
        }
        impl Mul for $V {
            type Output = Self;
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $mul(self.0, b.0) })
            }
        }
        impl Div for $V {
            type Output = Self;
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $div(self.0, b.0) })
            }
        }
        impl Neg for $V {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: see above. The sign bit is flipped: a sum with it drops the carry.
                Self(unsafe { $from_int($int_add($to_int(self.0), $int1(Self::SIGN))) })
            }
        }
        impl Whole for $V {}
        impl Lane for $V {
            type Mask = $Mask;
            #[inline(always)]
            fn splat(value: f64) -> Self {
                Self::all(value as $T)
            }
            #[inline(always)]
            fn select(mask: $Mask, a: Self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $select(mask, a.0, b.0) })
            }
            #[inline(always)]
            fn lt(self, other: Self) -> $Mask {
                // SAFETY: see above.
                $wrap(unsafe { $compare::<_CMP_LT_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn le(self, other: Self) -> $Mask {
                // SAFETY: see above.
                $wrap(unsafe { $compare::<_CMP_LE_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn eq(self, other: Self) -> $Mask {
                // SAFETY: see above.
                $wrap(unsafe { $compare::<_CMP_EQ_OQ>(self.0, other.0) })
            }
            #[inline(always)]
            fn is_nan(self) -> $Mask {
                // SAFETY: see above.
                $wrap(unsafe { $compare::<_CMP_UNORD_Q>(self.0, self.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $from_int($int_and($to_int(self.0), $int1($I::MAX))) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn round(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $round(self.0) })
            }
            #[inline(always)]
            fn floor(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $floor(self.0) })
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe {
                    let sign = $int_and($to_int(sign.0), $int1(Self::SIGN));
                    $from_int($int_or($int_and($to_int(self.0), $int1($I::MAX)), sign))
                })
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn exp(self) -> Self {
                functions::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                functions::ln(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                functions::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                functions::cos(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                functions::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                functions::erf(self)
            }
            #[inline(always)]
            fn each(self, f: fn(f64) -> f64) -> Self {
                #[cold]
                #[inline(never)]
                fn all(lanes: &mut [$T], f: fn(f64) -> f64) {
                    lanes.iter_mut().for_each(|x| *x = f(f64::from(*x)) as $T);
                }
                let mut lanes = [0.0; WIDEST];
                // SAFETY: no register has more lanes.
                unsafe { self.store(lanes.as_mut_ptr()) };
                all(&mut lanes[..Self::LANES], f);
                // SAFETY: as above.
                unsafe { Self::load(lanes.as_ptr()) }
            }
            #[inline(always)]
            fn each_2(self, other: Self, f: fn(f64, f64) -> f64) -> Self {
                let (mut lanes, mut others) = ([0.0; WIDEST], [0.0; WIDEST]);
                // SAFETY: no register has more lanes.
                unsafe {
                    self.store(lanes.as_mut_ptr());
                    other.store(others.as_mut_ptr());
                }
                let pairs = lanes.iter_mut().zip(others).take(Self::LANES);
                pairs.for_each(|(a, b)| *a = f(f64::from(*a), f64::from(b)) as $T);
                // SAFETY: as above.
                unsafe { Self::load(lanes.as_ptr()) }
            }
        }
        impl Vector for $V {
            type Scalar = $T;
            type One = Fused<$T>;
            const LANES: usize = $lanes;
            const MASKED: bool = size_of::<$Raw>() == 64;
            const ROWS: usize = $rows;
            const VECTORS: usize = $vectors;
            #[inline(always)]
            fn all(value: $T) -> Self {
                // SAFETY: see above.
                Self(unsafe { $set1(value) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $T) -> Self {
                // SAFETY: the caller promises readable numbers; unaligned loads are used.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $T) {
                // SAFETY: the caller promises writable numbers; unaligned stores are used.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn load_part(from: *const $T, count: usize) -> Self {
                let $n = count;
                // SAFETY: the caller promises the numbers of the mask, and no others are read.
                Self(unsafe { $load_part($first, from) })
            }
            #[inline(always)]
            unsafe fn store_part(self, to: *mut $T, count: usize) {
                let $n = count;
                // SAFETY: the caller promises the numbers of the mask, and no others are written.
                unsafe { $store_part(to, $first, self.0) }
            }
            #[inline(always)]
            fn zip(self, other: Self) -> (Self, Self) {
                let ($a, $b) = (self.0, other.0);
                // SAFETY: see above.
                let (first, second) = unsafe { $zip };
                (Self(first), Self(second))
            }
            $($($own)+)?
            #[inline(always)]
            fn first(self) -> $T {
                // SAFETY: see above.
                unsafe { $lane(self.0) }
            }
            #[inline(always)]
            fn sum(self) -> $T {
                // SAFETY: see above.
                unsafe {
                    let $x = self.0;
                    $sum
                }
            }
            const GROUPS: usize = $groups;
            #[inline(always)]
            unsafe fn load_rows($from: *const $T, $step: usize) -> Self {
                // SAFETY: the caller promises readable numbers; unaligned loads are used.
                Self(unsafe { $lines })
            }
            #[inline(always)]
            unsafe fn load_rows_part($part: *const $T, $part_step: usize, $count: usize) -> Self {
                // SAFETY: the caller promises the numbers of the mask, and no others are read.
                Self(unsafe { $parts })
            }
            #[inline(always)]
            fn row_sums(self) -> [$T; 2] {
                // SAFETY: see above.
                unsafe {
                    let $both = self.0;
                    $sums
                }
            }
            #[inline(always)]
            unsafe fn tile<const LAYOUT: bool>(tile: &Tile<$T>, rows: usize) {
                // SAFETY: passed on from the caller.
                unsafe { $isa::tile::<Self, LAYOUT>(tile, rows) }
            }
            #[inline(always)]
            fn fused(a: $T, b: $T, c: $T) -> $T {
                // An instruction, as the features of the caller have one.
                a.mul_add(b, c)
            }
        }
        impl Bits for $V {
            #[inline(always)]
            fn pow2(n: Self) -> Self {
                // Added to 1½·2ᵐ a whole number stands in the low bits; the bias makes it an exponent.
                const BIAS: $T = (1u64 << $mantissa) as $T * 1.5 + ($T::MAX_EXP - 1) as $T;
                let low = n + Self::all(BIAS);
                // SAFETY: see above.
                Self(unsafe { $from_int($shl::<$mantissa>($to_int(low.0))) })
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                const ONE: $I = (1.0 as $T).to_bits() as $I;
                const EXPONENT: $I = $T::INFINITY.to_bits() as $I;
                const ROOT: $I = (std::f64::consts::FRAC_1_SQRT_2 as $T).to_bits() as $I;
                /// 2ᵐ, whose low bits are zero.
                const WHOLE: $T = (1u64 << $mantissa) as $T;
                // SAFETY: see above.
                unsafe {
                    let bits = $to_int(self.0);
                    // The exponent, biased, of the number over ½√2.
                    let t = $int_add($int_sub(bits, $int1(ROOT)), $int1(ONE));
                    let e = $from_int($int_or($shr::<$mantissa>(t), $int1(WHOLE.to_bits() as $I)));
                    let m = $int_add($int_sub(bits, $int_and(t, $int1(EXPONENT))), $int1(ONE));
                    (Self(e) - Self::all(WHOLE + ($T::MAX_EXP - 1) as $T), Self($from_int(m)))
                }
            }
            #[inline(always)]
            fn bit(self, bit: u32) -> $Mask {
                const WHOLE: $T = (1u64 << $mantissa) as $T * 1.5;
                let low = self + Self::all(WHOLE);
                // SAFETY: see above.
                unsafe { $nonzero($int_and($to_int(low.0), $int1(1 << bit))) }
            }
            #[inline(always)]
            fn any(mask: $Mask) -> bool {
                let $m = mask;
                $any
            }
        }
    };
}

/// The sum of the lanes, in pairs of those that are half a register apart, then a quarter, …
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn sum_f32x8(x: __m256) -> f32 {
    // SAFETY: passed on from the caller.
    unsafe {
        let quarter = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
    }
}

/// # Safety
/// As for [`sum_f32x8`].
#[inline(always)]
unsafe fn sum_f64x4(x: __m256d) -> f64 {
    // SAFETY: passed on from the caller.
    unsafe {
        let pair = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
        _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)))
    }
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;

/// The outcomes of comparisons in registers of AVX2: all bits of a lane, or none.
macro_rules! mask {
    ($Mask:ident($Raw:ident): $and:ident $or:ident $xor:ident $from_int:ident) => {
        #[derive(Clone, Copy)]
        #[allow(missing_docs)]
        pub(crate) struct $Mask($Raw);
        // SAFETY of every block below: as for registers.
        impl BitAnd for $Mask {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, other: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $and(self.0, other.0) })
            }
        }
        impl BitOr for $Mask {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $or(self.0, other.0) })
            }
        }
        impl Not for $Mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $xor(self.0, $from_int(_mm256_set1_epi32(-1))) })
            }
        }
    };
}
mask!(Mask8(__m256): _mm256_and_ps _mm256_or_ps _mm256_xor_ps _mm256_castsi256_ps);
mask!(Mask4(__m256d): _mm256_and_pd _mm256_or_pd _mm256_xor_pd _mm256_castsi256_pd);

register! {
    F32x8(__m256) of f32 x 8, tile avx2 6 x 2, bits i32, mantissa 23, mask Mask8 by Mask8;
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
    _mm256_fmadd_ps _mm256_sqrt_ps _mm256_castps_si256 _mm256_castsi256_ps _mm256_set1_epi32
    _mm256_add_epi32 _mm256_sub_epi32 _mm256_and_si256 _mm256_or_si256 _mm256_slli_epi32 _mm256_srli_epi32;
    round _mm256_round_ps::<NEAREST>; floor _mm256_round_ps::<DOWN>; compare _mm256_cmp_ps;
    select |m: Mask8, a, b| _mm256_blendv_ps(b, a, m.0);
    any |m| { // SAFETY: see above.
        unsafe { _mm256_movemask_ps(m.0) != 0 } };
    nonzero |i| !Mask8(_mm256_castsi256_ps(_mm256_cmpeq_epi32(i, _mm256_setzero_si256())));
    zip |a, b| {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
    };
    lane _mm256_cvtss_f32; sum |x| sum_f32x8(x);
    first |n| _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    |m, from| _mm256_maskload_ps(from, m); _mm256_maskstore_ps;
    groups 1; lines |from, _step| _mm256_loadu_ps(from);
    parts |from, _step, count| F32x8::load_part(from, count).0; sums |x| [sum_f32x8(x), 0.0];
    own #[inline(always)]
    fn unzip(self, other: Self) -> (Self, Self) {
        // SAFETY: see above.
        unsafe {
            // Of each half of both, before the halves are put in order.
            let (even, odd) = (_mm256_shuffle_ps::<0x88>(self.0, other.0), _mm256_shuffle_ps::<0xdd>(self.0, other.0));
            let order = |x| _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(x)));
            (Self(order(even)), Self(order(odd)))
        }
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self; WIDEST]) {
        let r = *rows;
        // SAFETY: see above.
        unsafe {
            // Of four rows each column `j`, beside column `j + 4`.
            for i in [0, 4] {
                let (low, high) = (_mm256_unpacklo_ps(r[i].0, r[i + 2].0), _mm256_unpackhi_ps(r[i].0, r[i + 2].0));
                let (a, b) = (r[i + 1].0, r[i + 3].0);
                let (low_2, high_2) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                rows[i] = Self(_mm256_unpacklo_ps(low, low_2));
                rows[i + 1] = Self(_mm256_unpackhi_ps(low, low_2));
                rows[i + 2] = Self(_mm256_unpacklo_ps(high, high_2));
                rows[i + 3] = Self(_mm256_unpackhi_ps(high, high_2));
            }
            for j in 0..4 {
                let (a, b) = (rows[j].0, rows[j + 4].0);
                rows[j] = Self(_mm256_permute2f128_ps::<0x20>(a, b));
                rows[j + 4] = Self(_mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }
}
register! {
    F64x4(__m256d) of f64 x 4, tile avx2 6 x 2, bits i64, mantissa 52, mask Mask4 by Mask4;
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
    _mm256_fmadd_pd _mm256_sqrt_pd _mm256_castpd_si256 _mm256_castsi256_pd _mm256_set1_epi64x
    _mm256_add_epi64 _mm256_sub_epi64 _mm256_and_si256 _mm256_or_si256 _mm256_slli_epi64 _mm256_srli_epi64;
    round _mm256_round_pd::<NEAREST>; floor _mm256_round_pd::<DOWN>; compare _mm256_cmp_pd;
    select |m: Mask4, a, b| _mm256_blendv_pd(b, a, m.0);
    any |m| { // SAFETY: see above.
        unsafe { _mm256_movemask_pd(m.0) != 0 } };
    nonzero |i| !Mask4(_mm256_castsi256_pd(_mm256_cmpeq_epi64(i, _mm256_setzero_si256())));
    zip |a, b| {
        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        (_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high))
    };
    lane _mm256_cvtsd_f64; sum |x| sum_f64x4(x);
    first |n| _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3));
    |m, from| _mm256_maskload_pd(from, m); _mm256_maskstore_pd;
    groups 1; lines |from, _step| _mm256_loadu_pd(from);
    parts |from, _step, count| F64x4::load_part(from, count).0; sums |x| [sum_f64x4(x), 0.0];
    own #[inline(always)]
    fn unzip(self, other: Self) -> (Self, Self) {
        // SAFETY: see above.
        unsafe {
            // Of each half of both, before the halves are put in order.
            let (even, odd) = (_mm256_unpacklo_pd(self.0, other.0), _mm256_unpackhi_pd(self.0, other.0));
            (Self(_mm256_permute4x64_pd::<0xd8>(even)), Self(_mm256_permute4x64_pd::<0xd8>(odd)))
        }
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self; WIDEST]) {
        // SAFETY: see above.
        unsafe {
            // Of two rows each column `j`, beside column `j + 2`.
            for i in [0, 2] {
                let (a, b) = (rows[i].0, rows[i + 1].0);
                rows[i] = Self(_mm256_unpacklo_pd(a, b));
                rows[i + 1] = Self(_mm256_unpackhi_pd(a, b));
            }
            for j in 0..2 {
                let (a, b) = (rows[j].0, rows[j + 2].0);
                rows[j] = Self(_mm256_permute2f128_pd::<0x20>(a, b));
                rows[j + 2] = Self(_mm256_permute2f128_pd::<0x31>(a, b));
            }
        }
    }
}
register! {
    F32x16(__m512) of f32 x 16, tile avx512 8 x 3, bits i32, mantissa 23, mask __mmask16 by std::convert::identity;
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps
    _mm512_fmadd_ps _mm512_sqrt_ps _mm512_castps_si512 _mm512_castsi512_ps _mm512_set1_epi32
    _mm512_add_epi32 _mm512_sub_epi32 _mm512_and_si512 _mm512_or_si512 _mm512_slli_epi32 _mm512_srli_epi32;
    round _mm512_roundscale_ps::<NEAREST>; floor _mm512_roundscale_ps::<DOWN>; compare _mm512_cmp_ps_mask;
    select |m, a, b| _mm512_mask_blend_ps(m, b, a);
    any |m| m != 0;
    nonzero |i| _mm512_test_epi32_mask(i, i);
    zip |a, b| {
        let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let second = _mm512_or_si512(first, _mm512_set1_epi32(8));
        (_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b))
    };
    lane _mm512_cvtss_f32;
    sum |x| sum_f32x8(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x)));
    first |n| ((1u32 << n) - 1) as __mmask16; _mm512_maskz_loadu_ps; _mm512_mask_storeu_ps;
    groups 2;
    lines |from, step| {
        _mm512_insertf32x8::<1>(_mm512_castps256_ps512(_mm256_loadu_ps(from)), _mm256_loadu_ps(from.add(step)))
    };
    parts |from, step, count| {
        let (low, high) = (F32x8::load_part(from, count).0, F32x8::load_part(from.add(step), count).0);
        _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
    };
    sums |x| [sum_f32x8(_mm512_castps512_ps256(x)), sum_f32x8(_mm512_extractf32x8_ps::<1>(x))]
}
register! {
    F64x8(__m512d) of f64 x 8, tile avx512 8 x 3, bits i64, mantissa 52, mask __mmask8 by std::convert::identity;
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd
    _mm512_fmadd_pd _mm512_sqrt_pd _mm512_castpd_si512 _mm512_castsi512_pd _mm512_set1_epi64
    _mm512_add_epi64 _mm512_sub_epi64 _mm512_and_si512 _mm512_or_si512 _mm512_slli_epi64 _mm512_srli_epi64;
    round _mm512_roundscale_pd::<NEAREST>; floor _mm512_roundscale_pd::<DOWN>; compare _mm512_cmp_pd_mask;
    select |m, a, b| _mm512_mask_blend_pd(m, b, a);
    any |m| m != 0;
    nonzero |i| _mm512_test_epi64_mask(i, i);
    zip |a, b| {
        let first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let second = _mm512_or_si512(first, _mm512_set1_epi64(4));
        (_mm512_permutex2var_pd(a, first, b), _mm512_permutex2var_pd(a, second, b))
    };
    lane _mm512_cvtsd_f64;
    sum |x| sum_f64x4(_mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd::<1>(x)));
    first |n| ((1u32 << n) - 1) as __mmask8; _mm512_maskz_loadu_pd; _mm512_mask_storeu_pd;
    groups 2;
    lines |from, step| {
        _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(_mm256_loadu_pd(from)), _mm256_loadu_pd(from.add(step)))
    };
    parts |from, step, count| {
        let (low, high) = (F64x4::load_part(from, count).0, F64x4::load_part(from.add(step), count).0);
        _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high)
    };
    sums |x| [sum_f64x4(_mm512_castpd512_pd256(x)), sum_f64x4(_mm512_extractf64x4_pd::<1>(x))]
}
