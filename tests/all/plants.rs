//! Wrong rules and false claims, planted by a decorator over every registered op: the laws must catch each sort.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;
use wengert::check::check_sample;
use wengert::ir::{
    Algebra, Attrs, Bilinear, Call, Contribution, Custom, Discrete, Domain, ElementwiseOp, IndexMap, Kernel,
    Linear, Op, Partial, Preparation, Prepared, ResultTypes, Strides, Vars, ZeroReason,
};
use wengert::{DType, ErrorKind, Fault, Registry, Sample, Sampler, SliceMut, TensorType, Var};

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
    /// What the kernel claims.
    Infallible,
    Strided,
    Cut,
    Blocks,
    Accumulates,
    Scales,
    Onto,
    /// What the op claims.
    Algebra,
    Map,
    Scaled,
    Contraction,
}

use Wrong::{
    Accumulates, Batch, Blocks, Cut, Doubled, Dropped, Infallible, LaterBlocks, ManyBlocks, Map, Nothing,
    Onto, OwnVjp, Scaled, Scales, SecondOrder, Strided, Swapped, Ties, Transposed, Zero,
};

const ALL: [Wrong; 22] = [
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
    Strided,
    Cut,
    Blocks,
    Accumulates,
    Scales,
    Onto,
    Wrong::Algebra,
    Map,
    Scaled,
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
            fn blocks(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
                let blocks = self.0.blocks(operands, results);
                // Half of the whole for each of two, whatever that means to the kernel.
                let two = results.iter().all(|r| r.shape.elements().is_multiple_of(2)) && blocks == 1;
                if self.1 == Blocks && two { 2 } else { blocks }
            }
            fn cut(&self, i: usize, operands: &[TensorType]) -> bool {
                self.1 == Cut || self.0.cut(i, operands)
            }
            fn scratch(&self, operands: &[TensorType]) -> usize {
                self.0.scratch(operands)
            }
            fn prepared(&self, operands: &[TensorType]) -> Option<Prepared> {
                self.0.prepared(operands)
            }
            fn prepare(&self, call: Preparation<'_, '_>) -> Result<(), Fault> {
                self.0.prepare(call)
            }
            fn infallible(&self) -> bool {
                self.1 == Infallible || self.0.infallible()
            }
            fn work(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
                self.0.work(operands, results)
            }
            fn strided(&self, operands: &[TensorType], strides: &[Option<Strides>]) -> bool {
                self.1 == Strided || self.0.strided(operands, strides)
            }
            fn accumulates(&self) -> bool {
                self.1 == Accumulates || self.0.accumulates()
            }
            fn scales(&self) -> bool {
                self.1 == Scales || self.0.scales()
            }
            fn onto(&self) -> Option<usize> {
                if self.1 == Onto { Some(0) } else { self.0.onto() }
            }
            fn pointwise(&self) -> bool {
                self.0.pointwise()
            }
            fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
                let Call { operands, results, scratch, prepared, blocks, level, beta, alpha } = call;
                let wrong = match self.1 {
                    LaterBlocks => blocks.start > 0,
                    ManyBlocks => blocks.start > 0 && blocks.len() > 1,
                    _ => false,
                };
                let blocks = if self.1 == Blocks && blocks.len() == 2 { 0..1 } else { blocks };
                let results = &mut *results;
                self.0.eval(Call { operands, results: &mut *results, scratch, prepared, blocks, level, beta, alpha })?;
                if wrong {
                    results.iter_mut().for_each(|r| negate(&mut r.data));
                }
                Ok(())
            }
        }
    )+};
}
same_kernel!(dyn ElementwiseOp; dyn Discrete; dyn Linear; dyn Bilinear; dyn Custom);

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
            Transposed if right.rank() == 2 => right.t().reshape(right.shape()),
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
    fn index_map(&self, operand: &TensorType) -> Option<IndexMap> {
        if self.1 == Map { Some(IndexMap::Scale(-1.5)) } else { self.0.index_map(operand) }
    }
    fn scaled(&self, factor: f64) -> Option<Op> {
        let own = || Op::Linear(Arc::new(Planted(self.0.clone(), Nothing)));
        if self.1 == Scaled { Some(own()) } else { self.0.scaled(factor) }
    }
    fn linear_in(&self, i: usize) -> bool {
        self.0.linear_in(i)
    }
    fn transpose<'t>(&self, i: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        let first = (0..3).find(|&i| self.0.linear_in(i)).unwrap_or(0);
        match self.0.transpose(i, cts, x) {
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
    fn contraction(&self) -> Option<wengert::ir::Contraction<'_>> {
        let right = self.0.contraction()?;
        let spoiled = wengert::ir::Contraction { lhs: right.rhs, rhs: right.lhs, ..right };
        Some(if self.1 == Wrong::Contraction { spoiled } else { right })
    }
    fn gates(&self) -> u64 {
        self.0.gates()
    }
    fn gated(&self, gates: u64) -> Option<Op> {
        self.0.gated(gates)
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Var<'t> {
        let right = self.spoil(i, self.0.transpose(i, ct, &self.once(x)));
        let square = right.rank() == 2 && right.dim(0) == right.dim(1);
        if self.1 == Swapped && square { right.t() } else { right }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
}

type Tangents<'t> = SmallVec<[Option<Var<'t>>; 2]>;

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
    let (blocks, float) = (kernel.blocks(types, &results), results[0].dtype.is_float());
    let elements = results[0].shape.elements();
    let discrete = matches!(op, Op::Discrete(_));
    let two = matches!(op, Op::Elementwise(f) if f.arity() == 2);
    match wrong {
        Nothing => false,
        Zero | Doubled | Dropped => !discrete,
        // Symmetric functions have equal partials.
        Swapped => (two && op.name() != "add") || matches!(op, Op::Bilinear(_)),
        Transposed => matches!(op, Op::Bilinear(_)),
        Batch => !matches!(op, Op::Elementwise(_)),
        Ties => two,
        SecondOrder => {
            matches!(op, Op::Bilinear(_)) || ["exp", "tanh", "mul", "div", "ln", "sqrt"].contains(&op.name())
        }
        OwnVjp => matches!(op, Op::Custom(_)),
        LaterBlocks | ManyBlocks => blocks > 2 && elements > 0,
        Infallible => !kernel.infallible(),
        Strided => elements > 1 && !matches!(op, Op::Bilinear(_)) && types[0].shape.elements() > 1,
        Cut => blocks > 1 && (0..types.len()).any(|i| !kernel.cut(i, types) && types[i].shape.elements() > 1),
        Blocks => blocks == 1 && elements > 1 && elements.is_multiple_of(2),
        Accumulates => !kernel.accumulates() && float && elements > 0 && results.len() == 1,
        Scales => kernel.accumulates() && !kernel.scales() && elements > 0,
        Onto => kernel.onto().is_none() && elements > 0,
        Wrong::Algebra => two && elements > 0,
        Map => matches!(op, Op::Linear(_)) && float && elements > 0,
        Scaled => matches!(op, Op::Linear(f) if f.scaled(2.0).is_none()) && float && elements > 0,
        Wrong::Contraction => matches!(op, Op::Bilinear(f) if f.contraction().is_some()) && elements > 0,
    }
}

fn types(sample: &Sample) -> Vec<TensorType> {
    let mut sampler = Sampler::new(0);
    sample.operands.iter().map(|s| s.draw(DType::F64, &mut sampler).ty()).collect()
}

#[test]
fn every_plant_is_caught() {
    let mut counts: BTreeMap<Wrong, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for entry in Registry::builtin().entries() {
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
    for entry in Registry::builtin().entries() {
        for seed in 0..6 {
            let sample = entry.sample(&mut Sampler::new(seed));
            let harmless = Sample { op: decorate(&sample.op, Nothing), operands: sample.operands };
            check_sample(&harmless, seed).unwrap_or_else(|e| panic!("{}, seed {seed}: {e}", entry.name));
        }
    }
}
