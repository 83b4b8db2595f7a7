//! Picking rows by number, and adding rows in their places.

use crate::dtype::{self, Native, with_dtype, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attr, Attrs, Call, Contribution, Domain, Kernel, Linear, Op, Operand, ResultTypes, Var, Vars, one,
    operands,
};
use crate::kernels::copy::prefetch;
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};

/// How rows are addressed: `x` is `[batch…, rows, row…]`, the index `[batch…, picks…]`, the picked
/// rows `[batch…, picks…, row…]`; the first `batch` axes run together.
#[derive(Clone, Copy)]
struct Rows {
    batch: usize,
}
impl Rows {
    fn attrs(self) -> Attrs {
        Attrs::new().with("batch", Attr::Int(self.batch as i64))
    }
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { batch: attrs.usize("batch")? })
    }
    fn picked(self, x: TensorType, index: TensorType) -> Result<Shape, ErrorKind> {
        if !index.dtype.is_integer() {
            return Err(ErrorKind::DType(format!("an index must be integers, found {index}")));
        }
        let b = self.batch;
        if x.shape.rank() <= b || index.shape.rank() < b || x.shape[..b] != index.shape[..b] {
            return Err(ErrorKind::Shape(format!(
                "an index {} does not pick rows of {} with {b} leading axes in common",
                index.shape, x.shape
            )));
        }
        let dims: Vec<usize> = index.shape.iter().chain(&x.shape[b + 1..]).copied().collect();
        Shape::new(&dims)
    }
    /// How many independent blocks there are: the batches, or without any the picks. Everything but the
    /// rows of no batch is cut into them.
    fn blocks(self, x: &TensorType, index: &TensorType) -> usize {
        if self.batch > 0 { x.shape[..self.batch].iter().product() } else { index.shape.elements() }
    }
    /// For position `i` of an index, or of the blocks of a call: which row of `x`, or of the same batches
    /// of it, it picks. `before` blocks were left out.
    fn row(self, x: Shape, index: &Operand<'_>, i: usize, before: usize) -> Result<usize, Fault> {
        let found = match index.data {
            dtype::Slice::U8(v) => i64::from(v[i]),
            dtype::Slice::U32(v) => i64::from(v[i]),
            dtype::Slice::I64(v) => v[i],
            _ => return Err(Fault::Type),
        };
        let below = x[self.batch];
        let picks: usize = index.ty.shape[self.batch..].iter().product();
        match usize::try_from(found).ok().filter(|&r| r < below) {
            Some(row) => Ok(i / picks * below + row),
            None => {
                let block = if self.batch > 0 { picks } else { 1 };
                Err(Fault::Index { position: before * block + i, found, below })
            }
        }
    }
    fn sample(s: &mut Sampler) -> (Self, Shape, Shape) {
        let batch = s.below(2);
        let common = s.shape_of(batch, 1);
        let (rest, picks) = (s.shape(2), s.shape(2));
        let rows = 1 + s.below(4);
        let join = |a: &[usize], b: &[usize]| Shape::new(&[a, b].concat()).unwrap_or(Shape::SCALAR);
        (Self { batch }, join(&join(&common, &[rows]), &rest), join(&common, &picks))
    }
}

/// How many rows ahead of its copies `gather` fetches.
const AHEAD: usize = 8;

/// Rows of an array, picked by an index.
pub(crate) struct Gather(Rows);
impl Kernel for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x, index] = operands(types)?;
        one(x.dtype, self.0.picked(x, index)?)
    }
    fn blocks(&self, operands: &[TensorType], _: &[TensorType]) -> usize {
        if let [x, index] = operands { self.0.blocks(x, index) } else { 1 }
    }
    fn cut(&self, i: usize, _: &[TensorType]) -> bool {
        i == 1 || self.0.batch > 0
    }
    fn work(&self, _: &[TensorType], results: &[TensorType]) -> usize {
        results.first().map_or(0, |r| r.shape.elements())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let (x, index) = (call.operands[0], call.operands[1]);
        let width: usize = x.ty.shape[self.0.batch + 1..].iter().product();
        with_dtype!(x.ty.dtype, T => {
            let from = x.elements::<T>()?;
            let (before, picks) = (call.blocks.start, index.data.len());
            let rows = |i| self.0.row(x.ty.shape, &index, i, before);
            let out = call.result::<T>(0)?;
            for i in 0..picks {
                if i + AHEAD < picks && let Ok(row) = rows(i + AHEAD) {
                    prefetch(&from[row * width..(row + 1) * width]);
                }
                let row = rows(i)?;
                out[i * width..(i + 1) * width].copy_from_slice(&from[row * width..(row + 1) * width]);
            }
            Ok(())
        })
    }
}
impl Linear for Gather {
    fn linear_in(&self, i: usize) -> bool {
        i == 0
    }
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        match cts[0] {
            Some(part) => {
                Contribution::Placed { op: Op::linear(ScatterAdd(self.0)), part, place: Some(x[1]) }
            }
            None => Contribution::Whole(x[0].fill(0.0)),
        }
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        if !batched[0] && self.0.batch == 0 {
            // Only the index varies: more picks from the same rows.
            return x[0].recorder().emit(Op::linear(Self(self.0)), x);
        }
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::linear(Self(Rows { batch: self.0.batch + 1 })), &x)
    }
}
impl Registered for Gather {
    const NAME: &'static str = "gather";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Rows::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (rows, x, index) = Rows::sample(s);
        (Self(rows), vec![Spec::float(x, Domain::All), Spec::index(index, x[rows.batch])])
    }
}

/// An array with rows added in the places an index names; repeated ones accumulate, in order.
pub(crate) struct ScatterAdd(Rows);
impl Kernel for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }
    fn attrs(&self) -> Attrs {
        self.0.attrs()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [acc, part, index] = operands(types)?;
        if !acc.dtype.is_float() || acc.dtype != part.dtype {
            return Err(ErrorKind::DType(format!("{acc} and {part} are not of one float type")));
        }
        let shape = self.0.picked(acc, index)?;
        if part.shape != shape {
            return Err(ErrorKind::Shape(format!("the index names {shape}, the rows are {}", part.shape)));
        }
        one(acc.dtype, acc.shape)
    }
    fn blocks(&self, operands: &[TensorType], _: &[TensorType]) -> usize {
        // Without batches any row may be named by any pick.
        if let [acc, _, index] = operands
            && self.0.batch > 0
        {
            self.0.blocks(acc, index)
        } else {
            1
        }
    }
    fn cut(&self, _: usize, _: &[TensorType]) -> bool {
        self.0.batch > 0
    }
    fn onto(&self) -> Option<usize> {
        Some(0)
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        fn run<T: Native + std::ops::AddAssign>(rows: Rows, call: &mut Call<'_, '_>) -> Result<(), Fault> {
            let (acc, part, index) = (call.operands[0], call.operands[1], call.operands[2]);
            let width: usize = acc.ty.shape[rows.batch + 1..].iter().product();
            let (part, before, copy) = (part.elements::<T>()?, call.blocks.start, call.beta == 0.0);
            let out = call.result::<T>(0)?;
            if copy {
                out.copy_from_slice(acc.elements::<T>()?);
            }
            for i in 0..index.data.len() {
                let row = rows.row(acc.ty.shape, &index, i, before)?;
                let into = &mut out[row * width..(row + 1) * width];
                for (o, &x) in into.iter_mut().zip(&part[i * width..(i + 1) * width]) {
                    *o += x;
                }
            }
            Ok(())
        }
        with_float!(call.operands[0].ty.dtype, T => run::<T>(self.0, &mut call))
    }
}
impl Linear for ScatterAdd {
    fn linear_in(&self, i: usize) -> bool {
        i < 2
    }
    fn transpose<'t>(&self, i: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(match cts[0] {
            None => x[i].fill(0.0),
            Some(ct) if i == 0 => ct,
            Some(ct) => ct.recorder().emit_one(Op::linear(Gather(self.0)), &[ct, x[2]]),
        })
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].recorder().emit(Op::linear(Self(Rows { batch: self.0.batch + 1 })), &x)
    }
}
impl Registered for ScatterAdd {
    const NAME: &'static str = "scatter_add";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Rows::load(attrs).map(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let (rows, acc, index) = Rows::sample(s);
        let dims = [&index[..], &acc[rows.batch + 1..]].concat();
        let part = Shape::new(&dims).unwrap_or(Shape::SCALAR);
        let specs = vec![
            Spec::float(acc, Domain::All),
            Spec::float(part, Domain::All),
            Spec::index(index, acc[rows.batch]),
        ];
        (Self(rows), specs)
    }
}

impl<'t> Var<'t> {
    /// The rows (along axis 0) that an integer array names: `[rows, row…]` by `[picks…]` is
    /// `[picks…, row…]`. Rows named twice have derivatives that accumulate. A run fails at the
    /// first index that is out of range.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.gather(t.constant(array![1u8, 1, 0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gather(self, index: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(Gather(Rows { batch: 0 })), &[self, index])
    }

    /// This array with rows added in the places (along axis 0) that an integer array names: `part` is
    /// `[picks…, row…]`. Rows named twice accumulate, in order. A run fails at the first index that is out
    /// of range.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x.scatter_add(t.constant(array![1u8, 1]), t.constant(array![10.0, 20.0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[1.0, 32.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_add(self, index: Var<'t>, part: Var<'t>) -> Var<'t> {
        self.recorder().emit_one(Op::linear(ScatterAdd(Rows { batch: 0 })), &[self, part, index])
    }

    /// One element of the last axis for each of the others, named by an integer array of their
    /// shape: `[i, j, …, k]` by `[i, j, …]`. A run fails at the first index that is out of range.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.pick(t.constant(array![1i64, 0]));
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[2.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn pick(self, index: Var<'t>) -> Var<'t> {
        self.operation("pick", || self.pick_last(index))
    }

    #[track_caller]
    fn pick_last(self, index: Var<'t>) -> Var<'t> {
        let batch = self.rank().saturating_sub(1);
        if self.rank() == 0 || index.shape()[..] != self.shape()[..batch] {
            let kind = ErrorKind::Shape(format!(
                "an index {} does not pick from the rows of {}",
                index.shape(),
                self.shape()
            ));
            return self.recorder().fail_like(kind, "pick", TensorType::new(self.dtype(), index.shape()));
        }
        self.recorder().emit_one(Op::linear(Gather(Rows { batch })), &[self, index])
    }
}
