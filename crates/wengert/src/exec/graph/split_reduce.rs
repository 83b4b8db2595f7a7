//! Split reductions: over the outermost axis of their operands, chunk by chunk into partial results, which are combined.
//!
//! A row that reduces the outermost axis needs all of its operands, and so would wait until they are complete, in memory. But
//! what it gives for a chunk can be computed where the chunk is made. It rounds: the bits are not those of the row. What is
//! added to what depends on shapes and the constants of this file alone: the rows of the operands are cut into segments, these
//! into chunks; a partial result is that of the chunks of a segment, one after another, and the result that of the partials.
//! A task takes whole segments, and a tile whole chunks.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Action, Computation, Graph, Node};
use crate::error::ErrorKind;
use crate::exec::table::BufferId;
use crate::ir::{Form, Monoid, Operand, Reduction};
use crate::shape::{Shape, TensorType};

/// Bytes of the operands, at least: less is read twice as fast as it is shared.
const LEAST: usize = 16 << 10;
/// The same of a vector times a matrix.
const LEAST_VECTOR: usize = 1 << 20;
/// By how much the operands are larger than the result, at least.
const LARGER: usize = 32;
/// Rows of a segment, at least.
const ROWS: usize = 48;
/// Segments, and partial results, at most.
const MOST: usize = 8;
/// Bytes of an operand in a chunk, at most: so much of it is in the first cache.
const CHUNK: usize = 16 << 10;

/// A computation that is done on chunks of its operands.
#[derive(Clone)]
pub(crate) struct Split {
    pub(crate) computation: Arc<Computation>,
    /// How partial results become one.
    pub(crate) monoid: Monoid,
    /// The type of the result, and of each partial result.
    pub(crate) ty: Arc<TensorType>,
    pub(crate) rows: usize,
    /// Rows of a chunk: a power of two, or at least as many as a segment has.
    pub(crate) chunk: usize,
}

/// Rows that one call of the kernel reduces.
pub(crate) struct Chunk {
    pub(crate) rows: Range<usize>,
    pub(crate) segment: usize,
    /// Whether it is the first of its segment.
    pub(crate) first: bool,
}

impl Chunk {
    /// What it reads of an operand of which all of these rows are at hand; `ty` is the type of the chunk's.
    pub(crate) fn of<'a>(&self, x: &Operand<'a>, ty: &'a TensorType, all: &Range<usize>) -> Operand<'a> {
        let row = x.data.len() / all.len().max(1);
        let [from, to] = [self.rows.start, self.rows.end].map(|at| (at - all.start) * row);
        Operand { ty, data: x.data.get(from..to) }
    }
}

/// Splits the reductions for which it pays.
pub(super) fn split(graph: &mut Graph) -> Result<(), ErrorKind> {
    let mut order = Vec::with_capacity(graph.order.len());
    for n in std::mem::take(&mut graph.order) {
        order.push(n);
        let Some(split) = Split::of(graph, &graph.nodes[n]) else { continue };
        let (row, result) = (graph.nodes[n].row, graph.nodes[n].results[0]);
        let all = Shape::new(&[segments(split.rows), split.ty.shape.elements()])?;
        let all = TensorType::new(split.ty.dtype, all);
        let partials = graph.buffer(Arc::new(all), Some(n))?;
        let (monoid, ty) = (split.monoid, split.ty.clone());
        let node = &mut graph.nodes[n];
        (node.blocks, node.results[0]) = (split.rows, partials);
        node.operands.iter_mut().for_each(|source| source.chunked = true);
        node.action = Action::Partial(Box::new(split));
        let mut combine = Node { action: Action::Combine(monoid), ..Node::copy(row, partials, result, &ty) };
        combine.operands[0].chunked = false;
        let combine = graph.nodes.push(combine)?;
        graph.buffers[result].maker = Some(combine);
        order.push(combine);
    }
    graph.order = order;
    Ok(())
}

impl Split {
    /// How a node could be split, if it pays: partial results take little against the operands, which need not be kept.
    fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let Action::Compute(computation) = &node.action else { return None };
        let monoid = match &computation.form {
            Form::Reduce(Reduction { monoid, .. }) => *monoid,
            _ if computation.sums_products() => Monoid::Sum,
            _ => return None,
        };
        let ty = |buffer: BufferId| &*graph.buffers[buffer].ty;
        let operands: SmallVec<[TensorType; 2]> = node.operands.iter().map(|s| *ty(s.buffer)).collect();
        let axis = |x: &TensorType| x.shape.outermost().0;
        let reduced = match (&computation.form, &operands[..]) {
            (Form::Reduce(Reduction { axis: first, count, .. }), [x]) => {
                (*first..first + count).contains(&axis(x))
            }
            (Form::Contract(c), [lhs, rhs]) => {
                let first = c.lhs.get(axis(lhs)).filter(|label| !c.out.contains(label));
                first.is_some() && first == c.rhs.get(axis(rhs))
            }
            #[cfg(feature = "nets")]
            (Form::Convolve(convolution), [first, second]) => {
                convolution.sums_examples() && axis(first) == 0 && axis(second) == 0
            }
            _ => false,
        };
        // With one segment the partial result would be the result: nothing is gained.
        let rows = operands.first().map(|x| x.shape.outermost().1).filter(|&rows| segments(rows) > 1)?;
        let result = ty(*node.results.first()?);
        let bytes = operands.iter().map(TensorType::bytes).fold(0, usize::saturating_add);
        let plain = node.operands.iter().all(|s| s.strides.is_none());
        // A vector times a wide matrix is cut along the columns instead, which keeps its bits; and in parts it is slower,
        // so that it must be worth another thread.
        let vector = operands.len() == 2 && operands.iter().any(|x| x.shape.elements() == rows);
        let reduced = reduced && !(vector && (result.shape.elements() >= rows || bytes < LEAST_VECTOR));
        if !(reduced && plain && bytes >= LEAST && result.bytes().saturating_mul(LARGER) <= bytes) {
            return None;
        }
        let one: SmallVec<[TensorType; 2]> = operands.iter().map(|ty| rows_of(ty, 1)).collect();
        let widest = one.iter().map(TensorType::bytes).max().unwrap_or(1).max(1);
        let chunk = if computation.sums_products() {
            rows.div_ceil(segments(rows))
        } else {
            1 << (CHUNK / widest).max(1).ilog2()
        };
        // What holds for the whole holds for some rows, unless the op thinks otherwise.
        computation.op.kernel()?.infer(&one).is_ok_and(|found| *found == [*result]).then(|| Self {
            computation: computation.clone(),
            monoid,
            ty: Arc::new(*result),
            rows,
            chunk,
        })
    }

    /// The chunks that some neighbouring rows are.
    pub(crate) fn chunks(&self, rows: Range<usize>) -> impl Iterator<Item = Chunk> + '_ {
        let (all, segments) = (self.rows, segments(self.rows));
        let mut at = rows.start;
        std::iter::from_fn(move || {
            if at >= rows.end {
                return None;
            }
            let segment = segment(all, at);
            let start = bound(all, segments, segment);
            let chunk = start.saturating_add(((at - start) / self.chunk + 1).saturating_mul(self.chunk));
            let end = chunk.min(bound(all, segments, segment + 1)).min(rows.end);
            let first = at == start;
            let rows = at..end;
            at = end;
            Some(Chunk { rows, segment, first })
        })
    }

    /// The numbers of rows that its chunks have.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> + use<> {
        let (short, long) = (self.rows / segments(self.rows), self.rows.div_ceil(segments(self.rows)));
        let sizes = [self.chunk.min(long), self.chunk.min(short), short % self.chunk, long % self.chunk];
        sizes.into_iter().filter(|&size| size > 0)
    }
}

/// Into how many segments so many rows are cut: a power of two.
pub(crate) fn segments(rows: usize) -> usize {
    1 << (rows / ROWS).clamp(1, MOST).ilog2()
}

/// Where segment `i` of `count` begins among so many rows: few enough that the product is small.
fn bound(rows: usize, count: usize, i: usize) -> usize {
    i * rows / count
}

/// The segment that a row lies in.
fn segment(rows: usize, at: usize) -> usize {
    ((at + 1) * segments(rows) - 1) / rows
}

/// Where the segment ends that a row lies in.
pub(crate) fn segment_end(rows: usize, at: usize) -> usize {
    bound(rows, segments(rows), segment(rows, at) + 1)
}

/// The type of so many neighbours along the outermost axis.
pub(crate) fn rows_of(ty: &TensorType, rows: usize) -> TensorType {
    TensorType::new(ty.dtype, ty.shape.with(ty.shape.outermost().0, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ir::{IndexMap, Leaf, Op};

    #[test]
    fn chunks_are_the_same_however_rows_are_cut() {
        let form = Form::View(IndexMap::row_major(Shape::SCALAR));
        let computation = Arc::new(Computation { op: Op::Leaf(Leaf::Placeholder), form });
        for rows in [1, 7, 47, 96, 97, 100, 383, 384, 1000, 1013] {
            for chunk in [1, 4, 32, 2000] {
                let split = Split {
                    computation: computation.clone(),
                    monoid: Monoid::Sum,
                    ty: Arc::new(TensorType::new(DType::F64, Shape::SCALAR)),
                    rows,
                    chunk,
                };
                let all = |tile: usize, tasks: usize| {
                    let (mut found, mut at) = (Vec::new(), 0);
                    for p in 0..tasks {
                        let end = bound(rows, tasks, p + 1);
                        while at < end {
                            let next = (at + tile).min(end).min(segment_end(rows, at));
                            found.extend(split.chunks(at..next).map(|c| (c.rows, c.segment, c.first)));
                            at = next;
                        }
                    }
                    found
                };
                let whole: Vec<_> = split.chunks(0..rows).map(|c| (c.rows, c.segment, c.first)).collect();
                assert_eq!(whole.iter().filter(|(_, _, first)| *first).count(), segments(rows), "{rows}");
                assert_eq!(whole.iter().map(|(s, ..)| s.len()).sum::<usize>(), rows);
                for tasks in [1, 2, 4, 8].into_iter().filter(|&p| p <= segments(rows)) {
                    for times in [1, 2, 5] {
                        assert_eq!(
                            all(chunk * times, tasks),
                            whole,
                            "{rows} in {tasks} tasks, tiles of {times}"
                        );
                    }
                }
            }
        }
    }
}
