//! Elements by their positions: one array of numbers for each axis or for one, segments, classes.

use super::index::{Gather, Rows};
use crate::dtype::DType;
use crate::error::{DTypeError, ShapeError};
use crate::ir::{Axes, IntoVars, Op, Var, single};
use crate::shape::TensorType;

impl<'t> Var<'t> {
    /// For each place of an integer array the element that it names along an axis, beside the same positions on all others: `y[i][j] = x[i][index[i][j]]`. A run fails at the
    /// first index that is out of range.
    ///
    /// *Shape*: that of the index. *Derivative*: 1 to each element picked, summed where several are.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.take_along(1, t.constant(array![[1, 1], [0, 1]]));
    /// assert_eq!(y.value()?.to_f64(), [2.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "take_along_axis")]
    #[track_caller]
    pub fn take_along(self, axis: impl Axes, index: Var<'t>) -> Var<'t> {
        match (single(&axis, self.rank()), index.rank() == self.rank()) {
            (Ok(axis), true) => self.operation("take_along", || {
                let last = self.rank() - 1;
                let op = Op::linear(Gather(Rows { batch: last }));
                let (x, index) = (self.swap_axes(axis, last), index.swap_axes(axis, last));
                self.recorder().emit_one(op, &[x, index]).swap_axes(axis, last)
            }),
            (Ok(_), false) => {
                let kind = ShapeError::Rank { expected: self.rank(), found: index.rank() };
                self.recorder().fail_like(kind, "take_along", self.ty())
            }
            (Err(kind), _) => self.recorder().fail_like(kind, "take_along", self.ty()),
        }
    }

    /// The rows at positions given by one integer array for each leading axis, all of one shape: `y[k] = x[i[k], j[k]]`. A run fails at the first that is out of
    /// range.
    ///
    /// *Shape*: that of an index, then the rest of a row. *Derivative*: 1 to each row picked, summed where several are.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.gather_at([t.constant([0, 1]), t.constant([1, 0])]);
    /// assert_eq!(y.value()?.to_f64(), [2.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "gather_nd")]
    #[track_caller]
    pub fn gather_at<M>(self, indices: impl IntoVars<'t, M>) -> Var<'t> {
        let indices = indices.into_vars();
        let (count, shape) = (indices.len(), self.shape());
        if count == 0 || count > shape.rank() {
            let kind = ShapeError::Rank { expected: count.max(1), found: shape.rank() };
            return self.recorder().fail_like(kind, "gather_at", self.ty());
        }
        if let Some(index) = indices.iter().find(|index| !index.dtype().is_integer()) {
            let kind = DTypeError::Expected { expected: DType::INTEGERS, found: index.dtype() };
            return self.recorder().fail_like(kind, "gather_at", self.ty());
        }
        self.operation("gather_at", || {
            let leading: usize = shape[..count].iter().product();
            let mut place: Option<Var<'t>> = None;
            for (index, &size) in indices.iter().zip(&shape[..count]) {
                let index = index.cast(DType::I64);
                // A number out of range leads beyond all rows, so that the run fails.
                let inside = index.ge(0) & index.lt(size as i64);
                let index = inside.select(index, leading as i64);
                place = Some(match place {
                    Some(place) => (place * size as i64 + index).minimum(leading as i64),
                    None => index,
                });
            }
            let dims: Vec<usize> = [&[leading], &shape[count..]].concat();
            place.map_or(self, |place| self.reshape(dims).gather(place))
        })
    }

    /// The sums of rows that belong together: `y[s]` is the sum of the rows `x[i]` with `segments[i] = s`, 0 where there is none. A run fails at the first
    /// segment that is out of range.
    ///
    /// *Shape*: so many rows. *Derivative*: 1.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// let y = x.segment_sum(t.constant([0, 2, 0]), 3);
    /// assert_eq!(y.value()?.to_f64(), [4.0, 0.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn segment_sum(self, segments: Var<'t>, count: usize) -> Var<'t> {
        let dims = self.shape().split_first().map_or(vec![count], |(_, rest)| [&[count], rest].concat());
        self.operation("segment_sum", || {
            self.recorder().full(self.dtype(), dims, 0.0).scatter_add(segments, self)
        })
    }

    /// 1 in the place that an integer names along a new last axis, 0 elsewhere; nothing but 0 for one that is no class.
    ///
    /// *Shape*: with the classes as last axis. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let y = t.constant([0, 2]).one_hot(3, wengert::DType::F64);
    /// assert_eq!(y.value()?.to_f64(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn one_hot(self, classes: usize, dtype: DType) -> Var<'t> {
        self.operation("one_hot", || {
            if !self.dtype().is_integer() {
                let kind = DTypeError::Expected { expected: DType::INTEGERS, found: self.dtype() };
                return self.recorder().fail_like(kind, "one_hot", TensorType::new(dtype, self.shape()));
            }
            // As i64, which holds the number of every class.
            self.cast(DType::I64).insert_axis(-1).eq(self.recorder().arange(classes)).cast(dtype)
        })
    }
}
