//! Other shapes of the same numbers.

use wengert::{Recorder, Var};

use super::Layer;

/// One row of numbers for each example.
///
/// ```
/// use wengert_nn::{Flatten, Layer};
/// let t = wengert::Recorder::default();
/// let x = t.full(wengert::DType::F32, [2, 3, 4], 1.0);
/// assert_eq!(Flatten.forward(&t, x).shape()[..], [2, 12]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Flatten;

impl Layer for Flatten {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let examples = x.shape().first().copied().unwrap_or(1);
        x.reshape([examples, x.shape().elements() / examples.max(1)])
    }
}

/// Rows of numbers as arrays of these sizes: pixels as `[1, 28, 28]`, say.
///
/// ```
/// use wengert_nn::{Layer, Unflatten};
/// let t = wengert::Recorder::default();
/// let x = t.full(wengert::DType::F32, [2, 12], 1.0);
/// assert_eq!(Unflatten(vec![3, 4]).forward(&t, x).shape()[..], [2, 3, 4]);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unflatten(pub Vec<usize>);

impl Layer for Unflatten {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        let examples = x.shape().first().copied().unwrap_or(1);
        x.reshape(&[&[examples], &self.0[..]].concat()[..])
    }
}
