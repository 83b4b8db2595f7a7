//! A schedule as text.

use std::fmt;

use super::Schedule;
use crate::exec::graph;

/// Levels, their fusion groups and tile loops, for people.
pub(in crate::exec) struct Listing<'a> {
    pub(in crate::exec) graph: graph::Listing<'a>,
    pub(in crate::exec) schedule: &'a Schedule,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (l, level) in self.schedule.levels.iter().enumerate() {
            writeln!(f, "level {l}")?;
            for group in level {
                writeln!(f, "  group: chunks {}, tasks {}", group.chunks, group.tasks)?;
                for tiles in &group.loops {
                    writeln!(f, "    tiles of {}", tiles.tile)?;
                    for &n in &group.nodes[tiles.nodes.clone()] {
                        f.write_str("      ")?;
                        self.graph.node(f, n)?;
                    }
                }
            }
        }
        Ok(())
    }
}
