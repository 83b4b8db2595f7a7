//! What all ops have in common: matrices in batches, and room to work in.

use faer::dyn_stack::{MemBuffer, StackReq};
use std::ops::{Add, Mul, Neg};

use wengert::ir::{Opaque, Vars};
use wengert::{
    DType, DTypeError, ErrorKind, Fault, Native, Sampler, Shape, ShapeError, Spec, Tensor, TensorType, Var,
};

/// The axes of a batch, rows and columns.
pub(crate) struct Matrices {
    pub(crate) batch: Vec<usize>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Matrices {
    /// Those of an operand.
    pub(crate) fn of(operands: &[TensorType]) -> Result<Self, ErrorKind> {
        let [x] = operands else { return Err(ErrorKind::Operands { expected: 1, found: operands.len() }) };
        if !x.dtype.is_float() {
            return Err(DTypeError::Expected { expected: &[DType::F32, DType::F64], found: x.dtype }.into());
        }
        match x.shape[..] {
            [ref batch @ .., rows, columns] => Ok(Self { batch: batch.to_vec(), rows, columns }),
            _ => Err(ShapeError::Rank { expected: 2, found: x.shape.rank() }.into()),
        }
    }

    /// The same, of as many rows as columns.
    pub(crate) fn square(operands: &[TensorType]) -> Result<Self, ErrorKind> {
        let found = Self::of(operands)?;
        if found.rows == found.columns {
            return Ok(found);
        }
        Err(ShapeError::Other(format!("{} are no square matrices", operands[0].shape)).into())
    }

    /// The type of a result with these last axes.
    pub(crate) fn with(&self, dtype: DType, last: &[usize]) -> Result<TensorType, ErrorKind> {
        Ok(TensorType::new(dtype, Shape::new(&[&self.batch[..], last].concat())?))
    }

    /// How they are computed: matrix by matrix, which may fail.
    pub(crate) fn form(&self) -> Opaque {
        let count: usize = self.batch.iter().product();
        let products = self.rows.saturating_mul(self.columns).saturating_mul(self.rows.max(self.columns));
        Opaque::default().in_blocks(count.max(1)).chunked(0).with_work(count.saturating_mul(products))
    }
}

/// The element types that both crates know.
pub(crate) trait Number:
    Native + faer::traits::RealField + Neg<Output = Self> + Add<Output = Self> + Mul<Output = Self>
{
}
impl Number for f32 {}
impl Number for f64 {}

/// Room for so many numbers.
pub(crate) fn numbers<T>(count: usize) -> Result<Vec<T>, Fault> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| Fault::Custom("there is no memory to compute it in"))?;
    Ok(room)
}

/// Whether the largest number of a vector, the first of several, is below zero: what decides the sign of vectors that are given up to it.
pub(crate) fn negative<'a, T: Number>(vector: impl Iterator<Item = &'a T>) -> bool {
    vector.map(|x| x.to_f64()).fold(0.0f64, |most, x| if x.abs() > most.abs() { x } else { most }) < 0.0
}

/// Memory of a call.
pub(crate) fn room(needs: StackReq) -> Result<MemBuffer, Fault> {
    MemBuffer::try_new(needs).map_err(|_| Fault::Custom("there is no memory to compute it in"))
}

/// Results of an op of several; poisoned ones after an error.
pub(crate) fn several<'t, const N: usize>(x: Var<'t>, results: Vars<'t>) -> [Var<'t>; N] {
    std::array::from_fn(|i| results.get(i).or(results.first()).copied().unwrap_or(x))
}

/// Matrices transposed.
#[track_caller]
pub(crate) fn flipped(x: Var<'_>) -> Var<'_> {
    x.swap_axes(-1, -2)
}

/// `1 / (b − a)` of all pairs of numbers along the last axis, `a` along its rows; 0 on the diagonal.
#[track_caller]
pub(crate) fn inverse_gaps(x: Var<'_>) -> Var<'_> {
    let gaps = x.insert_axis(-2) - x.insert_axis(-1);
    let places = x.recorder().arange(x.shape()[x.rank() - 1]);
    let same = places.insert_axis(-1).eq(places);
    same.select(0.0, 1.0 / same.select(1.0, gaps))
}

/// Matrices to try ops with: of singular values, and eigenvalues, that are far apart.
pub(crate) fn spread(specs: &[Spec], float: DType, sampler: &mut Sampler) -> Vec<Tensor> {
    let mut draw = |spec: &Spec| {
        let columns = spec.shape.last().copied().unwrap_or(1).max(1);
        let each = columns * spec.shape[spec.shape.rank().saturating_sub(2)].max(1);
        let number = |at: usize| {
            let (row, column) = (at % each / columns, at % columns);
            let noise = 0.2 * (sampler.unit() - 0.5);
            if row == column { 1.0 + row as f64 + noise } else { noise }
        };
        let numbers: Vec<f64> = (0..spec.shape.elements()).map(number).collect();
        let made = match float {
            DType::F32 => Tensor::new(spec.shape, numbers.iter().map(|&x| x as f32).collect::<Vec<f32>>()),
            _ => Tensor::new(spec.shape, numbers),
        };
        made.unwrap_or_else(|_| Tensor::scalar(0.0))
    };
    specs.iter().map(&mut draw).collect()
}
