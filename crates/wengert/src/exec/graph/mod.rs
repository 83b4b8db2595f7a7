//! What is computed: buffers, and the nodes that write them in an order in which they may run one by one. Knows no
//! machine, no threads and no place in memory.
//!
//! A tape becomes a graph row by row ([`build`]); passes then rewrite it. All but two keep every bit of the rows.

mod accumulate;
mod alias;
mod build;
mod computation;
mod donate;
mod join;
mod layout;
mod print;
mod products;
mod split_reduce;
mod steps;
mod together;
mod views;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::table::{BufferId, Id, NodeId, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Form, Monoid, Tape};
use crate::shape::{MAX_RANK, TensorType};
use crate::tensor::Tensor;

pub(super) use computation::loops;
pub(crate) use computation::{Computation, Computations};
pub(super) use print::Listing;
pub(crate) use split_reduce::Split;
pub(super) use split_reduce::{rows_of, segment_end, segments};

/// Bytes of arrays that are small: they are copied rather than changed, written or put together where they lie, for calls and copies of small arrays
/// are soon made, and machine code has them in registers.
const SMALL: usize = 4 << 10;

/// How far apart the neighbours along each axis of an operand lie, in elements.
pub(crate) type Strides = [usize; MAX_RANK];

/// Where the elements of a buffer lie that exist before the run, or outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// The array bound to this input.
    Input(usize),
    /// The array of this one of the tape's states.
    State(usize),
    /// This constant.
    Constant(usize),
    /// Anywhere in a constant whose elements are all the same.
    Fill(usize),
}

/// An array that is the same in every run.
pub(crate) enum Constant {
    Array(Arc<Tensor>),
    /// So many times the same number: as many as any call reads at once.
    Fill {
        value: f64,
        dtype: crate::dtype::DType,
        len: usize,
    },
}

impl Constant {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Array(tensor) => tensor.ty().bytes(),
            Self::Fill { dtype, len, .. } => len.saturating_mul(dtype.bytes()),
        }
    }
}

/// The order in which the elements of a buffer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    RowMajor,
    /// In the panels that a product reads: eight-byte words, whose order is the kernel's own.
    Packed,
}

/// An array, or another view of one.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    /// Shared by all buffers of the type: a graph of a million scalars holds it once.
    pub(super) ty: Arc<TensorType>,
    pub(super) layout: Layout,
    /// The buffer that this is another view of: itself if it is none.
    pub(super) of: BufferId,
    /// The buffer whose memory that is: itself, but for results that alias an operand.
    pub(super) base: BufferId,
    /// Of a part of that memory whose elements lie one behind the other: the first, and how many.
    pub(super) part: Option<(usize, usize)>,
    /// Where it lies if no plan decides.
    pub(super) home: Option<Home>,
    /// The node that writes it.
    pub(super) maker: Option<NodeId>,
}

/// What a node reads.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) buffer: BufferId,
    /// Of an operand that is read through a row that rearranges it.
    pub(super) strides: Option<Box<Strides>>,
    /// Whether each block of the node reads only the block in its own place.
    pub(super) chunked: bool,
}

/// What becomes of what lies where the first result is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WriteMode {
    /// It may be anything.
    Overwrite,
    /// The result is α times what the node computes, added to β times what is there.
    Accumulate { alpha: f64, beta: f64, on: Begun },
    /// It is this operand, which the node changes where it lies.
    Alias(u8),
}

/// What a node adds to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begun {
    /// The value of this state at the start.
    State(usize),
    /// What another node made, which nobody else reads.
    Buffer(BufferId),
}

impl fmt::Display for WriteMode {
    /// As an arrow from a node to its result.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Overwrite => f.write_str("-> "),
            Self::Alias(operand) => write!(f, "added to operand {operand} in "),
            Self::Accumulate { alpha, beta, .. } => {
                if alpha != 1.0 {
                    write!(f, "times {alpha} ")?;
                }
                f.write_str("added to ")?;
                if beta == 1.0 { Ok(()) } else { write!(f, "{beta} · ") }
            }
        }
    }
}

/// What a node does.
#[derive(Clone)]
pub(crate) enum Action {
    /// Computes a row.
    Compute(Arc<Computation>),
    /// Packs an operand of a computation.
    Pack(Arc<Computation>, usize),
    /// Computes a row on chunks of its operands: partial results of a split reduction.
    Partial(Box<Split>),
    /// Makes one result of those.
    Combine(Monoid),
    /// Compares a predicate with the recorded outcome.
    Guard { recorded: bool },
    /// Copies elements.
    Copy,
    /// Makes one array of several that lie one behind the other: there is nothing left to do.
    Join,
    /// Puts so many rows of several arrays side by side.
    Beside(usize),
}

impl Action {
    /// What it computes, if that is a row's.
    pub(super) fn computation(&self) -> Option<&Arc<Computation>> {
        match self {
            Self::Compute(computation) | Self::Pack(computation, _) => Some(computation),
            Self::Partial(split) => Some(&split.computation),
            Self::Guard { .. } | Self::Combine(_) | Self::Copy => None,
            Self::Join | Self::Beside(_) => None,
        }
    }

    /// The form of what it computes whole.
    pub(super) fn form(&self) -> Option<&Form> {
        if let Self::Compute(computation) = self { Some(&computation.form) } else { None }
    }

    /// Whether a result may lie where an operand of as many bytes does.
    pub(super) fn in_place(&self) -> bool {
        matches!(self, Self::Compute(computation) if computation.in_place())
    }

    /// Whether it is products of matrices, or a convolution.
    pub(super) fn multiplies(&self) -> bool {
        let computation = match self {
            Self::Compute(computation) => computation,
            Self::Partial(split) => &split.computation,
            _ => return false,
        };
        computation.sums_products()
    }

    /// What it does, for people.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Compute(computation) => computation.name().into(),
            Self::Pack(computation, _) => format!("pack for {}", computation.name()).into(),
            Self::Guard { .. } => "guard".into(),
            Self::Partial(split) => format!("partial {}", split.computation.name()).into(),
            Self::Combine(_) => "combine".into(),
            Self::Copy => "copy".into(),
            Self::Join => "join".into(),
            Self::Beside(_) => "join rows".into(),
        }
    }
}

/// One thing to do.
pub(super) struct Node {
    pub(super) action: Action,
    pub(super) row: u32,
    pub(super) operands: SmallVec<[Source; 2]>,
    pub(super) results: SmallVec<[BufferId; 1]>,
    pub(super) mode: WriteMode,
    /// The operand that was packed for it.
    pub(super) packed: Option<BufferId>,
    pub(super) blocks: usize,
    pub(super) work: usize,
    pub(super) infallible: bool,
}

impl Node {
    /// A copy of a buffer of this type.
    pub(super) fn copy(row: u32, from: BufferId, to: BufferId, ty: &TensorType) -> Self {
        Self {
            action: Action::Copy,
            row,
            operands: std::iter::once(Source { buffer: from, strides: None, chunked: true }).collect(),
            results: std::iter::once(to).collect(),
            mode: WriteMode::Overwrite,
            packed: None,
            blocks: ty.shape.elements(),
            work: ty.shape.elements(),
            infallible: true,
        }
    }

    /// The operands that the node reads: all, but for those that are not packed by it.
    pub(super) fn reads(&self) -> impl Iterator<Item = (usize, &Source)> + Clone {
        let only = if let Action::Pack(_, operand) = self.action { Some(operand) } else { None };
        self.operands.iter().enumerate().filter(move |(o, _)| only.is_none_or(|only| only == *o))
    }
}

/// All buffers and nodes of a tape.
pub(super) struct Graph {
    pub(super) buffers: Table<BufferId, Buffer>,
    pub(super) nodes: Table<NodeId, Node>,
    /// The nodes that are left, in an order in which each finds what it reads: written, and not yet overwritten.
    pub(super) order: Vec<NodeId>,
    pub(super) constants: Vec<Constant>,
    pub(super) outputs: Vec<BufferId>,
    /// The next value of each state that has one, until [`donate`](donate::donate) empties this.
    pub(super) updates: Vec<(usize, BufferId)>,
    /// States that nodes write in place.
    pub(super) donated: Vec<usize>,
    /// Next values that are copied at the end of a run.
    pub(super) commits: Vec<(usize, BufferId)>,
    /// Of buffers that are joined the whole, in whose memory they lie, and from which element on.
    pub(super) within: HashMap<BufferId, (BufferId, usize)>,
}

impl Graph {
    /// The graph of a tape that keeps every bit of its rows; or, where `rounding` is allowed, adds in another order.
    pub(super) fn new(tape: &Tape, rounding: bool) -> Result<Self> {
        let begun = || {
            let mut graph = build::build(tape)?;
            join::join(&mut graph, rounding)?;
            Ok::<_, Error>(graph)
        };
        let mut graph = begun()?;
        if rounding {
            if !products::join(&mut graph)? {
                graph = begun()?;
            }
            split_reduce::split(&mut graph)?;
        }
        together::together(&mut graph);
        alias::alias(&mut graph)?;
        if rounding {
            accumulate::accumulate(&mut graph);
        }
        donate::donate(&mut graph)?;
        join::place(&mut graph)?;
        layout::convert(&mut graph)?;
        Ok(graph)
    }

    /// The node that makes what another one adds to, unless that is a state.
    pub(super) fn begun(&self, node: &Node) -> Option<NodeId> {
        let WriteMode::Accumulate { on, .. } = node.mode else { return None };
        if let Begun::Buffer(buffer) = on {
            return self.maker(buffer);
        }
        // Or a copy of one.
        let result = node.results.first()?;
        let base = self.base(*result);
        self.maker(base).filter(|_| base != *result)
    }

    /// The node that writes a buffer.
    pub(super) fn maker(&self, buffer: BufferId) -> Option<NodeId> {
        self.buffers[self.buffers[buffer].of].maker
    }

    pub(super) fn base(&self, buffer: BufferId) -> BufferId {
        self.buffers[self.buffers[buffer].of].base
    }

    pub(super) fn bytes(&self, buffer: BufferId) -> usize {
        self.buffers[buffer].ty.bytes()
    }

    /// A new buffer with memory of its own.
    pub(super) fn buffer(
        &mut self,
        ty: Arc<TensorType>,
        maker: Option<NodeId>,
    ) -> Result<BufferId, ErrorKind> {
        let id = BufferId::new(self.buffers.len() as u32);
        self.buffers.push(Buffer {
            ty,
            layout: Layout::RowMajor,
            of: id,
            base: id,
            part: None,
            home: None,
            maker,
        })
    }

    /// The name that the next node will have.
    pub(super) fn next(&self) -> NodeId {
        NodeId::new(self.nodes.len() as u32)
    }

    /// A node that copies a buffer on behalf of a row, and the copy; not in the order yet.
    pub(super) fn copy(&mut self, row: u32, from: BufferId) -> Result<(NodeId, BufferId), ErrorKind> {
        let (maker, ty) = (self.next(), self.buffers[from].ty.clone());
        let to = self.buffer(ty.clone(), Some(maker))?;
        Ok((self.nodes.push(Node::copy(row, from, to, &ty))?, to))
    }

    /// Where a buffer lies if no plan decides.
    pub(super) fn home(&self, buffer: BufferId) -> Option<Home> {
        self.buffers[self.base(buffer)].home
    }

    /// The state whose value at the start of the run a buffer holds.
    pub(super) fn old_state(&self, buffer: BufferId) -> Option<usize> {
        match (self.home(buffer), self.maker(buffer)) {
            (Some(Home::State(state)), None) => Some(state),
            _ => None,
        }
    }

    /// Whether a buffer holds the value of this state at the start of the run.
    pub(super) fn is_old(&self, buffer: BufferId, state: usize) -> bool {
        self.old_state(buffer) == Some(state)
    }

    /// How often each base is read or kept.
    pub(super) fn uses(&self) -> Table<BufferId, u32> {
        let mut uses = Table::alike(&self.buffers, 0);
        let read = self.order.iter().flat_map(|&n| self.nodes[n].operands.iter().map(|s| s.buffer));
        let kept = self.outputs.iter().chain(self.updates.iter().map(|(_, b)| b)).copied();
        read.chain(kept).for_each(|buffer| uses[self.base(buffer)] += 1);
        uses
    }

    /// Whether a node is a product of one row and a matrix: cut along its columns.
    pub(super) fn is_row(&self, node: &Node) -> bool {
        let shape = |&buffer: &BufferId| self.buffers[buffer].ty.shape;
        let row = node.results.first().map(shape).is_some_and(|s| s.outermost().1 == s.elements());
        let cut = node.blocks > 1 && node.operands.iter().all(|s| !s.chunked);
        row && cut && matches!(node.action, Action::Compute(_)) && node.action.multiplies()
    }

    /// Whether a node, done in so many chunks, reads only the chunks in the same places of operand `o`.
    pub(super) fn reads_chunked(&self, node: &Node, o: usize, chunks: usize) -> bool {
        let source = &node.operands[o];
        let divides = || self.buffers[source.buffer].ty.shape.elements().is_multiple_of(chunks);
        chunks == 1 || (source.chunked && node.blocks.is_multiple_of(chunks) && divides())
    }

    /// Whether these are the chunks that the maker of operand `o` makes, if it is done in as many: not those of a part of what it makes.
    pub(super) fn same_chunks(&self, node: &Node, o: usize, chunks: usize) -> bool {
        let part = chunks > 1 && self.buffers[node.operands[o].buffer].part.is_some();
        !part && self.reads_chunked(node, o, chunks)
    }

    /// Whether all chunks of a node's result are equal, because each reads the whole operand alike.
    pub(super) fn repeats(&self, node: &Node, chunks: usize) -> bool {
        let (Some(Form::View(map)), [to]) = (node.action.form(), node.results.as_slice()) else {
            return false;
        };
        map.repeats(self.buffers[*to].ty.shape, chunks) && !self.reads_chunked(node, 0, chunks)
    }
}
