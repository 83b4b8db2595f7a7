//! Systems of linear equations.

use super::{by_matrix, columns, right_side, scratch};
use crate::elements::{Native, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attrs, Call, Custom, Domain, Form, Kernel, Op, ResultTypes, Tangents, Var, Vars, one, operands,
};
use crate::kernels::linalg;
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// Solutions of `A X = B`, or of `Aᵀ X = B`.
#[derive(Clone, Copy)]
pub(crate) struct Solve {
    transposed: bool,
}
impl Solve {
    fn again<'t>(self, a: Var<'t>, b: Var<'t>) -> Var<'t> {
        a.recorder().emit_one(Op::custom(self), &[a, b])
    }
}
/// Elements of scratch: factors and their order, and what systems need.
fn room(ty: TensorType, n: usize, m: usize) -> usize {
    // The order is of eight bytes a row.
    n.saturating_mul(n.saturating_add(2))
        .saturating_add(n.saturating_mul(m))
        .saturating_add(scratch(ty, n, m))
        + 2
}
impl Kernel for Solve {
    fn name(&self) -> &'static str {
        "solve"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with_flag("transposed", self.transposed)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a, b] = operands(types)?;
        columns(a, b)?;
        one(b.dtype, b.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let (n, m) = (x[0].shape[x[0].shape.rank() - 1], x[1].shape[x[1].shape.rank() - 1]);
        let products = n.saturating_mul(n).saturating_mul(n.saturating_add(m));
        Form::Opaque(by_matrix(x[0], room(x[0], n, m), products).chunked(0).chunked(1).infallible())
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let (a, b, isa) = (call.operands[0].ty, call.operands[1].ty, call.isa);
        let (n, m) = (a.shape[a.shape.rank() - 1], b.shape[b.shape.rank() - 1]);
        with_float!(a.dtype, T => {
            let (a, b) = (call.operands[0].elements::<T>()?, call.operands[1].elements::<T>()?);
            let (order, rest) = call.scratch.split_at_mut_checked(n).ok_or(Fault::Type)?;
            let (order, room) = (bytemuck::cast_slice_mut::<u64, i64>(order), bytemuck::cast_slice_mut(rest));
            let (factors, room) = room.split_at_mut_checked(n * n).ok_or(Fault::Type)?;
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            linalg::solves(isa, self.transposed, [n, m], (a, b), out, (factors, order), room)
        })
    }
}
impl Custom for Solve {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        // dA X + A dX = dB
        let moved = t[0].map(|da| (if self.transposed { da.flipped() } else { da }).matmul(y[0]));
        Ok(right_side(t[1], moved).map(|right| self.again(x[0], right)).into())
    }
    fn vjp<'t>(&self, x: &[Var<'t>], y: &[Var<'t>], cts: &[Option<Var<'t>>]) -> Option<Tangents<'t>> {
        let ct = cts.first().copied().flatten()?;
        let by_b = Self { transposed: !self.transposed }.again(x[0], ct);
        let by_a = if self.transposed { y[0].matmul(by_b.flipped()) } else { by_b.matmul(y[0].flipped()) };
        Some([Some(-by_a), Some(by_b)].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::custom(*self), &x)
    }
}
impl Registered for Solve {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { transposed: attrs.flag("transposed")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (transposed, a) = (s.below(2) == 1, s.matrices(0));
        let b = a.with(a.rank() - 1, s.below(4));
        (Self { transposed }, vec![Spec::matrix(a), Spec::float(b, Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// The solutions `x` of `A x = b`, of square matrices over the last two axes, by elimination with row pivots. `b` is a vector or several, or columns; axes in front are batches and broadcast. Of a
    /// singular matrix numbers are infinite or NaN.
    ///
    /// *Shape*: as `b`. *Derivative*: `A⁻¹ (db − dA x)`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[0.0, 2.0], [4.0, 1.0]]);
    /// assert_eq!(a.solve(t.constant(array![6.0, 7.0])).value()?.to_f64(), [1.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn solve(self, b: Var<'t>) -> Var<'t> {
        let (a, b, vector) = match self.systems("solve", b) {
            Ok(found) => found,
            Err(failed) => return failed,
        };
        self.operation("solve", || {
            let x = Solve { transposed: false }.again(a, b);
            if vector { x.squeeze(-1) } else { x }
        })
    }
}
