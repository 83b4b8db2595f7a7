//! Orthonormal columns and an upper triangle.

use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::householder;
use faer::linalg::qr::no_pivoting::factor;
use faer::{MatMut, Par};
use wengert::ir::{Attrs, Call, Custom, Form, Kernel, Op, ResultTypes, Tangents, Vars};
use wengert::{
    DType, Element, ErrorKind, Fault, Registered, Sampler, Shape, ShapeError, Spec, Tensor, TensorType,
    Triangular, Var,
};

use crate::distinct::Distinct;
use crate::matrix::{Matrices, Number, flipped, numbers, room, several, spread};

/// `q` and `r` of matrices of at least as many rows as columns; the diagonal of `r` is not negative.
pub(crate) struct Qr;

#[track_caller]
pub(crate) fn qr(x: Var<'_>) -> [Var<'_>; 2] {
    several(x, x.recorder().emit(Op::custom(Qr), &[x]))
}

fn tall(types: &[TensorType]) -> Result<Matrices, ErrorKind> {
    let found = Matrices::of(types)?;
    if found.rows >= found.columns {
        return Ok(found);
    }
    Err(ShapeError::Other(format!("{} have more columns than rows", types[0].shape)).into())
}

fn run<T: Number>(call: Call<'_, '_>) -> Result<(), Fault> {
    let found = tall(&[*call.operands[0].ty]).map_err(|_| Fault::Type)?;
    let (m, n) = (found.rows, found.columns);
    let x = call.operands[0].elements::<T>()?;
    let [q, r] = call.results else { return Err(Fault::Type) };
    let q = T::from_slice_mut(&mut q.data).ok_or(Fault::Type)?;
    let r = T::from_slice_mut(&mut r.data).ok_or(Fault::Type)?;
    if n == 0 {
        return Ok(());
    }
    let size = factor::recommended_block_size::<T>(m, n);
    let params = Default::default();
    let mut memory = room(StackReq::any_of(&[
        factor::qr_in_place_scratch::<T>(m, n, size, Par::Seq, params),
        householder::apply_block_householder_sequence_on_the_left_in_place_scratch::<T>(m, size, n),
    ]))?;
    // Columns of the basis lie side by side, as faer likes them; then those of its blocks.
    let mut all = numbers::<T>(m * n + size * n + m * n)?;
    for (i, x) in x.chunks_exact(m * n).enumerate() {
        all.clear();
        all.resize(2 * m * n + size * n, T::from_f64(0.0));
        let (basis, rest) = all.split_at_mut(m * n);
        let (blocks, columns) = rest.split_at_mut(size * n);
        (0..m * n).for_each(|at| basis[at % n * m + at / n] = x[at]);
        let mut factors = MatMut::from_column_major_slice_mut(&mut *basis, m, n);
        let mut coefficients = MatMut::from_column_major_slice_mut(&mut *blocks, size, n);
        factor::qr_in_place(
            factors.as_mut(),
            coefficients.as_mut(),
            Par::Seq,
            MemStack::new(&mut memory),
            params,
        );
        (0..n).for_each(|j| columns[j * m + j] = T::from_f64(1.0));
        householder::apply_block_householder_sequence_on_the_left_in_place_with_conj(
            factors.as_ref(),
            coefficients.as_ref(),
            faer::Conj::No,
            MatMut::from_column_major_slice_mut(&mut *columns, m, n),
            Par::Seq,
            MemStack::new(&mut memory),
        );
        let (q, r) = (&mut q[i * m * n..][..m * n], &mut r[i * n * n..][..n * n]);
        for j in 0..n {
            let flip = basis[j * m + j].to_f64() < 0.0;
            let signed = |x: T| if flip { -x } else { x };
            (0..m).for_each(|i| q[i * n + j] = signed(columns[j * m + i]));
            (0..n)
                .for_each(|k| r[j * n + k] = if k < j { T::from_f64(0.0) } else { signed(basis[k * m + j]) });
        }
    }
    Ok(())
}

impl Kernel for Qr {
    fn name(&self) -> &'static str {
        "wengert_faer::qr"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let found = tall(types)?;
        Ok([types[0], found.with(types[0].dtype, &[found.columns; 2])?].into())
    }
    fn form(&self, types: &[TensorType]) -> Form {
        tall(types).map_or_else(Form::Missing, |found| Form::Opaque(found.form()))
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match call.operands[0].ty.dtype {
            f32::DTYPE => run::<f32>(call),
            f64::DTYPE => run::<f64>(call),
            _ => Err(Fault::Type),
        }
    }
}
impl Custom for Qr {
    fn jvp<'t>(
        &self,
        _: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (Some(dx), &[q, r]) = (t[0], y) else { return Ok([None, None].into()) };
        // A triangle with a zero on its diagonal has no inverse.
        let pivots = Distinct { different: false, nonzero: true }.check(r.diagonal());
        let strict = r.triu(1) + pivots.diag_embed();
        // With M = qᵀ dx r⁻¹ and Ω = M below the diagonal minus its transpose: dq = q (Ω − M) + dx r⁻¹, dr = (M − Ω) r.
        let moved = flipped(strict.solve_triangular(flipped(dx), Triangular::upper().transposed()));
        let inner = flipped(q).matmul(moved);
        let below = inner.tril(-1);
        let skew = below - flipped(below);
        Ok([Some(q.matmul(skew - inner) + moved), Some((inner - skew).matmul(strict))].into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::custom(Self), x)
    }
}
impl Registered for Qr {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let n = s.below(4);
        let shape = Shape::new(&[s.below(3), n + s.below(3), n]).unwrap_or(Shape::SCALAR);
        (Self, vec![Spec::distinct(shape)])
    }
    fn draw(specs: &[Spec], float: DType, s: &mut Sampler) -> Vec<Tensor> {
        spread(specs, float, s)
    }
}
