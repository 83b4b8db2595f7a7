//! Contractions: every product of two arrays that sums over labelled axes.
//!
//! One op in the notation of Einstein's sums. It is closed under everything that is done to it:
//! the transpose by an operand, a batch axis and a permuted operand only change its labels.

use smallvec::SmallVec;

use crate::error::ErrorKind;
use crate::ir::{
    Attr, Attrs, Bilinear, Contraction, Domain, Form, Kernel, Op, ResultTypes, Var, Vars, operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

type Labels = SmallVec<[u8; 8]>;

/// `out = Σ lhs · rhs` over the labels that `out` lacks. Each label stands in at least two of the
/// three, and once in each.
#[derive(Clone)]
pub(crate) struct Contract {
    lhs: Labels,
    rhs: Labels,
    out: Labels,
    /// The operands, a bit each, whose zeros stand for themselves, whatever they are multiplied by.
    gates: u64,
}
impl Contract {
    /// From `ij,jk->ik`.
    fn parse(spec: &str) -> Result<Self, ErrorKind> {
        let malformed = || ErrorKind::Argument(format!("`{spec}` is not of the form `ij,jk->ik`"));
        let (operands, out) = spec.split_once("->").ok_or_else(malformed)?;
        let (lhs, rhs) = operands.split_once(',').ok_or_else(malformed)?;
        let labels = |s: &str| {
            let labels: Labels = s.trim().bytes().collect();
            let distinct = (1..labels.len()).all(|i| !labels[..i].contains(&labels[i]));
            let letters = labels.iter().all(u8::is_ascii_alphabetic);
            if letters && distinct { Ok(labels) } else { Err(malformed()) }
        };
        Ok(Self { lhs: labels(lhs)?, rhs: labels(rhs)?, out: labels(out)?, gates: 0 })
    }

    fn names(&self) -> Contraction<'_> {
        Contraction { lhs: &self.lhs, rhs: &self.rhs, out: &self.out, gates: self.gates }
    }
}
impl Kernel for Contract {
    fn name(&self) -> &'static str {
        "contract"
    }
    fn attrs(&self) -> Attrs {
        let attrs = Attrs::new().with("labels", Attr::Text(self.names().text()));
        if self.gates == 0 { attrs } else { attrs.with("gates", Attr::Int(self.gates as i64)) }
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [lhs, rhs] = operands(types)?;
        self.names().infer(lhs, rhs).map(ResultTypes::from)
    }
    fn form(&self, _: &[TensorType]) -> Form<'_> {
        Form::Contract(self.names())
    }
}
impl Bilinear for Contract {
    fn gates(&self) -> u64 {
        self.gates
    }
    fn gated(&self, gates: u64) -> Option<Op> {
        Some(Op::bilinear(Self { gates: gates & 3, ..self.clone() }))
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Var<'t> {
        let (other, out) = if i == 0 { (&self.rhs, &self.lhs) } else { (&self.lhs, &self.rhs) };
        // The cotangent keeps its side, so that products come out in the order people write them.
        let gates = self.gates & !(1 << i);
        let op = |lhs: &Labels, rhs: &Labels| {
            Op::bilinear(Self { lhs: lhs.clone(), rhs: rhs.clone(), out: out.clone(), gates })
        };
        if i == 0 {
            ct.recorder().emit_one(op(&self.out, other), &[ct, x[1]])
        } else {
            ct.recorder().emit_one(op(other, &self.out), &[x[0], ct])
        }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let used: Labels = self.names().names().collect();
        let free = (b'a'..=b'z').chain(b'A'..=b'Z').find(|l| !used.contains(l)).unwrap_or(b'?');
        let mut op = self.clone();
        op.out.insert(0, free);
        if batched[0] {
            op.lhs.insert(0, free);
        }
        if batched[1] {
            op.rhs.insert(0, free);
        }
        x[0].recorder().emit(Op::bilinear(op), x)
    }
}
impl Registered for Contract {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let gates = if attrs.iter().any(|(name, _)| name == "gates") { attrs.usize("gates")? } else { 0 };
        if gates > 3 {
            return Err(ErrorKind::Malformed(format!("two operands have no gates {gates}")));
        }
        Ok(Self { gates: gates as u64, ..Self::parse(&attrs.text("labels")?)? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        const SPECS: [&str; 9] = [
            "ik,kj->ij",
            "ki,kj->ij",
            "bik,bjk->ibj",
            "ijk,k->ij",
            "i,j->ij",
            "ij,ij->",
            "ij,ij->ij",
            "iak,kja->ji",
            "k,kj->j",
        ];
        let op = Self::parse(SPECS[s.below(SPECS.len())]).unwrap_or_else(|_| Self {
            lhs: Labels::new(),
            rhs: Labels::new(),
            out: Labels::new(),
            gates: 0,
        });
        let op = Self { gates: if s.below(2) == 0 { 0 } else { s.below(4) as u64 }, ..op };
        let large = s.below(8) == 0;
        let sizes: Vec<(u8, usize)> =
            op.names().names().map(|l| (l, if large { 7 + s.below(6) } else { s.size(0) })).collect();
        let spec = |labels: &Labels| {
            let dims: Vec<usize> =
                labels.iter().filter_map(|l| sizes.iter().find(|(m, _)| m == l).map(|(_, d)| *d)).collect();
            Spec::float(Shape::new(&dims).unwrap_or(Shape::SCALAR), Domain::All)
        };
        let specs = vec![spec(&op.lhs), spec(&op.rhs)];
        (op, specs)
    }
}

impl<'t> Var<'t> {
    /// The matrix product with NumPy's rules: the last axis of this with the one before the last
    /// of `other`; a vector stands for one row on the left and one column on the right; axes in
    /// front are batches and broadcast.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let x = t.constant(array![1.0, 1.0]);
    /// assert_eq!(a.matmul(x).value()?.as_slice::<f64>()?, &[3.0, 7.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(self, other: Var<'t>) -> Var<'t> {
        let (a, b) = (self.shape(), other.shape());
        match matmul_plan(a, b) {
            Ok((op, a, b)) => self.operation("matmul", || {
                let operands = [self.reshape(a), other.reshape(b)];
                self.recorder().emit_one(Op::bilinear(op), &operands)
            }),
            Err(kind) => {
                let columns = b.last().filter(|_| b.rank() > 1 || a.rank() < 2).copied();
                let rows = a.rank().saturating_sub(1);
                let guess = columns.map_or(a.remove(rows, 1), |n| a.with(rows, n));
                self.recorder().fail_like(kind, "matmul", TensorType::new(self.dtype(), guess))
            }
        }
    }

    /// The product of two arrays summed over labelled axes, in Einstein's notation: one letter for
    /// each axis, letters that the result lacks are summed over.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(a.einsum("ij,ij->", a).value()?.item()?, 30.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum(self, spec: &str, other: Var<'t>) -> Var<'t> {
        match Contract::parse(spec) {
            Ok(op) => self.operation("einsum", || self.contract(op, other)),
            Err(kind) => self.recorder().fail_like(kind, "einsum", self.ty()),
        }
    }

    #[track_caller]
    fn contract(self, mut op: Contract, other: Var<'t>) -> Var<'t> {
        // A letter of one operand alone is summed away before the product.
        let alone = |own: &Labels, others: [&Labels; 2]| -> Vec<usize> {
            (0..own.len()).filter(|&i| others.iter().all(|o| !o.contains(&own[i]))).collect()
        };
        let (l, r) = (alone(&op.lhs, [&op.rhs, &op.out]), alone(&op.rhs, [&op.lhs, &op.out]));
        let fits = op.lhs.len() == self.rank() && op.rhs.len() == other.rank();
        if !fits {
            return self.recorder().emit_one(Op::bilinear(op), &[self, other]);
        }
        let operands = [self.sum(l.as_slice()), other.sum(r.as_slice())];
        let (lhs, rhs, out) = (op.lhs.clone(), op.rhs.clone(), op.out.clone());
        op.lhs.retain(|label| rhs.contains(label) || out.contains(label));
        op.rhs.retain(|label| lhs.contains(label) || out.contains(label));
        self.recorder().emit_one(Op::bilinear(op), &operands)
    }
}

/// The contraction that multiplies arrays of these shapes, and the shapes they take for it.
fn matmul_plan(a: Shape, b: Shape) -> Result<(Contract, Shape, Shape), ErrorKind> {
    const BATCH: &[u8] = b"bcdefgh";
    if a.rank() == 0 || b.rank() == 0 {
        return Err(ErrorKind::Shape(format!("{a} · {b}: a scalar has no matrix product")));
    }
    let inner = (a[a.rank() - 1], b[b.rank().saturating_sub(2)]);
    if inner.0 != inner.1 {
        return Err(ErrorKind::Shape(format!("{a} · {b}: inner sizes {} and {} differ", inner.0, inner.1)));
    }
    let (front_a, front_b) = (a.rank().saturating_sub(2), b.rank().saturating_sub(2));
    let front = front_a.max(front_b);
    let batch = Shape::new(&a[..front_a])?
        .broadcast(&Shape::new(&b[..front_b])?)
        .map_err(|_| ErrorKind::Shape(format!("{a} · {b}: the axes before the last two do not broadcast")))?;
    let side = |shape: Shape, own: usize, tail: &[u8]| -> Result<(Labels, Shape), ErrorKind> {
        let mut labels = Labels::new();
        let mut dims = Vec::new();
        for axis in front - own..front {
            let size = shape[axis + own - front];
            // An axis that is repeated needs no copy: the contraction does without its label.
            if size == batch[axis] {
                labels.push(BATCH[axis]);
                dims.push(size);
            }
        }
        labels.extend_from_slice(tail);
        dims.extend_from_slice(&shape[own..]);
        Ok((labels, Shape::new(&dims)?))
    };
    let rows: &[u8] = if a.rank() > 1 { b"m" } else { b"" };
    let columns: &[u8] = if b.rank() > 1 { b"n" } else { b"" };
    let (lhs, a) = side(a, front_a, &[rows, b"k"].concat())?;
    let (rhs, b) = side(b, front_b, &[b"k", columns].concat())?;
    let out: Labels = [&BATCH[..front], rows, columns].concat().into_iter().collect();
    Ok((Contract { lhs, rhs, out, gates: 0 }, a, b))
}
