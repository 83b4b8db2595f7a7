//! The pseudoinverse of Moore and Penrose.

use faer::dyn_stack::MemStack;
use wengert::ir::{Attrs, Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Vars};
use wengert::{DType, Element, ErrorKind, Fault, Registered, Sampler, Shape, Spec, Tensor, TensorType, Var};

use crate::matrix::{Matrices, Number, flipped, numbers, room, spread};
use crate::svd;

/// The pseudoinverses of matrices.
pub(crate) struct Pinv;

#[track_caller]
pub(crate) fn pinv(x: Var<'_>) -> Var<'_> {
    x.recorder().emit_one(Op::custom(Pinv), &[x])
}

fn run<T: Number>(mut call: Call<'_, '_>, epsilon: f64) -> Result<(), Fault> {
    let found = Matrices::of(&[*call.operands[0].ty]).map_err(|_| Fault::Type)?;
    let (m, n, k) = (found.rows, found.columns, found.rows.min(found.columns));
    let (x, out) = call.unary::<T, T>(0)?;
    if k == 0 {
        return Ok(());
    }
    let mut memory = room(svd::needs::<T>([m, n]))?;
    let mut all = numbers::<T>(m * k + k + n * k)?;
    all.resize(m * k + k + n * k, T::from_f64(0.0));
    let (u, rest) = all.split_at_mut(m * k);
    let (s, v) = rest.split_at_mut(k);
    for (x, out) in x.chunks_exact(m * n).zip(out.chunks_exact_mut(m * n)) {
        svd::one([m, n], x, (&mut *u, &mut *s, &mut *v), MemStack::new(&mut memory))?;
        let least = s[0].to_f64() * epsilon * m.max(n) as f64;
        for (i, out) in out.chunks_exact_mut(m).enumerate() {
            for (j, out) in out.iter_mut().enumerate() {
                let term = |l: usize| v[i * k + l].to_f64() / s[l].to_f64() * u[j * k + l].to_f64();
                *out = T::from_f64((0..k).filter(|&l| s[l].to_f64() > least).map(term).sum());
            }
        }
    }
    Ok(())
}

impl Kernel for Pinv {
    fn name(&self) -> &'static str {
        "wengert_faer::pinv"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let found = Matrices::of(types)?;
        found.with(types[0].dtype, &[found.columns, found.rows]).map(ResultTypes::from)
    }
    fn form(&self, types: &[TensorType]) -> Form {
        Matrices::of(types).map_or_else(Form::Missing, |found| Form::Opaque(found.form()))
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match call.operands[0].ty.dtype {
            f32::DTYPE => run::<f32>(call, f64::from(f32::EPSILON)),
            f64::DTYPE => run::<f64>(call, f64::EPSILON),
            _ => Err(Fault::Type),
        }
    }
}
impl Custom for Pinv {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (Some(dx), x, p) = (t[0], x[0], y[0]) else { return Ok(None.into()) };
        // −P dX P + P Pᵀ dXᵀ (1 − X P) + (1 − P X) dXᵀ Pᵀ P
        let adjoint = flipped(dx);
        let right = p.matmul(flipped(p)).matmul(adjoint);
        let left = adjoint.matmul(flipped(p)).matmul(p);
        let across = right - right.matmul(x).matmul(p);
        let along = left - p.matmul(x.matmul(left));
        Ok(Some(across + along - p.matmul(dx).matmul(p)).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Self), x)
    }
}
impl Registered for Pinv {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = Shape::new(&[s.below(3), 1 + s.below(4), 1 + s.below(4)]).unwrap_or(Shape::SCALAR);
        (Self, vec![Spec::distinct(shape)])
    }
    fn draw(specs: &[Spec], float: DType, s: &mut Sampler) -> Vec<Tensor> {
        spread(specs, float, s)
    }
}
