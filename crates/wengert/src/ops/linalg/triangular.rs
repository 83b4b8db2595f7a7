//! Triangular systems.

use super::{by_matrix, columns, right_side, scratch};
use crate::elements::{Native, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attrs, Call, Custom, Domain, Form, Kernel, Op, ResultTypes, Tangents, Var, Vars, one, operands,
};
use crate::kernels::linalg::{self, Triangle};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// Which triangle of matrices a system has: [`Var::solve_triangular`].
///
/// ```
/// use wengert::Triangular;
/// let system = Triangular::lower().transposed().unit();
/// # let _ = system;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Triangular(Triangle);

impl Triangular {
    /// The lower one; what is above the diagonal is not read.
    pub fn lower() -> Self {
        Self(Triangle { lower: true, transposed: false, unit: false })
    }
    /// The upper one; what is below the diagonal is not read.
    pub fn upper() -> Self {
        Self(Triangle { lower: false, transposed: false, unit: false })
    }
    /// Of that triangle the transpose.
    pub fn transposed(self) -> Self {
        Self(Triangle { transposed: !self.0.transposed, ..self.0 })
    }
    /// With ones on the diagonal, whatever is there.
    pub fn unit(self) -> Self {
        Self(Triangle { unit: true, ..self.0 })
    }
}

/// Solutions of triangular systems.
#[derive(Clone, Copy)]
pub(crate) struct TriangularSolve(Triangle);
impl TriangularSolve {
    /// Of matrices what the system reads.
    fn part<'t>(self, a: Var<'t>) -> Var<'t> {
        let Triangle { lower, unit, .. } = self.0;
        match (lower, unit) {
            (true, false) => a.tril(0),
            (true, true) => a.tril(-1),
            (false, false) => a.triu(0),
            (false, true) => a.triu(1),
        }
    }
    fn again<'t>(self, a: Var<'t>, b: Var<'t>) -> Var<'t> {
        a.recorder().emit_one(Op::custom(self), &[a, b])
    }
}
impl Kernel for TriangularSolve {
    fn name(&self) -> &'static str {
        "triangular_solve"
    }
    fn attrs(&self) -> Attrs {
        let Triangle { lower, transposed, unit } = self.0;
        Attrs::new().with_flag("lower", lower).with_flag("transposed", transposed).with_flag("unit", unit)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a, b] = operands(types)?;
        columns(a, b)?;
        one(b.dtype, b.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let (n, m) = (x[0].shape[x[0].shape.rank() - 1], x[1].shape[x[1].shape.rank() - 1]);
        let products = n.saturating_mul(n).saturating_mul(m) / 2;
        Form::Opaque(by_matrix(x[0], scratch(x[0], n, m), products).chunked(0).chunked(1).infallible())
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let (a, b, isa) = (call.operands[0].ty, call.operands[1].ty, call.isa);
        let (n, m) = (a.shape[a.shape.rank() - 1], b.shape[b.shape.rank() - 1]);
        with_float!(a.dtype, T => {
            let (a, b) = (call.operands[0].elements::<T>()?, call.operands[1].elements::<T>()?);
            let room = bytemuck::cast_slice_mut(&mut *call.scratch);
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            out.copy_from_slice(b);
            for (a, x) in a.chunks_exact((n * n).max(1)).zip(out.chunks_exact_mut((n * m).max(1))) {
                linalg::solve(isa, self.0, [n, m], (a, n), (x, m), room)?;
            }
            Ok(())
        })
    }
}
impl Custom for TriangularSolve {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        // dT X + T dX = dB
        let moved = t[0].map(|dt| {
            let part = self.part(dt);
            (if self.0.transposed { part.flipped() } else { part }).matmul(y[0])
        });
        Ok(right_side(t[1], moved).map(|right| self.again(x[0], right)).into())
    }
    fn vjp<'t>(&self, x: &[Var<'t>], y: &[Var<'t>], cts: &[Option<Var<'t>>]) -> Option<Tangents<'t>> {
        let (ct, transposed) = (cts.first().copied().flatten()?, self.0.transposed);
        let by_b = Self(Triangle { transposed: !transposed, ..self.0 }).again(x[0], ct);
        let by_a = if transposed { y[0].matmul(by_b.flipped()) } else { by_b.matmul(y[0].flipped()) };
        Some([Some(-self.part(by_a)), Some(by_b)].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::custom(*self), &x)
    }
}
impl Registered for TriangularSolve {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let (lower, transposed) = (attrs.flag("lower")?, attrs.flag("transposed")?);
        Ok(Self(Triangle { lower, transposed, unit: attrs.flag("unit")? }))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let [lower, transposed, unit] = [0; 3].map(|_| s.below(2) == 1);
        let a = s.matrices(0);
        let b = a.with(a.rank() - 1, s.below(4));
        (Self(Triangle { lower, transposed, unit }), vec![Spec::matrix(a), Spec::float(b, Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// The solutions `x` of `T x = b`, of a triangle of square matrices over the last two axes. `b` is a vector or several, or columns; axes in front are batches and broadcast. Zeros on the
    /// diagonal make infinities or NaN.
    ///
    /// *Shape*: as `b`. *Derivative*: `T⁻¹ (db − dT x)`.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Triangular;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[2.0, 7.0], [1.0, 4.0]]);
    /// let b = t.constant(array![2.0, 9.0]);
    /// assert_eq!(a.solve_triangular(b, Triangular::lower()).value()?.to_f64(), [1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn solve_triangular(self, b: Var<'t>, triangle: Triangular) -> Var<'t> {
        let (a, b, vector) = match self.systems("solve_triangular", b) {
            Ok(found) => found,
            Err(failed) => return failed,
        };
        self.operation("solve_triangular", || {
            let x = TriangularSolve(triangle.0).again(a, b);
            if vector { x.squeeze(-1) } else { x }
        })
    }
}
