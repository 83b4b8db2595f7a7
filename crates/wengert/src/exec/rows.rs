//! The trivial plan: row by row in the order of the tape, each result in a place of its own. What the other
//! plans are held against, and the cheapest to make.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use smallvec::SmallVec;

use super::compute::Memory;
use super::cpu::{Call, Code, Codes, Preparation, Prepared};
use super::layout::{Span, arrange};
use super::plan::{Constant, Place, Plan, Slot, WORD};
use crate::dtype::{DType, Slice};
use crate::error::{ErrorKind, Result};
use crate::ir::{Control, Leaf, Op, Operand, ResultMut, Row, Tape, Value};
use crate::kernels::Isa;
use crate::shape::TensorType;

/// Where the results of all rows lie.
pub(super) struct Rows {
    /// The place of each value, and of each row's first.
    places: Vec<Place>,
    first: Vec<u32>,
    /// Values that are copied into the arena at the end: outputs and next values that live elsewhere.
    staged: Vec<(Value, Place)>,
    /// The code of each row that has numbers.
    codes: Vec<Option<Arc<Code>>>,
    /// Bytes for the layouts that codes announce, in front of their scratch.
    prepared: usize,
    /// Rows that add to a part of an array where it lies: their first result has the place of that operand.
    onto: HashMap<u32, usize>,
}

impl Plan {
    /// The trivial plan of a tape without dead rows.
    pub(crate) fn rows(tape: &Tape, isa: Isa) -> Result<Self> {
        let mut plan = Self::empty(isa, tape.inputs(), tape.states());
        let states: HashMap<usize, usize> = tape.states().iter().map(|s| s.index).zip(0..).collect();
        let state = |index: &usize| states.get(index).copied().unwrap_or(usize::MAX);
        let count = tape.rows().len();
        let mut rows = Rows {
            places: Vec::with_capacity(count),
            first: Vec::with_capacity(count),
            codes: Vec::with_capacity(count),
            staged: Vec::new(),
            prepared: 0,
            onto: HashMap::new(),
        };
        let uses = uses(tape);
        let mut codes = Codes::default();
        let mut fills: HashMap<(u64, DType), usize> = HashMap::new();
        let mut top = 0usize;
        let mut take = |ty: &TensorType| -> Result<Place> {
            let bytes = ty.bytes();
            // Small arrays need not fill a cache line each.
            let start = top.next_multiple_of(if bytes < 64 { WORD } else { 64 });
            let end = start.checked_add(bytes).filter(|&end| end <= isize::MAX as usize / 2);
            top = end.ok_or(ErrorKind::Memory { bytes })?;
            Ok(Place::Arena(start))
        };
        for (index, row) in tape.rows().iter().enumerate() {
            rows.first
                .push(u32::try_from(rows.places.len()).map_err(|_| ErrorKind::Memory { bytes: usize::MAX })?);
            let constant = plan.constants.len();
            let (Op::Leaf(leaf), Some(ty)) = (&row.op, row.results.first()) else {
                let types: SmallVec<[TensorType; 3]> =
                    row.operands.iter().filter_map(|&v| tape.ty(v)).collect();
                let blame = |kind| tape.blame(row, kind);
                let code = row.op.kernel().map(|_| codes.of(&row.op, &types, &row.results, isa));
                let code = code.transpose().map_err(blame)?;
                let given_up = code.as_ref().and_then(|code| {
                    let (o, place) = given_up(tape, &rows, &uses, row, code)?;
                    rows.onto.insert(index as u32, o);
                    Some(place)
                });
                for (i, ty) in row.results.iter().enumerate() {
                    let place = given_up.filter(|_| i == 0).map_or_else(|| take(ty), Ok)?;
                    rows.places.push(place);
                }
                if let Some(code) = &code {
                    plan.scratch = plan.scratch.max(code.scratch(&types));
                    rows.prepared = rows.prepared.max(code.prepared(&types).map_or(0, |p| p.bytes));
                }
                rows.codes.push(code);
                continue;
            };
            rows.codes.push(None);
            rows.places.push(match leaf {
                Leaf::Input(i) => Place::Input(*i),
                Leaf::State(s) => Place::State(state(s)),
                Leaf::Constant(tensor) => {
                    plan.constants.push(Constant::Array(tensor.clone()));
                    Place::Constant(constant)
                }
                Leaf::Fill(value) => {
                    let at = match fills.entry((value.to_bits(), ty.dtype)) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(new) => {
                            plan.constants.push(Constant::Fill { value: *value, dtype: ty.dtype, len: 0 });
                            *new.insert(constant)
                        }
                    };
                    if let Constant::Fill { len, .. } = &mut plan.constants[at] {
                        *len = (*len).max(ty.shape.elements());
                    }
                    Place::Fill(at)
                }
                Leaf::Placeholder => return Err(ErrorKind::Malformed("a live placeholder".into()).into()),
            });
        }
        let mut stage = |value: &Value| -> Result<Slot> {
            let ty =
                tape.ty(*value).ok_or_else(|| ErrorKind::Malformed("an output that is no value".into()))?;
            let place = rows.places[(rows.first[value.row as usize] + value.result) as usize];
            if matches!(place, Place::Arena(_)) {
                return Ok(Slot::new(place, ty));
            }
            let place = take(&ty)?;
            rows.staged.push((*value, place));
            Ok(Slot::new(place, ty))
        };
        plan.outputs = tape.outputs().iter().map(&mut stage).collect::<Result<_>>()?;
        plan.commits =
            tape.updates().iter().map(|(s, v)| Ok((state(s), stage(v)?))).collect::<Result<_>>()?;
        plan.scratch = plan.scratch.next_multiple_of(WORD);
        // Aligned as the others' memory is.
        if rows.prepared.max(plan.scratch) > isize::MAX as usize / 4 {
            return Err(ErrorKind::Memory { bytes: rows.prepared.max(plan.scratch) }.into());
        }
        let spans = [top, rows.prepared + plan.scratch].map(|bytes| (Span { first: 0, last: 0, bytes }, ()));
        let (offsets, _) = arrange(&spans)?;
        plan.arena = offsets[1].1;
        rows.prepared = rows.prepared.next_multiple_of(64);
        plan.scratch += rows.prepared;
        rows.verify(tape, &plan).map_err(|(row, what)| {
            tape.blame(&tape.rows()[row], ErrorKind::Malformed(format!("a plan that breaks {what}")))
        })?;
        plan.by_rows = Some(rows);
        Ok(plan)
    }
}

impl Rows {
    /// What V1, V2, V4 and V5 of `verify` come to where each value has a place of its own, in the order of the rows: places
    /// rise, but for an operand that nothing reads once something is added to it. The error comes with the row.
    fn verify(&self, tape: &Tape, plan: &Plan) -> std::result::Result<(), (usize, &'static str)> {
        let mut top = 0;
        let mut gone = vec![false; tape.rows().len()];
        for (index, row) in tape.rows().iter().enumerate() {
            if row.operands.iter().any(|v| v.row as usize >= index || gone[v.row as usize]) {
                return Err((index, "V2: it reads what is not there"));
            }
            let onto = self.onto.get(&(index as u32)).map(|&o| row.operands[o]);
            if let Some(value) = onto {
                gone[value.row as usize] = true;
                if row.operands.iter().filter(|v| v.row == value.row).count() > 1 {
                    return Err((index, "V5: it writes what it reads"));
                }
            }
            for (r, ty) in row.results.iter().enumerate() {
                let Place::Arena(offset) = self.places[self.first[index] as usize + r] else { continue };
                let end = offset.saturating_add(ty.bytes());
                match onto.filter(|_| r == 0) {
                    Some(v)
                        if self.places[(self.first[v.row as usize] + v.result) as usize]
                            == Place::Arena(offset) => {}
                    None if offset >= top => top = end,
                    _ => return Err((index, "V1: two values in one place")),
                }
                if !offset.is_multiple_of(WORD) || end > plan.arena {
                    return Err((index, "V4: a value that leaves the arena"));
                }
            }
        }
        let kept = |v: &Value| v.row as usize >= gone.len() || gone[v.row as usize];
        match tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v)).find(|v| kept(v)) {
            Some(v) => {
                Err(((v.row as usize).min(gone.len().saturating_sub(1)), "V6: a result that is not there"))
            }
            None => Ok(()),
        }
    }
}

/// How often each row's results are read or kept.
fn uses(tape: &Tape) -> Vec<u32> {
    let mut uses = vec![0u32; tape.rows().len()];
    let kept = tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v));
    tape.rows().iter().flat_map(|row| &row.operands).chain(kept).for_each(|v| uses[v.row as usize] += 1);
    uses
}

/// The operand that a row may add to where it lies, because nothing else reads it, and its place.
fn given_up(tape: &Tape, rows: &Rows, uses: &[u32], row: &Row, code: &Code) -> Option<(usize, Place)> {
    let o = code.onto()?;
    let value = row.operands.get(o)?;
    let place = rows.places[(rows.first[value.row as usize] + value.result) as usize];
    let alone = uses[value.row as usize] == 1 && tape.rows()[value.row as usize].results.len() == 1;
    (alone && matches!(place, Place::Arena(_)) && tape.ty(*value).as_ref() == row.results.first())
        .then_some((o, place))
}

/// The bytes that each row's results take in the arena.
pub(super) fn held<'a>(rows: &'a Rows, tape: &'a Tape) -> impl Iterator<Item = (usize, usize)> + 'a {
    tape.rows().iter().enumerate().map(move |(i, row)| {
        let place = move |r: usize| rows.places[rows.first[i] as usize + r];
        let inside =
            row.results.iter().enumerate().filter(move |(r, _)| matches!(place(*r), Place::Arena(_)));
        let inside = inside.filter(move |(r, _)| *r > 0 || !rows.onto.contains_key(&(i as u32)));
        (i, inside.map(|(_, ty)| ty.bytes()).sum())
    })
}

impl Memory<'_> {
    /// Runs a trivial plan. The error comes with the row that failed.
    pub(super) fn rows(&self, rows: &Rows, tape: &Tape) -> Result<(), (u32, ErrorKind)> {
        for (index, row) in tape.rows().iter().enumerate() {
            self.row(rows, tape, row, index).map_err(|kind| (index as u32, kind))?;
        }
        for (value, to) in &rows.staged {
            let Some(from) = self.value(rows, tape, value) else { continue };
            // SAFETY: a place of its own (V1).
            unsafe { self.place_mut(*to, from.ty).copy_from(from.data) };
        }
        Ok(())
    }

    fn value<'b>(&self, rows: &Rows, tape: &'b Tape, value: &Value) -> Option<Operand<'b>> {
        let ty = tape.rows().get(value.row as usize)?.results.get(value.result as usize)?;
        let place = rows.places[(rows.first[value.row as usize] + value.result) as usize];
        // SAFETY: every value has a place of its own inside the arena, and only that of the row at hand is written
        // (V1, V4 of `Rows::verify`).
        Some(Operand { ty, data: unsafe { self.place(place, ty) } })
    }

    fn row(&self, rows: &Rows, tape: &Tape, row: &Row, index: usize) -> Result<(), ErrorKind> {
        let (first, onto) = (rows.first[index] as usize, rows.onto.get(&(index as u32)));
        let mut operands: SmallVec<[Operand<'_>; 4]> =
            row.operands.iter().filter_map(|v| self.value(rows, tape, v)).collect();
        if let Some(operand) = onto.and_then(|&o| operands.get_mut(o)) {
            // It lies where the result does.
            operand.data = Slice::U8(&[]);
        }
        let Some(code) = &rows.codes[index] else {
            let Op::Control(Control::Guard { recorded }) = row.op else { return Ok(()) };
            let found = operands.first().and_then(|p| p.data.f64_at(0)).is_some_and(|p| p != 0.0);
            return if found == recorded { Ok(()) } else { Err(ErrorKind::Guard { recorded, found }) };
        };
        let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| *o.ty).collect();
        // SAFETY: behind all values lies memory that only the row at hand uses.
        let (out, scratch) = unsafe {
            let all = self.blocks[0].words(self.plan.arena, self.plan.scratch);
            all.split_at_mut(rows.prepared / WORD)
        };
        let isa = self.plan.isa;
        let mut prepared: &[u64] = &[];
        if let Some(Prepared { bytes, pieces, .. }) = code.prepared(&types) {
            let changed = || ErrorKind::Malformed("a layout other than the one that was planned".into());
            let out = out.get_mut(..bytes / WORD).ok_or_else(changed)?;
            let call =
                Preparation { operands: &operands, strides: None, pieces: 0..pieces, out: &mut *out, isa };
            code.prepare(call).map_err(ErrorKind::Fault)?;
            prepared = out;
        }
        let mut results: SmallVec<[ResultMut<'_>; 4]> = SmallVec::new();
        for (i, ty) in row.results.iter().enumerate() {
            // SAFETY: a place of its own, which no operand that comes with elements lies in (V1, V5).
            results.push(ResultMut { ty, data: unsafe { self.place_mut(rows.places[first + i], ty) } });
        }
        let count = code.blocks(&types, &row.results);
        let call = Call {
            operands: &operands,
            strides: None,
            results: &mut results,
            scratch,
            prepared,
            blocks: 0..count,
            isa,
            beta: if onto.is_some() { 1.0 } else { 0.0 },
            alpha: 1.0,
        };
        code.run(call).map_err(ErrorKind::Fault)
    }
}
