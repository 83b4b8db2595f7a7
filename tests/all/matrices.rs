//! Factors, systems and determinants of matrices: at their corners, and against what they are factors of.

use crate::{error, value};
use ndarray::array;
use wengert::DType::{F32, F64, I64};
use wengert::check::{Options, gradcheck, scalar};
use wengert::{ErrorKind, Fault, Program, Recorder, States, Tensor, Triangular, Var};

/// Matrices with more on their diagonal than beside it.
fn matrices(dims: &[usize]) -> Tensor {
    let n = dims[dims.len() - 1];
    let count = dims.iter().product::<usize>();
    let number = |i: usize| {
        ((i * 37 + 11) % 23) as f64 / 23.0 - 0.5 + if (i % (n * n)).is_multiple_of(n + 1) { 3.0 } else { 0.0 }
    };
    Tensor::new(dims, (0..count).map(number).collect::<Vec<f64>>()).expect("a tensor")
}

fn near(found: &[f64], due: &[f64], tolerance: f64) {
    assert!(found.len() == due.len(), "{found:?} {due:?}");
    let worst = found.iter().zip(due).fold(0.0f64, |m, (a, b)| m.max((a - b).abs() / (1.0 + b.abs())));
    assert!(worst <= tolerance, "off by {worst}: {found:?}, not {due:?}");
}

#[test]
fn derivatives_of_three_orders() {
    let options = Options { order: 3, ..Options::default() };
    let a = [matrices(&[2, 3, 3])];
    let both = [matrices(&[2, 3, 3]), matrices(&[3, 3])];
    gradcheck(scalar(|_, x| x[0].inverse().sum(())), &a, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].determinant().ln().sum(())), &a, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].slogdet().1.sum(())), &a, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].logdet().square().sum(())), &a, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].matrix_power(-3).sum(())), &a, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].lu().0.sin().sum(())), &a, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].solve(x[1]).sum(())), &both, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].matmul(x[0].swap_axes(-1, -2)).cholesky().sin().sum(())), &a, &options)
        .unwrap();
    let system = Triangular::upper().transposed();
    gradcheck(
        scalar(move |_, x| x[0].solve_triangular(x[1].slice(1, 0..2), system).sum(())),
        &both,
        &options,
    )
    .unwrap();
    let tall =
        [Tensor::new([4, 2], vec![1.0, 0.5, -0.3, 2.0, 0.7, 0.1, 1.5, -1.0]).unwrap(), matrices(&[4, 4])];
    gradcheck(scalar(|_, x| x[0].least_squares(x[1]).sum(())), &tall, &options).unwrap();
}

#[test]
fn systems_broadcast_and_solve() {
    let t = Recorder::default();
    let (a, b) = (t.constant(matrices(&[3, 1, 4, 4])), t.constant(matrices(&[2, 4, 5])));
    let x = a.solve(b);
    assert_eq!(x.shape(), [3, 2, 4, 5]);
    near(&value(a.matmul(x)), &value(b.broadcast_to([3, 2, 4, 5])), 1e-13);
    // A vector for all, and one for each.
    let (one, each) = (t.constant([1.0, 2.0, 3.0, 4.0]), t.constant(matrices(&[3, 4])));
    let many = t.constant(matrices(&[3, 4, 4]));
    for b in [one, each] {
        let x = many.solve(b);
        assert_eq!(x.shape(), [3, 4]);
        near(&value(many.matmul(x.insert_axis(-1)).squeeze(-1)), &value(b.broadcast_to([3, 4])), 1e-13);
        let l = many.cholesky();
        let x = l.cholesky_solve(b).insert_axis(-1);
        let symmetric = (many + many.swap_axes(-1, -2)) * 0.5;
        near(&value(symmetric.matmul(x).squeeze(-1)), &value(b.broadcast_to([3, 4])), 1e-13);
    }
    near(&value(many.inverse().matmul(many)), &value((many * 0.0) + &ndarray::Array2::<f64>::eye(4)), 1e-13);
    near(&value(many.slogdet().1), &value(many.determinant().ln()), 1e-13);
    // What is beside a triangle is not read.
    let triangle = t.constant(array![[2.0, f64::NAN], [1.0, 4.0]]);
    assert_eq!(value(triangle.solve_triangular(t.constant([2.0, 9.0]), Triangular::lower())), [1.0, 2.0]);
    assert_eq!(
        value(triangle.solve_triangular(t.constant([2.0, 8.0]), Triangular::lower().transposed())),
        [0.0, 2.0]
    );
    let unit = t.constant(array![[9.0, 3.0], [f64::NAN, 9.0]]);
    assert_eq!(value(unit.solve_triangular(t.constant([7.0, 2.0]), Triangular::upper().unit())), [1.0, 2.0]);
}

#[test]
fn singular_negative_and_empty_ones() {
    let t = Recorder::default();
    let singular = t.constant(array![[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]]);
    assert_eq!(value(singular.determinant()), [0.0]);
    let g = singular.determinant().gradients(singular);
    near(&value(g[singular]), &[4.0, 4.0, -4.0, -2.0, -2.0, 2.0, 0.0, 0.0, 0.0], 1e-14);
    let (sign, log) = singular.slogdet();
    assert_eq!((value(sign), value(log)), (vec![0.0], vec![f64::NEG_INFINITY]));
    assert!(value(singular.solve(t.constant([1.0, 0.0, 0.0]))).iter().any(|x| !x.is_finite()));
    let negative = t.constant(array![[0.0, 1.0], [1.0, 0.0]]);
    assert!(value(negative.logdet())[0].is_nan());
    assert_eq!(value(negative.slogdet().0), [-1.0]);
    assert!(value(t.full(F64, [2, 2], f64::NAN).inverse()).iter().all(|x| x.is_nan()));
    // The product of nothing is one.
    let nothing = t.full(F64, [2, 0, 0], 1.0);
    assert_eq!(value(nothing.determinant()), [1.0, 1.0]);
    assert_eq!((value(nothing.slogdet().0), value(nothing.slogdet().1)), (vec![1.0; 2], vec![0.0; 2]));
    assert_eq!(nothing.cholesky().shape(), [2, 0, 0]);
    assert_eq!(nothing.solve(t.full(F64, [2, 0, 3], 1.0)).shape(), [2, 0, 3]);
    assert_eq!(t.full(F64, [0, 3, 3], 1.0).inverse().shape(), [0, 3, 3]);
    let g = nothing.determinant().sum(()).gradients(nothing);
    assert_eq!(value(g[nothing]), [0.0; 0]);
    assert_eq!(value(t.constant(array![[2.0, 1.0], [0.0, 2.0]]).matrix_power(0)), [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(value(t.full(F32, [1, 1], 2.0).matrix_power(-2)), [0.25]);
}

#[test]
fn a_failed_factor_changes_nothing_and_can_be_recovered_from() {
    let mut states = States::new();
    let w = states.add("w", array![[2.0, 0.0], [0.0, 3.0]]).unwrap();
    let step = Program::record(&states, |t| {
        let (x, w) = (t.input(F64, [3, 2, 2]), t.state(w));
        let l = (x + w).cholesky();
        t.update(w, w + l.sum(0));
        t.outputs(l)
    })
    .unwrap();
    let mut workspace = step.workspace().unwrap();
    let good = ndarray::Array3::<f64>::zeros((3, 2, 2));
    let mut bad = good.clone();
    bad[[1, 1, 1]] = -5.0;
    let failed = step.run(&mut workspace, &mut states, &bad).err().expect("an error");
    assert!(
        matches!(failed.kind(), ErrorKind::Fault(Fault::NotPositiveDefinite { matrix: 1, pivot: 1 })),
        "{failed}"
    );
    assert!(failed.to_string().contains("cholesky at tests/all/matrices.rs"), "{failed}");
    assert_eq!(states.get(w).unwrap().to_f64(), [2.0, 0.0, 0.0, 3.0]);
    step.run(&mut workspace, &mut states, &good).unwrap();
    assert_eq!(states.get(w).unwrap().to_f64()[1..3], [0.0, 0.0]);
}

#[test]
fn what_does_not_fit_is_said() {
    let says = |misuse: for<'t> fn(&'t Recorder) -> Var<'t>, what: &[&str]| {
        let e = error(misuse);
        assert!(what.iter().all(|what| e.contains(what)), "{e}");
    };
    says(|t| t.input(F64, [2, 3]).cholesky(), &["cholesky at tests/all/matrices.rs", "no square matrices"]);
    says(|t| t.input(F64, [3]).inverse(), &["inverse at", "axes"]);
    says(|t| t.input(F64, [2, 3]).determinant(), &["determinant at", "no square matrices"]);
    says(|t| t.input(F64, [2, 3]).slogdet().1, &["slogdet at", "no square matrices"]);
    says(|t| t.input(F64, [2, 3]).logdet(), &["logdet at", "no square matrices"]);
    says(|t| t.input(F64, [2, 3]).lu().0, &["lu at", "no square matrices"]);
    says(|t| t.input(F64, [2, 3]).matrix_power(2), &["matrix_power at", "no square matrices"]);
    says(|t| t.input(I64, [2, 2]).inverse(), &["inverse at", "i64"]);
    says(|t| t.input(F64, [3, 3]).solve(t.input(F64, [2])), &["solve at", "3 rows"]);
    says(|t| t.input(F64, [3, 3]).solve(t.input(F64, [])), &["solve at"]);
    says(|t| t.input(F64, [3, 3]).solve(t.input(F32, [3])), &["solve at", "f32"]);
    says(|t| t.input(F64, [2, 3, 3]).solve(t.input(F64, [4, 3, 1])), &["solve at", "[2]", "[4]"]);
    says(|t| t.input(F64, [3]).least_squares(t.input(F64, [3])), &["least_squares at"]);
    says(
        |t| t.input(F64, [3, 2]).solve_triangular(t.input(F64, [3]), Triangular::lower()),
        &["solve_triangular at", "no square matrices"],
    );
}

#[test]
fn large_ones_are_cut_into_blocks_with_the_same_derivatives() {
    // By a directional derivative of one number, in f64.
    let n = 70;
    let a = matrices(&[n, n]);
    let t = Recorder::default();
    let x = t.constant(a.clone());
    fn spd(x: Var<'_>) -> Var<'_> {
        x.matmul(x.t()).cholesky().diagonal().ln().sum(())
    }
    let g = spd(x).gradients(x);
    // ∂ ln |det x| = x⁻ᵀ, by another way.
    near(&value(g[x]), &value(x.inverse().t()), 1e-9);
    let (_, log) = x.slogdet();
    near(&value(log.gradients(x)[x]), &value(x.inverse().t()), 1e-11);
    near(&value(spd(x)), &value(log), 1e-12);
}
