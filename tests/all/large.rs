//! Arrays so large that plans cut them: next values written where states lie, sums in parts.

use wengert::check::laws;
use wengert::{DType, Error, Outputs, Program, Recorder, Sampler, Shape, State, States, Tensor};

fn numbers(dims: &[usize], dtype: DType, seed: u64) -> Tensor {
    let shape = Shape::new(dims).expect("few axes");
    let mut sampler = Sampler::new(seed);
    let x = (0..shape.elements()).map(|_| sampler.unit() - 0.5);
    match dtype {
        DType::F32 => Tensor::new(shape, x.map(|x| x as f32).collect::<Vec<f32>>()),
        _ => Tensor::new(shape, x.collect::<Vec<f64>>()),
    }
    .expect("as many numbers as the shape has")
}

/// Rows that no tile and no task divides.
const ROWS: usize = 1003;
const COLUMNS: usize = 77;

type Recorded = Result<Outputs, Error>;
type Step = fn(&Recorder, [State; 2]) -> Recorded;

/// Two states of that size.
fn two(dtype: DType) -> (States, [State; 2]) {
    let mut start = States::new();
    let states =
        [1, 2].map(|seed| start.add(&format!("s{seed}"), numbers(&[ROWS, COLUMNS], dtype, seed)).unwrap());
    (start, states)
}

/// All plans of a step against the trivial one.
fn plans_agree(name: &str, step: Step) {
    for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 1e-4)] {
        let (start, states) = two(dtype);
        let x = [numbers(&[ROWS, COLUMNS], dtype, 3)];
        let law = laws::program(&start, &x, bound, &|t| step(t, states));
        law.unwrap_or_else(|e| panic!("{name} {dtype}: {e}"));
    }
}

fn input<'t>(t: &'t Recorder, [a, b]: [State; 2]) -> [wengert::Var<'t>; 3] {
    let (a, b) = (t.state(a), t.state(b));
    [t.input(a.dtype(), [ROWS, COLUMNS]), a, b]
}

#[test]
fn next_values_are_written_where_states_lie_after_all_reading() {
    let steps: [(&str, Step); 8] = [
        ("momentum", |t, s| {
            let [x, w, v] = input(t, s);
            let next = v * 0.9 + x;
            t.update(v, next);
            t.update(w, w - next * 0.1);
            t.outputs(x.sum(()))
        }),
        ("an old value that is read after the next is known", |t, s| {
            let [x, w, v] = input(t, s);
            t.update(w, w * 0.5 + x);
            t.update(v, (v * x).tanh());
            t.outputs((w * x + v).sum(1))
        }),
        ("old values that are read across", |t, s| {
            let [x, w, v] = input(t, s);
            t.update(w, v * 0.75 + x);
            t.update(v, w * 0.25 - x);
            t.outputs((w + v).sum(()))
        }),
        ("a swap", |t, s| {
            let [x, w, v] = input(t, s);
            t.update(w, v);
            t.update(v, w);
            t.outputs(x.sum(()))
        }),
        ("a next value that is a result", |t, s| {
            let [x, w, v] = input(t, s);
            let next = w.sin() + x;
            t.update(w, next);
            t.update(v, next * v);
            t.outputs(next)
        }),
        ("one next value for both", |t, s| {
            let [x, w, v] = input(t, s);
            let next = w * 0.5 + v * x;
            t.update(w, next);
            t.update(v, next);
            t.outputs((next * next).sum(()))
        }),
        ("a next value of another shape", |t, s| {
            let [x, w, v] = input(t, s);
            let flat = (w.reshape([ROWS * COLUMNS]) + x.reshape([ROWS * COLUMNS]) * 0.5).tanh();
            t.update(w, flat.reshape([ROWS, COLUMNS]));
            t.update(v, v.reshape([COLUMNS, ROWS]).t() * 0.5);
            t.outputs(flat.sum(()))
        }),
        ("a next value that waits for a number", |t, s| {
            let [x, w, v] = input(t, s);
            let norm = (w * w).sum(()).sqrt();
            t.update(w, w - x * v / norm);
            t.update(v, (v - w).abs());
            t.outputs(norm)
        }),
    ];
    for (name, step) in steps {
        plans_agree(name, step);
    }
}

#[test]
fn no_step_copies_what_could_be_computed_where_it_lies() {
    let (start, states) = two(DType::F64);
    let program = Program::record_exact(&start, |t| {
        let [x, w, v] = input(t, states);
        let next = v * 0.9 + x;
        t.update(v, next);
        t.update(w, w - next * 0.1);
        t.outputs(x.sum(()))
    });
    let plan = program.unwrap().plan().to_string();
    assert!(!plan.contains("copy"), "{plan}");
    assert!(
        plan.contains("-> f64[1003, 77] state s2") && plan.contains("-> f64[1003, 77] state s1"),
        "{plan}"
    );
}

/// A product as large as a state.
fn product<'t>(x: wengert::Var<'t>) -> wengert::Var<'t> {
    x.matmul(x.slice(0, 0..COLUMNS) * 0.1)
}

#[test]
fn products_are_added_to_multiples_of_states_where_they_lie() {
    let steps: [(&str, bool, Step); 10] = [
        ("a difference, where scales stay where they are", false, |t, s| {
            let [x, w, v] = input(t, s);
            let few = x.slice(1, 0..10) * 0.25;
            let wide = few.matmul(w.slice(0, 0..10)).tanh() + few.tanh().sum(());
            t.update(v, v - wide * 0.125);
            t.outputs((wide + w).sum(()))
        }),
        ("momentum", true, |t, s| {
            let [x, w, v] = input(t, s);
            let next = v * 0.9 + product(x);
            t.update(v, next);
            t.update(w, w - next * 0.1);
            t.outputs(x.sum(()))
        }),
        ("momentum that nothing reads", true, |t, s| {
            let [x, w, v] = input(t, s);
            t.update(v, product(x) + v * -0.5);
            t.outputs((w + v).sum(()))
        }),
        ("a sum that is read", true, |t, s| {
            let [x, w, v] = input(t, s);
            let next = v + product(x);
            t.update(v, next);
            t.update(w, w * next);
            t.outputs(x.sum(()))
        }),
        ("a number times an array", false, |t, s| {
            let [x, w, v] = input(t, s);
            t.update(v, v * 0.5 + x.tanh() * 0.25);
            t.outputs(w.sum(()))
        }),
        ("an old value that is read before", true, |t, s| {
            let [x, w, v] = input(t, s);
            let old = (v * w).tanh();
            let next = v * 0.9 + product(x + old);
            t.update(v, next);
            t.update(w, w - next * 0.1);
            t.outputs(old.sum(()))
        }),
        ("an old value that is read later", false, |t, s| {
            let [x, w, v] = input(t, s);
            let next = v * 0.9 + product(x);
            t.update(v, next);
            t.update(w, w - next * v);
            t.outputs(x.sum(()))
        }),
        ("a multiple that is read elsewhere", false, |t, s| {
            let [x, w, v] = input(t, s);
            let multiple = v * 0.9;
            t.update(v, multiple + product(x));
            t.update(w, w - multiple.tanh());
            t.outputs(x.sum(()))
        }),
        ("a next value that is a result", false, |t, s| {
            let [x, w, v] = input(t, s);
            let next = v * 0.9 + product(x);
            t.update(v, next);
            t.update(w, w - next * 0.1);
            t.outputs(next)
        }),
        ("a product of what it is added to", false, |t, s| {
            let [x, w, v] = input(t, s);
            let next = v * 0.9 + product(v);
            t.update(v, next);
            t.update(w, w - next * x);
            t.outputs(x.sum(()))
        }),
    ];
    for (name, added, step) in steps {
        plans_agree(name, step);
        let (start, states) = two(DType::F64);
        let plan = Program::record(&start, |t| step(t, states)).unwrap().plan().to_string();
        let found = plan.lines().any(|line| line.contains("added to") && line.contains("state s2"));
        assert_eq!(found, added, "{name}: {plan}");
    }
}

#[test]
fn what_a_multiple_of_a_state_overflows_to_stays_so() {
    let shape = [64usize, 64];
    for (held, beta, is_there) in [
        (f32::INFINITY, 1e-50, f32::is_nan as fn(f32) -> bool),
        (2e38, 2.0, f32::is_infinite),
        (2e38, -1e-3, f32::is_finite),
    ] {
        let mut states = States::new();
        let v = states.add("v", Tensor::new(shape, vec![held; 64 * 64]).unwrap()).unwrap();
        let program = Program::record(&states, |t| {
            let x = t.input(DType::F32, shape);
            let v = t.state(v);
            t.update(v, v * beta + x.matmul(x));
            t.outputs(x.sum(()))
        })
        .unwrap();
        let x = Tensor::new(shape, vec![-1e18f32; 64 * 64]).unwrap();
        program.run(&mut program.workspace().unwrap(), &mut states, (&x,)).unwrap();
        let next = states.get(v).unwrap();
        assert!(next.as_slice::<f32>().unwrap().iter().all(|&y| is_there(y)), "{held} · {beta}: {next:?}");
    }
}

#[test]
fn what_every_tile_reads_alike_is_made_once_for_a_task() {
    let steps: [(&str, Step); 4] = [
        ("a row below every row", |t, s| {
            let [x, w, v] = input(t, s);
            t.outputs(((x + w.slice(0, 3..4)).tanh() * v).sum(1))
        }),
        ("rows of rows", |t, s| {
            let [x, w, v] = input(t, s);
            let (x, row) = (x.reshape([ROWS, 7, 11]), w.slice(0, 0..1).reshape([7, 11]));
            t.outputs(((x - row) * v.reshape([ROWS, 7, 11]) + row.sin()).sum(2))
        }),
        ("two rows at a time, and numbers beside them", |t, s| {
            let [x, w, v] = input(t, s);
            let (a, b, c) = (w.slice(0, 1..2), v.slice(0, 2..3), v.sum(1).reshape([ROWS, 1]));
            t.outputs(((x * a + b) * c + a * b).sum(0))
        }),
        ("a row of what is written", |t, s| {
            let [x, w, v] = input(t, s);
            let row = w.slice(0, 5..6);
            t.update(w, w + x * row);
            t.update(v, v * row - x);
            t.outputs((x + row).abs().sum(1))
        }),
    ];
    for (name, step) in steps {
        plans_agree(name, step);
        let (mut start, states) = two(DType::F64);
        let program = Program::record(&start, |t| step(t, states)).unwrap();
        let x = numbers(&[ROWS, COLUMNS], DType::F64, 3);
        let profile = program.profile(&mut program.workspace().unwrap(), &mut start, (&x,)).unwrap();
        let calls = |op: &str| {
            let steps = profile.calls().iter().filter(|s| s.op == op);
            steps.map(|s| s.calls).min().unwrap_or(0)
        };
        assert!(calls("broadcast") * 2 <= profile.calls().iter().map(|s| s.calls).max().unwrap(), "{name}");
        assert!(program.plan().to_string().contains(") once"), "{name}: {}", program.plan());
    }
}

#[test]
fn reductions_of_the_outermost_axis_in_parts() {
    let steps: [(&str, Step); 4] = [
        ("behind axes of one", |t, s| {
            let [x, w, v] = input(t, s);
            let (x, w) = (x.insert_axis(0).insert_axis(0), w.insert_axis(0));
            t.update(v, v + w.exp().max(1).sum(()));
            t.outputs([x.tanh().max(2).sum(()), (w * 0.5).sum(1).sum(()), x.sum(2).sum(())])
        }),
        ("a product of two tall arrays", |t, s| {
            let [x, w, v] = input(t, s);
            t.outputs(x.tanh().einsum("ki,kj->ij", (w * v).slice(1, 0..10)))
        }),
        ("sums of what is made chunk by chunk", |t, s| {
            let [x, w, v] = input(t, s);
            t.outputs((x * w).exp().sum(0) + (v + x).sum(0))
        }),
        ("the gradient of a layer", |t, s| {
            let [x, w, v] = input(t, s);
            let weights = w.slice(0, 0..COLUMNS);
            let loss = ((x.matmul(weights) + v.sum(0)).tanh() * v).sum(());
            let g = loss.gradients([w, v]);
            t.update(w, w - g[w] * 1e-3);
            t.update(v, v - g[v] * 1e-3);
            t.outputs(loss)
        }),
    ];
    for (name, step) in steps {
        plans_agree(name, step);
    }
}

#[test]
fn parts_are_added_where_the_whole_lies() {
    let steps: [(&str, usize, Step); 5] = [
        ("slices of rows", 2, |t, s| {
            let [x, w, v] = input(t, s);
            let y = (w * x).tanh();
            let loss = (y.slice(0, 1..900) * v.slice(0, 0..899)).sum(()) + y.slice(0, 3..90).sin().sum(());
            let loss = loss + y.slice(1, 2..9).exp().sum(());
            t.outputs(loss.gradients([w])[w])
        }),
        ("rows picked twice", 1, |t, s| {
            let [x, w, v] = input(t, s);
            let index = t.constant(ndarray::arr1(&[5u32, 1002, 5, 0, 7]));
            let others = t.constant(ndarray::arr1(&[7u32, 0, 5, 5]));
            let loss = (w.gather(index) * v.slice(0, 0..5)).sum(()) + w.gather(others).sin().sum(());
            t.outputs(loss.gradients([w])[w] + x)
        }),
        ("a whole that is read again", 0, |t, s| {
            let [x, w, _] = input(t, s);
            let whole = w * x;
            let index = t.constant(ndarray::arr1(&[5u32, 1002, 5]));
            t.outputs(whole.scatter_add(index, x.slice(0, 0..3)) * whole)
        }),
        ("a whole by another name", 0, |t, s| {
            let [x, w, _] = input(t, s);
            let whole = w * x;
            let flat = whole.reshape([ROWS * COLUMNS]);
            let index = t.constant(ndarray::arr1(&[5u32, 1002, 5]));
            let part = x.reshape([ROWS * COLUMNS]).slice(0, 0..3);
            t.outputs(flat.scatter_add(index, part).reshape([ROWS, COLUMNS]) - whole)
        }),
        ("a whole of equal rows", 0, |t, s| {
            let [x, w, _] = input(t, s);
            let whole = w.slice(0, 0..1).broadcast_to([ROWS, COLUMNS]);
            let index = t.constant(ndarray::arr1(&[5u32, 1002, 5]));
            t.outputs(whole.scatter_add(index, x.slice(0, 0..3)) * x)
        }),
    ];
    for (name, least, step) in steps {
        plans_agree(name, step);
        let (start, states) = two(DType::F64);
        let plan = Program::record_exact(&start, |t| step(t, states)).unwrap().plan().to_string();
        let added = plan.lines().filter(|line| line.contains("added to")).count();
        assert!(if least > 0 { added >= least } else { added == 0 }, "{name}: {plan}");
    }
}

#[test]
fn products_of_shared_weights_are_added_where_their_sum_lies() {
    let step: Step = |t, s| {
        let [x, w, v] = input(t, s);
        let weights = w.slice(0, 0..COLUMNS) * 0.01;
        let h = (0..4).fold(x, |h, _| h.matmul(weights).tanh() + v);
        t.outputs(h.square().sum(()).gradients([weights])[weights])
    };
    plans_agree("four products of one matrix", step);
    let (start, states) = two(DType::F64);
    let plan = Program::record(&start, |t| step(t, states)).unwrap().plan().to_string();
    assert_eq!(
        plan.lines().filter(|line| line.contains("contract") && line.contains("added to")).count(),
        3,
        "{plan}"
    );
}
