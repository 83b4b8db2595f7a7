//! Cholesky's factor.

use super::{by_matrix, scratch, square};
use crate::elements::{Native, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::Attrs;
use crate::ir::{Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Var, Vars, one, operands};
use crate::kernels::linalg;
use crate::ops::linalg::Triangular;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// The lower triangular factor of the symmetric part of positive definite matrices.
pub(crate) struct Cholesky;
impl Kernel for Cholesky {
    fn name(&self) -> &'static str {
        "cholesky"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a] = operands(types)?;
        square(a)?;
        one(a.dtype, a.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let n = x[0].shape.last().copied().unwrap_or(0);
        Form::Opaque(by_matrix(x[0], scratch(x[0], n, n), n.saturating_pow(3) / 3).chunked(0))
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let (ty, isa, first) = (call.operands[0].ty, call.isa, call.blocks.start);
        let n = ty.shape.last().copied().unwrap_or(0);
        with_float!(ty.dtype, T => {
            let a = call.operands[0].elements::<T>()?;
            let room = bytemuck::cast_slice_mut(&mut *call.scratch);
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            linalg::choleskys(isa, n, a, out, room)
                .map_err(|(matrix, pivot)| Fault::NotPositiveDefinite { matrix: first + matrix, pivot })
        })
    }
}
impl Custom for Cholesky {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (Some(da), l) = (t[0], y[0]) else { return Ok(None.into()) };
        // dL = L Φ(L⁻¹ dA L⁻ᵀ), where Φ takes the lower triangle with half of the diagonal (Murray, "Differentiation of the Cholesky decomposition", 2016).
        let symmetric = (da + da.flipped()) * 0.5;
        let half = l.solve_triangular(symmetric, Triangular::lower());
        let inner = l.solve_triangular(half.flipped(), Triangular::lower());
        Ok(Some(l.matmul((inner.tril(0) + inner.tril(-1)) * 0.5)).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::custom(Self)).into()
    }
}
impl Registered for Cholesky {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::matrix(s.matrices(0))])
    }
}

impl<'t> Var<'t> {
    /// The lower triangular matrix `L` with `L Lᵀ = (x + xᵀ) / 2`, of positive definite matrices over the last two axes. A run fails at the first matrix that is not positive
    /// definite, with the pivot that is not positive ([`Fault::NotPositiveDefinite`]): nothing is written, and the caller may go on with other numbers.
    ///
    /// *Shape*: as `x`. *Derivative*: `L Φ(L⁻¹ dx L⁻ᵀ)`, with Φ the lower triangle and half of the diagonal; symmetric in `x`.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::{ErrorKind, Fault};
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[4.0, 2.0], [2.0, 5.0]]);
    /// assert_eq!(x.cholesky().value()?.to_f64(), [2.0, 0.0, 1.0, 2.0]);
    /// let error = t.constant(array![[1.0, 2.0], [2.0, 1.0]]).cholesky().value().unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Fault(Fault::NotPositiveDefinite { matrix: 0, pivot: 1 })));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cholesky(self) -> Var<'t> {
        self.recorder().emit_one(Op::custom(Cholesky), &[self])
    }

    /// The solutions of `L Lᵀ x = b`, for a factor as [`cholesky`](Self::cholesky) makes it.
    ///
    /// *Shape*: as `b`. *Derivative*: that of two triangular systems.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let l = t.constant(array![[4.0, 2.0], [2.0, 5.0]]).cholesky();
    /// assert_eq!(l.cholesky_solve(t.constant(array![8.0, 12.0])).value()?.to_f64(), [1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cholesky_solve(self, b: Var<'t>) -> Var<'t> {
        self.operation("cholesky_solve", || {
            let y = self.solve_triangular(b, Triangular::lower());
            self.solve_triangular(y, Triangular::lower().transposed())
        })
    }
}
