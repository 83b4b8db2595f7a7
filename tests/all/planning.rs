//! What a plan may get wrong and the trivial plan cannot: views, packing by pieces, order, guards, length.

use wengert::check::{Function, laws};
use wengert::{DType, ErrorKind, Program, Recorder, Sampler, Shape, States, Tensor, Var};

pub(crate) fn numbers(dims: &[usize], seed: u64) -> Tensor {
    let shape = Shape::new(dims).expect("few axes");
    let mut sampler = Sampler::new(seed);
    Tensor::new(shape, (0..shape.elements()).map(|_| sampler.unit() - 0.5).collect::<Vec<f64>>())
        .expect("as many numbers as the shape has")
}

fn planned_is_trivial(f: &dyn Function, dims: &[&[usize]]) {
    let inputs: Vec<Tensor> = dims.iter().zip(1..).map(|(d, seed)| numbers(d, seed)).collect();
    laws::execution(f, &inputs).expect("the same bits");
}

#[test]
fn products_of_sliced_and_broadcast_operands() {
    fn front<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![x[0].slice(1, 0..10).matmul(x[1])]
    }
    planned_is_trivial(&front, &[&[100, 20], &[10, 5]]);
    planned_is_trivial(&front, &[&[3, 12], &[10, 2]]);
    fn spread<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let columns = x[1].insert_axis(1).broadcast_to([30, 7]);
        vec![x[0].matmul(columns), (x[0] * 2.0).matmul((x[1] * 2.0).insert_axis(1).broadcast_to([30, 7]))]
    }
    planned_is_trivial(&spread, &[&[20, 30], &[30]]);
    fn slope<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let g = x[0].matmul(x[1]).mean(0).sum(()).gradients([x[0], x[1]]);
        vec![g[x[0]], g[x[1]]]
    }
    planned_is_trivial(&slope, &[&[64, 30], &[30, 7]]);
}

#[test]
fn products_of_permuted_operands_of_every_layout() {
    fn heads<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![x[0].einsum("ik,kab->iab", x[1].permute([1, 0, 2]))]
    }
    planned_is_trivial(&heads, &[&[64, 30], &[5, 30, 4]]);
    fn inner<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![x[0].einsum("ik,akb->iab", x[1].permute([1, 0, 2]))]
    }
    planned_is_trivial(&inner, &[&[64, 30], &[30, 5, 4]]);
    fn batches<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![x[0].permute([2, 0, 1]).einsum("bki,kj->bij", x[1])]
    }
    planned_is_trivial(&batches, &[&[40, 16, 3], &[40, 5]]);
    fn sums<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let a = x[0].permute([0, 2, 3, 1]);
        vec![a.einsum("ipqr,pqr->i", x[1]), a.einsum("ipqr,qrp->i", x[1])]
    }
    planned_is_trivial(&sums, &[&[30, 4, 4, 4], &[4, 4, 4]]);
}

#[test]
fn products_of_every_number_of_columns() {
    fn slope<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![x[0].einsum("ki,kj->ij", x[1]), x[0].matmul(x[2])]
    }
    for columns in (15..41).chain([63, 66]) {
        planned_is_trivial(&slope, &[&[700, 64], &[700, columns], &[64, columns]]);
    }
}

#[test]
fn an_infinite_angle_does_not_change_its_neighbours() {
    fn sine<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![x[0].sin(), x[0].cos()]
    }
    let mut x = numbers(&[1000, 33], 1).to_f64();
    (x[1521], x[7000]) = (f64::INFINITY, 1e300);
    let x = Tensor::new(Shape::new(&[1000, 33]).expect("two axes"), x).expect("as many");
    // Not by the law, which moves numbers to other places.
    let program =
        Program::record(&States::new(), |t| t.outputs(sine(t, &[t.input(DType::F64, [1000, 33])]))).unwrap();
    let once =
        Program::record_once(&States::new(), |t| t.outputs(sine(t, &[t.input(DType::F64, [1000, 33])])))
            .unwrap();
    let (mut a, mut b) = (program.workspace().unwrap(), once.workspace().unwrap());
    let found = program.evaluate(&mut a, &States::new(), (&x,)).unwrap();
    let expected = once.evaluate(&mut b, &States::new(), (&x,)).unwrap();
    for i in 0..2 {
        let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
        assert_eq!(bits(found.slice::<f64>(i).unwrap()), bits(expected.slice::<f64>(i).unwrap()));
    }
}

#[test]
fn scratch_of_any_size_in_the_trivial_plan() {
    fn sum<'t>(x: Var<'t>) -> Var<'t> {
        (x * 2.0).sum(0)
    }
    fn logarithms<'t>(x: Var<'t>) -> Var<'t> {
        x.log_softmax()
    }
    for f in [sum as for<'t> fn(Var<'t>) -> Var<'t>, logarithms] {
        for rows in 1..40 {
            let program =
                Program::record_once(&States::new(), |t| t.outputs(f(t.input(DType::F32, [rows, 3]))))
                    .unwrap();
            let x = ndarray::Array2::<f32>::ones((rows, 3));
            let mut workspace = program.workspace().unwrap();
            program.evaluate(&mut workspace, &States::new(), (&x,)).unwrap();
        }
    }
}

#[test]
fn a_guard_speaks_before_the_rows_that_it_guards() {
    let program = Program::record(&States::new(), |t| {
        let x = t.input_with(ndarray::Array1::<f64>::ones(100_000));
        let i = t.input_with(ndarray::arr1(&[0u32]));
        let table = t.input_with(ndarray::arr1(&[1.0, 2.0]));
        let picked = if x.exp().sum(()).gt(0.0).decide()? { table.gather(i) } else { table };
        t.outputs(picked)
    })
    .unwrap();
    let (x, i, table) =
        (ndarray::Array1::from_elem(100_000, f64::NAN), ndarray::arr1(&[9u32]), ndarray::arr1(&[1.0, 2.0]));
    let mut workspace = program.workspace().unwrap();
    let error = program.evaluate(&mut workspace, &States::new(), (&x, &i, &table)).err().expect("a guard");
    assert!(matches!(error.kind(), ErrorKind::Guard { .. }), "{error}");
}

#[test]
fn a_long_chain_of_products_is_planned_in_linear_time() {
    let program = Program::record(&States::new(), |t| {
        let (w, mut h) = (t.input(DType::F64, [8, 8]), t.input(DType::F64, [8]));
        for _ in 0..100_000 {
            h = w.matmul(h);
        }
        t.outputs(h)
    })
    .unwrap();
    let w = ndarray::Array2::<f64>::eye(8);
    let h = ndarray::Array1::<f64>::ones(8);
    let mut workspace = program.workspace().unwrap();
    let found = program.evaluate(&mut workspace, &States::new(), (&w, &h)).unwrap();
    assert_eq!(found.slice::<f64>(0).unwrap(), [1.0; 8]);
}

#[test]
fn what_follows_a_late_scalar_is_still_cut() {
    let program = Program::record(&States::new(), |t| {
        let x = t.input(DType::F64, [10_000, 100]);
        t.outputs((x - x.mean(())).tanh().sum(1))
    })
    .unwrap();
    let plan = program.plan().to_string();
    let (before, _) = plan.split_once("tanh").expect("a call");
    let group = before.lines().rfind(|line| line.contains("group: ")).expect("a group");
    assert!(!group.contains("tasks 1"), "{plan}");
}

/// Views, maps, sums and outputs of small arrays; numbers of the run row by row, whose NaNs have one sign.
#[test]
fn a_small_program_is_micro_ops_alone() {
    let record = |t: &Recorder| {
        let (x, w) = (t.input(DType::F64, [3, 2]), t.constant([2.0, -1.0, 0.5]));
        let turned = x.t() * w;
        t.outputs([turned.sum(1), turned.sqrt(), x.flip(0).at(0) * x.at(2), x.slice_step(0, 0, 2, 2).sum(0)])
    };
    let found = [Program::record, Program::record_once].map(|how| {
        let program = how(&States::new(), record).unwrap();
        let plan = program.plan().to_string();
        let mut workspace = program.workspace().unwrap();
        let x = ndarray::array![[-1.0, 2.0], [3.0, -4.0], [5.0, 6.0]];
        // A second run finds what the first one left.
        program.evaluate(&mut workspace, &States::new(), &x).unwrap();
        let found = program.evaluate(&mut workspace, &States::new(), &x).unwrap();
        let bits =
            (0..4).flat_map(|i| found.slice::<f64>(i).unwrap()).map(|y| y.to_bits()).collect::<Vec<u64>>();
        (plan, bits)
    });
    let [(plan, planned), (_, rows)] = found;
    assert!(plan.contains("micro-ops") && !plan.contains("tiles of"), "{plan}");
    assert_eq!(planned, rows);
    assert_eq!(planned[..2], [-2.5f64, 11.0].map(f64::to_bits));
    assert_eq!(planned[2], f64::NAN.to_bits(), "√−2");
}

/// Functions of one small array follow one another, whatever else their rows wait for; those of a large one keep their order.
#[test]
fn a_derivatives_cosine_is_computed_beside_the_sine() {
    let names = |len: usize| {
        let program = Program::record(&States::new(), |t| {
            let x = t.input(DType::F64, [len]);
            let y = ((x.sin() * 2.0).sin() * 3.0).sum(());
            t.outputs([y, y.gradients([x])[x]])
        });
        let plan = program.unwrap().plan().to_string();
        let lines = plan.lines().filter_map(|line| line.trim().strip_prefix('%'));
        let name =
            |line: &str| line.split_once(' ').map(|(_, rest)| rest.split('(').next().unwrap().to_owned());
        lines.filter_map(name).filter(|name| ["sin", "cos"].contains(&name.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(names(8), ["sin", "cos", "sin", "cos"]);
    assert_eq!(names(10_000)[..2], ["sin", "sin"]);
}

/// Maps of inputs and states wait for the numbers that the rest of them waits for, and all is read once: with machine code, in one loop.
#[test]
fn updates_that_wait_for_a_number_are_one_pass() {
    const LEN: usize = 100_000;
    let mut states = States::new();
    let [w, m] = ["w", "m"].map(|name| states.add(name, vec![0.5; LEN]).unwrap());
    let program = Program::record(&states, |t| {
        let (g, rate) = (t.input(DType::F64, [LEN]), t.input(DType::F64, []));
        let (w, m) = (t.state(w), t.state(m));
        let mean = m * 0.9 + g * 0.1;
        t.update(m, mean);
        t.update(w, w - mean.square().sqrt() * (1.0 - rate.exp()).ln_1p());
        t.outputs(rate)
    })
    .unwrap();
    let plan = program.plan().to_string();
    let levels: Vec<&str> = plan.split("\nlevel ").collect();
    let long = |text: &&&str| text.contains("[100000]");
    assert_eq!(levels.iter().filter(long).count(), 1, "{plan}");
    if let Some(code) = program.machine_code() {
        let text = code.to_string();
        let loops: Vec<&str> =
            text.lines().filter(|line| line.contains("loop of") && line.contains("sub")).collect();
        assert!(loops.iter().any(|line| line.contains("scale") && line.contains("sqrt")), "{text}");
    }
    // Against the rows.
    let g: Vec<f64> = (0..LEN).map(|i| (i as f64).sin()).collect();
    let due: Vec<f64> =
        g.iter().map(|g| 0.5 - (0.45 + g * 0.1).abs() * (1.0 - 0.1f64.exp()).ln_1p()).collect();
    program.run(&mut program.workspace().unwrap(), &mut states, (&g, &0.1)).unwrap();
    let found = states.get(states.find("w").unwrap()).unwrap().to_f64();
    assert!(found.iter().zip(due).all(|(a, b)| (a - b).abs() < 1e-12));
}

/// Two states of one shape.
pub(crate) fn weights() -> (States, [wengert::State; 2]) {
    let mut states = States::new();
    let w = states.add("w", numbers(&[64, 20], 3)).unwrap();
    let v = states.add("v", numbers(&[64, 20], 4)).unwrap();
    (states, [w, v])
}

#[test]
fn products_are_added_to_states_in_place_where_nothing_else_reads_them() {
    fn step<'t>(t: &'t Recorder, states: &[wengert::State; 2], crossed: bool) -> [Var<'t>; 1] {
        let (x, d) = (t.input(DType::F64, [40, 64]), t.input(DType::F64, [40, 20]));
        let (w, v) = (t.state(states[0]), t.state(states[1]));
        let (a, b) = (x.einsum("ki,kj->ij", d) * 0.1, x.einsum("ki,kj->ij", d.exp()));
        // Crossed, each next value needs the other's old one.
        t.update(w, if crossed { v - a } else { w - a });
        t.update(v, if crossed { w + b } else { v + b });
        [x.matmul(w).sum(())]
    }
    let (x, d) = (numbers(&[40, 64], 1), numbers(&[40, 20], 2));
    for crossed in [false, true] {
        let mut ends = Vec::new();
        for exact in [false, true] {
            let (mut states, both) = weights();
            let record = |t: &Recorder| t.outputs(step(t, &both, crossed));
            let program = if exact {
                Program::record_exact(&states, record).unwrap()
            } else {
                Program::record(&states, record).unwrap()
            };
            let text = program.plan().to_string();
            assert_eq!(text.contains("added to"), !exact && !crossed, "{text}");
            for threads in [1, 2] {
                let mut workspace = program.workspace_on(threads).unwrap();
                for _ in 0..3 {
                    program.run(&mut workspace, &mut states, (&x, &d)).unwrap();
                }
            }
            ends.push(both.map(|s| states.get(s).unwrap().to_f64()));
        }
        for (full, exact) in ends[0].iter().zip(&ends[1]) {
            let close = full.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b.abs()));
            assert!(close, "crossed: {crossed}");
        }
    }
}

#[test]
fn momentum_in_place_is_momentum() {
    let (x, d) = (numbers(&[40, 64], 1), numbers(&[40, 20], 2));
    let mut ends = Vec::new();
    for exact in [false, true] {
        let (mut states, both) = weights();
        let record = |t: &Recorder| {
            let (x, d) = (t.input(DType::F64, [40, 64]), t.input(DType::F64, [40, 20]));
            let (w, v) = (t.state(both[0]), t.state(both[1]));
            let next = v * 0.9 + x.einsum("ki,kj->ij", d);
            t.update(v, next);
            t.update(w, w - next * 0.1);
            t.outputs(x.matmul(w).sum(()))
        };
        let how = if exact { Program::record_exact } else { Program::record };
        let program = how(&states, record).unwrap();
        let text = program.plan().to_string();
        let added = text.lines().any(|l| l.contains("contract(") && l.contains("added to 0.9 · "));
        assert_eq!(added, !exact, "{text}");
        let mut workspace = program.workspace().unwrap();
        for _ in 0..5 {
            program.run(&mut workspace, &mut states, (&x, &d)).unwrap();
        }
        ends.push(both.map(|s| states.get(s).unwrap().to_f64()));
    }
    for (full, exact) in ends[0].iter().zip(&ends[1]) {
        assert!(full.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b.abs())));
    }
}

#[test]
fn what_is_added_to_is_written_once_and_only_by_runs_that_succeed() {
    let start = numbers(&[64, 20], 3);
    let (x, d, table) = (numbers(&[40, 64], 1), numbers(&[40, 20], 2), numbers(&[500, 70], 5));
    fn product(t: &Recorder) -> Var<'_> {
        t.input(DType::F64, [40, 64]).einsum("ki,kj->ij", t.input(DType::F64, [40, 20]))
    }
    for case in 0..3 {
        let mut states = States::new();
        let (w, v) = (states.add("w", start.clone()).unwrap(), states.add("v", start.clone()).unwrap());
        let program = Program::record(&states, |t| {
            let (p, old) = (product(t), t.state(w));
            let picked = t.input(DType::F64, [500, 70]).gather(t.input(DType::U32, [400]));
            let next = match case {
                0 => old + p,
                1 => (old.reshape([20, 64]) + p.reshape([20, 64])).reshape([64, 20]),
                _ => old + p * 0.5,
            };
            t.update(old, next);
            if case == 2 {
                t.update(t.state(v), next);
            }
            t.outputs([picked.exp().sum(1).sum(()), next.sum(())].into_iter().take(if case == 0 {
                1
            } else {
                2
            }))
        })
        .unwrap();
        let snapshot = states.clone();
        let (good, mut bad) = (ndarray::Array1::<u32>::zeros(400), ndarray::Array1::<u32>::zeros(400));
        bad[399] = 500;
        for threads in [1, 2] {
            let mut workspace = program.workspace_on(threads).unwrap();
            let before = states.get(w).unwrap().to_f64();
            assert!(program.run(&mut workspace, &mut states, (&x, &d, &table, &bad)).is_err());
            assert_eq!(states.get(w).unwrap().to_f64(), before, "case {case}");
            program.run(&mut workspace, &mut states, (&x, &d, &table, &good)).unwrap();
            let factor = if case == 2 { 0.5 } else { 1.0 };
            let (x, d) = (x.to_f64(), d.to_f64());
            for (i, &after) in states.get(w).unwrap().to_f64().iter().enumerate() {
                let sum: f64 = (0..40).map(|k| x[k * 64 + i / 20] * d[k * 20 + i % 20]).sum();
                assert!((after - before[i] - factor * sum).abs() < 1e-12, "case {case}, element {i}");
            }
            if case == 2 {
                assert_eq!(states.get(v).unwrap().to_f64(), states.get(w).unwrap().to_f64());
            }
        }
        assert_eq!(snapshot.get(w).unwrap().to_f64(), start.to_f64());
    }
}

#[test]
fn the_models_of_the_benchmark_keep_the_law() {
    fn network<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let (mut h, layers) = (x[0] * (1.0 / 255.0), &x[1..]);
        for (i, layer) in layers.chunks_exact(2).enumerate() {
            h = h.matmul(layer[0]) + layer[1];
            h = if 2 * i + 2 < layers.len() { h.relu() } else { h };
        }
        let labels = t.constant(ndarray::Array1::from_shape_fn(60, |i| (i % 10) as u32));
        let loss = h.cross_entropy(labels);
        let g = loss.gradients(layers.iter().copied());
        std::iter::once(loss).chain(layers.iter().map(|&w| w - g[w] * 0.1)).collect()
    }
    planned_is_trivial(&network, &[&[60, 40], &[40, 50], &[50], &[50, 10], &[10]]);
    planned_is_trivial(&network, &[&[60, 40], &[40, 64], &[64], &[64, 70], &[70], &[70, 10], &[10]]);
    fn product<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let labels = t.constant(ndarray::Array1::from_shape_fn(60, |i| (i % 10) as u32));
        let g = x[0].matmul(x[1]).cross_entropy(labels).gradients([x[1]]);
        t.jvp(&[g[x[1]]], &[(x[1], x[2])])
    }
    planned_is_trivial(&product, &[&[60, 40], &[40, 10], &[40, 10]]);
    fn mixture<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let away = x[0].matmul(x[1].t()).reshape([60, 5, 4]) - x[2];
        let value = (x[3] - (away * away).sum(2) * 0.5).logsumexp(1).sum(());
        let g = value.gradients([x[1], x[2], x[3]]);
        vec![value, g[x[1]], g[x[2]], g[x[3]]]
    }
    planned_is_trivial(&mixture, &[&[60, 4], &[20, 4], &[5, 4], &[5]]);
}

#[test]
fn a_program_for_one_run_says_that_it_has_no_profile() {
    let program =
        Program::record_once(&States::new(), |t| t.outputs(t.input(DType::F64, [2]).exp())).unwrap();
    let mut workspace = program.workspace().unwrap();
    let found = program.profile(&mut workspace, &mut States::new(), (&ndarray::arr1(&[1.0, 2.0]),));
    assert!(matches!(found.expect_err("no steps").kind(), ErrorKind::Argument(_)));
}

/// Sums along the first axis beside rows that are repeated, of so many rows that segments differ by one; and of so few
/// that there is one.
#[test]
fn split_reductions_beside_what_every_tile_repeats() {
    fn chain<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![(x[0] * x[1]).exp().tanh().sin().sum(()), x[0].sum(0).exp()]
    }
    for rows in [64, 95, 97, 500, 16004] {
        planned_is_trivial(&chain, &[&[rows], &[]]);
    }
    fn bias<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let y = (x[0].matmul(x[1]) + x[2]).tanh();
        let loss = (y * y).sum(());
        let g = loss.gradients([x[1], x[2]]);
        vec![loss, g[x[1]], g[x[2]]]
    }
    for rows in [64, 100, 500, 801] {
        planned_is_trivial(&bias, &[&[rows, 30], &[30, 10], &[10]]);
    }
}

#[test]
fn sums_in_parts_into_a_state_that_scales_them() {
    for rows in [64, 96, 128, 200] {
        let mut states = States::new();
        let s = states.add("s", numbers(&[rows], 1)).expect("a new name");
        let v = states.add("v", numbers(&[50], 2)).expect("a new name");
        let x = [numbers(&[rows, rows], 3), numbers(&[rows, 50], 4)];
        laws::program(&states, &x, 1e-12, &|t| {
            let (s, a) = (t.state(s), t.input(DType::F64, [rows, rows]));
            t.update(s, (a * s.reshape([rows, 1])).sum(0));
            let sum = t.input(DType::F64, [rows, 50]).sum(0);
            t.update(t.state(v), sum);
            t.outputs([a.sum(()), sum.exp().sum(())])
        })
        .unwrap_or_else(|e| panic!("{rows} rows: {e}"));
    }
}
