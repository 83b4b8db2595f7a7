//! Wrong rules and false claims, planted by a decorator over every registered op: the laws must catch each sort.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;
use wengert::check::check_sample;
use wengert::ir::{
    Algebra, Attrs, Bilinear, Body, Call, Contraction, Contribution, Custom, Discrete, Domain, ElementwiseOp,
    Form, IndexMap, Indexed, Kernel, Linear, Monoid, Op, Opaque, Partial, Primitive, Reduction, ResultTypes,
    Scalar, Tangents, Vars, ZeroReason,
};
use wengert::{DType, ErrorKind, Fault, Registry, Sample, Sampler, Shape, SliceMut, Spec, TensorType, Var};

/// Cases in which a plant must be caught.
const CASES: u64 = 60;

/// What is made wrong.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Eq, Ord)]
enum Wrong {
    /// Nothing: the decorator itself keeps the laws.
    Nothing,
    /// The rules: derivatives of one operand or all, and batches.
    Zero,
    Doubled,
    Dropped,
    Swapped,
    Transposed,
    Batch,
    /// The rules where numbers are equal, at second order, and a vjp of its own.
    Ties,
    SecondOrder,
    OwnVjp,
    /// The numbers of ranges of blocks that do not begin with the first, and of more than one block.
    LaterBlocks,
    ManyBlocks,
    /// What an opaque op says of itself.
    Infallible,
    Cut,
    Blocks,
    /// What an op says that it computes, or is to algebra.
    Algebra,
    Body,
    Map,
    Monoid,
    Contraction,
}

use Wrong::{
    Batch, Blocks, Cut, Doubled, Dropped, Infallible, LaterBlocks, ManyBlocks, Map, Nothing, OwnVjp,
    SecondOrder, Swapped, Ties, Transposed, Zero,
};

const ALL: [Wrong; 19] = [
    Zero,
    Doubled,
    Dropped,
    Swapped,
    Transposed,
    Batch,
    Ties,
    SecondOrder,
    OwnVjp,
    LaterBlocks,
    ManyBlocks,
    Infallible,
    Cut,
    Blocks,
    Wrong::Algebra,
    Wrong::Body,
    Map,
    Wrong::Monoid,
    Wrong::Contraction,
];

/// An op with something wrong.
struct Planted<T: ?Sized>(Arc<T>, Wrong);

macro_rules! same_kernel {
    ($($T:ty);+) => {$(
        impl Kernel for Planted<$T> {
            fn name(&self) -> &'static str {
                self.0.name()
            }
            fn attrs(&self) -> Attrs {
                self.0.attrs()
            }
            fn infer(&self, operands: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
                self.0.infer(operands)
            }
            fn form(&self, operands: &[TensorType]) -> Form {
                spoiled(self.0.form(operands), operands, self.1)
            }
            fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
                let Call { operands, results, scratch, blocks, isa } = call;
                let wrong = match self.1 {
                    LaterBlocks => blocks.start > 0,
                    ManyBlocks => blocks.start > 0 && blocks.len() > 1,
                    _ => false,
                };
                let blocks = if self.1 == Blocks && blocks.len() == 2 { 0..1 } else { blocks };
                self.0.eval(Call { operands, results: &mut *results, scratch, blocks, isa })?;
                if wrong {
                    results.iter_mut().for_each(|r| negate(&mut r.data));
                }
                Ok(())
            }
        }
    )+};
}
same_kernel!(dyn ElementwiseOp; dyn Discrete; dyn Linear; dyn Bilinear; dyn Custom);

/// A form of other numbers, or that says more of an opaque op than is so.
fn spoiled(right: Form, operands: &[TensorType], wrong: Wrong) -> Form {
    match (wrong, right) {
        (Wrong::Body, Form::Map(body)) => Form::Map(squared(&body).unwrap_or(body)),
        (Map, Form::View(map)) => Form::View(reversed(map, operands[0].shape)),
        (Map, Form::Indexed(Indexed::AddPart(map))) => {
            Form::Indexed(Indexed::AddPart(reversed(map, operands[1].shape)))
        }
        (Wrong::Monoid, Form::Reduce(r)) => {
            let monoid = if r.monoid == Monoid::Sum { Monoid::Max } else { Monoid::Sum };
            Form::Reduce(Reduction { monoid, ..r })
        }
        (Wrong::Contraction, Form::Contract(c)) => {
            Form::Contract(Contraction { lhs: c.rhs, rhs: c.lhs, ..c })
        }
        (Infallible, Form::Opaque(opaque)) => Form::Opaque(opaque.infallible()),
        (Cut, Form::Opaque(opaque)) => Form::Opaque(opaque.chunked(0).chunked(1).chunked(2)),
        // Half of the whole for each of two, whatever that means to the kernel.
        (Blocks, Form::Opaque(opaque)) => Form::Opaque(opaque.in_blocks(2)),
        (_, right) => right,
    }
}

/// A body whose first result, a float, is the square of what it was.
fn squared(body: &Body) -> Option<Body> {
    let mut b = Body::builder(body.operands());
    let mut made: Vec<Scalar> = Vec::new();
    let place = |b: &mut wengert::ir::Builder, made: &[Scalar], x: Scalar| match x {
        Scalar::Operand(i) => b.operand(i.into()).ok(),
        Scalar::Constant(i) => {
            let c = body.constants()[usize::from(i)];
            b.constant(c.dtype, c.value).ok()
        }
        Scalar::Instruction(i) => made.get(usize::from(i)).copied(),
    };
    for i in body.instructions() {
        let x: Option<Vec<Scalar>> =
            i.operands[..i.primitive.arity()].iter().map(|&x| place(&mut b, &made, x)).collect();
        made.push(b.apply(i.primitive, &x?).ok()?);
    }
    let mut y: Vec<Scalar> =
        body.results().iter().map(|&y| place(&mut b, &made, y)).collect::<Option<_>>()?;
    y[0] = b.apply(Primitive::Mul, &[y[0], y[0]]).ok()?;
    b.finish(&y).ok()
}

/// The map that reads the same elements in the opposite order.
fn reversed(map: IndexMap, of: Shape) -> IndexMap {
    let reach = of.iter().zip(map.strides).map(|(&d, s)| (d as isize - 1).max(0) * s).sum::<isize>();
    IndexMap { offset: map.offset + reach, strides: map.strides.map(|s| -s) }
}

fn negate(numbers: &mut SliceMut<'_>) {
    match numbers {
        SliceMut::F32(x) => x.iter_mut().for_each(|x| *x = -*x - 1.0),
        SliceMut::F64(x) => x.iter_mut().for_each(|x| *x = -*x - 1.0),
        SliceMut::U8(x) => x.iter_mut().for_each(|x| *x = !*x),
        SliceMut::U32(x) => x.iter_mut().for_each(|x| *x = !*x),
        SliceMut::I64(x) => x.iter_mut().for_each(|x| *x = !*x),
        SliceMut::Bool(x) => x.iter_mut().for_each(|x| *x ^= 1),
    }
}

impl<T: ?Sized> Planted<T> {
    /// A wrong version of a right (co)tangent of operand `i`.
    fn spoil<'t>(&self, i: usize, right: Var<'t>) -> Var<'t> {
        match self.1 {
            Zero => right.fill(0.0),
            Doubled => right * 2.0,
            Dropped if i == 0 => right.fill(0.0),
            Transposed if right.rank() >= 2 => right.swap_axes(-1, -2).reshape(right.shape()),
            _ => right,
        }
    }
    /// A batch whose examples are turned round.
    fn spoil_batch<'t>(&self, right: Vars<'t>) -> Vars<'t> {
        if self.1 != Batch {
            return right;
        }
        right.into_iter().map(|y| y.slice_step(0, y.dim(0) - 1, -1, y.dim(0))).collect()
    }
    /// Values that no second derivative goes through.
    fn once<'t>(&self, x: &[Var<'t>]) -> SmallVec<[Var<'t>; 3]> {
        x.iter()
            .map(|x| if self.1 == SecondOrder && x.dtype().is_float() { x.stop_gradient() } else { *x })
            .collect()
    }
}

impl ElementwiseOp for Planted<dyn ElementwiseOp> {
    fn arity(&self) -> usize {
        self.0.arity()
    }
    fn domain(&self, i: usize) -> Domain {
        self.0.domain(i)
    }
    fn algebra(&self) -> Algebra {
        match (self.1, self.0.algebra()) {
            (Wrong::Algebra, Algebra::Sum) => Algebra::Product,
            (Wrong::Algebra, _) => Algebra::Sum,
            (_, algebra) => algebra,
        }
    }
    fn partial<'t>(&self, i: usize, x: &[Var<'t>], y: Var<'t>) -> Partial<'t> {
        let i = if self.1 == Swapped { x.len() - 1 - i } else { i };
        let factor = match (self.0.partial(i, x, y), self.1) {
            (right, Nothing) => return right,
            (right @ Partial::Masked { .. }, wrong) if wrong >= LaterBlocks => return right,
            (Partial::One, _) => y.fill(1.0),
            (Partial::Scale(c), _) => y.fill(c),
            (Partial::Factor(f) | Partial::Gate(f), _) => f,
            (Partial::Masked { mask, factor }, _) => mask.select(factor.unwrap_or_else(|| y.fill(1.0)), 0.0),
            (other, _) => return other,
        };
        let factor = self.spoil(i, self.once(&[factor])[0]);
        let tied = self.1 == Ties && x.len() == 2 && i == 0;
        Partial::Factor(if tied { x[0].eq(x[1]).select(factor * 2.0, factor) } else { factor })
    }
    fn gated<'t>(&self, x: &[Var<'t>], gates: u64) -> Option<Var<'t>> {
        self.0.gated(x, gates)
    }
}

impl Discrete for Planted<dyn Discrete> {
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
    fn reason(&self) -> ZeroReason {
        self.0.reason()
    }
}

impl Linear for Planted<dyn Linear> {
    fn linear_in(&self, i: usize) -> bool {
        self.0.linear_in(i)
    }
    fn aliases(&self) -> Option<usize> {
        self.0.aliases()
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let first = (0..3).find(|&i| self.0.linear_in(i)).unwrap_or(0);
        match self.0.transpose(i, ct, x) {
            Contribution::Whole(ct) => Contribution::Whole(self.spoil(i - first, ct)),
            Contribution::Placed { op, part, place } => {
                Contribution::Placed { op, part: self.spoil(i - first, part), place }
            }
        }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
}

impl Bilinear for Planted<dyn Bilinear> {
    fn gates(&self) -> u64 {
        self.0.gates()
    }
    fn gated(&self, gates: u64) -> Option<Op> {
        self.0.gated(gates)
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Var<'t> {
        let right = self.spoil(i, self.0.transpose(i, ct, &self.once(x)));
        let square = right.rank() >= 2 && right.dim(right.rank() - 1) == right.dim(right.rank() - 2);
        if self.1 == Swapped && square { right.swap_axes(-1, -2) } else { right }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
}

impl Custom for Planted<dyn Custom> {
    fn differentiable_in(&self, i: usize) -> bool {
        self.0.differentiable_in(i)
    }
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let right = self.0.jvp(&self.once(x), &self.once(y), t)?;
        Ok(right.into_iter().enumerate().map(|(i, t)| t.map(|t| self.spoil(i, t))).collect())
    }
    fn vjp<'t>(&self, x: &[Var<'t>], y: &[Var<'t>], cts: &[Option<Var<'t>>]) -> Option<Tangents<'t>> {
        match (self.1, self.0.vjp(x, y, cts)) {
            (OwnVjp, Some(own)) => Some(own.into_iter().map(|ct| ct.map(|ct| ct * 2.0)).collect()),
            (OwnVjp, None) => Some(x.iter().map(|x| x.dtype().is_float().then(|| x.fill(0.25))).collect()),
            // The others spoil the rule that it would be made of.
            (wrong, own) if wrong == Nothing || wrong >= LaterBlocks => own,
            _ => None,
        }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
}

fn decorate(op: &Op, wrong: Wrong) -> Op {
    match op {
        Op::Elementwise(f) => Op::Elementwise(Arc::new(Planted(f.clone(), wrong))),
        Op::Discrete(f) => Op::Discrete(Arc::new(Planted(f.clone(), wrong))),
        Op::Linear(f) => Op::Linear(Arc::new(Planted(f.clone(), wrong))),
        Op::Bilinear(f) => Op::Bilinear(Arc::new(Planted(f.clone(), wrong))),
        Op::Custom(f) => Op::Custom(Arc::new(Planted(f.clone(), wrong))),
        other => other.clone(),
    }
}

/// Whether something is wrong with an op on operands of these types, once it is planted.
fn matters(op: &Op, types: &[TensorType], wrong: Wrong) -> bool {
    let Some(kernel) = op.kernel() else { return false };
    let Ok(results) = kernel.infer(types) else { return false };
    let (elements, float) = (results[0].shape.elements(), results[0].dtype.is_float());
    let form = kernel.form(types);
    let opaque = matches!(form, Form::Opaque(_)) && elements > 1;
    let discrete = matches!(op, Op::Discrete(_));
    let two = matches!(op, Op::Elementwise(f) if f.arity() == 2);
    match wrong {
        Nothing => false,
        Zero | Doubled | Dropped => !discrete,
        // Symmetric functions have equal partials.
        Swapped => (two && op.name() != "add") || matches!(op, Op::Bilinear(_)),
        Transposed => matches!(op, Op::Bilinear(_)),
        Batch => !matches!(op, Op::Elementwise(_)),
        // Operands of domains of their own are never equal, and the derivative of an inverse is 0 where they are.
        Ties => two && !["rem", "xlogy", "inverse"].contains(&op.name()),
        SecondOrder => {
            matches!(op, Op::Bilinear(_)) || ["exp", "tanh", "mul", "div", "ln", "sqrt"].contains(&op.name())
        }
        OwnVjp => matches!(op, Op::Custom(_)),
        // Of all of these at least one sample must break: those of one row alone do not.
        LaterBlocks | ManyBlocks | Blocks => opaque && op.name() != "wary",
        // The others read all of their operands in parts.
        Cut => opaque && op.name() == "uniform",
        Infallible => op.name() == "wary" && elements > 0,
        Wrong::Algebra => two && elements > 0,
        Wrong::Body => matches!(form, Form::Map(_)) && !discrete && float && elements > 0,
        Map => match form {
            Form::View(map) => {
                results[0].shape.iter().zip(map.strides).any(|(&d, s)| d > 1 && s != 0) && elements > 0
            }
            Form::Indexed(Indexed::AddPart(_)) => types[1].shape.elements() > 1,
            _ => false,
        },
        Wrong::Monoid => {
            matches!(form, Form::Reduce(_)) && types[0].shape.elements() > elements && elements > 0
        }
        Wrong::Contraction => matches!(form, Form::Contract(_)) && elements > 0,
    }
}

fn types(sample: &Sample) -> Vec<TensorType> {
    let mut sampler = Sampler::new(0);
    sample.operands.iter().map(|s| s.draw(DType::F64, &mut sampler).ty()).collect()
}

/// An op of its own kernel that fails on negative numbers, and says so.
struct Wary;
impl Kernel for Wary {
    fn name(&self) -> &'static str {
        "wary"
    }
    fn infer(&self, x: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        Ok(x[0].into())
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::Opaque(Opaque::default().in_blocks(x[0].shape.elements()).chunked(0))
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        if let Ok((x, out)) = call.unary::<f32, f32>(0) {
            out.copy_from_slice(x);
            return if x.iter().any(|x| *x < 0.0) { Err(Fault::Custom("negative")) } else { Ok(()) };
        }
        let (x, out) = call.unary::<f64, f64>(0)?;
        out.copy_from_slice(x);
        if x.iter().any(|x| *x < 0.0) { Err(Fault::Custom("negative")) } else { Ok(()) }
    }
}
impl Custom for Wary {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        _: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        Ok(t[0].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Wary), x)
    }
}
impl wengert::Registered for Wary {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::float(s.shape(3), Domain::Positive)])
    }
}

/// The ops of the crate, and one that may fail.
fn subjects() -> Registry {
    let mut registry = Registry::builtin();
    registry.custom::<Wary>().expect("a name of its own");
    registry
}

#[test]
fn every_plant_is_caught() {
    let mut counts: BTreeMap<Wrong, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for entry in subjects().entries() {
        for wrong in ALL {
            let samples = (0..CASES).map(|seed| (seed, entry.sample(&mut Sampler::new(seed))));
            let mut samples = samples.filter(|(_, s)| matters(&s.op, &types(s), wrong)).peekable();
            if samples.peek().is_none() {
                continue;
            }
            let found = samples.any(|(seed, sample)| {
                let planted = Sample { op: decorate(&sample.op, wrong), operands: sample.operands };
                // A kernel that is lied about may also panic.
                !catch_unwind(AssertUnwindSafe(|| check_sample(&planted, seed)))
                    .is_ok_and(|found| found.is_ok())
            });
            let (planted, caught) = counts.entry(wrong).or_default();
            (*planted, *caught) = (*planted + 1, *caught + usize::from(found));
            if !found {
                missed.push((wrong, entry.name));
            }
        }
    }
    for (wrong, (planted, caught)) in &counts {
        println!("{wrong:?}: {planted} planted, {caught} caught");
    }
    assert!(missed.is_empty(), "{missed:?}");
    assert_eq!(counts.len(), ALL.len(), "something of each sort is planted");
}

#[test]
fn the_laws_pass_through_the_decorator() {
    // Without this, the test above would pass if the decorator alone broke a law.
    for entry in subjects().entries() {
        for seed in 0..6 {
            let sample = entry.sample(&mut Sampler::new(seed));
            let harmless = Sample { op: decorate(&sample.op, Nothing), operands: sample.operands };
            check_sample(&harmless, seed).unwrap_or_else(|e| panic!("{}, seed {seed}: {e}", entry.name));
        }
    }
}
