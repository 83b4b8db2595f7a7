//! Derivatives of functions that compute the same several times: each thing once, but for variables that the user asks for.

use ndarray::{Array2, array};
use wengert::DType::F64;
use wengert::{Function, Recorder, Var, ZeroReason};

use crate::value;

/// The determinant by minors along the first rows, written as a child would: nothing is remembered.
fn minors<'t>(x: &[Vec<Var<'t>>], row: usize, columns: &[usize]) -> Var<'t> {
    if let [column] = columns {
        return x[row][*column];
    }
    let term = |(i, column): (usize, &usize)| {
        let others: Vec<usize> = columns.iter().copied().filter(|c| c != column).collect();
        let term = x[row][*column] * minors(x, row + 1, &others);
        if i % 2 == 0 { term } else { -term }
    };
    columns.iter().enumerate().map(term).reduce(|a, b| a + b).unwrap()
}

fn determinant<'t>(x: Var<'t>, n: usize) -> Var<'t> {
    let entry = |i: usize, j: usize| x.at(i).at(j);
    let entries: Vec<Vec<Var<'t>>> = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
    minors(&entries, 0, &(0..n).collect::<Vec<_>>())
}

fn matrix(n: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, n), |(i, j)| ((i * n + j) as f64).sin() + if i == j { 2.0 } else { 0.0 })
}

#[test]
fn a_determinant_by_minors_has_a_gradient_of_few_rows() {
    const N: usize = 7;
    let t = Recorder::default();
    let x = t.input_with(matrix(N));
    let y = determinant(x, N);
    let gradient = y.gradients(x)[x];
    let rows = |of: Var<'_>| {
        let program = t.program(of).unwrap();
        (program.tape().rows().len(), program.optimised().rows().len())
    };
    // 8,659 products as written, 441 different ones.
    let ((function, _), (both, planned)) = (rows(y), rows(gradient));
    assert!(function > 15_000 && both - function < 2_500 && planned < 3_500, "{function} {both} {planned}");
    // ∂ det X / ∂X = det X · X⁻ᵀ (K. B. Petersen and M. S. Pedersen, "The Matrix Cookbook", 49).
    let inverse = value(x.inverse().t() * y);
    let close = value(gradient).iter().zip(&inverse).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs()));
    assert!(close);
    let tangent = t.jvp(&[y], &[(x, t.constant(Array2::<f64>::ones((N, N))))])[0];
    assert!((value(tangent)[0] - inverse.iter().sum::<f64>()).abs() < 1e-8);
}

#[test]
fn a_variable_that_is_asked_for_is_no_other() {
    let t = Recorder::default();
    let x = t.input_with(0.5);
    let (a, b) = (x * 2, x * 2);
    let y = a.sin();
    assert_eq!(y.gradients(b).zero_reason(b), Some(ZeroReason::Disconnected));
    assert_eq!(value(y.gradients(b)[b]), [0.0]);
    assert_eq!(value(y.gradients(a)[a]), [1f64.cos()]);
    // Whichever comes first.
    assert_eq!(value(b.sin().gradients(a)[a]), [0.0]);
    assert_eq!(value(t.jvp(&[a.sin()], &[(b, x.fill(1.0))])[0]), [0.0]);
    // What is made of them is told apart too.
    let both = a.sin() * b.cos();
    let g = both.gradients([a, b, x]);
    let (s, c) = 1f64.sin_cos();
    assert_eq!(value(g[a]), [c * c]);
    assert_eq!(value(g[b]), [-s * s]);
    assert_eq!(value(g[x]), [2.0 * (c * c - s * s)]);
}

#[test]
fn numbers_that_are_asked_for_are_no_others() {
    let t = Recorder::default();
    let (x, y) = (t.full(F64, [], 1.0), t.full(F64, [], 1.0));
    let z = y.fill(1.0);
    let f = (x + 1.0) * y * y * z + x.exp();
    let g = f.gradients(x)[x];
    assert_eq!(value(g.gradients(y)[y]), [2.0]);
    assert_eq!(value(g.gradients(z)[z]), [1.0]);
    assert!((value(g.gradients(x)[x])[0] - 1f64.exp()).abs() < 1e-15);
}

#[test]
fn what_a_derivative_took_as_one_is_not_told_apart_in_silence() {
    let derive = |name: bool| {
        let t = Recorder::default();
        let x = t.input_with(0.5);
        let (a, b) = (x * 2, if name { (x * 2).named("b") } else { x * 2 });
        let f = a.sin() + b.sin();
        let g = f.gradients(x)[x];
        // By those of which the derivative knows, and of what does not depend on it.
        assert_eq!(value(g.gradients(x)[x]), [-8.0 * 1f64.sin()]);
        assert_eq!(value(f.gradients(b)[b]), [1f64.cos()]);
        // 2x · 4 cos 2x, by x.
        let (s, c) = 1f64.sin_cos();
        assert!((value((b * g).gradients(x)[x])[0] - 8.0 * (c - s)).abs() < 1e-14);
        t.check().unwrap();
        let found = value_or(g.gradients(b)[b]);
        (found, t.check().err().map(|e| e.to_string()))
    };
    assert_eq!(derive(true), (Some(-2.0 * 1f64.sin()), None));
    let (found, error) = derive(false);
    let error = error.unwrap();
    assert_eq!(found, None);
    assert!(error.contains("gradients at ") && error.contains("named"), "{error}");
}

fn value_or(x: Var<'_>) -> Option<f64> {
    x.value().ok().and_then(|v| v.item().ok())
}

#[test]
fn derivatives_of_what_repeats_are_those_of_the_formula() {
    // 2¹⁶ terms, all alike.
    fn tower(x: Var<'_>, height: usize) -> Var<'_> {
        if height == 0 { x.sin() } else { tower(x, height - 1) * 0.5 + tower(x, height - 1) * 0.5 }
    }
    let f = Function::new(1, |x| tower(x.at(0), 16)).unwrap();
    let (mut g, mut h) = ([0.0], [0.0]);
    let y = f.value_and_gradient(&[0.75], &mut g).unwrap();
    f.hvp(&[0.75], &[1.0], &mut h).unwrap();
    assert!((y - 0.75f64.sin()).abs() + (g[0] - 0.75f64.cos()).abs() + (h[0] + 0.75f64.sin()).abs() < 1e-14);
}

#[test]
fn gates_of_one_are_not_those_of_another() {
    // √x twice: once behind a gate that is closed, once before none.
    let t = Recorder::default();
    let x = t.input_with(array![0.0, 4.0]);
    let gated = x.gt(1.0).select(x.sqrt(), 0.0);
    assert_eq!(value(gated.sum(()).gradients(x)[x]), [0.0, 0.25]);
    let both = gated + x.sqrt();
    assert_eq!(value(both.sum(()).gradients(x)[x]), [f64::INFINITY, 0.5]);
}
