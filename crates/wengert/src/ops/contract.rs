//! Contractions: every product of two arrays that sums over labelled axes.
//!
//! One op in the notation of Einstein's sums. It is closed under everything that is done to it:
//! the transpose by an operand, a batch axis and a permuted operand only change its labels.

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{
    Attr, Attrs, Bilinear, Contraction, Domain, Form, Kernel, Labels, Op, ResultTypes, Var, Vars, operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

/// Each label stands in at least two of the three, and once in each.
#[derive(Clone, Copy)]
pub(crate) struct Contract(pub(super) Contraction);
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
        Ok(Self(Contraction { lhs: labels(lhs)?, rhs: labels(rhs)?, out: labels(out)?, gates: 0 }))
    }
}
impl Kernel for Contract {
    fn name(&self) -> &'static str {
        "contract"
    }
    fn attrs(&self) -> Attrs {
        let attrs = Attrs::new().with("labels", Attr::Text(self.0.text()));
        if self.0.gates == 0 { attrs } else { attrs.with("gates", Attr::Int(self.0.gates as i64)) }
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [lhs, rhs] = operands(types)?;
        self.0.infer(lhs, rhs).map(ResultTypes::from)
    }
    fn form(&self, _: &[TensorType]) -> Form {
        Form::Contract(self.0)
    }
}
impl Bilinear for Contract {
    fn gates(&self) -> u64 {
        self.0.gates
    }
    fn gated(&self, gates: u64) -> Option<Op> {
        Some(Op::bilinear(Self(Contraction { gates: gates & 3, ..self.0 })))
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Var<'t> {
        let Contraction { lhs, rhs, out, gates } = self.0;
        let gates = gates & !(1 << i);
        // The cotangent keeps its side, so that products come out in the order people write them.
        let (names, operands) = if i == 0 {
            (Contraction { lhs: out, rhs, out: lhs, gates }, [ct, x[1]])
        } else {
            (Contraction { lhs, rhs: out, out: rhs, gates }, [x[0], ct])
        };
        ct.recorder().emit_one(Op::bilinear(Self(names)), &operands)
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let used: Labels = self.0.names().collect();
        let free = (b'a'..=b'z').chain(b'A'..=b'Z').find(|l| !used.contains(l)).unwrap_or(b'?');
        let with = |labels: Labels, batched: bool| -> Labels {
            batched.then_some(free).into_iter().chain(labels.iter().copied()).collect()
        };
        let Contraction { lhs, rhs, out, gates } = self.0;
        let (lhs, rhs, out) = (with(lhs, batched[0]), with(rhs, batched[1]), with(out, true));
        x[0].recorder().emit(Op::bilinear(Self(Contraction { lhs, rhs, out, gates })), x)
    }
}
impl Registered for Contract {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let gates = if attrs.iter().any(|(name, _)| name == "gates") { attrs.usize("gates")? } else { 0 };
        if gates > 3 {
            return Err(ErrorKind::Malformed(format!("two operands have no gates {gates}")));
        }
        let Self(names) = Self::parse(&attrs.text("labels")?)?;
        Ok(Self(Contraction { gates: gates as u64, ..names }))
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
        let nothing = Contraction { lhs: b"".into(), rhs: b"".into(), out: b"".into(), gates: 0 };
        let Self(names) = Self::parse(SPECS[s.below(SPECS.len())]).unwrap_or(Self(nothing));
        let names = Contraction { gates: if s.below(2) == 0 { 0 } else { s.below(4) as u64 }, ..names };
        let large = s.below(8) == 0;
        let sizes: Vec<(u8, usize)> =
            names.names().map(|l| (l, if large { 7 + s.below(6) } else { s.size(0) })).collect();
        let spec = |labels: &Labels| {
            let dims: Vec<usize> =
                labels.iter().filter_map(|l| sizes.iter().find(|(m, _)| m == l).map(|(_, d)| *d)).collect();
            Spec::float(Shape::new(&dims).unwrap_or(Shape::SCALAR), Domain::All)
        };
        (Self(names), vec![spec(&names.lhs), spec(&names.rhs)])
    }
}

impl<'t> Var<'t> {
    /// The matrix product with NumPy's rules: the last axis of this with the one before the last
    /// of `other`; a vector stands for one row on the left and one column on the right; axes in
    /// front are batches and broadcast.
    ///
    /// *Shape*: `[…, m, k] · […, k, n]` is `[…, m, n]`. *Derivative*: `ct yᵀ` and `xᵀ ct`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let x = t.constant(array![1.0, 1.0]);
    /// assert_eq!(a.matmul(x).value()?.as_slice::<f64>()?, &[3.0, 7.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "dot")]
    #[doc(alias = "mm")]
    #[doc(alias = "bmm")]
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

    /// The product of two arrays summed over labelled axes, in Einstein's notation: see [`Recorder::einsum`](crate::Recorder::einsum).
    ///
    /// *Shape*: the letters of the result. *Derivative*: the product of the other, summed over its own letters.
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
        self.recorder().einsum(spec, [self, other])
    }
}

/// The contraction that multiplies arrays of these shapes, and the shapes they take for it.
fn matmul_plan(a: Shape, b: Shape) -> Result<(Contract, Shape, Shape), ErrorKind> {
    const BATCH: &[u8] = b"bcdefgh";
    if a.rank() == 0 || b.rank() == 0 {
        return Err(ShapeError::NoAxis { axis: 0, rank: 0 }.into());
    }
    let inner = (a[a.rank() - 1], b[b.rank().saturating_sub(2)]);
    if inner.0 != inner.1 {
        return Err(ShapeError::Inner { left: a.to_vec(), right: b.to_vec(), sizes: inner }.into());
    }
    let (front_a, front_b) = (a.rank().saturating_sub(2), b.rank().saturating_sub(2));
    let front = front_a.max(front_b);
    let batch = Shape::new(&a[..front_a])?.broadcast(&Shape::new(&b[..front_b])?)?;
    let side = |shape: Shape, own: usize, tail: &[u8]| -> Result<(Labels, Shape), ErrorKind> {
        let mut labels = Vec::new();
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
        Ok((labels.into_iter().collect(), Shape::new(&dims)?))
    };
    let rows: &[u8] = if a.rank() > 1 { b"m" } else { b"" };
    let columns: &[u8] = if b.rank() > 1 { b"n" } else { b"" };
    let (lhs, a) = side(a, front_a, &[rows, b"k"].concat())?;
    let (rhs, b) = side(b, front_b, &[b"k", columns].concat())?;
    let out: Labels = [&BATCH[..front], rows, columns].concat().into_iter().collect();
    Ok((Contract(Contraction { lhs, rhs, out, gates: 0 }), a, b))
}
