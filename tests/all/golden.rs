//! Values and derivatives against an independent reference: `golden/README.md` tells its origin.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use wengert::check::function;
use wengert::ir::{Attrs, Op};
use wengert::{Conv, DType, Pool, Program, Recorder, Registry, States, Tensor, Triangular, Var};
use wengert_faer::LinearAlgebra;

fn numbers(json: &Json, into: &mut Vec<f64>) {
    match json {
        Json::Array(items) => items.iter().for_each(|j| numbers(j, into)),
        Json::Bool(b) => into.push(f64::from(u8::from(*b))),
        other => into.push(other.as_f64().expect("a number")),
    }
}

fn shape(json: &Json) -> Vec<usize> {
    json["shape"].as_array().expect("a shape").iter().map(|d| d.as_u64().expect("a size") as usize).collect()
}

fn tensor(json: &Json) -> Tensor {
    let mut data = Vec::new();
    numbers(&json["data"], &mut data);
    Tensor::new(shape(json), data).expect("a tensor")
}

fn integers(json: &Json) -> Tensor {
    let t = tensor(json);
    Tensor::new(t.shape(), t.to_f64().iter().map(|&x| x as i64).collect()).expect("a tensor")
}

fn sizes(json: &Json) -> Vec<usize> {
    json.as_array()
        .map_or_else(Vec::new, |a| a.iter().map(|d| d.as_u64().expect("a size") as usize).collect())
}

/// A number for all axes, or one for each.
fn per_axis(json: &Json) -> Vec<usize> {
    json.as_u64().map_or_else(|| sizes(json), |one| vec![one as usize])
}

/// What is before and behind each axis, or the only one.
fn sides(json: &Json) -> Vec<(usize, usize)> {
    if json[0].is_array() {
        json.as_array().into_iter().flatten().map(|side| (sizes(side)[0], sizes(side)[1])).collect()
    } else {
        vec![(sizes(json)[0], sizes(json)[1])]
    }
}

/// The function of a case; `None` where the ops for it are not there yet.
fn apply<'t>(case: &Json, t: &'t Recorder, x: &[Var<'t>]) -> Option<Var<'t>> {
    let attrs = &case["attrs"];
    let constant = |i: usize| t.constant(integers(&case["consts"][i]));
    let keep = |y: Var<'t>, axes: &[usize]| {
        if attrs["keepdims"] == Json::Bool(true) { axes.iter().fold(y, |y, &a| y.insert_axis(a)) } else { y }
    };
    let epsilon = attrs["eps"].as_f64().unwrap_or(0.0);
    let axis = attrs["axis"].as_u64().unwrap_or(0) as usize;
    // Scales and shifts of channels beside the axes behind them.
    let channels = |v: Var<'t>| (2..x[0].rank()).fold(v, |v, _| v.insert_axis(-1));
    Some(match (case["op"].as_str()?, case["name"].as_str()?) {
        ("neg", _) => -x[0],
        ("reciprocal", _) => x[0].recip(),
        ("square", _) => x[0].square(),
        ("log1p", _) => x[0].ln_1p(),
        ("log_sigmoid", _) => x[0].log_sigmoid(),
        ("gelu_erf", _) => x[0].gelu(),
        ("gelu_tanh", _) => x[0].gelu_tanh(),
        ("silu", _) => x[0].silu(),
        ("softsign", _) => x[0].softsign(),
        ("relu6", _) => x[0].relu6(),
        ("elu", _) => x[0].elu(attrs["alpha"].as_f64().unwrap_or(1.0)),
        ("selu", _) => x[0].selu(),
        ("clip", _) => x[0].clamp(attrs["lo"].as_f64()?, attrs["hi"].as_f64()?),
        ("pow_scalar", _) => x[0].pow(attrs["p"].as_f64()?),
        ("powi", _) => x[0].pow(attrs["n"].as_f64()?),
        ("pow", _) => x[0].pow(x[1]),
        ("atan2", _) => x[0].atan2(x[1]),
        ("hypot", _) => x[0].hypot(x[1]),
        ("logaddexp", _) => x[0].logaddexp(x[1]),
        ("xlogy", _) => x[0].xlogy(x[1]),
        ("mul", "x_used_twice") => x[0] * x[0] * x[0].sin(),
        ("mul", "meshgrid_product") => x[0].insert_axis(1) * x[1].sin(),
        ("mul", "dropout_mask") => x[0] * t.constant(tensor(&case["consts"][0])),
        ("add", _) => x[0] + x[1],
        ("mul", _) => x[0] * x[1],
        ("div", _) => x[0] / x[1],
        ("maximum", _) => x[0].maximum(x[1]),
        ("minimum", _) => x[0].minimum(x[1]),
        ("sum", _) => keep(x[0].sum(sizes(&attrs["axes"]).as_slice()), &sizes(&attrs["axes"])),
        ("mean", _) => keep(x[0].mean(sizes(&attrs["axes"]).as_slice()), &sizes(&attrs["axes"])),
        ("max", _) => keep(x[0].max(sizes(&attrs["axes"]).as_slice()), &sizes(&attrs["axes"])),
        ("min", _) => keep(-(-x[0]).max(sizes(&attrs["axes"]).as_slice()), &sizes(&attrs["axes"])),
        ("where", _) => {
            let positive = x[0].gt(0.0);
            positive.select(positive.select(x[0], 1.0).ln(), 0.0)
        }
        ("norm", _) => (x[0] * x[0]).sum(()).sqrt(),
        ("matmul", _) => x[0].matmul(x[1]),
        ("outer", _) => x[0].einsum("i,j->ij", x[1]),
        ("tensordot", _) => x[0].einsum("iab,baj->ij", x[1]),
        ("linear", _) => x[0].matmul(x[1]) + x[2],
        ("einsum", _) if x.len() == 2 => x[0].einsum(attrs["equation"].as_str()?, x[1]),
        ("einsum", "einsum_transpose") => x[0].permute([2, 0, 1]),
        ("reshape", "reshape") => x[0].reshape(sizes(&attrs["shape"])),
        ("reshape", _) => x[0].reshape(shape(&case["output"])),
        ("transpose", _) => x[0].permute(sizes(&attrs["perm"])),
        ("slice", _) => x[0].slice_step(0, 1, 2, 2).slice_step(1, 2, -1, 3),
        ("flip", _) => x[0].slice_step(0, x[0].dim(0) - 1, -1, x[0].dim(0)),
        ("broadcast_to", _) => x[0].broadcast_to(sizes(&attrs["shape"])),
        ("gather", _) => x[0].gather(constant(0)),
        ("softmax", _) => x[0].softmax(),
        ("log_softmax", _) => x[0].log_softmax(),
        ("cross_entropy", _) => x[0].cross_entropy(constant(0)) * x[0].dim(0) as f64,
        ("rmsnorm", _) => x[0].rms_norm(1, epsilon) * x[1],
        ("layernorm", _) => x[0].layer_norm(1, epsilon) * x[1] + x[2],
        ("groupnorm", _) => x[0].group_norm(2, epsilon) * channels(x[1]) + channels(x[2]),
        ("batchnorm", "batchnorm1d_eval") => {
            let of = |i: usize| t.constant(tensor(&case["consts"][i]));
            x[0].batch_norm_with(of(0), of(1), epsilon) * x[1] + x[2]
        }
        ("batchnorm", _) => x[0].batch_norm(epsilon).0 * channels(x[1]) + channels(x[2]),
        ("bce_with_logits", _) => x[0].binary_cross_entropy(x[1]).mean(()),
        ("huber", _) => x[0].huber(x[1], attrs["delta"].as_f64()?).mean(()),
        ("kl_div", _) => (x[0].softmax() * (x[0].log_softmax() - x[1].log_softmax())).sum(()),
        ("prod", _) => keep(x[0].prod(sizes(&attrs["axes"]).as_slice()), &sizes(&attrs["axes"])),
        ("logsumexp", _) => x[0].logsumexp(sizes(&attrs["axes"]).as_slice()),
        ("var", _) => {
            let (n, free) = (
                x[0].shape().elements() / shape(&case["output"]).iter().product::<usize>(),
                attrs["ddof"].as_f64()?,
            );
            x[0].var(sizes(&attrs["axes"]).as_slice()) * (n as f64 / (n as f64 - free))
        }
        ("cumsum", "cumsum_reverse_axis0") => x[0].flip(0).cumsum(0).flip(0),
        ("cumsum", _) => x[0].cumsum(axis),
        ("cumprod", _) => x[0].cumprod(axis),
        ("cummax", _) => x[0].cummax(axis),
        ("logcumsumexp", _) => x[0].logcumsumexp(axis),
        ("kron", _) => x[0].kron(x[1]),
        ("einsum", _) => t.einsum(attrs["equation"].as_str()?, [x[0]]),
        ("pad", "pad_constant") => x[0].pad([(1, 0), (2, 1)], attrs["value"].as_f64()?),
        ("pad", "pad_reflect") => x[0].pad_reflect([(0, 0), (2, 1)]),
        ("pad", "pad_edge") => x[0].pad_edge([(1, 1), (0, 2)]),
        ("stack", _) => t.stack(x.to_vec(), 1),
        ("split", _) => {
            let parts = x[0].split([2, 1, 2], 1);
            parts[0] * 2.0 + parts[2]
        }
        ("take_along_axis", _) => x[0].take_along(1, constant(0)),
        ("gather_nd", _) => x[0].gather_at([constant(0), constant(1)]),
        ("scatter_add", _) => x[0].scatter_add(constant(0), x[1]),
        ("segment_sum", _) => x[0].segment_sum(constant(0), 3),
        ("repeat", _) => x[0].repeat(2, 1),
        ("roll", _) => x[0].roll(2, 1),
        ("diag", _) => x[0].diag_embed(),
        ("tril", _) => x[0].tril(-1),
        ("triu", _) => x[0].triu(1),
        ("trace", _) => x[0].trace(),
        ("sort", _) => x[0].sort(1),
        ("median", _) => x[0].median(1),
        ("composite", "sort_weighted") => (x[0].sort(0) * x[1]).sum(()),
        (_, "mlp_tanh_mse") => ((x[0].matmul(x[1]) + x[2]).tanh().matmul(x[3])).square().mean(()),
        (_, "lstm_cell") => {
            let z = x[0].matmul(x[3]) + x[1].matmul(x[4]) + x[5];
            let [i, f, g, o] = z.split([2; 4], 1)[..] else { return None };
            let c = f.sigmoid() * x[2] + i.sigmoid() * g.tanh();
            t.concat([o.sigmoid() * c.tanh(), c], 1)
        }
        (_, "rnn_unrolled4") => {
            let mut h = t.full(DType::F64, [2], 0.0);
            for step in 0..4 {
                h = (x[0].at(step).matmul(x[1]) + h.matmul(x[2])).tanh();
            }
            h
        }
        (_, "sin_chain10") => (0..10).fold(x[0], |y, _| y.sin() * x[1] + x[2] * y).sum(()),
        (_, "pairwise_sqdist") => {
            let (a, b) = (x[0].square().sum(1).insert_axis(1), x[1].square().sum(1));
            a + b - x[0].matmul(x[1].t()) * 2.0
        }
        (_, "gmm_d2_k3_n5") => {
            let data = t.constant(tensor(&case["consts"][0])).insert_axis(1);
            let (diagonal, below) = (x[2].slice(1, ..2), x[2].slice(1, 2..));
            let d = data - x[1];
            let first = diagonal.exp() * d;
            let lower = t.concat([below * 0.0, below], 1) * d.slice(-1, ..1);
            let own = x[0] + diagonal.sum(1) - (first + lower).square().sum(-1) * 0.5;
            let prior = (diagonal.exp().square().sum(()) + below.square().sum(())) * 0.5;
            own.logsumexp(1).sum(()) - x[0].logsumexp(()) * data.dim(0) as f64 + prior
        }
        (_, "newton_sqrt_loop") => (0..6).fold(x[0], |y, _| (y + x[0] / y) * 0.5),
        (_, "mlp_relu_ce") => {
            let hidden = (x[0].matmul(x[1]) + x[2]).relu();
            (hidden.matmul(x[3]) + x[4]).cross_entropy(constant(0))
        }
        (_, "rosenbrock") => {
            let n = x[0].dim(0);
            let (head, tail) = (x[0].slice(0, 0..n - 1), x[0].slice(0, 1..n));
            let (a, b) = (tail - head * head, 1.0 - head);
            (a * a * 100.0 + b * b).sum(())
        }
        ("conv1d" | "conv2d", _) => {
            let conv = Conv::new()
                .stride(&per_axis(&attrs["stride"])[..])
                .padding_sides(sides(&attrs["padding"]))
                .dilation(&per_axis(&attrs["dilation"])[..])
                .groups(attrs["groups"].as_u64().unwrap_or(1) as usize);
            let y = if x[0].rank() == 3 { x[0].conv1d(x[1], conv) } else { x[0].conv2d(x[1], conv) };
            x.get(2).map_or(y, |&b| y + b.reshape((-1, 1, 1)))
        }
        (pool @ ("maxpool2d" | "avgpool2d"), _) => {
            let windows = Pool::new(&per_axis(&attrs["kernel"])[..])
                .stride(&per_axis(&attrs["stride"])[..])
                .padding_sides(sides(&attrs["padding"]))
                .count_padding(attrs["count_include_pad"] != Json::Bool(false));
            if pool == "maxpool2d" { x[0].max_pool2d(windows) } else { x[0].avg_pool2d(windows) }
        }
        ("upsample_nearest", _) => {
            let scale = attrs["scale"].as_u64()? as usize;
            x[0].resize_nearest((x[0].dim(2) * scale, x[0].dim(3) * scale))
        }
        ("composite", "small_convnet") => {
            let y = x[0].conv2d(x[1], Conv::new().padding(1)) + x[2].reshape((-1, 1, 1));
            y.softplus().avg_pool2d(Pool::new(2)).reshape((1, -1)).matmul(x[3]).tanh()
        }
        ("inv", _) => x[0].inverse(),
        ("det", _) => x[0].determinant(),
        ("slogdet", _) => x[0].slogdet().1,
        ("solve", _) => x[0].solve(x[1]),
        ("cholesky", _) => x[0].cholesky(),
        ("composite", "cholesky_of_gram") => {
            let gram = x[0].matmul(x[0].t());
            (gram + &(ndarray::Array2::<f64>::eye(x[0].dim(0)) * 0.5)).cholesky()
        }
        ("triangular_solve", _) => x[0].solve_triangular(x[1], Triangular::upper()),
        ("logdet", _) => x[0].cholesky().diagonal().ln().sum(()) * 2,
        ("matrix_power", _) => x[0].matrix_power(attrs["n"].as_i64()? as i32),
        ("eigh", "eigh_sqrtm") => {
            let (values, vectors) = x[0].eigh();
            (vectors * values.sqrt()).matmul(vectors.t())
        }
        ("composite", "lstsq_normal") => x[0].least_squares(x[1]),
        ("composite", "norm_nuclear") => x[0].nuclear_norm(),
        ("svdvals", _) => x[0].singular_values(),
        ("qr", "qr_r") => x[0].qr().1,
        (name, _) => return registered(name, t, x),
    })
}

/// A registered op of this name without data, on operands of one shape: elementwise functions need no line above.
fn registered<'t>(name: &str, t: &'t Recorder, x: &[Var<'t>]) -> Option<Var<'t>> {
    let op = Registry::builtin().find(name)?.load(&Attrs::new()).ok()?;
    let elementwise = matches!(&op, Op::Elementwise(f) if f.arity() == x.len());
    elementwise.then(|| t.emit_one(op, x))
}

fn close(found: &Tensor, expected: &Json) -> Result<(), String> {
    let expected = tensor(expected);
    let scale = expected.to_f64().iter().filter(|x| x.is_finite()).fold(1.0, |m: f64, x| m.max(x.abs()));
    if found.shape() != expected.shape() {
        return Err(format!("{} is not {}", found.shape(), expected.shape()));
    }
    match found
        .to_f64()
        .iter()
        .zip(expected.to_f64())
        .find(|(a, b)| !(**a == *b || (**a - b).abs() <= 1e-10 * scale))
    {
        Some((a, b)) => Err(format!("{a} is not {b}")),
        None => Ok(()),
    }
}

fn derivatives<'t>(case: &Json, t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
    let read = |json: &Json| -> Vec<Var<'t>> {
        json.as_array().into_iter().flatten().map(|j| t.constant(tensor(j))).collect()
    };
    let Some(y) = apply(case, t, x) else { return Vec::new() };
    let pairs = |v: Vec<Var<'t>>| -> Vec<(Var<'t>, Var<'t>)> { x.iter().copied().zip(v).collect() };
    let vjp = t.vjp(&[(y, t.constant(tensor(&case["cotangent"])))], x);
    let jvp = t.jvp(&[y], &pairs(read(&case["tangents"])));
    let hvp = t.jvp(&vjp, &pairs(read(&case["hvp_v"])));
    let known = case["hvp"].is_array();
    [y].into_iter().chain(vjp).chain(jvp).chain(hvp.into_iter().filter(|_| known)).collect()
}

fn check(case: &Json) -> Result<(), String> {
    let inputs: Vec<Tensor> = case["inputs"].as_array().into_iter().flatten().map(tensor).collect();
    let f = function(|t, x| derivatives(case, t, x));
    let program = Program::record(&States::new(), |t| {
        let x: Vec<Var<'_>> = inputs.iter().map(|x| t.input(DType::F64, x.shape())).collect();
        t.outputs(f(t, &x))
    })
    .map_err(|e| e.to_string())?;
    let mut workspace = program.workspace().map_err(|e| e.to_string())?;
    let results = program.evaluate(&mut workspace, &States::new(), &inputs[..]).map_err(|e| e.to_string())?;
    let expected = [&case["output"]]
        .into_iter()
        .chain(case["vjp"].as_array().into_iter().flatten())
        .chain([&case["jvp"]])
        .chain(case["hvp"].as_array().into_iter().flatten());
    for (i, expected) in expected.enumerate() {
        let found = results.tensor(i).map_err(|e| e.to_string())?;
        close(&found, expected).map_err(|e| format!("result {i}: {e}"))?;
    }
    Ok(())
}

#[test]
fn golden_derivatives() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/golden_ops.json");
    let all: Json = serde_json::from_str(&std::fs::read_to_string(path).expect("golden file")).expect("JSON");
    let mut groups: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for case in all["cases"].as_array().expect("cases") {
        let counts = groups.entry(case["group"].as_str().expect("a group")).or_default();
        counts.1 += 1;
        let inputs: Vec<Tensor> = case["inputs"].as_array().into_iter().flatten().map(tensor).collect();
        let t = Recorder::default();
        let x: Vec<Var<'_>> = inputs.iter().map(|x| t.input(DType::F64, x.shape())).collect();
        if apply(case, &t, &x).is_none() {
            continue;
        }
        counts.0 += 1;
        if let Err(e) = check(case) {
            panic!("{}: {e}", case["name"]);
        }
    }
    assert!(groups.values().all(|(covered, all)| covered == all), "not all cases are covered: {groups:?}");
}
