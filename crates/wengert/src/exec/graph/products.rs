//! Products of many steps as one: of the rows of an array by the same matrix, and sums of products such as the gradient of weights that every
//! step in time uses. A large product runs at the speed of its kernel, many of few rows wait for their ends.
//!
//! It rounds: sums are added in another order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::alias::given_up;
use super::join::joined;
use super::{Action, Buffer, Computation, Graph, Node, SMALL, Source};
use crate::error::ErrorKind;
use crate::exec::table::{BufferId, NodeId, Table};
use crate::ir::{Contraction, Form, Primitive};
use crate::shape::TensorType;
use crate::sort::sort_by_key;

/// Products that are worth being one, at least.
const LEAST: usize = 4;
/// Rows of each, at most: with more they are as fast alone.
const ROWS: usize = 128;

/// Makes products one that are of the rows of one array, and those that are terms of one sum. Whether what is left can be put in order: not
/// where one of two sums shares what is joined for the other, and that wants the result of the first.
pub(super) fn join(graph: &mut Graph) -> Result<bool, ErrorKind> {
    let few = graph.nodes.iter().filter(|(_, node)| product(node).is_some()).count() < LEAST;
    // What a guard protects must stay behind it.
    let guarded = graph.nodes.iter().any(|(_, node)| matches!(node.action, Action::Guard { .. }));
    if few || guarded {
        return Ok(true);
    }
    let gone = Table::alike(&graph.nodes, false);
    let mut joining = Joining { graph, gone, wholes: Vec::new(), places: HashMap::new() };
    joining.rows()?;
    joining.sums()?;
    Ok(joining.order().is_some())
}

/// What a node multiplies, if that is two arrays that are read as they lie.
fn product(node: &Node) -> Option<(&Arc<Computation>, Contraction)> {
    let Action::Compute(what) = &node.action else { return None };
    let Form::Contract(names) = what.form else { return None };
    node.operands.iter().all(|s| s.strides.is_none()).then_some((what, names))
}

struct Joining<'a> {
    graph: &'a mut Graph,
    /// The nodes that are done for by another.
    gone: Table<NodeId, bool>,
    /// What was joined, and where each part is among its parts.
    wholes: Vec<(BufferId, Vec<BufferId>)>,
    places: HashMap<BufferId, (usize, usize)>,
}

/// A sum: the nodes that add, the last one first, and what they add up.
struct Sum {
    nodes: Vec<NodeId>,
    terms: Vec<BufferId>,
}

/// What is alike of products that are one: names, and the types of operands but for the number of rows.
type Kind = (Contraction, [TensorType; 2]);

impl Joining<'_> {
    fn ty(&self, buffer: BufferId) -> TensorType {
        *self.graph.buffers[buffer].ty
    }

    /// The products of rows that lie one behind the other by the same matrix.
    fn rows(&mut self) -> Result<(), ErrorKind> {
        // What outlives the run is no part of something.
        let mut kept = Table::alike(&self.graph.buffers, false);
        for &buffer in self.graph.outputs.iter().chain(self.graph.updates.iter().map(|(_, b)| b)) {
            kept[self.graph.buffers[buffer].of] = true;
        }
        let mut alike: HashMap<(Contraction, BufferId, BufferId), Vec<(usize, NodeId)>> = HashMap::new();
        let mut found = Vec::new();
        for &n in &self.graph.order {
            let node = &self.graph.nodes[n];
            let Some((_, names)) = product(node) else { continue };
            let (lhs, rhs) = (node.operands[0].buffer, node.operands[1].buffer);
            let first = names.lhs.first().filter(|first| !names.rhs.contains(first));
            let Buffer { of, part: Some((at, _)), ty, .. } = &self.graph.buffers[lhs] else { continue };
            let few = ty.shape.first().is_some_and(|&rows| rows <= ROWS);
            if first.is_some() && first == names.out.first() && few && !kept[node.results[0]] {
                let members = alike.entry((names, *of, rhs)).or_insert_with(|| {
                    found.push((names, *of, rhs));
                    Vec::new()
                });
                members.push((*at, n));
            }
        }
        let mut views = HashMap::new();
        for key in found {
            let mut members = alike.remove(&key).unwrap_or_default();
            sort_by_key(&mut members, |(at, _)| (at as u64, 0));
            let lhs = |graph: &Graph, n: NodeId| graph.nodes[n].operands[0].buffer;
            let follows = |a: &(usize, NodeId), b: &(usize, NodeId)| {
                adjacent(self.graph, lhs(self.graph, a.1), lhs(self.graph, b.1))
            };
            let runs: Vec<Vec<NodeId>> = members
                .chunk_by(follows)
                .filter(|run| run.len() >= LEAST)
                .map(|run| run.iter().map(|(_, n)| *n).collect())
                .collect();
            for run in runs {
                let parts: Vec<BufferId> = run.iter().map(|&n| lhs(self.graph, n)).collect();
                let whole = self.whole(&parts)?;
                let results: Vec<BufferId> = run.iter().map(|&n| self.graph.nodes[n].results[0]).collect();
                let ty = self.stacked(&results);
                let all = self.product(run[0], [whole, key.2], ty)?;
                let mut first = 0;
                for (&n, &result) in run.iter().zip(&results) {
                    views.insert(result, (all, first));
                    first += self.ty(result).shape.elements();
                    self.gone[n] = true;
                }
            }
        }
        for buffer in self.graph.buffers.values_mut() {
            let Buffer { of, base, part, ty, .. } = buffer;
            if let Some(&(all, first)) = views.get(of) {
                let (own, len) = part.unwrap_or((0, ty.shape.elements()));
                (*of, *base, *part) = (all, all, Some((first + own, len)));
            }
        }
        Ok(())
    }

    /// The sums of products that sum over their first axes.
    fn sums(&mut self) -> Result<(), ErrorKind> {
        let uses = self.graph.uses();
        let mut sums = found(self.graph, &uses);
        // Of which sum, and which products.
        let mut all: Vec<(usize, Vec<NodeId>)> = Vec::new();
        for (at, sum) in sums.iter().enumerate() {
            let mut kinds: HashMap<Kind, usize> = HashMap::new();
            for &term in &sum.terms {
                let Some(n) = alone(self.graph, &uses, term) else { continue };
                let Some(kind) = summed(self.graph, n) else { continue };
                let known = *kinds.entry(kind).or_insert(all.len());
                if known == all.len() {
                    all.push((at, Vec::new()));
                }
                all[known].1.push(n);
            }
        }
        all.retain(|(_, members)| self.worth(members));
        // Where parts of one array, or more of them, are multiplied, they say in which order others are joined.
        let lies = |members: &[NodeId]| (0..2).any(|o| self.keys(members, o).is_some());
        let mut order: Vec<(usize, u64)> = all
            .iter()
            .enumerate()
            .map(|(i, (_, members))| (i, u64::MAX - members.len() as u64 - (u64::from(lies(members)) << 32)))
            .collect();
        sort_by_key(&mut order, |(_, key)| (key, 0));
        for (i, _) in order {
            let (at, members) = &all[i];
            let product = self.one(members)?;
            let made: HashSet<BufferId> = members.iter().map(|&n| self.graph.nodes[n].results[0]).collect();
            let terms = &mut sums[*at].terms;
            terms.retain(|term| !made.contains(term));
            terms.push(product);
            members.iter().for_each(|&n| self.gone[n] = true);
        }
        let mut changed: Vec<usize> = all.iter().map(|(at, _)| *at).collect();
        changed.dedup();
        for at in changed {
            self.add_up(&sums[at]);
        }
        Ok(())
    }

    /// Whether products are better made one: many, of what can be joined without being copied.
    fn worth(&self, members: &[NodeId]) -> bool {
        let bytes = |n: &NodeId, o: usize| self.graph.bytes(self.graph.nodes[*n].operands[o].buffer);
        let side = |o: usize| {
            let words = members.iter().all(|n| bytes(n, o).is_multiple_of(8));
            words && members.iter().map(|n| bytes(n, o)).sum::<usize>() > SMALL
        };
        members.len() >= LEAST && side(0) && side(1)
    }

    /// One product for several that are terms of a sum: what it makes.
    fn one(&mut self, members: &[NodeId]) -> Result<BufferId, ErrorKind> {
        let mut members = members.to_vec();
        if let Some(keys) = (0..2).find_map(|o| self.keys(&members, o)) {
            let mut sorted: Vec<(usize, NodeId)> = keys.into_iter().zip(members).collect();
            sort_by_key(&mut sorted, |(key, _)| (key as u64, 0));
            members = sorted.into_iter().map(|(_, n)| n).collect();
        }
        let ty = self.ty(self.graph.nodes[members[0]].results[0]);
        let mut operands = [members[0]; 2].map(|n| self.graph.nodes[n].operands[0].buffer);
        for (o, operand) in operands.iter_mut().enumerate() {
            let parts: Vec<BufferId> =
                members.iter().map(|&n| self.graph.nodes[n].operands[o].buffer).collect();
            *operand = self.whole(&parts)?;
        }
        self.product(members[0], operands, ty)
    }

    /// In which order these operands of some products lie in one array, or were joined.
    fn keys(&self, members: &[NodeId], o: usize) -> Option<Vec<usize>> {
        let key = |n: &NodeId| {
            let operand = self.graph.nodes[*n].operands[o].buffer;
            let Buffer { of, part, .. } = &self.graph.buffers[operand];
            match (part, self.places.get(&operand)) {
                (Some((first, _)), _) => Some((*of, *first)),
                (None, Some(&(whole, at))) => Some((self.wholes[whole].0, at)),
                _ => None,
            }
        };
        let keys: Vec<(BufferId, usize)> = members.iter().map(key).collect::<Option<_>>()?;
        keys.iter().all(|(of, _)| *of == keys[0].0).then(|| keys.into_iter().map(|(_, key)| key).collect())
    }

    /// The sum of terms that are fewer than there were.
    fn add_up(&mut self, sum: &Sum) {
        let (Some((&last, rest)), root) = (sum.terms.split_last(), sum.nodes[0]) else { return };
        sum.nodes.iter().skip(rest.len()).for_each(|&n| self.gone[n] = true);
        if rest.is_empty() {
            let result = self.graph.nodes[root].results[0];
            if let Some(product) = self.graph.maker(last) {
                self.graph.nodes[product].results = std::iter::once(result).collect();
                self.graph.buffers[result].maker = Some(product);
            }
            return;
        }
        let mut so_far = last;
        for (&term, &n) in rest.iter().rev().zip(sum.nodes[..rest.len()].iter().rev()) {
            let source = |buffer| Source { buffer, strides: None, chunked: true };
            self.graph.nodes[n].operands = [so_far, term].map(source).into_iter().collect();
            so_far = self.graph.nodes[n].results[0];
        }
    }

    /// Arrays one behind the other as one: where they lie so already, or were joined, a view of that.
    fn whole(&mut self, parts: &[BufferId]) -> Result<BufferId, ErrorKind> {
        let ty = self.stacked(parts);
        let len = ty.shape.elements();
        let view =
            |of: &Buffer, first: usize| Buffer { ty: Arc::new(ty), part: Some((first, len)), ..of.clone() };
        if parts.windows(2).all(|pair| adjacent(self.graph, pair[0], pair[1])) {
            let of = &self.graph.buffers[parts[0]];
            return self.graph.buffers.push(view(of, of.part.map_or(0, |(first, _)| first)));
        }
        if let Some(&(known, at)) = self.places.get(&parts[0]) {
            let (whole, others) = &self.wholes[known];
            if others[at..].starts_with(parts) {
                let before = others[..at].iter().map(|&part| self.ty(part).shape.elements()).sum();
                return self.graph.buffers.push(view(&self.graph.buffers[*whole], before));
            }
        }
        let row =
            parts.iter().filter_map(|&part| self.graph.maker(part)).map(|n| self.graph.nodes[n].row).max();
        let maker = self.graph.next();
        let whole = self.graph.buffer(Arc::new(ty), Some(maker))?;
        let node = joined(row.unwrap_or(0), parts.iter().copied(), whole, &ty);
        self.add(node)?;
        for (at, &part) in parts.iter().enumerate() {
            self.places.insert(part, (self.wholes.len(), at));
        }
        self.wholes.push((whole, parts.to_vec()));
        Ok(whole)
    }

    /// The type of arrays one behind the other along their first axis.
    fn stacked(&self, parts: &[BufferId]) -> TensorType {
        let ty = self.ty(parts[0]);
        let rows = parts.iter().map(|&part| self.ty(part).shape[0]).sum();
        TensorType::new(ty.dtype, ty.shape.with(0, rows))
    }

    /// The product of two arrays as a node multiplies its own.
    fn product(&mut self, like: NodeId, x: [BufferId; 2], ty: TensorType) -> Result<BufferId, ErrorKind> {
        let Node { action, row, infallible, .. } = &self.graph.nodes[like];
        let (action, row, infallible) = (action.clone(), *row, *infallible);
        let Some(what) = action.computation().cloned() else { return Ok(x[0]) };
        let (types, maker) = (x.map(|x| self.ty(x)), self.graph.next());
        let result = self.graph.buffer(Arc::new(ty), Some(maker))?;
        let source = |(o, buffer): (usize, BufferId)| Source {
            buffer,
            strides: None,
            chunked: what.chunked(o, &types, &[ty]),
        };
        let node = Node {
            operands: x.into_iter().enumerate().map(source).collect(),
            blocks: what.blocks(&types, &[ty]),
            work: what.work(&types, &[ty]),
            infallible,
            action,
            ..Node::copy(row, result, result, &ty)
        };
        self.add(node)?;
        Ok(result)
    }

    fn add(&mut self, node: Node) -> Result<(), ErrorKind> {
        let n = self.graph.nodes.push(node)?;
        self.gone.push(false)?;
        self.graph.order.push(n);
        Ok(())
    }

    /// Puts every node behind those whose results it reads, else in the order that they had; `None` where they read in a circle.
    fn order(&mut self) -> Option<()> {
        let mut done = self.gone.clone();
        let mut waits = Table::alike(&self.gone, false);
        let mut order = Vec::with_capacity(self.graph.order.len());
        let mut open: Vec<NodeId> = Vec::new();
        for &n in &self.graph.order {
            open.push(n);
            while let Some(&next) = open.last() {
                if done[next] || waits[next] {
                    open.pop();
                    if !std::mem::replace(&mut done[next], true) {
                        order.push(next);
                    }
                    continue;
                }
                waits[next] = true;
                let makers = self.graph.nodes[next].operands.iter().rev();
                for maker in makers.filter_map(|s| self.graph.maker(s.buffer)).filter(|&maker| !done[maker]) {
                    if waits[maker] {
                        return None;
                    }
                    open.push(maker);
                }
            }
        }
        self.graph.order = order;
        Some(())
    }
}

/// Whether a part of an array begins where another ends.
fn adjacent(graph: &Graph, a: BufferId, b: BufferId) -> bool {
    let (a, b) = (&graph.buffers[a], &graph.buffers[b]);
    let (Some((first, len)), Some((next, _))) = (a.part, b.part) else { return false };
    a.of == b.of && first + len == next && a.ty.dtype == b.ty.dtype
}

/// What makes a buffer that one node reads.
fn alone(graph: &Graph, uses: &Table<BufferId, u32>, buffer: BufferId) -> Option<NodeId> {
    graph.maker(buffer).filter(|_| given_up(graph, uses[buffer], buffer))
}

/// The sums of many terms that no other sum has as a part.
fn found(graph: &Graph, uses: &Table<BufferId, u32>) -> Vec<Sum> {
    let adds = |n: NodeId| graph.nodes[n].action.computation().is_some_and(|what| what.is(Primitive::Add));
    let part = |s: &Source| alone(graph, uses, s.buffer).filter(|&n| adds(n));
    let mut inner = Table::alike(&graph.nodes, false);
    for &n in graph.order.iter().filter(|&&n| adds(n)) {
        graph.nodes[n].operands.iter().filter_map(part).for_each(|maker| inner[maker] = true);
    }
    let roots = graph.order.iter().filter(|&&n| adds(n) && !inner[n]);
    let sum = |&root: &NodeId| {
        let mut sum = Sum { nodes: Vec::new(), terms: Vec::new() };
        let mut open = vec![root];
        while let Some(n) = open.pop() {
            sum.nodes.push(n);
            for source in &graph.nodes[n].operands {
                match part(source) {
                    Some(maker) => open.push(maker),
                    None => sum.terms.push(source.buffer),
                }
            }
        }
        sum
    };
    roots.map(sum).filter(|sum| sum.terms.len() >= LEAST).collect()
}

/// The kind of a product that sums over the first axes of both operands, of not too many rows.
fn summed(graph: &Graph, n: NodeId) -> Option<Kind> {
    let node = &graph.nodes[n];
    let (_, names) = product(node)?;
    let first = names.lhs.first().filter(|first| names.rhs.first() == Some(first))?;
    let types: SmallVec<[TensorType; 2]> =
        node.operands.iter().map(|s| *graph.buffers[s.buffer].ty).collect();
    let few = types.iter().all(|ty| ty.shape.first().is_some_and(|&rows| rows <= ROWS));
    let row = |ty: &TensorType| TensorType::new(ty.dtype, ty.shape.with(0, 1));
    (few && !names.out.contains(first)).then(|| (names, [row(&types[0]), row(&types[1])]))
}
