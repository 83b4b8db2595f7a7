//! Matrix products as problems: which matrices, where they lie, and what becomes of what is there.

use super::pack::piece;
use super::simd::{Vector, chains};

/// With at most this many rows `B` is read where it lies.
pub(crate) const FEW: usize = 12;
/// The most columns that registers along another axis compute: more are faster as registers of columns.
pub(super) const MOST: usize = 32;
/// Sums shorter than this are no work for a register along them.
pub(super) const SHORT: usize = 32;

/// A matrix in memory: element `(i, j)` lies at `i · rows + j · columns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strides {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Strides {
    /// Whether all elements of an `m` by `n` matrix lie inside an array of this length.
    pub(super) fn inside(self, m: usize, n: usize, len: usize) -> bool {
        let reach = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        m == 0
            || n == 0
            || reach(m, self.rows)
                .zip(reach(n, self.columns))
                .and_then(|(r, c)| r.checked_add(c))
                .is_some_and(|last| last < len)
    }
}

/// `C[m, n] = α A[m, k] · B[k, n] + β C[m, n]`. Neighbours in a row of `C` lie side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Strides,
    pub(crate) b: Strides,
    /// The distance of the rows of `C`.
    pub(crate) c: usize,
    /// At 0 `C` is only written.
    pub(crate) beta: f64,
    /// By what the product is multiplied before it is added to `C`; 1 where β is 0.
    pub(crate) alpha: f64,
    /// Whether a few last columns are computed by themselves. The same for all parts of a product.
    pub(crate) skinny: bool,
    /// Whether zeros of `A` (bit 0) and of `B` (bit 1) stand for themselves, whatever they are multiplied by.
    pub(crate) gates: u64,
}

impl Product {
    /// How many of the last columns are computed by registers along another axis. Along `k`, where that decides how they are
    /// added, no register has a say in it.
    pub(super) fn skinny_columns<V: Vector>(&self) -> usize {
        let (n, k, a) = (self.n, self.k, self.a);
        let chains = chains::<V::Scalar>();
        let (rest, over) = (n % chains, n % V::LANES);
        if !self.skinny || k < SHORT {
            return 0;
        }
        // Where the others fill up the widest registers, they have room in the memory of packed columns.
        let room = (n - rest).next_multiple_of(2 * chains) + rest <= n.next_multiple_of(piece::<V::Scalar>());
        match (a.rows, a.columns) {
            // Where they fill up a pair of registers, more or less, they come at no cost.
            (_, 1) if !room => 0,
            (_, 1) if rest <= chains / 4 || (rest <= chains / 2 && n.div_ceil(chains) % 2 == 1) => rest,
            (_, 1) => 0,
            (1, _) if n <= MOST => n,
            (1, _) if over <= V::LANES / 2 => over,
            _ => 0,
        }
    }

    /// For few rows the columns of a plain `B` that fill whole panels are read where they lie.
    pub(super) fn plain_columns<V: Vector>(&self) -> usize {
        let width = V::VECTORS * V::LANES;
        let few = self.m <= FEW && self.b.columns == 1;
        if few { (self.n - self.skinny_columns::<V>()) / width * width } else { 0 }
    }
}

/// Where `B` is.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a, T> {
    /// In an array, by the strides of the product.
    Plain(&'a [T]),
    /// As [`pack`] left it.
    Packed(&'a [T]),
}
