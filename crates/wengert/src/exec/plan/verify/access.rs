//! Who reads and writes what, and when.

use super::{At, Check, History, In, LastRead, Used, Verifier, Written, broken};
use crate::exec::graph::{Home, Strides};
use crate::exec::place::Place;
use crate::exec::plan::{Group, Part, Placed};

impl Verifier<'_> {
    /// V2 and V3: that what a call reads is there, and complete.
    pub(super) fn read(&mut self, at: At, within: In<'_>, part: Part, strides: Option<&Strides>) -> Check {
        self.inside(at, within, part, strides)?;
        let Placed { place, base, len, .. } = *self.buffer(part.buffer, at)?;
        // Chunks of a part of an array are not those of the array.
        let own = part.chunk.is_some() && len == self.buffer(base, at)?.len;
        let chunked = own || within.0.chunks == 1 || len == 0;
        if self.gone(part.buffer) {
            return Err(broken("V5", at.row, "it reads what a result was written over"));
        }
        let history = &mut self.buffers[base];
        if !history.made {
            return match place {
                Place::Home(Home::State(k)) => self.read_old(at, k, chunked),
                Place::Home(_) => Ok(()),
                _ => Err(broken("V2", at.row, "nothing makes what is read")),
            };
        }
        let Some(Written { at: written, chunked: by_chunks }) = history.written else {
            return Err(broken("V2", at.row, "it reads what is made later"));
        };
        // In the group that makes it, a task finds its own chunks alone.
        let earlier = written.level < at.level && !matches!(place, Place::Task(_) | Place::Tile(_));
        let together = written.group == at.group
            && chunked
            && (by_chunks || within.0.chunks == 1)
            && (written.tiles == at.tiles || !matches!(place, Place::Tile(_)));
        if !(earlier || together) {
            let beside = written.level == at.level && written.group != at.group;
            return Err(broken(if beside { "V3" } else { "V2" }, at.row, "it reads what is not made yet"));
        }
        history.used(at);
        history.read = Some(LastRead::after(history.read, at, chunked));
        Ok(())
    }

    fn read_old(&mut self, at: At, state: usize, chunked: bool) -> Check {
        let old = self.states.get_mut(state).ok_or_else(|| broken("V4", at.row, "no such state"))?;
        if old.written {
            return Err(broken("V6", at.row, "it reads the old value of a state that is written already"));
        }
        old.read = Some(LastRead::after(old.read, at, chunked));
        Ok(())
    }

    /// V3 and V6: that nobody else has what a call writes, and that it is made once.
    pub(super) fn write(&mut self, at: At, within: In<'_>, part: Part, fresh: bool, once: bool) -> Check {
        self.inside(at, within, part, None)?;
        let group = within.0;
        let Placed { place, base, len, .. } = *self.buffer(part.buffer, at)?;
        let alone = group.chunks == 1 || len == 0;
        if part.chunk.is_none() && !alone && !self.partials.contains_key(&base) {
            return Err(broken("V3", at.row, "every tile writes all of it"));
        }
        match place {
            Place::Arena(_) | Place::Task(_) | Place::Tile(_) => {}
            Place::Home(Home::State(k)) => self.write_state(at, group, k)?,
            Place::Home(_) => return Err(broken("V7", at.row, "it writes to what never changes")),
        }
        let history = &mut self.buffers[base];
        if !history.read.is_none_or(|read| read.is_over(at, group)) {
            return Err(broken("V3", at.row, "what it writes is read beside it, or later"));
        }
        if fresh == history.written.is_some() && !matches!(place, Place::Home(_)) {
            return Err(broken(
                "V6",
                at.row,
                if fresh { "made twice" } else { "added to what is not there" },
            ));
        }
        if self.joined.contains_key(&base) {
            return Err(broken("V10", at.row, "it writes to what is joined"));
        }
        history.used(at);
        history.written = Some(Written { at, chunked: part.chunk.is_some() || len == 0 });
        history.once |= once;
        Ok(())
    }

    fn write_state(&mut self, at: At, group: &Group, k: usize) -> Check {
        let old = self.states.get_mut(k).ok_or_else(|| broken("V4", at.row, "no such state"))?;
        if std::mem::replace(&mut old.written, true) || !old.announced {
            return Err(broken("V6", at.row, "a state that is written twice, or unannounced"));
        }
        if !old.read.is_none_or(|read| read.is_over(at, group)) {
            return Err(broken("V6", at.row, "a state is written before its old value is read"));
        }
        let alone = |tiles: u32| group.tasks == 1 && (tiles < at.tiles || group.chunks == 1);
        let failing = self.failing.is_none_or(|(level, only)| {
            level < at.level || only.is_some_and(|(group, tiles)| group == at.group && alone(tiles))
        });
        self.changed = true;
        if failing { Ok(()) } else { Err(broken("V6", at.row, "a state is written beside what may fail")) }
    }
}

impl LastRead {
    /// What there is to know when something is read once more.
    fn after(last: Option<Self>, at: At, chunked: bool) -> Self {
        match last {
            // Two groups of a level read it: none of them may write it.
            Some(last) if last.level == at.level => Self {
                group: last.group.filter(|&group| group == at.group),
                tiles: last.tiles.max(at.tiles),
                chunked: last.chunked && chunked,
                ..last
            },
            _ => Self { level: at.level, group: Some(at.group), tiles: at.tiles, chunked },
        }
    }

    /// Whether what was read may be written: in a later level; or by the same group, in the same chunks, or by the only task
    /// and later.
    fn is_over(&self, at: At, group: &Group) -> bool {
        let alone = group.tasks == 1 && (self.tiles < at.tiles || group.chunks == 1);
        self.level < at.level || (self.group == Some(at.group) && (self.chunked || alone))
    }
}

impl History {
    fn used(&mut self, at: At) {
        let Used { last, .. } = self.used.get_or_insert(Used { first: at, last: at });
        *last = at;
    }
}
