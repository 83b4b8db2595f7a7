//! Conversions between element types.

use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind};
use crate::ir::{
    Attr, Attrs, Body, Contribution, Discrete, Domain, Form, Kernel, Linear, Op, Primitive, ResultTypes, Var,
    Vars, one, operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// To a float type: linear.
pub(crate) struct Cast {
    to: DType,
}
impl Kernel for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("to", Attr::DType(self.to))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if !self.to.is_float() {
            return Err(DTypeError::Expected { expected: DType::FLOATS, found: self.to }.into());
        }
        one(self.to, x.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(Primitive::Cast(self.to), &[x[0].dtype]))
    }
}
impl Linear for Cast {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct.cast(x[0].dtype()))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::linear(Self { to: self.to })).into()
    }
}
impl Registered for Cast {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { to: attrs.dtype("to")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        (Self { to: DType::F64 }, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

/// To an integer type or truth values: discrete.
pub(crate) struct ToInteger {
    to: DType,
}
impl Kernel for ToInteger {
    fn name(&self) -> &'static str {
        "to_integer"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("to", Attr::DType(self.to))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [x] = operands(types)?;
        if self.to.is_float() {
            return Err(DTypeError::Expected {
                expected: &DType::ALL[DType::FLOATS.len()..],
                found: self.to,
            }
            .into());
        }
        one(self.to, x.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(Primitive::Cast(self.to), &[x[0].dtype]))
    }
}
impl Discrete for ToInteger {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].apply(Op::discrete(Self { to: self.to })).into()
    }
}
impl Registered for ToInteger {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { to: attrs.dtype("to")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let to = [DType::U8, DType::U32, DType::I64, DType::Bool][s.below(4)];
        (Self { to }, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// The same numbers as another element type, converted as Rust's `as` does: to the nearest float; floats to integers
    /// by truncation, the nearest where they are too large, 0 for a NaN; integers to integers by their lowest bits. `bool`
    /// is `!= 0`. Derivatives pass through
    /// conversions between float types and are zero through the others.
    ///
    /// *Shape*: as `x`. *Derivative*: 1 between floats, else none.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::DType::F32;
    /// let t = wengert::Recorder::default();
    /// let pixels = t.constant(array![0u8, 255]);
    /// assert_eq!(pixels.cast(F32).value()?.as_slice::<f32>()?, &[0.0, 255.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "astype")]
    #[doc(alias = "to")]
    #[doc(alias = "mapv")]
    #[track_caller]
    pub fn cast(self, to: DType) -> Var<'t> {
        if self.dtype() == to {
            return self;
        }
        let op = if to.is_float() { Op::linear(Cast { to }) } else { Op::discrete(ToInteger { to }) };
        self.operation("cast", || self.apply(op))
    }
}
