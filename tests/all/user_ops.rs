//! Ops of other crates: first class where they keep the rules, errors where they do not.

use ndarray::array;
use wengert::ir::{
    Attrs, Body, Call, Contribution, Custom, Discrete, Elementwise, Form, Kernel, Linear, Op, Opaque,
    Partial, Primitive, ResultTypes, Scalar, Tangents, Vars,
};
use wengert::{DType::F64, ErrorKind, Fault, Lane, Program, Recorder, Result, States, TensorType, Var};

/// A linear op that claims to be custom and applies itself to its tangents.
struct Circular;
impl Kernel for Circular {
    fn name(&self) -> &'static str {
        "circular"
    }
    fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        Ok(x.iter().copied().take(1).collect())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let (x, out) = call.unary::<f64, f64>(0)?;
        out.copy_from_slice(x);
        Ok(())
    }
}
impl Custom for Circular {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        Ok(t.iter().map(|t| t.map(|t| y[0].recorder().emit_one(Op::custom(Circular), &[t]))).collect())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Circular), x)
    }
}

/// A reshape to `[elements]` whose transpose forgets to shape back, with a number of blocks that
/// does not divide, and an aliased operand that is not there.
struct Flat {
    uneven: bool,
}
impl Kernel for Flat {
    fn name(&self) -> &'static str {
        "flat"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new()
    }
    fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let flat = wengert::Shape::new(&[x[0].shape.elements()])?;
        Ok(std::iter::once(TensorType::new(x[0].dtype, flat)).collect())
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Opaque(Opaque::default().in_blocks(if self.uneven { 4 } else { 1 }).chunked(70))
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let (x, out) = call.unary::<f64, f64>(0)?;
        out.copy_from_slice(x);
        Ok(())
    }
}
impl Linear for Flat {
    fn aliases(&self) -> Option<usize> {
        self.uneven.then_some(7)
    }
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct)
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::linear(Flat { uneven: self.uneven }), x)
    }
}

#[test]
fn ops_that_misbehave_are_errors() {
    let t = Recorder::default();
    let x = t.constant(array![1.0, 2.0]);
    let y = t.emit_one(Op::custom(Circular), &[x]);
    let _ = y.sum(()).gradients([x]);
    assert!(matches!(t.check().unwrap_err().kind(), ErrorKind::NoRule(_)), "{:?}", t.check());

    let t = Recorder::default();
    let x = t.constant(array![[1.0, 2.0]]);
    let y = t.emit_one(Op::linear(Flat { uneven: false }), &[x]);
    let _ = y.sum(()).gradients([x]);
    let error = t.check().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed(_)) && error.op() == Some("flat"), "{error}");

    let t = Recorder::default();
    let x = t.constant(array![[1.0, 2.0]]);
    t.vmap(&[(x, Some(0))], |x| vec![t.emit_one(Op::linear(Flat { uneven: false }), &[x[0]])]);
    assert_eq!(t.check().unwrap_err().op(), Some("flat"));

    let uneven = Program::record(&States::new(), |t| {
        let x = t.input(F64, [2, 3]);
        t.outputs(t.emit_one(Op::linear(Flat { uneven: true }), &[x]))
    });
    assert!(matches!(uneven.unwrap_err().kind(), ErrorKind::Malformed(_)));
    let nowhere = Program::record(&States::new(), |t| {
        let x = t.input(F64, [2, 4]);
        t.outputs(t.emit_one(Op::linear(Flat { uneven: true }), &[x]))
    });
    assert!(nowhere.is_ok());

    // The gradient by the result of an op without a rule needs no rule of it.
    let t = Recorder::default();
    let y = t.emit_one(Op::custom(Circular), &[t.constant(array![3.0])]);
    let g = (y * y).sum(()).gradients([y]);
    assert_eq!(g[y].value().unwrap().to_f64(), [6.0]);

    let huge = Program::record(&States::new(), |t| {
        t.outputs(t.full(F64, [1 << 50], 1.0) + t.full(F64, [1 << 50], 1.0))
    });
    assert!(matches!(huge.unwrap().workspace().err().unwrap().kind(), ErrorKind::Memory { .. }));
}

/// `x ↦ slope·x` below zero, `x` above: a user's op with plain data.
#[derive(Clone, Copy)]
struct Leaky {
    slope: f64,
}
impl Elementwise<1> for Leaky {
    fn name(&self) -> &'static str {
        "leaky"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("slope", wengert::ir::Attr::Float(self.slope))
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        L::select(x.lt(L::splat(0.0)), x * L::splat(self.slope), x)
    }
    fn partial<'t>(&self, _: usize, [x]: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
        Partial::Factor(x.lt(0.0).select(x.fill(self.slope), 1.0))
    }
}
impl wengert::Registered for Leaky {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { slope: attrs.f64("slope")? })
    }
    fn sample(s: &mut wengert::Sampler) -> (Self, Vec<wengert::Spec>) {
        (Self { slope: s.unit() }, vec![wengert::Spec::float(s.shape(2), wengert::ir::Domain::NonZero)])
    }
}

#[test]
fn ops_of_users_are_first_class() -> Result<()> {
    let mut registry = wengert::Registry::empty();
    registry.elementwise_with::<Leaky, 1>()?;
    wengert::check::check_registry(&registry, 20, 1)?;
    let loaded = registry.find("leaky").unwrap().load(&Leaky { slope: 0.25 }.attrs()).unwrap();
    let t = Recorder::default();
    assert_eq!(t.emit_one(loaded.clone(), &[t.constant(-4.0)]).value()?.item()?, -1.0);
    assert_eq!(loaded, Op::elementwise(Leaky { slope: 0.25 }));
    assert_ne!(loaded, Op::elementwise(Leaky { slope: 0.5 }));
    assert!(registry.find("leaky").unwrap().load(&Attrs::new()).is_err());
    Ok(())
}

/// An op of a random body: exact operations on two numbers, of which earlier results are read long after.
struct Drawn {
    seed: i64,
}
impl Drawn {
    /// The body, and what it is of two numbers.
    fn body(&self, at: [f64; 2]) -> (Body, f64) {
        let (mut b, mut s) = (Body::builder(&[F64; 2]), wengert::Sampler::new(self.seed as u64));
        let mut made = vec![(b.operand(0).unwrap(), at[0]), (b.operand(1).unwrap(), at[1])];
        made.push((b.constant(F64, 0.75).unwrap(), 0.75));
        for _ in 0..4 + s.below(24) {
            let [(x, p), (y, q), (z, r)] = [(); 3].map(|()| made[s.below(made.len())]);
            let choices: [(Primitive, &[Scalar], f64); 7] = [
                (Primitive::Add, &[x, y], p + q),
                (Primitive::Sub, &[x, y], p - q),
                (Primitive::Max, &[x, y], if p > q { p } else { q }),
                (Primitive::Abs, &[x], p.abs()),
                (Primitive::Neg, &[x], -p),
                (Primitive::Floor, &[x], p.floor()),
                (Primitive::Mul, &[x, y], p * q),
            ];
            let (primitive, operands, value) = choices[s.below(choices.len())];
            made.push(if s.below(4) == 0 {
                let less = b.apply(Primitive::Less, &[x, y]).unwrap();
                (b.apply(Primitive::Select, &[less, z, x]).unwrap(), if p < q { r } else { p })
            } else {
                (b.apply(primitive, operands).unwrap(), value)
            });
        }
        // All of them count.
        let sum = |b: &mut wengert::ir::Builder, (x, p): (Scalar, f64), (y, q): (Scalar, f64)| {
            (b.apply(Primitive::Sub, &[x, y]).unwrap(), p - q)
        };
        let (first, rest) = made.split_first().unwrap();
        let (y, value) = rest.iter().fold(*first, |total, &next| sum(&mut b, total, next));
        (b.finish(&[y]).unwrap(), value)
    }
}
impl Kernel for Drawn {
    fn name(&self) -> &'static str {
        "drawn"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("seed", wengert::ir::Attr::Int(self.seed))
    }
    fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        Ok(x[0].into())
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Map(self.body([0.0; 2]).0)
    }
}
impl Discrete for Drawn {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x.iter().copied().take(1).collect()
    }
}

#[test]
fn random_bodies_are_interpreted_as_they_are_written() -> Result<()> {
    for seed in 0..150 {
        // More elements than pass through the interpreter at once, and fewer.
        for len in [1, 7, 600] {
            let mut s = wengert::Sampler::new(!seed);
            let [a, b] = [(); 2].map(|()| (0..len).map(|_| s.unit() - 0.5).collect::<Vec<f64>>());
            let program = Program::record(&States::new(), |t| {
                let x = [t.input(F64, [len]), t.input(F64, [len])];
                t.outputs(t.emit_one(Op::discrete(Drawn { seed: seed as i64 }), &x))
            })?;
            let mut workspace = program.workspace()?;
            let found = program.evaluate(&mut workspace, &States::new(), (&&a[..], &&b[..]))?;
            for (i, &found) in found.slice::<f64>(0)?.iter().enumerate() {
                let due = Drawn { seed: seed as i64 }.body([a[i], b[i]]).1;
                assert!(found == due, "seed {seed}, {i} of {len}: {found}, not {due}");
            }
        }
    }
    Ok(())
}

/// `√x` by a function that refuses what is below zero, as it should not.
struct Refusing;
impl Kernel for Refusing {
    fn name(&self) -> &'static str {
        "refusing"
    }
    fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        Ok(x.iter().copied().collect())
    }
    fn form(&self, x: &[TensorType]) -> Form {
        fn root(x: f64) -> f64 {
            assert!(x >= 0.0, "below zero");
            x.sqrt()
        }
        let call = Primitive::Each(wengert::ir::Function(root));
        Body::of(call, &[x[0].dtype]).map_or_else(Form::Missing, Form::Map)
    }
}
impl Discrete for Refusing {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::discrete(Refusing), x)
    }
}

/// A panic in a function of a user reaches the user, whatever runs it, and leaves the program as it was.
#[test]
fn a_panic_in_a_plain_function_can_be_caught() -> Result<()> {
    for how in [Program::record, Program::record_once] {
        let program = how(&States::new(), |t: &Recorder| {
            let x = t.input(F64, [2]) * 2.0;
            t.outputs(t.emit_one(Op::discrete(Refusing), &[x]) + 1.0)
        })?;
        let mut workspace = program.workspace()?;
        let mut run = |x: [f64; 2]| {
            let run = || program.evaluate(&mut workspace, &States::new(), &x)?.array::<f64, ndarray::Ix1>(0);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        };
        assert!(run([-1.0, 2.0]).is_err());
        assert_eq!(run([2.0, 8.0]).expect("no panic")?, array![3.0, 5.0]);
    }
    Ok(())
}
