//! Derivatives as users ask for them.

use std::collections::HashMap;
use std::ops::Index;

use crate::error::ErrorKind;
use crate::ir::{Op, Recorder, Value, Var, ZeroReason};
use crate::transform::{jvp, vjp};

/// The gradients of a scalar by several variables: rows of the tape, looked up by variable.
/// Made by [`Var::gradients`].
pub struct Gradients<'t> {
    entries: Vec<(Var<'t>, Var<'t>, Option<ZeroReason>)>,
    positions: HashMap<Option<Value>, usize>,
    missing: Var<'t>,
}

impl<'t> Gradients<'t> {
    fn entry(&self, wrt: Var<'t>) -> Option<&(Var<'t>, Var<'t>, Option<ZeroReason>)> {
        self.positions.get(&wrt.id()).and_then(|&i| self.entries.get(i)).filter(|(v, ..)| *v == wrt)
    }

    /// The gradient by this variable; `None` if it was not asked for.
    pub fn get(&self, wrt: Var<'t>) -> Option<Var<'t>> {
        self.entry(wrt).map(|(_, g, _)| *g)
    }

    /// Why the gradient by this variable is exactly zero, if it is so by the structure of the tape.
    pub fn zero_reason(&self, wrt: Var<'t>) -> Option<ZeroReason> {
        self.entry(wrt).and_then(|(.., reason)| *reason)
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
    #[track_caller]
    fn index(&self, wrt: Var<'t>) -> &Var<'t> {
        if let Some((_, g, _)) = self.entry(wrt) {
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
        let sound = scalar && self.id().is_some() && derivable(t, &wrt, "gradients");
        let cotangents =
            if sound { vjp(t, &[(self, self.fill(1.0))], &wrt) } else { vec![Some(t.poisoned()); wrt.len()] };
        let mut entries = Vec::with_capacity(wrt.len());
        for (&x, cotangent) in wrt.iter().zip(cotangents) {
            let reason = cotangent.is_none().then(|| zero_reason(t, x, self));
            if let Some(reason) = reason.filter(|_| strict) {
                let kind = ErrorKind::NotDifferentiable(format!("the gradient by {x:?} is zero: {reason:?}"));
                t.fail(kind, "gradients_strict");
            }
            let gradient = match cotangent {
                Some(gradient) => gradient,
                None => x.fill(0.0),
            };
            entries.push((x, gradient, reason));
        }
        let positions = wrt.iter().enumerate().map(|(i, x)| (x.id(), i)).collect();
        Gradients { entries, positions, missing: t.poisoned() }
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
        if !seeds_fit(self, outputs, "vjp") || !derivable(self, wrt, "vjp") {
            return vec![self.poisoned(); wrt.len()];
        }
        or_zeros(vjp(self, outputs, wrt), wrt)
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
        if !seeds_fit(self, inputs, "jvp")
            || !derivable(self, &wrt, "jvp")
            || !derivable(self, outputs, "jvp")
        {
            return vec![self.poisoned(); outputs.len()];
        }
        or_zeros(jvp(self, outputs, inputs), outputs)
    }
}

/// What a transform found, and arrays of zeros where it found exactly nothing. A loop, for a closure
/// would not know the line of the caller.
#[track_caller]
fn or_zeros<'t>(found: Vec<Option<Var<'t>>>, like: &[Var<'t>]) -> Vec<Var<'t>> {
    let mut out = Vec::with_capacity(like.len());
    for (found, like) in found.into_iter().zip(like) {
        out.push(match found {
            Some(var) => var,
            None => like.fill(0.0),
        });
    }
    out
}

/// Whether every seed is of the type of what it seeds, and of floats.
#[track_caller]
fn seeds_fit<'t>(t: &'t Recorder, pairs: &[(Var<'t>, Var<'t>)], name: &str) -> bool {
    for (of, seed) in pairs {
        if !derivable(t, &[*of, *seed], name) {
            return false;
        }
        if of.ty() != seed.ty() {
            t.fail(ErrorKind::Shape(format!("{} cannot be seeded with {}", of.ty(), seed.ty())), name);
            return false;
        }
    }
    true
}

/// Whether all of these are floats of this tape.
#[track_caller]
fn derivable<'t>(t: &'t Recorder, vars: &[Var<'t>], name: &str) -> bool {
    if !t.owns(vars) {
        return false;
    }
    for x in vars {
        if !x.dtype().is_float() {
            t.fail(ErrorKind::NotDifferentiable(format!("{} has no derivatives", x.ty())), name);
        }
        if x.id().is_none() || !x.dtype().is_float() {
            return false;
        }
    }
    true
}

/// Why no derivative of `y` reaches `x`: what stops the paths between them.
fn zero_reason(t: &Recorder, x: Var<'_>, y: Var<'_>) -> ZeroReason {
    let (Some(x), Some(y)) = (x.id(), y.id()) else { return ZeroReason::Disconnected };
    t.with_tape(|tape| {
        let (start, rows) = (x.row as usize, tape.rows());
        let Some(length) = (y.row as usize + 1).checked_sub(start) else { return ZeroReason::Disconnected };
        // Backwards: which rows `y` uses.
        let mut used = vec![false; length];
        used[length - 1] = true;
        for i in (0..length).rev().filter(|&i| i > 0) {
            if used[i] {
                for j in rows[start + i].operands.iter().filter_map(|v| (v.row as usize).checked_sub(start)) {
                    used[j] = true;
                }
            }
        }
        // Forwards: where derivatives by `x` come to a stop on their way to `y`.
        let mut smooth = vec![false; length];
        let mut stops = Vec::new();
        for i in 1..length {
            let row = &rows[start + i];
            for (o, v) in row.operands.iter().enumerate() {
                let depends = *v == x || (v.row > x.row && smooth[v.row as usize - start]);
                if depends && used[i] && row.op.differentiable_in(o) {
                    smooth[i] = true;
                } else if depends && used[i] {
                    stops.push(if let Op::Discrete(op) = &row.op {
                        op.reason()
                    } else {
                        ZeroReason::Discrete
                    });
                }
            }
        }
        match stops.as_slice() {
            [] => ZeroReason::Disconnected,
            stops if stops.iter().all(|s| *s == ZeroReason::StopGradient) => ZeroReason::StopGradient,
            _ => ZeroReason::Discrete,
        }
    })
}
