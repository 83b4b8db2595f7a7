//! Who reads and writes what, and when.

use super::{At, Check, History, In, LastRead, Used, Verifier, Written, broken};
use crate::exec::graph::{Home, Strides};
use crate::exec::place::Place;
use crate::exec::plan::{Group, Part, Placed};

impl Verifier<'_> {
    /// V2 and V3: that what a call reads is there, and complete.
    pub(super) fn read(&mut self, at: At, home: In<'_>, part: Part, strides: Option<&Strides>) -> Check {
        self.inside(at, home, part, strides)?;
        let Placed { place, base, len, .. } = *self.buffer(part.buffer, at)?;
        let chunked = part.chunk.is_some() || home.0.chunks == 1 || len == 0;
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
            && (by_chunks || home.0.chunks == 1)
            && (written.tiles == at.tiles || !matches!(place, Place::Tile(_)));
        if !(earlier || together) {
            let beside = written.level == at.level && written.group != at.group;
            return Err(broken(if beside { "V3" } else { "V2" }, at.row, "it reads what is not made yet"));
        }
        history.used(at);
        history.read_whole |= !chunked;
        Ok(())
    }

    fn read_old(&mut self, at: At, state: usize, chunked: bool) -> Check {
        let old = self.states.get_mut(state).ok_or_else(|| broken("V4", at.row, "no such state"))?;
        if old.written {
            return Err(broken("V6", at.row, "it reads the old value of a state that is written already"));
        }
        let now = LastRead { level: at.level, group: Some(at.group), tiles: at.tiles, chunked };
        old.read = Some(match old.read {
            // Two groups of a level read it: none of them may write it.
            Some(last) if last.level == at.level => LastRead {
                group: last.group.filter(|&group| group == at.group),
                tiles: last.tiles.max(at.tiles),
                chunked: last.chunked && chunked,
                ..last
            },
            _ => now,
        });
        Ok(())
    }

    /// V3 and V6: that nobody else has what a call writes, and that it is made once.
    pub(super) fn write(&mut self, at: At, home: In<'_>, part: Part, fresh: bool, once: bool) -> Check {
        self.inside(at, home, part, None)?;
        let group = home.0;
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
        if let Some(Used { last, .. }) = history.used.filter(|used| used.last.level == at.level) {
            if last.group != at.group {
                return Err(broken("V3", at.row, "another group of the level uses what it writes"));
            }
            if history.read_whole && group.tasks > 1 {
                return Err(broken("V3", at.row, "another task reads what it writes"));
            }
        }
        if fresh == history.written.is_some() && !matches!(place, Place::Home(_)) {
            return Err(broken(
                "V6",
                at.row,
                if fresh { "made twice" } else { "added to what is not there" },
            ));
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
        // In the same level: by the same group, in the same chunks, or by the only task and before.
        let alone = |tiles: u32| group.tasks == 1 && (tiles < at.tiles || group.chunks == 1);
        let after = |level: u32, beside: bool| level < at.level || (level == at.level && beside);
        let read = old.read.is_none_or(|read| {
            let beside = read.group == Some(at.group) && (read.chunked || alone(read.tiles));
            after(read.level, beside)
        });
        if !read {
            return Err(broken("V6", at.row, "a state is written before its old value is read"));
        }
        let failing = self.failing.is_none_or(|(level, only)| {
            after(level, only.is_some_and(|(group, tiles)| group == at.group && alone(tiles)))
        });
        self.changed = true;
        if failing { Ok(()) } else { Err(broken("V6", at.row, "a state is written beside what may fail")) }
    }
}

impl History {
    fn used(&mut self, at: At) {
        let Used { last, .. } = self.used.get_or_insert(Used { first: at, last: at });
        self.read_whole &= last.level == at.level;
        *last = at;
    }
}
