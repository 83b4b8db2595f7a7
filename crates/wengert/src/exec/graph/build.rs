//! From the rows of a tape to buffers and nodes.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::steps::{AllSteps, Steps};
use super::views::{Forms, Views, live, part, reshaped, views};
use super::{Action, Buffer, Computations, Constant, Graph, Home, Node, Source, WriteMode};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::exec::table::{BufferId, Id, Table};
use crate::ir::{Control, Leaf, Op, Row, Scalar, Tape, Value};
use crate::shape::{Shape, TensorType};

/// The nodes of all rows that something depends on, in their order.
pub(super) fn build(tape: &Tape) -> Result<Graph> {
    let count = tape.rows().len();
    let mut b = Builder {
        tape,
        forms: forms(tape),
        first: vec![None; count],
        steps: AllSteps::default(),
        types: Shared::default(),
        fills: HashMap::new(),
        filled: HashMap::new(),
        states: tape.states().iter().map(|s| s.index).zip(0..).collect(),
        graph: Graph {
            buffers: Table::with_capacity(count),
            nodes: Table::with_capacity(count),
            order: Vec::with_capacity(count),
            constants: Vec::new(),
            outputs: Vec::new(),
            updates: Vec::new(),
            donated: Vec::new(),
            commits: Vec::new(),
            within: HashMap::new(),
        },
    };
    let views = views(tape, &b.forms);
    for (index, _) in live(tape, &views).iter().enumerate().filter(|(_, live)| **live) {
        b.row(index, &views)?;
    }
    b.graph.outputs = tape.outputs().iter().map(|v| b.kept(v)).collect::<Result<_>>()?;
    b.graph.updates =
        tape.updates().iter().map(|(s, v)| Ok((b.state(*s), b.kept(v)?))).collect::<Result<_>>()?;
    Ok(b.graph)
}

/// What each row computes, asked once.
fn forms(tape: &Tape) -> Forms {
    let mut computations = Computations::default();
    let of = |row: &Row| {
        let types: SmallVec<[TensorType; 3]> = row.operands.iter().filter_map(|&v| tape.ty(v)).collect();
        row.op.kernel().and_then(|_| computations.of(&row.op, &types, &row.results).ok())
    };
    tape.rows().iter().map(of).collect()
}

/// Types of buffers, each once: neighbours mostly have the same.
#[derive(Default)]
struct Shared {
    known: HashMap<TensorType, Arc<TensorType>>,
    last: Option<Arc<TensorType>>,
}

impl Shared {
    fn of(&mut self, ty: TensorType) -> Arc<TensorType> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == ty) {
            return last.clone();
        }
        let shared = self.known.entry(ty).or_insert_with(|| Arc::new(ty)).clone();
        self.last.insert(shared).clone()
    }
}

struct Builder<'a> {
    tape: &'a Tape,
    forms: Forms,
    steps: AllSteps,
    /// The buffer of each row's first result; those of the others follow it.
    first: Vec<Option<BufferId>>,
    types: Shared,
    /// The constant of each number and element type.
    fills: HashMap<(u64, DType), usize>,
    /// The buffer of each number and type.
    filled: HashMap<(u64, TensorType), BufferId>,
    /// The position of each state, by that in its store, among those of the tape.
    states: HashMap<usize, usize>,
    graph: Graph,
}

impl Builder<'_> {
    fn state(&self, index: usize) -> usize {
        self.states.get(&index).copied().unwrap_or(usize::MAX)
    }

    fn of(&self, value: &Value) -> Result<BufferId> {
        let first = self.first.get(value.row as usize).copied().flatten();
        let first =
            first.ok_or_else(|| ErrorKind::Malformed("a row reads what no row before it makes".into()))?;
        Ok(BufferId::new(first.at() as u32 + value.result))
    }

    /// Whether a part of so many elements is better copied from a value: that of a state which changes, for whoever reads it delays the
    /// writing, and the next value of the state may have to be copied in the end. A copy of half of it costs as much.
    fn copied(&self, value: &Value, elements: usize) -> Result<bool> {
        let buffer = self.of(value)?;
        let changes = |state| self.tape.updates().iter().any(|(s, _)| self.state(*s) == state);
        let small = 2 * elements < self.graph.buffers[self.graph.base(buffer)].ty.shape.elements();
        Ok(small && self.graph.old_state(buffer).is_some_and(changes))
    }

    /// Another type for the memory of a value.
    fn view(&mut self, value: &Value, ty: Option<TensorType>) -> Result<BufferId> {
        let old = self.graph.buffers[self.of(value)?].clone();
        let ty = ty.map_or(old.ty, |ty| self.types.of(ty));
        Ok(self.graph.buffers.push(Buffer { ty, ..old })?)
    }

    fn row(&mut self, index: usize, views: &Views) -> Result<()> {
        let row = &self.tape.rows()[index];
        if let (Op::Leaf(leaf), Some(&ty)) = (&row.op, row.results.first()) {
            self.first[index] = Some(self.leaf(leaf, ty)?);
            return Ok(());
        }
        if let Some(from) = reshaped(self.tape, &self.forms, index) {
            self.first[index] = Some(self.view(&from, row.results.first().copied())?);
            return Ok(());
        }
        if let Some((from, offset)) = part(self.tape, &self.forms, index)
            && !self.copied(&from, row.results.first().map_or(0, |ty| ty.shape.elements()))?
        {
            let view = self.view(&from, row.results.first().copied())?;
            let Buffer { part, ty, .. } = &mut self.graph.buffers[view];
            *part = Some((part.map_or(0, |(first, _)| first) + offset, ty.shape.elements()));
            self.first[index] = Some(view);
            return Ok(());
        }
        let mut operands = SmallVec::new();
        for (o, value) in row.operands.iter().enumerate() {
            operands.push(match views.get(&(index as u32, o as u32)) {
                Some((from, strides)) => {
                    let buffer = self.view(from, self.tape.ty(*value))?;
                    Source { buffer, strides: Some(Box::new(*strides)), chunked: false }
                }
                None => Source { buffer: self.of(value)?, strides: None, chunked: false },
            });
        }
        self.node(index, operands)
    }

    /// The node of a row.
    fn node(&mut self, index: usize, mut operands: SmallVec<[Source; 2]>) -> Result<()> {
        let row = &self.tape.rows()[index];
        let blame = |kind| self.tape.blame(row, kind);
        // The types as the row sees them, whatever way the operands are read.
        let types: SmallVec<[TensorType; 3]> = row.operands.iter().filter_map(|&v| self.tape.ty(v)).collect();
        let (action, blocks, work, infallible) = match &row.op {
            Op::Control(Control::Guard { recorded }) => (Action::Guard { recorded: *recorded }, 1, 0, false),
            op => {
                let known = self.forms[index].take().map(Ok);
                let again = || Computations::default().of(op, &types, &row.results);
                let computation = known.unwrap_or_else(again).map_err(blame)?;
                for (o, source) in operands.iter_mut().enumerate() {
                    source.chunked = source.strides.is_none() && computation.chunked(o, &types, &row.results);
                }
                let blocks = computation.blocks(&types, &row.results);
                let work = computation.work(&types, &row.results);
                let infallible = computation.infallible();
                (Action::Compute(computation), blocks, work, infallible)
            }
        };
        let maker = self.graph.next();
        let mut results: SmallVec<[BufferId; 1]> = SmallVec::new();
        for &ty in row.results.iter() {
            let ty = self.types.of(ty);
            results.push(self.graph.buffer(ty, Some(maker))?);
        }
        self.first[index] = results.first().copied();
        if let Action::Compute(what) = &action
            && let Some(steps) = self.steps.of(what, work)
        {
            return self.steps(index as u32, &steps, &operands, &results);
        }
        let (row, mode, packed) = (index as u32, WriteMode::Overwrite, None);
        self.push(Node { action, row, operands, results, mode, packed, blocks, work, infallible })
    }

    /// A node for each operation of a map.
    fn steps(&mut self, row: u32, steps: &Steps, operands: &[Source], results: &[BufferId]) -> Result<()> {
        let mut made: Vec<BufferId> = Vec::with_capacity(steps.steps.len());
        let shape = results.first().map_or(Shape::SCALAR, |&y| self.graph.buffers[y].ty.shape);
        let work = shape.elements();
        for (i, (what, dtype, read)) in steps.steps.iter().enumerate() {
            let maker = self.graph.next();
            let result = match steps.results.iter().position(|&y| usize::from(y) == i) {
                Some(y) => results[y],
                None => {
                    let ty = self.types.of(TensorType::new(*dtype, shape));
                    self.graph.buffer(ty, None)?
                }
            };
            self.graph.buffers[result].maker = Some(maker);
            let source = |x: &Scalar| match *x {
                Scalar::Operand(o) => operands.get(usize::from(o)).cloned(),
                Scalar::Instruction(i) => {
                    made.get(usize::from(i)).map(|&buffer| Source { buffer, strides: None, chunked: true })
                }
                Scalar::Constant(_) => None,
            };
            let ahead = || ErrorKind::Malformed("a body that reads ahead".into());
            let operands = read.iter().map(source).collect::<Option<_>>().ok_or_else(ahead)?;
            made.push(result);
            self.push(Node {
                action: Action::Compute(what.clone()),
                operands,
                work,
                ..Node::copy(row, result, result, &TensorType::new(*dtype, shape))
            })?;
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<()> {
        let id = self.graph.nodes.push(node)?;
        self.graph.order.push(id);
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf, ty: TensorType) -> Result<BufferId> {
        let constant = self.graph.constants.len();
        let home = match leaf {
            Leaf::Input(i) => Home::Input(*i),
            Leaf::State(s) => Home::State(self.state(*s)),
            Leaf::Constant(tensor) => {
                self.graph.constants.push(Constant::Array(tensor.clone()));
                Home::Constant(constant)
            }
            Leaf::Fill(value) => {
                if let Some(&known) = self.filled.get(&(value.to_bits(), ty)) {
                    return Ok(known);
                }
                let at = *self.fills.entry((value.to_bits(), ty.dtype)).or_insert(constant);
                if at == constant {
                    self.graph.constants.push(Constant::Fill { value: *value, dtype: ty.dtype, len: 0 });
                }
                let buffer = self.homed(ty, Home::Fill(at))?;
                self.filled.insert((value.to_bits(), ty), buffer);
                return Ok(buffer);
            }
            Leaf::Placeholder => {
                let what = "a rule that must be linear in its tangents uses their values, or a variable left its vmap";
                return Err(ErrorKind::Malformed(what.into()).into());
            }
        };
        self.homed(ty, home)
    }

    fn homed(&mut self, ty: TensorType, home: Home) -> Result<BufferId> {
        let ty = self.types.of(ty);
        let buffer = self.graph.buffer(ty, None)?;
        self.graph.buffers[buffer].home = Some(home);
        Ok(buffer)
    }

    /// The buffer of a value that outlives the nodes: a copy where it is a leaf, or a part of something.
    fn kept(&mut self, value: &Value) -> Result<BufferId> {
        let buffer = self.of(value)?;
        if self.graph.home(buffer).is_none() && self.graph.buffers[buffer].part.is_none() {
            return Ok(buffer);
        }
        let (node, copy) = self.graph.copy(value.row, buffer)?;
        self.graph.order.push(node);
        Ok(copy)
    }
}
