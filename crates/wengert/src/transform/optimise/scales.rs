//! Multiplications by numbers. Those of one another are one, and signs go where they cost nothing.
//!
//! A negation commutes, bit for bit, with whatever is linear: signs move down until something nonlinear wants them, and
//! disappear in sums and differences on the way. Other numbers stay on their array: past a sum or a product they might
//! overflow or vanish where the rows as recorded do not.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::Rewrite;
use crate::ir::{Algebra, Bilinear, Form, Leaf, Linear, Op, Origin, Row, Tape, Value};
use crate::ops::arith::{Add, Scale, Sub};
use crate::shape::TensorType;

/// Products of numbers lie between this and its inverse: far inside the range of any type.
const LARGEST: f64 = (1u64 << 30) as f64;

/// A tape with fewer multiplications by numbers.
pub(super) fn gather(tape: Tape) -> Tape {
    let mut sink = Sink { new: Rewrite::new(tape), factors: Vec::new(), made: HashMap::new() };
    while let Some(row) = sink.new.take() {
        sink.row(row);
    }
    sink.finish()
}

/// Whether a tape has multiplications by numbers.
pub(super) fn any(tape: &Tape) -> bool {
    tape.rows().iter().any(|row| factor(row, |v| tape.ty(v)).is_some())
}

/// The number that a row multiplies floats by, if that is all it does.
fn factor(row: &Row, ty_of: impl Fn(Value) -> Option<TensorType>) -> Option<f64> {
    let ([from], [ty]) = (row.operands.as_slice(), &*row.results) else { return None };
    let before = ty_of(*from).filter(|before| before == ty && ty.dtype.is_float())?;
    match row.op.kernel()?.form(&[before]) {
        Form::Map(body) => body.factor(),
        _ => None,
    }
}

/// Whether the operands that a row is linear in and its results are floats of one type, so that a number may pass.
fn uniform(new: &Rewrite, row: &Row) -> bool {
    let Some(dtype) = row.results.first().map(|ty| ty.dtype).filter(|d| d.is_float()) else { return false };
    let alike = |v: &Value| new.ty(new.of(*v)).dtype == dtype;
    let operands = row.operands.iter().enumerate().filter(|(o, _)| row.op.differentiable_in(*o));
    operands.map(|(_, v)| v).all(alike) && row.results.iter().all(|ty| ty.dtype == dtype)
}

/// Whether signs of both operands of a row may be taken out of it, bit for bit.
fn contracts(op: &dyn Bilinear, new: &Rewrite, row: &Row) -> bool {
    let types: SmallVec<[TensorType; 3]> = row.operands.iter().map(|&v| *new.ty(new.of(v))).collect();
    matches!(op.form(&types), Form::Contract(_))
}

fn moderate(factor: f64) -> bool {
    (LARGEST.recip()..=LARGEST).contains(&factor.abs())
}

/// Values on their way down: numbers times new ones.
struct Sink {
    new: Rewrite,
    /// The number that belongs to each name.
    factors: Vec<f64>,
    /// Products that were needed: by value and number.
    made: HashMap<(Value, u64), Value>,
}

impl Sink {
    fn factor(&self, old: Value) -> f64 {
        self.factors[(self.new.first[old.row as usize] + old.result) as usize]
    }

    fn sign(&self, old: Value) -> f64 {
        self.factor(old).signum()
    }

    /// An old value times this number, as a new one.
    fn times(&mut self, old: Value, factor: f64, origin: Origin) -> Value {
        let (base, factor) = (self.new.of(old), self.factor(old) * factor);
        if factor == 1.0 {
            return base;
        }
        if let Some(&made) = self.made.get(&(base, factor.to_bits())) {
            return made;
        }
        let ty = *self.new.ty(base);
        let (operands, results) = (std::iter::once(base).collect(), std::iter::once(ty).collect());
        let row = self.new.push(Row { op: Op::linear(Scale { factor }), operands, results, origin });
        let made = Value { row, result: 0 };
        self.made.insert((base, factor.to_bits()), made);
        made
    }

    /// An old value without its sign.
    fn unsigned(&mut self, old: Value, origin: Origin) -> Value {
        self.times(old, self.sign(old), origin)
    }

    /// The next row with an op and operands of its own, and the sign of its results.
    fn keep(&mut self, row: Row, sign: f64) {
        self.new.keep(row);
        self.factors.resize(self.new.names.len(), sign);
    }

    fn rename(&mut self, name: Value, factor: f64) {
        self.new.rename(name);
        self.factors.push(factor);
    }

    fn row(&mut self, row: Row) {
        let algebra = if let Op::Elementwise(f) = &row.op { f.algebra() } else { Algebra::Opaque };
        let own = |factor: f64| factor * row.operands.first().map_or(1.0, |&v| self.factor(v));
        if let Some(own) =
            factor(&row, |v| Some(*self.new.ty(self.new.of(v)))).map(own).filter(|&own| moderate(own))
        {
            return self.rename(self.new.of(row.operands[0]), own);
        }
        let unsigned = |sink: &mut Self| row.operands.iter().map(|&v| sink.unsigned(v, row.origin)).collect();
        let product = row.operands.iter().map(|&v| self.sign(v)).product();
        match (&row.op, algebra, row.operands.as_slice()) {
            _ if !uniform(&self.new, &row) => {}
            (Op::Bilinear(op), ..) if contracts(&**op, &self.new, &row) => {
                let operands = unsigned(self);
                return self.keep(Row { operands, ..row }, product);
            }
            (_, Algebra::Product | Algebra::Odd, _) => {
                let operands = unsigned(self);
                return self.keep(Row { operands, ..row }, product);
            }
            (_, Algebra::Sum | Algebra::Difference, &[a, b]) => {
                return self.sum(row, a, b, if let Algebra::Sum = algebra { 1.0 } else { -1.0 });
            }
            (Op::Linear(op), ..) => {
                if let Some(sign) = self.common(&**op, &row) {
                    let operands = row.operands.iter().enumerate();
                    let operands = operands.map(|(o, &v)| match op.linear_in(o) {
                        true if self.zero(v) => self.times(v, 1.0, row.origin),
                        true => self.unsigned(v, row.origin),
                        false => self.times(v, 1.0, row.origin),
                    });
                    let operands = operands.collect();
                    return self.keep(Row { operands, ..row }, sign);
                }
            }
            _ => {}
        }
        let operands = row.operands.iter().map(|&v| self.times(v, 1.0, row.origin)).collect();
        self.keep(Row { operands, ..row }, 1.0);
    }

    /// `a + sign · b`.
    fn sum(&mut self, row: Row, a: Value, b: Value, sign: f64) {
        let (by_a, by_b) = (self.factor(a), sign * self.factor(b));
        let base = self.new.of(a);
        // What cancels may be infinite, and its difference not a number.
        if base == self.new.of(b) && by_a * by_b > 0.0 && moderate(by_a + by_b) {
            return self.rename(base, by_a + by_b);
        }
        if by_a.abs() == 1.0 && by_b.abs() == 1.0 {
            let op = if by_a == by_b { Op::elementwise(Add) } else { Op::elementwise(Sub) };
            // −a + b is b − a, also in the sign of its zeros.
            let (pair, sign) = if by_a < by_b { ([b, a], 1.0) } else { ([a, b], by_a) };
            let operands = pair.map(|v| self.new.of(v)).into_iter().collect();
            return self.keep(Row { op, operands, ..row }, sign);
        }
        // A multiple is added, whatever its sign: to a sum a plan can add where the other operand lies.
        let subtracted = by_b == -1.0;
        let op = if subtracted { Op::elementwise(Sub) } else { Op::elementwise(Add) };
        let a = self.times(a, 1.0, row.origin);
        let b = self.times(b, if subtracted { -sign } else { sign }, row.origin);
        self.keep(Row { op, operands: [a, b].into_iter().collect(), ..row }, 1.0);
    }

    /// The new tape, with what is kept of it times its number.
    fn finish(mut self) -> Tape {
        let (outputs, updates) = (self.new.tape.outputs.clone(), self.new.tape.updates.clone());
        let mut last = |v: Value| self.times(v, 1.0, self.new.row(self.new.of(v)).origin);
        let outputs = outputs.into_iter().map(&mut last).collect();
        let updates = updates.into_iter().map(|(s, v)| (s, last(v))).collect();
        let Rewrite { tape, rows, .. } = self.new;
        Tape { rows: rows.into(), outputs, updates, ..tape }
    }

    fn zero(&self, old: Value) -> bool {
        matches!(self.new.op(self.new.of(old)), Op::Leaf(Leaf::Fill(x)) if *x == 0.0)
    }

    /// The sign of all operands in which an op is linear; zeros have any.
    fn common(&self, op: &dyn Linear, row: &Row) -> Option<f64> {
        let linear = row.operands.iter().enumerate().filter(|(o, _)| op.linear_in(*o)).map(|(_, &v)| v);
        let mut signs = linear.filter(|&v| !self.zero(v)).map(|v| self.sign(v));
        let first = signs.next()?;
        signs.all(|sign| sign == first).then_some(first)
    }
}
