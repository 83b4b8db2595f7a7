//! Matrices over the last two axes, those in front being batches: factors, systems, inverses and determinants.

mod cholesky;
mod determinant;
mod lu;
mod solve;
mod triangular;

pub(crate) use cholesky::Cholesky;
pub(crate) use determinant::{Cofactors, Determinant};
pub(crate) use lu::Lu;
pub(crate) use solve::Solve;
pub use triangular::Triangular;
pub(crate) use triangular::TriangularSolve;

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Opaque, Var};
use crate::kernels::linalg;
use crate::shape::{Shape, TensorType, one_float_type};

/// The batches, and the rows of square matrices.
fn square(ty: TensorType) -> Result<(Shape, usize), ErrorKind> {
    one_float_type(&[ty])?;
    let shape = ty.shape;
    match shape[..] {
        [.., rows, columns] if rows == columns => Ok((shape.remove(shape.rank() - 2, 2), rows)),
        [.., _, _] => Err(ShapeError::Other(format!("{shape} are no square matrices")).into()),
        _ => Err(ShapeError::Rank { expected: 2, found: shape.rank() }.into()),
    }
}

/// The columns of right sides that fit square matrices.
fn columns(a: TensorType, b: TensorType) -> Result<usize, ErrorKind> {
    one_float_type(&[a, b])?;
    let (batch, n) = square(a)?;
    match b.shape[..] {
        [.., rows, columns] if rows == n && b.shape.remove(b.shape.rank() - 2, 2) == batch => Ok(columns),
        _ => Err(ShapeError::Other(format!("{a} and {b} are no systems of as many rows")).into()),
    }
}

/// Whatever is computed matrix by matrix: each a block, with so many elements of scratch and so many products.
fn by_matrix(ty: TensorType, elements: usize, products: usize) -> Opaque {
    let count: usize = ty.shape[..ty.shape.rank() - 2].iter().product();
    Opaque::default()
        .in_blocks(count.max(1))
        .with_scratch(elements.saturating_mul(ty.dtype.bytes()))
        .with_work(count.saturating_mul(products / 8).max(ty.shape.elements()))
}

/// Elements of scratch for factors of `n` rows and systems of `m` columns.
fn scratch(ty: TensorType, n: usize, m: usize) -> usize {
    if ty.dtype.bytes() == 4 { linalg::scratch::<f32>(n, m) } else { linalg::scratch::<f64>(n, m) }
}

/// The right side of the system that a tangent solves: `dB − dA X`, of which either may be missing.
fn right_side<'t>(db: Option<Var<'t>>, moved: Option<Var<'t>>) -> Option<Var<'t>> {
    match (db, moved) {
        (Some(db), Some(moved)) => Some(db - moved),
        (db, moved) => db.or(moved.map(|moved| -moved)),
    }
}

/// Whether right sides are vectors: one for all matrices, or one for each.
fn are_vectors(a: Shape, b: Shape) -> bool {
    b.rank() == 1 || (b.rank() > 0 && b.rank() + 1 == a.rank() && a[..b.rank()] == b[..])
}

impl<'t> Var<'t> {
    /// Matrices transposed: the last two axes exchanged.
    #[track_caller]
    fn flipped(self) -> Var<'t> {
        self.swap_axes(-1, -2)
    }

    /// Brings systems into the form of an op: the same batches, and right sides as columns. Says whether they were vectors.
    #[track_caller]
    fn systems(self, name: &'static str, b: Var<'t>) -> Result<(Var<'t>, Var<'t>, bool), Var<'t>> {
        let (a_shape, b_shape) = (self.shape(), b.shape());
        let vector = are_vectors(a_shape, b_shape);
        let found = square(self.ty()).and_then(|(batch, n)| {
            let rank = b_shape.rank() + usize::from(vector);
            if rank < 2 {
                return Err(ShapeError::Rank { expected: 2, found: rank }.into());
            }
            let rows = if vector { b_shape.rank() - 1 } else { b_shape.rank() - 2 };
            if b_shape[rows] != n {
                let what = format!("matrices {a_shape} with right sides {b_shape}, which have not {n} rows");
                return Err(ShapeError::Other(what).into());
            }
            let own = b_shape.remove(rows, if vector { 1 } else { 2 });
            let common = batch.broadcast(&own)?;
            let columns = if vector { 1 } else { b_shape[rows + 1] };
            let with = |columns: usize| Shape::new(&[&common[..], &[n, columns]].concat());
            Ok((with(n)?, with(columns)?))
        });
        match found {
            Ok((a, columns)) => {
                let b = if vector { b.insert_axis(-1) } else { b };
                Ok((self.broadcast_to(a), b.broadcast_to(columns), vector))
            }
            Err(kind) => Err(self.recorder().fail_like(kind, name, b.ty())),
        }
    }

    /// The identity matrices of these matrices' shape.
    #[track_caller]
    fn ones_on_diagonal(self) -> Var<'t> {
        let size = self.shape().last().copied().unwrap_or(1);
        let numbers = self.recorder().arange(size);
        let identity = numbers.insert_axis(-1).eq(numbers).cast(self.dtype());
        identity.broadcast_to(self.shape())
    }

    /// The inverses of square matrices over the last two axes. Of a singular one numbers are infinite or NaN. To multiply by an inverse, [`solve`](Self::solve) is
    /// faster and nearer.
    ///
    /// *Shape*: as `x`. *Derivative*: `−X⁻¹ dX X⁻¹`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[2.0, 0.0], [1.0, 4.0]]);
    /// assert_eq!(x.inverse().value()?.to_f64(), [0.5, 0.0, -0.125, 0.25]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "inv")]
    #[track_caller]
    pub fn inverse(self) -> Var<'t> {
        match square(self.ty()) {
            Ok(_) => self.operation("inverse", || self.solve(self.ones_on_diagonal())),
            Err(kind) => self.recorder().fail_like(kind, "inverse", self.ty()),
        }
    }

    /// Square matrices over the last two axes multiplied by themselves so often; the identity for 0, inverses for negative powers.
    ///
    /// *Shape*: as `x`. *Derivative*: that of the products.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 1.0], [0.0, 1.0]]);
    /// assert_eq!(x.matrix_power(5).value()?.to_f64(), [1.0, 5.0, 0.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn matrix_power(self, power: i32) -> Var<'t> {
        if let Err(kind) = square(self.ty()) {
            return self.recorder().fail_like(kind, "matrix_power", self.ty());
        }
        self.operation("matrix_power", || {
            let mut factor = if power < 0 { self.inverse() } else { self };
            let (mut left, mut product) = (power.unsigned_abs(), None);
            while left > 0 {
                if left % 2 == 1 {
                    product = Some(product.map_or(factor, |product: Var<'t>| product.matmul(factor)));
                }
                left /= 2;
                if left > 0 {
                    factor = factor.matmul(factor);
                }
            }
            product.unwrap_or_else(|| self.ones_on_diagonal())
        })
    }

    /// The solutions `x` with the least `‖a x − b‖`, of matrices of at least as many rows as columns, by Cholesky's factor of `aᵀ a`: exact to the square of the
    /// condition number. A run fails where columns are not independent.
    ///
    /// *Shape*: `[…, m, n]` and `[…, m]` or `[…, m, k]` are `[…, n]` or `[…, n, k]`. *Derivative*: implicit.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]);
    /// let x = a.least_squares(t.constant(array![1.0, 3.0, 5.0]));
    /// assert!(x.value()?.to_f64().iter().zip([1.0, 2.0]).all(|(x, due)| (x - due).abs() < 1e-12));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "lstsq")]
    #[track_caller]
    pub fn least_squares(self, b: Var<'t>) -> Var<'t> {
        if self.rank() < 2 {
            let kind = ShapeError::Rank { expected: 2, found: self.rank() };
            return self.recorder().fail_like(kind, "least_squares", b.ty());
        }
        self.operation("least_squares", || {
            let vector = are_vectors(self.shape(), b.shape());
            let b = if vector { b.insert_axis(-1) } else { b };
            let transposed = self.flipped();
            let x = transposed.matmul(self).cholesky().cholesky_solve(transposed.matmul(b));
            if vector { x.squeeze(-1) } else { x }
        })
    }
}
