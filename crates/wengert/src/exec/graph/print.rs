//! A graph as text.

use std::fmt;

use super::{Action, Graph, Home, Layout, Node};
use crate::exec::table::{BufferId, NodeId};
use crate::ir::Tape;

/// Buffers and nodes by name, for people. The names of states are those of the tape.
pub(in crate::exec) struct Listing<'a> {
    pub(in crate::exec) graph: &'a Graph,
    pub(in crate::exec) tape: &'a Tape,
}

impl Listing<'_> {
    fn state(&self, k: usize) -> &str {
        self.tape.states().get(k).map_or("?", |s| &s.name)
    }

    fn home(&self, f: &mut fmt::Formatter<'_>, home: Home) -> fmt::Result {
        match home {
            Home::Input(i) => write!(f, "input {i}"),
            Home::State(k) => write!(f, "state {}", self.state(k)),
            Home::Constant(c) | Home::Fill(c) => write!(f, "constant {c}"),
        }
    }

    fn operand(&self, f: &mut fmt::Formatter<'_>, buffer: BufferId) -> fmt::Result {
        match (self.graph.home(buffer), self.graph.maker(buffer)) {
            (Some(home), None) => self.home(f, home)?,
            _ => write!(f, "{}", self.graph.base(buffer))?,
        }
        write!(f, " {}", self.graph.buffers[buffer].ty)?;
        let part = self.graph.buffers[buffer].part;
        part.map_or(Ok(()), |(first, _)| write!(f, " from {first} on"))
    }

    /// One node: `n3 %2 matmul(b1 f32[2, 3], state w f32[3, 4] whole) -> b4 f32[2, 4]`.
    pub(in crate::exec) fn node(&self, f: &mut fmt::Formatter<'_>, id: NodeId) -> fmt::Result {
        let node: &Node = &self.graph.nodes[id];
        write!(f, "{id} %{} {}(", node.row, node.action.name())?;
        for (i, (_, source)) in node.reads().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            self.operand(f, source.buffer)?;
            f.write_str(if source.strides.is_some() { " rearranged" } else { "" })?;
            let whole = node.blocks > 1 && !source.chunked && !matches!(node.action, Action::Pack(..));
            f.write_str(if whole { " whole" } else { "" })?;
        }
        if let Some(packed) = node.packed {
            write!(f, ", packed {packed}")?;
        }
        f.write_str(")")?;
        for (i, &result) in node.results.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            } else {
                write!(f, " {}", node.mode)?;
            }
            write!(f, "{result} {}", self.graph.buffers[result].ty)?;
            if let Some(home) = self.graph.home(result) {
                f.write_str(" in ")?;
                self.home(f, home)?;
            }
            if self.graph.buffers[result].layout == Layout::Packed {
                f.write_str(" packed")?;
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.graph.order.iter().try_for_each(|&n| self.node(f, n))?;
        for (i, &buffer) in self.graph.outputs.iter().enumerate() {
            writeln!(f, "output {i}: {}", self.graph.base(buffer))?;
        }
        for &(k, buffer) in &self.graph.commits {
            writeln!(f, "state {}: {} at the end", self.state(k), self.graph.base(buffer))?;
        }
        Ok(())
    }
}
