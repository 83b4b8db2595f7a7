//! Eigenvalues and eigenvectors of symmetric matrices.

use faer::diag::DiagMut;
use faer::dyn_stack::MemStack;
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{MatMut, MatRef, Par};
use wengert::ir::{Attrs, Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Vars};
use wengert::{DType, Element, ErrorKind, Fault, Registered, Sampler, Shape, Spec, Tensor, TensorType, Var};

use crate::distinct::Distinct;
use crate::matrix::{Matrices, Number, flipped, inverse_gaps, negative, numbers, room, several, spread};

/// Ascending eigenvalues, and eigenvectors as columns, of the symmetric part of matrices.
pub(crate) struct Eigh;

#[track_caller]
pub(crate) fn eigh(x: Var<'_>) -> [Var<'_>; 2] {
    several(x, x.recorder().emit(Op::custom(Eigh), &[x]))
}

fn run<T: Number>(call: Call<'_, '_>) -> Result<(), Fault> {
    let n = call.operands[0].ty.shape.last().copied().unwrap_or(0);
    let x = call.operands[0].elements::<T>()?;
    let [values, vectors] = call.results else { return Err(Fault::Type) };
    let values = T::from_slice_mut(&mut values.data).ok_or(Fault::Type)?;
    let vectors = T::from_slice_mut(&mut vectors.data).ok_or(Fault::Type)?;
    if n == 0 {
        return Ok(());
    }
    let params = Default::default();
    let mut memory = room(self_adjoint_evd_scratch::<T>(n, ComputeEigenvectors::Yes, Par::Seq, params))?;
    let mut symmetric = numbers::<T>(n * n)?;
    let matrices = x.chunks_exact(n * n).zip(values.chunks_exact_mut(n)).zip(vectors.chunks_exact_mut(n * n));
    for ((x, values), vectors) in matrices {
        symmetric.clear();
        symmetric.extend((0..n * n).map(|at| (x[at] + x[at % n * n + at / n]) * T::from_f64(0.5)));
        let outcome = self_adjoint_evd(
            MatRef::from_row_major_slice(&symmetric, n, n),
            DiagMut::from_slice_mut(values),
            Some(MatMut::from_row_major_slice_mut(vectors, n, n)),
            Par::Seq,
            MemStack::new(&mut memory),
            params,
        );
        outcome.map_err(|_| Fault::Custom("the eigenvalues do not converge"))?;
        for j in 0..n {
            if negative(vectors.iter().skip(j).step_by(n)) {
                vectors.iter_mut().skip(j).step_by(n).for_each(|x| *x = -*x);
            }
        }
    }
    Ok(())
}

impl Kernel for Eigh {
    fn name(&self) -> &'static str {
        "wengert_faer::eigh"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let found = Matrices::square(types)?;
        Ok([found.with(types[0].dtype, &[found.rows])?, types[0]].into())
    }
    fn form(&self, types: &[TensorType]) -> Form {
        Matrices::square(types).map_or_else(Form::Missing, |found| Form::Opaque(found.form()))
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match call.operands[0].ty.dtype {
            f32::DTYPE => run::<f32>(call),
            f64::DTYPE => run::<f64>(call),
            _ => Err(Fault::Type),
        }
    }
}
impl Custom for Eigh {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (Some(dx), &[values, vectors]) = (t[0], y) else { return Ok([None, None].into()) };
        let symmetric = (dx + flipped(dx)) * 0.5;
        let inner = flipped(vectors).matmul(symmetric).matmul(vectors);
        let gaps = inverse_gaps(Distinct { different: true, nonzero: false }.check(values));
        Ok([Some(inner.diagonal()), Some(vectors.matmul(gaps * inner))].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Self), x)
    }
}
impl Registered for Eigh {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let n = s.below(5);
        let shape = Shape::new(&[s.below(3), n, n]).unwrap_or(Shape::SCALAR);
        (Self, vec![Spec::distinct(shape)])
    }
    fn draw(specs: &[Spec], float: DType, s: &mut Sampler) -> Vec<Tensor> {
        spread(specs, float, s)
    }
}
