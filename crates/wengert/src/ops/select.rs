//! Choosing between two arrays by a mask.

use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind};
use crate::ir::{
    Attrs, Body, Contribution, Domain, Form, IntoVar, Kernel, Linear, Op, Primitive, ResultTypes, Var, Vars,
    one, operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType, same_dtype, same_shape};

/// `mask ? a : b`; linear in `a` and `b`.
pub(crate) struct Select;
impl Kernel for Select {
    fn name(&self) -> &'static str {
        "select"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [mask, a, b] = operands(types)?;
        if mask.dtype != DType::Bool {
            return Err(DTypeError::Expected { expected: &[DType::Bool], found: mask.dtype }.into());
        }
        same_dtype(a, b)?;
        same_shape(mask.shape, a.shape)?;
        same_shape(a.shape, b.shape)?;
        one(a.dtype, a.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(Primitive::Select, &[DType::Bool, x[1].dtype, x[1].dtype]))
    }
}
impl Linear for Select {
    fn linear_in(&self, i: usize) -> bool {
        i > 0
    }
    fn transpose<'t>(&self, i: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        let zero = x[i].fill(0.0);
        Contribution::Whole(if i == 1 { x[0].select(ct, zero) } else { x[0].select(zero, ct) })
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = super::movement::batch_all(x, batched);
        x[0].select(x[1], x[2]).into()
    }
}
impl Registered for Select {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        (Self, vec![Spec::bool(shape), Spec::float(shape, Domain::All), Spec::float(shape, Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// Where this mask holds `a`, elsewhere `b`, with broadcasting. Derivatives flow to the chosen
    /// one only and are never multiplied by the mask, so a NaN on the other side stays there.
    ///
    /// *Shape*: the mask and both sides broadcast. *Derivative*: that of the side chosen.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![-1.0, 4.0]);
    /// let y = x.gt(0.0).select(x.sqrt(), 0.0);
    /// assert_eq!(y.value()?.as_slice::<f64>()?, &[0.0, 2.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "where")]
    #[doc(alias = "if_else")]
    #[doc(alias = "cond")]
    #[track_caller]
    pub fn select(self, a: impl IntoVar<'t>, b: impl IntoVar<'t>) -> Var<'t> {
        self.operation("select", || {
            // Two numbers have the type that the first has alone.
            let like = a.var().or(b.var()).unwrap_or_else(|| {
                let dtype = a.number().or(b.number()).map_or(DType::F64, |(dtype, _)| dtype);
                self.recorder().full(dtype, Shape::SCALAR, 0.0)
            });
            let a = a.into_var(like);
            self.choose(a, b.into_var(a))
        })
    }

    #[track_caller]
    fn choose(self, a: Var<'t>, b: Var<'t>) -> Var<'t> {
        let shape = a.shape().broadcast(&b.shape()).and_then(|s| s.broadcast(&self.shape()));
        match shape {
            Ok(shape) => {
                let operands = [self.broadcast_to(shape), a.broadcast_to(shape), b.broadcast_to(shape)];
                self.recorder().emit_one(Op::linear(Select), &operands)
            }
            Err(kind) => self.recorder().fail_like(kind, "select", a.ty()),
        }
    }
}
