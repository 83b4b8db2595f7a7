//! V4, V8 and V9: parts of buffers, and partial results.

use super::{At, Check, In, Verifier, broken};
use crate::exec::graph::{Constant, Home, Split, Strides, segment_end, segments};
use crate::exec::place::{Place, WORD};
use crate::exec::plan::{KernelCall, Part, Placed};
use crate::shape::TensorType;

impl Verifier<'_> {
    /// V4 and V8: that a part lies within its buffer, and the buffer in its memory.
    pub(super) fn inside(
        &self,
        at: At,
        (group, tiles): In<'_>,
        part: Part,
        strides: Option<&Strides>,
    ) -> Check {
        let frame = self.frame;
        let Placed { place, ty, first, len, base, .. } = self.buffer(part.buffer, at)?;
        let whole = self.buffer(*base, at)?;
        let (all, fail) = (whole.ty.shape.elements(), |what| Err(broken("V4", at.row, what)));
        let inside = first.checked_add(*len).is_some_and(|end| end <= all) && whole.len == all;
        if *place != whole.place || ty.dtype != whole.ty.dtype || !inside {
            return fail("a view of another buffer");
        }
        let elements = ty.shape.elements();
        match (part.chunk, strides) {
            (Some(chunk), None) if chunk.get() * group.chunks == *len && elements == *len => {}
            (None, None) if elements == *len => {}
            (None, Some(strides)) => {
                let reach = ty
                    .shape
                    .iter()
                    .zip(strides)
                    .map(|(size, stride)| size.saturating_sub(1).saturating_mul(*stride));
                if elements > 0 && reach.fold(0, usize::saturating_add) >= *len {
                    return fail("strides that leave their buffer");
                }
            }
            _ => return fail("parts that are not those of the buffer"),
        }
        let bytes = all * ty.dtype.bytes();
        let held = |chunks: usize| bytes / group.chunks * chunks;
        let bound = |found: TensorType| {
            let fits = found.dtype == ty.dtype && found.shape.elements() == all;
            if fits { Ok(()) } else { Err(broken("V8", at.row, "another length than that of what is bound")) }
        };
        let fits = match *place {
            Place::Arena(offset) => offset.is_multiple_of(WORD) && offset + bytes <= frame.arena,
            Place::Task(offset) | Place::Tile(offset) => {
                let tile = matches!(place, Place::Tile(_));
                let chunks = if tile { tiles.tile } else { group.chunks.div_ceil(group.tasks) };
                let part = if part.chunk.is_some() { held(chunks.min(group.chunks)) } else { bytes };
                offset.is_multiple_of(WORD) && offset + part <= frame.local
            }
            Place::Home(Home::Input(i)) => {
                return frame.inputs.get(i).map_or(fail("no such input"), |ty| bound(*ty));
            }
            Place::Home(Home::State(k)) => {
                return frame.states.get(k).map_or(fail("no such state"), |s| bound(s.ty));
            }
            Place::Home(Home::Constant(c)) => match frame.constants.get(c) {
                Some(Constant::Array(tensor)) => return bound(tensor.ty()),
                _ => return fail("no such constant"),
            },
            Place::Home(Home::Fill(c)) => match frame.constants.get(c) {
                Some(Constant::Fill { dtype, len: there, .. }) => {
                    *dtype == ty.dtype
                        && part.chunk.map_or(*len, |u| u.get() * tiles.tile.min(group.chunks)) <= *there
                }
                _ => false,
            },
        };
        if fits { Ok(()) } else { fail("a buffer that leaves its memory") }
    }

    pub(super) fn partial(
        &mut self,
        at: At,
        (group, tiles): In<'_>,
        call: &KernelCall,
        split: &Split,
    ) -> Check {
        let fail = |what| Err(broken("V9", at.row, what));
        let [part] = call.results.as_slice() else { return fail("partial results of several results") };
        let (count, buffer) = (segments(split.rows), self.buffer(part.buffer, at)?);
        if buffer.len != count * split.ty.shape.elements() || buffer.ty.dtype != split.ty.dtype {
            return fail("partial results that are not those of the reduction");
        }
        let base = buffer.base;
        if group.chunks > 1 {
            let longest = segment_end(split.rows, 0).max(split.rows.div_ceil(count));
            let chunks = tiles.tile.is_multiple_of(split.chunk) || tiles.tile >= longest;
            let segments = tiles.splits && count.is_multiple_of(group.tasks);
            if group.chunks != split.rows || !segments || !chunks {
                return fail("a partial result that two tasks or tiles make");
            }
        }
        self.partials.insert(base, count);
        Ok(())
    }

    pub(super) fn combine(&mut self, at: At, call: &KernelCall) -> Check {
        let fail = |what| Err(broken("V9", at.row, what));
        let ([from], [to]) = (call.operands.as_slice(), call.results.as_slice()) else {
            return fail("it combines other results than those of one reduction");
        };
        let Placed { len: all, base, .. } = *self.buffer(from.buffer, at)?;
        let len = self.buffer(to.buffer, at)?.len;
        match self.partials.remove(&base) {
            Some(count) if count * len == all && from.chunk.is_none() => Ok(()),
            _ => fail("partial results that are not combined once, all of them"),
        }
    }
}
