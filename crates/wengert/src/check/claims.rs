//! What ops and kernels claim of themselves, held against what they do.

use std::ops::Range;

#[cfg(feature = "nets")]
use super::convolved::convolved;
use super::registry::whole;
use super::{bodies, broken, differ};
use crate::dtype::DType;
use crate::elements::Slice;
use crate::error::{ErrorKind, Result};
use crate::exec::{Call, Code, Codes, Laid, Packing, Strides};
use crate::ir::{
    Algebra, Contraction, Form, IndexMap, Indexed, Linear, Monoid, Op, Operand, Reduction, ResultMut,
    ScatterMode,
};
use crate::kernels::Isa;
use crate::kernels::contract::Packed;
use crate::ops::Sampler;
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
        Op::Linear(f) => zeros(op, &**f, x)?,
        _ => {}
    }
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    match (op.kernel().map(|kernel| kernel.form(&types)), x) {
        (Some(Form::View(map)), [x]) => claim(mapped(map, x, y[0].shape()), "index map"),
        (Some(Form::Reduce(reduction)), [x]) => claim(reduced(reduction, x, y[0].shape()), "reduction"),
        #[cfg(feature = "nets")]
        (Some(Form::Convolve(c)), [a, b]) => {
            claim(convolved(c, [a, b], y[0].shape().elements()), "convolution")
        }
        (Some(Form::Contract(c)), [lhs, rhs]) => claim(contracted(c, lhs, rhs, y[0].shape()), "contraction"),
        (Some(Form::Indexed(indexed)), _) => claim(parts(indexed, x, y[0].shape()), "index"),
        _ => Ok(()),
    }
}

/// Whether nothing makes an op fail, by its own word.
pub(super) fn infallible(op: &Op, x: &[Tensor]) -> Result<bool> {
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    let Some(kernel) = op.kernel() else { return Ok(false) };
    Ok(Codes::default().of_op(op, &types, &kernel.infer(&types)?, Isa::best())?.what.infallible())
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
        Err(e) if matches!(e.kind(), ErrorKind::Fault(_)) && !infallible(op, &x)? => return Ok(()),
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

/// The element that a map reads for each index of a result of this shape.
fn places(map: IndexMap, out: Shape) -> impl Iterator<Item = usize> {
    let places: Vec<usize> = indices(&out)
        .map(|i| i.iter().zip(map.strides).fold(map.offset, |at, (&i, s)| at + i as isize * s) as usize)
        .collect();
    places.into_iter()
}

fn mapped(map: IndexMap, x: &Tensor, out: Shape) -> Vec<f64> {
    places(map, out).map(|at| x.data().f64_at(at).unwrap_or(f64::NAN)).collect()
}

fn reduced(Reduction { monoid, axis, count }: Reduction, x: &Tensor, out: Shape) -> Vec<f64> {
    let shape = x.shape();
    let all = |i: Vec<usize>| {
        let numbers =
            indices(&shape[axis..axis + count]).map(|k| at(x, &[&i[..axis], &k, &i[axis..]].concat()));
        match monoid {
            Monoid::Sum => numbers.sum(),
            Monoid::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    indices(&out).map(all).collect()
}

/// Rows one by one, and parts element by element.
fn parts(indexed: Indexed, x: &[Tensor], out: Shape) -> Vec<f64> {
    // Where row `p` of an index lies in an array, and its length.
    let row = |batch: usize, of: &Tensor, index: &Tensor, p: usize| {
        let (shape, picks) = (of.shape(), index.shape()[batch..].iter().product::<usize>());
        let width: usize = shape[batch + 1..].iter().product();
        let number = index.data().f64_at(p).map_or(0, |n| n as usize);
        ((p / picks * shape[batch] + number) * width, width)
    };
    let mut y = if let Indexed::Gather { .. } = indexed { vec![0.0; out.elements()] } else { x[0].to_f64() };
    match indexed {
        Indexed::Gather { batch } => {
            for p in 0..x[1].shape().elements() {
                let (from, width) = row(batch, &x[0], &x[1], p);
                y[p * width..][..width].copy_from_slice(&x[0].to_f64()[from..][..width]);
            }
        }
        Indexed::Scatter { batch, mode } => {
            let with = |y: f64, x: f64| match mode {
                ScatterMode::Set => x,
                ScatterMode::Add => y + x,
                ScatterMode::Max => y.max(x),
            };
            for p in 0..x[2].shape().elements() {
                let (to, width) = row(batch, &x[0], &x[2], p);
                y[to..][..width]
                    .iter_mut()
                    .zip(&x[1].to_f64()[p * width..])
                    .for_each(|(y, &x)| *y = with(*y, x));
            }
        }
        Indexed::AddPart(map) => {
            places(map, x[1].shape()).zip(x[1].to_f64()).for_each(|(at, x)| y[at] += x);
        }
        Indexed::SetPart(map) => {
            places(map, x[1].shape()).zip(x[1].to_f64()).for_each(|(at, x)| y[at] = x);
        }
    }
    y
}

fn contracted(c: Contraction, lhs: &Tensor, rhs: &Tensor, out: Shape) -> Vec<f64> {
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
                at(lhs, &of(&c.lhs)) * at(rhs, &of(&c.rhs))
            };
            indices(&sizes).map(term).sum()
        })
        .collect()
}

/// A kernel on operands of some types, and how often it is tried in pieces.
struct Tried {
    code: Code,
    types: Vec<TensorType>,
    results: Vec<TensorType>,
    blocks: usize,
    isa: Isa,
}

/// The kernel's contract: any ranges of its blocks, computed into memory of any content, are the whole; if it can add
/// them to what is there, alias an operand, or read operands where they lie, it does; and no data make it fail if it
/// says so.
pub(super) fn pieces(op: &Op, x: &[Tensor], isa: Isa, sampler: &mut Sampler) -> Result<()> {
    let Some(kernel) = op.kernel() else { return Ok(()) };
    let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
    let results: Vec<TensorType> = kernel.infer(&types)?.into_iter().collect();
    let code = Codes::default().of_op(op, &types, &results, isa)?;
    let blocks = code.what.blocks(&types, &results);
    let tried = Tried { code, types, results, blocks, isa };
    let whole = tried.whole(&tried.operands(x))?;
    let all: Vec<Range<usize>> = (0..blocks).map(|block| block..block + 1).collect();
    let mut ranges = || pieces_of(blocks, sampler);
    for ranges in [all, ranges(), ranges()] {
        let split =
            tried.split((&tried.operands(x), None), &ranges, (1.0, 0.0), &tried.filled(f64::NAN)?, None)?;
        same(&whole, &split, || format!("in the blocks {ranges:?}"))?;
    }
    tried.adds(x, &whole, &ranges())?;
    tried.reads_where_it_lies(x, &whole, sampler)?;
    tried.never_fails(x)
}

/// All instruction sets with a fused multiply-add give the same bits, whatever the width of their registers, for f64 and for f32, and
/// maps those of their bodies, one number at a time.
pub(super) fn isas(op: &Op, x: &[Tensor]) -> Result<()> {
    let Some(kernel) = op.kernel() else { return Ok(()) };
    let narrow = |x: &Tensor| match x.as_slice::<f64>() {
        Ok(numbers) => Tensor::new(x.shape(), numbers.iter().map(|&x| x as f32).collect::<Vec<f32>>()),
        Err(_) => Ok(x.clone()),
    };
    let single: Vec<Tensor> = x.iter().map(narrow).collect::<Result<_>>()?;
    let odd = |x: &Tensor| {
        let odd = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            1e300,
            -1e-310,
            7e9,
            1e-39,
            88.0,
            -1.0,
            2.5,
        ];
        let numbers = (0..x.shape().elements()).map(|i| odd[(i * 7 + 3) % odd.len()]);
        if x.ty().dtype == DType::F64 {
            Tensor::new(x.shape(), numbers.collect::<Vec<f64>>())
        } else {
            Ok(x.clone())
        }
    };
    let odd: Vec<Tensor> = x.iter().map(odd).collect::<Result<_>>()?;
    let odd_single: Vec<Tensor> = odd.iter().map(narrow).collect::<Result<_>>()?;
    for (x, outside) in [(x, false), (&single, false), (&odd, true), (&odd_single, true)] {
        let types: Vec<TensorType> = x.iter().map(Tensor::ty).collect();
        // An op that makes f64 of whatever it gets may refuse.
        let Ok(results) = kernel.infer(&types) else { continue };
        let results: Vec<TensorType> = results.into_iter().collect();
        let mut first: Option<Vec<Tensor>> = None;
        let form = kernel.form(&types);
        // Numbers from outside of its domain say nothing of an op that may fail.
        if outside && !matches!(form, Form::Map(_)) {
            continue;
        }
        // No instruction set runs above the best.
        for &isa in Isa::available().iter().filter(|&&isa| isa <= Isa::best()) {
            let code = Codes::default().of_op(op, &types, &results, isa)?;
            let tried = Tried { code, types: types.clone(), results: results.clone(), blocks: 1, isa };
            let found = tried.whole(&tried.operands(x))?;
            if let Form::Map(body) = &form {
                bodies::held(op, body, x, &found, isa != Isa::Portable)?;
            }
            match &first {
                _ if isa == Isa::Portable => {}
                Some(first) => same(first, &found, || format!("at the isa {isa:?}"))?,
                None => first = Some(found),
            }
        }
    }
    Ok(())
}

/// Neighbouring ranges that make up so many blocks.
fn pieces_of(blocks: usize, sampler: &mut Sampler) -> Vec<Range<usize>> {
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

impl Tried {
    fn operands<'a>(&'a self, x: &'a [Tensor]) -> Vec<Operand<'a>> {
        self.types.iter().zip(x).map(|(ty, x)| Operand { ty, data: x.data() }).collect()
    }

    fn filled(&self, number: f64) -> Result<Vec<Tensor>> {
        self.results.iter().map(|&ty| Tensor::filled(ty, number)).collect()
    }

    fn whole(&self, operands: &[Operand<'_>]) -> Result<Vec<Tensor>> {
        let mut out = self.filled(1.0)?;
        let all = |(ty, t)| ResultMut { ty, data: Tensor::data_mut(t) };
        let mut results: Vec<ResultMut<'_>> = self.results.iter().zip(&mut out).map(all).collect();
        self.code.run_whole(operands, &mut results, self.isa)?;
        drop(results);
        Ok(out)
    }

    /// These ranges of blocks, each by a call of its own with scratch of any content.
    fn split(
        &self,
        (operands, strides): (&[Operand<'_>], Laid<'_>),
        ranges: &[Range<usize>],
        (alpha, beta): (f64, f64),
        out: &[Tensor],
        alias: Option<usize>,
    ) -> Result<Vec<Tensor>> {
        let Self { code, types, results, blocks, isa } = self;
        let mut out = out.to_vec();
        let mut packed = Vec::new();
        if let Some(Packed { bytes, pieces, .. }) = code.packed(types) {
            packed = vec![u64::MAX; bytes / 8];
            let each = packed.len() / pieces.max(1);
            for (piece, out) in packed.chunks_exact_mut(each.max(1)).enumerate() {
                let call = Packing { operands, strides, pieces: piece..piece + 1, out, isa: *isa };
                code.pack(call).map_err(ErrorKind::Fault)?;
            }
        }
        for range in ranges {
            let part = |ty: &TensorType| {
                let size = ty.shape.elements() / blocks;
                range.start * size..range.end * size
            };
            let parts: Vec<Operand<'_>> = (operands.iter().enumerate())
                .map(|(i, &o)| {
                    match code.what.chunked(i, types, results)
                        && strides.is_none_or(|s| s[i].is_none())
                        && alias != Some(i)
                    {
                        true => Operand { data: o.data.get(part(o.ty)), ..o },
                        false => o,
                    }
                })
                .collect();
            let mut scratch = vec![u64::MAX; code.scratch(types).div_ceil(8)];
            let piece = |(ty, t)| ResultMut { ty, data: Tensor::data_mut(t).part(part(ty)) };
            let mut pieces: Vec<ResultMut<'_>> = results.iter().zip(&mut out).map(piece).collect();
            let call = Call {
                operands: &parts,
                strides,
                results: &mut pieces,
                scratch: &mut scratch,
                packed: &packed,
                blocks: range.clone(),
                isa: *isa,
                beta,
                alpha,
            };
            code.run(call).map_err(ErrorKind::Fault)?;
        }
        Ok(out)
    }

    /// `alias`, `accumulates` and `scales`.
    fn adds(&self, x: &[Tensor], whole: &[Tensor], ranges: &[Range<usize>]) -> Result<()> {
        let Self { code, types, results, .. } = self;
        if let Some(o) = code.what.alias() {
            let fits =
                results.first() == types.get(o) && (self.blocks <= 1 || code.what.chunked(o, types, results));
            let wrong = || broken(format!("its result cannot alias operand {o}"));
            let mut operands = self.operands(x);
            operands.get_mut(o).filter(|_| fits).ok_or_else(wrong)?.data = Slice::U8(&[]);
            let mut begin = self.filled(1.0)?;
            begin[0] = x[o].clone();
            let found = self.split((&operands, None), ranges, (1.0, 1.0), &begin, Some(o))?;
            same(whole, &found, || format!("in place of its operand {o}"))?;
        }
        if let Form::Reduce(Reduction { monoid: Monoid::Max, .. }) = code.what.form {
            // Partial results go on with what is there.
            let found =
                self.split((&self.operands(x), None), ranges, (1.0, 1.0), &self.filled(0.5)?, None)?;
            let larger = |w: &f64| if *w >= 0.5 || w.is_nan() { *w } else { 0.5 };
            for (whole, found) in whole.iter().zip(&found).filter(|(w, _)| w.ty().dtype.is_float()) {
                let due = whole.to_f64().iter().map(larger).collect::<Vec<f64>>();
                if let Some(wrong) = differ(found, &Tensor::new(whole.shape(), due)?, 0.0) {
                    return Err(broken(format!("of what is there it is not the larger: {wrong}")));
                }
            }
        }
        if !code.what.accumulates() {
            return Ok(());
        }
        let factors = if code.what.scales() {
            [(1.0, 1.0), (-0.25, 1.0), (3.0, -0.5)]
        } else {
            [(1.0, 1.0), (1.0, 2.0), (1.0, -0.5)]
        };
        for (alpha, beta) in factors {
            let added =
                self.split((&self.operands(x), None), ranges, (alpha, beta), &self.filled(3.0)?, None)?;
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
            let laid: Vec<(Tensor, Option<Box<Strides>>)> = x
                .iter()
                .map(|x| if sampler.below(2) == 0 { Ok((x.clone(), None)) } else { spread(x, sampler) })
                .collect::<Result<_>>()?;
            let (laid, strides): (Vec<Tensor>, Vec<Option<Box<Strides>>>) = laid.into_iter().unzip();
            if !self.code.what.strided(&self.types, &strides) {
                continue;
            }
            let ranges = pieces_of(self.blocks, sampler);
            let operands = (self.operands(&laid), Some(strides.as_slice()));
            let found =
                self.split((&operands.0, operands.1), &ranges, (1.0, 0.0), &self.filled(f64::NAN)?, None)?;
            same(whole, &found, || format!("of operands with the strides {strides:?}"))?;
        }
        Ok(())
    }

    /// `infallible`: on NaNs, infinities and the ends of the integers.
    fn never_fails(&self, x: &[Tensor]) -> Result<()> {
        if !self.code.what.infallible() {
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
fn spread(x: &Tensor, sampler: &mut Sampler) -> Result<(Tensor, Option<Box<Strides>>)> {
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
        laid.data_mut().part(to..to + 1).copy_from(x.data().get(i..i + 1));
    }
    Ok((laid, Some(Box::new(strides))))
}
