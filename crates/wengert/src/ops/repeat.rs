//! Arrays repeated: copies along an axis, and beyond their borders.

use super::index::numbers;
use crate::error::ShapeError;
use crate::ir::{Axes, Var};
use crate::shape::Shape;

impl<'t> Var<'t> {
    /// Each element so many times along an axis, one beside the other.
    ///
    /// *Shape*: so many times as long along the axis. *Derivative*: 1 from each copy.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.repeat(2, 0).value()?.to_f64(), [1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat(self, times: usize, axis: impl Axes) -> Var<'t> {
        self.on_axis("repeat", axis, |axis| self.copies("repeat", times, axis + 1, axis))
    }

    /// The array so many times along an axis, one behind the other.
    ///
    /// *Shape*: so many times as long along the axis. *Derivative*: 1 from each copy.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.tile(2, 0).value()?.to_f64(), [1.0, 2.0, 1.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn tile(self, times: usize, axis: impl Axes) -> Var<'t> {
        self.on_axis("tile", axis, |axis| self.copies("tile", times, axis, axis))
    }

    /// Copies along a new axis in front of axis `new`, which then is one with the old one.
    #[track_caller]
    fn copies(self, name: &'static str, times: usize, new: usize, axis: usize) -> Var<'t> {
        let shape = self.shape();
        let long = shape.insert(new, times).and_then(|wide| {
            let mut dims = shape.to_vec();
            dims[axis] = dims[axis].saturating_mul(times);
            Ok((wide, Shape::new(&dims)?))
        });
        match long {
            Ok((wide, long)) => self.insert_axis(new).broadcast_to(wide).reshape(long),
            Err(kind) => self.recorder().fail_like(kind, name, self.ty()),
        }
    }

    /// The array with so many copies of its first and last elements before and behind it, along each axis.
    ///
    /// *Shape*: wider along each axis. *Derivative*: 1, and 1 from each copy.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.pad_edge([(1, 2)]).value()?.to_f64(), [1.0, 1.0, 2.0, 2.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "pad_replicate")]
    #[track_caller]
    pub fn pad_edge(self, widths: impl AsRef<[(usize, usize)]>) -> Var<'t> {
        self.padded("pad_edge", widths.as_ref(), |at, size| at.clamp(0, size - 1))
    }

    /// The array with its elements in the opposite order before and behind it, along each axis, without its first and last ones once more.
    ///
    /// *Shape*: wider along each axis. *Derivative*: 1, and 1 from each copy.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.pad_reflect([(1, 2)]).value()?.to_f64(), [2.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn pad_reflect(self, widths: impl AsRef<[(usize, usize)]>) -> Var<'t> {
        self.padded("pad_reflect", widths.as_ref(), |at, size| {
            let turn = (2 * (size - 1)).max(1);
            let at = at.rem_euclid(turn);
            at.min(turn - at).min(size - 1)
        })
    }

    /// The array with its end before and its start behind it, along each axis.
    ///
    /// *Shape*: wider along each axis. *Derivative*: 1, and 1 from each copy.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.pad_circular([(1, 1)]).value()?.to_f64(), [3.0, 1.0, 2.0, 3.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "pad_wrap")]
    #[track_caller]
    pub fn pad_circular(self, widths: impl AsRef<[(usize, usize)]>) -> Var<'t> {
        self.padded("pad_circular", widths.as_ref(), |at, size| at.rem_euclid(size))
    }

    /// Widens each axis with elements of it: which, for a position that may lie outside.
    #[track_caller]
    fn padded(
        self,
        name: &'static str,
        widths: &[(usize, usize)],
        from: impl Fn(i64, i64) -> i64,
    ) -> Var<'t> {
        let shape = self.shape();
        if widths.len() != shape.rank() {
            let kind = ShapeError::Rank { expected: shape.rank(), found: widths.len() };
            return self.recorder().fail_like(kind, name, self.ty());
        }
        self.operation(name, || {
            let mut y = self;
            for (axis, (&size, &(before, after))) in shape.iter().zip(widths).enumerate() {
                if (before, after) == (0, 0) {
                    continue;
                }
                if size == 0 {
                    let kind = ShapeError::Empty { shape: shape.to_vec() };
                    return self.recorder().fail_like(kind, name, self.ty());
                }
                let long = before.saturating_add(size).saturating_add(after);
                let index = numbers(self.recorder(), name, long, |at| from(at - before as i64, size as i64));
                y = y.gather_along(axis, index);
            }
            y
        })
    }
}
