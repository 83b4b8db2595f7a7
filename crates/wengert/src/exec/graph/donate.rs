//! Writes next values into the memory of their states.
//!
//! A node may write a state in place once nothing reads the old value any more and nothing can fail any more. Whether there
//! is an order of the nodes in which that holds follows from the graph alone; this pass finds it, and later lowerings keep it, as
//! they keep that what is read was written.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Action, Begun, Graph, Home, SMALL, WriteMode};
use crate::error::ErrorKind;
use crate::exec::table::{BufferId, NodeId, Table};
use crate::sort::{sort, sort_by_key};

/// What a node writes to a state.
#[derive(Clone, Copy)]
struct Write {
    state: usize,
    next: BufferId,
}

/// Has next values written into their states, directly or by a copy, where some order of the nodes allows it; what is left is
/// copied when all else is done.
pub(super) fn donate(graph: &mut Graph) -> Result<(), ErrorKind> {
    if graph.updates.is_empty() {
        return Ok(());
    }
    let uses = graph.uses();
    let updates = std::mem::take(&mut graph.updates);
    let mut keepers: HashMap<BufferId, u32> = HashMap::new();
    for &buffer in graph.outputs.iter().chain(updates.iter().map(|(_, b)| b)) {
        *keepers.entry(graph.base(buffer)).or_default() += 1;
    }
    let mut writes: HashMap<NodeId, Write> = HashMap::new();
    let mut begins: HashMap<NodeId, NodeId> = HashMap::new();
    for (state, next) in updates {
        let made = || ErrorKind::Malformed("a next value that no node makes".into());
        let maker = graph.maker(next).ok_or_else(made)?;
        // Maps of small arrays are fastest when their results lie in the arena.
        let only = uses.get(graph.base(next)) == Some(&1) || graph.bytes(next) > SMALL;
        let only = only && !writes.contains_key(&maker);
        let directly = only && keepers.get(&next) == Some(&1) && may_write(graph, maker, next, state);
        let writer = if directly {
            graph.buffers[next].home = Some(Home::State(state));
            maker
        } else {
            if let (WriteMode::Accumulate { on: Begun::State(state), .. }, None) =
                (graph.nodes[maker].mode, begins.get(&maker))
            {
                begins.insert(maker, begin(graph, maker, next, state)?);
            }
            let (copy, to) = graph.copy(graph.nodes[maker].row, next)?;
            graph.buffers[to].home = Some(Home::State(state));
            graph.order.push(copy);
            copy
        };
        writes.insert(writer, Write { state, next });
    }
    if !begins.is_empty() {
        let order = std::mem::take(&mut graph.order);
        graph.order =
            order.into_iter().flat_map(|n| begins.get(&n).copied().into_iter().chain([n])).collect();
    }
    Order::new(graph, writes, &begins).find()
}

/// A node that copies the old value of a state to where the next one is to be added to it.
fn begin(graph: &mut Graph, maker: NodeId, next: BufferId, state: usize) -> Result<NodeId, ErrorKind> {
    let (row, ty) = (graph.nodes[maker].row, graph.buffers[next].ty.clone());
    let old = graph.buffer(ty, None)?;
    graph.buffers[old].home = Some(Home::State(state));
    let (copy, begun) = graph.copy(row, old)?;
    graph.buffers[next].base = begun;
    Ok(copy)
}

/// Whether a node may write the next value of a state where the old one lies.
fn may_write(graph: &Graph, maker: NodeId, next: BufferId, state: usize) -> bool {
    let node = &graph.nodes[maker];
    let old = || node.operands.iter().filter(|s| graph.is_old(s.buffer, state));
    // Other elements than those that are written.
    let part = old().any(|s| graph.buffers[s.buffer].part.is_some());
    let reads_old = old().next().is_some();
    let elsewhere = matches!(node.mode, WriteMode::Accumulate { on, .. } if on != Begun::State(state));
    let own = graph.base(next) == next && node.results.contains(&next);
    let written = !matches!(node.action, Action::Join);
    node.infallible && own && written && !elsewhere && (!reads_old || (node.action.in_place() && !part))
}

/// An order of nodes in the making.
struct Order<'a> {
    graph: &'a mut Graph,
    writes: HashMap<NodeId, Write>,
    position: Table<NodeId, u32>,
    /// How much of what must come before each node is left, and what waits for it.
    waits: Table<NodeId, u32>,
    followers: Table<NodeId, Vec<NodeId>>,
    /// The nodes that may come next, by the position that they had.
    ready: BinaryHeap<Reverse<(u32, NodeId)>>,
    /// Nodes left that may fail: writes wait for all of them.
    fallible: usize,
    order: Vec<NodeId>,
}

impl<'a> Order<'a> {
    fn new(graph: &'a mut Graph, writes: HashMap<NodeId, Write>, begins: &HashMap<NodeId, NodeId>) -> Self {
        let mut position = Table::alike(&graph.nodes, 0);
        for (at, &n) in (0..).zip(&graph.order) {
            position[n] = at;
        }
        let mut found = Self {
            writes,
            position,
            waits: Table::alike(&graph.nodes, 0),
            followers: Table::alike(&graph.nodes, Vec::new()),
            ready: BinaryHeap::new(),
            fallible: 0,
            order: Vec::with_capacity(graph.order.len()),
            graph,
        };
        begins.iter().for_each(|(&maker, &copy)| found.after(maker, copy));
        found.edges();
        found
    }

    /// Who waits for whom: readers for makers, writes for readers of the old value.
    fn edges(&mut self) {
        let written: HashMap<usize, NodeId> = self.writes.iter().map(|(&n, w)| (w.state, n)).collect();
        for at in 0..self.graph.order.len() {
            let n = self.graph.order[at];
            self.fallible += usize::from(!self.graph.nodes[n].infallible);
            if let WriteMode::Accumulate { on: Begun::Buffer(_), .. } = self.graph.nodes[n].mode
                && let Some(begun) = self.graph.begun(&self.graph.nodes[n])
            {
                self.after(n, begun);
            }
            for o in 0..self.graph.nodes[n].operands.len() {
                let buffer = self.graph.nodes[n].operands[o].buffer;
                if let Some(maker) = self.graph.maker(buffer) {
                    self.after(n, maker);
                } else if let Some(&writer) =
                    self.graph.old_state(buffer).and_then(|state| written.get(&state))
                    && writer != n
                {
                    self.after(writer, n);
                }
            }
        }
        let waits = u32::from(self.fallible > 0);
        for &writer in self.writes.keys() {
            self.waits[writer] += waits;
        }
        for &n in &self.graph.order {
            if self.waits[n] == 0 {
                self.ready.push(Reverse((self.position[n], n)));
            }
        }
    }

    fn after(&mut self, n: NodeId, before: NodeId) {
        self.waits[n] += 1;
        self.followers[before].push(n);
    }

    /// Puts every node behind what it waits for, else in the order that they had. Where writes wait in a circle, the first of
    /// them that others wait for is given up.
    fn find(mut self) -> Result<(), ErrorKind> {
        let mut writers: Vec<NodeId> = self.writes.keys().copied().collect();
        sort_by_key(&mut writers, |n| (self.position[n] as u64, 0));
        let (mut left, mut at) = (self.graph.order.len(), 0);
        while left > 0 {
            left -= 1;
            if let Some(Reverse((_, n))) = self.ready.pop() {
                self.place(n);
                continue;
            }
            // Those passed over are placed, given up or followed by none, and stay so.
            let circle = |n: NodeId| self.waits[n] > 0 && !self.followers[n].is_empty();
            while writers.get(at).is_some_and(|&n| !circle(n)) {
                at += 1;
            }
            let write = writers.get(at).and_then(|&n| Some((n, self.writes.remove(&n)?)));
            let (n, write) =
                write.ok_or_else(|| ErrorKind::Malformed("rows that read in a circle".into()))?;
            at += 1;
            self.give_up(n, write)?;
        }
        let mut donated: Vec<usize> = self.writes.values().map(|w| w.state).collect();
        sort(&mut donated);
        self.graph.donated = donated;
        self.graph.order = self.order;
        Ok(())
    }

    fn place(&mut self, n: NodeId) {
        self.order.push(n);
        for follower in std::mem::take(&mut self.followers[n]) {
            self.release(follower);
        }
        if !self.graph.nodes[n].infallible {
            self.fallible -= 1;
            if self.fallible == 0 {
                let writers: Vec<NodeId> = self.writes.keys().copied().collect();
                writers.into_iter().for_each(|writer| self.release(writer));
            }
        }
    }

    fn release(&mut self, n: NodeId) {
        // One that was given up waits for nothing any more.
        if self.waits[n] == 1 {
            self.ready.push(Reverse((self.position[n], n)));
        }
        self.waits[n] = self.waits[n].saturating_sub(1);
    }

    /// Has the next value that a node makes copied at the end instead: it is no copy itself, for those have no followers.
    fn give_up(&mut self, n: NodeId, Write { state, next }: Write) -> Result<(), ErrorKind> {
        self.graph.commits.push((state, next));
        self.graph.buffers[next].home = None;
        self.waits[n] = 0;
        if let WriteMode::Accumulate { on: Begun::State(state), .. } = self.graph.nodes[n].mode {
            let copy = begin(self.graph, n, next, state)?;
            self.order.push(copy);
        }
        self.place(n);
        Ok(())
    }
}
