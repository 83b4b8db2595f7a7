//! Matrices: diagonals, triangles, and products that einsum spells.

use super::index::numbers;
use crate::dtype::DType;
use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Axes, IntoVar, Recorder, Var, named};

impl<'t> Var<'t> {
    /// The diagonal of the last two axes, which are of one size.
    ///
    /// *Shape*: without the last axis. *Derivative*: 1 on the diagonal.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.diagonal().value()?.to_f64(), [1.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal(self) -> Var<'t> {
        self.operation("diagonal", || self.recorder().einsum("...ii->...i", [self]))
    }

    /// The sum of the diagonal of the last two axes.
    ///
    /// *Shape*: without the last two axes. *Derivative*: 1 on the diagonal.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.trace().value()?.item()?, 5.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn trace(self) -> Var<'t> {
        self.operation("trace", || self.diagonal().sum(-1))
    }

    /// Matrices with these diagonals, over the last axis, and 0 elsewhere.
    ///
    /// *Shape*: with the last axis twice. *Derivative*: 1 from the diagonal.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.diag_embed().value()?.to_f64(), [1.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "diag")]
    #[track_caller]
    pub fn diag_embed(self) -> Var<'t> {
        self.operation("diag_embed", || {
            let Some(&size) = self.shape().last() else {
                return self.recorder().fail_like(
                    ShapeError::NoAxis { axis: -1, rank: 0 },
                    "diag_embed",
                    self.ty(),
                );
            };
            let mask = self.recorder().offsets(size, size).eq(0);
            mask.select(self.insert_axis(-1), 0.0)
        })
    }

    /// The matrices over the last two axes with 0 above a diagonal: 0 is the main one, higher ones lie to the right of it.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 where kept.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.tril(0).value()?.to_f64(), [1.0, 0.0, 3.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn tril(self, diagonal: isize) -> Var<'t> {
        self.operation("tril", || self.triangle("tril", |offsets| offsets.le(diagonal as i64)))
    }

    /// The matrices over the last two axes with 0 below a diagonal: 0 is the main one, higher ones lie to the right of it.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 where kept.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.triu(0).value()?.to_f64(), [1.0, 2.0, 0.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn triu(self, diagonal: isize) -> Var<'t> {
        self.operation("triu", || self.triangle("triu", |offsets| offsets.ge(diagonal as i64)))
    }

    #[track_caller]
    fn triangle(self, name: &'static str, kept: impl FnOnce(Var<'t>) -> Var<'t>) -> Var<'t> {
        match self.shape()[..] {
            [.., rows, columns] => kept(self.recorder().offsets(rows, columns)).select(self, 0.0),
            _ => {
                let kind = ShapeError::Rank { expected: 2, found: self.rank() };
                self.recorder().fail_like(kind, name, self.ty())
            }
        }
    }

    /// The products of each element of one vector with each of another.
    ///
    /// *Shape*: `[i, j]` of `[i]` and `[j]`. *Derivative*: the other.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.outer(&array![3.0, 4.0]).value()?.to_f64(), [3.0, 4.0, 6.0, 8.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn outer(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("outer", || self.einsum("i,j->ij", other.into_var(self)))
    }

    /// Kronecker's product of two matrices: each element of the first times all of the second.
    ///
    /// *Shape*: `[ik, jl]` of `[i, j]` and `[k, l]`. *Derivative*: the other.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0]]);
    /// assert_eq!(x.kron(&array![[3.0, 4.0]]).value()?.to_f64(), [3.0, 4.0, 6.0, 8.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn kron(self, other: impl IntoVar<'t>) -> Var<'t> {
        self.operation("kron", || {
            let other = other.into_var(self);
            let blocks = self.einsum("ij,kl->ikjl", other);
            let side = |axis| self.dim(axis).saturating_mul(other.dim(axis));
            if blocks.rank() == 4 { blocks.reshape([side(0), side(1)]) } else { blocks }
        })
    }

    /// The products of two arrays, summed over axes of this one and as many of the other, one with another in their order.
    ///
    /// *Shape*: the other axes of both. *Derivative*: the other.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.tensordot(&array![10.0, 1.0], 1, 0).value()?.to_f64(), [12.0, 34.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn tensordot(self, other: impl IntoVar<'t>, own: impl Axes, others: impl Axes) -> Var<'t> {
        self.operation("tensordot", || {
            let other = other.into_var(self);
            match (named(&own, self.rank()), named(&others, other.rank())) {
                (Ok(own), Ok(others)) if own.len() == others.len() => {
                    let letters =
                        |rank: usize, from: u8| (0..rank as u8).map(|i| from + i).collect::<Vec<u8>>();
                    let (a, mut b) = (letters(self.rank(), b'a'), letters(other.rank(), b'A'));
                    own.iter().zip(&others).for_each(|(&i, &j)| b[j] = a[i]);
                    let out: Vec<u8> = a
                        .iter()
                        .filter(|l| !b.contains(l))
                        .chain(b.iter().filter(|l| !a.contains(l)))
                        .copied()
                        .collect();
                    let text = |letters: Vec<u8>| String::from_utf8_lossy(&letters).into_owned();
                    self.einsum(&format!("{},{}->{}", text(a), text(b), text(out)), other)
                }
                (Ok(own), Ok(others)) => {
                    let kind = ErrorKind::Argument(format!("{} axes against {}", own.len(), others.len()));
                    self.recorder().fail_like(kind, "tensordot", self.ty())
                }
                (Err(kind), _) | (_, Err(kind)) => self.recorder().fail_like(kind, "tensordot", self.ty()),
            }
        })
    }
}

impl Recorder {
    /// By how much the column is larger than the row.
    #[track_caller]
    fn offsets(&self, rows: usize, columns: usize) -> Var<'_> {
        self.arange(columns) - self.arange(rows).insert_axis(1)
    }

    /// The whole numbers from 0 on, so many, as `i64`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.arange(3).value()?.to_f64(), [0.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "iota")]
    #[track_caller]
    pub fn arange(&self, count: usize) -> Var<'_> {
        numbers(self, "arange", count, |i| i)
    }

    /// So many numbers from the first to the last, equally far apart: those two are exact.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.linspace(wengert::DType::F64, 1.0, 2.0, 3);
    /// assert_eq!(x.value()?.to_f64(), [1.0, 1.5, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn linspace(&self, dtype: DType, first: f64, last: f64, count: usize) -> Var<'_> {
        self.operation("linspace", || {
            let weight = self.arange(count).cast(DType::F64) / count.saturating_sub(1).max(1);
            weight.fill(first).lerp(last, weight).cast(dtype)
        })
    }
}
