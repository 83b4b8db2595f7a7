//! V1: whose memory is whose, and when.

use std::collections::BTreeMap;

use super::super::plan::{Place, Slot};
use super::{Check, NOWHERE, ONCE, UNUSED, Verifier, broken};

impl Verifier<'_> {
    /// V1: no two arrays that are alive together share a byte.
    pub(super) fn sweep(&mut self) -> Check {
        let plan = self.plan;
        let (mut arena, mut local): (Vec<Life>, Vec<Life>) = (Vec::new(), Vec::new());
        for (root, array) in self.arrays.iter().enumerate().filter(|(_, a)| a.first != UNUSED) {
            let Slot { place, ty, len, .. } = &plan.slots[root];
            let bytes = len * ty.dtype.bytes();
            match *place {
                Place::Arena(offset) if bytes > 0 => {
                    arena.push(Life { stage: 0, first: array.rounds.0, last: array.rounds.1, offset, bytes });
                }
                Place::Local { offset, tile } if bytes > 0 => {
                    let stage = &plan.stages[array.stage as usize];
                    let pass = &plan.passes[array.passes.0 as usize];
                    let units =
                        if tile { pass.tile.min(stage.units) } else { stage.units.div_ceil(stage.panels) };
                    // What outlives a tile meets all steps of its passes, in another tile.
                    let tiles = stage.units > 1 && (!tile || array.state & ONCE != 0);
                    let (first, last) = if tiles {
                        (self.times[array.passes.0 as usize].0, self.times[array.passes.1 as usize].1)
                    } else {
                        (array.first, array.last)
                    };
                    let bytes = bytes / stage.units * units;
                    local.push(Life { stage: array.stage, first, last, offset, bytes });
                }
                _ => {}
            }
        }
        disjoint(arena).and_then(|()| disjoint(local))
    }
}

/// The bytes of an array, and the time for which they are its own.
struct Life {
    stage: u32,
    first: u32,
    last: u32,
    offset: usize,
    bytes: usize,
}

fn disjoint(mut lives: Vec<Life>) -> Check {
    lives.sort_unstable_by_key(|l| (l.stage, l.first));
    // By where they end: the memory of what is not needed any more until something else takes it.
    let mut there: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
    let mut stage = 0;
    for Life { stage: own, first, last, offset, bytes } in lives {
        if own != stage {
            there.clear();
            stage = own;
        }
        let end = offset + bytes;
        while let Some((&other, &(start, until))) = there.range(offset + 1..).next() {
            if start >= end {
                break;
            }
            if until >= first {
                return Err(broken("V1", NOWHERE, "two arrays in one place"));
            }
            there.remove(&other);
        }
        there.insert(end, (offset, last));
    }
    Ok(())
}
