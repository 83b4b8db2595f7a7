//! Inputs of users that once gave wrong numbers, panics or endless loops: each kind with its right answer.

use ndarray::array;
use wengert::ir::{
    Body, Call, Contraction, Contribution, Elementwise, Form, IndexMap, Indexed, Kernel, Linear, Monoid, Op,
    Opaque, Partial, Primitive, Reduction, ResultTypes, Vars,
};
use wengert::{
    DType::{self, F32, F64},
    ErrorKind, Fault, Lane, Program, Recorder, Result, Shape, State, States, Tensor, TensorType, Var,
    ZeroReason,
};

/// An elementwise op of a user's that has the name of one of ours.
#[derive(Clone, Copy)]
struct Sin;
impl Elementwise<1> for Sin {
    fn name(&self) -> &'static str {
        "sin"
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        x + L::splat(1.0)
    }
    fn partial<'t>(&self, _: usize, _: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
        Partial::One
    }
}

/// One that holds data and states none.
struct Plus(f64);
impl Elementwise<1> for Plus {
    fn name(&self) -> &'static str {
        "plus"
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        x + L::splat(self.0)
    }
    fn partial<'t>(&self, _: usize, _: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
        Partial::One
    }
}

#[test]
fn ops_are_told_apart_by_type_and_data() -> Result<()> {
    let program = Program::record(&States::new(), |t| {
        let x = t.input(F64, [2]);
        let apply = |op: Op| t.emit_one(op, &[x]);
        t.outputs([
            x.sin(),
            apply(Op::elementwise(Sin)),
            apply(Op::elementwise(Plus(1.0))),
            apply(Op::elementwise(Plus(2.0))),
        ])
    })?;
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &States::new(), (&array![0.5, 1.5],))?;
    assert_eq!(found.slice::<f64>(0)?[0], 0.5f64.sin());
    assert_eq!([1, 2, 3].map(|i| found.slice::<f64>(i).unwrap()[0]), [1.5, 1.5, 2.5]);
    assert_eq!(Op::elementwise(Sin), Op::elementwise(Sin));
    let op = Op::elementwise(Plus(1.0));
    assert!(op == op.clone() && op != Op::elementwise(Plus(1.0)));
    let mut registry = wengert::Registry::builtin();
    let count = registry.entries().len();
    assert!(count > 37 && registry.elementwise(Sin).is_err() && registry.entries().len() == count);
    Ok(())
}

#[test]
fn outputs_and_states_belong_to_their_recording_and_store() -> Result<()> {
    let mut kept = None;
    Program::record(&States::new(), |t| {
        let outputs = t.outputs(t.input(F64, [2]).exp())?;
        kept = Some(outputs.clone());
        Ok(outputs)
    })?;
    let kept = kept.expect("the closure ran");
    let later = Program::record(&States::new(), |t| {
        let _ = (t.input(F64, [3]), t.input(F64, []));
        Ok(kept)
    });
    assert_eq!(later.unwrap_err().kind(), &ErrorKind::ForeignVar);

    let (mut a, mut b) = (States::new(), States::new());
    let (w, v) = (a.add("w", 1.0)?, b.add("v", 2.0)?);
    let mut snapshot = a.clone();
    assert_eq!((a.get(w)?.item()?, snapshot.get(w)?.item()?), (1.0, 1.0));
    assert!(b.get(w).is_err() && b.set(w, 5.0).is_err() && b.data_mut(w).is_err() && b.name(w).is_none());
    // Added after the snapshot was taken, in the same place.
    let (x, y) = (a.add("x", 3.0)?, snapshot.add("y", 4.0)?);
    assert!(a.get(y).is_err() && snapshot.get(x).is_err());
    let foreign = |state: State| Program::record(&a, |t| t.outputs(t.state(state)));
    assert!(matches!(foreign(v).unwrap_err().kind(), ErrorKind::State(_)) && foreign(w).is_ok());
    Ok(())
}

/// A kernel that says what a test wants it to say.
struct Saying {
    blocks: usize,
    scratch: usize,
    form: Option<Form>,
    fails: bool,
}
const HONEST: Saying = Saying { blocks: 1, scratch: 0, form: None, fails: false };
impl Kernel for Saying {
    fn name(&self) -> &'static str {
        "saying"
    }
    fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        Ok(x.iter().copied().take(1).collect())
    }
    fn form(&self, _: &[TensorType]) -> Form {
        let opaque = || Opaque::default().in_blocks(self.blocks).with_scratch(self.scratch);
        self.form.clone().unwrap_or_else(|| Form::Opaque(opaque()))
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let (x, out) = call.unary::<f64, f64>(0)?;
        out.copy_from_slice(x);
        if self.fails { Err(Fault::Custom("no")) } else { Ok(()) }
    }
}
impl Linear for Saying {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct)
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x.iter().copied().collect()
    }
}

#[test]
fn ops_that_ask_for_the_impossible_are_errors() {
    let try_it = |say: &dyn Fn() -> Saying, shape: &[usize], once: bool| -> Result<()> {
        let record = if once { Program::record_once } else { |s: &States, f| Program::record(s, f) };
        let program = record(&States::new(), |t: &Recorder| {
            let x = t.full(F64, shape, 0.5);
            t.outputs([
                t.emit_one(Op::linear(say()), &[x]),
                t.emit_one(Op::linear(say()), &[t.input(F64, shape)]),
            ])
        })?;
        let mut workspace = program.workspace()?;
        let x = Tensor::filled(TensorType::new(F64, Shape::new(shape)?), 1.0)?;
        program.evaluate(&mut workspace, &States::new(), &[x][..])?;
        Ok(())
    };
    for once in [false, true] {
        // Nothing to compute is no work, however much is asked for.
        try_it(&|| Saying { blocks: usize::MAX, ..HONEST }, &[0, 3], once).unwrap();
        assert!(try_it(&|| Saying { blocks: usize::MAX, ..HONEST }, &[3], once).is_err());
        assert!(try_it(&|| Saying { blocks: 0, ..HONEST }, &[3], once).is_err());
        let huge = try_it(&|| Saying { scratch: usize::MAX / 2 - 63, ..HONEST }, &[3], once).unwrap_err();
        assert!(matches!(huge.kind(), ErrorKind::Memory { .. }), "{huge}");
        // Forms that do not fit the types.
        let map = |offset, stride| {
            let mut map = IndexMap::row_major(Shape::SCALAR);
            (map.offset, map.strides[0]) = (offset, stride);
            map
        };
        let forms = [
            Form::View(map(1, 1)),
            Form::View(map(-1, 1)),
            Form::View(map(0, isize::MAX)),
            Form::View(map(2, -2)),
            Form::Reduce(Reduction { monoid: Monoid::Sum, axis: 0, count: 1 }),
            Form::Reduce(Reduction { monoid: Monoid::Max, axis: 1, count: usize::MAX }),
            Form::Map(Body::of(Primitive::Exp, &[F32]).unwrap()),
            Form::Map(Body::of(Primitive::Equal, &[F64; 2]).unwrap()),
            Form::Contract(Contraction { lhs: b"i".into(), rhs: b"i".into(), out: b"i".into(), gates: 0 }),
            Form::Indexed(Indexed::Gather { batch: 7 }),
            Form::Indexed(Indexed::AddPart(map(0, 1))),
        ];
        for form in forms {
            let error = try_it(&|| Saying { form: Some(form.clone()), ..HONEST }, &[3], once).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Malformed(_)), "{form:?}: {error}");
            assert_eq!(error.op(), Some("saying"));
        }
        let fits = Form::View(map(2, -1));
        assert!(try_it(&|| Saying { form: Some(fits.clone()), ..HONEST }, &[3], once).is_ok());
        assert!(try_it(&|| HONEST, &[3], once).is_ok());
    }
    // The numbers of a recording, too.
    let t = Recorder::default();
    let y = t.emit_one(Op::linear(Saying { scratch: usize::MAX - 7, ..HONEST }), &[t.constant(array![1.0])]);
    assert!(matches!(y.value().unwrap_err().kind(), ErrorKind::Memory { .. }));
}

/// A function of more operations than a body counts.
#[derive(Clone, Copy)]
struct Endless;
impl Elementwise<1> for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        (0..70_000).fold(x, |y, _| y + x)
    }
    fn partial<'t>(&self, _: usize, _: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
        Partial::Scale(70_001.0)
    }
}

#[test]
fn a_function_that_is_too_long_and_a_view_that_lies_are_errors() {
    let error = Program::record(&States::new(), |t| {
        t.outputs(t.emit_one(Op::elementwise(Endless), &[t.input(F64, [2])]))
    });
    let error = error.unwrap_err();
    assert!(error.to_string().contains("65535 operations") && error.op() == Some("endless"), "{error}");
    // Read by a product, which needs no copy of it.
    let error = Program::record(&States::new(), |t| {
        let mut map = IndexMap::row_major(Shape::SCALAR);
        map.strides[..2].copy_from_slice(&[1, isize::MAX / 2]);
        let lies = Op::linear(Saying { form: Some(Form::View(map)), ..HONEST });
        let y = t.emit_one(lies, &[t.input(F64, [20, 20])]);
        t.outputs(y.matmul(t.input(F64, [20, 20])))
    });
    assert_eq!(error.unwrap_err().op(), Some("saying"));
}

#[test]
fn an_op_that_fails_changes_no_state() -> Result<()> {
    let mut states = States::new();
    let w = states.add("w", array![1.0, 2.0])?;
    let step = Program::record(&states, |t| {
        let w = t.state(w);
        t.update(w, w * 0.5);
        let fails = Op::linear(Saying { blocks: 1, fails: true, ..HONEST });
        t.outputs(t.emit_one(fails, &[t.input(F64, [2])]))
    })?;
    let outcome = step.run(&mut step.workspace()?, &mut states, (&array![1.0, 2.0],)).map(drop);
    assert_eq!(outcome.unwrap_err().kind(), &ErrorKind::Fault(Fault::Custom("no")));
    assert_eq!(states.get(w)?.to_f64(), [1.0, 2.0]);
    Ok(())
}

#[test]
fn a_leaf_behind_the_loss_has_a_zero_gradient() {
    let t = Recorder::default();
    let w = t.constant(3.0);
    let loss = w * w;
    let b = t.constant(1.0);
    let g = loss.gradients([w, b]);
    assert_eq!(g.zero_reason(b), Some(ZeroReason::Disconnected));
    assert_eq!((g.zero_reason(w), g[b].value().unwrap().item().unwrap()), (None, 0.0));
    // Many leaves without influence take no longer than the tape: this would take minutes.
    let t = Recorder::default();
    let leaves: Vec<Var<'_>> = (0..4000).map(|i| t.constant(f64::from(i))).collect();
    let mut y = leaves[0];
    for i in 0..40_000 {
        y += leaves[i % 7].stop_gradient().sin();
    }
    let g = y.gradients(leaves.iter().copied());
    assert!(leaves[1..7].iter().all(|&x| g.zero_reason(x) == Some(ZeroReason::StopGradient)));
    assert!(leaves[7..].iter().all(|&x| g.zero_reason(x) == Some(ZeroReason::Disconnected)));
}

#[test]
fn sizes_beyond_counting_are_errors_and_never_wrap() {
    let products: [([usize; 2], [usize; 2]); 4] = [
        ([2, 1 << 58], [1 << 58, 1]),
        ([1 << 9, 1 << 50], [1 << 50, 1 << 9]),
        ([1 << 26, 1 << 26], [1 << 26, 1 << 26]),
        ([1 << 51, 0], [0, 1 << 51]),
    ];
    for (a, b) in products {
        for once in [false, true] {
            let record = if once { Program::record_once } else { |s: &States, f| Program::record(s, f) };
            let outcome = record(&States::new(), |t: &Recorder| {
                let (x, y) = (t.input(F32, a), t.input(F32, b));
                let z = x.matmul(y).relu();
                t.outputs([z, z.sum(()).gradients([x])[x], z.log_softmax(), z.sum(0), z.max(1), z.t().exp()])
            });
            let outcome = outcome.and_then(|program| {
                let _ = (program.memory_report().to_string(), program.plan().to_string());
                program.workspace().map(drop)
            });
            let error = outcome.expect_err("more than there is");
            assert!(matches!(error.kind(), ErrorKind::Memory { .. } | ErrorKind::Shape(_)), "{error}");
        }
    }
}

#[test]
fn tensors_print_their_elements_by_axes() {
    let text = |t: Result<Tensor>| format!("{:?}", t.unwrap());
    assert_eq!(
        text(Tensor::from_array(&array![[1i64, i64::MAX], [3, 4]])),
        "i64[2, 2] [[1, 9223372036854775807], [3, 4]]"
    );
    assert_eq!(text(Tensor::from_array(&array![true, false])), "bool[2] [true, false]");
    assert_eq!(format!("{:?}", Tensor::scalar(2.5f32)), "f32[] 2.5");
    assert_eq!(text(Tensor::new([0, 3], Vec::<f64>::new())), "f64[0, 3] []");
    let long = text(Tensor::new([100], vec![0u8; 100]));
    assert!(long.ends_with("… 36 more"), "{long}");
}

#[test]
fn a_panic_in_a_scope_leaves_it() {
    let t = Recorder::default();
    let panicked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.scope("inner", || panic!("of the user"))));
    assert!(panicked.is_err());
    let _ = t.input(F64, [2]).reshape([3]);
    assert!(!t.check().unwrap_err().to_string().contains("inner"));
}

#[test]
fn more_threads_than_a_workspace_has_are_refused() -> Result<()> {
    let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [2]).exp()))?;
    let error = program.workspace_on(usize::MAX).err().expect("too many");
    assert!(matches!(error.kind(), ErrorKind::Argument(_)) && error.to_string().contains("1024"), "{error}");
    assert!(program.workspace_on(1025).is_err() && program.workspace_on(3).is_ok());
    Ok(())
}

#[test]
fn of_two_faults_the_first_of_the_tape_is_told_by_every_plan() {
    fn record(t: &Recorder) -> Result<wengert::Outputs> {
        let (x, i, j) = (t.input(F64, [4, 1000]), t.input(DType::U8, [1]), t.input(DType::U8, [1]));
        // The second of the tape can run long before the first.
        let late = x.exp().sum(0).sum(0).exp().broadcast_to([3]).gather(i);
        let early = x.gather(j);
        t.outputs([late.sum(()), early.sum(())])
    }
    let x = ndarray::Array2::<f64>::zeros((4, 1000));
    let states = States::new();
    let programs = [
        Program::record(&states, record).unwrap(),
        Program::record_exact(&states, record).unwrap(),
        Program::record_once(&states, record).unwrap(),
    ];
    for program in &programs {
        let mut workspace = program.workspace().unwrap();
        let error = program
            .evaluate(&mut workspace, &states, (&x, &array![7u8], &array![9u8]))
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("index 7"), "{error}");
    }
}

#[test]
fn nans_of_outputs_and_states_have_one_set_of_bits() -> Result<()> {
    let mut states = States::new();
    let w = states.add("w", array![f64::NAN, -f64::NAN, 1.0])?;
    fn record(t: &Recorder, w: State) -> Result<wengert::Outputs> {
        let (x, w) = (t.input(F64, [3]), t.state(w));
        t.update(w, -w * x);
        t.outputs([-x, x * w, -(x.sqrt()), (x - x) * 2.0])
    }
    let programs = [
        Program::record(&states, |t| record(t, w))?,
        Program::record_exact(&states, |t| record(t, w))?,
        Program::record_once(&states, |t| record(t, w))?,
    ];
    let x = array![f64::INFINITY, f64::from_bits(0xfff8_0000_0000_1234), -1.0];
    let mut all = Vec::new();
    for program in &programs {
        let mut own = states.clone();
        let mut workspace = program.workspace()?;
        let found = program.run(&mut workspace, &mut own, (&x,))?;
        let mut bits: Vec<u64> =
            (0..4).flat_map(|i| found.slice::<f64>(i).unwrap().iter().map(|x| x.to_bits())).collect();
        bits.extend(own.get(w)?.as_slice::<f64>()?.iter().map(|x| x.to_bits()));
        assert!(bits.iter().all(|&b| !f64::from_bits(b).is_nan() || b == f64::NAN.to_bits()), "{bits:x?}");
        all.push(bits);
    }
    assert!(all[1] == all[2], "{all:x?}");
    Ok(())
}

#[test]
fn the_gradient_of_many_slices_takes_memory_for_one_array() -> Result<()> {
    let program = Program::record_once(&States::new(), |t| {
        let x = t.input(F64, [2000]);
        let parts = (0..2000).map(|i| x.slice(0, i..i + 1).sin());
        let loss = parts.reduce(|a, b| a + b).expect("parts").sum(());
        t.outputs(loss.gradients([x])[x])
    })?;
    let bytes = program.memory_report().workspace(1);
    assert!(bytes < 1 << 20, "{bytes}");
    let x: Vec<f64> = (0..2000).map(f64::from).collect();
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &States::new(), (&x,))?;
    assert!(found.slice::<f64>(0)?.iter().zip(&x).all(|(g, x)| (g - x.cos()).abs() < 1e-12));
    Ok(())
}

#[test]
fn split_reductions_are_in_the_memory_report() -> Result<()> {
    let mut states = States::new();
    let w = states.add("w", ndarray::Array2::<f32>::zeros((64, 32)))?;
    let step = Program::record(&states, |t| {
        let (x, w) = (t.input(F32, [4096, 64]), t.state(w));
        let y = x.matmul(w).relu();
        t.outputs((y * y).sum(()).gradients([w])[w])
    })?;
    let report = step.memory_report();
    assert!(report.rows.iter().any(|r| r.op.starts_with("partial ")), "{report}");
    assert!(report.rows.iter().all(|r| r.bytes > 0), "{report}");
    Ok(())
}

#[test]
fn gradcheck_finds_small_cuts_and_leaves_kinks_out() {
    use wengert::check::{Options, gradcheck};
    let options = Options { order: 1, ..Options::default() };
    let x = [Tensor::from_array(&array![0.3, -0.8]).unwrap()];
    let cut = gradcheck(|_, x| (x[0].stop_gradient() * x[0]).sum(()) * 1e-8, &x, &options);
    assert!(cut.is_err(), "{cut:?}");
    assert!(gradcheck(|_, x| (x[0] * x[0]).sum(()) * 1e-8, &x, &Options::default()).is_ok());
    let at_kink = [Tensor::from_array(&array![0.0, 0.5]).unwrap()];
    let report = gradcheck(|_, x| (x[0].relu() * 2.0).sum(()), &at_kink, &options).unwrap();
    assert_eq!((report.kinks, report.compared), (1, 1));
    // A wrong rule beside a kink is found.
    assert!(gradcheck(|_, x| (x[0].relu() * x[0].stop_gradient()).sum(()), &at_kink, &options).is_err());
    let error = gradcheck(|_, x| x[0].argmax(0), &x, &options).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotDifferentiable(_)) && error.op() == Some("gradcheck"),
        "{error}"
    );
}
