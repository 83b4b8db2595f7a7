//! V1: whose memory is whose, and when.

use std::collections::BTreeMap;

use super::{Check, Verifier, broken};
use crate::exec::place::Place;
use crate::exec::plan::Placed;
use crate::sort::sort_by_key;

/// The row of a fault that is no single call's.
const NOWHERE: u32 = u32::MAX;
/// After all levels.
const FOREVER: u32 = u32::MAX;

impl Verifier<'_> {
    /// Has each whole live from the first use of any of its parts to the last, and outlive the run if any of them does; and
    /// its parts likewise.
    pub(super) fn wholes(&mut self) {
        for (&part, &whole) in &self.joined {
            let own = self.buffers[part];
            let history = &mut self.buffers[whole];
            history.live_out |= own.live_out;
            if let (Some(used), Some(own)) = (&mut history.used, own.used) {
                used.first = if own.first.call < used.first.call { own.first } else { used.first };
                used.last = if own.last.call > used.last.call { own.last } else { used.last };
            }
        }
        for (&part, &whole) in &self.joined {
            self.buffers[part].live_out = self.buffers[whole].live_out;
        }
    }

    /// V1: no two buffers that are alive together share a byte.
    pub(super) fn sweep(&mut self) -> Check {
        let plan = self.plan;
        let (mut arena, mut local): (Vec<Life>, Vec<Life>) = (Vec::new(), Vec::new());
        for (base, history) in self.buffers.iter() {
            let (Some(used), Some(written)) = (history.used, history.written) else { continue };
            // Parts of a whole live there.
            if self.joined.get(&base).is_some_and(|&whole| whole != base) {
                continue;
            }
            let Placed { place, ty, len, .. } = &plan.buffers[base];
            let bytes = len * ty.dtype.bytes();
            match *place {
                Place::Arena(offset) if bytes > 0 => {
                    let last = if history.live_out { FOREVER } else { used.last.level };
                    arena.push(Life { group: 0, first: used.first.level, last, offset, bytes });
                }
                Place::Task(offset) | Place::Tile(offset) if bytes > 0 => {
                    let tile = matches!(place, Place::Tile(_));
                    let group = &plan.groups[written.at.group as usize];
                    let held = if tile {
                        plan.loops[used.first.tiles as usize].tile.min(group.chunks)
                    } else {
                        group.chunks.div_ceil(group.tasks)
                    };
                    // What outlives a tile meets all calls of its loops, in another tile.
                    let (first, last) = if group.chunks > 1 && (!tile || history.once) {
                        let [from, to] = [used.first.tiles, used.last.tiles].map(|t| self.times[t as usize]);
                        (from.0, to.1)
                    } else {
                        (used.first.call, used.last.call)
                    };
                    let bytes = bytes / group.chunks * held;
                    local.push(Life { group: written.at.group, first, last, offset, bytes });
                }
                _ => {}
            }
        }
        disjoint(arena).and_then(|()| disjoint(local))
    }
}

/// The bytes of a buffer, and the time for which they are its own.
#[derive(Clone, Copy)]
struct Life {
    group: u32,
    first: u32,
    last: u32,
    offset: usize,
    bytes: usize,
}

fn disjoint(mut lives: Vec<Life>) -> Check {
    sort_by_key(&mut lives, |l| (u64::from(l.group), u64::from(l.first)));
    // By where they end: the memory of what is not needed any more until something else takes it.
    let mut there: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
    let mut group = 0;
    for Life { group: own, first, last, offset, bytes } in lives {
        if own != group {
            there.clear();
            group = own;
        }
        let end = offset + bytes;
        while let Some((&other, &(start, until))) = there.range(offset + 1..).next() {
            if start >= end {
                break;
            }
            if until >= first {
                return Err(broken("V1", NOWHERE, "two buffers in one place"));
            }
            there.remove(&other);
        }
        there.insert(end, (offset, last));
    }
    Ok(())
}
