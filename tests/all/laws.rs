//! The laws over the whole registry, and planted wrong rules that they must catch.

use std::sync::Arc;

use proptest::prelude::*;
use smallvec::SmallVec;
use wengert::check::{check_entry, check_registry, check_sample};
use wengert::ir::{
    Algebra, Attrs, Bilinear, Call, Contribution, Custom, Domain, ElementwiseOp, Kernel, Linear, Op, Partial,
    ResultTypes, Vars,
};
use wengert::{ErrorKind, Fault, Registry, Sample, Sampler, TensorType, Var};

/// Cases in which a planted rule must be caught.
const CASES: u64 = 40;

#[test]
fn every_registered_op_keeps_the_laws() {
    check_registry(&Registry::builtin(), u64::from(crate::cases(40)), 2026).unwrap();
}

proptest! {
    #![proptest_config(crate::random_cases(256))]

    /// Gradients of every op, of both orders and modes, at any sample of its domain.
    #[test]
    fn gradients_of_any_op_at_any_sample(op in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let registry = Registry::builtin();
        let entry = op.get(registry.entries());
        if let Err(e) = check_entry(entry, seed) {
            prop_assert!(false, "{}", e);
        }
    }
}

/// How a rule is made wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Zero,
    Doubled,
    Dropped,
    Swapped,
    Batch,
}

/// An op with a wrong rule.
struct Planted<T: ?Sized>(Arc<T>, Wrong);

/// The first operand that a linear op is linear in.
fn first_linear(op: &dyn Linear) -> usize {
    (0..3).find(|&i| op.linear_in(i)).unwrap_or(0)
}

macro_rules! same_kernel {
    ($T:ty) => {
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
            fn scratch(&self, operands: &[TensorType]) -> usize {
                self.0.scratch(operands)
            }
            fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
                // One block, which is the whole: the decorated kernel wants its own count.
                let results: Vec<TensorType> = call.results.iter().map(|r| *r.ty).collect();
                let operands: Vec<TensorType> = call.operands.iter().map(|o| *o.ty).collect();
                call.blocks = 0..self.0.blocks(&operands, &results);
                self.0.eval(call)
            }
        }
    };
}
same_kernel!(dyn ElementwiseOp);
same_kernel!(dyn Linear);
same_kernel!(dyn Bilinear);
same_kernel!(dyn Custom);

impl<T: ?Sized> Planted<T> {
    /// A wrong version of a right (co)tangent of operand `i`.
    fn spoil<'t>(&self, i: usize, right: Var<'t>) -> Var<'t> {
        match self.1 {
            Wrong::Zero => right.fill(0.0),
            Wrong::Doubled => right * 2.0,
            Wrong::Dropped if i == 0 => right.fill(0.0),
            _ => right,
        }
    }
    /// A batch whose examples are turned round.
    fn spoil_batch<'t>(&self, right: Vars<'t>) -> Vars<'t> {
        if self.1 != Wrong::Batch {
            return right;
        }
        right.into_iter().map(|y| y.slice_step(0, y.dim(0) - 1, -1, y.dim(0))).collect()
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
        self.0.algebra()
    }
    fn partial<'t>(&self, i: usize, x: &[Var<'t>], y: Var<'t>) -> Partial<'t> {
        let i = if self.1 == Wrong::Swapped { x.len() - 1 - i } else { i };
        match self.0.partial(i, x, y) {
            Partial::One => Partial::Factor(self.spoil(i, y.fill(1.0))),
            Partial::Scale(c) => Partial::Factor(self.spoil(i, y.fill(c))),
            Partial::Factor(f) => Partial::Factor(self.spoil(i, f)),
            Partial::Masked { mask, factor } => {
                let factor = factor.unwrap_or_else(|| y.fill(1.0));
                Partial::Factor(self.spoil(i, mask.select(factor, 0.0)))
            }
            Partial::Gate(f) => Partial::Factor(self.spoil(i, f)),
        }
    }
}

impl Linear for Planted<dyn Linear> {
    fn linear_in(&self, i: usize) -> bool {
        self.0.linear_in(i)
    }
    fn transpose<'t>(&self, i: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        match self.0.transpose(i, cts, x) {
            Contribution::Whole(ct) => Contribution::Whole(self.spoil(i - first_linear(&*self.0), ct)),
            Contribution::Placed { op, part, place } => {
                Contribution::Placed { op, part: self.spoil(i - first_linear(&*self.0), part), place }
            }
        }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
}

impl Bilinear for Planted<dyn Bilinear> {
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Var<'t> {
        let right = self.spoil(i, self.0.transpose(i, ct, x));
        let square = right.rank() == 2 && right.dim(0) == right.dim(1);
        if self.1 == Wrong::Swapped && square { right.t() } else { right }
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
    ) -> Result<SmallVec<[Option<Var<'t>>; 2]>, ErrorKind> {
        let right = self.0.jvp(x, y, t)?;
        Ok(right.into_iter().enumerate().map(|(i, t)| t.map(|t| self.spoil(i, t))).collect())
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        self.spoil_batch(self.0.batched(x, batched))
    }
}

fn plant(op: &Op, wrong: Wrong) -> Option<Op> {
    let own_rule = !matches!(wrong, Wrong::Swapped);
    Some(match op {
        Op::Elementwise(f) if wrong != Wrong::Batch && (own_rule || f.arity() == 2) => {
            Op::Elementwise(Arc::new(Planted(f.clone(), wrong)))
        }
        Op::Linear(f) if own_rule => Op::Linear(Arc::new(Planted(f.clone(), wrong))),
        Op::Bilinear(f) => Op::Bilinear(Arc::new(Planted(f.clone(), wrong))),
        Op::Custom(f) if own_rule => Op::Custom(Arc::new(Planted(f.clone(), wrong))),
        _ => return None,
    })
}

#[test]
fn every_planted_wrong_rule_is_caught() {
    let mut planted = 0;
    for entry in Registry::builtin().entries() {
        for wrong in [Wrong::Zero, Wrong::Doubled, Wrong::Dropped, Wrong::Swapped, Wrong::Batch] {
            // Symmetric functions have equal partials, so swapping them is no error.
            let symmetric = wrong == Wrong::Swapped && entry.name == "add";
            if symmetric || plant(&entry.sample(&mut Sampler::new(0)).op, wrong).is_none() {
                continue;
            }
            planted += 1;
            let caught = (0..CASES).find(|&seed| {
                let sample = entry.sample(&mut Sampler::new(seed));
                let op = plant(&sample.op, wrong).unwrap_or(sample.op);
                check_sample(&Sample { op, operands: sample.operands }, seed).is_err()
            });
            assert!(caught.is_some(), "{wrong:?} in {} was not caught", entry.name);
        }
    }
    assert!(planted > 100, "only {planted} wrong rules were planted");
}

#[test]
fn the_laws_themselves_pass_through_the_decorator() {
    // Without this, the test above would pass if the decorator alone broke a law.
    for entry in Registry::builtin().entries() {
        for seed in 0..4 {
            let sample = entry.sample(&mut Sampler::new(seed));
            let harmless = match &sample.op {
                Op::Elementwise(f) => Op::Elementwise(Arc::new(Planted(f.clone(), Wrong::Batch))),
                Op::Linear(f) => Op::Linear(Arc::new(Planted(f.clone(), Wrong::Swapped))),
                Op::Custom(f) => Op::Custom(Arc::new(Planted(f.clone(), Wrong::Swapped))),
                // A contraction's wrong transpose shows for square operands only; none is planted here.
                other => other.clone(),
            };
            check_sample(&Sample { op: harmless, operands: sample.operands }, seed).unwrap();
        }
    }
}
