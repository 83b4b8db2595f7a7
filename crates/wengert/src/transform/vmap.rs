//! One function over many examples: a new leading axis through every row that depends on them.

use std::collections::HashMap;

use super::{checked, open};
use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Leaf, Op, Recorder, Value, Var, Vars};
use crate::ops::movement::batch_all;
use crate::shape::TensorType;

/// The rows from `start` on that some values depend on, and the guards among them, in order.
fn needed(t: &Recorder, values: &[Var<'_>], start: usize) -> Vec<usize> {
    t.with_tape(|tape| {
        let mut needed = vec![false; tape.rows().len().saturating_sub(start)];
        for value in values.iter().filter_map(|v| v.id()) {
            if let Some(n) = (value.row as usize).checked_sub(start) {
                needed[n] = true;
            }
        }
        for (i, row) in tape.rows().iter().enumerate().skip(start).rev() {
            if needed[i - start] || matches!(row.op, Op::Control(_)) {
                needed[i - start] = true;
                for operand in row.operands.iter().filter_map(|v| (v.row as usize).checked_sub(start)) {
                    needed[operand] = true;
                }
            }
        }
        (start..tape.rows().len()).filter(|i| needed[i - start]).collect()
    })
}

impl Recorder {
    /// Maps a function over axes: each input with `Some(axis)` is cut along that axis, `f` sees one
    /// example, and each result has the examples along a new first axis. Inputs with `None`, and
    /// whatever else `f` uses, are shared. Every op states how it works on a batch, so the result is
    /// a tape of whole-array rows; derivatives may be taken inside `f` and outside.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let x = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// // The gradient of each row's squared length.
    /// let g = t.vmap(&[(x, Some(0))], |x| {
    ///     let loss = (x[0] * x[0]).sum(());
    ///     vec![loss.gradients([x[0]])[x[0]]]
    /// });
    /// assert_eq!(g[0].value()?.as_slice::<f64>()?, &[2.0, 4.0, 6.0, 8.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn vmap<'t>(
        &'t self,
        inputs: &[(Var<'t>, Option<usize>)],
        f: impl FnOnce(&[Var<'t>]) -> Vec<Var<'t>>,
    ) -> Vec<Var<'t>> {
        let mut f = Some(f);
        self.mapped(inputs, &mut |x| f.take().map_or_else(Vec::new, |f| f(x)))
    }

    /// The same for a function behind a pointer: compiled once.
    #[track_caller]
    fn mapped<'t>(
        &'t self,
        inputs: &[(Var<'t>, Option<usize>)],
        f: &mut dyn FnMut(&[Var<'t>]) -> Vec<Var<'t>>,
    ) -> Vec<Var<'t>> {
        let vars: Vec<Var<'t>> = inputs.iter().map(|(x, _)| *x).collect();
        if !self.owns(&vars, "vmap") {
            let examples: Vec<Var<'t>> = vars.iter().map(|x| self.poisoned(x.ty())).collect();
            return f(&examples).iter().map(|y| self.poisoned(y.ty())).collect();
        }
        let mut size = None;
        let mut batched: HashMap<Value, Var<'t>> = HashMap::new();
        let mut examples = Vec::with_capacity(inputs.len());
        for &(x, axis) in inputs {
            let Some(axis) = axis else {
                examples.push(x);
                continue;
            };
            let shape = x.shape();
            let fits = axis < shape.rank() && size.is_none_or(|s| s == shape[axis]);
            if !fits && x.id().is_some() {
                let kind = match size {
                    Some(size) if axis < shape.rank() => ShapeError::Other(format!(
                        "axis {axis} of {shape} is mapped over with others of size {size}"
                    )),
                    _ => ShapeError::NoAxis { axis: axis as isize, rank: shape.rank() },
                };
                self.fail(kind, "vmap");
            }
            if !fits {
                let guess = if axis < shape.rank() { shape.remove(axis, 1) } else { shape };
                examples.push(self.poisoned(TensorType::new(x.dtype(), guess)));
                continue;
            }
            size = Some(shape[axis]);
            let order: Vec<usize> =
                std::iter::once(axis).chain((0..shape.rank()).filter(|&a| a != axis)).collect();
            let front = x.permute(&order);
            let example = self.leaf(Leaf::Placeholder, TensorType::new(x.dtype(), shape.remove(axis, 1)));
            if let Some(id) = example.id() {
                batched.insert(id, front);
            }
            examples.push(example);
        }
        let Some(size) = size else {
            let kind = ErrorKind::Argument("no input is mapped: each axis is `None`".into());
            self.fail(kind, "vmap");
            return f(&examples).iter().map(|y| self.poisoned(y.ty())).collect();
        };
        let start = self.with_tape(|tape| tape.rows().len());
        let outputs = f(&examples);
        if !self.owns(&outputs, "vmap") {
            return outputs.iter().map(|y| self.poisoned(y.ty())).collect();
        }
        for index in needed(self, &outputs, start) {
            let Some((row, x, _)) = open(self, index, |v| v) else { continue };
            let flags: Vec<bool> = row.operands.iter().map(|v| batched.contains_key(v)).collect();
            if !flags.contains(&true) {
                continue;
            }
            let x: Vec<Var<'t>> =
                row.operands.iter().zip(x).map(|(v, x)| batched.get(v).copied().unwrap_or(x)).collect();
            let batch = || self.on_behalf(row.origin, || self.batch_row(&row.op, &x, &flags));
            let results = self.nested(batch).unwrap_or_else(|| {
                let kind = ErrorKind::NoRule("a rule maps its own op, again and again".into());
                row.results
                    .iter()
                    .map(|_| self.fail_like(kind.clone(), row.op.name(), row.results[0]))
                    .collect()
            });
            if results.len() != row.results.len() && !matches!(row.op, Op::Control(_)) {
                let (found, due) = (results.len(), row.results.len());
                let kind =
                    ErrorKind::Malformed(format!("a rule made batches of {found} results, not of {due}"));
                self.on_behalf(row.origin, || self.fail(kind, row.op.name()));
            }
            for (result, (var, ty)) in results.into_iter().zip(row.results.iter()).enumerate() {
                let due = ty.shape.insert(0, size).map(|shape| TensorType::new(ty.dtype, shape));
                let var = due.map_or(var, |due| checked(self, var, due, row.op.name()));
                batched.insert(Value { row: index as u32, result: result as u32 }, var);
            }
        }
        let mut mapped = Vec::with_capacity(outputs.len());
        for y in outputs {
            mapped.push(match (y.id().and_then(|id| batched.get(&id).copied()), y.shape().insert(0, size)) {
                (Some(batch), _) => batch,
                // Every example has the same result.
                (None, Ok(shape)) => y.broadcast_to(shape),
                (None, Err(kind)) => self.fail(kind, "vmap"),
            });
        }
        mapped
    }

    fn batch_row<'t>(&'t self, op: &Op, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        match op {
            Op::Leaf(_) => Vars::new(),
            Op::Elementwise(_) => self.emit(op.clone(), &batch_all(x, batched)),
            Op::Discrete(f) => f.batched(x, batched),
            Op::Linear(f) => f.batched(x, batched),
            Op::Bilinear(f) => f.batched(x, batched),
            Op::Custom(f) => f.batched(x, batched),
            Op::Control(_) => {
                let kind = ErrorKind::Argument(
                    "a branch cannot differ between the examples of a batch; use `select`".into(),
                );
                self.fail(kind, "vmap");
                Vars::new()
            }
        }
    }
}
