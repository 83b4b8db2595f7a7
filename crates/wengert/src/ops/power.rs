//! Powers.

use crate::error::ErrorKind;
use crate::ir::{
    Attrs, Body, Custom, Domain, Form, IntoVar, Kernel, Op, Primitive, ResultTypes, Tangents, Var, Vars, one,
    operands,
};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{TensorType, one_float_type, same_shape};

/// `a` to the power of `b`.
pub(crate) struct Pow;
impl Kernel for Pow {
    fn name(&self) -> &'static str {
        "pow"
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a, b] = operands(types)?;
        one_float_type(&[a, b])?;
        same_shape(a.shape, b.shape)?;
        one(a.dtype, a.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(Primitive::Pow, &[x[0].dtype; 2]))
    }
}
impl Custom for Pow {
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let (a, b) = (x[0], x[1]);
        // A power of 0 is 1 everywhere, also where the power of −1 is infinite.
        let by_a = || b.eq(0.0).select(0.0, b * a.pow(b - 1.0));
        // All powers of 0 that have a derivative are 0.
        let by_b = || a.eq(0.0).select(0.0, y[0] * a.ln());
        let terms = [t[0].map(|t| t * by_a()), t[1].map(|t| t * by_b())];
        Ok(terms.into_iter().flatten().reduce(|a, b| a + b).into())
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].binary(Op::custom(Self), x[1]).into()
    }
}
impl Registered for Pow {
    fn load(_: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self)
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        (Self, vec![Spec::float(shape, Domain::Positive), Spec::float(shape, Domain::All)])
    }
}

impl<'t> Var<'t> {
    /// This to the power of an array or a number, elementwise with broadcasting, as `f64::powf`. The whole numbers from −1 to 4 are
    /// multiplied out, so that every derivative is exact and defined, at 0 too. Otherwise the derivative by the base is `b aᵇ⁻¹`, 0 where
    /// `b` is 0; that by the exponent `aᵇ ln a`, 0 where `a` is 0 and NaN below.
    ///
    /// *Shape*: `x` and `y` broadcast. *Derivative*: `y xʸ⁻¹` and `xʸ ln x`.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![0.0, 4.0]);
    /// assert_eq!(x.pow(2).value()?.to_f64(), [0.0, 16.0]);
    /// assert_eq!(x.pow(1.5).value()?.to_f64(), [0.0, 8.0]);
    /// let g = x.pow(2).sum(()).gradients(x);
    /// assert_eq!(g[x].value()?.to_f64(), [0.0, 8.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "powf")]
    #[doc(alias = "powi")]
    #[doc(alias = "power")]
    #[track_caller]
    pub fn pow(self, exponent: impl IntoVar<'t>) -> Var<'t> {
        const MOST: f64 = 4.0;
        let whole =
            exponent.number().map(|(_, n)| n).filter(|n| n.fract() == 0.0 && (-1.0..=MOST).contains(n));
        self.operation("pow", || match whole {
            Some(n) if n < 0.0 => 1.0 / self,
            Some(n) => self.multiplied(n as u32),
            None => self.binary(Op::custom(Pow), exponent.into_var(self)),
        })
    }

    /// A product of so many factors.
    #[track_caller]
    fn multiplied(self, times: u32) -> Var<'t> {
        match times {
            0 => self.fill(1.0),
            1 => self,
            odd if odd % 2 == 1 => self.multiplied(odd - 1) * self,
            even => {
                let half = self.multiplied(even / 2);
                half * half
            }
        }
    }

    /// `x²`, elementwise.
    ///
    /// *Shape*: as `x`. *Derivative*: `2x`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// assert_eq!(t.constant(-3.0).square().value()?.item()?, 9.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn square(self) -> Var<'t> {
        self.operation("square", || self * self)
    }
}
