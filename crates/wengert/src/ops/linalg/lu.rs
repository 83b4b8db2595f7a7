//! Gauss's factors.

use super::triangular::Triangular;
use super::{by_matrix, scratch, square};
use crate::dtype::DType;
use crate::elements::{Native, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{Attrs, Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Var, Vars, operands};
use crate::kernels::linalg;
use crate::ops::index::{Gather, Rows};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// Factors `L` and `U` of the rows of matrices in another order, in one array; that order; and its sign.
pub(crate) struct Lu;
impl Kernel for Lu {
    fn name(&self) -> &'static str {
        "lu"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a] = operands(types)?;
        let (batch, n) = square(a)?;
        let order = batch.insert(batch.rank(), n)?;
        Ok([a, TensorType::new(DType::I64, order), TensorType::new(DType::I64, batch)].into())
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let n = x[0].shape.last().copied().unwrap_or(0);
        let products = n.saturating_pow(3).saturating_mul(2) / 3;
        Form::Opaque(by_matrix(x[0], scratch(x[0], n, n), products).chunked(0).infallible())
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let (ty, isa) = (call.operands[0].ty, call.isa);
        let n = ty.shape.last().copied().unwrap_or(0);
        let [factors, order, sign] = call.results else { return Err(Fault::Type) };
        let order = i64::from_slice_mut(&mut order.data).ok_or(Fault::Type)?;
        let sign = i64::from_slice_mut(&mut sign.data).ok_or(Fault::Type)?;
        with_float!(ty.dtype, T => {
            let room = bytemuck::cast_slice_mut(&mut *call.scratch);
            let factors = T::from_slice_mut(&mut factors.data).ok_or(Fault::Type)?;
            factors.copy_from_slice(call.operands[0].elements::<T>()?);
            linalg::lus(isa, n, factors, (order, sign), room)
        })
    }
}
impl Custom for Lu {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let Some(da) = t[0] else { return Ok([None, None, None].into()) };
        let (factors, order) = (y[0], y[1]);
        // With M = L⁻¹ P dA U⁻¹: dL = L (M below the diagonal), dU = (M on and above it) U.
        let rows = Op::linear(Gather(Rows { batch: factors.rank() - 2 }));
        let da = factors.recorder().emit_one(rows, &[da, order]);
        let half = factors.solve_triangular(da, Triangular::lower().unit());
        let m = factors.solve_triangular(half.flipped(), Triangular::upper().transposed()).flipped();
        let (below, above) = (m.tril(-1), m.triu(0));
        let moved = below + factors.tril(-1).matmul(below) + above.matmul(factors.triu(0));
        Ok([Some(moved), None, None].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Self), &[x[0]])
    }
}
impl Registered for Lu {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self, vec![Spec::matrix(s.matrices(0))])
    }
}

impl<'t> Var<'t> {
    /// Gauss's factors of square matrices over the last two axes, with row pivots: `L` below the diagonal of one array, whose own diagonal is one, and `U` on and above it; and for each row of
    /// `L U` the row of `x` that it is. A singular matrix has a zero on the diagonal of `U`.
    ///
    /// *Shape*: as `x`, and `[…, n]` of `i64`. *Derivative*: of the factors, where no pivot changes.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let (factors, order) = t.constant(array![[1.0, 3.0], [2.0, 4.0]]).lu();
    /// assert_eq!(factors.value()?.to_f64(), [2.0, 4.0, 0.5, 1.0]);
    /// assert_eq!(order.value()?.to_f64(), [1.0, 0.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn lu(self) -> (Var<'t>, Var<'t>) {
        let [factors, order, _] = self.factors();
        (factors, order)
    }

    #[track_caller]
    pub(super) fn factors(self) -> [Var<'t>; 3] {
        let results = self.recorder().emit(Op::custom(Lu), &[self]);
        std::array::from_fn(|i| results.get(i).copied().unwrap_or(self.recorder().poisoned(self.ty())))
    }

    /// The sign and the logarithm of the absolute value of the determinants of square matrices over the last two axes, without overflow: 0 and −∞ of a singular one.
    ///
    /// *Shape*: two, without the last two axes. *Derivative*: of the logarithm `X⁻ᵀ`; of the sign none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let (sign, log) = t.constant(array![[0.0, 2.0], [3.0, 0.0]]).slogdet();
    /// assert_eq!(sign.value()?.item()?, -1.0);
    /// assert!((log.value()?.item()? - 6f64.ln()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn slogdet(self) -> (Var<'t>, Var<'t>) {
        if let Err(kind) = square(self.ty()) {
            let failed = self.recorder().fail_like(kind, "slogdet", self.ty());
            return (failed, failed);
        }
        self.operation("slogdet", || {
            let [factors, _, sign] = self.factors();
            let pivots = factors.diagonal();
            (pivots.sign().prod(-1) * sign.cast(self.dtype()), pivots.abs().ln().sum(-1))
        })
    }

    /// The logarithm of the determinants of square matrices over the last two axes: NaN of a negative one, −∞ of 0.
    ///
    /// *Shape*: without the last two axes. *Derivative*: `X⁻ᵀ`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[2.0, 0.0], [5.0, 3.0]]);
    /// assert!((x.logdet().value()?.item()? - 6f64.ln()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn logdet(self) -> Var<'t> {
        self.operation("logdet", || {
            let (sign, log) = self.slogdet();
            sign.lt(0.0).select(f64::NAN, log)
        })
    }
}
