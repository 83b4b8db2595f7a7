//! Derivatives that users state, and those of solutions.

use wengert::check::{Options, gradcheck, laws};
use wengert::{DType, Program, Recorder, States, Tensor, Var};

fn point(numbers: &[f64]) -> Tensor {
    Tensor::new([numbers.len()], numbers.to_vec()).expect("a tensor")
}

/// A product with a rule that says what is true of it, in both modes.
fn by_jvp<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Var<'t> {
    t.custom_jvp(
        x,
        |x| (x[0].exp() * x[1]).sin(),
        |x, _, dx| {
            let inner = x[0].exp() * x[1];
            inner.cos() * (inner * dx[0] + x[0].exp() * dx[1])
        },
    )
}

fn by_vjp<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Var<'t> {
    t.custom_vjp(
        x,
        |x| (x[0].exp() * x[1]).sin(),
        |x, _, ct| {
            let slope = (x[0].exp() * x[1]).cos() * ct;
            vec![slope * x[0].exp() * x[1], slope * x[0].exp()]
        },
    )
}

#[test]
fn true_rules_have_true_derivatives_of_every_order() {
    let x = [point(&[0.3, -0.7, 0.2]), point(&[1.2, 0.4, -0.9])];
    let report =
        gradcheck(by_jvp, &x, &Options { order: 3, ..Options::default() }).expect("a rule that holds");
    assert!(report.compared >= 15, "{report:?}");
    // Reverse mode over reverse mode; forward mode has no rule.
    let t = Recorder::default();
    let x: Vec<Var<'_>> = x.iter().map(|x| t.constant(x.clone())).collect();
    let second = |y: Var<'_>| {
        let g = y.sum(()).gradients([x[0], x[1]]);
        let h = (g[x[0]] * g[x[1]]).sum(()).gradients([x[0], x[1]]);
        [g[x[0]], h[x[0]], h[x[1]]].map(|v| v.value().expect("numbers").to_f64())
    };
    for (a, b) in second(by_vjp(&t, &x)).iter().flatten().zip(second(by_jvp(&t, &x)).iter().flatten()) {
        assert!((a - b).abs() < 1e-13, "{a} is not {b}");
    }
    let pushed = t.jvp(&[by_vjp(&t, &x)], &[(x[0], x[0].fill(1.0))]);
    let error = pushed[0].value().expect_err("no jvp").to_string();
    assert!(error.contains("custom_jvp"), "{error}");
}

#[test]
fn rules_are_asked_and_not_the_rows() {
    let t = Recorder::default();
    let x = t.constant([3.0, 4.0]);
    let doubled = t.custom_jvp(&[x], |x| x[0].square(), |_, _, dx| dx[0] * 7.0);
    assert_eq!(doubled.sum(()).gradients(x)[x].value().expect("numbers").to_f64(), [7.0, 7.0]);
    // One whose rule makes too few cotangents, or of another shape, says so.
    let wrong = t.custom_vjp(&[x, x], |x| x[0] * x[1], |_, _, ct| vec![ct]);
    assert!(wrong.sum(()).gradients(x)[x].value().is_err());
    let wrong = Recorder::default();
    let x = wrong.constant([3.0, 4.0]);
    let y = wrong.custom_vjp(&[x], |x| x[0] * 2.0, |_, _, ct| vec![ct.sum(())]);
    assert!(y.sum(()).gradients(x)[x].value().is_err());
}

#[test]
fn rules_work_on_batches() {
    let x = [point(&[0.3, -0.7]), point(&[1.2, 0.4])];
    // Both operands with a batch, then one that all share.
    for shared in [false, true] {
        for f in [by_jvp as for<'t> fn(&'t Recorder, &[Var<'t>]) -> Var<'t>, by_vjp] {
            let t = Recorder::default();
            let x: Vec<Var<'_>> = x.iter().map(|x| t.constant(x.clone())).collect();
            let second = if shared { (x[1].sum(()), None) } else { (x[1], Some(0)) };
            let y = t.vmap(&[(x[0], Some(0)), second], |x| vec![f(&t, x)])[0];
            let plain = (x[0].exp() * if shared { x[1].sum(()) } else { x[1] }).sin();
            for wrt in &x {
                let found = y.sum(()).gradients(*wrt)[*wrt].value().expect("numbers").to_f64();
                let due = plain.sum(()).gradients(*wrt)[*wrt].value().expect("numbers").to_f64();
                assert!(
                    found.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-14),
                    "{found:?} is not {due:?}"
                );
            }
            // A batch of batches.
            let twice =
                t.vmap(&[(x[0], Some(0))], |a| t.vmap(&[(x[1], Some(0))], |b| vec![f(&t, &[a[0], b[0]])]))[0];
            let due = (x[0].insert_axis(1).exp() * x[1]).sin();
            let slope =
                |y: Var<'_>| y.square().sum(()).gradients(x[0])[x[0]].value().expect("numbers").to_f64();
            let (found, due) = (slope(twice), slope(due));
            assert!(found.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?} is not {due:?}");
        }
    }
}

#[test]
fn plans_run_no_rule() {
    let program = Program::record(&States::new(), |t| {
        let x = t.input(DType::F64, [3]);
        let y = t.custom_jvp(&[x], |x| x[0].tanh(), |_, y, dx| dx[0] * (1.0 - y.square()));
        let g = y.sum(()).gradients(x)[x];
        t.outputs([y, g])
    })
    .expect("a program");
    assert!(program.optimised().rows().iter().all(|row| row.op.name() != "custom_jvp"));
    let results = program.call(&point(&[0.1, 0.2, 0.3])).expect("numbers");
    let (y, g) = (results.tensor(0).expect("y").to_f64(), results.tensor(1).expect("g").to_f64());
    for ((y, g), x) in y.iter().zip(g).zip([0.1, 0.2, 0.3f64]) {
        assert!((y - x.tanh()).abs() < 1e-15 && (g - x.cosh().powi(-2)).abs() < 1e-15);
    }
}

/// A layer of Sinkhorn: the plan between two sets of points that moves masses at least cost, with entropy; the scalings of its rows are the
/// fixed point of two half steps.
fn sinkhorn<'t>(t: &'t Recorder, cost: Var<'t>, steps: usize, implicit: bool) -> Var<'t> {
    fn step<'t>(x: &[Var<'t>], u: Var<'t>) -> Var<'t> {
        let kernel = -x[0] * 2.0;
        let v = -(kernel + u.insert_axis(1)).logsumexp(0);
        -(kernel + v).logsumexp(1)
    }
    let start = t.full(DType::F64, [3], 0.0);
    let u = if implicit {
        t.fixed_point(&[cost], start, steps, step)
    } else {
        (0..steps).fold(start, |u, _| step(&[cost], u))
    };
    let kernel = u.insert_axis(1) - cost * 2.0;
    let plan = (kernel - kernel.logsumexp(0)).exp();
    (plan * cost).sum(())
}

#[test]
fn a_sinkhorn_layer_has_its_implicit_derivative() {
    let cost = Tensor::new([3, 3], vec![0.1, 0.9, 0.5, 0.7, 0.2, 0.8, 0.6, 0.4, 0.3]).expect("a tensor");
    // Up to a constant that the plan does not feel the fixed point is an attractive one: against the derivative of all the steps.
    let t = Recorder::default();
    let x = t.constant(cost.clone());
    let slope = |implicit| sinkhorn(&t, x, 60, implicit).gradients(x)[x].value().expect("numbers").to_f64();
    let (found, due) = (slope(true), slope(false));
    assert!(found.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} is not {due:?}");
    let report =
        gradcheck(|t, x| sinkhorn(t, x[0], 60, true), &[cost], &Options::default()).expect("derivatives");
    assert!(report.worst < 1e-7, "{report:?}");
}

#[test]
fn the_hyperparameter_of_a_fit() {
    // Ridge regression by gradient descent; the loss on held-out data by the penalty, against the closed form in one dimension.
    let (a, b) = ([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]);
    let fit = |t: &'_ Recorder, penalty: f64| {
        let _ = t;
        let (aa, ab): (f64, f64) = (a.iter().map(|a| a * a).sum(), a.iter().zip(b).map(|(a, b)| a * b).sum());
        ab / (aa + penalty)
    };
    let t = Recorder::default();
    let penalty = t.constant(0.5);
    let (data, targets) = (t.constant(a), t.constant(b));
    let w = t.fixed_point(&[penalty, data, targets], t.constant(0.0), 200, |x, w| {
        let slope = ((x[1] * w - x[2]) * x[1]).sum(()) + x[0] * w;
        w - slope * 0.05
    });
    let loss = (w * 4.0 - 4.1).square();
    let h = 1e-5;
    let held = |p: f64| (fit(&t, p) * 4.0 - 4.1).powi(2);
    let due = (held(0.5 + h) - held(0.5 - h)) / (2.0 * h);
    let found = loss.gradients(penalty)[penalty].value().expect("numbers").item().expect("one");
    assert!((found - due).abs() < 1e-9, "{found} is not {due}");
    let f = wengert::check::function(|t, x| {
        vec![t.fixed_point(x, t.full(DType::F64, [2], 0.5), 60, |x, y| (y.sin() + x[0]) * 0.4)]
    });
    laws::adjoint(&f, &[point(&[0.3, -0.2])], 1).expect("both modes agree");
}

#[test]
fn a_check_that_fails_names_the_row() {
    let x = [point(&[0.3, -0.7])];
    let error = gradcheck(
        |t, x| {
            let y = (x[0] * 2.0).sin();
            // Says twice the truth.
            t.custom_jvp(&[y], |y| y[0].square(), |y, _, dy| dy[0] * y[0] * 4.0).exp()
        },
        &x,
        &Options::default(),
    )
    .expect_err("a rule that is wrong")
    .to_string();
    assert!(
        error.contains("input 0, element [0]") && error.contains("suspect the rule of custom_jvp at"),
        "{error}"
    );
    assert!(error.contains("rules.rs"), "{error}");
}

#[test]
fn a_failing_check_says_for_what_simple_input_it_fails() {
    // Right but where the third number is above one half.
    let f = wengert::check::scalar(|_, x| {
        let (wrong, right) = (x[0].slice(0, 2..3).stop_gradient(), x[0].slice(0, 2..3));
        (x[0] * x[0]).sum(()) + right.gt(0.5).select(wrong * wrong, right * right).sum(())
    });
    let numbers: Vec<f64> = (0..20).map(|i| 0.3 + 0.17 * f64::from(i % 7)).collect();
    let x = [point(&numbers)];
    let error = gradcheck(f, &x, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("input 0, element [2]"), "{error}");
    assert!(error.ends_with("also wrong at input 0 of zeros but for [2] = 1.0"), "{error}");
}
