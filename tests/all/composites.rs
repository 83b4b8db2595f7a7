//! Functions that are made of ops: derivatives of both orders against differences, values and derivatives at corners.

use wengert::check::{Options, gradcheck};
use wengert::{DType, Keep, Recorder, Tensor, Var};

type Composite = (&'static str, for<'t> fn(&'t Recorder, &[Var<'t>]) -> Var<'t>);

/// Functions of `x` `[3, 4]`, `y` `[3, 4]` and `p` `[3, 4]`, of which `p` is positive.
const COMPOSITES: &[Composite] = &[
    ("recip", |_, x| x[2].recip()),
    ("rsqrt", |_, x| x[2].rsqrt()),
    ("cbrt", |_, x| x[2].cbrt()),
    ("nan_to_num", |_, x| x[0].nan_to_num() * x[1]),
    ("lerp", |_, x| x[0].lerp(x[1], x[2])),
    ("silu", |_, x| x[0].silu()),
    ("mish", |_, x| x[0].mish()),
    ("gelu", |_, x| x[0].gelu()),
    ("gelu_tanh", |_, x| x[0].gelu_tanh()),
    ("softsign", |_, x| x[0].softsign()),
    ("relu6", |_, x| (x[0] * 5.0).relu6() * x[1]),
    ("hardtanh", |_, x| x[0].hardtanh(-0.5, 0.4) * x[1]),
    ("leaky_relu", |_, x| x[0].leaky_relu(0.1) * x[1]),
    ("elu", |_, x| x[0].elu(0.7)),
    ("selu", |_, x| x[0].selu()),
    ("prod", |_, x| x[0].prod(1)),
    ("prod of two axes", |_, x| x[0].prod([0, 1])),
    ("norm_of 1", |_, x| x[0].norm_of(1.0, 0) * x[1]),
    ("norm_of 3", |_, x| x[0].norm_of(3.0, Keep(0)) * x[1]),
    ("norm_of ∞", |_, x| x[0].norm_of(f64::INFINITY, 1).insert_axis(1) * x[1]),
    ("median", |_, x| x[0].median(1).insert_axis(1) * x[1]),
    ("sort", |_, x| x[0].sort(0) * x[1]),
    ("top_k", |_, x| x[0].top_k(2, -1).0.square()),
    ("cumsum", |_, x| x[0].cumsum(0).square()),
    ("cumprod", |_, x| x[0].cumprod(1)),
    ("cummax", |_, x| x[0].cummax(1) * x[1]),
    ("cummin", |_, x| x[0].cummin(0) * x[1]),
    ("logcumsumexp", |_, x| x[0].logcumsumexp(1)),
    ("diagonal", |_, x| x[0].slice(1, ..3).diagonal().square()),
    ("trace", |_, x| (x[0].slice(1, ..3).trace()).square()),
    ("diag_embed", |_, x| x[0].diag_embed().square()),
    ("tril", |_, x| x[0].tril(-1).square()),
    ("triu", |_, x| x[0].triu(1).square()),
    ("outer", |_, x| x[0].at(0).outer(x[1].at(1))),
    ("kron", |_, x| x[0].kron(x[1])),
    ("tensordot", |_, x| x[0].tensordot(x[1], [1, 0], [1, 0])),
    ("take_along", |t, x| x[0].take_along(0, t.constant([[2, 1, 1, 0]])).square()),
    ("gather_at", |t, x| x[0].gather_at([t.constant([2, 2]), t.constant([1, 1])]).square()),
    ("segment_sum", |t, x| x[0].segment_sum(t.constant([1, 1, 0]), 3).square()),
    ("repeat", |_, x| x[0].repeat(2, 0).square()),
    ("tile", |_, x| x[0].tile(3, 1).square()),
    ("pad_edge", |_, x| x[0].pad_edge([(2, 1), (0, 3)]).square()),
    ("pad_reflect", |_, x| x[0].pad_reflect([(2, 1), (0, 7)]).square()),
    ("pad_circular", |_, x| x[0].pad_circular([(4, 1), (0, 5)]).square()),
    ("layer_norm", |_, x| x[0].layer_norm(-1, 1e-3) * x[1]),
    ("rms_norm", |_, x| x[0].rms_norm([0, 1], 1e-3) * x[1]),
    ("group_norm", |_, x| x[0].group_norm(2, 1e-3) * x[1]),
    ("batch_norm", |_, x| x[0].batch_norm(1e-3).0 * x[1]),
    ("batch_norm_with", |_, x| x[0].batch_norm_with(x[1].at(0), x[2].at(0), 1e-3)),
    ("dropout", |t, x| x[0].dropout(t.constant(3i64), 0.5).square()),
    ("attention", |t, x| x[0].attention(x[1], x[2], Some(t.arange(3).insert_axis(1).ge(t.arange(3))))),
    ("mae", |_, x| x[0].mae(x[1])),
    ("huber", |_, x| (x[0] * 3.0).huber(x[1], 0.8)),
    ("kl_divergence", |_, x| x[2].kl_divergence(x[2].flip(1) + 0.5)),
    ("gaussian_nll", |_, x| x[0].gaussian_nll(x[1], x[2])),
    ("cross_entropy_with", |t, x| x[0].cross_entropy_with(t.constant([1, -1, 3]), Some(-1), 0.2)),
];

#[test]
fn composites_have_the_derivatives_of_their_values() {
    let of = |f: &dyn Fn(usize) -> f64| Tensor::new([3, 4], (0..12).map(f).collect()).expect("a tensor");
    // No two are close, and none is close to a bend.
    let x = of(&|i| ((i * 7 + 3) % 12) as f64 / 6.5 - 0.93);
    let y = of(&|i| ((i * 5 + 1) % 12) as f64 / 7.1 - 0.81);
    let p = of(&|i| ((i * 5 + 2) % 12) as f64 / 9.0 + 0.4);
    for (name, f) in COMPOSITES {
        let report = gradcheck(*f, &[x.clone(), y.clone(), p.clone()], &Options::default());
        let report = report.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(report.kinks == 0 && report.compared > 0, "{name}: {report:?}");
    }
}

fn value(f: impl for<'t> Fn(&'t Recorder, Var<'t>) -> Var<'t>, x: &[f64]) -> Vec<f64> {
    let t = Recorder::default();
    f(&t, t.constant(x)).value().expect("numbers").to_f64()
}

/// The sums of the rows of the Jacobian and of the Hessian of the sum.
fn derivatives(f: impl for<'t> Fn(&'t Recorder, Var<'t>) -> Var<'t>, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let t = Recorder::default();
    let x = t.constant(x);
    let g = f(&t, x).sum(()).gradients(x)[x];
    let h = g.sum(()).gradients(x)[x];
    (g.value().expect("numbers").to_f64(), h.value().expect("numbers").to_f64())
}

#[test]
fn zeros_do_not_stop_products() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert_eq!(derivatives(|_, x| x.prod(()), &[2.0, 0.0, 3.0]), (vec![0.0, 6.0, 0.0], vec![3.0, 5.0, 2.0]));
    assert_eq!(derivatives(|_, x| x.prod(()), &[0.0, 0.0, 3.0]), (vec![0.0; 3], vec![3.0, 3.0, 0.0]));
    assert_eq!(derivatives(|_, x| x.cumprod(0), &[0.0, 2.0, 3.0]).0, [9.0, 0.0, 0.0]);
    assert_eq!(value(|_, x| x.prod(()), &[]), [1.0]);
    assert!(value(|_, x| x.cumsum(0), &[]).is_empty());
    assert_eq!(value(|_, x| x.cummax(0), &[1.0, nan, 2.0])[0], 1.0);
    assert!(value(|_, x| x.cummax(0), &[1.0, nan, 2.0])[1..].iter().all(|x| x.is_nan()));
    assert_eq!(value(|_, x| x.logcumsumexp(0), &[-inf, -inf, 0.0]), [-inf, -inf, 0.0]);
    let (g, _) = derivatives(|_, x| x.logcumsumexp(0), &[-inf, 0.0]);
    assert!(g.iter().all(|g| g.is_finite()), "{g:?}");
}

#[test]
fn order_knows_equal_numbers_and_nan() {
    let nan = f64::NAN;
    assert_eq!(value(|_, x| x.argsort(0), &[2.0, nan, 1.0, 2.0, -0.0, 0.0]), [4.0, 5.0, 2.0, 0.0, 3.0, 1.0]);
    assert_eq!(value(|_, x| x.top_k(4, 0).1, &[2.0, 5.0, 1.0, 2.0, 5.0]), [1.0, 4.0, 0.0, 3.0]);
    assert!(value(|_, x| x.median(()), &[1.0, nan, 2.0])[0].is_nan());
    assert_eq!(value(|_, x| x.median(()), &[3.0]), [3.0]);
    assert_eq!(derivatives(|_, x| x.median(()), &[4.0, 1.0, 3.0, 2.0]).0, [0.0, 0.0, 0.5, 0.5]);
    let t = Recorder::default();
    let x = t.constant([3u8, 1, 2]);
    assert_eq!(x.sort(0).value().expect("numbers").as_slice::<u8>().expect("bytes"), [1, 2, 3]);
    assert_eq!(t.constant([3i64, 4]).cumsum(0).value().expect("numbers").to_f64(), [3.0, 7.0]);
    assert!(t.constant([1.0]).top_k(2, 0).0.value().is_err());
}

#[test]
fn whole_numbers_and_signs() {
    let x = [-2.5, -1.5, -0.5, -0.2, 0.0, 0.5, 0.499_999_999_999_999_94, 1.5, 2.5, 4.503_599_627_370_497e15];
    let same = |f: for<'t> fn(&'t Recorder, Var<'t>) -> Var<'t>, due: fn(f64) -> f64| {
        for (found, x) in value(f, &x).into_iter().zip(x) {
            assert_eq!(found, due(x), "of {x}");
        }
    };
    same(|_, x| x.round(), f64::round);
    same(|_, x| x.round_ties_even(), f64::round_ties_even);
    same(|_, x| x.trunc(), f64::trunc);
    same(|_, x| x.ceil(), f64::ceil);
    same(|_, x| x % 0.7, |x| x % 0.7);
    same(|_, x| 0.7 % (x + 9.0), |x| 0.7 % (x + 9.0));
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert_eq!(value(|_, x| x.is_finite().cast(DType::F64), &[1.0, inf, -inf, nan]), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(value(|_, x| x.is_infinite().cast(DType::F64), &[1.0, inf, -inf, nan]), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(value(|_, x| x.nan_to_num(), &[1.0, inf, -inf, nan]), [1.0, f64::MAX, -f64::MAX, 0.0]);
    assert_eq!(derivatives(|_, x| x.nan_to_num(), &[1.0, inf, -inf, nan]).0, [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn attention_of_batches_is_that_of_each() {
    let t = Recorder::default();
    let array = |shape: &[usize], seed: u64| {
        let mut s = wengert::Sampler::new(seed);
        let n = shape.iter().product();
        t.constant(
            Tensor::new(shape, (0..n).map(|_| s.unit() - 0.5).collect::<Vec<f64>>()).expect("a tensor"),
        )
    };
    let (q, k, v) = (array(&[2, 3, 4, 5], 1), array(&[2, 3, 6, 5], 2), array(&[2, 3, 6, 2], 3));
    let all = q.attention(k, v, None);
    for i in 0..2 {
        for j in 0..3 {
            let own = q.at(i).at(j).attention(k.at(i).at(j), v.at(i).at(j), None);
            let (found, due) = (crate::value(all.at(i).at(j)), crate::value(own));
            assert!(found.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?} is not {due:?}");
        }
    }
    // Against the weights by hand: two keys, of which the query is nearer to the first.
    let y = t.constant([[2.0]]).attention(t.constant([[1.0], [0.0]]), t.constant([[10.0], [20.0]]), None);
    let weight = 1.0 / (1.0 + (-2f64).exp());
    assert!((crate::value(y)[0] - (10.0 * weight + 20.0 * (1.0 - weight))).abs() < 1e-13);
}

#[test]
fn positions_and_classes_that_are_none() {
    let t = Recorder::default();
    // More classes than the labels' type has numbers.
    assert_eq!(crate::value(t.constant([3u8]).one_hot(300, DType::F64).sum(())), [1.0]);
    assert_eq!(crate::value(t.constant([-1i64, 9]).one_hot(3, DType::F64)), [0.0; 6]);
    let e = crate::error(|t| t.constant([1.0, 2.0]).one_hot(3, DType::F64));
    assert!(e.contains("one_hot") && e.contains("f64"), "{e}");
    let e = crate::error(|t| t.constant([[1.0, 2.0]]).gather_at([t.constant([0.5])]));
    assert!(e.contains("gather_at") && e.contains("f64"), "{e}");
    for outside in [[0i64, 2], [-1, 0], [1, 0], [0, i64::MAX]] {
        let t = Recorder::default();
        let x = t.constant([[1.0, 2.0]]);
        let y = x.gather_at([t.constant([outside[0]]), t.constant([outside[1]])]);
        assert!(y.value().is_err(), "{outside:?}");
    }
    // What no memory holds is an error.
    for e in [
        crate::error(|t| t.arange(usize::MAX / 16)),
        crate::error(|t| t.constant([1.0]).pad_edge([(usize::MAX / 16, 0)])),
        crate::error(|t| t.constant([1.0]).pad_circular([(usize::MAX, usize::MAX)])),
        crate::error(|t| t.constant([1.0]).tile(usize::MAX / 2, 0)),
        crate::error(|t| t.linspace(DType::F64, 0.0, 1.0, usize::MAX / 16)),
        crate::error(|t| t.constant([1i64]).one_hot(usize::MAX / 16, DType::F64)),
    ] {
        assert!(e.contains("composites.rs"), "{e}");
    }
    assert_eq!(crate::value(t.linspace(DType::F64, 0.1, 0.7, 4))[3], 0.7);
    assert_eq!(crate::value(t.linspace(DType::F64, 0.1, 0.7, 1)), [0.1]);
    assert!(t.constant([3u8, 0]).is_finite().all(()).decide().expect("a truth value"));
    // Numbers as the mean and variance of all channels, whatever lies behind them.
    let x = t.constant([[1.0, 5.0]]).insert_axis(0);
    assert_eq!(crate::value(x.batch_norm_with(1.0, 4.0, 0.0)), [0.0, 2.0]);
}

#[test]
fn corners_of_activations_and_distances() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert_eq!(derivatives(|_, x| x.relu6(), &[0.0, 6.0, 3.0, -1.0, 7.0]).0, [0.0, 0.0, 1.0, 0.0, 0.0]);
    assert!(value(|_, x| x.relu6(), &[nan])[0].is_nan());
    assert_eq!(derivatives(|_, x| x.elu(0.5), &[0.0, 1e3]).0, [0.5, 1.0]);
    assert_eq!(derivatives(|_, x| x.leaky_relu(0.1), &[0.0]).0, [0.1]);
    // Twice differentiable where two are equal.
    let t = Recorder::default();
    let (a, b) = (t.constant([1.0, -inf, 2.0]), t.constant([1.0, -inf, -inf]));
    let y = a.logaddexp(b);
    assert_eq!(y.value().expect("numbers").to_f64(), [1.0 + 2f64.ln(), -inf, 2.0]);
    let g = y.sum(()).gradients(a)[a];
    assert_eq!(g.value().expect("numbers").to_f64(), [0.5, 0.5, 1.0]);
    assert_eq!(g.sum(()).gradients(a)[a].value().expect("numbers").to_f64()[0], 0.25);
    for f in
        [(|_, x| x.hypot(x * 0.0)) as for<'t> fn(&'t Recorder, Var<'t>) -> Var<'t>, |_, x| x.atan2(x * 2.0)]
    {
        assert_eq!(derivatives(f, &[0.0]).0, [0.0]);
    }
    assert_eq!(derivatives(|_, x| x.norm_of(3.0, ()), &[0.0, 0.0]).0, [0.0, 0.0]);
    assert_eq!(value(|_, x| x.norm_of(3.0, ()), &[1e200, 0.0]), [1e200]);
    assert_eq!(value(|_, x| x.norm_of(3.0, ()), &[inf, 1.0]), [inf]);
    assert!((derivatives(|_, x| x.acosh(), &[1e300]).0[0] * 1e300 - 1.0).abs() < 1e-12);
    assert_eq!(value(|_, x| x.erfinv(), &[1.0, -1.0]), [inf, -inf]);
    assert_eq!(value(|_, x| x.ln_gamma(), &[0.0, -3.0, inf]), [inf; 3]);
    assert_eq!(value(|_, x| x.digamma(), &[0.0, -0.0, inf]), [-inf, inf, inf]);
    assert!(value(|_, x| x.digamma(), &[-3.0])[0].is_nan());
    assert_eq!(value(|_, x| x.polygamma(2), &[inf, 0.0]), [0.0, -inf]);
    assert!(t.constant(1.0).polygamma(13).value().is_err());
}
