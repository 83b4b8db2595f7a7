//! The laws over every op of a registry.

use super::laws;
use super::{Function, broken, differ, function};
use crate::dtype::{DType, Slice, SliceMut};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{
    Algebra, Call, Contraction, IndexMap, Op, Operand, Preparation, Prepared, ResultMut, ZeroReason,
    eval_whole,
};
use crate::kernels::Level;
use crate::ops::{Entry, Registry, Sample, Sampler};
use crate::shape::{Shape, TensorType};
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
    let x: Vec<Tensor> = sample.operands.iter().map(|s| s.draw(DType::F64, &mut sampler)).collect();
    let (a, b) = (whole(&sample.op, &x)?, whole(&loaded, &x)?);
    if a.iter().zip(&b).any(|(a, b)| a.data().as_bytes() != b.data().as_bytes()) {
        return Err(named("loading", &broken(format!("{a:?} becomes {b:?}"))));
    }
    check_sample(&sample, seed).map_err(|e| named("laws", &e))
}

fn whole(op: &Op, x: &[Tensor]) -> Result<Vec<Tensor>> {
    super::run(&function(|t, x| t.emit(op.clone(), x).into_vec()), x)
}

/// What a kind carries for passes to use agrees with what its kernel does.
fn carried(op: &Op, x: &[Tensor]) -> Result<()> {
    let y = whole(op, x)?;
    let claim = |expected: Vec<f64>, what: &str| {
        let expected = Tensor::new(y[0].shape(), expected)?;
        let wide = Tensor::new(y[0].shape(), y[0].to_f64())?;
        let wrong = differ(&wide, &expected, 1e-12);
        wrong.map_or(Ok(()), |e| Err(broken(format!("its {what} says otherwise: {e}"))))
    };
    match op {
        Op::Elementwise(f) => {
            if f.algebra().commutes() {
                let swapped: Vec<Tensor> = x.iter().rev().cloned().collect();
                claim(whole(op, &swapped)?[0].to_f64(), "commutativity")?;
            }
            let by: Option<fn(f64, f64) -> f64> = match f.algebra() {
                Algebra::Opaque | Algebra::Commutative => None,
                Algebra::Sum => Some(|a, b| a + b),
                Algebra::Difference => Some(|a, b| a - b),
                Algebra::Product => Some(|a, b| a * b),
            };
            if let (Some(by), [a, b]) = (by, x) {
                claim(a.to_f64().iter().zip(b.to_f64()).map(|(&a, b)| by(a, b)).collect(), "algebra")?;
            }
        }
        Op::Linear(f) => {
            if let Some(map) = f.index_map(&x[0].ty()) {
                claim(mapped(map, &x[0], y[0].shape()), "index map")?;
            }
        }
        Op::Bilinear(f) => {
            if let Some(c) = f.contraction() {
                claim(contracted(c, &x[0], &x[1], y[0].shape()), "contraction")?;
            }
        }
        _ => {}
    }
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    let results: Vec<TensorType> = y.iter().map(Tensor::ty).collect();
    match op.kernel() {
        Some(k) if k.pointwise() => {
            let elements = y[0].shape().elements();
            let fits = x.iter().chain(&y).all(|a| a.shape().elements() == elements);
            let whole = fits && k.blocks(&types, &results) == elements;
            if whole { Ok(()) } else { Err(broken("pointwise, but not a block for each element".into())) }
        }
        _ => Ok(()),
    }
}

/// The indices of all elements of a shape, row-major.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product::<usize>()).map(|i| {
        let step = |axis: usize| shape[axis + 1..].iter().product::<usize>();
        (0..shape.len()).map(|axis| i / step(axis) % shape[axis]).collect()
    })
}

fn at(x: &Tensor, index: &[usize]) -> f64 {
    let flat = index.iter().zip(x.shape().iter()).fold(0, |flat, (i, d)| flat * d + i);
    x.data().f64_at(flat).unwrap_or(f64::NAN)
}

fn mapped(map: IndexMap, x: &Tensor, out: Shape) -> Vec<f64> {
    let number = |i: Vec<usize>| match map {
        IndexMap::Strided { offset, strides } => {
            let flat = i.iter().zip(strides).fold(offset, |o, (&i, s)| o + i as isize * s);
            usize::try_from(flat).ok().and_then(|flat| x.data().f64_at(flat)).unwrap_or(f64::NAN)
        }
        IndexMap::Scale(factor) => at(x, &i) * factor,
        IndexMap::Sum { axis, count } => {
            let shape = x.shape();
            indices(&shape[axis..axis + count]).map(|k| at(x, &[&i[..axis], &k, &i[axis..]].concat())).sum()
        }
    };
    indices(&out).map(number).collect()
}

fn contracted(c: Contraction<'_>, lhs: &Tensor, rhs: &Tensor, out: Shape) -> Vec<f64> {
    let summed: Vec<u8> = c.lhs.iter().copied().filter(|l| !c.out.contains(l)).collect();
    let size = |l: &u8| c.lhs.iter().position(|m| m == l).map_or(1, |i| lhs.shape()[i]);
    let sizes: Vec<usize> = summed.iter().map(size).collect();
    indices(&out)
        .map(|o| {
            let term = |k: Vec<usize>| {
                let of = |names: &[u8]| -> Vec<usize> {
                    let find = |l: &u8| match c.out.iter().position(|m| m == l) {
                        Some(i) => o[i],
                        None => summed.iter().position(|m| m == l).map_or(0, |i| k[i]),
                    };
                    names.iter().map(find).collect()
                };
                at(lhs, &of(c.lhs)) * at(rhs, &of(c.rhs))
            };
            indices(&sizes).map(term).sum()
        })
        .collect()
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
    for &level in Level::available() {
        pieces(&sample.op, &x, level)?;
    }
    carried(&sample.op, &x)?;
    laws::adjoint(&f, &x, seed)?;
    let second = laws::pullback(&f);
    // The identity that stops derivatives has, for once, not those of its numbers.
    let stops = matches!(&sample.op, Op::Discrete(op) if op.reason() == ZeroReason::StopGradient);
    if !stops {
        laws::tangent(&f, &x, seed)?;
        laws::execution(&second, &x)?;
        laws::adjoint(&second, &x, seed)?;
        laws::tangent(&second, &x, seed)?;
    }
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
/// whole; if it can add them to what is there, it does.
fn pieces(op: &Op, x: &[Tensor], level: Level) -> Result<()> {
    let Some(kernel) = op.kernel() else { return Ok(()) };
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    let results = kernel.infer(&types)?;
    let blocks = kernel.blocks(&types, &results);
    if results.iter().any(|r| blocks > 0 && r.shape.elements() % blocks != 0) {
        return Err(broken(format!("{blocks} blocks do not divide {results:?}")));
    }
    let compute =
        |split: bool, (alpha, beta): (f64, f64), onto: Option<usize>, garbage: f64| -> Result<Vec<Tensor>> {
            let mut out: Vec<Tensor> =
                results.iter().map(|&ty| Tensor::filled(ty, garbage)).collect::<Result<_>>()?;
            let operand = |(ty, x)| Operand { ty, data: Tensor::data(x), strides: None };
            let mut operands: Vec<Operand<'_>> = types.iter().zip(x).map(operand).collect();
            if let Some(o) = onto {
                out[0] = x[o].clone();
                operands[o].data = Slice::U8(&[]);
            }
            if !split {
                let all = |(ty, t)| ResultMut { ty, data: Tensor::data_mut(t) };
                let mut whole: Vec<ResultMut<'_>> = results.iter().zip(&mut out).map(all).collect();
                eval_whole(kernel, &operands, &mut whole, level)?;
                drop(whole);
                return Ok(out);
            }
            let mut prepared = Vec::new();
            if let Some(Prepared { bytes, pieces, .. }) = kernel.prepared(&types) {
                prepared = vec![u64::MAX; bytes / 8];
                let each = prepared.len() / pieces.max(1);
                for (piece, out) in prepared.chunks_exact_mut(each.max(1)).enumerate() {
                    let call = Preparation { operands: &operands, pieces: piece..piece + 1, out, level };
                    kernel.prepare(call).map_err(ErrorKind::Fault)?;
                }
            }
            for block in 0..blocks {
                let range = |ty: &TensorType| {
                    let size = ty.shape.elements() / blocks;
                    block * size..(block + 1) * size
                };
                let cut: Vec<Operand<'_>> = (operands.iter().enumerate())
                    .map(|(i, &o)| match kernel.cut(i, &types) && onto != Some(i) {
                        true => Operand { data: o.data.get(range(o.ty)), ..o },
                        false => o,
                    })
                    .collect();
                let mut scratch = vec![u64::MAX; kernel.scratch(&types).div_ceil(8)];
                let piece = |(ty, t)| ResultMut { ty, data: part(Tensor::data_mut(t), range(ty)) };
                let mut pieces: Vec<ResultMut<'_>> = results.iter().zip(&mut out).map(piece).collect();
                let call = Call {
                    operands: &cut,
                    results: &mut pieces,
                    scratch: &mut scratch,
                    prepared: &prepared,
                    blocks: block..block + 1,
                    level,
                    beta,
                    alpha,
                };
                kernel.eval(call).map_err(ErrorKind::Fault)?;
            }
            Ok(out)
        };
    let (whole, split) = (compute(false, (1.0, 0.0), None, 1.0)?, compute(true, (1.0, 0.0), None, f64::NAN)?);
    for (whole, split) in whole.iter().zip(&split) {
        if whole.data().as_bytes() != split.data().as_bytes() {
            return Err(broken(format!("block by block is {split:?}, the whole {whole:?}")));
        }
    }
    if let Some(o) = kernel.onto() {
        let fits = results.first() == types.get(o) && (blocks <= 1 || kernel.cut(o, &types));
        if !fits
            || compute(true, (1.0, 1.0), Some(o), f64::NAN)?[0].data().as_bytes()
                != whole[0].data().as_bytes()
        {
            return Err(broken(format!("it cannot work onto its operand {o}")));
        }
    }
    if kernel.accumulates() {
        let factors = if kernel.scales() {
            [(1.0, 1.0), (-0.25, 1.0), (3.0, -0.5)]
        } else {
            [(1.0, 1.0), (1.0, 2.0), (1.0, -0.5)]
        };
        for (alpha, beta) in factors {
            for (whole, added) in whole.iter().zip(&compute(true, (alpha, beta), None, 3.0)?) {
                let due = whole.to_f64().iter().map(|x| alpha * x + beta * 3.0).collect::<Vec<f64>>();
                if let Some(where_) = differ(added, &Tensor::new(whole.shape(), due)?, 1e-12) {
                    let what =
                        format!("times {alpha} and added to {beta} times three it is not that: {where_}");
                    return Err(broken(what));
                }
            }
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
