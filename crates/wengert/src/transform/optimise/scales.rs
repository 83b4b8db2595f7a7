//! Multiplications by numbers: all of a product gathered into one, where its array is smallest.
//!
//! Whatever is linear commutes with a scale. On the way down a value is remembered as a number times another,
//! and multiplied only where something nonlinear wants it; then the multiplication moves up again, to the
//! smallest array that nothing else reads. So pixels times 1/255 become a few sums times 1/255, a learning rate
//! multiplies a batch instead of its weights, and a negation disappears in a difference.
//!
//! What lies between may be larger or smaller than it was recorded, by the factor that is under way.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::Rewrite;
use crate::ir::{Algebra, IndexMap, Leaf, Linear, Op, Origin, Row, Tape, Value};
use crate::ops::arith::{Add, Scale, Sub};

/// Numbers under way lie between this and its inverse: others were probably chosen for the range of their type.
const LARGEST: f64 = (1u64 << 30) as f64;

/// A tape that multiplies fewer elements by numbers, or the same tape.
pub(super) fn gather(tape: &Tape) -> Tape {
    let scaled = |tape: &Tape| -> usize {
        let scales = tape.rows().iter().filter(|r| factor(tape, r).is_some());
        scales.map(|r| r.results[0].shape.elements()).fold(0, usize::saturating_add)
    };
    let before = scaled(tape);
    if before == 0 {
        return tape.clone();
    }
    let gathered = raise(&sink(tape));
    if scaled(&gathered) <= before { gathered } else { sums(tape) }
}

/// Differences `a − c·b` as sums `a + (−c)·b`: to a sum a plan can add where `a` lies.
fn sums(tape: &Tape) -> Tape {
    let uses = uses(tape);
    let mut new = Rewrite::new(tape);
    for row in tape.rows() {
        let mut operands = new.operands(row);
        let subtracted = match &row.op {
            Op::Elementwise(f) if matches!(f.algebra(), Algebra::Difference) => row.operands[1],
            _ => {
                new.keep(row, operands);
                continue;
            }
        };
        let scaled = &tape.rows()[subtracted.row as usize];
        match factor(tape, scaled).filter(|_| uses[subtracted.row as usize] == 1) {
            Some(own) => {
                let base = new.of(scaled.operands[0]);
                operands[1] = scale(&mut new, base, -own, scaled.origin);
                new.keep(&Row { op: Op::elementwise(Add), ..row.clone() }, operands);
            }
            None => new.keep(row, operands),
        }
    }
    new.finish()
}

/// How often each row's results are read, or kept.
fn uses(tape: &Tape) -> Vec<u32> {
    let mut uses: Vec<u32> = vec![0; tape.rows().len()];
    let ends = tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v));
    tape.rows().iter().flat_map(|r| &r.operands).chain(ends).for_each(|v| uses[v.row as usize] += 1);
    uses
}

/// The number that a row multiplies floats by, if that is all it does.
fn factor(tape: &Tape, row: &Row) -> Option<f64> {
    let (Op::Linear(op), [from], [ty]) = (&row.op, row.operands.as_slice(), &*row.results) else {
        return None;
    };
    let before = tape.ty(*from).filter(|before| before == ty && ty.dtype.is_float())?;
    match op.index_map(&before)? {
        IndexMap::Scale(factor) => Some(factor),
        _ => None,
    }
}

/// Whether the operands that a row is linear in and its results are floats of one type, so that a number may pass.
fn uniform(tape: &Tape, row: &Row) -> bool {
    let Some(dtype) = row.results.first().map(|ty| ty.dtype).filter(|d| d.is_float()) else { return false };
    let alike = |v: &Value| tape.ty(*v).is_some_and(|ty| ty.dtype == dtype);
    let operands = row.operands.iter().enumerate().filter(|(o, _)| row.op.differentiable_in(*o));
    operands.map(|(_, v)| v).all(alike) && row.results.iter().all(|ty| ty.dtype == dtype)
}

fn moderate(factor: f64) -> bool {
    (LARGEST.recip()..=LARGEST).contains(&factor.abs())
}

/// Adds a row that multiplies a new value by a number.
fn scale(new: &mut Rewrite<'_>, base: Value, factor: f64, origin: Origin) -> Value {
    let ty = new.rows[base.row as usize].results[base.result as usize];
    let (operands, results) = (std::iter::once(base).collect(), std::iter::once(ty).collect());
    Value { row: new.push(Row { op: Op::linear(Scale { factor }), operands, results, origin }), result: 0 }
}

/// Values on their way down: numbers times new ones.
struct Sink<'a> {
    new: Rewrite<'a>,
    /// The number that belongs to each name.
    factors: Vec<f64>,
    /// Products that were needed: by value and number.
    made: HashMap<(Value, u64), Value>,
}

impl Sink<'_> {
    fn factor(&self, old: Value) -> f64 {
        self.factors[(self.new.first[old.row as usize] + old.result) as usize]
    }

    /// An old value as a new one times this number.
    fn times(&mut self, old: Value, factor: f64, origin: Origin) -> Value {
        let (base, factor) = (self.new.of(old), self.factor(old) * factor);
        if factor == 1.0 {
            return base;
        }
        if let Some(&made) = self.made.get(&(base, factor.to_bits())) {
            return made;
        }
        let made = scale(&mut self.new, base, factor, origin);
        self.made.insert((base, factor.to_bits()), made);
        made
    }

    fn whole(&mut self, old: Value, origin: Origin) -> Value {
        self.times(old, 1.0, origin)
    }

    /// The next row with an op and operands of its own, and the number that its results are to be multiplied by.
    fn keep(&mut self, row: &Row, op: Op, operands: SmallVec<[Value; 3]>, factor: f64) {
        self.new.keep(&Row { op, ..row.clone() }, operands);
        self.factors.resize(self.new.names.len(), factor);
    }

    fn rename(&mut self, name: Value, factor: f64) {
        self.new.rename(name);
        self.factors.push(factor);
    }

    fn row(&mut self, row: &Row) {
        let bases = self.new.operands(row);
        let factors: SmallVec<[f64; 3]> = row.operands.iter().map(|&v| self.factor(v)).collect();
        let algebra = if let Op::Elementwise(f) = &row.op { f.algebra() } else { Algebra::Opaque };
        if let Some(own) = factor(self.new.from, row).map(|own| own * factors[0])
            && moderate(own)
        {
            return self.rename(bases[0], own);
        }
        match (&row.op, algebra, factors.as_slice()) {
            _ if !uniform(self.new.from, row) => {}
            (Op::Bilinear(op), ..) if op.contraction().is_none() => {}
            (Op::Bilinear(_), ..) | (_, Algebra::Product, _) => {
                let product = factors.iter().product();
                if moderate(product) {
                    return self.keep(row, row.op.clone(), bases, product);
                }
            }
            (_, Algebra::Sum | Algebra::Difference, &[a, b]) => {
                let sign = if let Algebra::Sum = algebra { 1.0 } else { -1.0 };
                // What cancels may be infinite, and its difference not a number.
                if bases[0] == bases[1] && a * sign * b > 0.0 && moderate(a + sign * b) {
                    return self.rename(bases[0], a + sign * b);
                }
                if a.abs() == b.abs() {
                    let op = if a == sign * b { Op::elementwise(Add) } else { Op::elementwise(Sub) };
                    return self.keep(row, op, bases, a);
                }
                if b != 1.0 {
                    let a = self.whole(row.operands[0], row.origin);
                    let b = self.times(row.operands[1], sign, row.origin);
                    return self.keep(row, Op::elementwise(Add), [a, b].into_iter().collect(), 1.0);
                }
            }
            (Op::Linear(op), ..) => {
                if let Some(common) = self.common(&**op, &bases, &factors) {
                    let operands = (0..bases.len()).map(|o| {
                        if op.linear_in(o) { bases[o] } else { self.whole(row.operands[o], row.origin) }
                    });
                    let operands = operands.collect();
                    return self.keep(row, row.op.clone(), operands, common);
                }
            }
            _ => {}
        }
        let operands = row.operands.iter().map(|&v| self.whole(v, row.origin)).collect();
        self.keep(row, row.op.clone(), operands, 1.0);
    }

    /// The number that all operands in which an op is linear are multiplied by; zeros are by any.
    fn common(&self, op: &dyn Linear, bases: &[Value], factors: &[f64]) -> Option<f64> {
        let zero = |o: &usize| matches!(self.new.op(bases[*o]), Op::Leaf(Leaf::Fill(x)) if *x == 0.0);
        let mut all = (0..bases.len()).filter(|&o| op.linear_in(o)).filter(|o| !zero(o)).map(|o| factors[o]);
        let first = all.next()?;
        all.all(|f| f == first).then_some(first)
    }
}

/// Scales move down as far as they can.
fn sink(tape: &Tape) -> Tape {
    let mut sink = Sink { new: Rewrite::new(tape), factors: Vec::new(), made: HashMap::new() };
    tape.rows().iter().for_each(|row| sink.row(row));
    let mut last = |v: Value| sink.whole(v, tape.rows()[v.row as usize].origin);
    let outputs = tape.outputs().iter().map(|&v| last(v)).collect();
    let updates = tape.updates().iter().map(|&(s, v)| (s, last(v))).collect();
    sink.new.with(outputs, updates)
}

/// An operand of a row.
type Edge = (u32, usize);

/// Scales move up to the smallest array on their way that is read nowhere else.
fn raise(tape: &Tape) -> Tape {
    let uses = uses(tape);
    let mut moved: HashMap<Edge, (f64, Origin)> = HashMap::new();
    let mut gone = vec![false; tape.rows().len()];
    for (i, row) in tape.rows().iter().enumerate() {
        let Some(own) = factor(tape, row).filter(|own| moderate(*own)) else { continue };
        let here = row.results[0].shape.elements();
        if let Some((there, edge)) = smallest(tape, &uses, row.operands[0])
            && there < here
        {
            // What lies on the way is read once, so no other number comes to the same edge.
            moved.insert(edge, (own, row.origin));
            gone[i] = true;
        }
    }
    let mut new = Rewrite::new(tape);
    for (i, row) in tape.rows().iter().enumerate() {
        let mut operands = new.operands(row);
        if gone[i] {
            new.rename(operands[0]);
            continue;
        }
        for (o, operand) in operands.iter_mut().enumerate() {
            if let Some(&(own, origin)) = moved.get(&(i as u32, o)) {
                *operand = scale(&mut new, *operand, own, origin);
            }
        }
        new.keep(row, operands);
    }
    new.finish()
}

/// Of the operands from which a value that is read once is made linearly, the smallest, and its size.
fn smallest(tape: &Tape, uses: &[u32], of: Value) -> Option<(usize, Edge)> {
    let mut best: Option<(usize, Edge)> = None;
    let mut open: SmallVec<[Value; 8]> = std::iter::once(of).collect();
    while let Some(value) = open.pop() {
        let row = &tape.rows()[value.row as usize];
        if uses[value.row as usize] != 1 || !uniform(tape, row) || factor(tape, row).is_some() {
            continue;
        }
        for o in 0..row.operands.len() {
            let operand = row.operands[o];
            let Some(ty) = tape.ty(operand).filter(|_| alone(row, o)) else { continue };
            let size = ty.shape.elements();
            if best.is_none_or(|(least, _)| size < least) {
                best = Some((size, (value.row, o)));
            }
            open.push(operand);
        }
    }
    best
}

/// Whether scaling operand `o` alone scales the results of a row.
fn alone(row: &Row, o: usize) -> bool {
    match &row.op {
        Op::Bilinear(op) => op.contraction().is_some(),
        Op::Elementwise(f) => matches!(f.algebra(), Algebra::Product),
        Op::Linear(op) if row.results.len() == 1 => {
            op.linear_in(o) && (0..row.operands.len()).filter(|&p| op.linear_in(p)).count() == 1
        }
        _ => false,
    }
}
