//! Errors: which operation of the user's, on which line, and what does not fit.

use ndarray::array;
use wengert::{
    DType::{self, Bool, F32, F64, I64, U8},
    DTypeError, Error, ErrorKind, Program, Recorder, ShapeError, States, Var,
};

fn ignore<T>(_: T) {}

fn line_of(error: &Error) -> (String, u32) {
    let site = error.site().expect("a site");
    (site.location.file().to_owned(), site.location.line())
}

/// What does not fit is in the error's kind, for programs that decide by it; the text is for people.
#[test]
fn kinds_carry_the_sizes_axes_and_types_that_do_not_fit() {
    type Misuse = fn(&Recorder);
    let differ = |left: &[usize], right: &[usize]| {
        ErrorKind::Shape(ShapeError::Differ { left: left.to_vec(), right: right.to_vec() })
    };
    let no_axis = |axis, rank| ErrorKind::Shape(ShapeError::NoAxis { axis, rank });
    let types = |left, right| ErrorKind::DType(DTypeError::Differ { left, right });
    let expected = |expected, found| ErrorKind::DType(DTypeError::Expected { expected, found });
    let shape = ErrorKind::Shape;
    let cases: Vec<(Misuse, ErrorKind)> = vec![
        (|t| ignore(t.input(F64, [2, 3]).sum(2)), no_axis(2, 2)),
        (|t| ignore(t.input(F64, [2, 3]).max([0, 7])), no_axis(7, 2)),
        (|t| ignore(t.input(F64, [2]).slice(1, 0..1)), no_axis(1, 1)),
        (|t| ignore(t.input(F64, [2, 2]).permute([0, 4])), no_axis(4, 2)),
        (|t| ignore(t.input(F64, []).softmax()), no_axis(0, 0)),
        (|t| ignore(t.vmap(&[(t.input(F64, [2]), Some(3))], |x| x.to_vec())), no_axis(3, 1)),
        (|t| ignore(t.input(F64, [2, 2]).permute([1, 1])), shape(ShapeError::RepeatedAxis { axis: 1 })),
        (|t| ignore(t.input(F64, [2, 2]).sum([1, 1])), shape(ShapeError::RepeatedAxis { axis: 1 })),
        (|t| ignore(t.input(F64, [2, 2]).permute([1])), shape(ShapeError::Rank { expected: 2, found: 1 })),
        (|t| ignore(t.input(F64, [1; 9])), shape(ShapeError::TooManyAxes { rank: 9, most: 8 })),
        (
            |t| ignore(t.input(F64, [usize::MAX, 2])),
            shape(ShapeError::TooLarge { shape: vec![usize::MAX, 2] }),
        ),
        (
            |t| ignore(t.input(F64, [64, 784]).matmul(t.input(F64, [10, 784]))),
            shape(ShapeError::Inner { left: vec![64, 784], right: vec![10, 784], sizes: (784, 10) }),
        ),
        (
            |t| ignore(t.input(F64, [2, 3]).einsum("ij,jk->ik", t.input(F64, [4, 5]))),
            shape(ShapeError::Label { label: 'j', spec: "ij,jk->ik".into(), sizes: (3, 4) }),
        ),
        (
            |t| ignore(t.input(F64, [2]) + t.input(F64, [3])),
            shape(ShapeError::Broadcast { from: vec![2], to: vec![3] }),
        ),
        (
            |t| ignore(t.input(F64, [2]).broadcast_to([2, 3])),
            shape(ShapeError::Broadcast { from: vec![2], to: vec![2, 3] }),
        ),
        (
            |t| ignore(t.input(F64, [2]).reshape([3])),
            shape(ShapeError::Elements { shape: vec![3], found: 2 }),
        ),
        (|t| ignore(t.input(F64, [2, 0]).max(1)), shape(ShapeError::Empty { shape: vec![2, 0] })),
        (|t| ignore(t.input(F64, [2, 0]).mean(1)), shape(ShapeError::Empty { shape: vec![2, 0] })),
        (|t| ignore(t.input(F64, [2, 2]).pick(t.input(U8, [3]))), differ(&[3], &[2])),
        (|t| ignore(t.input(F64, [2, 2]).cross_entropy(t.input(F64, [3]))), differ(&[2, 2], &[3])),
        (|t| ignore(t.input(F64, [2]) + t.input(F32, [2])), types(F64, F32)),
        (|t| ignore(t.input(F64, [2]).lt(t.input(U8, [2]))), types(F64, U8)),
        (|t| ignore(t.input(F64, [2, 2]).matmul(t.input(F32, [2, 2]))), types(F64, F32)),
        (|t| ignore(t.input(Bool, [2]).select(t.input(F64, [2]), t.input(F32, [2]))), types(F64, F32)),
        (|t| ignore(t.input(I64, [2]).exp()), expected(DType::FLOATS, I64)),
        (|t| ignore(t.input(Bool, [2]).mean(0)), expected(DType::FLOATS, Bool)),
        (|t| ignore(t.input(F64, [2]).gather(t.input(F32, [2]))), expected(DType::INTEGERS, F32)),
        (|t| ignore(t.input(F32, [2]).select(t.input(F64, [2]), 0.0)), expected(&[Bool], F32)),
        (|t| ignore(t.input(F64, []).uniform(F64, [2])), expected(&[I64], F64)),
    ];
    for (misuse, kind) in cases {
        let t = Recorder::default();
        misuse(&t);
        let error = t.check().expect_err(&kind.to_string());
        assert_eq!(error.kind(), &kind, "{error}");
        assert!(error.to_string().ends_with(&kind.to_string()), "{error}");
    }
    let text = |kind: ErrorKind| kind.to_string();
    assert_eq!(text(expected(DType::INTEGERS, F32)), "expected u8, u32 or i64, found f32; cast it");
    assert_eq!(text(no_axis(5, 1)), "there is no axis 5; the array has one axis");
    assert_eq!(text(ErrorKind::Operands { expected: 2, found: 1 }), "2 operands expected, 1 found");
}

#[test]
fn axes_steps_and_bounds_are_checked() {
    type Use = for<'t> fn(Var<'t>) -> Var<'t>;
    let uses: [(&str, Use); 9] = [
        ("insert_axis", |x| x.insert_axis(9)),
        ("slice", |x| x.slice_step(0, 0, 0, 2)),
        ("slice", |x| x.slice_step(0, usize::MAX, 1, 1)),
        ("slice", |x| x.slice_step(0, 2, isize::MIN, 2)),
        ("slice", |x| x.slice(3, 0..1)),
        ("dim", |x| if x.dim(5) == 1 { x } else { -x }),
        ("argmax", |x| x.argmax(usize::MAX)),
        ("sum", |x| x.sum([0, usize::MAX])),
        ("reshape", |x| x.reshape([usize::MAX, usize::MAX])),
    ];
    for (name, record) in uses {
        let t = Recorder::default();
        record(t.constant(array![1.0, 2.0, 3.0]));
        let error = t.check().expect_err(name);
        assert_eq!(
            (error.op(), error.site().map(|s| s.location.file())),
            (Some(name), Some(file!())),
            "{error}"
        );
        assert!(!error.to_string().contains("-1"), "{error}");
    }
}

#[test]
fn errors_are_those_of_the_users_operation_and_line() {
    type Misuse = fn(&Recorder);
    let misuses: [(&str, Misuse); 11] = [
        ("cross_entropy", |t| ignore(t.input(F64, [2, 3]).cross_entropy(t.input(DType::U8, [3])))),
        ("cross_entropy", |t| ignore(t.input(F64, []).cross_entropy(t.input(DType::U8, [])))),
        ("mean", |t| ignore(t.input(DType::U8, [2]).mean(()))),
        ("matmul", |t| ignore(t.input(F64, [2, 2]).matmul(t.input(F32, [2, 2])))),
        ("einsum", |t| ignore(t.input(F64, [2, 2]).einsum("ij,jk->ik", t.input(F32, [2, 2])))),
        ("mul", |t| ignore(t.input(DType::U8, [2]) * 2.5)),
        ("neg", |t| ignore(-t.input(DType::U8, [2]))),
        ("logsumexp", |t| ignore(t.input(F64, [0]).logsumexp(()))),
        ("gt", |t| ignore(t.input(F64, [2]).gt(t.input(F32, [2])))),
        ("softmax", |t| ignore(t.input(F64, []).softmax())),
        ("sub", |t| ignore(t.input(F64, [2]) - t.input(F32, [2]))),
    ];
    for (name, misuse) in misuses {
        let t = Recorder::default();
        misuse(&t);
        let error = t.check().expect_err(name);
        assert_eq!(
            (error.op(), error.site().map(|s| s.location.file())),
            (Some(name), Some(file!())),
            "{error}"
        );
    }
    // A label that is no class, while running.
    let program = Program::record(&States::new(), |t| {
        let loss = t.input(F64, [2, 3]).cross_entropy(t.input(DType::U8, [2]));
        t.outputs(loss)
    });
    let program = program.unwrap();
    let mut workspace = program.workspace().unwrap();
    let x = ndarray::Array2::<f64>::zeros((2, 3));
    let error =
        program.evaluate(&mut workspace, &States::new(), (&x, &array![0u8, 3])).map(drop).unwrap_err();
    assert_eq!(
        (error.op(), error.site().map(|s| s.location.file())),
        (Some("cross_entropy"), Some(file!())),
        "{error}"
    );
    // Which operand, and where.
    let (t, u) = (Recorder::default(), Recorder::default());
    let _ = t.outputs([t.constant(1.0), u.constant(2.0)]);
    let error = t.check().unwrap_err();
    assert!(error.op() == Some("outputs") && error.to_string().contains("number 1 of 2"), "{error}");
    assert_eq!(error.site().map(|s| s.location.file()), Some(file!()));
    let t = Recorder::default();
    t.vmap(&[(t.constant(array![1.0]), Some(0)), (u.constant(array![1.0]), Some(0))], |x| x.to_vec());
    let error = t.check().unwrap_err();
    assert_eq!(
        (error.op(), error.site().map(|s| s.location.file())),
        (Some("vmap"), Some(file!())),
        "{error}"
    );
}

#[test]
fn poisoned_variables_have_the_shape_they_would_have_had() {
    let t = Recorder::default();
    let y = t.input(F64, [64, 784]).matmul(t.input(F64, [10, 784]));
    assert_eq!((&y.shape()[..], y.dtype()), (&[64, 784][..], F64));
    let wide = y + t.input(F64, [3, 1]);
    let rows = wide.shape()[0] + wide.exp().sum(1).shape()[0] + wide.shape()[1];
    assert!(rows > 0);
    let g = y.sum(()).gradients([y]);
    assert_eq!(g[y].shape()[1], 784);
    assert!(t.check().unwrap_err().to_string().contains("matmul"));
}

#[test]
fn errors_name_the_users_line_and_scope() {
    let here = file!();
    type Misuse = (&'static str, fn(&Recorder));
    let misuses: &[Misuse] = &[
        ("add", |t| ignore(t.input(F64, [2]) + t.input(F64, [3]))),
        ("matmul", |t| ignore(t.input(F64, [2, 2]).matmul(t.input(F64, [3])))),
        ("einsum", |t| ignore(t.input(F64, [2]).einsum("nonsense", t.input(F64, [2])))),
        ("select", |t| ignore(t.input(DType::Bool, [2]).select(t.input(F64, [3]), 0.0))),
        ("sum", |t| ignore(t.input(F64, [2]).sum(1))),
        ("mean", |t| ignore(t.input(F64, [2]).mean([0, 0]))),
        ("max", |t| ignore(t.input(F64, [2]).max(7))),
        ("reshape", |t| ignore(t.input(F64, [2]).reshape([3]))),
        ("permute", |t| ignore(t.input(F64, [2, 2]).permute([0, 0]))),
        ("broadcast", |t| ignore(t.input(F64, [2]).broadcast_to([3]))),
        ("slice", |t| ignore(t.input(F64, [2]).slice(0, 1..usize::MAX))),
        ("slice", |t| ignore(t.input(F64, [2]).slice_step(0, 0, isize::MAX, 2))),
        ("pick", |t| ignore(t.input(F64, [2, 2]).pick(t.input(DType::U8, [3])))),
        ("gather", |t| ignore(t.input(F64, [2, 2]).gather(t.input(F64, [3])))),
        ("cross_entropy", |t| ignore(t.input(F64, [2, 2]).cross_entropy(t.input(F64, [3])))),
        ("uniform", |t| ignore(t.constant(1.0).uniform(F64, [3]))),
        ("normal", |t| ignore(t.constant(1i64).normal(F64, [1, 1, 1, 1, 1, 1, 1, 1]))),
        ("gradients", |t| ignore(t.input(F64, [2]).gradients([]))),
        ("vjp", |t| ignore(t.vjp(&[(t.input(F64, [2]), t.input(F64, [3]))], &[]))),
        ("jvp", |t| ignore(t.jvp(&[], &[(t.input(DType::U8, [2]), t.input(DType::U8, [2]))]))),
        ("vmap", |t| ignore(t.vmap(&[(t.input(F64, [2]), Some(1))], |x| x.to_vec()))),
        ("update", |t| t.update(t.input(F64, [2]), t.input(F64, [2]))),
        ("input", |t| ignore(t.input(F64, [1; 9]))),
        ("input", |t| ignore(t.input(F64, [usize::MAX, 2]))),
    ];
    for (op, misuse) in misuses {
        let t = Recorder::default();
        t.scope("outer", || t.scope("inner", || misuse(&t)));
        let error = t.check().expect_err(op);
        assert_eq!(error.op(), Some(*op), "{error}");
        assert_eq!(line_of(&error).0, here, "{op}: {error}");
        assert!(error.to_string().contains("(outer/inner)"), "{error}");
    }
    // A poisoned variable passes its error on and has the shape that it probably would have had.
    let error = Program::record(&States::new(), |t| {
        let bad = t.input(F64, [2]) + t.input(F64, [3]);
        let line = line!() - 1;
        assert_eq!((bad.dim(0), bad.exp().dim(5), bad.shape()[0]), (2, 1, 2));
        let out = t.outputs((bad * 2.0).sum(()));
        assert_eq!(line_of(out.as_ref().unwrap_err()).1, line);
        out
    });
    assert!(error.is_err());
}

#[test]
fn variables_of_two_tapes_do_not_mix() {
    let (t, u) = (Recorder::default(), Recorder::default());
    let (a, x) = (t.constant(3.0), u.constant(5.0));
    let y = a * a;
    let _ = y.gradients([x]);
    assert_eq!(t.check().unwrap_err().kind(), &ErrorKind::ForeignVar);
    for misuse in [
        (|t: &Recorder, x| ignore(t.jvp(&[x], &[(x, x)]))) as fn(&Recorder, _),
        |t, x| ignore(t.vjp(&[(x, x)], &[x])),
        |t, x| ignore(t.vmap(&[(x, Some(0))], |x| x.to_vec())),
        |t, x| {
            let own = t.constant(array![1.0]);
            assert_eq!(t.vmap(&[(own, Some(0))], |_| vec![x]).len(), 1, "poisoned, not dropped");
        },
        |t, x| ignore(t.constant(1.0) + x),
        |t, x| ignore(t.outputs(x)),
    ] {
        let t = Recorder::default();
        misuse(&t, x);
        assert_eq!(t.check().unwrap_err().kind(), &ErrorKind::ForeignVar);
    }
    let smuggled = Program::record(&States::new(), |_| u.outputs(x));
    assert_eq!(smuggled.unwrap_err().kind(), &ErrorKind::ForeignVar);
}

/// Where NaN and infinities come from: the rows that made them first, forward and backward.
#[test]
fn numbers_that_are_none_are_traced_to_their_rows() {
    let program = Program::record(&States::new(), |t| {
        let x = t.input(DType::F64, [2, 2]);
        let masked = x.gt(0.5).select(x, f64::NEG_INFINITY);
        let p = masked.softmax();
        let y = t.scope("logs", || (x - 1.0).ln()) * 2.0;
        let g = (y.sum(()) + p.sum(()) * 0.0).gradients(x)[x];
        t.outputs([y, p, g])
    })
    .expect("a program");
    let at =
        |numbers: [[f64; 2]; 2]| program.not_finite(&States::new(), &ndarray::arr2(&numbers)).expect("a run");
    assert!(at([[2.0, 3.0], [4.0, 5.0]]).is_empty());
    // A logarithm of a negative number; the infinity of the mask is meant.
    let found = at([[2.0, 3.0], [0.25, 5.0]]);
    let first = &found[0];
    assert_eq!(
        (first.op.as_str(), &first.element[..], first.phase),
        ("ln", &[1, 0][..], wengert::ir::Phase::Forward)
    );
    assert!(first.value.is_nan() && first.result.nan == 1 && first.spread >= 1, "{first}");
    assert_eq!((first.operands[0].least, first.operands[0].most), (-0.75, 4.0));
    let text = first.to_string();
    assert!(text.contains("errors.rs") && text.contains("logs") && text.contains("-7.5e-1 to 4e0"), "{text}");
    // −∞ forward, and ∞ backward: both at the logarithm.
    let found = at([[2.0, 1.0], [3.0, 5.0]]);
    assert_eq!(found.iter().map(|f| f.op.as_str()).collect::<Vec<_>>(), ["ln", "ln"], "{found:?}");
    assert_eq!(found[0].value, f64::NEG_INFINITY);
    assert_eq!(found[1].phase, wengert::ir::Phase::Cotangent);
    // What comes in is told, and what it does is not told again.
    let found = at([[2.0, f64::NAN], [3.0, 5.0]]);
    assert_eq!(found[0].op, "input 0");
    assert_eq!(found.len(), 1, "{found:?}");
}
