//! Derivatives that users state for functions that are there: a rule beside the rows that compute a result.

use std::sync::Arc;

use crate::elements::with_dtype;
use crate::error::{ErrorKind, Fault};
use crate::ir::{
    Attrs, Call, Custom, Form, Kernel, Op, Opaque, Recorder, ResultTypes, Tangents, Var, Vars, one,
};
use crate::ops::arith::Scale;
use crate::ops::movement::batch_all;
use crate::shape::TensorType;

type Jvp = dyn for<'s> Fn(&[Var<'s>], Var<'s>, &[Var<'s>]) -> Var<'s> + Send + Sync;
type Vjp = dyn for<'s> Fn(&[Var<'s>], Var<'s>, Var<'s>) -> Vec<Var<'s>> + Send + Sync;

/// What a user states: the tangent of the result, or the cotangents of the operands.
#[derive(Clone)]
enum Rule {
    Jvp(Arc<Jvp>),
    Vjp(Arc<Vjp>),
}

/// The first operand, with a derivative by the others that is stated.
#[derive(Clone)]
struct Ruled {
    rule: Rule,
    /// Which operands have an axis of a batch in front, the innermost batch first.
    batches: Vec<Vec<bool>>,
}

impl Ruled {
    /// Applies a rule to operands under the first batches.
    fn tangent<'t>(&self, jvp: &Jvp, level: usize, x: &[Var<'t>], y: Var<'t>, dx: &[Var<'t>]) -> Var<'t> {
        let Some(batched) = level.checked_sub(1).and_then(|outer| self.batches.get(outer)) else {
            return jvp(x, y, dx);
        };
        let axis = |i: usize| batched[i].then_some(0);
        let mut inputs: Vec<(Var<'t>, Option<usize>)> = vec![(y, Some(0))];
        inputs.extend(x.iter().enumerate().map(|(i, &x)| (x, axis(i))));
        inputs.extend(dx.iter().enumerate().map(|(i, &dx)| (dx, axis(i))));
        let mapped = y.recorder().vmap(&inputs, |all| {
            let (x, dx) = all[1..].split_at(x.len());
            vec![self.tangent(jvp, level - 1, x, all[0], dx)]
        });
        mapped.first().copied().unwrap_or(y)
    }

    fn cotangents<'t>(
        &self,
        vjp: &Vjp,
        level: usize,
        x: &[Var<'t>],
        y: Var<'t>,
        ct: Var<'t>,
    ) -> Vec<Var<'t>> {
        let Some(batched) = level.checked_sub(1).and_then(|outer| self.batches.get(outer)) else {
            return vjp(x, y, ct);
        };
        let mut inputs: Vec<(Var<'t>, Option<usize>)> = vec![(y, Some(0)), (ct, Some(0))];
        inputs.extend(x.iter().zip(batched).map(|(&x, b)| (x, b.then_some(0))));
        let mapped =
            y.recorder().vmap(&inputs, |all| self.cotangents(vjp, level - 1, &all[2..], all[0], all[1]));
        // What all examples share adds up.
        mapped.into_iter().zip(batched).map(|(ct, &batched)| if batched { ct } else { ct.sum(0) }).collect()
    }
}

impl Kernel for Ruled {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::Jvp(_) => "custom_jvp",
            Rule::Vjp(_) => "custom_vjp",
        }
    }
    fn attrs(&self) -> Attrs {
        Attrs::new()
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let y = types.first().ok_or_else(|| ErrorKind::Argument("a rule for no result".into()))?;
        one(y.dtype, y.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::Opaque(
            Opaque::default().in_blocks(x[0].shape.elements().max(1)).chunked(0).infallible().returning(0),
        )
    }
    fn eval(&self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        with_dtype!(call.operands[0].ty.dtype, T => {
            let (y, out) = call.unary::<T, T>(0)?;
            out.copy_from_slice(y);
            Ok(())
        })
    }
}
impl Custom for Ruled {
    fn differentiable_in(&self, i: usize) -> bool {
        i > 0
    }
    fn jvp<'t>(
        &self,
        x: &[Var<'t>],
        y: &[Var<'t>],
        t: &[Option<Var<'t>>],
    ) -> Result<Tangents<'t>, ErrorKind> {
        let Rule::Jvp(jvp) = &self.rule else {
            let what = "custom_vjp states a vjp, and no jvp: forward mode wants custom_jvp";
            return Err(ErrorKind::NoRule(what.into()));
        };
        if t[1..].iter().all(Option::is_none) {
            return Ok(None.into());
        }
        let dx: Vec<Var<'t>> =
            x[1..].iter().zip(&t[1..]).map(|(x, t)| t.unwrap_or_else(|| x.fill(0.0))).collect();
        Ok(Some(self.tangent(&**jvp, self.batches.len(), &x[1..], y[0], &dx)).into())
    }
    fn vjp<'t>(&self, x: &[Var<'t>], y: &[Var<'t>], cts: &[Option<Var<'t>>]) -> Option<Tangents<'t>> {
        let (Rule::Vjp(vjp), Some(Some(ct))) = (&self.rule, cts.first()) else { return None };
        let found = self.cotangents(&**vjp, self.batches.len(), &x[1..], y[0], *ct);
        Some(std::iter::once(None).chain(found.into_iter().map(Some)).collect())
    }
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let mut op = self.clone();
        op.batches.push(batched[1..].to_vec());
        let size = x.iter().zip(batched).find(|(_, b)| **b).map(|(x, _)| *x);
        let y = match size {
            Some(other) if !batched[0] => batch_all(&[x[0], other], &[false, true])[0],
            _ => x[0],
        };
        let operands: Vec<Var<'t>> = std::iter::once(y).chain(x[1..].iter().copied()).collect();
        y.recorder().emit(Op::custom(op), &operands)
    }
}

/// The same numbers under another name.
fn copy(v: Var<'_>) -> Var<'_> {
    if v.dtype().is_float() { v.apply(Op::linear(Scale { factor: 1.0 })) } else { v }
}

impl Recorder {
    /// A function with a derivative of its own, in forward mode: `f` is recorded as it is, and `rule(x, y, dx)` says for the tangents of `x` that of
    /// the result `y`. It must be linear in them; reverse mode transposes its rows, and higher orders differentiate them. A better-conditioned
    /// rule, a surrogate for what has no useful derivative, or the implicit derivative of a solution: for that see
    /// [`fixed_point`](Self::fixed_point).
    ///
    /// The result has derivatives by `x` and by nothing else that `f` uses. The rule outlives this recording: it uses nothing but what it is given.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(1e9);
    /// // ln(1 + eˣ) as one would write it overflows, and so does its derivative.
    /// let y = t.custom_jvp(&[x], |x| (x[0].exp() + 1.0).ln(), |x, _, dx| dx[0] * x[0].sigmoid());
    /// assert_eq!(y.gradients(x)[x].value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn custom_jvp<'t>(
        &'t self,
        x: &[Var<'t>],
        f: impl FnOnce(&[Var<'t>]) -> Var<'t>,
        rule: impl for<'s> Fn(&[Var<'s>], Var<'s>, &[Var<'s>]) -> Var<'s> + Send + Sync + 'static,
    ) -> Var<'t> {
        self.ruled("custom_jvp", x, f, Rule::Jvp(Arc::new(rule)))
    }

    /// A function with a derivative of its own, in reverse mode: `f` is recorded as it is, and `rule(x, y, ct)` says for the cotangent of the result
    /// `y` those of all of `x`, in their order. By what else `f` uses there is none. Higher orders differentiate its rows. Forward mode is an error; see
    /// [`custom_jvp`](Self::custom_jvp), which serves both.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(5.0);
    /// // The identity, whose gradient is clipped.
    /// let y = t.custom_vjp(&[x], |x| x[0], |_, _, ct| vec![ct.clamp(-1, 1)]);
    /// assert_eq!((y * y).gradients(x)[x].value()?.item()?, 1.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "custom_gradient")]
    #[track_caller]
    pub fn custom_vjp<'t>(
        &'t self,
        x: &[Var<'t>],
        f: impl FnOnce(&[Var<'t>]) -> Var<'t>,
        rule: impl for<'s> Fn(&[Var<'s>], Var<'s>, Var<'s>) -> Vec<Var<'s>> + Send + Sync + 'static,
    ) -> Var<'t> {
        self.ruled("custom_vjp", x, f, Rule::Vjp(Arc::new(rule)))
    }

    #[track_caller]
    fn ruled<'t>(
        &'t self,
        name: &'static str,
        x: &[Var<'t>],
        f: impl FnOnce(&[Var<'t>]) -> Var<'t>,
        rule: Rule,
    ) -> Var<'t> {
        self.operation(name, || {
            // The rule alone says what the derivative is.
            let held: Vec<Var<'t>> = x.iter().map(|x| x.stop_gradient()).collect();
            let operands: Vec<Var<'t>> = std::iter::once(f(&held)).chain(x.iter().copied()).collect();
            self.emit_one(Op::custom(Ruled { rule, batches: Vec::new() }), &operands)
        })
    }

    /// The solution `y` of `y = f(x, y)`, by so many steps from a start, with its implicit derivative: that of `y` by `x` is `(1 − ∂f/∂y)⁻¹ ∂f/∂x`
    /// at the solution, whose product with a tangent is summed as a series of as many terms (Christianson, "Reverse accumulation and attractive fixed
    /// points", 1994). No step is differentiated, nor kept; in both modes, of every order. The steps must converge: the error of value and
    /// derivative shrinks with each by the largest eigenvalue of `∂f/∂y`.
    ///
    /// Everything that the solution depends on is in `x`. Roots and minima are fixed points of steps towards them: `y − α g(x, y)`.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(2.0);
    /// // Heron's steps to the root.
    /// let y = t.fixed_point(&[x], t.constant(1.0), 30, |x, y| (y + x[0] / y) * 0.5);
    /// assert!((y.value()?.item()? - 2f64.sqrt()).abs() < 1e-15);
    /// assert!((y.gradients(x)[x].value()?.item()? - 0.5 / 2f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "implicit")]
    #[doc(alias = "custom_root")]
    #[track_caller]
    pub fn fixed_point<'t>(
        &'t self,
        x: &[Var<'t>],
        start: Var<'t>,
        steps: usize,
        f: impl for<'s> Fn(&[Var<'s>], Var<'s>) -> Var<'s> + Send + Sync + 'static,
    ) -> Var<'t> {
        let f = Arc::new(f);
        let step = f.clone();
        self.custom_jvp(
            x,
            |x| (0..steps).fold(start.stop_gradient(), |y, _| f(x, y)),
            move |x, y, dx| {
                let t = y.recorder();
                // By copies of all of them, as if the solution did not depend on the others.
                let (x, y) = (x.iter().map(|&x| copy(x)).collect::<Vec<_>>(), copy(y));
                let next = step(&x, y);
                let moved: Vec<(Var<'_>, Var<'_>)> =
                    x.iter().zip(dx).filter(|(x, _)| x.dtype().is_float()).map(|(x, dx)| (*x, *dx)).collect();
                let first = t.jvp(&[next], &moved);
                let Some(&first) = first.first() else { return y.fill(0.0) };
                (0..steps).fold(first, |dy, _| {
                    t.jvp(&[next], &[(y, dy)]).first().map_or(first, |more| first + *more)
                })
            },
        )
    }
}
