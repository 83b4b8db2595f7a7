//! The corners of `docs/conventions.md`, line by line, and casts between float types, which the
//! laws cannot difference.

use ndarray::array;
use wengert::{DType, ErrorKind, Recorder, Tensor, Var, ZeroReason};

fn value(x: Var<'_>) -> Vec<f64> {
    x.value().unwrap().to_f64()
}

fn gradient<'t>(y: Var<'t>, x: Var<'t>) -> Vec<f64> {
    let y = if y.rank() == 0 { y } else { y.sum(()) };
    value(y.gradients([x])[x])
}

fn same(found: &[f64], expected: &[f64]) {
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(equal),
        "{found:?} is not {expected:?}"
    );
}

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

#[test]
fn kinks() {
    let t = Recorder::default();
    let x = t.constant(array![-1.0, 0.0, 2.0, NAN]);
    same(&value(x.relu()), &[0.0, 0.0, 2.0, NAN]);
    same(&gradient(x.relu(), x), &[0.0, 0.0, 1.0, 0.0]);
    same(&gradient(x.abs(), x), &[-1.0, 0.0, 1.0, NAN]);
    same(&value(x.sign()), &[-1.0, 0.0, 1.0, NAN]);
    let zero = t.constant(array![0.0, 4.0]);
    same(&gradient(zero.sqrt(), zero), &[INF, 0.25]);
    same(&value(zero.ln()), &[-INF, 4f64.ln()]);
    same(&gradient(zero.ln(), zero), &[INF, 0.25]);
    let far = t.constant(array![-INF, INF, NAN]);
    same(&value(far.erf()), &[-1.0, 1.0, NAN]);
    same(&gradient(far.erf(), far), &[0.0, 0.0, NAN]);
    // A NaN cotangent does not cross a closed gate.
    let ct = t.vjp(&[(x.relu(), t.constant(array![NAN, NAN, 1.0, 1.0]))], &[x]);
    same(&value(ct[0]), &[0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn ties() {
    let t = Recorder::default();
    let (a, b) = (t.constant(array![1.0, 2.0, 3.0]), t.constant(array![2.0, 2.0, 2.0]));
    same(&gradient(a.maximum(b), a), &[0.0, 0.5, 1.0]);
    same(&gradient(a.maximum(b), b), &[1.0, 0.5, 0.0]);
    same(&gradient(a.minimum(b), a), &[1.0, 0.5, 0.0]);
    same(&gradient(a.maximum(a), a), &[1.0, 1.0, 1.0]);
    let x = t.constant(array![[3.0, 1.0, 3.0], [0.0, 0.0, 0.0]]);
    same(&gradient(x.max(1), x), &[0.5, 0.0, 0.5, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
    same(&gradient(x.max(()), x), &[0.5, 0.0, 0.5, 0.0, 0.0, 0.0]);
    let cube = t.constant(array![[[1.0, 5.0], [5.0, 2.0]], [[5.0, 0.0], [0.0, 1.0]]]);
    // Axes that are not neighbours share as one.
    same(&gradient(cube.max([0, 2]), cube), &[0.0, 0.5, 1.0, 0.0, 0.5, 0.0, 0.0, 0.0]);
    assert_eq!(x.argmax(1).value().unwrap().as_slice::<i64>().unwrap(), &[0, 0]);
}

#[test]
fn nan_and_nothing() {
    let t = Recorder::default();
    let x = t.constant(array![[1.0, NAN], [2.0, 3.0]]);
    same(&value(x.max(1)), &[NAN, 3.0]);
    same(&gradient(x.max(1), x), &[NAN, NAN, 0.0, 1.0]);
    let tangent = t.jvp(&[x.max(1)], &[(x, x.fill(1.0))]);
    same(&value(tangent[0]), &[NAN, 1.0]);
    assert_eq!(x.argmax(1).value().unwrap().as_slice::<i64>().unwrap(), &[1, 1]);
    assert_eq!(value(x.lt(10.0)), [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(value(x.ge(x)), [1.0, 0.0, 1.0, 1.0]);
    same(&value(x.maximum(0.0)), &[1.0, NAN, 2.0, 3.0]);
    same(&value(t.constant(0.0).maximum(t.constant(NAN))), &[NAN]);

    let nothing = t.full(DType::F64, [0, 3], 0.0);
    same(&value(nothing.sum(0)), &[0.0, 0.0, 0.0]);
    same(&value(nothing.sum(1)), &[]);
    same(&value(nothing.max(1)), &[]);
    type Reduce = for<'t> fn(Var<'t>) -> Var<'t>;
    let reductions: [(&str, Reduce); 3] =
        [("max", |x| x.max(0)), ("mean", |x| x.mean(0)), ("argmax", |x| x.argmax(0))];
    for (name, reduce) in reductions {
        let t = Recorder::default();
        reduce(t.full(DType::F64, [0, 3], 0.0));
        let error = t.check().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Shape(_)) && error.op() == Some(name), "{error}");
    }
}

#[test]
fn select_keeps_nan_on_its_side() {
    let t = Recorder::default();
    let x = t.constant(array![-1.0, 4.0]);
    let y = x.gt(0.0).select(x.sqrt(), x * 2.0);
    same(&value(y), &[-2.0, 2.0]);
    let safe = x.gt(0.0).select(x.gt(0.0).select(x, 1.0).sqrt(), 0.0);
    same(&gradient(safe, x), &[0.0, 0.25]);
    let ct = t.vjp(&[(x.gt(0.0).select(x, x), t.constant(array![NAN, 1.0]))], &[x]);
    same(&value(ct[0]), &[NAN, 1.0]);
}

#[test]
fn softmax_far_out() {
    let t = Recorder::default();
    for dtype in [DType::F32, DType::F64] {
        let x = t.constant(array![[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]).cast(dtype);
        let loss = x.cross_entropy(t.constant(array![1u32, 2]));
        let expected = (2e4 + 3f64.ln()) / 2.0;
        assert!((value(loss)[0] / expected - 1.0).abs() < 1e-6);
        assert!(gradient(loss, x).iter().all(|g| g.is_finite()));
        let row: f64 = gradient(loss, x)[..3].iter().sum();
        assert!(row.abs() < 1e-6, "{row}");
    }
    same(&value(t.constant(array![-INF, -INF]).log_softmax()), &[NAN, NAN]);
    same(&value(t.constant(array![0.0, -INF]).log_softmax()), &[0.0, -INF]);
    let masked = t.constant(array![[0.0, -INF]]);
    let loss = masked.cross_entropy(t.constant(array![[1.0, 0.0]]));
    same(&value(loss), &[0.0]);
    let wrong = masked.cross_entropy(t.constant(array![2u8])).value().unwrap_err();
    assert!(wrong.to_string().contains("index 2 at position 0 is not in 0..2"), "{wrong}");
    let negative = masked.cross_entropy(t.constant(array![-1i64])).value().unwrap_err();
    assert!(
        matches!(negative.kind(), ErrorKind::Fault(wengert::Fault::Index { found: -1, .. })),
        "{negative}"
    );
}

#[test]
fn repeated_uses_accumulate() {
    let t = Recorder::default();
    let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    for index in
        [t.constant(array![1u8, 1, 0]), t.constant(array![1u32, 1, 0]), t.constant(array![1i64, 1, 0])]
    {
        same(&gradient(x.gather(index), x), &[1.0, 1.0, 2.0, 2.0]);
    }
    same(&gradient(x * x * x, x), &[3.0, 12.0, 27.0, 48.0]);
    same(&gradient(x.matmul(x), x), &[7.0, 11.0, 9.0, 13.0]);
}

#[test]
fn casts() {
    let t = Recorder::default();
    let x = t.constant(array![-1.5, 0.0, 2.7, 300.0, NAN]);
    assert_eq!(x.cast(DType::U8).value().unwrap().as_slice::<u8>().unwrap(), &[0, 0, 2, 255, 0]);
    assert_eq!(x.cast(DType::I64).value().unwrap().as_slice::<i64>().unwrap(), &[-1, 0, 2, 300, 0]);
    assert_eq!(
        x.cast(DType::Bool).value().unwrap().as_slice::<bool>().unwrap(),
        &[true, false, true, true, true]
    );
    let large = t.constant(array![(1i64 << 53) + 1, -1]);
    assert_eq!(large.cast(DType::U32).value().unwrap().as_slice::<u32>().unwrap(), &[1, u32::MAX]);
    // Derivatives keep the type of what they are derivatives by.
    for (from, to) in [(DType::F32, DType::F64), (DType::F64, DType::F32)] {
        let t = Recorder::default();
        let x = t.constant(array![0.5, 2.0]).cast(from);
        let y = x.cast(to);
        let g = (y * y).sum(()).gradients([x]);
        assert_eq!(g[x].dtype(), from);
        same(&value(g[x]), &[1.0, 4.0]);
        let tangent = t.jvp(&[y * y], &[(x, x.fill(1.0))]);
        assert_eq!(tangent[0].dtype(), to);
        same(&value(tangent[0]), &[1.0, 4.0]);
    }
    for (dtype, number) in [(DType::U8, -1.0), (DType::U8, 300.0), (DType::I64, 2.5), (DType::Bool, 2.0)] {
        let t = Recorder::default();
        t.full(dtype, [2], 0.0).lt(number);
        assert!(matches!(t.check().unwrap_err().kind(), ErrorKind::Argument(_)), "{number} is no {dtype}");
    }
}

#[test]
fn zeros_have_reasons() {
    let t = Recorder::default();
    let x = t.constant(array![0.5, 2.0]);
    let other = t.constant(1.0);
    let reason = |y: Var<'_>| {
        let g = y.sum(()).gradients([x]);
        assert_eq!(value(g[x]), [0.0, 0.0]);
        g.zero_reason(x)
    };
    assert_eq!(reason(other * 2.0), Some(ZeroReason::Disconnected));
    assert_eq!(reason(x.stop_gradient() * 2.0), Some(ZeroReason::StopGradient));
    assert_eq!(reason(x.floor() * 2.0), Some(ZeroReason::Discrete));
    assert_eq!(reason(x.floor() + x.stop_gradient()), Some(ZeroReason::Discrete));
    let (sin, cos) = x.sin_cos();
    let g = cos.sum(()).gradients([sin]);
    assert_eq!(g.zero_reason(sin), Some(ZeroReason::Disconnected));
    assert_eq!((x * x).sum(()).gradients([x]).zero_reason(x), None);

    let cuts: [for<'t> fn(Var<'t>) -> Var<'t>; 2] = [|x| x.stop_gradient(), |x| x.floor()];
    for cut in cuts {
        let t = Recorder::default();
        let x = t.constant(1.0);
        cut(x).gradients_strict([x]);
        assert!(matches!(t.check().unwrap_err().kind(), ErrorKind::NotDifferentiable(_)));
    }
    let t = Recorder::default();
    let index = t.constant(array![1u8]);
    t.constant(1.0).gradients([index]);
    assert!(matches!(t.check().unwrap_err().kind(), ErrorKind::NotDifferentiable(_)));
}

#[test]
fn scalars_everywhere() {
    let t = Recorder::default();
    let x = t.constant(2.0);
    assert_eq!(
        value(x.sum(()) + x.max(()) + x.mean(()) + x.reshape([1, 1]).reshape([]) + x.permute([])),
        [10.0]
    );
    assert_eq!(value(x.einsum(",->", x)), [4.0]);
    assert_eq!(Tensor::scalar(3u8).item().unwrap(), 3.0);
    // 49 ones have a mean of one.
    assert_eq!(value(t.full(DType::F64, [49], 1.0).mean(())), [1.0]);
}

#[test]
fn derivatives_far_out_keep_their_digits() {
    let t = Recorder::default();
    let near = |found: f64, expected: f64| {
        assert!((found / expected - 1.0).abs() < 1e-12, "{found:e}, {expected:e}")
    };
    for (x, slope) in [(40.0, (-40f64).exp()), (-40.0, (-40f64).exp()), (700.0, (-700f64).exp())] {
        let x = t.constant(x);
        near(gradient(x.sigmoid(), x)[0], slope);
    }
    for (x, slope) in
        [(20.0, 4.0 * (-40f64).exp()), (-20.0, 4.0 * (-40f64).exp()), (300.0, 4.0 * (-600f64).exp())]
    {
        let x = t.constant(x);
        let g = x.tanh().gradients([x])[x];
        near(value(g)[0], slope);
        near(gradient(g, x)[0], -2.0 * slope * x.value().unwrap().item().unwrap().signum());
    }
    let zero = t.constant(0.0);
    same(&gradient(zero.tanh(), zero), &[1.0]);
    // The third derivative at 0 is −2.
    let second = zero.tanh().gradients([zero])[zero].gradients([zero])[zero];
    same(&gradient(second, zero), &[-2.0]);
}

#[test]
fn conversions_are_those_of_as() {
    let t = Recorder::default();
    let x = t.constant(array![300i64, -1, i64::MAX, 16_777_217, 9_007_199_791_611_905]);
    let found = x.cast(DType::U8).value().unwrap();
    assert_eq!(found.as_slice::<u8>().unwrap(), &[44, 255, 255, 1, 1]);
    let found = x.cast(DType::U32).value().unwrap();
    assert_eq!(found.as_slice::<u32>().unwrap()[..2], [300, u32::MAX]);
    // Rounded once: by way of f64 the last would be a tie.
    let found = x.cast(DType::F32).value().unwrap();
    assert_eq!(found.as_slice::<f32>().unwrap()[3..], [16_777_216.0, 9_007_199_791_611_905i64 as f32]);
    let x = t.constant(array![2.9, -2.9, 1e30, NAN]);
    assert_eq!(x.cast(DType::U8).value().unwrap().as_slice::<u8>().unwrap(), &[2, 0, 255, 0]);
    assert_eq!(x.cast(DType::I64).value().unwrap().as_slice::<i64>().unwrap(), &[2, -2, i64::MAX, 0]);
    assert_eq!(x.cast(DType::Bool).value().unwrap().as_slice::<bool>().unwrap(), &[true; 4]);
}

#[test]
fn numbers_that_a_type_cannot_hold_are_errors() {
    type Use = for<'t> fn(Var<'t>) -> Var<'t>;
    let uses: [(&str, Use); 5] = [
        ("add", |x| x + 1e300),
        ("mul", |x| x * 1e300),
        ("div", |x| 1e300 / x),
        ("maximum", |x| x.maximum(-1e300)),
        ("fill", |x| x.fill(1e300)),
    ];
    for (name, record) in uses {
        let t = Recorder::default();
        record(t.constant(array![1f32]));
        let error = t.check().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Argument(_)) && error.op() == Some(name),
            "{name}: {error}"
        );
        let fine = Recorder::default();
        record(fine.constant(array![1.0]));
        record(fine.constant(array![1f32])).recorder();
    }
    let t = Recorder::default();
    same(&value(t.constant(array![1f32]) + INF), &[INF]);
}

/// A number as the table writes it.
fn number(text: &str) -> f64 {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('−') {
        return -number(rest);
    }
    if let Some((a, b)) = text.split_once('/') {
        return number(a) / number(b);
    }
    match text {
        "∞" => f64::INFINITY,
        "NaN" => f64::NAN,
        "π" => std::f64::consts::PI,
        "ln 2" => std::f64::consts::LN_2,
        _ => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
    }
}

/// The function that a line of the table names, with numbers of its own behind.
fn named<'t>(name: &str, own: &[f64], x: &[Var<'t>]) -> Var<'t> {
    macro_rules! functions {
        ($($one:ident)+; $($two:ident)+) => {
            match (name, x) {
                $((stringify!($one), [x]) => x.$one(),)+
                $((stringify!($two), [x, y]) => x.$two(*y),)+
                ("rem", [x, y]) => *x % *y,
                ("elu", [x]) => x.elu(own[0]),
                ("hardtanh", [x]) => x.hardtanh(own[0], own[1]),
                ("leaky_relu", [x]) => x.leaky_relu(own[0]),
                ("polygamma", [x]) => x.polygamma(own[0] as usize),
                _ => panic!("no function {name} of {}", x.len()),
            }
        };
    }
    functions! {
        abs acos acosh asin asinh atan atanh cbrt ceil cosh digamma erf erfc erfinv exp exp_m1 exp2 floor gelu ln ln_1p ln_gamma
        log10 log2 log_sigmoid mish nan_to_num recip relu relu6 round round_ties_even rsqrt sigmoid sign silu softplus softsign
        sqrt tanh trunc;
        atan2 hypot logaddexp maximum minimum pow xlogy
    }
}

#[test]
fn point_by_point() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conventions.md")).unwrap();
    let table = text.split("## Point by point").nth(1).unwrap().split("## ").next().unwrap();
    let numbers = |text: &str| text.split(',').map(number).collect::<Vec<f64>>();
    let mut lines = 0;
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, function, at, due, slopes, why, _] = cells[..] else { panic!("{line}") };
        let function = function.trim_matches('`');
        let (name, own) = match function.trim_end_matches(')').split_once('(') {
            Some((name, own)) => (name, numbers(own)),
            None => (function, Vec::new()),
        };
        let t = Recorder::default();
        let x: Vec<Var<'_>> = numbers(at).into_iter().map(|x| t.constant(x)).collect();
        let y = named(name, &own, &x);
        let g = y.gradients(&x[..]);
        let found: Vec<f64> = std::iter::once(y).chain(x.iter().map(|&x| g[x])).flat_map(value).collect();
        let due: Vec<f64> = numbers(due).into_iter().chain(numbers(slopes)).collect();
        assert_eq!(found.len(), due.len(), "{line}");
        for (found, due) in found.iter().zip(&due) {
            let same = (found.is_nan() && due.is_nan()) || found == due || (found - due).abs() < 1e-15;
            assert!(same, "{line}\n{found} is not {due}");
        }
        assert!(!why.is_empty());
        lines += 1;
    }
    assert!(lines >= 65, "{lines} lines");
}
