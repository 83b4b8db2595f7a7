//! Random numbers as a function of a key and a position: no hidden state.

use crate::dtype::DType;
use crate::elements::with_float;
use crate::error::{DTypeError, ErrorKind, Fault};
use crate::ir::{
    Attr, Attrs, Call, Discrete, Form, IntoVar, Kernel, Op, Opaque, ResultTypes, Var, Vars, one, operands,
};
use crate::kernels::{uniform_f32, uniform_f64};
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{Shape, TensorType};
use crate::sizes::IntoShape;

/// Uniform numbers, an array of them for each key.
pub(crate) struct Uniform {
    dtype: DType,
    shape: Shape,
}
impl Kernel for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("dtype", Attr::DType(self.dtype)).with_sizes("shape", &self.shape)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [key] = operands(types)?;
        for (expected, found) in [(&[DType::I64][..], key.dtype), (DType::FLOATS, self.dtype)] {
            if !expected.contains(&found) {
                return Err(DTypeError::Expected { expected, found }.into());
            }
        }
        one(self.dtype, Shape::new(&[&key.shape[..], &self.shape[..]].concat())?)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let elements = x[0].shape.elements().saturating_mul(self.shape.elements());
        Form::Opaque(Opaque::default().in_blocks(elements).infallible())
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        trait Draw: Copy {
            fn draw(key: u64, index: u64) -> Self;
        }
        impl Draw for f32 {
            fn draw(key: u64, index: u64) -> Self {
                uniform_f32(key, index)
            }
        }
        impl Draw for f64 {
            fn draw(key: u64, index: u64) -> Self {
                uniform_f64(key, index)
            }
        }
        let each = self.shape.elements().max(1);
        let blocks = call.blocks.clone();
        with_float!(self.dtype, T => {
            let (keys, out) = call.unary::<i64, T>(0)?;
            for (o, e) in out.iter_mut().zip(blocks) {
                *o = T::draw(keys[e / each] as u64, (e % each) as u64);
            }
            Ok(())
        })
    }
}
impl Discrete for Uniform {
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].uniform(self.dtype, self.shape).into()
    }
}
impl Registered for Uniform {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { dtype: attrs.dtype("dtype")?, shape: Shape::new(&attrs.sizes("shape")?)? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let op = Self { dtype: DType::F64, shape: s.shape(2) };
        (op, vec![Spec::key(s.shape(1))])
    }
}

impl<'t> Var<'t> {
    /// Numbers uniform in [0, 1), an array of this shape for each element of this `i64` key. The
    /// same key and position always give the same number (Philox4x32-10, Salmon et al. 2011), in
    /// steps of 2⁻²⁴ for `f32` and 2⁻⁵³ for `f64`. No derivative flows to the key.
    ///
    /// *Shape*: that of the key, then the one given. *Derivative*: none.
    ///
    /// ```
    /// use wengert::DType::F64;
    /// let t = wengert::Recorder::default();
    /// let u = t.constant(7i64).uniform(F64, [1000]);
    /// assert!((u.mean(()).value()?.item()? - 0.5).abs() < 0.03);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn uniform(self, dtype: DType, shape: impl IntoShape) -> Var<'t> {
        match shape.into_shape() {
            Ok(shape) => self.apply(Op::discrete(Uniform { dtype, shape })),
            Err(kind) => self.recorder().fail_like(kind, "uniform", TensorType::new(dtype, self.shape())),
        }
    }

    /// Numbers of the standard normal distribution, an array of this shape for each element of
    /// this `i64` key (Box and Muller, "A note on the generation of random normal deviates", 1958).
    ///
    /// *Shape*: that of the key, then the one given. *Derivative*: none.
    ///
    /// ```
    /// use wengert::DType::F64;
    /// let t = wengert::Recorder::default();
    /// let z = t.constant(7i64).normal(F64, [1000]);
    /// assert!(z.mean(()).value()?.item()?.abs() < 0.1);
    /// assert!(((z * z).mean(()).value()?.item()? - 1.0).abs() < 0.1);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn normal(self, dtype: DType, shape: impl IntoShape) -> Var<'t> {
        match shape.into_shape().and_then(|s| s.insert(0, 2)) {
            Ok(pairs) => self.operation("normal", || self.normal_from(dtype, pairs)),
            Err(kind) => self.recorder().fail_like(kind, "normal", TensorType::new(dtype, self.shape())),
        }
    }

    #[track_caller]
    fn normal_from(self, dtype: DType, pairs: Shape) -> Var<'t> {
        let (axis, pairs) = (self.rank(), self.uniform(dtype, pairs));
        let (first, second) = (pairs.slice(axis, 0..1), pairs.slice(axis, 1..2));
        let shape = first.shape().remove(axis.min(first.rank()), 1);
        let radius = ((1.0 - first.reshape(shape)).ln() * -2.0).sqrt();
        radius * (second.reshape(shape) * std::f64::consts::TAU).cos()
    }

    /// Truth values that hold with a probability, an array of this shape for each element of this `i64` key.
    ///
    /// *Shape*: that of the key, then the one given. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let heads = t.constant(7i64).bernoulli(0.5, [1000]).count(()).value()?.item()?;
    /// assert!((heads - 500.0).abs() < 60.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn bernoulli(self, probability: impl IntoVar<'t>, shape: impl IntoShape) -> Var<'t> {
        match shape.into_shape() {
            Ok(shape) => self.operation("bernoulli", || {
                let u = self.uniform(DType::F64, shape);
                u.lt(probability.into_var(u))
            }),
            Err(kind) => {
                self.recorder().fail_like(kind, "bernoulli", TensorType::new(DType::Bool, self.shape()))
            }
        }
    }

    /// Classes drawn with these logits over the last axis, by one `i64` key (Gumbel's trick; Maddison et al., "A* sampling", 2014).
    ///
    /// *Shape*: without the last axis. *Derivative*: none.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let logits = t.constant(array![[0.0, -1e3], [-1e3, 0.0]]);
    /// assert_eq!(logits.categorical(t.constant(7i64)).value()?.to_f64(), [0.0, 1.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn categorical(self, key: Var<'t>) -> Var<'t> {
        self.operation("categorical", || {
            // The largest of the logits, each moved by a number of Gumbel's distribution.
            let u = key.uniform(self.dtype(), self.shape());
            let gumbel = -(-u.ln()).ln();
            (self + gumbel).argmax(-1)
        })
    }
}
