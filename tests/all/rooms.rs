//! What the rooms of the executor promise one another: rows shared among threads, next values, parts, scratch, signs.

use ndarray::array;
use wengert::ir::{Attr, Attrs, Discrete, Elementwise, Form, Kernel, Op, Opaque, Partial, ResultTypes, Vars};
use wengert::{DType, ErrorKind, Lane, Program, Recorder, Registry, States, TensorType, Var};

use crate::planning::{numbers, weights};

/// One row that is most of the work is shared among threads: cut along whatever axes there are.
#[test]
fn a_single_row_takes_several_tasks_and_keeps_its_bits() {
    type Record = for<'t> fn(Var<'t>) -> Var<'t>;
    // What is computed, the shape of its operand, and whether the bits are those of the rows.
    let programs: [(&str, &[usize], Record, bool); 6] = [
        ("sum", &[1, 100_000], |x| x.sum(1), false),
        ("sum of a function", &[1, 1, 100_003], |x| x.exp().sum(2), false),
        ("maximum", &[1, 100_000], |x| x.max(1), true),
        ("log_softmax", &[1, 100_000], |x| x.log_softmax(), false),
        ("a row times a matrix", &[1, 500], |x| x.matmul(matrix(x, [500, 1003])), true),
        ("a vector times a matrix", &[500], |x| x.matmul(matrix(x, [500, 1600])).exp(), true),
    ];
    for (name, dims, f, exact) in programs {
        let record = |t: &Recorder| t.outputs(f(t.input(DType::F64, dims)));
        let program = Program::record(&States::new(), record).unwrap();
        let rows = Program::record_once(&States::new(), record).unwrap();
        let plan = program.plan().to_string();
        let tasks = |line: &str| line.split("tasks ").nth(1).and_then(|n| n.parse::<usize>().ok());
        assert!(plan.lines().filter_map(tasks).any(|tasks| tasks >= 2), "{name}: {plan}");
        let x = numbers(dims, 7);
        let run = |program: &Program, threads: usize| {
            let mut workspace = program.workspace_on(threads).unwrap();
            let found = program.evaluate(&mut workspace, &States::new(), (&x,)).unwrap();
            found.slice::<f64>(0).unwrap().to_vec()
        };
        let (due, one) = (run(&rows, 1), run(&program, 1));
        let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(!exact || bits(&due) == bits(&one), "{name}");
        assert!(due.iter().zip(&one).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + a.abs())), "{name}");
        for threads in 2..5 {
            assert_eq!(bits(&run(&program, threads)), bits(&one), "{name} on {threads} threads");
        }
    }
}

/// A matrix that depends on nothing but its shape.
fn matrix<'t>(x: Var<'t>, dims: [usize; 2]) -> Var<'t> {
    x.recorder().constant(numbers(&dims, 8))
}

/// What is added to a part of an array leaves that array as it was for whoever else reads it.
#[test]
fn a_chain_of_parts_keeps_what_others_read() {
    let record = |t: &Recorder| {
        let (x, p, q) = (t.input(DType::F64, [4]).exp(), t.input(DType::F64, [1]), t.input(DType::F64, [1]));
        let i = t.constant(array![1u32]);
        let a = scattered(x, p, i);
        let b = scattered(a, q, i);
        let c = scattered(b, p, i);
        t.outputs([a, c, b * 2.0])
    };
    let (x, p, q) = (numbers(&[4], 1), numbers(&[1], 2), numbers(&[1], 3));
    let run = |program: Program| {
        let mut workspace = program.workspace().unwrap();
        let found = program.evaluate(&mut workspace, &States::new(), (&x, &p, &q)).unwrap();
        (0..3).map(|i| found.slice::<f64>(i).unwrap().to_vec()).collect::<Vec<_>>()
    };
    let due = run(Program::record_once(&States::new(), record).unwrap());
    assert_ne!(due[0], due[1]);
    assert_eq!(run(Program::record(&States::new(), record).unwrap()), due);
    assert_eq!(run(Program::record_exact(&States::new(), record).unwrap()), due);
}

/// `x` with `part` added in the rows that `index` names.
fn scattered<'t>(x: Var<'t>, part: Var<'t>, index: Var<'t>) -> Var<'t> {
    let op = Registry::builtin().find("scatter_add").unwrap().load(&Attrs::new().with("batch", Attr::Int(0)));
    x.recorder().emit_one(op.unwrap(), &[x, part, index])
}

/// A node of several results may make the next values of several states.
#[test]
fn both_results_of_a_row_are_next_values() {
    let (begin, [w, v]) = weights();
    for how in [Program::record, Program::record_exact, Program::record_once] {
        let mut states = begin.clone();
        let x = numbers(&[64, 20], 5);
        let program = how(&states, |t: &Recorder| {
            let x = t.input(DType::F64, [64, 20]) + t.state(w);
            let sin_cos = Registry::builtin().find("sin_cos").unwrap().load(&Attrs::new());
            let both = t.emit(sin_cos.unwrap(), &[x]);
            t.update(t.state(w), both[0]);
            t.update(t.state(v), both[1]);
            t.outputs(x.sum(()))
        })
        .unwrap();
        let old = states.get(w).unwrap().to_f64();
        program.run(&mut program.workspace().unwrap(), &mut states, (&x,)).unwrap();
        let angle = x.to_f64().into_iter().zip(old).map(|(x, w)| x + w);
        for ((s, c), angle) in
            states.get(w).unwrap().to_f64().iter().zip(states.get(v).unwrap().to_f64()).zip(angle)
        {
            assert!((s - angle.sin()).abs() < 1e-12 && (c - angle.cos()).abs() < 1e-12);
        }
    }
}

/// A maximum in parts, of every type.
#[test]
fn maxima_of_long_rows_of_every_type() {
    for dtype in DType::ALL {
        let (mut states, [w, _]) = weights();
        let program = Program::record(&states, |t: &Recorder| {
            t.update(t.state(w), t.state(w) + 1.0);
            t.outputs(t.input(DType::I64, [40_000]).cast(dtype).max(()).cast(DType::F64))
        })
        .unwrap();
        let x: Vec<i64> = (0..40_000).map(|i| i64::from(i == 31_234) * 7).collect();
        let mut workspace = program.workspace_on(2).unwrap();
        let found = program.run(&mut workspace, &mut states, (&x,)).unwrap().scalar(0).unwrap();
        assert_eq!(found, if dtype == DType::Bool { 1.0 } else { 7.0 }, "{dtype}");
    }
}

#[test]
fn scratch_beyond_counting_is_an_error() {
    struct Greedy;
    impl Kernel for Greedy {
        fn name(&self) -> &'static str {
            "greedy"
        }
        fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
            Ok(x[0].into())
        }
        fn form(&self, _: &[TensorType]) -> Form {
            Form::Opaque(Opaque::default().with_scratch(usize::MAX))
        }
    }
    impl Discrete for Greedy {
        fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
            x[0].into()
        }
    }
    for how in [Program::record, Program::record_once] {
        let greedy = |t: &Recorder| t.outputs(t.emit_one(Op::discrete(Greedy), &[t.input(DType::F64, [3])]));
        let error = how(&States::new(), greedy).expect_err("an error");
        assert!(matches!(error.kind(), ErrorKind::Memory { .. }), "{error}");
    }
}

/// The sign of a NaN depends on how it came about, and when it was made canonical: no result does.
#[test]
fn the_sign_of_a_nan_changes_nothing() {
    #[derive(Clone, Copy)]
    struct Signed;
    impl Elementwise<2> for Signed {
        fn name(&self) -> &'static str {
            "signed"
        }
        fn eval<L: Lane>(&self, [x, sign]: [L; 2]) -> L {
            x.copysign(sign)
        }
        fn partial<'t>(&self, _: usize, _: [Var<'t>; 2], y: Var<'t>) -> Partial<'t> {
            Partial::Factor(y)
        }
    }
    let record = |t: &Recorder| {
        let (a, b) = (t.input(DType::F64, [3]), t.input(DType::F64, [3]));
        let z = a / b;
        t.outputs([z, t.emit_one(Op::elementwise(Signed), &[b + 1.0, z])])
    };
    for how in [Program::record, Program::record_exact, Program::record_once] {
        let program = how(&States::new(), record).unwrap();
        let (a, b) = (array![0.0, -0.0, -2.0], array![0.0, 0.0, 4.0]);
        let mut workspace = program.workspace().unwrap();
        let found = program.evaluate(&mut workspace, &States::new(), (&a, &b)).unwrap();
        assert_eq!(found.slice::<f64>(1).unwrap(), [1.0, 1.0, -5.0]);
    }
}
