//! Singular values and vectors.

use faer::diag::DiagMut;
use faer::dyn_stack::MemStack;
use faer::linalg::svd::{ComputeSvdVectors, svd_scratch};
use faer::{MatMut, MatRef, Par};
use wengert::ir::{Attrs, Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Vars};
use wengert::{DType, Element, ErrorKind, Fault, Registered, Sampler, Shape, Spec, Tensor, TensorType, Var};

use crate::distinct::Distinct;
use crate::matrix::{Matrices, Number, flipped, inverse_gaps, negative, room, several, spread};

/// `u`, `s` and `v` of `x = u · diag(s) · vᵀ`, as many columns as the smaller size.
pub(crate) struct Svd;

#[track_caller]
pub(crate) fn svd(x: Var<'_>) -> [Var<'_>; 3] {
    several(x, x.recorder().emit(Op::custom(Svd), &[x]))
}

/// The vectors and values of one matrix, whose signs [`negative`] decides by the first ones.
pub(crate) fn one<T: Number>(
    [m, n]: [usize; 2],
    x: &[T],
    (u, s, v): (&mut [T], &mut [T], &mut [T]),
    memory: &mut MemStack,
) -> Result<(), Fault> {
    let k = m.min(n);
    let outcome = faer::linalg::svd::svd(
        MatRef::from_row_major_slice(x, m, n),
        DiagMut::from_slice_mut(s),
        Some(MatMut::from_row_major_slice_mut(u, m, k)),
        Some(MatMut::from_row_major_slice_mut(v, n, k)),
        Par::Seq,
        memory,
        Default::default(),
    );
    outcome.map_err(|_| Fault::Custom("the singular values do not converge"))?;
    for j in 0..k {
        if negative(u.iter().skip(j).step_by(k)) {
            u.iter_mut().skip(j).step_by(k).for_each(|x| *x = -*x);
            v.iter_mut().skip(j).step_by(k).for_each(|x| *x = -*x);
        }
    }
    Ok(())
}

/// What [`one`] works in.
pub(crate) fn needs<T: Number>([m, n]: [usize; 2]) -> faer::dyn_stack::StackReq {
    let thin = || ComputeSvdVectors::Thin;
    svd_scratch::<T>(m, n, thin(), thin(), Par::Seq, Default::default())
}

fn run<T: Number>(call: Call<'_, '_>) -> Result<(), Fault> {
    let found = Matrices::of(&[*call.operands[0].ty]).map_err(|_| Fault::Type)?;
    let (m, n, k) = (found.rows, found.columns, found.rows.min(found.columns));
    let x = call.operands[0].elements::<T>()?;
    let [u, s, v] = call.results else { return Err(Fault::Type) };
    let u = T::from_slice_mut(&mut u.data).ok_or(Fault::Type)?;
    let s = T::from_slice_mut(&mut s.data).ok_or(Fault::Type)?;
    let v = T::from_slice_mut(&mut v.data).ok_or(Fault::Type)?;
    if k == 0 {
        return Ok(());
    }
    let mut memory = room(needs::<T>([m, n]))?;
    for (i, x) in x.chunks_exact(m * n).enumerate() {
        let results = (&mut u[i * m * k..][..m * k], &mut s[i * k..][..k], &mut v[i * n * k..][..n * k]);
        one([m, n], x, results, MemStack::new(&mut memory))?;
    }
    Ok(())
}

impl Kernel for Svd {
    fn name(&self) -> &'static str {
        "wengert_faer::svd"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let found = Matrices::of(types)?;
        let (m, n, k) = (found.rows, found.columns, found.rows.min(found.columns));
        let with = |last: &[usize]| found.with(types[0].dtype, last);
        Ok([with(&[m, k])?, with(&[k])?, with(&[n, k])?].into())
    }
    fn form(&self, types: &[TensorType]) -> Form {
        Matrices::of(types).map_or_else(Form::Missing, |found| Form::Opaque(found.form()))
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match call.operands[0].ty.dtype {
            f32::DTYPE => run::<f32>(call),
            f64::DTYPE => run::<f64>(call),
            _ => Err(Fault::Type),
        }
    }
}
impl Custom for Svd {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (Some(dx), &[u, s, v]) = (t[0], y) else { return Ok([None, None, None].into()) };
        let (rows, columns) = (x[0].shape()[x[0].rank() - 2], x[0].shape()[x[0].rank() - 1]);
        let inner = flipped(u).matmul(dx).matmul(v);
        // sᵢ² − sⱼ² has to differ from 0; where there are more rows than columns, or the other way round, so have they themselves.
        let nonzero = rows != columns;
        let checked = Distinct { different: true, nonzero }.check(s);
        let gaps = inverse_gaps(checked.square());
        let (across, along) = (checked.insert_axis(-2), checked.insert_axis(-1));
        let (right, left) = (inner * across, inner * along);
        let mut du = u.matmul(gaps * (right + flipped(right)));
        let mut dv = v.matmul(gaps * (left + flipped(left)));
        // What of the tangent lies outside of the space of the vectors.
        if rows > columns {
            let moved = dx.matmul(v);
            du += (moved - u.matmul(flipped(u).matmul(moved))) / across;
        }
        if columns > rows {
            let moved = flipped(dx).matmul(u);
            dv += (moved - v.matmul(flipped(v).matmul(moved))) / across;
        }
        Ok([Some(du), Some(inner.diagonal()), Some(dv)].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Self), x)
    }
}
impl Registered for Svd {
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
