//! What ops and kernels claim of themselves, held against what they do.

use std::ops::Range;

use super::registry::whole;
use super::{broken, differ};
use crate::dtype::{Slice, SliceMut};
use crate::error::{ErrorKind, Result};
use crate::exec::Machine;
use crate::ir::{
    Algebra, Call, Contraction, IndexMap, Kernel, Linear, Op, Operand, Preparation, Prepared, ResultMut,
    Strides, eval_whole,
};
use crate::kernels::Level;
use crate::ops::Sampler;
use crate::program::Passes;
use crate::shape::{MAX_RANK, Shape, TensorType};
use crate::tensor::Tensor;

/// What a kind carries for passes to use agrees with what its kernel does.
pub(super) fn carried(op: &Op, x: &[Tensor]) -> Result<()> {
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
                same(&y, &whole(op, &swapped)?, || "with its operands swapped".into())?;
            }
            for i in 0..if f.algebra() == Algebra::Odd { x.len() } else { 0 } {
                let minus =
                    |x: &Tensor| Tensor::new(x.shape(), x.to_f64().iter().map(|x| -x).collect::<Vec<f64>>());
                let mut turned = x.to_vec();
                turned[i] = minus(&x[i])?;
                same(&[minus(&y[0])?], &whole(op, &turned)?, || format!("of −operand {i}"))?;
            }
            let by: Option<fn(f64, f64) -> f64> = match f.algebra() {
                Algebra::Opaque | Algebra::Commutative | Algebra::Odd => None,
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
                if x.len() != 1 {
                    return Err(broken("an index map of an op with several operands".into()));
                }
                claim(mapped(map, &x[0], y[0].shape()), "index map")?;
            }
            scaled(op, &**f, x, &y)?;
            zeros(op, &**f, x)?;
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

/// The op that is this one times a number has the bits of two rows.
fn scaled(op: &Op, f: &dyn Linear, x: &[Tensor], y: &[Tensor]) -> Result<()> {
    let Some(scaled) = f.scaled(-0.375).filter(|_| y[0].ty().dtype.is_float()) else { return Ok(()) };
    let both = super::function(|t, x| t.emit(op.clone(), x).into_iter().map(|y| y * -0.375).collect());
    let program = super::recorded(Passes::None, &Machine::THIS, &both, x)?;
    same(&super::execute(&program, x)?, &whole(&scaled, x)?, || "times -0.375".into())
}

/// Whatever the parameters are, zeros become zeros.
fn zeros(op: &Op, f: &dyn Linear, x: &[Tensor]) -> Result<()> {
    let float = |x: &Tensor| x.ty().dtype.is_float();
    let parameter = |(i, x): (usize, &Tensor)| match f.linear_in(i) {
        true if float(x) => Tensor::filled(x.ty(), 0.0),
        false if float(x) => Tensor::filled(x.ty(), f64::NAN),
        _ => Ok(x.clone()),
    };
    // A linear op of integers alone has no zeros to speak of.
    if !x.iter().enumerate().any(|(i, x)| f.linear_in(i) && float(x)) {
        return Ok(());
    }
    let x: Vec<Tensor> = x.iter().enumerate().map(parameter).collect::<Result<_>>()?;
    let found = match whole(op, &x) {
        Err(e) if !f.infallible() && matches!(e.kind(), ErrorKind::Fault(_)) => return Ok(()),
        found => found?,
    };
    match found.iter().find(|y| y.to_f64().iter().any(|&y| y != 0.0)) {
        Some(y) => Err(broken(format!("of zeros it is {y:?}"))),
        None => Ok(()),
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

/// A kernel on operands of some types, and how often it is tried in pieces.
struct Tried<'a> {
    kernel: &'a dyn Kernel,
    types: Vec<TensorType>,
    results: Vec<TensorType>,
    blocks: usize,
    level: Level,
}

/// The kernel's contract: any ranges of its blocks, computed into memory of any content, are the whole; if it can add
/// them to what is there, work onto an operand, or read operands where they lie, it does; and no data make it fail if it
/// says so.
pub(super) fn pieces(op: &Op, x: &[Tensor], level: Level, sampler: &mut Sampler) -> Result<()> {
    let Some(kernel) = op.kernel() else { return Ok(()) };
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    let results = kernel.infer(&types)?.into_vec();
    let blocks = kernel.blocks(&types, &results);
    if results.iter().any(|r| blocks > 0 && r.shape.elements() % blocks != 0) {
        return Err(broken(format!("{blocks} blocks do not divide {results:?}")));
    }
    let tried = Tried { kernel, types, results, blocks, level };
    let whole = tried.whole(&tried.operands(x))?;
    let all: Vec<Range<usize>> = (0..blocks).map(|block| block..block + 1).collect();
    let mut ranges = || cut(blocks, sampler);
    for ranges in [all, ranges(), ranges()] {
        let split = tried.split(&tried.operands(x), &ranges, (1.0, 0.0), &tried.filled(f64::NAN)?, None)?;
        same(&whole, &split, || format!("in the blocks {ranges:?}"))?;
    }
    tried.adds(x, &whole, &ranges())?;
    tried.reads_where_it_lies(x, &whole, sampler)?;
    tried.never_fails(x)
}

/// Neighbouring ranges that make up so many blocks.
fn cut(blocks: usize, sampler: &mut Sampler) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut ranges = Vec::new();
    while at < blocks {
        let end = at + 1 + sampler.below((blocks - at).min(1 + blocks / 2));
        ranges.push(at..end);
        at = end;
    }
    ranges
}

fn same(expected: &[Tensor], found: &[Tensor], what: impl Fn() -> String) -> Result<()> {
    match expected.iter().zip(found).find(|(a, b)| a.data().as_bytes() != b.data().as_bytes()) {
        Some((a, b)) => Err(broken(format!("{} it is {b:?}, the whole {a:?}", what()))),
        None => Ok(()),
    }
}

impl Tried<'_> {
    fn operands<'a>(&'a self, x: &'a [Tensor]) -> Vec<Operand<'a>> {
        self.types.iter().zip(x).map(|(ty, x)| Operand { ty, data: x.data(), strides: None }).collect()
    }

    fn filled(&self, number: f64) -> Result<Vec<Tensor>> {
        self.results.iter().map(|&ty| Tensor::filled(ty, number)).collect()
    }

    fn whole(&self, operands: &[Operand<'_>]) -> Result<Vec<Tensor>> {
        let mut out = self.filled(1.0)?;
        let all = |(ty, t)| ResultMut { ty, data: Tensor::data_mut(t) };
        let mut results: Vec<ResultMut<'_>> = self.results.iter().zip(&mut out).map(all).collect();
        eval_whole(self.kernel, operands, &mut results, self.level)?;
        drop(results);
        Ok(out)
    }

    /// These ranges of blocks, each by a call of its own with scratch of any content.
    fn split(
        &self,
        operands: &[Operand<'_>],
        ranges: &[Range<usize>],
        (alpha, beta): (f64, f64),
        out: &[Tensor],
        onto: Option<usize>,
    ) -> Result<Vec<Tensor>> {
        let Self { kernel, types, results, blocks, level } = self;
        let mut out = out.to_vec();
        let mut prepared = Vec::new();
        if let Some(Prepared { bytes, pieces, .. }) = kernel.prepared(types) {
            prepared = vec![u64::MAX; bytes / 8];
            let each = prepared.len() / pieces.max(1);
            for (piece, out) in prepared.chunks_exact_mut(each.max(1)).enumerate() {
                let call = Preparation { operands, pieces: piece..piece + 1, out, level: *level };
                kernel.prepare(call).map_err(ErrorKind::Fault)?;
            }
        }
        for range in ranges {
            let part = |ty: &TensorType| {
                let size = ty.shape.elements() / blocks;
                range.start * size..range.end * size
            };
            let cut: Vec<Operand<'_>> = (operands.iter().enumerate())
                .map(|(i, &o)| match kernel.cut(i, types) && o.strides.is_none() && onto != Some(i) {
                    true => Operand { data: o.data.get(part(o.ty)), ..o },
                    false => o,
                })
                .collect();
            let mut scratch = vec![u64::MAX; kernel.scratch(types).div_ceil(8)];
            let piece = |(ty, t)| ResultMut { ty, data: piece(Tensor::data_mut(t), part(ty)) };
            let mut pieces: Vec<ResultMut<'_>> = results.iter().zip(&mut out).map(piece).collect();
            let call = Call {
                operands: &cut,
                results: &mut pieces,
                scratch: &mut scratch,
                prepared: &prepared,
                blocks: range.clone(),
                level: *level,
                beta,
                alpha,
            };
            kernel.eval(call).map_err(ErrorKind::Fault)?;
        }
        Ok(out)
    }

    /// `onto`, `accumulates` and `scales`.
    fn adds(&self, x: &[Tensor], whole: &[Tensor], ranges: &[Range<usize>]) -> Result<()> {
        let Self { kernel, types, results, .. } = self;
        if let Some(o) = kernel.onto() {
            let fits = results.first() == types.get(o) && (self.blocks <= 1 || kernel.cut(o, types));
            let wrong = || broken(format!("it cannot work onto its operand {o}"));
            let mut operands = self.operands(x);
            operands.get_mut(o).filter(|_| fits).ok_or_else(wrong)?.data = Slice::U8(&[]);
            let mut begin = self.filled(1.0)?;
            begin[0] = x[o].clone();
            let found = self.split(&operands, ranges, (1.0, 1.0), &begin, Some(o))?;
            same(whole, &found, || format!("onto its operand {o}"))?;
        }
        if !kernel.accumulates() {
            return Ok(());
        }
        let factors = if kernel.scales() {
            [(1.0, 1.0), (-0.25, 1.0), (3.0, -0.5)]
        } else {
            [(1.0, 1.0), (1.0, 2.0), (1.0, -0.5)]
        };
        for (alpha, beta) in factors {
            let added = self.split(&self.operands(x), ranges, (alpha, beta), &self.filled(3.0)?, None)?;
            for (whole, added) in whole.iter().zip(&added) {
                let due = whole.to_f64().iter().map(|x| alpha * x + beta * 3.0).collect::<Vec<f64>>();
                if let Some(where_) = differ(added, &Tensor::new(whole.shape(), due)?, 1e-12) {
                    let what =
                        format!("times {alpha} and added to {beta} times three it is not that: {where_}");
                    return Err(broken(what));
                }
            }
        }
        Ok(())
    }

    /// `strided`: operands with their axes in another order in memory, and further apart.
    fn reads_where_it_lies(&self, x: &[Tensor], whole: &[Tensor], sampler: &mut Sampler) -> Result<()> {
        for _ in 0..3 {
            let laid: Vec<(Tensor, Option<Strides>)> = x
                .iter()
                .map(|x| if sampler.below(2) == 0 { Ok((x.clone(), None)) } else { spread(x, sampler) })
                .collect::<Result<_>>()?;
            let strides: Vec<Option<Strides>> = laid.iter().map(|(_, strides)| *strides).collect();
            if !self.kernel.strided(&self.types, &strides) {
                continue;
            }
            let operands: Vec<Operand<'_>> = self
                .types
                .iter()
                .zip(&laid)
                .map(|(ty, (x, strides))| Operand { ty, data: x.data(), strides: strides.as_ref() })
                .collect();
            let ranges = cut(self.blocks, sampler);
            let found = self.split(&operands, &ranges, (1.0, 0.0), &self.filled(f64::NAN)?, None)?;
            same(whole, &found, || format!("of operands with the strides {strides:?}"))?;
        }
        Ok(())
    }

    /// `infallible`: on NaNs, infinities and the ends of the integers.
    fn never_fails(&self, x: &[Tensor]) -> Result<()> {
        if !self.kernel.infallible() {
            return Ok(());
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e300] {
            let extreme =
                x.iter().map(|x| Tensor::filled(x.ty(), number)).collect::<Result<Vec<Tensor>>>()?;
            self.whole(&self.operands(&extreme))
                .map_err(|e| broken(format!("infallible, but of {number} alone: {e}")))?;
        }
        Ok(())
    }
}

/// The same array with its axes in another order in memory, and twice as far apart; and where its elements lie.
fn spread(x: &Tensor, sampler: &mut Sampler) -> Result<(Tensor, Option<Strides>)> {
    let (shape, order) = (x.shape(), sampler.permutation(x.shape().rank()));
    let mut strides = [0usize; MAX_RANK];
    let mut step = 1 + sampler.below(2);
    for &axis in &order {
        strides[axis] = step;
        step *= shape[axis].max(1);
    }
    let mut laid = Tensor::filled(TensorType::new(x.ty().dtype, Shape::new(&[step])?), f64::NAN)?;
    for (i, index) in indices(&shape).enumerate() {
        let to = index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>();
        piece(laid.data_mut(), to..to + 1).copy_from(x.data().get(i..i + 1));
    }
    Ok((laid, Some(strides)))
}

fn piece(slice: SliceMut<'_>, range: Range<usize>) -> SliceMut<'_> {
    match slice {
        SliceMut::F32(s) => SliceMut::F32(&mut s[range]),
        SliceMut::F64(s) => SliceMut::F64(&mut s[range]),
        SliceMut::U8(s) => SliceMut::U8(&mut s[range]),
        SliceMut::U32(s) => SliceMut::U32(&mut s[range]),
        SliceMut::I64(s) => SliceMut::I64(&mut s[range]),
        SliceMut::Bool(s) => SliceMut::Bool(&mut s[range]),
    }
}
