//! The laws over every op of a registry.

use super::laws;
use super::{Function, broken, differ, function};
use crate::dtype::{DType, SliceMut};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Call, Op, Operand, ResultMut, ZeroReason};
use crate::ops::{Entry, Registry, Sample, Sampler};
use crate::shape::TensorType;
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
            check_case(entry, seed.wrapping_add(case))?;
        }
    }
    Ok(())
}

fn check_case(entry: &Entry, seed: u64) -> Result<()> {
    let mut sampler = Sampler::new(seed);
    let sample = entry.sample(&mut sampler);
    let named = |law: &str, e: &Error| broken(format!("{} (seed {seed}), {law}: {e}", entry.name));
    let loaded = entry.load(&sample.op.attrs()).map_err(|e| named("loading", &e.into()))?;
    if loaded != sample.op || sample.op.name() != entry.name {
        return Err(named("loading", &broken(format!("{:?} loads as {loaded:?}", sample.op))));
    }
    check_sample(&sample, seed).map_err(|e| named("laws", &e))
}

/// Checks all laws for one op with one set of operands: both modes are transposes and match
/// central differences, at first and second order; a batch equals its examples, for the op and for its
/// derivative; plan equals row by row; f32 tracks f64; blocks computed one by one equal the whole.
pub fn check_sample(sample: &Sample, seed: u64) -> Result<()> {
    let mut sampler = Sampler::new(!seed);
    let mut draw =
        || -> Vec<Tensor> { sample.operands.iter().map(|s| s.draw(DType::F64, &mut sampler)).collect() };
    let op = sample.op.clone();
    let f = function(move |t, x| t.emit(op.clone(), x).into_vec());
    let (x, x1, x2) = (draw(), draw(), draw());
    laws::execution(&f, &x)?;
    pieces(&sample.op, &x)?;
    laws::adjoint(&f, &x, seed)?;
    if let Op::Discrete(op) = &sample.op {
        laws::zero_tangent(&f, &x)?;
        if op.reason() == ZeroReason::StopGradient {
            // The identity, but for its derivative: nothing more to compare it with.
            return Ok(());
        }
    }
    laws::tangent(&f, &x, seed)?;
    let second = laws::pullback(&f);
    laws::execution(&second, &x)?;
    laws::adjoint(&second, &x, seed)?;
    laws::tangent(&second, &x, seed)?;
    // Every choice of operands that vary with the example, for up to three operands.
    for mask in 1..1usize << x.len().min(3) {
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

/// The kernel's contract: its blocks, computed one at a time into memory of any content, are the
/// whole.
fn pieces(op: &Op, x: &[Tensor]) -> Result<()> {
    let Some(kernel) = op.kernel() else { return Ok(()) };
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    let results = kernel.infer(&types)?;
    let blocks = kernel.blocks(&types, &results);
    if results.iter().any(|r| blocks > 0 && r.shape.elements() % blocks != 0) {
        return Err(broken(format!("{blocks} blocks do not divide {results:?}")));
    }
    let operands: Vec<Operand<'_>> =
        types.iter().zip(x).map(|(ty, x)| Operand { ty, data: x.data(), strides: None }).collect();
    let compute = |split: bool, garbage: f64| -> Result<Vec<Tensor>> {
        let mut out: Vec<Tensor> = results.iter().map(|&ty| Tensor::filled(ty, garbage)).collect();
        let ranges: Vec<_> = if split {
            (0..blocks).map(|b| b..b + 1).collect()
        } else {
            std::iter::once(0..blocks).collect()
        };
        for range in ranges {
            let mut scratch = vec![u64::MAX; kernel.scratch(&types).div_ceil(8)];
            let mut cut: Vec<ResultMut<'_>> = results
                .iter()
                .zip(&mut out)
                .map(|(ty, t)| {
                    let size = ty.shape.elements() / blocks.max(1);
                    ResultMut { ty, data: part(t.data_mut(), range.start * size..range.end * size) }
                })
                .collect();
            let call = Call { operands: &operands, results: &mut cut, scratch: &mut scratch, blocks: range };
            kernel.eval(call).map_err(ErrorKind::Fault)?;
        }
        Ok(out)
    };
    let (whole, split) = (compute(false, 1.0)?, compute(true, 77.0)?);
    // Only a contraction may round differently when it is cut: its library blocks by size.
    let tolerance = if matches!(op, Op::Bilinear(_)) { 1e-13 } else { 0.0 };
    for (whole, split) in whole.iter().zip(&split) {
        if let Some(where_) = differ(split, whole, tolerance) {
            return Err(broken(format!("block by block is not the whole: {where_}")));
        }
    }
    Ok(())
}

fn part(slice: SliceMut<'_>, range: std::ops::Range<usize>) -> SliceMut<'_> {
    match slice {
        SliceMut::F32(s) => SliceMut::F32(&mut s[range]),
        SliceMut::F64(s) => SliceMut::F64(&mut s[range]),
        SliceMut::U8(s) => SliceMut::U8(&mut s[range]),
        SliceMut::U32(s) => SliceMut::U32(&mut s[range]),
        SliceMut::I64(s) => SliceMut::I64(&mut s[range]),
        SliceMut::Bool(s) => SliceMut::Bool(&mut s[range]),
    }
}
