//! Strategies of `proptest` for shapes, arrays and whole functions, behind the feature `proptest`: what property tests of gradients draw.
//!
//! ```
//! use proptest::prelude::*;
//! use proptest::test_runner::TestRunner;
//! use wengert::check::{Options, gradcheck, strategies};
//!
//! // In a test: `proptest! { #[test] fn … (x in strategies::arrays(…)) { … } }`.
//! let arrays = strategies::arrays(strategies::shapes(2, 4), -1.0..1.0);
//! TestRunner::deterministic()
//!     .run(&arrays, |x| {
//!         let report = gradcheck(|_, x| x[0].softplus().sum(()), &[x], &Options::default());
//!         prop_assert!(report.is_ok(), "{}", report.unwrap_err());
//!         Ok(())
//!     })
//!     .expect("derivatives that are right");
//! ```

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::dtype::DType;
use crate::ir::{Domain, Op, Recorder, Var};
use crate::ops::{Content, Entry, Registry, Sampler, Spec};
use crate::shape::{MAX_RANK, Shape};
use crate::tensor::Tensor;

/// Shapes of up to so many axes, each from 1 up to a size; they shrink to a scalar.
pub fn shapes(axes: usize, size: usize) -> impl Strategy<Value = Shape> + Clone {
    vec(1..=size.max(1), 0..=axes.min(MAX_RANK)).prop_map(|dims| Shape::new(&dims).unwrap_or(Shape::SCALAR))
}

/// Arrays of `f64` of such shapes, with numbers of a range; they shrink to few numbers next to 0, or to its start.
///
/// ```
/// use proptest::prelude::*;
/// use wengert::{Shape, check::strategies};
/// let vectors = strategies::arrays(Just(Shape::new(&[3])?), 0.0..1.0);
/// # let _ = vectors;
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
pub fn arrays(shape: impl Strategy<Value = Shape>, numbers: Range<f64>) -> impl Strategy<Value = Tensor> {
    shape.prop_flat_map(move |shape| {
        vec(numbers.clone(), shape.elements())
            .prop_filter_map("as many numbers", move |numbers| Tensor::new(shape, numbers).ok())
    })
}

/// A random function of arrays over all ops of this crate, well typed by construction: the same seed, the same tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomTape {
    /// What it is drawn by.
    pub seed: u64,
    /// How many ops are drawn; what fits their operands into place comes on top.
    pub ops: usize,
    /// Whether ops with steps and bends are left out: then differences tell the derivatives.
    pub smooth: bool,
}

/// Random functions of up to so many ops; they shrink to fewer.
///
/// ```
/// use proptest::strategy::{Strategy, ValueTree};
/// use proptest::test_runner::TestRunner;
/// use wengert::check::strategies;
/// let tape = strategies::tapes(8, true).new_tree(&mut TestRunner::deterministic()).expect("a tape").current();
/// let t = wengert::Recorder::default();
/// let y = tape.record(&t, &[t.constant([0.3, -0.7]), t.constant([0.2])]);
/// assert!(y.value()?.item()?.is_finite());
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn tapes(most: usize, smooth: bool) -> impl Strategy<Value = RandomTape> {
    (any::<u64>().no_shrink(), 1..=most.max(1)).prop_map(move |(seed, ops)| RandomTape { seed, ops, smooth })
}

impl RandomTape {
    /// Records the function of some arrays of `f64`, at least one: the sum of what its last ops made.
    pub fn record<'t>(&self, t: &'t Recorder, x: &[Var<'t>]) -> Var<'t> {
        let (registry, mut s) = (Registry::builtin(), Sampler::new(self.seed));
        let entries = registry.entries();
        let mut pool = x.to_vec();
        let mut made = 0;
        while made < self.ops && !pool.is_empty() {
            let entry = &entries[s.below(entries.len())];
            let sample = entry.sample(&mut s);
            if self.smooth && !smooth(entry, &sample.op) {
                continue;
            }
            let operands: Vec<Var<'t>> =
                sample.operands.iter().map(|spec| operand(t, &pool, spec, &mut s)).collect();
            for y in t.emit(sample.op, &operands) {
                pool.push(if y.dtype() == DType::F64 { y } else { y.cast(DType::F64) });
            }
            made += 1;
        }
        pool.iter().rev().take(4).map(|y| (*y * 0.5).tanh().sum(())).sum()
    }
}

/// A value of a spec, made of one that is there: its elements over and over in the shape, within the domain.
fn operand<'t>(t: &'t Recorder, pool: &[Var<'t>], spec: &Spec, s: &mut Sampler) -> Var<'t> {
    let from = pool[s.below(pool.len())];
    let (have, need) = (from.shape().elements(), spec.shape.elements());
    let domain = match spec.content {
        Content::Float(domain) if have > 0 && need > 0 => domain,
        Content::Distinct(_) if have > 0 && need > 0 => Domain::All,
        _ => return t.constant(spec.draw(DType::F64, s)),
    };
    let near = from.reshape([have]).tile(need.div_ceil(have), 0).slice(0, ..need).reshape(spec.shape).tanh();
    match domain {
        Domain::Positive => near.exp() * 0.9,
        Domain::NonZero => near.exp() * if s.below(2) == 0 { 0.8 } else { -0.8 },
        Domain::Between(low, high) => near * (0.45 * (high - low)) + 0.5 * (low + high),
        _ => near * 2.0,
    }
}

/// Whether an op has neither steps nor bends.
fn smooth(entry: &Entry, op: &Op) -> bool {
    const BENT: [&str; 9] =
        ["abs", "relu", "max", "maximum", "minimum", "rem", "scatter_max", "select", "to_integer"];
    !matches!(op, Op::Discrete(_)) && !BENT.contains(&entry.name)
}
