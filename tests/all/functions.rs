//! Functions and their derivatives, called as optimisers, samplers and solvers do.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use ndarray::{Array1, Array2, array};
use wengert::{Argument, DType, DTypeError, ErrorKind, Function, Mode, Recorder, ShapeError, Var, Worker};

const POINT: [f64; 3] = [0.5, -1.25, 2.0];

/// `y₀ = x₀ x₁`, `y₁ = sin x₂`, of which the Jacobian is written down below.
fn pair() -> Function {
    Function::new(3, |x| x.recorder().stack([x.at(0) * x.at(1), x.at(2).sin()], 0)).unwrap()
}
fn jacobian([a, b, c]: [f64; 3]) -> Array2<f64> {
    array![[b, a, 0.0], [0.0, 0.0, c.cos()]]
}

/// `x₀² x₁ + eˣ² x₀`.
fn scalar() -> Function {
    Function::new([3], |x| x.at(0).square() * x.at(1) + x.at(2).exp() * x.at(0)).unwrap()
}
fn gradient([a, b, c]: [f64; 3]) -> Array1<f64> {
    array![2.0 * a * b + c.exp(), a * a, c.exp() * a]
}
fn hessian([a, b, c]: [f64; 3]) -> Array2<f64> {
    let e = c.exp();
    array![[2.0 * b, 2.0 * a, e], [2.0 * a, 0.0, 0.0], [e, 0.0, e * a]]
}

fn close<'a>(found: impl IntoIterator<Item = &'a f64>, due: impl IntoIterator<Item = &'a f64>) {
    let (found, due): (Vec<f64>, Vec<f64>) =
        (found.into_iter().copied().collect(), due.into_iter().copied().collect());
    assert_eq!(found.len(), due.len());
    for (f, d) in found.iter().zip(&due) {
        assert!((f - d).abs() <= 1e-14 * (1.0 + d.abs()), "{found:?} is not {due:?}");
    }
}

#[test]
fn every_derivative_is_that_of_the_formula() {
    let (f, g) = (pair(), scalar());
    let (v, u) = ([1.0, -2.0, 0.5], [3.0, -1.0]);
    let mut y = [0.0; 2];
    f.value_into(&POINT, &mut y).unwrap();
    close(&y, &[POINT[0] * POINT[1], POINT[2].sin()]);
    f.jvp(&POINT, &v, &mut y).unwrap();
    close(&y, &jacobian(POINT).dot(&array![1.0, -2.0, 0.5]));
    let mut x = [0.0; 3];
    f.vjp(&POINT, &u, &mut x).unwrap();
    close(&x, &jacobian(POINT).t().dot(&array![3.0, -1.0]));
    for mode in [Mode::Forward, Mode::Reverse] {
        let mut found = Array2::<f64>::zeros((2, 3));
        f.jacobian_by(mode, &POINT, &mut found).unwrap();
        close(&found, &jacobian(POINT));
    }
    let value = g.value_and_gradient(&POINT, &mut x).unwrap();
    assert_eq!(value, g.value(&POINT).unwrap());
    close(&x, &gradient(POINT));
    g.hvp(&POINT, &v, &mut x).unwrap();
    close(&x, &hessian(POINT).dot(&array![1.0, -2.0, 0.5]));
    let mut found = Array2::<f64>::zeros((3, 3));
    g.hessian(&POINT, &mut found).unwrap();
    close(&found, &hessian(POINT));
    assert_eq!(found, found.t(), "made symmetric");
}

#[test]
fn a_worker_computes_the_bits_of_its_function_and_so_does_a_clone() {
    fn all(worker: &mut Worker) -> Vec<f64> {
        let (mut x, mut h) = ([0.0; 3], [0.0; 9]);
        let mut found = vec![worker.value(&POINT).unwrap()];
        found.push(worker.value_and_gradient(&POINT, &mut x).unwrap());
        found.extend(x);
        worker.hvp(&POINT, &[1.0, 2.0, 3.0], &mut x).unwrap();
        found.extend(x);
        worker.hessian(&POINT, &mut h).unwrap();
        found.extend(h);
        found
    }
    let f = scalar();
    let mut worker = f.worker();
    let found = all(&mut worker);
    close(&found[2..5], &gradient(POINT));
    assert_eq!(found, all(&mut worker.clone()));
    let mut x = [0.0; 3];
    f.gradient(&POINT, &mut x).unwrap();
    assert_eq!(found[2..5], x);
}

#[test]
fn arguments_have_types_and_some_are_data() {
    let arguments = [
        Argument::new(DType::F32, [2]),
        Argument::new(DType::F32, ()),
        Argument::new(DType::F32, [2]).fixed(),
        Argument::new(DType::I64, [1]),
    ];
    let f = Function::with(arguments, |x| {
        ((x[0] * x[2]).sum(()) + x[1].square()) * x[3].cast(DType::F32).sum(())
    });
    let f = f.unwrap();
    assert_eq!(f.arguments(), 3);
    let mut g = [0f32; 3];
    // Labels of another integer type are converted.
    let value = f.value_and_gradient((&[1f32, 2.0], &3f32, &[10f32, 20.0], &[2i32]), &mut g).unwrap();
    assert_eq!((value, g), (2.0 * 59.0, [20.0, 40.0, 12.0]));
    let mut found = Array2::<f32>::zeros((3, 3));
    f.hessian((&[1f32, 2.0], &3f32, &[10f32, 20.0], &[2i32]), &mut found).unwrap();
    assert_eq!(found, array![[0f32, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]);
    let mut tangent = [0f32];
    f.jvp((&[1f32, 2.0], &3f32, &[10f32, 20.0], &[2i32]), &[1f32, 0.0, 1.0], &mut tangent).unwrap();
    assert_eq!(tangent, [32.0]);
}

#[test]
fn the_closure_is_called_once_and_threads_compute_the_same_bits() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let f = Function::new(3, |x| {
        CALLS.fetch_add(1, SeqCst);
        x.exp().sum(()) * x.at(-1)
    });
    let f = f.unwrap();
    shared(&f);
    let work = |seed: u32| {
        let (mut g, mut h, mut sum) = ([0.0; 3], [0.0; 9], 0.0);
        for i in 0..200 {
            let x = [f64::from(seed + i) / 100.0, 0.5, -1.0];
            sum += f.value_and_gradient(&x, &mut g).unwrap();
            f.hessian(&x, &mut h).unwrap();
            sum += g.iter().chain(&h).sum::<f64>();
        }
        sum.to_bits()
    };
    let together: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let alone: Vec<u64> = (0..8).map(work).collect();
    assert_eq!(together, alone);
    assert_eq!(CALLS.load(SeqCst), 1);
}

#[test]
fn what_does_not_fit_is_a_typed_error() {
    let (f, g) = (pair(), scalar());
    let mut three = [0.0; 3];
    let elements =
        |shape: &[usize], found| ErrorKind::Shape(ShapeError::Elements { shape: shape.to_vec(), found });
    assert_eq!(*g.gradient(&POINT, &mut [0.0; 2]).unwrap_err().kind(), elements(&[3], 2));
    assert_eq!(*g.hvp(&POINT, &[1.0], &mut three).unwrap_err().kind(), elements(&[3], 1));
    let differ = ErrorKind::DType(DTypeError::Differ { left: DType::F64, right: DType::F32 });
    assert_eq!(*g.gradient(&POINT, &mut [0f32; 3]).unwrap_err().kind(), differ);
    assert!(matches!(g.value(&[1.0, 2.0]).unwrap_err().kind(), ErrorKind::Input(_)));
    assert!(matches!(g.value(&[1f32, 2.0, 3.0]).unwrap_err().kind(), ErrorKind::Input(_)));
    assert!(matches!(g.value((&POINT, &POINT)).unwrap_err().kind(), ErrorKind::Input(_)));
    // Of an array the shape has to be that of the result, not just the length.
    let shape = |left: &[usize], right: &[usize]| {
        ErrorKind::Shape(ShapeError::Differ { left: left.to_vec(), right: right.to_vec() })
    };
    let turned = f.jacobian(&POINT, &mut Array2::<f64>::zeros((3, 2))).unwrap_err();
    assert_eq!(*turned.kind(), shape(&[2, 3], &[3, 2]));
    let flat = g.hessian(&POINT, &mut Array2::<f64>::zeros((1, 9))).unwrap_err();
    assert_eq!(*flat.kind(), shape(&[3, 3], &[1, 9]));
    g.hessian(&POINT, &mut Array1::<f64>::zeros(9)).unwrap();
    let matrix = Function::new([2, 3], |x| x.sum(())).unwrap();
    assert!(matrix.gradient(&[[0.0; 3]; 2], &mut Array2::<f64>::zeros((3, 2))).is_err());
    matrix.gradient(&[[0.0; 3]; 2], &mut Array2::<f64>::zeros((2, 3))).unwrap();
    assert!(
        f.value(&POINT)
            .unwrap_err()
            .to_string()
            .contains("`value` is of one number, the function makes f64[2]")
    );
    let two = [Argument::new(DType::F64, ()), Argument::new(DType::F32, ())];
    let two = Function::with(two, |x| x[0] * x[1].cast(DType::F64)).unwrap();
    let mixed = two.gradient((&1.0, &1f32), &mut [0.0; 2]).unwrap_err();
    assert!(mixed.to_string().contains("an argument is of f32: cast inside of it"), "{mixed}");
    // A derivative that cannot be made stays an error.
    for _ in 0..2 {
        let error = f.gradient(&POINT, &mut three).unwrap_err();
        assert!(error.to_string().contains("the function makes f64[2]"), "{error}");
    }
    let line = line!() + 1;
    let error = Function::new(3, |x| x.matmul(x.at(0).reshape([1, 1]))).err().unwrap();
    assert_eq!(error.site().map(|site| site.location.line()), Some(line));
    assert!(Function::new([1 << 40, 1 << 40], |x| x).is_err());
    let integers = Function::with([Argument::new(DType::I64, [2])], |x| x[0] * 2).unwrap();
    assert!(integers.jacobian(&[1i64, 2], &mut [0i64; 0]).is_err());
}

#[test]
fn a_branch_that_comes_out_otherwise_is_a_guard_in_every_derivative() {
    let f = Function::try_with([Argument::like([3.0, 1.0])], |x| {
        Ok(if x[0].at(0).gt(0.0).decide()? { x[0].square().sum(()) } else { x[0].sum(()) })
    });
    let f = f.unwrap();
    let mut g = [0.0; 2];
    assert_eq!(f.value_and_gradient(&[2.0, 1.0], &mut g).unwrap(), 5.0);
    assert_eq!(g, [4.0, 2.0]);
    let guard =
        |error: wengert::Error| matches!(error.kind(), ErrorKind::Guard { recorded: true, found: false });
    assert!(guard(f.value(&[-2.0, 1.0]).unwrap_err()));
    assert!(guard(f.gradient(&[-2.0, 1.0], &mut g).unwrap_err()));
    assert!(guard(f.hessian(&[-2.0, 1.0], &mut [0.0; 4]).unwrap_err()));
}

#[test]
fn programs_are_called_by_many_threads_and_read_by_names() {
    let program = wengert::Program::record(&wengert::States::new(), |t: &Recorder| {
        let (x, y) = (t.input(DType::F64, [2]).named("x"), t.input(DType::F64, [2]).named("y"));
        t.outputs((((x - y).sum(())).named("difference"), x * y))
    });
    let program = program.unwrap();
    thread::scope(|scope| {
        for i in 0..4 {
            let program = &program;
            scope.spawn(move || {
                for j in 0..100 {
                    let x = [f64::from(i), f64::from(j)];
                    let called = program.call((("y", &[1.0, 1.0]), ("x", &x))).unwrap();
                    assert_eq!(called.scalar("difference").unwrap(), x[0] + x[1] - 2.0);
                    assert_eq!(called.slice::<f64>(1).unwrap(), x);
                }
            });
        }
    });
    let error = |inputs: &[(&str, &dyn wengert::Bind)]| program.call(inputs).err().unwrap().to_string();
    let x = [1.0, 2.0];
    assert!(error(&[("x", &x), ("z", &x)]).contains("there is no input `z`"));
    assert!(error(&[("x", &x), ("x", &x)]).contains("input `x` was bound twice"));
    assert!(error(&[("x", &x), ("y", &1.0)]).contains("input `y` is f64[2], f64[] was bound"));
    let text = program.call((&x, &x)).unwrap().scalar("sum").unwrap_err().to_string();
    assert!(text.contains("named difference") && text.contains("\"sum\""), "{text}");
    let twice = Recorder::default();
    let name = wengert::closure(|x| x.named("x"));
    let (a, b) = (twice.input(DType::F64, ()), twice.input(DType::F64, ()));
    assert!(name(a).same_as(name(a)) && twice.check().is_ok());
    name(b);
    assert!(twice.check().unwrap_err().to_string().contains("has the name `x`"));
}

#[test]
fn a_workspace_is_cloned_with_its_threads() {
    let program = wengert::Program::record(&wengert::States::new(), |t| {
        let x = t.input(DType::F64, [400, 400]);
        t.outputs(x.exp().sum(()))
    });
    let program = program.unwrap();
    let mut one = program.workspace_on(2).unwrap();
    let mut other = one.clone();
    let (x, states) = (Array2::<f64>::ones((400, 400)), wengert::States::new());
    let first = program.evaluate(&mut one, &states, &x).unwrap().scalar(0).unwrap();
    assert_eq!(program.evaluate(&mut other, &states, &x).unwrap().scalar(0).unwrap(), first);
}

#[test]
fn a_layout_that_does_not_fit_its_vector_is_an_error_of_the_line() {
    let refused = |unpack: fn(Var<'_>) -> Var<'_>, why: &str| {
        let error = Function::new(5, unpack).err().unwrap();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.site().is_some_and(|site| site.location.file().ends_with("functions.rs")), "{error}");
    };
    refused(|x| x.unpack([("a", [4])])["a"], "parts of [4] elements do not fill f64[5]");
    refused(|x| x.unpack([("a", [usize::MAX, 2])])["a"], "more elements than memory can address");
    refused(|x| x.unpack((("a", [2]), ("a", [3])))["a"], "two parts are named `a`");
    refused(|x| x.unpack((("a", [2]), ("b", [3])))["c"], "the vector has the parts a, b, no `c`");
    refused(|x| x.reshape([5, 1]).unpack([("a", [5])])["a"], "do not fill f64[5, 1]");
}

#[test]
fn a_program_that_reads_states_asks_for_them() {
    let mut states = wengert::States::new();
    let w = states.add("w", 2.0).unwrap();
    let program = wengert::Program::record(&states, |t| t.outputs(t.state(w) * 2)).unwrap();
    assert!(program.call(()).err().unwrap().to_string().contains("the program reads the state w"));
    assert_eq!(program.call_with(&states, ()).unwrap().scalar(0).unwrap(), 4.0);
}

/// The rows of a recorder stay when a program is made of them: variables, scopes and derivatives go on.
#[test]
fn a_recorder_goes_on_after_a_program_was_made_of_it() {
    let mut t = Recorder::default();
    for round in 0..2 {
        let x = t.scope("first", || t.input(DType::F64, [2]));
        let first = t.program(x.sum(())).unwrap();
        let y = t.scope("second", || (x * x).sum(()));
        let second = t.program((y, y.gradients(x)[x])).unwrap();
        assert_eq!(first.call(&[3.0, 4.0]).unwrap().scalar(0).unwrap(), 7.0, "{round}");
        let called = second.call(&[3.0, 4.0]).unwrap();
        assert_eq!((called.scalar(0).unwrap(), called.slice::<f64>(1).unwrap()), (25.0, &[6.0, 8.0][..]));
        t.clear();
    }
    // What is put together records the parts, and nothing beside them.
    let x = t.input(DType::F64, [2]);
    t.concat([x, x], 0);
    let rows = t.input(DType::F64, ()).id().unwrap().row - x.id().unwrap().row - 1;
    assert_eq!(rows, 3, "a fill and two parts");
}

/// Names that the closure gives its arguments are those of derivatives too, whatever the order in which they are bound.
#[test]
fn derivatives_know_the_names_of_arguments() -> wengert::Result<()> {
    let arguments = [Argument::new(DType::F64, []), Argument::new(DType::F64, [])];
    let f = Function::with(arguments, |x| x[0].named("a").square() * x[1].named("b"))?;
    let (point, swapped) = ((("a", &3.0), ("b", &5.0)), (("b", &5.0), ("a", &3.0)));
    let (mut gradient, mut tangent) = ([0.0; 2], [0.0]);
    assert_eq!((f.value(point)?, f.value(swapped)?), (45.0, 45.0));
    assert_eq!(f.value_and_gradient(swapped, &mut gradient)?, 45.0);
    assert_eq!(gradient, [30.0, 9.0]);
    f.jvp(swapped, &[1.0, 0.0], &mut tangent)?;
    assert_eq!(tangent, [30.0]);
    assert!(f.jvp((("a", &3.0), ("c", &5.0)), &[1.0, 0.0], &mut tangent).is_err());
    Ok(())
}
