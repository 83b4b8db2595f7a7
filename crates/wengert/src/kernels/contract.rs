//! Contractions of two arrays along labelled axes, on top of a serial matrix product.

use smallvec::SmallVec;

use super::gemm::{self, gemm};
use super::pack::{self, pack};
use super::product::{FEW, Product, Right, SHORT, Strides};
use super::reduce::rescale;
use super::simd::{Isa, Real, Simd, Vector};
use super::skinny::Dot;
use super::tile::{is_nan, term};
use crate::dtype::DType;
use crate::elements::with_float;
use crate::error::Fault;
use crate::shape::{MAX_RANK, Shape};

/// One label of a contraction, or several that lie behind one another: size and stride in each array
/// (`None` where absent).
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// The labels, a byte each, the innermost lowest.
    labels: u128,
    size: usize,
    /// Its size in the whole result, of which this call may compute a part. Choices are made by this,
    /// so that a part has the bits of the whole.
    full: usize,
    lhs: Option<usize>,
    rhs: Option<usize>,
    out: Option<usize>,
}

/// The largest number of labels: those of the result and as many summed ones.
const MAX_LABELS: usize = 2 * MAX_RANK;

/// How an operand is packed once for all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// The operand: it is not chunked.
    pub(crate) operand: usize,
    /// Bytes, a multiple of eight for each piece.
    pub(crate) bytes: usize,
    /// Pieces that do not depend on one another.
    pub(crate) pieces: usize,
}

/// A contraction as loops over matrix products.
#[derive(Clone, Debug)]
pub(crate) struct Loops {
    /// Rows, columns and summed axis of the product; columns lie side by side in the result.
    m: Axis,
    n: Axis,
    k: Axis,
    /// The other axes, each a loop around the product.
    outer: SmallVec<[Axis; MAX_LABELS]>,
    /// Whether the second operand is the left matrix.
    swapped: bool,
    /// Whether zeros of the left (bit 0) and of the right matrix (bit 1) stand for themselves.
    gates: u64,
}

const ONE: Axis = Axis { labels: 0, size: 1, full: 1, lhs: None, rhs: None, out: None };

impl Loops {
    /// The loops of a contraction whose axes have these names, in the operands and in the result, and these strides in the
    /// operands; or of so many rows along the result's outermost axis. `gates` has a bit for each operand.
    pub(crate) fn of(
        [lhs, rhs, out]: [&[u8]; 3],
        shapes: [Shape; 2],
        strides: [[usize; MAX_RANK]; 2],
        gates: u64,
        rows: Option<usize>,
    ) -> Self {
        let at = |labels: &[u8], label: u8| labels.iter().position(|&l| l == label);
        let stride = |i: usize, labels: &[u8], label: u8| at(labels, label).map(|axis| strides[i][axis]);
        let size = |label: u8| {
            let own =
                |i: usize, labels: &[u8]| at(labels, label).and_then(|axis| shapes[i].get(axis)).copied();
            own(0, lhs).or_else(|| own(1, rhs)).unwrap_or(0)
        };
        let outermost = out.iter().position(|&label| size(label) != 1).unwrap_or(0);
        let mut axes: SmallVec<[Axis; MAX_LABELS]> = SmallVec::new();
        // Labels of the result come first, so from the last of them on its strides are products of sizes.
        let mut step = 1;
        for (axis, &label) in out.iter().enumerate().rev() {
            let (full, labels) = (size(label), u128::from(label));
            let size = rows.filter(|_| axis == outermost).unwrap_or(full);
            let (lhs, rhs) = (stride(0, lhs, label), stride(1, rhs, label));
            axes.push(Axis { labels, size, full, lhs, rhs, out: Some(step) });
            step *= full;
        }
        axes.reverse();
        for &label in lhs.iter().filter(|l| !out.contains(l)) {
            let (full, labels) = (size(label), u128::from(label));
            let (lhs, rhs) = (stride(0, lhs, label), stride(1, rhs, label));
            axes.push(Axis { labels, size: full, full, lhs, rhs, out: None });
        }
        Self::new(&axes, gates)
    }

    fn new(axes: &[Axis], gates: u64) -> Self {
        let mut axes: SmallVec<[Axis; MAX_LABELS]> = axes.iter().copied().filter(|a| a.full != 1).collect();
        fuse(&mut axes);
        // Columns are neighbours in the result: where those belong to the first operand alone, the operands
        // change places. A vector that results from a row-major matrix is a column of rows instead.
        let neighbours = |a: &&Axis| a.out == Some(1);
        let left = axes.iter().find(neighbours).filter(|a| a.rhs.is_none());
        let matrix = axes.iter().any(|a| a.lhs.is_none());
        let swapped = left.is_some_and(|a| matrix || a.lhs == Some(1));
        if swapped {
            axes.iter_mut().for_each(|a| std::mem::swap(&mut a.lhs, &mut a.rhs));
        }
        let columns = axes.iter().position(|a| a.lhs.is_none() && a.out == Some(1));
        let n = columns.map_or(ONE, |i| axes.remove(i));
        let m = take(&mut axes, |a| a.rhs.is_none());
        let k = take(&mut axes, |a| a.out.is_none());
        let gates = if swapped { gates >> 1 | (gates & 1) << 1 } else { gates };
        Self { m, n, k, outer: axes, swapped, gates }
    }

    fn product(&self, alpha: f64, beta: f64) -> Product {
        let Self { m, n, k, .. } = self;
        let at = |stride: Option<usize>| stride.unwrap_or(0);
        Product {
            m: m.size,
            n: n.size,
            k: k.size,
            a: Strides { rows: at(m.lhs), columns: at(k.lhs) },
            b: Strides { rows: at(k.rhs), columns: at(n.rhs) },
            c: at(m.out),
            beta,
            alpha,
            skinny: m.full > FEW,
            gates: self.gates,
        }
    }

    /// Whether two ways to lay out the operands give the same bits: the same loops, and the same kernel.
    pub(crate) fn same_bits(&self, other: &Self) -> bool {
        let labels = |l: &Self| {
            [&l.m, &l.n, &l.k].into_iter().chain(&l.outer).map(|a| a.labels).collect::<SmallVec<[u128; 8]>>()
        };
        // A few last columns are summed in several chains where rows of the left matrix lie along `k`.
        let chains = |l: &Self| (l.kernel(), l.m.full > FEW && l.k.lhs == Some(1));
        labels(self) == labels(other) && self.swapped == other.swapped && chains(self) == chains(other)
    }

    /// How each product is computed.
    fn kernel(&self) -> Inner {
        match (self.m.full, self.n.full, self.k.full) {
            (1, 1, SHORT..) if self.k.lhs == Some(1) && self.k.rhs == Some(1) => Inner::Dot,
            (1, 1, _) => Inner::Plain,
            (m, n, k) if m.saturating_mul(n).saturating_mul(k) <= SMALL => Inner::Plain,
            _ => Inner::Gemm,
        }
    }

    /// Elements of the right matrix packed once for all rows; 0 where each call reads it as it is.
    fn packed_len<T>(&self) -> usize {
        let often = self.m.full > FEW && self.outer.is_empty() && self.kernel() == Inner::Gemm;
        if often { pack::packed_len::<T>(self.k.full, self.n.full) } else { 0 }
    }

    /// How the right matrix is packed once for all rows, if it is.
    pub(crate) fn packed(&self, dtype: DType) -> Option<Packed> {
        let (bytes, pieces) = with_float!(dtype, T => {
            let bytes = self.packed_len::<T>() * size_of::<T>();
            Ok::<_, Fault>((bytes, self.n.full.div_ceil(pack::piece::<T>())))
        })
        .ok()?;
        (bytes > 0).then_some(Packed { operand: self.right(), bytes, pieces })
    }

    /// Bytes of scratch of a call.
    pub(crate) fn scratch_bytes(&self, dtype: DType) -> usize {
        let bytes: Result<usize, Fault> =
            with_float!(dtype, T => Ok(self.scratch_len::<T>().saturating_mul(size_of::<T>())));
        bytes.unwrap_or(0)
    }

    /// Which operand is the right matrix.
    pub(crate) fn right(&self) -> usize {
        usize::from(!self.swapped)
    }

    /// Packs some of the pieces of the right matrix.
    pub(crate) fn pack<T: Real>(
        &self,
        isa: Isa,
        pieces: std::ops::Range<usize>,
        right: &[T],
        out: &mut [T],
    ) -> Result<(), Fault> {
        let p = self.product(1.0, 0.0);
        let (start, end) = (pieces.start * pack::piece::<T>(), (pieces.end * pack::piece::<T>()).min(p.n));
        let from = right.get(start * p.b.columns..).unwrap_or(&[]);
        pack(isa, &p, (start, end.saturating_sub(start)), from, out)
    }

    /// Elements of scratch of a call.
    fn scratch_len<T>(&self) -> usize {
        match self.kernel() {
            Inner::Gemm if self.packed_len::<T>() > 0 => gemm::left_len::<T>(self.k.full),
            Inner::Gemm => gemm::scratch_len::<T>(self.k.full, self.n.full),
            Inner::Dot | Inner::Plain => 0,
        }
    }

    /// `out = α Σ lhs · rhs + β out`; `packed` is what [`pack`](Self::pack) made, if anything.
    pub(crate) fn run<T: Real>(
        &self,
        isa: Isa,
        (lhs, rhs): (&[T], &[T]),
        packed: &[T],
        (alpha, beta): (f64, f64),
        out: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Fault> {
        let (left, right) = if self.swapped { (rhs, lhs) } else { (lhs, rhs) };
        let sizes = [self.m, self.n, self.k];
        let empty = sizes.iter().chain(&self.outer).any(|a| a.size == 0);
        let summed = self.outer.iter().any(|a| a.out.is_none());
        if empty || summed {
            rescale(out, beta);
        }
        if empty {
            return Ok(());
        }
        let (product, inner) = (self.product(alpha, if summed { 1.0 } else { beta }), self.kernel());
        let mut index = [0usize; MAX_LABELS];
        let (mut l, mut r, mut o) = (0, 0, 0);
        loop {
            let (a, b, c) = (&left[l..], &right[r..], &mut out[o..]);
            match inner {
                Inner::Gemm if packed.is_empty() => gemm(isa, &product, a, Right::Plain(b), c, scratch)?,
                Inner::Gemm => gemm(isa, &product, a, Right::Packed(packed), c, scratch)?,
                Inner::Plain => isa.run(Plain { p: &product, a, b, c }),
                Inner::Dot => isa.run(Dot::new(&product, a, b, c)),
            }
            let mut axis = self.outer.len();
            loop {
                if axis == 0 {
                    return Ok(());
                }
                axis -= 1;
                let a = self.outer[axis];
                let (sl, sr, so) = (a.lhs.unwrap_or(0), a.rhs.unwrap_or(0), a.out.unwrap_or(0));
                index[axis] += 1;
                if index[axis] < a.size {
                    (l, r, o) = (l + sl, r + sr, o + so);
                    break;
                }
                let back = a.size - 1;
                (l, r, o) = (l - sl * back, r - sr * back, o - so * back);
                index[axis] = 0;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Inner {
    Dot,
    Plain,
    Gemm,
}

/// Products with at most this many multiplications run as plain loops: a call would cost more.
const SMALL: usize = 64;

/// A product by plain loops: each sum is one chain, in the order of `k`.
struct Plain<'a, 'b, T> {
    p: &'a Product,
    a: &'b [T],
    b: &'b [T],
    c: &'a mut [T],
}

impl<T: Real> Simd<T> for Plain<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { p, a, b, c } = self;
        for i in 0..p.m {
            for j in 0..p.n {
                let at = |q: usize| (a[i * p.a.rows + q * p.a.columns], b[q * p.b.rows + j * p.b.columns]);
                let mut sum = T::default();
                for q in 0..p.k {
                    let (a, b) = at(q);
                    sum = V::fused(a, b, sum);
                }
                if p.gates != 0 && is_nan(sum) {
                    let term = |sum, q| {
                        let (a, b) = at(q);
                        term(p.gates, V::all(a), V::all(b), V::all(sum)).first()
                    };
                    sum = (0..p.k).fold(T::default(), term);
                }
                let o = &mut c[i * p.c + j];
                let add = p.beta != 0.0;
                *o = if add { V::fused(*o, T::from_f64(p.beta), sum * T::from_f64(p.alpha)) } else { sum };
            }
        }
    }
}

/// Merges labels that lie behind one another in every array.
fn fuse(axes: &mut SmallVec<[Axis; MAX_LABELS]>) {
    let follows = |outer: Option<usize>, inner: Option<usize>, size: usize| match (outer, inner) {
        (None, None) => true,
        (Some(o), Some(i)) => o == i * size,
        _ => false,
    };
    let mut i = 0;
    while i < axes.len() {
        let a = axes[i];
        let partner = (0..axes.len()).find(|&j| {
            let b = axes[j];
            // A label that is cut goes outside of the others, and its own neighbours are whole.
            j != i
                && b.size == b.full
                && follows(a.lhs, b.lhs, b.size)
                && follows(a.rhs, b.rhs, b.size)
                && follows(a.out, b.out, b.size)
        });
        if let Some(j) = partner {
            let bytes = (u128::BITS - axes[j].labels.leading_zeros()).next_multiple_of(8);
            axes[j].labels |= a.labels << bytes;
            axes[j].size *= a.size;
            axes[j].full *= a.full;
            axes.remove(i);
            i = 0;
        } else {
            i += 1;
        }
    }
}

/// Takes the largest label of a role out of the loops, or one of size 1.
fn take(axes: &mut SmallVec<[Axis; MAX_LABELS]>, role: impl Fn(&Axis) -> bool) -> Axis {
    let largest = (0..axes.len()).filter(|&i| role(&axes[i])).max_by_key(|&i| axes[i].full);
    largest.map_or(ONE, |i| axes.remove(i))
}
