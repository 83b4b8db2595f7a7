//! Rows whose operands are the same number everywhere, and rows that change nothing.

use smallvec::SmallVec;

use super::Rewrite;
use crate::ir::{IndexMap, Leaf, Op, Operand, ResultMut, Row, Tape, Value, eval_whole, memory_of};
use crate::kernels::Level;
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;

/// A tape without the rows that can be computed now, and without those that return their operand.
pub(super) fn fold(tape: Tape) -> Tape {
    let mut new = Rewrite::new(tape);
    while let Some(row) = new.next() {
        if let Some(value) = number(&new, &row) {
            new.keep(Row { op: Op::Leaf(Leaf::Fill(value)), operands: SmallVec::new(), ..row });
        } else if identity(&new, &row) {
            new.rename(row.operands[0]);
        } else {
            new.keep(row);
        }
    }
    new.finish()
}

/// The number that all elements of a row's result are.
fn number(new: &Rewrite, row: &Row) -> Option<f64> {
    let fill = |v: &Value| if let Op::Leaf(Leaf::Fill(value)) = new.op(*v) { Some(*value) } else { None };
    let numbers: SmallVec<[f64; 3]> = row.operands.iter().map(fill).collect::<Option<_>>()?;
    let (&first, [ty]) = (numbers.first()?, &*row.results) else { return None };
    if let Op::Linear(op) = &row.op
        && row.operands.len() == 1
        && let Some(IndexMap::Strided { .. }) = op.index_map(new.ty(row.operands[0]))
    {
        return Some(first);
    }
    let kernel = row.op.kernel().filter(|k| k.pointwise() && ty.dtype.is_float())?;
    let scalar = |ty: &TensorType| TensorType::new(ty.dtype, Shape::SCALAR);
    let types: SmallVec<[TensorType; 3]> = row.operands.iter().map(|&v| scalar(new.ty(v))).collect();
    if kernel.infer(&types).ok()?.as_slice() != [scalar(ty)] {
        return None;
    }
    // One number takes a kernel no memory to speak of; what asks for more is left to the run.
    const MOST: usize = 1 << 20;
    if memory_of(kernel, &types) > MOST {
        return None;
    }
    let tensors = types.iter().zip(&numbers).map(|(ty, &x)| Tensor::filled(*ty, x).ok());
    let tensors: SmallVec<[Tensor; 3]> = tensors.collect::<Option<_>>()?;
    let mut result = Tensor::filled(scalar(ty), 0.0).ok()?;
    let x: SmallVec<[Operand<'_>; 3]> =
        types.iter().zip(&tensors).map(|(ty, x)| Operand { ty, data: x.data(), strides: None }).collect();
    let mut out = [ResultMut { ty: &scalar(ty), data: result.data_mut() }];
    eval_whole(kernel, &x, &mut out, Level::best()).ok()?;
    result.data().f64_at(0)
}

/// Whether a row returns its operand.
fn identity(new: &Rewrite, row: &Row) -> bool {
    let (Op::Linear(op), [from], [ty]) = (&row.op, row.operands.as_slice(), &*row.results) else {
        return false;
    };
    let before = new.ty(*from);
    before == ty
        && op.index_map(before).is_some_and(|map| map == IndexMap::Scale(1.0) || map.keeps_order(ty.shape))
}
