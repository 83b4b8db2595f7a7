//! The laws of wengert over the ops of this crate, and what they do with matrices that are not nice.

use ndarray::array;
use wengert::check::{Options, check_entry, gradcheck, scalar};
use wengert::{DType::F64, DType::U32, Program, Recorder, Registry, States, Tensor, Var};
use wengert_faer::LinearAlgebra;

#[test]
fn every_op_keeps_the_laws() {
    let mut registry = Registry::builtin();
    wengert_faer::register(&mut registry).unwrap();
    let own = registry.entries().iter().filter(|e| e.name.starts_with("wengert_faer::"));
    for entry in own {
        for seed in 0..40 {
            check_entry(entry, seed).unwrap();
        }
    }
}

fn numbers(v: Var<'_>) -> Vec<f64> {
    v.value().unwrap().to_f64()
}

fn near(found: Vec<f64>, due: Vec<f64>) {
    assert!(found.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, not {due:?}");
}

#[test]
fn factors_multiply_to_the_matrices() {
    let t = Recorder::default();
    let dims = [2, 3, 6, 4];
    let all = (0..dims.iter().product::<usize>()).map(|i| ((i * 37 + 11) % 23) as f64 / 7.0 - 1.5);
    let x = t.constant(Tensor::new(dims, all.collect::<Vec<f64>>()).unwrap());
    let flipped = |x: Var<'_>| numbers(x.swap_axes(-1, -2));
    let (u, s, v) = x.svd();
    near(numbers((u * s.insert_axis(-2)).matmul(v.swap_axes(-1, -2))), numbers(x));
    let (q, r) = x.qr();
    near(numbers(q.matmul(r)), numbers(x));
    near(
        numbers(q.swap_axes(-1, -2).matmul(q).sum([0, 1])),
        vec![6.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0, 6.0],
    );
    let gram = x.swap_axes(-1, -2).matmul(x);
    let (w, vectors) = gram.eigh();
    near(numbers((vectors * w.insert_axis(-2)).matmul(vectors.swap_axes(-1, -2))), numbers(gram));
    near(numbers(x.singular_values().square()), numbers(w.flip(-1)));
    let p = x.pinv();
    near(numbers(x.matmul(p).matmul(x)), numbers(x));
    near(flipped(x.matmul(p)), numbers(x.matmul(p)));
    near(numbers(x.nuclear_norm()), numbers(s.sum(-1)));
}

#[test]
fn third_order() {
    let x =
        [Tensor::from_array(&array![[2.0, 0.3, -0.1], [0.2, 1.1, 0.4], [0.0, -0.3, 3.0], [0.5, 0.1, 0.2]])
            .unwrap()];
    let options = Options { order: 3, tolerance: 1e-5, ..Options::default() };
    gradcheck(scalar(|_, x| x[0].pinv().sin().sum(())), &x, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].qr().0.sin().sum(())), &x, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].svd().2.sin().sum(()) + x[0].nuclear_norm()), &x, &options).unwrap();
    gradcheck(scalar(|_, x| x[0].slice(0, 0..3).eigh().1.sin().sum(())), &x, &options).unwrap();
}

#[test]
fn values_that_are_equal_have_derivatives_and_their_vectors_an_error() {
    let x = array![[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 5.0]];
    let gradient = |vectors: bool| {
        Program::record(&States::new(), |t| {
            let x = t.input(F64, [3, 3]);
            let (w, v) = x.eigh();
            let loss = if vectors { v.sum(()) } else { w.sum(()) };
            t.outputs(loss.gradients(x)[x])
        })
        .unwrap()
    };
    let program = gradient(false);
    let found = program.call(&x).unwrap();
    assert_eq!(found.tensor(0).unwrap().to_f64(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let error = gradient(true).call(&x).err().expect("an error").to_string();
    assert!(error.contains("values are equal") && error.contains("laws.rs"), "{error}");
    let t = Recorder::default();
    let flat = t.constant(array![[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]);
    let (q, _) = flat.qr();
    let error = q.sum(()).gradients(flat)[flat].value().unwrap_err().to_string();
    assert!(error.contains("one of these values is zero") && error.contains("laws.rs"), "{error}");
}

#[test]
fn what_is_no_matrix_is_an_error_and_nothing_panics() {
    let said = |misuse: for<'t> fn(&'t Recorder) -> Var<'t>| {
        let t = Recorder::default();
        misuse(&t);
        t.check().unwrap_err().to_string()
    };
    assert!(said(|t| t.input(F64, [2, 3]).eigvalsh()).contains("no square matrices"));
    assert!(said(|t| t.input(F64, [2, 3]).qr().0).contains("more columns than rows"));
    assert!(said(|t| t.input(F64, [2]).pinv()).contains("axes"));
    assert!(said(|t| t.input(U32, [2, 2]).svd().1).contains("u32"));
    let t = Recorder::default();
    for dims in [[0, 0], [3, 0], [0, 3]] {
        let x = t.full(F64, dims, 1.0);
        assert_eq!(x.pinv().value().unwrap().to_f64(), [0.0; 0]);
        assert_eq!(x.nuclear_norm().value().unwrap().to_f64(), [0.0]);
    }
    for number in [f64::NAN, f64::INFINITY, 0.0, 1e300, 5e-324] {
        let x = t.full(F64, [3, 3], number);
        let (values, vectors) = x.eigh();
        let (u, s, v) = x.svd();
        let (q, r) = x.qr();
        // Numbers or an error.
        for y in [values, vectors, u, s, v, q, r, x.pinv()] {
            let _ = y.value();
        }
    }
}
