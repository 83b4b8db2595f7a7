//! Derivatives as users ask for them.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Index;

use crate::error::{ErrorKind, ShapeError};
use crate::ir::{IntoVars, Name, Op, Recorder, Value, Var, ZeroReason};
use crate::transform::{ambiguous, jvp, vjp};

/// The gradients of a scalar by several variables: rows of the tape, looked up by variable.
/// Made by [`Var::gradients`].
pub struct Gradients<'t> {
    of: Var<'t>,
    entries: Vec<Entry<'t>>,
    positions: HashMap<Name, usize>,
    /// Why gradients are zero, computed when first asked for.
    reasons: OnceCell<Vec<Option<ZeroReason>>>,
    missing: OnceCell<Var<'t>>,
}

struct Entry<'t> {
    wrt: Var<'t>,
    gradient: Var<'t>,
    /// Whether it is zero by the structure of the tape.
    zero: bool,
}

impl<'t> Gradients<'t> {
    fn position(&self, wrt: Var<'t>) -> Option<usize> {
        self.positions.get(&wrt.name()).copied().filter(|&i| self.entries[i].wrt.same_as(wrt))
    }

    /// The gradient by this variable; `None` if it was not asked for.
    pub fn get(&self, wrt: Var<'t>) -> Option<Var<'t>> {
        self.position(wrt).map(|i| self.entries[i].gradient)
    }

    /// Why the gradient by this variable is exactly zero, if it is so by the structure of the tape.
    pub fn zero_reason(&self, wrt: Var<'t>) -> Option<ZeroReason> {
        let at = self.position(wrt)?;
        self.reasons.get_or_init(|| zero_reasons(self.of, &self.entries)).get(at).copied().flatten()
    }

    /// The variables and their gradients, in the order in which they were asked for.
    pub fn iter(&self) -> impl Iterator<Item = (Var<'t>, Var<'t>)> {
        self.entries.iter().map(|entry| (entry.wrt, entry.gradient))
    }
}

impl<'t> Index<Var<'t>> for Gradients<'t> {
    type Output = Var<'t>;
    /// The gradient by a variable; a poisoned one, and an error of the recording, if it was not
    /// asked for.
    #[track_caller]
    fn index(&self, wrt: Var<'t>) -> &Var<'t> {
        if let Some(i) = self.position(wrt) {
            return &self.entries[i].gradient;
        }
        let t = self.of.recorder();
        if t.owns(&[wrt], "gradients") {
            t.fail(ErrorKind::Argument(format!("the gradient by {wrt:?} was not asked for")), "gradients");
        }
        self.missing.get_or_init(|| t.poisoned(wrt.ty()))
    }
}

impl<'t> Var<'t> {
    /// The gradients of this scalar by each of `wrt`, as rows of the same tape, so that gradients
    /// of gradients are taken the same way. Where it does not depend on one of them the gradient is
    /// exactly zero, with a [reason](Gradients::zero_reason). An error where this is not a scalar or
    /// one of `wrt` is not of floats.
    ///
    /// What is computed several times from the same is derived once, but for the variables in `wrt`. An intermediate
    /// variable that equals another, and by which only a derivative of a derivative is taken, needs a [name](Self::named)
    /// to be told apart; without one that is an error.
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
    #[doc(alias = "backward")]
    #[doc(alias = "grad")]
    #[track_caller]
    pub fn gradients<M>(self, wrt: impl IntoVars<'t, M>) -> Gradients<'t> {
        self.gradients_with(&wrt.into_vars(), false)
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
    pub fn gradients_strict<M>(self, wrt: impl IntoVars<'t, M>) -> Gradients<'t> {
        self.gradients_with(&wrt.into_vars(), true)
    }

    #[track_caller]
    fn gradients_with(self, wrt: &[Var<'t>], strict: bool) -> Gradients<'t> {
        let t = self.recorder();
        let scalar = self.shape().rank() == 0 && self.dtype().is_float();
        if !scalar {
            let kind = ShapeError::Other(format!(
                "gradients are of a float scalar, not of {}; see `vjp`",
                self.ty()
            ));
            t.fail(kind, "gradients");
        }
        let sound = scalar
            && self.id().is_some()
            && derivable(t, wrt, "gradients")
            && distinct(t, wrt, &[self], "gradients");
        let mut entries = Vec::with_capacity(wrt.len());
        if sound {
            let seeds = [(self, self.fill(1.0))];
            let found = shallow(t, "gradients", wrt.len(), || vjp(t, &seeds, wrt));
            for (&wrt, found) in wrt.iter().zip(found) {
                let gradient = match found {
                    Some(gradient) => gradient,
                    None => wrt.fill(0.0),
                };
                entries.push(Entry { wrt, gradient, zero: found.is_none() });
            }
        } else {
            let poisoned = |&wrt: &Var<'t>| Entry { wrt, gradient: t.poisoned(wrt.ty()), zero: false };
            entries.extend(wrt.iter().map(poisoned));
        }
        let positions = wrt.iter().enumerate().map(|(i, x)| (x.name(), i)).collect();
        let all =
            Gradients { of: self, entries, positions, reasons: OnceCell::new(), missing: OnceCell::new() };
        if strict {
            for &x in wrt {
                if let Some(reason) = all.zero_reason(x) {
                    let kind =
                        ErrorKind::NotDifferentiable(format!("the gradient by {x:?} is zero: {reason:?}"));
                    t.fail(kind, "gradients_strict");
                }
            }
        }
        all
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
        let of: Vec<Var<'t>> = outputs.iter().map(|(y, _)| *y).collect();
        if !seeds_fit(self, outputs, "vjp")
            || !derivable(self, wrt, "vjp")
            || !distinct(self, wrt, &of, "vjp")
        {
            return wrt.iter().map(|x| self.poisoned(x.ty())).collect();
        }
        or_zeros(shallow(self, "vjp", wrt.len(), || vjp(self, outputs, wrt)), wrt)
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
            || !distinct(self, &wrt, outputs, "jvp")
        {
            return outputs.iter().map(|y| self.poisoned(y.ty())).collect();
        }
        or_zeros(shallow(self, "jvp", outputs.len(), || jvp(self, outputs, inputs)), outputs)
    }
}

/// Runs a transform, unless it is one of a rule of a rule of a rule …: a rule that differentiates its own op never ends.
#[track_caller]
fn shallow<'t>(
    t: &'t Recorder,
    name: &str,
    count: usize,
    run: impl FnOnce() -> Vec<Option<Var<'t>>>,
) -> Vec<Option<Var<'t>>> {
    match t.nested(run) {
        Some(found) => found,
        None => {
            t.fail(ErrorKind::NoRule("a rule differentiates its own op, again and again".into()), name);
            vec![None; count]
        }
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
            t.fail(ShapeError::Other(format!("{} cannot be seeded with {}", of.ty(), seed.ty())), name);
            return false;
        }
    }
    true
}

/// Whether all of these are floats of this tape.
#[track_caller]
fn derivable<'t>(t: &'t Recorder, vars: &[Var<'t>], name: &str) -> bool {
    if !t.owns(vars, name) {
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

/// Whether what is derived tells these variables from others that equal them: a derivative computes what repeats once,
/// for which variables it does not know.
#[track_caller]
fn distinct<'t>(t: &'t Recorder, by: &[Var<'t>], of: &[Var<'t>], name: &str) -> bool {
    let Some(x) = ambiguous(t, by, of) else { return true };
    let what = format!(
        "{x:?} equals another variable, and an earlier derivative took both as one: give it a name of its own with \
         `named` before that"
    );
    t.fail(ErrorKind::NotDifferentiable(what), name);
    false
}

/// Why no derivative of `y` reaches some of its variables: what stops the paths between them. One walk from `y`
/// backwards, for all of them.
fn zero_reasons(y: Var<'_>, entries: &[Entry<'_>]) -> Vec<Option<ZeroReason>> {
    /// Bits for the two ends that paths may have.
    const STOPPED: u8 = 1;
    const DISCRETE: u8 = 2;
    let end = y.id().map_or(0, |v| v.row as usize + 1);
    let ends = y.recorder().with_tape(|tape| {
        let rows = &tape.rows()[..end];
        let mut first = Vec::with_capacity(end + 1);
        first.push(0);
        rows.iter().for_each(|row| first.push(first[first.len() - 1] + row.results.len()));
        let at = |v: Value| first[v.row as usize] + v.result as usize;
        // Whether `y` uses a row, and where the smooth paths from a value on end.
        let (mut used, mut ends) = (vec![false; end], vec![0u8; first[end]]);
        used.iter_mut().next_back().into_iter().for_each(|last| *last = true);
        for (i, row) in rows.iter().enumerate().rev().filter(|(_, row)| !row.operands.is_empty()) {
            if !used[i] {
                continue;
            }
            let further = ends[first[i]..first[i + 1]].iter().fold(0, |all, ends| all | ends);
            for (o, &operand) in row.operands.iter().enumerate() {
                used[operand.row as usize] = true;
                ends[at(operand)] |= match &row.op {
                    op if op.differentiable_in(o) => further,
                    Op::Discrete(op) if op.reason() == ZeroReason::StopGradient => STOPPED,
                    _ => DISCRETE,
                };
            }
        }
        let of =
            |entry: &Entry<'_>| entry.wrt.id().filter(|v| (v.row as usize) < end).map_or(0, |v| ends[at(v)]);
        entries.iter().map(of).collect::<Vec<u8>>()
    });
    let reason = |ends: u8| match ends {
        0 => ZeroReason::Disconnected,
        STOPPED => ZeroReason::StopGradient,
        _ => ZeroReason::Discrete,
    };
    entries.iter().zip(ends).map(|(entry, ends)| entry.zero.then(|| reason(ends))).collect()
}
