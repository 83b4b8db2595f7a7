//! Conversions between element types.

use crate::dtype::{DType, Native, with_dtype};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attr, Attrs, Call, Contribution, Discrete, Domain, Kernel, Linear, Op, ResultTypes, Var, Vars, one,
    operands,
};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// Conversion of all elements, as Rust's `as` does it.
fn convert(mut call: Call<'_, '_>) -> Result<(), Fault> {
    fn run<T: Native, U: Native>(call: &mut Call<'_, '_>, bool: bool) -> Result<(), Fault> {
        let level = call.level;
        let (x, out) = call.unary::<T, U>(0)?;
        level.loops(|| {
            if bool {
                let truth = |x: T| f64::from(u8::from(x.to_f64() != 0.0));
                out.iter_mut().zip(x).for_each(|(o, &x)| *o = U::from_f64(truth(x)));
            } else {
                out.iter_mut().zip(x).for_each(|(o, &x)| *o = U::from_f64(x.to_f64()));
            }
        });
        Ok(())
    }
    let (from, to) = (call.operands[0].ty.dtype, call.results[0].ty.dtype);
    if from == DType::I64 && to == DType::U32 {
        // By way of f64 large integers would be rounded; these two meet directly.
        let (x, out) = call.unary::<i64, u32>(0)?;
        for (o, &x) in out.iter_mut().zip(x) {
            *o = x.clamp(0, i64::from(u32::MAX)) as u32;
        }
        return Ok(());
    }
    if from == to {
        return with_dtype!(from, T => {
            let (x, out) = call.unary::<T, T>(0)?;
            out.copy_from_slice(x);
            Ok(())
        });
    }
    with_dtype!(from, T => with_dtype!(to, U => run::<T, U>(&mut call, to == DType::Bool)))
}

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
            return Err(ErrorKind::DType(format!("cast makes floats, not {}", self.to)));
        }
        one(self.to, x.shape)
    }
    fn pointwise(&self) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        convert(call)
    }
}
impl Linear for Cast {
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(cts[0].map_or(x[0].fill(0.0), |ct| ct.cast(x[0].dtype())))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0].apply(Op::linear(Self { to: self.to }))].into_iter().collect()
    }
}
impl Registered for Cast {
    const NAME: &'static str = "cast";
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
            return Err(ErrorKind::DType(format!("to_integer makes integers, not {}", self.to)));
        }
        one(self.to, x.shape)
    }
    fn pointwise(&self) -> bool {
        true
    }
    fn infallible(&self) -> bool {
        true
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        convert(call)
    }
}
impl Discrete for ToInteger {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0].apply(Op::discrete(Self { to: self.to }))].into_iter().collect()
    }
}
impl Registered for ToInteger {
    const NAME: &'static str = "to_integer";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { to: attrs.dtype("to")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let to = [DType::U8, DType::U32, DType::I64, DType::Bool][s.below(4)];
        (Self { to }, vec![Spec::float(s.shape(3), Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// The same numbers as another element type, converted as Rust's `as` does: floats round to
    /// nearest, integers truncate and saturate, `bool` is `!= 0`. Derivatives pass through
    /// conversions between float types and are zero through the others.
    ///
    /// ```
    /// use ndarray::array;
    /// use wengert::DType::F32;
    /// let t = wengert::Recorder::default();
    /// let pixels = t.constant(array![0u8, 255]);
    /// assert_eq!(pixels.cast(F32).value()?.as_slice::<f32>()?, &[0.0, 255.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn cast(self, to: DType) -> Var<'t> {
        if self.dtype() == to {
            return self;
        }
        let op = if to.is_float() { Op::linear(Cast { to }) } else { Op::discrete(ToInteger { to }) };
        self.operation("cast", || self.apply(op))
    }
}
