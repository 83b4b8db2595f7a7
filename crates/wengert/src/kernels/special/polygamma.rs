//! The derivatives of the logarithm of the gamma function.

use std::f64::consts::PI;

use super::{cos_pi, polynomial, sin_pi};

/// `ψ(x) = Γ′(x)/Γ(x)`: ∓∞ at ±0, NaN at the negative whole numbers. Up to 2 it is the distance from its root times a polynomial, up to 4 a
/// polynomial, from 10 on an asymptotic series (Abramowitz and Stegun, 6.3.18), between by the recurrence
/// `ψ(x + 1) = ψ(x) + 1/x`, below 0 by reflection.
pub(crate) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return -1.0 / x;
    }
    if x < 0.0 {
        let pole = x == x.floor();
        return if pole { f64::NAN } else { digamma(1.0 - x) - PI * cos_pi(x) / sin_pi(x) };
    }
    if x < 1.0 {
        return digamma(x + 1.0) - 1.0 / x;
    }
    if x < 2.0 {
        return ((x - ROOT.0) - ROOT.1) * polynomial(&DIGAMMA, x - 1.5);
    }
    if x < 10.0 {
        let (mut sum, mut x) = (0.0, x);
        while x >= 4.0 {
            x -= 1.0;
            sum += 1.0 / x;
        }
        return sum + polynomial(&DIGAMMA_FROM_TWO, x - 3.0);
    }
    let square = 1.0 / (x * x);
    let series =
        BERNOULLI.iter().enumerate().rev().fold(0.0, |y, (k, b)| (y + b / (2 * k + 2) as f64) * square);
    x.ln() - (0.5 / x + series)
}

/// The derivatives of [`digamma`], from the first on, each as a function of its own.
pub(crate) const POLYGAMMA: [fn(f64) -> f64; 12] = [
    polygamma::<1>,
    polygamma::<2>,
    polygamma::<3>,
    polygamma::<4>,
    polygamma::<5>,
    polygamma::<6>,
    polygamma::<7>,
    polygamma::<8>,
    polygamma::<9>,
    polygamma::<10>,
    polygamma::<11>,
    polygamma::<12>,
];

fn polygamma<const N: i32>(x: f64) -> f64 {
    of_order(N, x)
}

/// `ψ⁽ⁿ⁾(x)` of order 1 or higher: ±∞ at the poles. By the recurrence up to where the asymptotic series (Abramowitz and Stegun,
/// 6.4.11) has converged: all of its terms have the same sign. Below 0 by reflection (6.4.7).
fn of_order(n: i32, x: f64) -> f64 {
    let sign = if n % 2 == 0 { -1.0 } else { 1.0 };
    if x <= 0.0 {
        if x == x.floor() {
            return sign * f64::INFINITY;
        }
        return -cotangent(n, x) - of_order(n, 1.0 - x).abs();
    }
    if x == f64::INFINITY {
        return sign * 0.0;
    }
    let factorial: f64 = (1..=n).map(f64::from).product();
    let (mut x, mut sum) = (x, 0.0);
    while x < 15.0 + f64::from(n) {
        sum += x.powi(-n - 1);
        x += 1.0;
    }
    sum *= factorial;
    let power = x.powi(-n);
    sum += power * factorial / f64::from(n) + 0.5 * power * factorial / x;
    // (2k + n − 1)! / (2k)!
    let mut rising = factorial * f64::from(n + 1) / 2.0;
    let mut power = power / (x * x);
    for (k, b) in BERNOULLI.iter().enumerate() {
        sum += b * rising * power;
        let k = 2.0 * k as f64 + 2.0;
        rising *= (k + f64::from(n)) * (k + f64::from(n) + 1.0) / ((k + 1.0) * (k + 2.0));
        power /= x * x;
    }
    sign * sum
}

/// The `n`-th derivative of `π cot(πx)`, a polynomial in the cotangent: `cot′ = −(1 + cot²)`.
fn cotangent(n: i32, x: f64) -> f64 {
    let mut c = vec![0.0, 1.0];
    for _ in 0..n {
        let mut next = vec![0.0; c.len() + 1];
        for (i, c) in c.iter().enumerate().skip(1) {
            next[i - 1] -= c * i as f64;
            next[i + 1] -= c * i as f64;
        }
        c = next;
    }
    PI.powi(n + 1) * polynomial(&c, cos_pi(x) / sin_pi(x))
}

/// Bernoulli's numbers `B₂, B₄, …`.
const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43_867.0 / 798.0,
    -174_611.0 / 330.0,
];

/// The root of [`digamma`], in two parts.
const ROOT: (f64, f64) = (1.4616321449683622, 9.549995429965697e-17);

/// `ψ(x) / (x − root)` in `x − 1½`.
const DIGAMMA: [f64; 23] = [
    0.9510558760318328,
    -0.4236274212814606,
    0.24054248424078697,
    -0.14840492305388092,
    0.09498872445289039,
    -0.06192213327548831,
    0.040760833940846085,
    -0.026975796659787055,
    0.017907248317313294,
    -0.011908220105959716,
    0.007927021796868154,
    -0.005279937255532708,
    0.003518106563802472,
    -0.0023454947397380833,
    0.0015633696313653504,
    -0.0010364584817312839,
    0.0006909255761282986,
    -0.00048595039220036254,
    0.00032395945401345196,
    -0.00014480643368061614,
    9.653646261410062e-05,
    -0.0001782188548855923,
    0.00011881232908510335,
];

/// `ψ(x)` in `x − 3`.
const DIGAMMA_FROM_TWO: [f64; 23] = [
    0.9227843350984671,
    0.39493406684822646,
    -0.07705690315959429,
    0.019823233711134862,
    -0.005677755143368817,
    0.0017180619845354134,
    -0.0005367773819515793,
    0.00017110619691420163,
    -5.526782573889967e-05,
    1.8012634635133646e-05,
    -5.9073563913857425e-06,
    1.9459008352596906e-06,
    -6.430259226267795e-07,
    2.1304958946184967e-07,
    -7.06817711097889e-08,
    2.3351638439175582e-08,
    -7.763545025251715e-09,
    2.7242742307479803e-09,
    -9.068336793645203e-10,
    2.0269507176299237e-10,
    -6.749345689248068e-11,
    6.218811526831498e-11,
    -2.0722454724131336e-11,
];
