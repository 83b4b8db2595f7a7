//! Hard zeros: an entry of the Jacobian all of whose paths cross a closed gate is 0, whatever the partials on them;
//! one that meets no zero of a gate is IEEE's. In both modes and at every order.

use ndarray::array;
use wengert::check::laws;
use wengert::{DType::F64, Recorder, Tensor, Var};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

type Function = for<'t> fn(&'t Recorder, Var<'t>) -> Var<'t>;

fn same(found: &[f64], expected: &[f64], what: &str) {
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-12;
    let all = found.len() == expected.len() && found.iter().zip(expected).all(equal);
    assert!(all, "{what}: {found:?} is not {expected:?}");
}

/// The sum's gradient in reverse mode and, column by column, in forward mode.
fn gradients(f: Function, at: &[f64]) -> [Vec<f64>; 2] {
    let t = Recorder::default();
    let x = t.constant(Tensor::new([at.len()], at.to_vec()).unwrap());
    let y = f(&t, x).sum(());
    let reverse = y.gradients([x])[x].value().unwrap().to_f64();
    let column = |i: usize| {
        let mut unit = vec![0.0; at.len()];
        unit[i] = 1.0;
        // Through a select, so that the zeros beside the one are those of a gate.
        let one = t.constant(Tensor::new([at.len()], unit).unwrap());
        let seed = t.jvp(&[one.gt(0.0).select(x, 0.0)], &[(x, x.fill(1.0))])[0];
        t.jvp(&[y], &[(x, seed)])[0].value().unwrap().item().unwrap()
    };
    [reverse, (0..at.len()).map(column).collect()]
}

#[test]
fn zeros_of_closed_gates_stay_zero() {
    let cases: &[(&str, Function, &[f64], &[f64])] = &[
        ("select over sqrt", |_, x| x.ge(0.0).select(x, (-x).sqrt()), &[1.0, -4.0], &[1.0, -0.25]),
        ("select at the edge", |_, x| x.eq(0.0).select(x.fill(0.0), x * x.sqrt()), &[0.0, 4.0], &[0.0, 3.0]),
        ("relu under sqrt", |_, x| x.relu().sqrt(), &[-1.0, 4.0], &[0.0, 0.25]),
        ("maximum under sqrt", |_, x| x.maximum(0.0).sqrt(), &[-1.0, 4.0], &[0.0, 0.25]),
        ("minimum over exp", |_, x| x.exp().minimum(1.0), &[1000.0, -1.0], &[0.0, (-1f64).exp()]),
        ("maximum over a norm", |_, x| (x * x).sum(()).sqrt().maximum(1e-6), &[0.0, 0.0], &[0.0, 0.0]),
        ("a part of sqrt", |_, x| x.sqrt().slice(0, 1..2), &[0.0, 4.0], &[0.0, 0.25]),
        ("a gathered part", |t, x| x.sqrt().gather(t.constant(array![1u8])), &[0.0, 4.0], &[0.0, 0.25]),
        ("division", |_, x| x.gt(1.0).select(1.0 / x, 0.0), &[0.0, 2.0], &[0.0, -0.25]),
        ("abs under sqrt", |_, x| x.abs().sqrt(), &[0.0, 4.0], &[0.0, 0.25]),
        ("log_softmax", |_, x| x.ln().log_softmax().slice(0, 0..1), &[1.0, 1.0], &[0.5, -0.5]),
        ("logsumexp of −∞", |_, x| x.logsumexp(()), &[-INF, -INF], &[0.0, 0.0]),
        ("a factor of 0", |t, x| x.sqrt() * t.constant(array![0.0, 1.0]), &[0.0, 4.0], &[NAN, 0.25]),
        ("no gate", |_, x| x.sqrt() - x.sqrt(), &[0.0, 4.0], &[NAN, 0.0]),
        ("a scale by ∞", |_, x| x.lt(0.0).select(x * INF, x), &[1.0, 2.0], &[1.0, 1.0]),
    ];
    for (name, f, at, expected) in cases {
        let [reverse, forward] = gradients(*f, at);
        same(&reverse, expected, &format!("{name}, reverse"));
        same(&forward, expected, &format!("{name}, forward"));
    }
}

#[test]
fn zeros_of_gates_cross_products_of_matrices() {
    for n in [1, 3, 40] {
        let t = Recorder::default();
        // The first row of W is infinite; what multiplies it in the derivative is behind a closed gate.
        let w = t.constant(ndarray::Array2::from_shape_fn(
            (n, n),
            |(i, j)| if i == 0 { INF } else { (i + j) as f64 },
        ));
        let x =
            t.constant(ndarray::Array2::from_shape_fn(
                (n, n),
                |(i, j)| if j == 0 { -1.0 } else { (i + 1) as f64 },
            ));
        let h = x.relu();
        let open = t.constant(ndarray::Array2::from_shape_fn((n, n), |(_, j)| j > 0));
        let y = open.select(h.matmul(w.t()), 0.0).sum(());
        let g = y.gradients([x])[x].value().unwrap();
        assert!(g.to_f64().iter().all(|g| !g.is_nan()), "{n}: {g:?}");
        let tangent = t.jvp(&[y], &[(x, x.fill(1.0))])[0].value().unwrap();
        let forward = tangent.item().unwrap();
        let reverse: f64 = g.to_f64().iter().sum();
        assert!(forward == reverse, "{n}: {forward} and {reverse}");
    }
}

#[test]
fn open_gates_keep_their_second_derivatives() {
    // L = (√x − 1)² where the mask holds: the cotangent of the square is 0 at 1, but not by a gate.
    let t = Recorder::default();
    let x = t.constant(array![1.0, 1.0]);
    let mask = t.constant(array![true, false]);
    let u = x.sqrt() - 1.0;
    let g = mask.select(u * u, 0.0).sum(()).gradients([x])[x];
    same(&g.sum(()).gradients([x])[x].value().unwrap().to_f64(), &[0.5, 0.0], "reverse over reverse");
    let h = t.jvp(&[g], &[(x, x.fill(1.0))])[0];
    same(&h.value().unwrap().to_f64(), &[0.5, 0.0], "forward over reverse");
    // Behind a closed gate second derivatives are zero too, whatever lies further on.
    let x = t.constant(array![0.0, 4.0]);
    let y = x.gt(1.0).select(x.sqrt() * x.sqrt() * x.ln(), 0.0).sum(());
    let g = y.gradients([x])[x];
    same(&g.value().unwrap().to_f64(), &[0.0, 4f64.ln() + 1.0], "first order");
    same(&g.sum(()).gradients([x])[x].value().unwrap().to_f64(), &[0.0, 0.25], "second order");
    same(&t.jvp(&[g], &[(x, x.fill(1.0))])[0].value().unwrap().to_f64(), &[0.0, 0.25], "mixed");
}

#[test]
fn gates_work_over_batches_and_inside_of_inlined_programs() {
    let t = Recorder::default();
    let x = t.constant(array![[0.0, 4.0], [1.0, 0.0]]);
    let g = t.vmap(&[(x, Some(0))], |x| {
        let y = x[0].gt(0.0).select(x[0].sqrt(), 0.0).sum(());
        vec![y.gradients([x[0]])[x[0]]]
    });
    same(&g[0].value().unwrap().to_f64(), &[0.0, 0.25, 0.5, 0.0], "vmap of the gradient");

    let states = wengert::States::new();
    let inner = wengert::Program::record(&states, |t| {
        let x = t.input(F64, [2]);
        let y = x.gt(0.0).select(x * x, 0.0).sum(());
        t.outputs(y.gradients([x])[x])
    })
    .unwrap();
    let x = t.constant(array![0.0, 4.0]);
    let g = t.inline(inner.tape(), &[x.sqrt()])[0];
    same(&g.value().unwrap().to_f64(), &[0.0, 4.0], "inlined");
    same(&g.sum(()).gradients([x])[x].value().unwrap().to_f64(), &[0.0, 0.5], "differentiated");
}

#[test]
fn gated_functions_keep_the_laws() {
    fn f<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let h = x[0].matmul(x[1]).relu();
        vec![h.matmul(x[1]).maximum(h).log_softmax(), h.slice(0, 1..2)]
    }
    let number = |i: usize, j: usize| ((i * 7 + j * 5) % 11) as f64 / 4.0 - 1.3;
    let x = [(3, 4), (4, 4)].map(|(m, n)| {
        Tensor::from_array(&ndarray::Array2::from_shape_fn((m, n), |(i, j)| number(i, j))).unwrap()
    });
    laws::adjoint(&f, &x, 1).unwrap();
    laws::tangent(&f, &x, 1).unwrap();
    laws::execution(&f, &x).unwrap();
    let second = laws::pullback(&f);
    laws::adjoint(&second, &x, 1).unwrap();
    laws::tangent(&second, &x, 1).unwrap();
    laws::execution(&second, &x).unwrap();
}
