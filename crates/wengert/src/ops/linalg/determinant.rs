//! Determinants, and their derivatives.

use super::{by_matrix, scratch, square};
use crate::elements::{Element, Native, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{Attrs, Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Var, Vars, one, operands};
use crate::kernels::linalg;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// The determinants of square matrices.
pub(crate) struct Determinant;
impl Kernel for Determinant {
    fn name(&self) -> &'static str {
        "determinant"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a] = operands(types)?;
        one(a.dtype, square(a)?.0)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let n = x[0].shape.last().copied().unwrap_or(0);
        let elements = n.saturating_mul(n.saturating_add(2)).saturating_add(scratch(x[0], n, n));
        Form::Opaque(by_matrix(x[0], elements, n.saturating_pow(3)).chunked(0).infallible())
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let (ty, isa) = (call.operands[0].ty, call.isa);
        let n = ty.shape.last().copied().unwrap_or(0);
        with_float!(ty.dtype, T => {
            let a = call.operands[0].elements::<T>()?;
            let (order, rest) = call.scratch.split_at_mut_checked(n).ok_or(Fault::Type)?;
            let (order, room) = (bytemuck::cast_slice_mut::<u64, i64>(order), bytemuck::cast_slice_mut(rest));
            let (factors, room) = room.split_at_mut_checked(n * n).ok_or(Fault::Type)?;
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            for (i, out) in out.iter_mut().enumerate() {
                factors.copy_from_slice(&a[i * n * n..][..n * n]);
                let sign = linalg::lu(isa, n, factors, order, room)?;
                *out = factors.iter().step_by(n + 1).fold(<T as Element>::from_f64(sign as f64), |product, &u| product * u);
            }
            Ok(())
        })
    }
}
impl Custom for Determinant {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        _: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let Some(da) = t[0] else { return Ok(None.into()) };
        let cofactors = x[0].apply(Op::custom(Cofactors));
        Ok(Some((cofactors * da).sum([-2, -1])).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::custom(Self)).into()
    }
}
impl Registered for Determinant {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::matrix(s.matrices(0))])
    }
}

/// The cofactors of square matrices: the derivative of their determinant.
pub(crate) struct Cofactors;
impl Kernel for Cofactors {
    fn name(&self) -> &'static str {
        "cofactors"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a] = operands(types)?;
        square(a)?;
        one(a.dtype, a.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let n = x[0].shape.last().copied().unwrap_or(0);
        let products = n.saturating_pow(3).saturating_mul(2);
        Form::Opaque(by_matrix(x[0], linalg::cofactors_scratch(n), products).chunked(0).infallible())
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let (ty, isa) = (call.operands[0].ty, call.isa);
        let n = ty.shape.last().copied().unwrap_or(0);
        with_float!(ty.dtype, T => {
            let a = call.operands[0].elements::<T>()?;
            let room = bytemuck::cast_slice_mut(&mut *call.scratch);
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            for (a, out) in a.chunks_exact((n * n).max(1)).zip(out.chunks_exact_mut((n * n).max(1))) {
                linalg::cofactors(isa, n, a, out, room);
            }
            Ok(())
        })
    }
}
impl Custom for Cofactors {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (Some(da), c) = (t[0], y[0]) else { return Ok(None.into()) };
        // C = det · A⁻ᵀ, so det · dC = ⟨C, dA⟩ C − C dAᵀ C.
        let along = (c * da).sum([-2, -1]).insert_axis(-1).insert_axis(-1);
        let moved = along * c - c.matmul(da.flipped()).matmul(c);
        Ok(Some(moved / x[0].determinant().insert_axis(-1).insert_axis(-1)).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::custom(Self)).into()
    }
}
impl Registered for Cofactors {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::matrix(s.matrices(0))])
    }
}

impl<'t> Var<'t> {
    /// The determinants of square matrices over the last two axes. Where they may overflow, see [`slogdet`](Self::slogdet).
    ///
    /// *Shape*: without the last two axes. *Derivative*: the cofactors, of singular matrices too; there of first order only.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [2.0, 4.0]]);
    /// let y = x.determinant();
    /// assert_eq!(y.value()?.item()?, 0.0);
    /// assert_eq!(y.gradients(x)[x].value()?.to_f64(), [4.0, -2.0, -2.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "det")]
    #[track_caller]
    pub fn determinant(self) -> Var<'t> {
        self.recorder().emit_one(Op::custom(Determinant), &[self])
    }
}
