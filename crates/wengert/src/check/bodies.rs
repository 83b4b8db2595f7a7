//! What bodies make of numbers, one by one: what every instruction set is held to.

use super::broken;
use crate::dtype::DType;
use crate::elements::{Element, with_float, with_integer};
use crate::error::Result;
use crate::ir::{Body, Instruction, Op, Primitive, Scalar};
use crate::kernels::{Fused, Lane, Real, Whole};
use crate::tensor::Tensor;

/// A number of any type, as f64 and, as an integer too large for that, as itself.
#[derive(Clone, Copy, Debug)]
enum Number {
    Float(f64),
    Integer(i64),
}

impl Number {
    fn f64(self) -> f64 {
        match self {
            Self::Float(x) => x,
            Self::Integer(x) => x as f64,
        }
    }
    fn is_true(self) -> bool {
        self.f64() != 0.0
    }
    /// Converted as `as` does.
    #[allow(clippy::unnecessary_cast)] // one text for every type
    fn to(self, dtype: DType) -> Self {
        if dtype == DType::Bool {
            return Self::Integer(i64::from(self.is_true()));
        }
        with_float!(dtype, T => Self::Float(match self {
            Self::Float(x) => (x as T).to_f64(),
            Self::Integer(x) => (x as T).to_f64(),
        }), with_integer!(dtype, T => Self::Integer(match self {
            Self::Float(x) => (x as T) as i64,
            Self::Integer(x) => (x as T) as i64,
        }), self))
    }
    fn cmp(self, other: Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (a, b) => a.f64().partial_cmp(&b.f64()),
        }
    }
}

/// A primitive of floats, with a fused multiply-add.
fn float<T: Real>(p: Primitive, x: [Number; 3]) -> Option<Number> {
    let [a, b, c] = x.map(|x| Fused(T::from_f64(x.f64())));
    let y = match p {
        Primitive::Add => a + b,
        Primitive::Sub => a - b,
        Primitive::Mul => a * b,
        Primitive::Div => a / b,
        Primitive::Max => a.max(b),
        Primitive::Min => a.min(b),
        Primitive::CopySign => a.copysign(b),
        Primitive::GatedMul(gates) => a.gated_mul(b, gates),
        Primitive::MulAdd => a.mul_add(b, c),
        Primitive::Neg => -a,
        Primitive::Abs => a.abs(),
        Primitive::Sqrt => a.sqrt(),
        Primitive::Round => a.round(),
        Primitive::Floor => a.floor(),
        Primitive::Exp => a.exp(),
        Primitive::Ln => a.ln(),
        Primitive::Sin => a.sin(),
        Primitive::Cos => a.cos(),
        Primitive::Tanh => a.tanh(),
        Primitive::Erf => a.erf(),
        Primitive::Sigmoid => a.sigmoid(),
        Primitive::SechSquared => a.sech_squared(),
        Primitive::Each(f) => a.each(f.0),
        Primitive::Each2(f) => a.each_2(b, f.0),
        _ => return None,
    };
    Some(Number::Float(y.0.to_f64()))
}

/// A primitive of integers, which wrap around.
fn whole(p: Primitive, dtype: DType, [a, b, _]: [Number; 3]) -> Option<Number> {
    let (Number::Integer(a), Number::Integer(b)) = (a, b) else { return None };
    let y = match p {
        Primitive::Add => a.wrapping_add(b),
        Primitive::Sub => a.wrapping_sub(b),
        Primitive::Mul => a.wrapping_mul(b),
        Primitive::Max => a.max(b),
        Primitive::Min => a.min(b),
        _ => return None,
    };
    Some(Number::Integer(y).to(dtype))
}

/// The results of a body for one element of each operand.
fn scalar(body: &Body, x: &[Number]) -> Option<Vec<Number>> {
    let mut made: Vec<Number> = Vec::new();
    let constants: Vec<Number> =
        body.constants().iter().map(|c| Number::Float(c.value).to(c.dtype)).collect();
    let of = |made: &[Number], s: Scalar| match s {
        Scalar::Operand(i) => x.get(i as usize).copied(),
        Scalar::Constant(i) => constants.get(i as usize).copied(),
        Scalar::Instruction(i) => made.get(i as usize).copied(),
    };
    for &Instruction { primitive, dtype, operands } in body.instructions() {
        let mut x = [Number::Integer(0); 3];
        for (x, s) in x.iter_mut().zip(operands) {
            *x = of(&made, s)?;
        }
        let truth = |truth: bool| Some(Number::Integer(i64::from(truth)));
        let [a, b, c] = x;
        let y = match primitive {
            Primitive::Less => truth(a.cmp(b) == Some(std::cmp::Ordering::Less)),
            Primitive::LessEqual => truth(a.cmp(b).is_some_and(|o| o != std::cmp::Ordering::Greater)),
            Primitive::Equal => truth(a.cmp(b) == Some(std::cmp::Ordering::Equal)),
            Primitive::And => truth(a.is_true() && b.is_true()),
            Primitive::Or => truth(a.is_true() || b.is_true()),
            Primitive::Not => truth(!a.is_true()),
            Primitive::Select => Some(if a.is_true() { b } else { c }),
            Primitive::Cast(to) => Some(a.to(to)),
            Primitive::Copy => Some(a),
            Primitive::Pow => {
                with_float!(dtype, T => Some(Number::Float((a.f64() as T).powf(b.f64() as T).to_f64())), None)
            }
            _ => with_float!(dtype, T => float::<T>(primitive, x), whole(primitive, dtype, x)),
        };
        made.push(y?);
    }
    body.results().iter().map(|&y| of(&made, y)).collect()
}

/// An op's numbers are those of its body, one by one, and an elementwise function's those of its text, bit for bit on instruction sets
/// with a fused multiply-add; others round otherwise.
pub(super) fn held(op: &Op, body: &Body, x: &[Tensor], y: &[Tensor], fused: bool) -> Result<()> {
    let number = |x: &Tensor, i: usize| match x.as_slice::<i64>() {
        Ok(x) => Number::Integer(x[i]),
        Err(_) if x.ty().dtype.is_float() => Number::Float(x.data().f64_at(i).unwrap_or(f64::NAN)),
        Err(_) => Number::Integer(x.data().f64_at(i).map_or(0, |x| x as i64)),
    };
    for i in 0..y.first().map_or(0, |y| y.shape().elements()) {
        let at: Vec<Number> = x.iter().map(|x| number(x, i)).collect();
        let due = scalar(body, &at).ok_or_else(|| broken(format!("a body that nobody knows: {body}")))?;
        let close = |due: f64, found: f64, single: bool| {
            let tolerance = if single { 1e-5 } else { 1e-13 };
            let same = due.to_bits() == found.to_bits() || (due.is_nan() && found.is_nan());
            same || (!fused && (due - found).abs() <= tolerance * due.abs().max(1.0))
        };
        for (due, y) in due.iter().zip(y) {
            let found = number(y, i);
            if !close(due.f64(), found.f64(), y.ty().dtype == DType::F32) {
                return Err(broken(format!("of {at:?} its body is {due:?}, its kernel says {found:?}")));
            }
        }
        if let (Op::Elementwise(f), [y]) = (op, y) {
            let dtype = y.ty().dtype;
            let at: Vec<f64> = at.iter().map(|x| x.f64()).collect();
            let found = number(y, i).f64();
            if let Some(due) = f.scalar(dtype, &at).filter(|due| !close(*due, found, dtype == DType::F32)) {
                return Err(broken(format!("of {at:?} its function is {due}, its kernel says {found}")));
            }
        }
    }
    Ok(())
}
