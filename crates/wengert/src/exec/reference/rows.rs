//! The trivial plan: row by row in the order of the tape, each result in a place of its own. What the other
//! plans are held against, and the cheapest to make.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::elements::Slice;
use crate::error::{ErrorKind, Result};
use crate::exec::code::{Call, Code, Codes, Packing};
use crate::exec::frame::{Frame, LiveOut};
use crate::exec::graph::{Constant, Home};
use crate::exec::memory::Memory;
use crate::exec::place::{ALIGN, Place, WORD};
use crate::ir::{Control, Leaf, Op, Operand, ResultMut, Row, Tape, Value};
use crate::kernels::Isa;
use crate::kernels::contract::Packed;
use crate::shape::TensorType;

/// Where the results of all rows lie.
pub(crate) struct Rows {
    /// The place of each value, and of each row's first.
    places: Vec<Place>,
    first: Vec<u32>,
    /// Values that are copied into the arena at the end: outputs and next values that live elsewhere.
    copied: Vec<(Value, Place)>,
    /// The code of each row that has numbers.
    codes: Vec<Option<Code>>,
    /// Bytes for operands that are packed, in front of scratch.
    packed: usize,
    /// Rows that add to a part of an array where it lies: their first result has the place of that operand.
    alias: HashMap<u32, usize>,
}

/// The trivial plan of a tape without dead rows.
pub(in crate::exec) fn rows(tape: &Tape, isa: Isa) -> Result<(Frame, Rows)> {
    let mut b = Builder {
        tape,
        frame: Frame::new(isa, tape.inputs(), tape.states()),
        rows: Rows {
            places: Vec::with_capacity(tape.rows().len()),
            first: Vec::with_capacity(tape.rows().len()),
            codes: Vec::with_capacity(tape.rows().len()),
            copied: Vec::new(),
            packed: 0,
            alias: HashMap::new(),
        },
        uses: uses(tape),
        states: tape.states().iter().map(|s| s.index).zip(0..).collect(),
        fills: HashMap::new(),
        computed: Codes::default(),
        top: 0,
    };
    for (index, row) in tape.rows().iter().enumerate() {
        b.row(index, row)?;
    }
    b.frame.outputs = tape.outputs().iter().map(|v| b.live_out(v)).collect::<Result<_>>()?;
    let commits = tape.updates().iter().map(|(s, v)| Ok((b.state(*s), b.live_out(v)?)));
    b.frame.commits = commits.collect::<Result<_>>()?;
    let Builder { mut frame, mut rows, top, .. } = b;
    if rows.packed.max(frame.scratch) > isize::MAX as usize / 4 {
        return Err(ErrorKind::Memory { bytes: rows.packed.max(frame.scratch) }.into());
    }
    frame.scratch = frame.scratch.next_multiple_of(WORD);
    // Aligned as the others' memory is.
    frame.arena = top.next_multiple_of(ALIGN);
    rows.packed = rows.packed.next_multiple_of(ALIGN);
    frame.scratch += rows.packed;
    rows.verify(tape, &frame).map_err(|(row, what)| {
        tape.blame(&tape.rows()[row], ErrorKind::Malformed(format!("a plan that breaks {what}")))
    })?;
    Ok((frame, rows))
}

/// A trivial plan in the making.
struct Builder<'a> {
    tape: &'a Tape,
    frame: Frame,
    rows: Rows,
    /// How often each row's results are read or kept.
    uses: Vec<u32>,
    /// The position of each state, by that in its store, among those of the tape.
    states: HashMap<usize, usize>,
    /// The constant of each number and element type.
    fills: HashMap<(u64, DType), usize>,
    computed: Codes,
    /// Bytes of the arena so far.
    top: usize,
}

impl Builder<'_> {
    fn state(&self, index: usize) -> usize {
        self.states.get(&index).copied().unwrap_or(usize::MAX)
    }

    /// A place of its own for a value.
    fn take(&mut self, ty: &TensorType) -> Result<usize> {
        let bytes = ty.bytes();
        // Small arrays need not fill a cache line each.
        let start = self.top.next_multiple_of(if bytes < ALIGN { WORD } else { ALIGN });
        let end = start.checked_add(bytes).filter(|&end| end <= isize::MAX as usize / 2);
        self.top = end.ok_or(ErrorKind::Memory { bytes })?;
        Ok(start)
    }

    fn row(&mut self, index: usize, row: &Row) -> Result<()> {
        let first = u32::try_from(self.rows.places.len());
        self.rows.first.push(first.map_err(|_| ErrorKind::Memory { bytes: usize::MAX })?);
        if let (Op::Leaf(leaf), Some(ty)) = (&row.op, row.results.first()) {
            let home = self.leaf(leaf, ty)?;
            self.rows.codes.push(None);
            self.rows.places.push(Place::Home(home));
            return Ok(());
        }
        let tape = self.tape;
        let types: SmallVec<[TensorType; 3]> = row.operands.iter().filter_map(|&v| tape.ty(v)).collect();
        let isa = self.frame.isa;
        let code = row.op.kernel().map(|_| self.computed.of_op(&row.op, &types, &row.results, isa));
        let code = code.transpose().map_err(|kind| tape.blame(row, kind))?;
        let given_up = code.as_ref().and_then(|code| self.given_up(row, code));
        if let Some((operand, _)) = given_up {
            self.rows.alias.insert(index as u32, operand);
        }
        for (i, ty) in row.results.iter().enumerate() {
            let place = match given_up {
                Some((_, place)) if i == 0 => place,
                _ => Place::Arena(self.take(ty)?),
            };
            self.rows.places.push(place);
        }
        if let Some(code) = &code {
            self.frame.scratch = self.frame.scratch.max(code.scratch(&types));
            self.rows.packed = self.rows.packed.max(code.packed(&types).map_or(0, |p| p.bytes));
        }
        self.rows.codes.push(code);
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf, ty: &TensorType) -> Result<Home> {
        let constants = &mut self.frame.constants;
        Ok(match leaf {
            Leaf::Input(i) => Home::Input(*i),
            Leaf::State(s) => Home::State(self.state(*s)),
            Leaf::Constant(tensor) => {
                constants.push(Constant::Array(tensor.clone()));
                Home::Constant(constants.len() - 1)
            }
            Leaf::Fill(value) => {
                let at = match self.fills.entry((value.to_bits(), ty.dtype)) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        constants.push(Constant::Fill { value: *value, dtype: ty.dtype, len: 0 });
                        *new.insert(constants.len() - 1)
                    }
                };
                if let Constant::Fill { len, .. } = &mut constants[at] {
                    *len = (*len).max(ty.shape.elements());
                }
                Home::Fill(at)
            }
            Leaf::Placeholder => return Err(ErrorKind::Malformed("a live placeholder".into()).into()),
        })
    }

    /// The operand that a row may add to where it lies, because nothing else reads it, and its place.
    fn given_up(&self, row: &Row, code: &Code) -> Option<(usize, Place)> {
        let o = code.what.alias()?;
        let value = row.operands.get(o)?;
        let place = self.rows.place(value);
        let alone =
            self.uses[value.row as usize] == 1 && self.tape.rows()[value.row as usize].results.len() == 1;
        let fits = self.tape.ty(*value).as_ref() == row.results.first();
        (alone && fits && matches!(place, Place::Arena(_))).then_some((o, place))
    }

    /// The place of a value that outlives the run: one for a copy where it is a leaf.
    fn live_out(&mut self, value: &Value) -> Result<LiveOut> {
        let ty = self.tape.ty(*value);
        let ty = ty.ok_or_else(|| ErrorKind::Malformed("an output that is no value".into()))?;
        let offset = match self.rows.place(value) {
            Place::Arena(offset) => offset,
            _ => {
                let offset = self.take(&ty)?;
                self.rows.copied.push((*value, Place::Arena(offset)));
                offset
            }
        };
        Ok(LiveOut { buffer: None, offset, ty })
    }
}

impl Rows {
    fn place(&self, value: &Value) -> Place {
        self.places[(self.first[value.row as usize] + value.result) as usize]
    }

    /// What V1, V2, V4 and V5 of `verify` come to where each value has a place of its own, in the order of the rows: places
    /// rise, but for an operand that nothing reads once something is added to it. The error comes with the row.
    fn verify(&self, tape: &Tape, frame: &Frame) -> std::result::Result<(), (usize, &'static str)> {
        let mut top = 0;
        let mut gone = vec![false; tape.rows().len()];
        for (index, row) in tape.rows().iter().enumerate() {
            if row.operands.iter().any(|v| v.row as usize >= index || gone[v.row as usize]) {
                return Err((index, "V2: it reads what is not there"));
            }
            let alias = self.alias.get(&(index as u32)).map(|&o| row.operands[o]);
            if let Some(value) = alias {
                gone[value.row as usize] = true;
                if row.operands.iter().filter(|v| v.row == value.row).count() > 1 {
                    return Err((index, "V5: it writes what it reads"));
                }
            }
            for (r, ty) in row.results.iter().enumerate() {
                let Place::Arena(offset) = self.places[self.first[index] as usize + r] else { continue };
                let end = offset.saturating_add(ty.bytes());
                match alias.filter(|_| r == 0) {
                    Some(v) if self.place(&v) == Place::Arena(offset) => {}
                    None if offset >= top => top = end,
                    _ => return Err((index, "V1: two values in one place")),
                }
                if !offset.is_multiple_of(WORD) || end > frame.arena {
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
    /// The bytes that each row's results take in the arena.
    pub(in crate::exec) fn held<'a>(&'a self, tape: &'a Tape) -> impl Iterator<Item = (usize, usize)> + 'a {
        tape.rows().iter().enumerate().map(move |(i, row)| {
            let place = move |r: usize| self.places[self.first[i] as usize + r];
            let inside =
                row.results.iter().enumerate().filter(move |(r, _)| matches!(place(*r), Place::Arena(_)));
            let inside = inside.filter(move |(r, _)| *r > 0 || !self.alias.contains_key(&(i as u32)));
            (i, inside.map(|(_, ty)| ty.bytes()).sum())
        })
    }

    /// Computes all rows. The error comes with the row that failed.
    pub(in crate::exec) fn run(&self, memory: &Memory<'_>, tape: &Tape) -> Result<(), (u32, ErrorKind)> {
        for (index, row) in tape.rows().iter().enumerate() {
            self.compute(memory, tape, row, index).map_err(|kind| (index as u32, kind))?;
        }
        for (value, to) in &self.copied {
            let Some(from) = self.value(memory, tape, value) else { continue };
            // SAFETY: a place of its own (V1).
            unsafe { memory.place_mut(*to, from.ty).copy_from(from.data) };
        }
        Ok(())
    }

    fn value<'b>(&self, memory: &Memory<'_>, tape: &'b Tape, value: &Value) -> Option<Operand<'b>> {
        let ty = tape.rows().get(value.row as usize)?.results.get(value.result as usize)?;
        // SAFETY: every value has a place of its own inside the arena, and only that of the row at hand is written
        // (V1, V4 of `Rows::verify`).
        Some(Operand { ty, data: unsafe { memory.place(self.place(value), ty) } })
    }

    fn compute(&self, memory: &Memory<'_>, tape: &Tape, row: &Row, index: usize) -> Result<(), ErrorKind> {
        let (first, alias) = (self.first[index] as usize, self.alias.get(&(index as u32)));
        let mut operands: SmallVec<[Operand<'_>; 4]> =
            row.operands.iter().filter_map(|v| self.value(memory, tape, v)).collect();
        if let Some(operand) = alias.and_then(|&o| operands.get_mut(o)) {
            // It lies where the result does.
            operand.data = Slice::U8(&[]);
        }
        let Some(code) = &self.codes[index] else {
            let Op::Control(Control::Guard { recorded }) = row.op else { return Ok(()) };
            let found = operands.first().and_then(|p| p.data.f64_at(0)).is_some_and(|p| p != 0.0);
            return if found == recorded { Ok(()) } else { Err(ErrorKind::Guard { recorded, found }) };
        };
        let types: SmallVec<[TensorType; 3]> = operands.iter().map(|o| *o.ty).collect();
        let Frame { arena, scratch, isa, .. } = *memory.frame;
        // SAFETY: behind all values lies memory that only the row at hand uses.
        let (out, scratch) =
            unsafe { memory.regions[0].words(arena, scratch).split_at_mut(self.packed / WORD) };
        let mut packed: &[u64] = &[];
        if let Some(Packed { bytes, pieces, .. }) = code.packed(&types) {
            let changed = || ErrorKind::Malformed("an operand packed other than planned".into());
            let out = out.get_mut(..bytes / WORD).ok_or_else(changed)?;
            let call = Packing { operands: &operands, strides: None, pieces: 0..pieces, out: &mut *out, isa };
            code.pack(call).map_err(ErrorKind::Fault)?;
            packed = out;
        }
        let mut results: SmallVec<[ResultMut<'_>; 4]> = SmallVec::new();
        for (i, ty) in row.results.iter().enumerate() {
            // SAFETY: a place of its own, which no operand that comes with elements lies in (V1, V5).
            results.push(ResultMut { ty, data: unsafe { memory.place_mut(self.places[first + i], ty) } });
        }
        code.run(Call {
            operands: &operands,
            strides: None,
            results: &mut results,
            scratch,
            packed,
            blocks: 0..code.what.blocks(&types, &row.results),
            isa,
            alpha: 1.0,
            beta: if alias.is_some() { 1.0 } else { 0.0 },
        })
        .map_err(ErrorKind::Fault)
    }
}

/// How often each row's results are read or kept.
fn uses(tape: &Tape) -> Vec<u32> {
    let mut uses = vec![0u32; tape.rows().len()];
    let kept = tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v));
    tape.rows().iter().flat_map(|row| &row.operands).chain(kept).for_each(|v| uses[v.row as usize] += 1);
    uses
}
