//! Maxima and means over sliding windows, and nearest resizing.

use super::convolve::Convolve;
use super::index::{Gather, Rows, numbers};
use super::window::{Pool, Slide};
use crate::dtype::DType;
use crate::elements::with_float;
use crate::error::{ErrorKind, Fault, ShapeError};
use crate::ir::{
    Attrs, Call, Discrete, Form, Kernel, Op, Opaque, ResultTypes, Var, Vars, float, one, operands,
};
use crate::kernels::pool::{Windows, largest};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{MAX_RANK, Shape, TensorType};
use crate::sizes::IntoShape;

/// Where the largest element of each window over the last two axes is, as its position in the plane of both: the first of
/// several, or the first that is NaN.
pub(crate) struct PoolIndex([Windows; 2]);

impl From<Slide> for Windows {
    fn from(Slide { size, stride, dilation, before, places, .. }: Slide) -> Self {
        Self { size, stride, dilation, before, places, adaptive: false }
    }
}

fn adaptive_windows(places: usize) -> Windows {
    Windows { adaptive: true, ..Windows::single(places) }
}

impl Kernel for PoolIndex {
    fn name(&self) -> &'static str {
        "pool_index"
    }
    fn attrs(&self) -> Attrs {
        let of = |number: fn(Windows) -> usize| self.0.map(number);
        Attrs::new()
            .with_sizes("size", &of(|w| w.size))
            .with_sizes("stride", &of(|w| w.stride))
            .with_sizes("dilation", &of(|w| w.dilation))
            .with_sizes("before", &of(|w| w.before))
            .with_sizes("places", &of(|w| w.places))
            .with_flag("adaptive", self.0[0].adaptive)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        float(types)?;
        let shape = x.shape;
        let [.., height, width] = shape[..] else {
            return Err(ShapeError::Rank { expected: 2, found: shape.rank() }.into());
        };
        for (windows, length) in self.0.into_iter().zip([height, width]) {
            let Windows { size, stride, dilation, before, places, .. } = windows;
            let sizes = [size, stride, dilation];
            if sizes.contains(&0)
                || [size, stride, dilation, before, places, length].iter().any(|&s| s > i32::MAX as usize)
            {
                return Err(ErrorKind::Argument(format!("no windows over {length} elements: {windows:?}")));
            }
            // Windows that cover an axis have some.
            let searched = if windows.adaptive { usize::from(places > 0) } else { places };
            if (0..searched).any(|at| windows.elements(at, length).len() == 0) {
                let what = format!("a window of {size} elements has none of {length}");
                return Err(ShapeError::Other(what).into());
            }
        }
        if height.checked_mul(width).is_none_or(|plane| plane >= 1 << 29) {
            return Err(ShapeError::Other(format!("{shape} has too many elements in a plane")).into());
        }
        let last = shape.rank() - 1;
        let shape = shape.with(last - 1, self.0[0].places).with(last, self.0[1].places);
        one(DType::U32, Shape::new(&shape)?)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let shape = x[0].shape;
        let planes: usize = shape[..shape.rank() - 2].iter().product();
        let per: usize = self.0.iter().map(|w| w.places.saturating_mul(w.size)).product();
        let work = planes.saturating_mul(per.max(shape[shape.rank() - 2..].iter().product()));
        Form::Opaque(Opaque::default().in_blocks(planes.max(1)).chunked(0).with_work(work).infallible())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let (ty, isa) = (call.operands[0].ty, call.isa);
        let lengths = [ty.shape[ty.shape.rank() - 2], ty.shape[ty.shape.rank() - 1]];
        with_float!(ty.dtype, T => {
            let (x, out) = call.unary::<T, u32>(0)?;
            largest(isa, x, lengths, self.0, out);
            Ok(())
        })
    }
}
impl Discrete for PoolIndex {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::discrete(Self(self.0))).into()
    }
}
impl Registered for PoolIndex {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let (size, stride, dilation) = (attrs.pair("size")?, attrs.pair("stride")?, attrs.pair("dilation")?);
        let (before, places, adaptive) =
            (attrs.pair("before")?, attrs.pair("places")?, attrs.flag("adaptive")?);
        let windows = |i: usize| Windows {
            size: size[i],
            stride: stride[i],
            dilation: dilation[i],
            before: before[i],
            places: places[i],
            adaptive,
        };
        Ok(Self([windows(0), windows(1)]))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let adaptive = s.below(4) == 0;
        let mut lengths = [0; 2];
        let windows = [0, 1].map(|i| {
            let (size, stride, before) = (1 + s.below(3), 1 + s.below(3), s.below(2));
            let length = size + s.below(5);
            lengths[i] = length;
            let before = before.min(size / 2);
            if adaptive {
                return adaptive_windows(1 + s.below(length));
            }
            let places = (length + before - size) / stride + 1;
            Windows { size, stride, dilation: 1, before, places, adaptive }
        });
        let planes = s.shape_of(1, 0)[0];
        let shape = Shape::new(&[planes, lengths[0], lengths[1]]).unwrap_or(Shape::SCALAR);
        (Self(windows), vec![Spec::distinct(shape)])
    }
}

impl<'t> Var<'t> {
    /// The largest element of each window over the last axis; of several the first, to which the derivative goes, and NaN where one is. What is beyond the ends is
    /// no number at all.
    ///
    /// *Shape*: a place for each window, `(l + padding − dilation (k − 1) − 1) / stride + 1`. *Derivative*: 1 to the first largest.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Pool;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 3.0, 2.0, 2.0]);
    /// assert_eq!(x.max_pool1d(Pool::new(2)).value()?.to_f64(), [3.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn max_pool1d(self, pool: Pool) -> Var<'t> {
        self.pooled("max_pool1d", 1, |lengths| pool.over(lengths).map(to_windows), Self::largest)
    }

    /// The largest element of each window over the last two axes, as [`max_pool1d`](Self::max_pool1d) in all else.
    ///
    /// *Shape*: a place for each window. *Derivative*: 1 to the first largest.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Pool;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 3.0, 0.0], [2.0, 2.0, 5.0]]);
    /// assert_eq!(x.max_pool2d(Pool::new(2).stride(1)).value()?.to_f64(), [3.0, 5.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn max_pool2d(self, pool: Pool) -> Var<'t> {
        self.pooled("max_pool2d", 2, |lengths| pool.over(lengths).map(to_windows), Self::largest)
    }

    /// The mean of each window over the last axis. Padding counts as zeros, unless [`Pool::count_padding`] leaves it out.
    ///
    /// *Shape*: a place for each window. *Derivative*: one over the elements of a window, from each that it is in.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Pool;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 3.0, 2.0]);
    /// assert_eq!(x.avg_pool1d(Pool::new(2).stride(1)).value()?.to_f64(), [2.0, 2.5]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "mean_pool")]
    #[track_caller]
    pub fn avg_pool1d(self, pool: Pool) -> Var<'t> {
        let count = pool.count_padding;
        self.pooled(
            "avg_pool1d",
            1,
            |lengths| pool.over(lengths).map(to_windows),
            |x, windows| x.means(windows, count),
        )
    }

    /// The mean of each window over the last two axes, as [`avg_pool1d`](Self::avg_pool1d) in all else.
    ///
    /// *Shape*: a place for each window. *Derivative*: one over the elements of a window, from each that it is in.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::Pool;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 3.0], [2.0, 6.0]]);
    /// assert_eq!(x.avg_pool2d(Pool::new(2)).value()?.to_f64(), [3.0]);
    /// let corners = x.avg_pool2d(Pool::new(3).stride(2).padding(1).count_padding(false));
    /// assert_eq!(corners.value()?.to_f64(), [3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "mean_pool")]
    #[track_caller]
    pub fn avg_pool2d(self, pool: Pool) -> Var<'t> {
        let count = pool.count_padding;
        self.pooled(
            "avg_pool2d",
            2,
            |lengths| pool.over(lengths).map(to_windows),
            |x, windows| x.means(windows, count),
        )
    }

    /// The largest elements of as many windows over the last axes as sizes say, one or two, which cover them in as equal parts as can be: from `⌊i n / size⌋` to
    /// `⌈(i + 1) n / size⌉`. Of size 1: the largest of all, "global".
    ///
    /// *Shape*: these sizes in place of the last axes. *Derivative*: 1 to the first largest.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 3.0, 2.0]);
    /// assert_eq!(x.adaptive_max_pool(2).value()?.to_f64(), [3.0, 3.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "global_max_pool")]
    #[track_caller]
    pub fn adaptive_max_pool(self, sizes: impl IntoShape) -> Var<'t> {
        self.adaptive("adaptive_max_pool", sizes, Self::largest)
    }

    /// The means of as many windows as sizes say, as [`adaptive_max_pool`](Self::adaptive_max_pool) in all else.
    ///
    /// *Shape*: these sizes in place of the last axes. *Derivative*: one over the elements of a window, from each that it is in.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 3.0, 2.0]);
    /// assert_eq!(x.adaptive_avg_pool(2).value()?.to_f64(), [2.0, 2.5]);
    /// assert_eq!(x.adaptive_avg_pool(1).value()?.to_f64(), [2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "global_avg_pool")]
    #[track_caller]
    pub fn adaptive_avg_pool(self, sizes: impl IntoShape) -> Var<'t> {
        self.adaptive("adaptive_avg_pool", sizes, |x, windows| x.means(windows, false))
    }

    /// The last axes at other sizes, each element from the nearest before: position `⌊i n / size⌋`.
    ///
    /// *Shape*: these sizes in place of the last axes. *Derivative*: 1, summed over all that came from an element.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// assert_eq!(x.resize_nearest(4).value()?.to_f64(), [1.0, 1.0, 2.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "upsample")]
    #[doc(alias = "interpolate")]
    #[track_caller]
    pub fn resize_nearest(self, sizes: impl IntoShape) -> Var<'t> {
        let sizes = sizes.into_shape().and_then(|sizes| {
            let first = self.rank().checked_sub(sizes.rank());
            let first = first.ok_or(ShapeError::Rank { expected: sizes.rank(), found: self.rank() })?;
            if self.shape()[first..].contains(&0) && sizes.elements() > 0 {
                return Err(ShapeError::Empty { shape: self.shape().to_vec() }.into());
            }
            Ok((first, sizes))
        });
        let (first, sizes) = match sizes {
            Ok(found) => found,
            Err(kind) => return self.recorder().fail_like(kind, "resize_nearest", self.ty()),
        };
        self.operation("resize_nearest", || {
            sizes.iter().enumerate().fold(self, |x, (i, &size)| {
                let length = x.dim(first + i) as u128;
                let from = |at: i64| (at as u128 * length / size.max(1) as u128) as i64;
                if length == size as u128 {
                    return x;
                }
                x.gather_along(first + i, numbers(x.recorder(), "resize_nearest", size, from))
            })
        })
    }

    /// Brings the last one or two axes behind one axis of all others, pools, and brings them back.
    #[track_caller]
    fn pooled(
        self,
        name: &'static str,
        axes: usize,
        windows: impl FnOnce(&[usize]) -> Result<[Windows; 2], ErrorKind>,
        pool: impl FnOnce(Var<'t>, [Windows; 2]) -> Var<'t>,
    ) -> Var<'t> {
        let shape = self.shape();
        if !(1..=2).contains(&axes) || shape.rank() < axes {
            let kind = ShapeError::Rank { expected: axes.clamp(1, 2), found: shape.rank() };
            return self.recorder().fail_like(kind, name, self.ty());
        }
        let (outer, lengths) = shape[..].split_at(shape.rank() - axes);
        let windows = match windows(lengths) {
            Ok(windows) => windows,
            Err(kind) => return self.recorder().fail_like(kind, name, self.ty()),
        };
        self.operation(name, || {
            let planes: usize = outer.iter().product();
            let height = if axes == 2 { lengths[0] } else { 1 };
            let y = pool(self.reshape([planes, height, lengths[axes - 1]]), windows);
            let made = windows.map(|w| w.places);
            y.reshape([outer, &made[2 - axes..]].concat())
        })
    }

    #[track_caller]
    fn adaptive(
        self,
        name: &'static str,
        sizes: impl IntoShape,
        pool: impl FnOnce(Var<'t>, [Windows; 2]) -> Var<'t>,
    ) -> Var<'t> {
        let sizes = match sizes.into_shape() {
            Ok(sizes) => sizes,
            Err(kind) => return self.recorder().fail_like(kind, name, self.ty()),
        };
        let windows = |lengths: &[usize]| match (sizes.contains(&0), lengths.contains(&0), &sizes[..]) {
            (true, ..) | (_, true, _) => Err(ShapeError::Empty { shape: lengths.to_vec() }.into()),
            (.., &[width]) => Ok([adaptive_windows(1), adaptive_windows(width)]),
            (.., &[height, width]) => Ok([adaptive_windows(height), adaptive_windows(width)]),
            _ => Err(ShapeError::Rank { expected: 2, found: sizes.rank().min(MAX_RANK) }.into()),
        };
        self.pooled(name, sizes.rank(), windows, pool)
    }

    /// The largest elements, picked by their places.
    #[track_caller]
    fn largest(self, windows: [Windows; 2]) -> Var<'t> {
        let planes = self.dim(0);
        let index = self.apply(Op::discrete(PoolIndex(windows)));
        let [rows, columns] = windows.map(|w| w.places);
        let (x, index) =
            (self.reshape([planes, self.dim(1) * self.dim(2)]), index.reshape([planes, rows * columns]));
        let y = self.recorder().emit_one(Op::linear(Gather(Rows { batch: 1 })), &[x, index]);
        y.reshape([planes, rows, columns])
    }

    /// The means: of windows beside each other by sums over axes, of others by a convolution with ones, or by averaging matrices.
    #[track_caller]
    fn means(self, windows: [Windows; 2], count_padding: bool) -> Var<'t> {
        let (t, lengths) = (self.recorder(), [self.dim(1), self.dim(2)]);
        let equal = |i: usize| {
            let (Windows { size, stride, dilation, before, places, adaptive }, length) =
                (windows[i], lengths[i]);
            let beside = stride == size && dilation == 1 && before == 0 && places * size == length;
            if adaptive { length.is_multiple_of(places) } else { beside }
        };
        if equal(0) && equal(1) {
            let [a, b] = windows.map(|w| w.places);
            return self
                .reshape([self.dim(0), a, lengths[0] / a.max(1), b, lengths[1] / b.max(1)])
                .mean([2, 4]);
        }
        if windows.iter().any(|w| w.adaptive) {
            // Matrices that nobody has memory for.
            let most = [0, 1].map(|i| windows[i].places.saturating_mul(lengths[i])).into_iter().max();
            if let Some(bytes) = most.map(|most| most.saturating_mul(8)).filter(|&bytes| bytes > 1 << 40) {
                return t.fail_like(ErrorKind::Memory { bytes }, "adaptive_avg_pool", self.ty());
            }
            let [rows, columns] = [0, 1].map(|i| {
                let (w, length) = (windows[i], lengths[i]);
                let weight = |at: usize, j: usize| {
                    let elements = w.elements(at, length);
                    let (of, inside) = (elements.len(), elements.clone().any(|e| e == j));
                    if inside { 1.0 / of as f64 } else { 0.0 }
                };
                let places = w.places;
                let all = (0..places).flat_map(|at| (0..length).map(move |j| weight(at, j)));
                t.constant(all.collect::<Vec<f64>>()).cast(self.dtype()).reshape([places, length])
            });
            return rows.matmul(self.matmul(columns.t()));
        }
        let sums = Convolve::window_sums(self, windows);
        if count_padding {
            return sums / windows.iter().map(|w| w.size as f64).product::<f64>();
        }
        let counts = [0, 1].map(|i| {
            let counts = (0..windows[i].places).map(|at| windows[i].elements(at, lengths[i]).len() as f64);
            t.constant(counts.collect::<Vec<f64>>()).cast(self.dtype())
        });
        sums / (counts[0].insert_axis(-1) * counts[1])
    }
}

/// The windows over two axes, of which the first may be a single row.
fn to_windows(slides: smallvec::SmallVec<[Slide; 2]>) -> [Windows; 2] {
    match *slides.as_slice() {
        [rows, columns] => [rows.into(), columns.into()],
        [columns] => [Windows::single(1), columns.into()],
        _ => [Windows::single(1); 2],
    }
}
