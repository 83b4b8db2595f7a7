//! Conversions between element types.

use crate::dtype::{DType, Native, with_dtype, with_float};
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attr, Attrs, Call, Contribution, Discrete, Domain, Kernel, Linear, Op, ResultTypes, Var, Vars, one,
    operands,
};
use crate::kernels::Real;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::TensorType;

/// Conversion to another type as Rust's `as` does it.
trait As<U>: Copy {
    fn convert(self) -> U;
}
macro_rules! conversions {
    ($T:ident to $($U:ident)*) => {$(
        impl As<$U> for $T {
            #[inline(always)]
            fn convert(self) -> $U {
                self as $U
            }
        }
    )*};
    ($($T:ident)*) => {$(conversions!($T to f32 f64 u8 u32 i64);)*};
}
conversions!(f32 f64 u8 u32 i64);

/// Converts all elements, and multiplies them by a factor, if there is one.
fn convert(mut call: Call<'_, '_>, factor: Option<f64>) -> Result<(), Fault> {
    fn run<T: Native + As<U>, U: Native>(call: &mut Call<'_, '_>, bool: bool) -> Result<(), Fault> {
        let level = call.level;
        let (x, out) = call.unary::<T, U>(0)?;
        level.loops(|| {
            if bool {
                let truth = |x: T| U::from_f64(f64::from(u8::from(x != T::default())));
                out.iter_mut().zip(x).for_each(|(o, &x)| *o = truth(x));
            } else {
                out.iter_mut().zip(x).for_each(|(o, &x)| *o = x.convert());
            }
        });
        Ok(())
    }
    fn scaled<T: Native + As<U>, U: Real>(call: &mut Call<'_, '_>, factor: f64) -> Result<(), Fault> {
        let (level, factor) = (call.level, U::from_f64(factor));
        let (x, out) = call.unary::<T, U>(0)?;
        level.loops(|| out.iter_mut().zip(x).for_each(|(o, &x)| *o = x.convert() * factor));
        Ok(())
    }
    let (from, to) = (call.operands[0].ty.dtype, call.results[0].ty.dtype);
    match factor {
        Some(factor) => {
            with_dtype!(from, T => with_float!(to, U => scaled::<T, U>(&mut call, factor)))
        }
        None => with_dtype!(from, T => with_dtype!(to, U => run::<T, U>(&mut call, to == DType::Bool))),
    }
}

/// To a float type, perhaps times a number of that type: linear.
pub(crate) struct Cast {
    to: DType,
    factor: Option<f64>,
}
impl Kernel for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }
    fn attrs(&self) -> Attrs {
        let attrs = Attrs::new().with("to", Attr::DType(self.to));
        self.factor.map_or(attrs.clone(), |factor| attrs.with("factor", Attr::Float(factor)))
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
        convert(call, self.factor)
    }
}
impl Linear for Cast {
    fn transpose<'t>(&self, _: usize, cts: &[Option<Var<'t>>], x: &[Var<'t>]) -> Contribution<'t> {
        let Some(ct) = cts[0] else { return Contribution::Whole(x[0].fill(0.0)) };
        let ct = self.factor.map_or(ct, |factor| ct * factor);
        Contribution::Whole(ct.cast(x[0].dtype()))
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        [x[0].apply(Op::linear(Self { ..*self }))].into_iter().collect()
    }
    fn scaled(&self, factor: f64) -> Option<Op> {
        self.factor.is_none().then(|| Op::linear(Self { to: self.to, factor: Some(factor) }))
    }
}
impl Registered for Cast {
    const NAME: &'static str = "cast";
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let scaled = attrs.iter().any(|(name, _)| name == "factor");
        Ok(Self { to: attrs.dtype("to")?, factor: scaled.then(|| attrs.f64("factor")).transpose()? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let factor = (s.below(2) == 0).then(|| s.float(Domain::All));
        (Self { to: DType::F64, factor }, vec![Spec::float(s.shape(3), Domain::All)])
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
        convert(call, None)
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
    /// The same numbers as another element type, converted as Rust's `as` does: to the nearest float; floats to integers
    /// by truncation, the nearest where they are too large, 0 for a NaN; integers to integers by their lowest bits. `bool`
    /// is `!= 0`. Derivatives pass through
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
        let op = if to.is_float() {
            Op::linear(Cast { to, factor: None })
        } else {
            Op::discrete(ToInteger { to })
        };
        self.operation("cast", || self.apply(op))
    }
}
