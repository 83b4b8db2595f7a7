//! The functions against a table of 60 digits, and at corners.

use crate::kernels::body::Primitive;
use crate::kernels::primitives::map1;
use crate::kernels::simd::{Isa, Real};

fn function(name: &str) -> Primitive {
    match name {
        "exp" => Primitive::Exp,
        "ln" => Primitive::Ln,
        "sin" => Primitive::Sin,
        "cos" => Primitive::Cos,
        "tanh" => Primitive::Tanh,
        "erf" => Primitive::Erf,
        _ => Primitive::Sigmoid,
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

fn worst<T: Real + std::str::FromStr<Err: std::fmt::Debug>>(isa: Isa, name: &'static str, bits: u32) -> f64 {
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
    map1(isa, function(name), &x, &mut found);
    found.into_iter().zip(y).map(|(f, y)| ulps(f, y, bits)).fold(0.0, f64::max)
}

#[test]
fn functions_are_within_two_units_in_the_last_place() {
    for &isa in Isa::available() {
        for name in NAMES {
            let (single, double) = (worst::<f32>(isa, name, 32), worst::<f64>(isa, name, 64));
            println!("{isa:?} {name}: {single:.2} {double:.2}");
            assert!(single <= 2.0 && double <= 2.0, "{isa:?} {name}: {single} and {double} ulp");
        }
    }
}

fn corners<T: Real>(isa: Isa, least: f64, most: f64) {
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
    let nan = nan.into_iter().chain(NAMES.map(|name| (name, f64::NAN))).map(|(name, x)| (name, x, f64::NAN));
    for (name, x, expected) in cases.into_iter().chain(nan) {
        // In the company of others, as in a register.
        let x = [1.0, x, 2.0].map(T::from_f64);
        let mut y = [T::default(); 3];
        map1(isa, function(name), &x, &mut y);
        let (found, expected) = (y[1].to_f64(), T::from_f64(expected).to_f64());
        let close = (found - expected).abs() <= 1e-6 * expected.abs()
            && found.is_sign_negative() == expected.is_sign_negative();
        assert!(
            close || found == expected || (found.is_nan() && expected.is_nan()),
            "{isa:?} {name}({x:?}) = {found}, not {expected}"
        );
    }
}

#[test]
fn erf_is_odd_and_no_greater_than_one() {
    fn check<T: Real>(isa: Isa) {
        let x: Vec<T> = (0..4000).map(|i| T::from_f64(f64::from(i) * 0.002)).collect();
        let minus: Vec<T> = x.iter().map(|&x| -x).collect();
        let (mut y, mut opposite) = (x.clone(), x.clone());
        map1(isa, function("erf"), &x, &mut y);
        map1(isa, function("erf"), &minus, &mut opposite);
        let one = T::from_f64(1.0);
        assert!(y.iter().zip(&opposite).all(|(&y, &o)| y == -o && y <= one), "{isa:?}");
        assert!(y.last() == Some(&one), "{isa:?}");
    }
    for &isa in Isa::available() {
        check::<f32>(isa);
        check::<f64>(isa);
    }
}

#[test]
fn corners_and_nans_come_out_right() {
    for &isa in Isa::available() {
        corners::<f32>(isa, 1e-45, f64::from(f32::MAX));
        corners::<f64>(isa, 5e-324, f64::MAX);
    }
}
