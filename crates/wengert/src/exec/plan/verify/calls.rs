//! What each call does to its operands and results.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{At, Check, In, Named, Verifier, broken};
use crate::exec::frame::POOL;
use crate::exec::graph::{Action, Begun, Computation, WriteMode};
use crate::exec::memory::Address;
use crate::exec::place::Place;
use crate::exec::plan::{Function, KernelCall, Part, Placed, What};
use crate::ir::Form;
use crate::kernels::{Compiled, Fixed, Small, repeat};
use crate::shape::TensorType;

impl Verifier<'_> {
    /// The micro-op at a position.
    pub(super) fn micro_op(&mut self, at: At, within: In<'_>, n: usize, named: &Named) -> Check {
        let fail = |what| Err(broken("V4", at.row, what));
        let plan = self.plan;
        let (op, (_, function)) = (&plan.micro[n], plan.described(n));
        let len = op.len as usize;
        let arity = plan.operands(n).count();
        let Named { buffers: named, changed } = named;
        let (Some(result), operands) = (named[0], &named[1..=arity]) else {
            return fail("a micro-op without a result");
        };
        let made = plan.result(n);
        if plan.addresses.place(made.0).0 != 0 {
            return fail("a micro-op that writes outside of the arena");
        }
        for (buffer, (address, bytes)) in named.iter().zip([made].into_iter().chain(plan.operands(n))) {
            let Some(buffer) = *buffer else { return fail("a micro-op of other operands") };
            self.address(at, self.buffer(buffer, at)?, address, bytes)?;
        }
        let dtype = |b: &Option<_>| b.and_then(|b| self.plan.buffers.get(b)).map(|b| b.ty.dtype);
        let (x, y) = (operands.iter().filter_map(dtype), named[..1].iter().filter_map(dtype));
        let Function { single, what } = function;
        let ty = |b: Option<_>| b.and_then(|b| self.plan.buffers.get(b)).map(|b| *b.ty);
        let changes = function.small().is_some_and(Small::changes);
        let fits = changes == changed.is_some()
            && match what {
                What::Small(_, small) => {
                    let x = operands.iter().map(|&operand| ty(operand));
                    x.eq(small.x.iter().map(|x| Some(**x))) && ty(named[0]) == Some(*small.y)
                }
                What::Map(code) => code.map().is_some_and(|map| map.fits(x, y, len)),
                What::Copy => x.eq(y),
            };
        if !fits || single.function as usize != op.function as usize {
            return fail("a micro-op of another function, or of other types");
        }
        for (fixed, x) in single.fixed.iter().zip(op.x) {
            self.fixed(at, function, *fixed, x, len)?;
        }
        let whole = |buffer| Part { buffer, chunk: None };
        for &buffer in operands.iter().flatten() {
            self.read(at, within, whole(buffer), None)?;
            if self.buffer(buffer, at)?.base == self.buffer(result, at)?.base {
                return Err(broken("V5", at.row, "a micro-op that writes what it reads"));
            }
        }
        if let Some(changed) = *changed {
            self.read(at, within, whole(changed), None)?;
            let (from, to) = (self.buffer(changed, at)?, self.buffer(result, at)?);
            if !same_bytes(from, to) || *from.ty != *to.ty || from.len != to.len {
                return Err(broken("V5", at.row, "a micro-op that changes what lies elsewhere"));
            }
            let of = from.of;
            self.buffers[of].gone = true;
        }
        self.write(at, within, whole(result), changed.is_none(), false)
    }

    /// That what is a function's own lies in the pool, for so many elements.
    fn fixed(&self, at: At, function: &Function, fixed: Fixed, address: Address, len: usize) -> Check {
        let (word, words) = match fixed {
            Fixed::Nothing => return Ok(()),
            Fixed::Word(word) => (word, 1),
            Fixed::Constant(i) => {
                let missing = || broken("V7", at.row, "a constant that is not there");
                let constant = function.constant(i).ok_or_else(missing)?;
                let mut word = [0];
                repeat(constant, &mut word);
                (word[0], (len * constant.dtype.bytes()).div_ceil(8))
            }
        };
        let (region, byte) = self.plan.addresses.place(address);
        let found = self.plan.pool.get(byte / 8..byte / 8 + words);
        if region == POOL && found.is_some_and(|found| found.iter().all(|w| *w == word)) {
            Ok(())
        } else {
            Err(broken("V7", at.row, "a constant that is not there"))
        }
    }

    /// That what a micro-op reads or writes by the word is a buffer of so many bytes.
    fn address(&self, at: At, buffer: &Placed, address: Address, bytes: usize) -> Check {
        let (frame, reach) = (self.frame, self.plan.reach);
        let (home, byte) = buffer.word(frame);
        let fits = buffer.len * buffer.ty.dtype.bytes() == bytes;
        let inside = home > 0 || (byte + bytes <= reach && reach <= frame.arena + frame.local);
        if (home, byte) == self.plan.addresses.place(address) && fits && inside {
            Ok(())
        } else {
            Err(broken("V4", at.row, "a micro-op that leaves its buffers"))
        }
    }

    /// What a map that runs behind pointers relies on: the types of its body, as many elements everywhere, and its scratch.
    fn map(&self, at: At, call: &KernelCall, map: &Compiled) -> Check {
        let len = |part: &Part| self.buffer(part.buffer, at).map(|b| (b.len, part.chunk));
        let dtype = |part: &Part| self.plan.buffers.get(part.buffer).map(|b| b.ty.dtype);
        let first = call.results.first().map_or(Ok((0, None)), len)?;
        for part in call.operands.iter().chain(&call.results) {
            if len(part)? != first {
                return Err(broken("V4", at.row, "a map of buffers of different lengths"));
            }
        }
        let (x, y) = (call.operands.iter().filter_map(dtype), call.results.iter().filter_map(dtype));
        if !map.fits(x, y, first.0) || call.scratch < map.scratch() {
            return Err(broken("V4", at.row, "a map of other types, or without its scratch"));
        }
        Ok(())
    }

    pub(super) fn call(&mut self, at: At, within: In<'_>, call: &KernelCall) -> Check {
        if call.scratch > self.frame.scratch {
            return Err(broken("V4", at.row, "scratch that is not there"));
        }
        let same = match (call.action.computation(), &call.code) {
            (Some(what), Some(code)) => Arc::ptr_eq(what, &code.what),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Err(broken("V4", at.row, "a call of other code than its own"));
        }
        self.blocks(at, within, call)?;
        if let (Action::Compute(_), Some(map)) = (&call.action, call.code.as_ref().and_then(|c| c.map())) {
            self.map(at, call, map)?;
        }
        for (o, part) in call.operands.iter().enumerate() {
            if !matches!(call.action, Action::Pack(_, operand) if operand != o) {
                self.operand(at, within, call, (o, *part))?;
            }
        }
        if let Some(buffer) = call.packed {
            let base = self.buffer(buffer, at)?.base;
            if self.buffers[base].written.is_none() {
                return Err(broken("V7", at.row, "an operand that is used before it is packed"));
            }
            self.read(at, within, Part { buffer, chunk: None }, None)?;
        }
        match &call.action {
            Action::Partial(split) => self.partial(at, within, call, split)?,
            Action::Combine(_) => self.combine(at, call)?,
            Action::Join => self.join(at, within, call)?,
            Action::Beside(rows) => self.beside(at, call, *rows)?,
            _ => {}
        }
        if call.once && !self.repeats(within, call) {
            return Err(broken("V2", at.row, "a call that is not the same for every tile"));
        }
        let infallible = call.action.computation().is_none_or(|c| c.infallible());
        if !infallible || matches!(call.action, Action::Guard { .. }) {
            self.may_fail(at)?;
        }
        self.results(at, within, call)?;
        if matches!(call.action, Action::Join) {
            let whole = self.buffer(call.results[0].buffer, at)?.base;
            self.joined.insert(whole, whole);
        }
        Ok(())
    }

    /// V4: that rows of arrays are as long as those that they are put together to.
    fn beside(&self, at: At, call: &KernelCall, rows: usize) -> Check {
        let ty = |part: &Part| self.buffer(part.buffer, at).map(|b| *b.ty);
        let &[to] = call.results.as_slice() else { return Err(broken("V4", at.row, "rows of no array")) };
        let (to, mut elements) = (ty(&to)?, 0);
        for part in &call.operands {
            let from = ty(part)?;
            if from.dtype != to.dtype || !from.shape.elements().is_multiple_of(rows) {
                return Err(broken("V4", at.row, "rows of another type, or of several lengths"));
            }
            elements += from.shape.elements();
        }
        let fits = elements == to.shape.elements() && call.mode == WriteMode::Overwrite;
        if fits { Ok(()) } else { Err(broken("V4", at.row, "rows that do not make up those of the result")) }
    }

    /// V10: that the parts fill the whole, in its order.
    fn join(&mut self, at: At, (group, _): In<'_>, call: &KernelCall) -> Check {
        let fail = |what| Err(broken("V10", at.row, what));
        let &[Part { buffer: whole, .. }] = call.results.as_slice() else {
            return fail("a join of no whole");
        };
        let Placed { place: Place::Arena(mut offset), base, ref ty, .. } = *self.buffer(whole, at)? else {
            return fail("a whole that is not in the arena");
        };
        let (end, dtype) = (offset + ty.bytes(), ty.dtype);
        if group.chunks != 1 || base != whole || call.mode != WriteMode::Overwrite {
            return fail("a whole that is another buffer, or is joined in pieces");
        }
        for part in &call.operands {
            let Placed { place, base, ref ty, .. } = *self.buffer(part.buffer, at)?;
            let (own, bytes) = (self.buffer(base, at)?, ty.bytes());
            let all = (own.place, own.ty.bytes()) == (place, bytes) && ty.dtype == dtype;
            if place != Place::Arena(offset) || !all || self.buffers[base].written.is_none() {
                return fail("parts that do not lie one behind the other");
            }
            if self.joined.insert(base, whole).is_some() {
                return fail("a part of two wholes");
            }
            offset += bytes;
        }
        if offset == end { Ok(()) } else { fail("parts that do not fill the whole") }
    }

    fn operand(&mut self, at: At, within: In<'_>, call: &KernelCall, (o, part): (usize, Part)) -> Check {
        let strides = call.strides.as_ref().and_then(|s| s.get(o)?.as_deref());
        self.read(at, within, part, strides)?;
        let from = self.buffer(part.buffer, at)?;
        let alias = call.alias() == Some(o);
        let in_place = call.action.in_place();
        for (r, result) in call.results.iter().enumerate() {
            let to = self.buffer(result.buffer, at)?;
            let (same, alike) = (same_bytes(from, to), from.ty.dtype.bytes() == to.ty.dtype.bytes());
            if alias && r == 0 {
                let chunks = part.chunk == result.chunk || within.0.chunks == 1;
                if !(same && chunks && *from.ty == *to.ty) {
                    return Err(broken(
                        "V5",
                        at.row,
                        "a result that aliases an operand which lies elsewhere",
                    ));
                }
            } else if same && !(in_place && alike && part.chunk == result.chunk && from.len == to.len) {
                return Err(broken("V5", at.row, "a call that writes what it reads"));
            }
        }
        Ok(())
    }

    fn results(&mut self, at: At, within: In<'_>, call: &KernelCall) -> Check {
        let computes = |can: fn(&Computation) -> bool| {
            matches!(call.action, Action::Compute(_)) && call.action.computation().is_some_and(|c| can(c))
        };
        let fits = match call.mode {
            WriteMode::Overwrite => true,
            WriteMode::Alias(o) => computes(|c| c.alias().is_some()) && usize::from(o) < call.operands.len(),
            WriteMode::Accumulate { alpha, .. } => {
                computes(Computation::accumulates) && (alpha == 1.0 || computes(Computation::scales))
            }
        };
        if !fits {
            return Err(broken("V5", at.row, "it adds to what is there, which its kernel cannot"));
        }
        if let Some(operand) = call.alias() {
            let of = self.buffer(call.operands[operand].buffer, at)?.of;
            self.buffers[of].gone = true;
        }
        for part in &call.results {
            if let WriteMode::Accumulate { .. } = call.mode {
                // It begins as what is there.
                let Placed { place, base, .. } = *self.buffer(part.buffer, at)?;
                if !matches!(place, Place::Home(_)) || self.buffers[base].written.is_some() {
                    self.read(at, within, *part, None)?;
                    self.buffers[base].gone = base != part.buffer;
                    if let WriteMode::Accumulate { on: Begun::Buffer(begun), .. } = call.mode {
                        let of = self.buffer(begun, at)?.of;
                        self.buffers[of].gone = true;
                    }
                }
            }
            self.write(at, within, *part, call.mode == WriteMode::Overwrite, call.once)?;
        }
        Ok(())
    }

    /// Whether every tile of a call has the same result, which lies where none of them overwrites it.
    fn repeats(&self, (group, _): In<'_>, call: &KernelCall) -> bool {
        let ([from], [to]) = (call.operands.as_slice(), call.results.as_slice()) else { return false };
        let Some(Form::View(map)) = call.action.form() else { return false };
        let to = self.plan.buffers.get(to.buffer);
        from.chunk.is_none()
            && to.is_some_and(|to| {
                matches!(to.place, Place::Tile(_)) && map.repeats(to.ty.shape, group.chunks)
            })
    }

    /// V4: that the blocks of all chunks are those of the computation.
    fn blocks(&self, at: At, (group, _): In<'_>, call: &KernelCall) -> Check {
        let ty = |part: &Part| self.buffer(part.buffer, at).map(|b| *b.ty);
        let operands = call.operands.iter().map(ty).collect::<Result<SmallVec<[TensorType; 3]>, _>>()?;
        let results = call.results.iter().map(ty).collect::<Result<SmallVec<[TensorType; 1]>, _>>()?;
        let due = match (&call.action, &call.code) {
            (Action::Compute(what), _) => what.blocks(&operands, &results),
            (Action::Pack(..), Some(code)) => code.packed(&operands).map_or(0, |p| p.pieces),
            (Action::Partial(split), _) => split.rows,
            (Action::Guard { .. } | Action::Join, _) => 1,
            (Action::Beside(rows), _) => *rows,
            _ => results.first().map_or(0, |y| y.shape.elements()),
        };
        let chunked = |part: &Part| part.chunk.is_some() || group.chunks == 1;
        let whole = matches!(call.action, Action::Partial(_)) && !call.operands.iter().all(chunked);
        if call.blocks * group.chunks != due || whole {
            return Err(broken("V4", at.row, "other blocks than those of its computation"));
        }
        Ok(())
    }

    fn may_fail(&mut self, at: At) -> Check {
        if self.changed {
            return Err(broken("V6", at.row, "it may fail when a state has changed"));
        }
        self.failing = Some(match self.failing {
            Some((level, only)) if level == at.level => {
                let only = only.filter(|(group, _)| *group == at.group);
                (level, only.map(|(group, tiles)| (group, tiles.max(at.tiles))))
            }
            _ => (at.level, Some((at.group, at.tiles))),
        });
        Ok(())
    }
}

/// Whether two buffers lie in the same bytes.
fn same_bytes(a: &Placed, b: &Placed) -> bool {
    a.base == b.base || (a.place == b.place && matches!(a.place, Place::Home(_)))
}
