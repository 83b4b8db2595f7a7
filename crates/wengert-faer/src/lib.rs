//! Eigenvalues, singular values, QR and pseudoinverses for the tape of [`wengert`], computed by [`faer`] on one thread.
//!
//! The ops use the public traits of `wengert` alone, as those of any other crate would, and keep its laws: derivatives of every order in both modes, batches over the axes in front. They differ
//! from its own ops in two respects. A call allocates what faer works in. And bits are those of faer, which may differ from processor to processor; on one they do not.
//!
//! ```
//! use ndarray::array;
//! use wengert_faer::LinearAlgebra;
//! let t = wengert::Recorder::default();
//! let x = t.constant(array![[2.0, 1.0], [1.0, 2.0]]);
//! let (values, _) = x.eigh();
//! assert!(values.value()?.to_f64().iter().zip([1.0, 3.0]).all(|(w, due)| (w - due).abs() < 1e-14));
//! # Ok::<(), wengert::Error>(())
//! ```
#![forbid(unsafe_code)]

mod distinct;
mod eigh;
mod matrix;
mod pinv;
mod qr;
mod svd;

use wengert::{ErrorKind, Registry, Var};

/// What this crate adds to variables: matrices over the last two axes, in batches.
pub trait LinearAlgebra<'t>: Sized {
    /// Eigenvalues, in ascending order, and eigenvectors, as columns, of the symmetric part `(x + xᵀ) / 2` of square matrices. Of an eigenvector the sign is faer's. A run fails where
    /// derivatives of eigenvectors of equal eigenvalues are asked for, which do not exist; those of the values alone are there.
    ///
    /// *Shape*: `[…, n]` and `[…, n, n]`. *Derivative*: `vᵀ dx v` of a value; of a vector the sum of the others times `vⱼᵀ dx vᵢ / (wᵢ − wⱼ)` (Giles, "An extended collection of matrix derivative
    /// results", 2008).
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[3.0, 0.0], [0.0, 1.0]]);
    /// let (values, _) = x.eigh();
    /// let g = values.at(0).gradients(x);
    /// assert_eq!(g[x].value()?.to_f64(), [0.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn eigh(self) -> (Self, Self);

    /// The eigenvalues of [`eigh`](Self::eigh) alone.
    ///
    /// *Shape*: `[…, n]`. *Derivative*: `vᵀ dx v`.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(array![[5.0, 0.0], [0.0, 2.0]]).eigvalsh().value()?.to_f64(), [2.0, 5.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn eigvalsh(self) -> Self;

    /// Singular vectors and values, `x = u · diag(s) · vᵀ`: as many as rows or columns, whichever are fewer, the largest first. The signs are faer's. A run fails where derivatives of singular vectors are
    /// asked for whose values are equal or zero.
    ///
    /// *Shape*: `[…, m, k]`, `[…, k]` and `[…, n, k]`. *Derivative*: `uᵀ dx v` of a value; of vectors as Townsend, "Differentiating the singular value decomposition", 2016.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[0.0, 2.0], [3.0, 0.0], [0.0, 0.0]]);
    /// let (u, s, v) = x.svd();
    /// assert_eq!((u.shape().to_vec(), v.shape().to_vec()), (vec![3, 2], vec![2, 2]));
    /// assert!(s.value()?.to_f64().iter().zip([3.0, 2.0]).all(|(s, due)| (s - due).abs() < 1e-14));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn svd(self) -> (Self, Self, Self);

    /// The singular values of [`svd`](Self::svd) alone.
    ///
    /// *Shape*: `[…, k]`. *Derivative*: `uᵀ dx v`.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// let s = t.constant(array![[0.0, -4.0]]).singular_values();
    /// assert!((s.value()?.item()? - 4.0).abs() < 1e-14);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn singular_values(self) -> Self;

    /// The sum of the singular values.
    ///
    /// *Shape*: without the last two axes. *Derivative*: `u vᵀ`.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// let y = t.constant(array![[3.0, 0.0], [0.0, -4.0]]).nuclear_norm();
    /// assert!((y.value()?.item()? - 7.0).abs() < 1e-14);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn nuclear_norm(self) -> Self;

    /// `x = q · r` of matrices of at least as many rows as columns: orthonormal columns, and an upper triangle whose diagonal is not negative. A run fails where derivatives of columns that are not
    /// independent are asked for.
    ///
    /// *Shape*: `[…, m, n]` and `[…, n, n]`. *Derivative*: as Walter and Lehmann, "Algorithmic differentiation of linear algebra functions", 2018.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// let (q, r) = t.constant(array![[0.0, 2.0], [-3.0, 1.0]]).qr();
    /// assert!(r.value()?.to_f64().iter().zip([3.0, -1.0, 0.0, 2.0]).all(|(r, due)| (r - due).abs() < 1e-14));
    /// assert_eq!(q.shape(), [2, 2]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn qr(self) -> (Self, Self);

    /// The pseudoinverse of Moore and Penrose. Singular values below `max(m, n) · ε` of the largest are zero.
    ///
    /// *Shape*: `[…, n, m]`. *Derivative*: that of constant rank (Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate", 1973).
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert_faer::LinearAlgebra;
    /// let t = wengert::Recorder::default();
    /// let p = t.constant(array![[2.0, 0.0], [0.0, 0.0]]).pinv();
    /// assert!(p.value()?.to_f64().iter().zip([0.5, 0.0, 0.0, 0.0]).all(|(p, due)| (p - due).abs() < 1e-14));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    fn pinv(self) -> Self;
}

impl<'t> LinearAlgebra<'t> for Var<'t> {
    #[track_caller]
    fn eigh(self) -> (Self, Self) {
        let [values, vectors] = eigh::eigh(self);
        (values, vectors)
    }
    #[track_caller]
    fn eigvalsh(self) -> Self {
        eigh::eigh(self)[0]
    }
    #[track_caller]
    fn svd(self) -> (Self, Self, Self) {
        let [u, s, v] = svd::svd(self);
        (u, s, v)
    }
    #[track_caller]
    fn singular_values(self) -> Self {
        svd::svd(self)[1]
    }
    #[track_caller]
    fn nuclear_norm(self) -> Self {
        svd::svd(self)[1].sum(-1)
    }
    #[track_caller]
    fn qr(self) -> (Self, Self) {
        let [q, r] = qr::qr(self);
        (q, r)
    }
    #[track_caller]
    fn pinv(self) -> Self {
        pinv::pinv(self)
    }
}

/// Adds the ops of this crate to a registry: to load tapes that have them, and to try them by law.
///
/// ```
/// let mut registry = wengert::Registry::builtin();
/// wengert_faer::register(&mut registry)?;
/// assert!(registry.find("wengert_faer::svd").is_some());
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
pub fn register(registry: &mut Registry) -> Result<(), ErrorKind> {
    registry.linear::<distinct::Distinct>()?;
    registry.custom::<eigh::Eigh>()?;
    registry.custom::<svd::Svd>()?;
    registry.custom::<qr::Qr>()?;
    registry.custom::<pinv::Pinv>()
}
