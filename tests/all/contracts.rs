//! What rules, axes, attributes and bound arrays of users may get wrong: an error that says so, each time.

use ndarray::array;
use wengert::DType::{self, F64};
use wengert::ir::{Attr, Attrs, Call, Contribution, Kernel, Linear, Op, ResultTypes, Vars};
use wengert::{
    Axes, ErrorKind, Fault, Program, Recorder, Registry, Result, SliceMut, States, TensorType, Var,
};

/// An op whose rule takes its own derivative: `x`, said in a circle.
struct Circle;
impl Kernel for Circle {
    fn name(&self) -> &'static str {
        "test::circle"
    }
    fn infer(&self, x: &[TensorType]) -> std::result::Result<ResultTypes, ErrorKind> {
        Ok(x.iter().copied().take(1).collect())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> std::result::Result<(), Fault> {
        let (x, out) = call.unary::<f64, f64>(0)?;
        out.copy_from_slice(x);
        Ok(())
    }
}
impl Linear for Circle {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let t = x[0].recorder();
        let y = t.emit_one(Op::linear(Circle), &[x[0]]);
        Contribution::Whole(t.vjp(&[(y, ct)], &[x[0]])[0])
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        // No result at all.
        x.iter().copied().take(0).collect()
    }
}

#[test]
fn rules_that_never_end_or_give_too_little_are_errors() {
    let t = Recorder::default();
    let x = t.constant(array![1.0, 2.0]);
    let y = t.emit_one(Op::linear(Circle), &[x]).sum(());
    let _ = y.gradients([x]);
    assert!(matches!(t.check().unwrap_err().kind(), ErrorKind::NoRule(_)));
    let t = Recorder::default();
    let x = t.constant(array![[1.0, 2.0]]);
    let _ = t.vmap(&[(x, Some(0))], |x| vec![t.emit_one(Op::linear(Circle), &[x[0]])]);
    let error = t.check().unwrap_err();
    assert!(error.to_string().contains("0 results, not of 1"), "{error}");
}

/// An op that maps itself over every batch.
struct Mapped;
impl Kernel for Mapped {
    fn name(&self) -> &'static str {
        "test::mapped"
    }
    fn infer(&self, x: &[TensorType]) -> std::result::Result<ResultTypes, ErrorKind> {
        Ok(x.iter().copied().take(1).collect())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> std::result::Result<(), Fault> {
        let (x, out) = call.unary::<f64, f64>(0)?;
        out.copy_from_slice(x);
        Ok(())
    }
}
impl Linear for Mapped {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct)
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        let t = x[0].recorder();
        let all = t.vmap(&[(x[0], Some(0))], |x| vec![t.emit_one(Op::linear(Mapped), &[x[0]])]);
        std::iter::once(all[0]).collect()
    }
}

#[test]
fn a_batch_that_never_ends_is_an_error() {
    let t = Recorder::default();
    let x = t.constant(array![[1.0, 2.0]]);
    let _ = t.vmap(&[(x, Some(0))], |x| vec![t.emit_one(Op::linear(Mapped), &[x[0]])])[0];
    assert!(matches!(t.check().unwrap_err().kind(), ErrorKind::NoRule(_)));
}

#[test]
fn attributes_that_an_op_does_not_have_are_errors() -> Result<()> {
    let registry = Registry::builtin();
    let scale = registry.find("scale").expect("a builtin op");
    let attrs = Attrs::new().with("factor", Attr::Float(2.0));
    assert!(scale.load(&attrs).is_ok());
    let error = scale.load(&attrs.with("shift", Attr::Float(1.0))).unwrap_err();
    assert!(error.to_string().contains("shift"), "{error}");
    Ok(())
}

#[test]
fn orders_and_axes_that_are_none() {
    struct Far;
    impl Axes for Far {
        fn resolve(&self, _: usize) -> std::result::Result<wengert::ir::List<usize>, ErrorKind> {
            Ok([5, 2, 2].into_iter().collect())
        }
    }
    type Wrong = for<'t> fn(Var<'t>) -> Var<'t>;
    let wrong: [Wrong; 6] = [
        |x| x.permute([usize::MAX, 0]),
        |x| x.permute([0, 0]),
        |x| x.mean(Far),
        |x| x.max(Far),
        |x| x.sum(Far),
        |x| x.logsumexp(Far),
    ];
    for wrong in wrong {
        let t = Recorder::default();
        let _ = wrong(t.constant(array![[1.0, 2.0], [3.0, 4.0]]));
        let error = t.check().unwrap_err();
        assert!(error.to_string().contains("axis") || error.to_string().contains("order"), "{error}");
    }
}

#[test]
fn truth_is_zero_or_one() -> Result<()> {
    // The bytes of a truth value can only be reached in a store, from where a tensor takes them along.
    let mut states = States::new();
    let state = states.add("maybe", array![true, false])?;
    if let SliceMut::Bool(bytes) = states.data_mut(state)? {
        bytes[1] = 2;
    }
    let maybe = states.get(state)?.clone();
    let program = Program::record(&States::new(), |t| t.outputs(t.input(DType::Bool, [2]).cast(F64)))?;
    let error =
        program.evaluate(&mut program.workspace()?, &States::new(), (&maybe,)).err().expect("a wrong array");
    assert!(error.to_string().contains("truth value"), "{error}");
    Ok(())
}
