//! Derivatives as users ask for them.

use std::ops::Index;

use crate::error::ErrorKind;
use crate::ir::{Op, Recorder, Value, Var, ZeroReason};
use crate::transform::{jvp, vjp};

/// The gradients of a scalar by several variables: rows of the tape, looked up by variable.
/// Made by [`Var::gradients`].
pub struct Gradients<'t> {
    entries: Vec<(Var<'t>, Var<'t>, Option<ZeroReason>)>,
    missing: Var<'t>,
}

impl<'t> Gradients<'t> {
    /// The gradient by this variable; `None` if it was not asked for.
    pub fn get(&self, wrt: Var<'t>) -> Option<Var<'t>> {
        self.entries.iter().find(|(v, ..)| *v == wrt).map(|(_, g, _)| *g)
    }

    /// Why the gradient by this variable is exactly zero, if it is so by the structure of the tape.
    pub fn zero_reason(&self, wrt: Var<'t>) -> Option<ZeroReason> {
        self.entries.iter().find(|(v, ..)| *v == wrt).and_then(|(.., reason)| *reason)
    }

    /// The variables and their gradients, in the order in which they were asked for.
    pub fn iter(&self) -> impl Iterator<Item = (Var<'t>, Var<'t>)> {
        self.entries.iter().map(|(v, g, _)| (*v, *g))
    }
}

impl<'t> Index<Var<'t>> for Gradients<'t> {
    type Output = Var<'t>;
    /// The gradient by a variable; a poisoned one, and an error of the recording, if it was not
    /// asked for.
    fn index(&self, wrt: Var<'t>) -> &Var<'t> {
        if let Some((_, g, _)) = self.entries.iter().find(|(v, ..)| *v == wrt) {
            return g;
        }
        self.missing.fail(ErrorKind::Argument(format!("the gradient by {wrt:?} was not asked for")));
        &self.missing
    }
}

impl<'t> Var<'t> {
    /// The gradients of this scalar by each of `wrt`, as rows of the same tape, so that gradients
    /// of gradients are taken the same way. Where it does not depend on one of them the gradient is
    /// exactly zero, with a [reason](Gradients::zero_reason). An error where this is not a scalar or
    /// one of `wrt` is not of floats.
    ///
    /// ```
    /// use wengert::ZeroReason;
    /// let t = wengert::Recorder::default();
    /// let (x, y) = (t.constant(3.0), t.constant(1.0));
    /// let g = (x * x * x).gradients([x, y]);
    /// let h = g[x].gradients([x]);
    /// assert_eq!((g[x].value()?.item()?, h[x].value()?.item()?), (27.0, 18.0));
    /// assert_eq!(g.zero_reason(y), Some(ZeroReason::Disconnected));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn gradients(self, wrt: impl IntoIterator<Item = Var<'t>>) -> Gradients<'t> {
        self.gradients_with(wrt, false)
    }

    /// Like [`gradients`](Self::gradients), but a gradient that is zero by the structure of the
    /// tape is an error that says why.
    ///
    /// ```
    /// let t = wengert::Recorder::default();
    /// let (x, y) = (t.constant(3.0), t.constant(1.0));
    /// (x * x).gradients_strict([y]);
    /// assert!(t.check().is_err());
    /// ```
    #[track_caller]
    pub fn gradients_strict(self, wrt: impl IntoIterator<Item = Var<'t>>) -> Gradients<'t> {
        self.gradients_with(wrt, true)
    }

    #[track_caller]
    fn gradients_with(self, wrt: impl IntoIterator<Item = Var<'t>>, strict: bool) -> Gradients<'t> {
        let t = self.recorder();
        let wrt: Vec<Var<'t>> = wrt.into_iter().collect();
        let scalar = self.shape().rank() == 0 && self.dtype().is_float();
        if !scalar {
            let kind =
                ErrorKind::Shape(format!("gradients are of a float scalar, not of {}; see `vjp`", self.ty()));
            t.fail(kind, "gradients");
        }
        let poisoned = !scalar || self.id().is_none() || !all_floats(t, &wrt);
        let cotangents = if poisoned { Vec::new() } else { vjp(t, &[(self, self.fill(1.0))], &wrt) };
        let entries = wrt.iter().enumerate().map(|(i, &x)| match cotangents.get(i) {
            None => (x, t.poisoned(), None),
            Some(Some(g)) => (x, *g, None),
            Some(None) => {
                let reason = zero_reason(t, x, self);
                if strict {
                    let kind =
                        ErrorKind::NotDifferentiable(format!("the gradient by {x:?} is zero: {reason:?}"));
                    t.fail(kind, "gradients_strict");
                }
                (x, x.fill(0.0), Some(reason))
            }
        });
        Gradients { entries: entries.collect(), missing: t.poisoned() }
    }
}

impl Recorder {
    /// For each of `wrt` the cotangent `Jᵀ u`, where `J` is the derivative of all outputs by it and
    /// `u` their cotangents: reverse mode for results of any shape.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let y = x * x;
    /// let ct = t.vjp(&[(y, t.constant(array![1.0, 10.0]))], &[x]);
    /// assert_eq!(ct[0].value()?.as_slice::<f64>()?, &[2.0, 40.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn vjp<'t>(&'t self, outputs: &[(Var<'t>, Var<'t>)], wrt: &[Var<'t>]) -> Vec<Var<'t>> {
        if !seeds_fit(self, outputs, "vjp") || !all_floats(self, wrt) {
            return vec![self.poisoned(); wrt.len()];
        }
        let cotangents = vjp(self, outputs, wrt);
        cotangents.into_iter().zip(wrt).map(|(ct, x)| ct.unwrap_or_else(|| x.fill(0.0))).collect()
    }

    /// For each of `outputs` its tangent `J v` when every input moves along its tangent: forward
    /// mode, one sweep for any number of outputs.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![1.0, 2.0]);
    /// let tangent = t.jvp(&[x * x], &[(x, t.constant(array![1.0, 10.0]))]);
    /// assert_eq!(tangent[0].value()?.as_slice::<f64>()?, &[2.0, 40.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn jvp<'t>(&'t self, outputs: &[Var<'t>], inputs: &[(Var<'t>, Var<'t>)]) -> Vec<Var<'t>> {
        let wrt: Vec<Var<'t>> = inputs.iter().map(|(x, _)| *x).collect();
        if !seeds_fit(self, inputs, "jvp") || !all_floats(self, &wrt) {
            return vec![self.poisoned(); outputs.len()];
        }
        let tangents = jvp(self, outputs, inputs);
        tangents.into_iter().zip(outputs).map(|(t, y)| t.unwrap_or_else(|| y.fill(0.0))).collect()
    }
}

#[track_caller]
fn seeds_fit<'t>(t: &'t Recorder, pairs: &[(Var<'t>, Var<'t>)], name: &str) -> bool {
    pairs.iter().all(|(of, seed)| {
        let known = of.id().is_some() && seed.id().is_some();
        if known && of.ty() != seed.ty() {
            t.fail(ErrorKind::Shape(format!("{} cannot be seeded with {}", of.ty(), seed.ty())), name);
        }
        known && of.ty() == seed.ty()
    })
}

#[track_caller]
fn all_floats<'t>(t: &'t Recorder, wrt: &[Var<'t>]) -> bool {
    wrt.iter().all(|x| {
        let float = x.dtype().is_float();
        if !float {
            let kind = ErrorKind::NotDifferentiable(format!("there is no derivative by {}", x.ty()));
            t.fail(kind, "gradients");
        }
        float && x.id().is_some()
    })
}

/// Why no derivative of `y` reaches `x`: which ops stop the paths between them.
fn zero_reason(t: &Recorder, x: Var<'_>, y: Var<'_>) -> ZeroReason {
    let (Some(x), Some(y)) = (x.id(), y.id()) else { return ZeroReason::Disconnected };
    t.with_tape(|tape| {
        // Rows that depend on x through any operand, up to y; then those of them that y uses.
        let (start, end) = (x.row as usize, y.row as usize);
        let inside = |v: &Value| (v.row as usize).checked_sub(start);
        let mut reached = vec![false; (end + 1).saturating_sub(start)];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for i in start + 1..=end {
            let row = &tape.rows()[i];
            reached[i - start] = row.operands.iter().filter_map(inside).any(|j| reached[j]);
        }
        if !reached.last().copied().unwrap_or(false) {
            return ZeroReason::Disconnected;
        }
        let mut used = vec![false; reached.len()];
        used[end - start] = true;
        for i in (start + 1..=end).rev() {
            let row = &tape.rows()[i];
            if !used[i - start] || !reached[i - start] {
                continue;
            }
            if let Op::Discrete(op) = &row.op
                && op.reason() == ZeroReason::StopGradient
            {
                return ZeroReason::StopGradient;
            }
            for j in row.operands.iter().filter_map(inside) {
                used[j] = true;
            }
        }
        ZeroReason::Discrete
    })
}
