//! The handle by which a row's result is named while recording.

use std::fmt;

use super::axes::{Axes, single};
use super::op::Op;
use super::recorder::Recorder;
use super::tape::Value;
use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::shape::{Shape, TensorType};

/// One result of one row of a tape that is being recorded: a `Copy` handle without numbers.
///
/// Operators and methods record rows. An operation that does not fit is remembered by the
/// recorder with the line of the call, and its result is *poisoned*: later operations pass that
/// on, and the first error is returned when recording ends.
///
/// # Index of methods
///
/// Every page of an op tells the shape of the result and the derivative, of `x` as this variable and `y` as the other operand.
///
/// | group | methods |
/// |---|---|
/// | arithmetic | `+ - * / % += -= *= /= %=`, negation, `Sum`, `Product`, [`pow`](Self::pow) [`square`](Self::square) [`maximum`](Self::maximum) [`minimum`](Self::minimum) [`clamp`](Self::clamp) [`hypot`](Self::hypot) [`lerp`](Self::lerp) [`recip`](Self::recip) [`abs`](Self::abs) [`sign`](Self::sign) |
/// | whole numbers | [`floor`](Self::floor) [`ceil`](Self::ceil) [`trunc`](Self::trunc) [`round`](Self::round) [`round_ties_even`](Self::round_ties_even) |
/// | functions | [`exp`](Self::exp) [`exp_m1`](Self::exp_m1) [`ln`](Self::ln) [`ln_1p`](Self::ln_1p) [`exp2`](Self::exp2) [`log2`](Self::log2) [`log10`](Self::log10) [`logaddexp`](Self::logaddexp) [`xlogy`](Self::xlogy) [`sqrt`](Self::sqrt) [`rsqrt`](Self::rsqrt) [`cbrt`](Self::cbrt) [`sin`](Self::sin) [`cos`](Self::cos) [`sin_cos`](Self::sin_cos) [`tan`](Self::tan) [`asin`](Self::asin) [`acos`](Self::acos) [`atan`](Self::atan) [`atan2`](Self::atan2) [`sinh`](Self::sinh) [`cosh`](Self::cosh) [`tanh`](Self::tanh) [`asinh`](Self::asinh) [`acosh`](Self::acosh) [`atanh`](Self::atanh) |
/// | special functions | [`erf`](Self::erf) [`erfc`](Self::erfc) [`erfinv`](Self::erfinv) [`ln_gamma`](Self::ln_gamma) [`digamma`](Self::digamma) [`polygamma`](Self::polygamma) |
/// | activations | [`sigmoid`](Self::sigmoid) [`log_sigmoid`](Self::log_sigmoid) [`softplus`](Self::softplus) [`softsign`](Self::softsign) [`relu`](Self::relu) [`relu6`](Self::relu6) [`leaky_relu`](Self::leaky_relu) [`elu`](Self::elu) [`selu`](Self::selu) [`gelu`](Self::gelu) [`gelu_tanh`](Self::gelu_tanh) [`silu`](Self::silu) [`mish`](Self::mish) [`hardtanh`](Self::hardtanh) |
/// | comparisons and masks | [`lt`](Self::lt) [`le`](Self::le) [`gt`](Self::gt) [`ge`](Self::ge) [`eq`](Self::eq) [`ne`](Self::ne), <code>& \| ^ !</code>, [`any`](Self::any) [`all`](Self::all) [`count`](Self::count) [`select`](Self::select) [`is_nan`](Self::is_nan) [`is_finite`](Self::is_finite) [`is_infinite`](Self::is_infinite) [`nan_to_num`](Self::nan_to_num) |
/// | along axes | [`sum`](Self::sum) [`sum_keep`](Self::sum_keep) [`prod`](Self::prod) [`mean`](Self::mean) [`max`](Self::max) [`min`](Self::min) [`argmax`](Self::argmax) [`argmin`](Self::argmin) [`logsumexp`](Self::logsumexp) [`norm`](Self::norm) [`norm_of`](Self::norm_of) [`var`](Self::var) [`std`](Self::std) [`median`](Self::median) [`softmax`](Self::softmax) [`softmax_along`](Self::softmax_along) [`log_softmax`](Self::log_softmax) [`log_softmax_along`](Self::log_softmax_along); with [`Keep`](crate::Keep) axes stay |
/// | running and in order | [`cumsum`](Self::cumsum) [`cumprod`](Self::cumprod) [`cummax`](Self::cummax) [`cummin`](Self::cummin) [`logcumsumexp`](Self::logcumsumexp) [`sort`](Self::sort) [`argsort`](Self::argsort) [`top_k`](Self::top_k) |
/// | shape | [`reshape`](Self::reshape) [`insert_axis`](Self::insert_axis) [`squeeze`](Self::squeeze) [`broadcast_to`](Self::broadcast_to) [`permute`](Self::permute) [`swap_axes`](Self::swap_axes) [`t`](Self::t) |
/// | parts | [`at`](Self::at) [`slice`](Self::slice) [`slice_step`](Self::slice_step) [`part`](Self::part) [`set_part`](Self::set_part) [`add_part`](Self::add_part) [`split`](Self::split) [`flip`](Self::flip) [`roll`](Self::roll) [`pad`](Self::pad) [`pad_edge`](Self::pad_edge) [`pad_reflect`](Self::pad_reflect) [`pad_circular`](Self::pad_circular) [`repeat`](Self::repeat) [`tile`](Self::tile) [`unpack`](Self::unpack); [`Recorder::concat`], [`Recorder::stack`] |
/// | by number | [`gather`](Self::gather) [`gather_along`](Self::gather_along) [`take_along`](Self::take_along) [`gather_at`](Self::gather_at) [`pick`](Self::pick) [`scatter`](Self::scatter) [`scatter_along`](Self::scatter_along) [`scatter_add`](Self::scatter_add) [`scatter_add_along`](Self::scatter_add_along) [`scatter_multiply`](Self::scatter_multiply) [`scatter_multiply_along`](Self::scatter_multiply_along) [`scatter_max`](Self::scatter_max) [`scatter_max_along`](Self::scatter_max_along) [`scatter_min`](Self::scatter_min) [`scatter_min_along`](Self::scatter_min_along) [`segment_sum`](Self::segment_sum) [`one_hot`](Self::one_hot); [`Recorder::arange`], [`Recorder::linspace`] |
/// | products | [`matmul`](Self::matmul) [`outer`](Self::outer) [`kron`](Self::kron) [`tensordot`](Self::tensordot) [`trace`](Self::trace) [`diagonal`](Self::diagonal) [`diag_embed`](Self::diag_embed) [`tril`](Self::tril) [`triu`](Self::triu) [`einsum`](Self::einsum); [`Recorder::einsum`] |
/// | matrices | [`cholesky`](Self::cholesky) [`cholesky_solve`](Self::cholesky_solve) [`solve`](Self::solve) [`solve_triangular`](Self::solve_triangular) [`lu`](Self::lu) [`inverse`](Self::inverse) [`determinant`](Self::determinant) [`slogdet`](Self::slogdet) [`logdet`](Self::logdet) [`least_squares`](Self::least_squares) [`matrix_power`](Self::matrix_power) |
/// | losses | [`cross_entropy`](Self::cross_entropy) [`cross_entropy_along`](Self::cross_entropy_along) [`binary_cross_entropy`](Self::binary_cross_entropy) [`mse`](Self::mse) [`mae`](Self::mae) [`huber`](Self::huber) [`kl_divergence`](Self::kl_divergence) [`gaussian_nll`](Self::gaussian_nll) [`cross_entropy_with`](Self::cross_entropy_with) |
/// | networks | [`layer_norm`](Self::layer_norm) [`rms_norm`](Self::rms_norm) [`group_norm`](Self::group_norm) [`batch_norm`](Self::batch_norm) [`batch_norm_with`](Self::batch_norm_with) [`dropout`](Self::dropout) [`attention`](Self::attention) |
/// | images and signals | [`conv1d`](Self::conv1d) [`conv2d`](Self::conv2d) [`conv_transpose1d`](Self::conv_transpose1d) [`conv_transpose2d`](Self::conv_transpose2d) [`max_pool1d`](Self::max_pool1d) [`max_pool2d`](Self::max_pool2d) [`avg_pool1d`](Self::avg_pool1d) [`avg_pool2d`](Self::avg_pool2d) [`adaptive_max_pool`](Self::adaptive_max_pool) [`adaptive_avg_pool`](Self::adaptive_avg_pool) [`resize_nearest`](Self::resize_nearest) |
/// | derivatives | [`gradients`](Self::gradients) [`gradients_strict`](Self::gradients_strict) [`stop_gradient`](Self::stop_gradient); [`Recorder::vjp`], [`Recorder::jvp`], [`Recorder::vmap`], [`Recorder::custom_jvp`], [`Recorder::custom_vjp`], [`Recorder::fixed_point`] |
/// | numbers and types | [`value`](Self::value) [`decide`](Self::decide) [`cast`](Self::cast) [`fill`](Self::fill) [`uniform`](Self::uniform) [`normal`](Self::normal) [`bernoulli`](Self::bernoulli) [`categorical`](Self::categorical) [`shape`](Self::shape) [`dim`](Self::dim) [`rank`](Self::rank) [`dtype`](Self::dtype) [`ty`](Self::ty) |
/// | names and errors | [`named`](Self::named) [`same_as`](Self::same_as) [`fail`](Self::fail) [`recorder`](Self::recorder) [`id`](Self::id) |
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(super) recorder: &'t Recorder,
    pub(super) name: Name,
}

/// What a variable names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// A result of a row.
    Row(Value),
    /// Nothing: an error is remembered. The number is that of a guess of the type that it would have had.
    Poisoned(u32),
}

impl<'t> Var<'t> {
    /// The recorder it belongs to.
    pub fn recorder(self) -> &'t Recorder {
        self.recorder
    }

    /// Row and result; `None` if poisoned.
    pub fn id(self) -> Option<Value> {
        if let Name::Row(value) = self.name { Some(value) } else { None }
    }

    /// What it names, to look it up by.
    pub(crate) fn name(self) -> Name {
        self.name
    }

    /// Element type and shape. Of a poisoned variable those that it probably would have had, so that code which looks at
    /// them gets as far as the error.
    pub fn ty(self) -> TensorType {
        self.recorder.ty(self.name)
    }

    /// The sizes of the axes; a guess if poisoned.
    pub fn shape(self) -> Shape {
        self.ty().shape
    }

    /// The element type.
    pub fn dtype(self) -> DType {
        self.ty().dtype
    }

    /// The number of axes.
    pub fn rank(self) -> usize {
        self.shape().rank()
    }

    /// The size of an axis; a guess if the variable is poisoned. Where there is no such axis it is 1, and an error is
    /// remembered.
    #[track_caller]
    pub fn dim(self, axis: impl Axes) -> usize {
        let shape = self.shape();
        match single(&axis, shape.rank()) {
            Ok(axis) => shape[axis],
            Err(kind) => {
                self.recorder.fail(kind, "dim");
                1
            }
        }
    }

    /// The same variable, with a name: by it an input is bound and an output read. An error where another of this recorder has the name.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let (base, height) = (t.input(F64, []).named("base"), t.input(F64, []).named("height"));
    ///     t.outputs((base * height * 0.5).named("area"))
    /// })?;
    /// let (mut workspace, states) = (program.workspace()?, States::new());
    /// let results = program.evaluate(&mut workspace, &states, (("height", &2.0), ("base", &5.0)))?;
    /// assert_eq!(results.scalar("area")?, 5.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn named(self, name: &str) -> Self {
        let Some(value) = self.id() else { return self };
        let mut names = self.recorder.names.borrow_mut();
        match names.iter().find(|(v, n)| (&**n == name) != (*v == value) && (&**n == name || *v == value)) {
            Some((v, n)) => {
                let what = format!("{v} has the name `{n}`: {value} cannot be named `{name}`");
                drop(names);
                self.recorder.fail_like(ErrorKind::Argument(what), "named", self.ty())
            }
            None => {
                names.push((value, name.into()));
                self
            }
        }
    }

    /// An array of this variable's type whose elements are all `value`. An error where the type
    /// cannot hold it: −1 is no `u8`.
    #[track_caller]
    pub fn fill(self, value: f64) -> Self {
        if self.id().is_none() {
            return self;
        }
        self.recorder.operation("fill", || self.recorder.fill(self.ty(), value))
    }

    /// Whether both name the same result of the same row; [`eq`](Self::eq) compares their numbers.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let (x, y) = (t.constant(1.0), t.constant(1.0));
    /// assert!(x.same_as(x) && !x.same_as(y));
    /// ```
    pub fn same_as(self, other: Self) -> bool {
        std::ptr::eq(self.recorder, other.recorder) && self.name == other.name
    }

    /// Remembers an error at the line of the caller and returns a poisoned variable of this type.
    #[track_caller]
    pub fn fail(self, kind: impl Into<ErrorKind>) -> Self {
        self.recorder.fail_like(kind, "fail", self.ty())
    }

    /// Runs what records the rows of an operation that users know by this name.
    #[track_caller]
    pub(crate) fn operation<R>(self, name: &'static str, record: impl FnOnce() -> R) -> R {
        self.recorder.operation(name, record)
    }

    /// Records a row with this operand and one result.
    #[track_caller]
    pub(crate) fn apply(self, op: Op) -> Self {
        self.recorder.emit_one(op, &[self])
    }
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            None => f.write_str("poisoned"),
            Some(v) => write!(f, "{v}: {}", self.ty()),
        }
    }
}

/// Tells the compiler that a closure is one of a variable, so that it can be kept in a `let` and called again and again. (Written alone,
/// `|x: Var<'_>| x * x` promises a result of any lifetime, which the compiler refuses: "lifetime may not live long enough".)
///
/// ```
/// use wengert::closure;
/// let t = wengert::Recorder::default();
/// let swish = closure(|x| x * x.sigmoid());
/// assert_eq!(swish(swish(t.constant(0.0))).value()?.item()?, 0.0);
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn closure<'t, R, F: Fn(Var<'t>) -> R>(f: F) -> F {
    f
}

/// The same for a closure of a variable and something else: a number, or a second variable.
///
/// ```
/// use ndarray::array;
/// use wengert::{closure_with, Var};
/// let t = wengert::Recorder::default();
/// let weights = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
/// let row = closure_with(|x, i: usize| (weights.at(i) * x).sum(()));
/// let dot = closure_with(|x, y: Var<'_>| (x * y).sum(()));
/// let x = t.constant(array![1.0, 1.0]);
/// assert_eq!((row(x, 0) + row(x, 1)).value()?.item()?, 10.0);
/// assert_eq!(dot(x, weights.at(1)).value()?.item()?, 7.0);
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn closure_with<'t, A, R, F: Fn(Var<'t>, A) -> R>(f: F) -> F {
    f
}
