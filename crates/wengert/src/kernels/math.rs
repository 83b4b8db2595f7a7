//! Functions of vectors, within one unit in the last place: for levels with a fused multiply-add. The others
//! take theirs from the standard library, and from here what it does not have.
//!
//! The arguments are reduced as W. J. Cody and W. Waite do ("Software manual for the elementary
//! functions", 1980), the logarithm as in FDLIBM; the polynomials are fits of our own, made by
//! `tests/reference/functions.py`.

use super::lane::Lane;
use super::simd::{Real, Vector};

/// What the functions need of a vector beyond arithmetic.
pub(super) trait Bits: Vector {
    /// The nearest whole number, ties to even.
    fn round(self) -> Self;
    /// `2ⁿ` of whole numbers `n` that are exponents of normal numbers.
    fn pow2(n: Self) -> Self;
    /// Splits positive normal numbers into a whole exponent and a mantissa in [½√2, √2).
    fn split(self) -> (Self, Self);
    /// The magnitude of this with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// Whether the whole number in each lane is odd, in bit `bit` (0: odd, 1: the twos, …).
    fn bit(self, bit: u32) -> Self::Mask;
    /// Whether `mask` holds in any lane.
    fn any(mask: Self::Mask) -> bool;
}

/// The functions over every vector of these numbers.
pub(super) trait Functions: Real {
    /// π/2, ln 2 as sums of three numbers.
    const PI_2: [Self; 3];
    const LN2: [Self; 3];
    const EXP: &'static [Self];
    const LN: &'static [Self];
    const SIN: &'static [Self];
    const COS: &'static [Self];
    const TANH: &'static [Self];
    const ERF: &'static [Self];
    const ERFC: &'static [Self];
    /// Below and above these `exp` is 0 and ∞.
    const EXP_RANGE: [f64; 2];
    /// The largest magnitude that `sin` and `cos` reduce by themselves.
    const ANGLE: f64;
    /// From here on `erf` rounds to 1.
    const ERF_ONE: f64;
    /// The smallest normal number, a power of two that makes smaller ones normal, and its exponent.
    const NORMAL: [f64; 3];

    /// `eˣ`.
    #[inline(always)]
    fn exp<V: Bits<Scalar = Self>>(x: V) -> V {
        let [low, high] = Self::EXP_RANGE.map(V::splat);
        let x = V::select(x.lt(low), low, V::select(x.gt(high), high, x));
        let n = (x * V::splat(std::f64::consts::LOG2_E)).round();
        let r = n.mul_add(-V::all(Self::LN2[0]), x);
        let r = n.mul_add(-V::all(Self::LN2[1]), r);
        let p = polynomial(Self::EXP, r).mul_add(r * r, r) + V::splat(1.0);
        // In two halves, so that neither leaves the normal numbers where the result does.
        let half = (n * V::splat(0.5)).round();
        p * V::pow2(half) * V::pow2(n - half)
    }

    /// The natural logarithm.
    #[inline(always)]
    fn ln<V: Bits<Scalar = Self>>(x: V) -> V {
        let [least, scale, exponent] = Self::NORMAL.map(V::splat);
        let (zero, small) = (V::splat(0.0), x.lt(least));
        let (e, m) = V::select(small, x * scale, x).split();
        let e = V::select(small, e - exponent, e);
        let f = m - V::splat(1.0);
        let s = f / (f + V::splat(2.0));
        let z = s * s;
        let half = f * f * V::splat(0.5);
        let low = s.mul_add(z.mul_add(polynomial(Self::LN, z), half), e * V::all(Self::LN2[1]));
        let y = e.mul_add(V::all(Self::LN2[0]), f - (half - low));
        let infinite = V::select(x.gt(V::splat(Self::MAX)), x, y);
        let y = V::select(x.gt(zero), infinite, V::splat(f64::NEG_INFINITY));
        V::select(x.lt(zero), V::splat(f64::NAN), V::select(x.is_nan(), x, y))
    }

    /// The largest number.
    const MAX: f64;

    /// The sine of radians.
    #[inline(always)]
    fn sin<V: Bits<Scalar = Self>>(x: V) -> V {
        let (n, r) = reduce(x);
        far(x, circular(n, r, x), <Self as Lane>::sin)
    }

    /// The cosine of radians.
    #[inline(always)]
    fn cos<V: Bits<Scalar = Self>>(x: V) -> V {
        let (n, r) = reduce(x);
        far(x, circular(n + V::splat(1.0), r, r), <Self as Lane>::cos)
    }

    /// The hyperbolic tangent.
    #[inline(always)]
    fn tanh<V: Bits<Scalar = Self>>(x: V) -> V {
        let (one, two) = (V::splat(1.0), V::splat(2.0));
        let a = x.abs();
        let z = x * x;
        let small = (polynomial(Self::TANH, z) * z).mul_add(x, x);
        let large = one - two / (<Self as Functions>::exp(a * two) + one);
        // A NaN is not less, and comes out of `large` as it went in.
        V::select(a.lt(V::splat(0.55)), small, large.copysign(x))
    }

    /// The error function, of scalars too.
    ///
    /// From 1 on it is `1 − e^{−p}` with a polynomial `p` for `−ln erfc(x)`. An error of `p` counts
    /// `erfc(x)` times, less than a sixth; and nothing is divided, as it would be in `e^{−x²}` times a quotient.
    #[inline(always)]
    fn erf<V: Vector<Scalar = Self>>(x: V) -> V {
        let (one, most) = (V::splat(1.0), V::splat(Self::ERF_ONE));
        let a = x.abs();
        let small = polynomial(Self::ERF, x * x).mul_add(x, x);
        // Beyond its last point the polynomial means nothing. A NaN is not greater, and stays.
        let within = V::select(a.gt(most), most, a);
        let large = one - (-polynomial(Self::ERFC, within)).exp();
        V::select(a.lt(one), small, V::select(x.lt(V::splat(0.0)), -large, large))
    }
}

/// `Σ cᵢ xⁱ`, by Horner's rule.
#[inline(always)]
fn polynomial<V: Vector>(c: &[V::Scalar], x: V) -> V {
    let Some((last, rest)) = c.split_last() else { return V::splat(0.0) };
    let mut y = V::all(*last);
    for &c in rest.iter().rev() {
        y = y.mul_add(x, V::all(c));
    }
    y
}

/// `x = n π/2 + r` with `|r| ≤ π/4`. The first difference is exact, as both sides of it are multiples of
/// the same power of two.
#[inline(always)]
fn reduce<V: Bits>(x: V) -> (V, V)
where
    V::Scalar: Functions,
{
    let n = (x * V::splat(std::f64::consts::FRAC_2_PI)).round();
    let r = <V::Scalar as Functions>::PI_2.iter().fold(x, |r, &part| n.mul_add(-V::all(part), r));
    (n, r)
}

/// `sin(n π/2 + r)`; a zero has the sign of `zero`.
#[inline(always)]
fn circular<V: Bits>(n: V, r: V, zero: V) -> V
where
    V::Scalar: Functions,
{
    let z = r * r;
    let one = V::splat(1.0);
    let sin = (polynomial(V::Scalar::SIN, z) * z).mul_add(r, r);
    let half = z * V::splat(0.5);
    let w = one - half;
    let cos = w + ((one - w - half) + z * z * polynomial(V::Scalar::COS, z));
    let y = V::select(n.bit(0), cos, sin);
    let y = V::select(n.bit(1), -y, y);
    let nothing = V::select(r.gt(V::splat(0.0)), y, V::select(r.lt(V::splat(0.0)), y, r.copysign(zero)));
    V::select(n.bit(0), y, V::select(r.is_nan(), r, nothing))
}

/// `y`, but for angles too far away to be reduced, whose lanes get the function of scalars `f`.
#[inline(always)]
fn far<V: Bits<Scalar = T>, T: Functions>(x: V, y: V, f: fn(T) -> T) -> V {
    let far = x.abs().gt(V::splat(T::ANGLE));
    if V::any(far) { V::select(far, lane_by_lane(x, f), y) } else { y }
}

/// A function of scalars, lane by lane: for the rare arguments that the fast path leaves out.
#[inline(always)]
fn lane_by_lane<V: Vector>(x: V, f: fn(V::Scalar) -> V::Scalar) -> V {
    #[cold]
    #[inline(never)]
    fn each<T: Copy>(lanes: &mut [T], f: fn(T) -> T) {
        lanes.iter_mut().for_each(|x| *x = f(*x));
    }
    // Wide enough for every register.
    let mut lanes = [V::Scalar::default(); 16];
    // SAFETY: no register has more than 16 lanes.
    unsafe { x.store(lanes.as_mut_ptr()) };
    each(&mut lanes[..V::LANES], f);
    // SAFETY: as above.
    unsafe { V::load(lanes.as_ptr()) }
}

impl Functions for f64 {
    const PI_2: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
    const LN2: [f64; 3] = [std::f64::consts::LN_2, 2.3190468138462996e-17, 5.707708438416212e-34];
    const EXP: &'static [f64] = &[
        0.5,
        0.1666666666666667,
        0.04166666666666667,
        0.008333333333326084,
        0.0013888888888883711,
        0.0001984126987500228,
        2.480158732567746e-05,
        2.755725517000089e-06,
        2.755727347871858e-07,
        2.5105312729622103e-08,
        2.09147553258932e-09,
    ];
    const LN: &'static [f64] = &[
        0.6666666666666666,
        0.40000000000000885,
        0.28571428570799784,
        0.22222222392581045,
        0.18181795547521137,
        0.15386244737621665,
        0.13268638369266825,
        0.13088034850927555,
    ];
    const SIN: &'static [f64] = &[
        -0.16666666666666666,
        0.008333333333333331,
        -0.0001984126984126504,
        2.755731921932058e-06,
        -2.50521062259944e-08,
        1.6058530596645953e-10,
        -7.586636882825159e-13,
    ];
    const COS: &'static [f64] = &[
        0.041666666666666664,
        -0.0013888888888888887,
        2.4801587301584632e-05,
        -2.755731922139249e-07,
        2.0876755787492604e-09,
        -1.1470460319209511e-11,
        4.745838412531023e-14,
    ];
    const TANH: &'static [f64] = &[
        -0.3333333333333333,
        0.13333333333333322,
        -0.0539682539682386,
        0.02186948853527211,
        -0.008863235503474263,
        0.00359212756468524,
        -0.001455828960615004,
        0.0005899854319744377,
        -0.00023890496211736875,
        9.608496254823988e-05,
        -3.715957073271407e-05,
        1.2290462744501814e-05,
        -2.474921470279742e-06,
    ];
    const ERF: &'static [f64] = &[
        0.12837916709551256,
        -0.37612638903183543,
        0.11283791670945006,
        -0.02686617064323777,
        0.0052239776071164225,
        -0.0008548325975389692,
        0.00012055294904839707,
        -1.492473690741966e-05,
        1.6447424703317362e-06,
        -1.6208483801871705e-07,
        1.3720064546777686e-08,
        -7.795898827002142e-10,
    ];
    const ERFC: &'static [f64] = &[
        5.25530610055349e-07,
        1.1283738752344383,
        0.6366445675882951,
        0.1027008999186594,
        -0.01898544054561009,
        -0.0004171020651739851,
        0.001922650075452321,
        -0.0007760226343185617,
        0.00013843208229647933,
        1.8591234887288997e-05,
        -2.2168398241704738e-05,
        8.46709272682243e-06,
        -2.0883233454373484e-06,
        3.648123420213575e-07,
        -4.530923031074751e-08,
        3.833569578436844e-09,
        -1.9889327194207288e-10,
        4.7841387941070134e-12,
    ];
    const EXP_RANGE: [f64; 2] = [-750.0, 710.0];
    const ANGLE: f64 = 1e9;
    const ERF_ONE: f64 = 6.0;
    const NORMAL: [f64; 3] = [f64::MIN_POSITIVE, 18014398509481984.0, 54.0];
    const MAX: f64 = f64::MAX;
}

#[allow(clippy::excessive_precision)] // as the script prints them
impl Functions for f32 {
    const PI_2: [f32; 3] = [std::f32::consts::FRAC_PI_2, -4.371_139e-8, -1.715_124_5e-15];
    const LN2: [f32; 3] = [std::f32::consts::LN_2, -1.904_654_2e-9, -8.783_184e-17];
    const EXP: &'static [f32] = &[0.5, 0.166665763, 0.0416665524, 0.00836323295, 0.00139262504];
    const LN: &'static [f32] = &[0.666666687, 0.400001228, 0.285507798, 0.233316138];
    const SIN: &'static [f32] = &[-0.166666672, 0.00833333191, -0.000198400841, 2.72496209e-06];
    const COS: &'static [f32] = &[0.0416666679, -0.00138888881, 2.48005981e-05, -2.73007032e-07];
    const TANH: &'static [f32] = &[
        -0.333333343,
        0.133333325,
        -0.0539676808,
        0.0218604244,
        -0.00879391748,
        0.00331356796,
        -0.000869063777,
    ];
    const ERF: &'static [f32] = &[
        0.128379166,
        -0.37612626,
        0.112835944,
        -0.0268542115,
        0.00518908724,
        -0.00080168643,
        7.87587487e-05,
    ];
    const ERFC: &'static [f32] =
        &[0.000341962354, 1.1270889, 0.638142467, 0.103111453, -0.0218417067, 0.00294894585, -0.000186551712];
    const EXP_RANGE: [f64; 2] = [-104.0, 89.0];
    const ANGLE: f64 = 1e5;
    const ERF_ONE: f64 = 4.0;
    const NORMAL: [f64; 3] = [f32::MIN_POSITIVE as f64, 16777216.0, 24.0];
    const MAX: f64 = f32::MAX as f64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Elementwise;
    use crate::kernels::map::{Map, map};
    use crate::kernels::simd::Level;
    use crate::ops::math::Sigmoid;

    struct Function(&'static str);
    impl Map<1> for Function {
        #[inline(always)]
        fn apply<L: Lane>(&self, [x]: [L; 1]) -> L {
            match self.0 {
                "exp" => x.exp(),
                "ln" => x.ln(),
                "sin" => x.sin(),
                "cos" => x.cos(),
                "tanh" => x.tanh(),
                "erf" => x.erf(),
                _ => Sigmoid.eval([x]),
            }
        }
    }
    const NAMES: [&str; 7] = ["exp", "ln", "sin", "cos", "tanh", "erf", "sigmoid"];

    /// Distance in units in the last place of the expected number.
    fn ulps<T: Real>(found: T, expected: T, bits: u32) -> f64 {
        let (found, expected) = (found.to_f64(), expected.to_f64());
        let (mantissa, least) = if bits == 64 { (52, -1022) } else { (23, -126) };
        let exponent = expected.abs().log2().floor().max(f64::from(least)) as i32;
        (found - expected).abs() / 2f64.powi(exponent) * 2f64.powi(mantissa)
    }

    fn worst<T: Real + std::str::FromStr<Err: std::fmt::Debug>>(
        level: Level,
        name: &'static str,
        bits: u32,
    ) -> f64 {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/functions.csv");
        let table = std::fs::read_to_string(path).unwrap();
        let of = |line: &str| -> Option<(T, T)> {
            let rest = line.strip_prefix(name)?.strip_prefix(&format!(",{bits},"))?;
            let (x, y) = rest.split_once(',')?;
            Some((x.parse().unwrap(), y.parse().unwrap()))
        };
        let (x, y): (Vec<T>, Vec<T>) = table.lines().filter_map(of).unzip();
        assert!(x.len() >= 350, "{name} has {} numbers", x.len());
        let mut found = vec![T::default(); x.len()];
        map(level, &Function(name), [&x], &mut found).unwrap();
        found.into_iter().zip(y).map(|(f, y)| ulps(f, y, bits)).fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_within_two_units_in_the_last_place() {
        for &level in Level::available() {
            for name in NAMES {
                let (single, double) = (worst::<f32>(level, name, 32), worst::<f64>(level, name, 64));
                println!("{level:?} {name}: {single:.2} {double:.2}");
                assert!(single <= 2.0 && double <= 2.0, "{level:?} {name}: {single} and {double} ulp");
            }
        }
    }

    fn corners<T: Real>(level: Level, least: f64, most: f64) {
        let (inf, least) = (f64::INFINITY, T::from_f64(least).to_f64());
        let cases: [(&str, f64, f64); 33] = [
            ("exp", -inf, 0.0),
            ("exp", inf, inf),
            ("exp", 1e4, inf),
            ("exp", -1e4, 0.0),
            ("exp", 0.0, 1.0),
            ("exp", -0.0, 1.0),
            ("ln", 0.0, -inf),
            ("ln", -0.0, -inf),
            ("ln", 1.0, 0.0),
            ("ln", inf, inf),
            ("ln", most, most.ln()),
            ("ln", least, least.ln()),
            ("sin", 0.0, 0.0),
            ("sin", -0.0, -0.0),
            ("cos", 0.0, 1.0),
            ("cos", -0.0, 1.0),
            ("sin", 1e12, T::from_f64(1e12).to_f64().sin()),
            ("cos", -1e12, T::from_f64(1e12).to_f64().cos()),
            ("tanh", inf, 1.0),
            ("tanh", -inf, -1.0),
            ("tanh", -0.0, -0.0),
            ("tanh", least, least),
            ("erf", inf, 1.0),
            ("erf", -inf, -1.0),
            ("erf", most, 1.0),
            ("erf", -most, -1.0),
            ("erf", 0.0, 0.0),
            ("erf", -0.0, -0.0),
            ("erf", least, least),
            ("erf", -least, -least),
            ("sigmoid", inf, 1.0),
            ("sigmoid", -inf, 0.0),
            ("sigmoid", -0.0, 0.5),
        ];
        let nan = [("ln", -1.0), ("ln", -inf), ("sin", inf), ("cos", -inf)];
        let nan =
            nan.into_iter().chain(NAMES.map(|name| (name, f64::NAN))).map(|(name, x)| (name, x, f64::NAN));
        for (name, x, expected) in cases.into_iter().chain(nan) {
            // In the company of others, as in a register.
            let x = [1.0, x, 2.0].map(T::from_f64);
            let mut y = [T::default(); 3];
            map(level, &Function(name), [&x], &mut y).unwrap();
            let (found, expected) = (y[1].to_f64(), T::from_f64(expected).to_f64());
            let close = (found - expected).abs() <= 1e-6 * expected.abs()
                && found.is_sign_negative() == expected.is_sign_negative();
            assert!(
                close || found == expected || (found.is_nan() && expected.is_nan()),
                "{level:?} {name}({x:?}) = {found}, not {expected}"
            );
        }
    }

    #[test]
    fn erf_is_odd_and_no_greater_than_one() {
        fn check<T: Real>(level: Level) {
            let x: Vec<T> = (0..4000).map(|i| T::from_f64(f64::from(i) * 0.002)).collect();
            let minus: Vec<T> = x.iter().map(|&x| -x).collect();
            let (mut y, mut opposite) = (x.clone(), x.clone());
            map(level, &Function("erf"), [&x], &mut y).unwrap();
            map(level, &Function("erf"), [&minus], &mut opposite).unwrap();
            let one = T::from_f64(1.0);
            assert!(y.iter().zip(&opposite).all(|(&y, &o)| y == -o && y <= one), "{level:?}");
            assert!(y.last() == Some(&one), "{level:?}");
        }
        for &level in Level::available() {
            check::<f32>(level);
            check::<f64>(level);
        }
    }

    #[test]
    fn corners_and_nans_come_out_right() {
        for &level in Level::available() {
            corners::<f32>(level, 1e-45, f64::from(f32::MAX));
            corners::<f64>(level, 5e-324, f64::MAX);
        }
    }
}
