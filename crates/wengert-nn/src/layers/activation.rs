//! Functions of single numbers.

use std::fmt;

use wengert::{Recorder, Var};

use super::Layer;

/// `max(x, 0)`.
///
/// ```
/// use wengert_nn::{Layer, Relu};
/// let t = wengert::Recorder::default();
/// assert_eq!(Relu.forward(&t, t.constant(-1.0)).value()?.item()?, 0.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Layer for Relu {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        x.relu()
    }
}

/// Any function of the tape as a layer without parameters.
///
/// ```
/// use wengert_nn::{Activation, Layer};
/// let t = wengert::Recorder::default();
/// let gelu = Activation::new("gelu", |x| x.gelu());
/// assert_eq!(gelu.forward(&t, t.constant(0.0)).value()?.item()?, 0.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Activation {
    name: &'static str,
    function: for<'t> fn(Var<'t>) -> Var<'t>,
}

impl Activation {
    /// A function with a name.
    pub fn new(name: &'static str, function: for<'t> fn(Var<'t>) -> Var<'t>) -> Self {
        Self { name, function }
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Activation").field(&self.name).finish()
    }
}

impl Layer for Activation {
    fn forward<'t>(&self, _: &'t Recorder, x: Var<'t>) -> Var<'t> {
        (self.function)(x)
    }
}
