//! Rows whose operands are the same number everywhere, and rows that change nothing.

use smallvec::SmallVec;

use super::Rewrite;
use crate::elements::Slice;
use crate::ir::{Form, Leaf, Op, Opaque, Primitive, Row, Tape, Value};
use crate::kernels::{Compiled, Isa};
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;

/// A tape without the rows that can be computed now, and without those that return their operand.
pub(super) fn fold(tape: Tape) -> Tape {
    let mut new = Rewrite::new(tape);
    while let Some(row) = new.next() {
        if let Some(value) = number(&new, &row) {
            new.keep(Row { op: Op::Leaf(Leaf::Fill(value)), operands: SmallVec::new(), ..row });
        } else if let Some(operand) = identity(&new, &row) {
            new.rename(operand);
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
    let types: SmallVec<[TensorType; 3]> = row.operands.iter().map(|&v| *new.ty(v)).collect();
    let body = match row.op.kernel()?.form(&types) {
        Form::View(_) => return Some(first),
        Form::Map(body) if ty.dtype.is_float() => body,
        _ => return None,
    };
    let scalar = |ty: &TensorType| TensorType::new(ty.dtype, Shape::SCALAR);
    let tensors = types.iter().zip(&numbers).map(|(ty, &x)| Tensor::filled(scalar(ty), x).ok());
    let tensors: SmallVec<[Tensor; 3]> = tensors.collect::<Option<_>>()?;
    let mut result = Tensor::filled(scalar(ty), 0.0).ok()?;
    let x: SmallVec<[Slice<'_>; 3]> = tensors.iter().map(Tensor::data).collect();
    let compiled = Compiled::new(&body, 1, Isa::best()).ok()?;
    let mut scratch = vec![0; compiled.scratch().div_ceil(8)];
    compiled.run(&x, &mut [result.data_mut()], &mut scratch).ok()?;
    result.data().f64_at(0)
}

/// The operand that a row returns, if it does no more. An identity that stops derivatives, or states others, is one too, once
/// they are taken.
fn identity(new: &Rewrite, row: &Row) -> Option<Value> {
    let ([ty], [first, rest @ ..]) = (&*row.results, row.operands.as_slice()) else { return None };
    // A form takes time: none is asked of rows that compute something of several operands.
    if !(rest.is_empty() || matches!(row.op, Op::Custom(_))) || new.ty(*first).dtype != ty.dtype {
        return None;
    }
    let types: SmallVec<[TensorType; 3]> = row.operands.iter().map(|&v| *new.ty(v)).collect();
    let returned = match row.op.kernel()?.form(&types) {
        Form::View(map) if types[0] == *ty && map.keeps_order(ty.shape) => first,
        Form::Map(body) if types[..] == [*ty] => {
            let copies = body.factor() == Some(1.0) || body.single() == Some(Primitive::Copy);
            if copies { first } else { return None }
        }
        Form::Opaque(Opaque { returns: Some(i), .. }) => row.operands.get(i)?,
        _ => return None,
    };
    Some(*returned)
}
