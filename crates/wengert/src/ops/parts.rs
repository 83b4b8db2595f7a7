//! Taking arrays apart, and putting them together.

use ndarray::SliceInfoElem;

use super::slice::Part;
use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Axes, IntoVar, IntoVars, Recorder, Var, named, single};
use crate::shape::{Shape, TensorType};
use crate::sizes::Integer;

const ALL: SliceInfoElem = SliceInfoElem::Slice { start: 0, end: None, step: 1 };

impl<'t> Var<'t> {
    /// One position of the first axis, which disappears; negative ones count from the end.
    ///
    /// *Shape*: without the first axis. *Derivative*: 1 at the position, else 0.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.at(-1).value()?.to_f64(), [3.0, 4.0]);
    /// assert_eq!(x.at(0).at(1).value()?.item()?, 2.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "index")]
    #[doc(alias = "get")]
    #[doc(alias = "index_axis")]
    #[track_caller]
    pub fn at(self, index: impl Integer) -> Var<'t> {
        self.cut("at", Part::of(&[SliceInfoElem::Index(index.get())], self.shape()))
    }

    /// The part that a slice of `ndarray`'s names, made by [`s!`](ndarray::s): ranges with negative ends and steps, single positions,
    /// new axes; what it does not mention is whole. An error where it leaves the array.
    ///
    /// *Shape*: that of the part. *Derivative*: 1 in the part, else 0.
    ///
    /// ```
    /// use ndarray::{array, s};
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// assert_eq!(x.part(s![.., 1..]).value()?.to_f64(), [2.0, 3.0, 5.0, 6.0]);
    /// assert_eq!(x.part(s![-1, ..;-1]).value()?.to_f64(), [6.0, 5.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "slice")]
    #[doc(alias = "index")]
    #[track_caller]
    pub fn part(self, slices: impl AsRef<[SliceInfoElem]>) -> Var<'t> {
        self.cut("part", Part::of(slices.as_ref(), self.shape()))
    }

    /// This array with another, or a number, in the place of a [part](Self::part), with broadcasting.
    ///
    /// *Shape*: as `x`. *Derivative*: 0 in the part, else 1; by the value 1, summed over what is repeated.
    ///
    /// ```
    /// use ndarray::{array, s};
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.set_part(s![.., 0], 9.0).value()?.to_f64(), [9.0, 2.0, 9.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "assign")]
    #[doc(alias = "dynamic_update_slice")]
    #[track_caller]
    pub fn set_part(self, slices: impl AsRef<[SliceInfoElem]>, value: impl IntoVar<'t>) -> Var<'t> {
        self.with_part("set_part", Part::of(slices.as_ref(), self.shape()), value, false)
    }

    /// This array with another, or a number, added to a [part](Self::part), with broadcasting.
    ///
    /// *Shape*: as `x`. *Derivative*: 1; by the value 1, summed over what is repeated.
    ///
    /// ```
    /// use ndarray::{array, s};
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.add_part(s![1..], 10).value()?.to_f64(), [1.0, 12.0, 13.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn add_part(self, slices: impl AsRef<[SliceInfoElem]>, value: impl IntoVar<'t>) -> Var<'t> {
        let part = Part::of(slices.as_ref(), self.shape());
        if self.dtype().is_float() {
            return self.with_part("add_part", part, value, true);
        }
        self.operation("add_part", || {
            let there = self.part(&slices);
            self.with_part("add_part", part, there + value, false)
        })
    }

    /// Parts of these sizes along an axis, one behind the other: as many as there are sizes, which fill the axis.
    ///
    /// *Shape*: the sizes along the axis. *Derivative*: 1 in the part, else 0.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let parts = t.constant(array![1.0, 2.0, 3.0]).split([1, 2], 0);
    /// assert_eq!(parts[1].value()?.to_f64(), [2.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "chunk")]
    #[doc(alias = "unbind")]
    #[track_caller]
    pub fn split(self, sizes: impl AsRef<[usize]>, axis: impl Axes) -> Vec<Var<'t>> {
        let sizes = sizes.as_ref();
        let fits = single(&axis, self.rank()).and_then(|axis| {
            let (size, all) =
                (self.shape()[axis], sizes.iter().fold(0, |all: usize, &s| all.saturating_add(s)));
            let what = || ShapeError::Other(format!("{sizes:?} are {all}, the axis has {size}"));
            if all == size { Ok(axis) } else { Err(what().into()) }
        });
        let axis = match fits {
            Ok(axis) => axis,
            Err(kind) => {
                let poisoned = self.recorder().fail_like(kind, "split", self.ty());
                return vec![poisoned; sizes.len()];
            }
        };
        let mut start = 0;
        self.operation("split", || {
            let part = |&size: &usize| {
                start += size;
                self.slice(axis, start - size..start)
            };
            sizes.iter().map(part).collect()
        })
    }

    /// The axes (`()` for all) backwards.
    ///
    /// *Shape*: as `x`. *Derivative*: 1, flipped.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.flip(1).value()?.to_f64(), [2.0, 1.0, 4.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "invert_axis")]
    #[track_caller]
    pub fn flip(self, axes: impl Axes) -> Var<'t> {
        let part = named(&axes, self.rank()).and_then(|axes| {
            let mut slices = vec![ALL; self.rank()];
            axes.iter()
                .for_each(|&axis| slices[axis] = SliceInfoElem::Slice { start: 0, end: None, step: -1 });
            Part::of(&slices, self.shape())
        });
        self.cut("flip", part)
    }

    /// The elements of an axis moved on by so many places, those that leave at the end coming in at the beginning.
    ///
    /// *Shape*: as `x`. *Derivative*: 1, rolled back.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0, 3.0]);
    /// assert_eq!(x.roll(1, 0).value()?.to_f64(), [3.0, 1.0, 2.0]);
    /// assert_eq!(x.roll(-1, 0).value()?.to_f64(), [2.0, 3.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn roll(self, shift: impl Integer, axis: impl Axes) -> Var<'t> {
        match single(&axis, self.rank()) {
            Ok(axis) if self.shape()[axis] == 0 => self,
            Ok(axis) => self.operation("roll", || {
                let size = self.shape()[axis];
                let shift = shift.get().rem_euclid(size as isize) as usize;
                match shift {
                    0 => self,
                    _ => {
                        let parts = [self.slice(axis, size - shift..size), self.slice(axis, 0..size - shift)];
                        self.recorder().concat(parts, axis)
                    }
                }
            }),
            Err(kind) => self.recorder().fail_like(kind, "roll", self.ty()),
        }
    }

    /// With a margin around it that holds a number: for each axis how wide it is in front and behind.
    ///
    /// *Shape*: longer by the margins. *Derivative*: 1 inside.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.pad([(1, 2)], 0.0).value()?.to_f64(), [0.0, 1.0, 2.0, 0.0, 0.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(self, widths: impl AsRef<[(usize, usize)]>, value: f64) -> Var<'t> {
        let (widths, shape) = (widths.as_ref(), self.shape());
        let sum = |(&size, &(before, after)): (&usize, &(usize, usize))| {
            before.saturating_add(size).saturating_add(after)
        };
        let wider: Vec<usize> = shape.iter().zip(widths).map(sum).collect();
        let full = match Shape::new(&wider) {
            _ if widths.len() != shape.rank() => {
                Err(ShapeError::Rank { expected: shape.rank(), found: widths.len() }.into())
            }
            full => full,
        };
        match full {
            Ok(full) => self.operation("pad", || {
                let inner = shape.iter().zip(widths).map(|(&size, &(before, _))| SliceInfoElem::Slice {
                    start: before as isize,
                    end: Some((before + size) as isize),
                    step: 1,
                });
                let around = self.recorder().full(self.dtype(), full, value);
                around.set_part(inner.collect::<Vec<_>>(), self)
            }),
            Err(kind) => self.recorder().fail_like(kind, "pad", self.ty()),
        }
    }
}

impl Recorder {
    /// Arrays one behind the other along an axis; of one element type, and of one shape but for that axis. An error for none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let (a, b) = (t.constant(array![[1.0], [2.0]]), t.constant(array![[3.0], [4.0]]));
    /// assert_eq!(t.concat([a, b], 1).value()?.to_f64(), [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "concatenate")]
    #[doc(alias = "cat")]
    #[doc(alias = "hstack")]
    #[doc(alias = "vstack")]
    #[track_caller]
    pub fn concat<'t, M>(&'t self, parts: impl IntoVars<'t, M>, axis: impl Axes) -> Var<'t> {
        let parts = parts.into_vars();
        match concatenated(&parts, &axis) {
            Ok((axis, ty)) => self.operation("concat", || {
                let (mut whole, mut start) = (self.full(ty.dtype, ty.shape, 0.0), 0);
                for part in &parts {
                    let mut slices = vec![ALL; ty.shape.rank()];
                    let end = start + part.dim(axis);
                    slices[axis] =
                        SliceInfoElem::Slice { start: start as isize, end: Some(end as isize), step: 1 };
                    whole = whole.set_part(slices, part);
                    start = end;
                }
                whole
            }),
            Err(kind) => self.fail_joined(kind, "concat", &parts),
        }
    }

    /// Arrays of one type along a new axis, which stands in front of `axis`; −1 puts it behind the last. An error for none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let (a, b) = (t.constant(array![1.0, 2.0]), t.constant(array![3.0, 4.0]));
    /// assert_eq!(t.stack([a, b], 0).value()?.to_f64(), [1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(t.stack([a, b], -1).value()?.to_f64(), [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn stack<'t, M>(&'t self, parts: impl IntoVars<'t, M>, axis: impl Axes) -> Var<'t> {
        let parts = parts.into_vars();
        let axis = match parts.first() {
            Some(first) => single(&axis, first.rank() + 1),
            None => Err(nothing()),
        };
        match axis {
            Ok(axis) => self.operation("stack", || {
                self.concat(parts.iter().map(|part| part.insert_axis(axis)).collect::<Vec<_>>(), axis)
            }),
            Err(kind) => self.fail_joined(kind, "stack", &parts),
        }
    }

    #[track_caller]
    fn fail_joined<'t>(&'t self, kind: ErrorKind, name: &str, parts: &[Var<'t>]) -> Var<'t> {
        match parts.first() {
            Some(first) => self.fail_like(kind, name, first.ty()),
            None => self.fail(kind, name),
        }
    }
}

fn nothing() -> ErrorKind {
    ErrorKind::Argument("there are no arrays to put together".into())
}

/// The axis along which arrays are put together, and what they are then.
fn concatenated(parts: &[Var<'_>], axis: &impl Axes) -> Result<(usize, TensorType), ErrorKind> {
    let first = parts.first().ok_or_else(nothing)?.ty();
    let axis = single(axis, first.shape.rank())?;
    let mut size = 0usize;
    for part in parts {
        let ty = part.ty();
        crate::shape::same_dtype(first, ty)?;
        if ty.shape.rank() != first.shape.rank() || ty.shape.with(axis, 0) != first.shape.with(axis, 0) {
            let (left, right) = (first.shape.to_vec(), ty.shape.to_vec());
            return Err(ShapeError::Differ { left, right }.into());
        }
        size = size.saturating_add(ty.shape[axis]);
    }
    let mut dims = first.shape.to_vec();
    dims[axis] = size;
    Ok((axis, TensorType::new(first.dtype, Shape::new(&dims)?)))
}
