//! The laws over every op of a registry.

use super::claims::{carried, infallible, isas, pieces};
use super::corners::{gates, ties};
use super::laws;
use super::{Function, broken, function};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ir::{Op, ZeroReason};
use crate::kernels::Isa;
use crate::ops::{Entry, Registry, Sample, Sampler};
use crate::tensor::Tensor;

/// Checks every op of a registry on `cases` random samples each. The error names the op, the
/// case, and the law that broke.
///
/// ```
/// use wengert::{Registry, check::check_registry};
/// check_registry(&Registry::builtin(), 2, 1)?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn check_registry(registry: &Registry, cases: u64, seed: u64) -> Result<()> {
    for entry in registry.entries() {
        for case in 0..cases {
            check_entry(entry, seed.wrapping_add(case))?;
        }
    }
    Ok(())
}

/// Checks one registered op on the sample of a seed: that its name and plain data say all there is to
/// it, and every law of [`check_sample`].
///
/// ```
/// use wengert::{Registry, check::check_entry};
/// let registry = Registry::builtin();
/// check_entry(registry.find("tanh").expect("a builtin op"), 7)?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn check_entry(entry: &Entry, seed: u64) -> Result<()> {
    let mut sampler = Sampler::new(seed);
    let sample = entry.sample(&mut sampler);
    let named = |law: &str, e: &Error| broken(format!("{} (seed {seed}), {law}: {e}", entry.name));
    let loaded = entry.load(&sample.op.attrs()).map_err(|e| named("loading", &e.into()))?;
    if loaded != sample.op || sample.op.name() != entry.name {
        return Err(named("loading", &broken(format!("{:?} loads as {loaded:?}", sample.op))));
    }
    let draw = |sampler: &mut Sampler| entry.draw(&sample.operands, DType::F64, sampler);
    let x = draw(&mut sampler);
    for order in [0, 1] {
        let of = |op: &Op| {
            let f = emitted(op);
            if order == 0 { super::run(&f, &x) } else { super::run(&laws::pullback(&f), &x) }
        };
        let (a, b) = (of(&sample.op)?, of(&loaded)?);
        if a.iter().zip(&b).any(|(a, b)| a.data().as_bytes() != b.data().as_bytes()) {
            return Err(named("loading", &broken(format!("at order {order} {a:?} becomes {b:?}"))));
        }
    }
    let together = entry.together(&sample.operands);
    all(&sample, seed, (together, &draw)).map_err(|e| named("laws", &e))
}

/// The function that an op is.
fn emitted(op: &Op) -> impl Function {
    let op = op.clone();
    function(move |t, x| t.emit(op.clone(), x).into_iter().collect())
}

pub(super) fn whole(op: &Op, x: &[Tensor]) -> Result<Vec<Tensor>> {
    super::run(&emitted(op), x)
}

/// Checks all laws for one op with one set of operands: both modes are transposes and match
/// central differences, at first and second order, also where numbers are equal; closed gates let nothing through; a batch
/// equals its examples, for the op and for its derivative; plans for any machine equal row by row; f32 tracks f64; any
/// ranges of blocks equal the whole; arrays may lie in any layout; Jacobians of few numbers are right element by element; what the op and its kernel claim of themselves is so.
pub fn check_sample(sample: &Sample, seed: u64) -> Result<()> {
    all(sample, seed, (false, &|sampler| each(sample, sampler)))
}

/// The operands of a sample, each by its description.
fn each(sample: &Sample, sampler: &mut Sampler) -> Vec<Tensor> {
    sample.operands.iter().map(|s| s.draw(DType::F64, sampler)).collect()
}

/// So many numbers have their Jacobian checked element by element.
const SMALL: usize = 12;

/// Draws the operands of a sample.
type Draw<'a> = &'a dyn Fn(&mut Sampler) -> Vec<Tensor>;

fn all(sample: &Sample, seed: u64, (together, draw): (bool, Draw<'_>)) -> Result<()> {
    let mut sampler = Sampler::new(!seed);
    let f = emitted(&sample.op);
    let (x, x1, x2) = (draw(&mut sampler), draw(&mut sampler), draw(&mut sampler));
    laws::execution(&f, &x)?;
    for &isa in Isa::available() {
        pieces(&sample.op, &x, isa, &mut sampler)?;
    }
    isas(&sample.op, &x)?;
    carried(&sample.op, &x)?;
    laws::layouts(&f, &x)?;
    laws::adjoint(&f, &x, seed)?;
    let second = laws::pullback(&f);
    let infallible = infallible(&sample.op, &x)?;
    gates(&f, &x, infallible)?;
    // The identity that stops derivatives has, for once, not those of its numbers.
    let stops = matches!(&sample.op, Op::Discrete(op) if op.reason() == ZeroReason::StopGradient);
    if !stops {
        laws::tangent(&f, &x, seed)?;
        if x.iter().map(|x| x.shape().elements()).sum::<usize>() <= SMALL {
            laws::jacobian(&f, &x)?;
        }
        if !together {
            ties(&f, &sample.operands, &x, infallible, &mut sampler)?;
        }
        laws::execution(&second, &x)?;
        laws::adjoint(&second, &x, seed)?;
        laws::tangent(&second, &x, seed)?;
    }
    // Every choice of operands that vary with the example, for up to three operands; all, where they are drawn together.
    let all = 1usize << x.len().min(3);
    for mask in if together { all.saturating_sub(1).max(1)..all } else { 1..all } {
        let varies = |i: usize| mask & (1 << i.min(2)) != 0;
        let examples: Vec<Vec<Tensor>> = (0..x.len())
            .map(|i| {
                if varies(i) { vec![x[i].clone(), x1[i].clone(), x2[i].clone()] } else { vec![x[i].clone()] }
            })
            .collect();
        let law = |f: &dyn Function| laws::batching(f, &examples);
        law(&f)?;
        law(&second)?;
    }
    Ok(())
}
