//! Folds: sums along the first axis, taken part by part and then over the parts.
//!
//! A row that sums along the first axis of its operands needs all of them, and so would wait until they are
//! complete, in memory. But what it gives for a slab can be computed where the slab is made, and the parts
//! added up. The bits are not those of the row. What is added to what depends on shapes and the constants of this file
//! alone: the slabs are cut into segments, these into chunks; a part is the sum of the chunks of a segment, one after
//! another, and the result that of the parts. A panel takes whole segments, and a tile whole chunks.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cpu::Code;
use super::nodes::{Array, Source};
use crate::ir::{Kernel, Operand, Reduction};
use crate::shape::TensorType;

/// Bytes of the operands of a fold, at least: less is read twice as fast as it is shared.
const LEAST: usize = 16 << 10;
/// By how much the operands are larger than the result, at least.
const LARGER: usize = 32;
/// Slabs of a segment, at least.
const ROWS: usize = 48;
/// Segments, and parts, at most.
const MOST: usize = 8;
/// Bytes of an operand in a chunk, at most: so much of it is in the first cache.
const CHUNK: usize = 16 << 10;

/// A row that is computed on slabs of its operands.
#[derive(Clone)]
pub(super) struct Fold {
    pub(super) code: Arc<Code>,
    pub(super) name: &'static str,
    /// The type of the result, and of each part.
    pub(super) ty: Arc<TensorType>,
    pub(super) slabs: usize,
    /// Slabs of a chunk: a power of two, or at least as many as a segment has.
    pub(super) chunk: usize,
}

/// Slabs that one call of the kernel adds up.
pub(super) struct Chunk {
    pub(super) slabs: Range<usize>,
    pub(super) part: usize,
    /// Whether it is the first of its part.
    pub(super) first: bool,
}

impl Chunk {
    /// What it reads of an operand of which all of these slabs are at hand; `ty` is the type of the chunk's.
    pub(super) fn of<'a>(&self, x: &Operand<'a>, ty: &'a TensorType, all: &Range<usize>) -> Operand<'a> {
        let slab = x.data.len() / all.len().max(1);
        let [from, to] = [self.slabs.start, self.slabs.end].map(|at| (at - all.start) * slab);
        Operand { ty, data: x.data.get(from..to) }
    }
}

impl Fold {
    /// How a row could be folded, if it pays: parts take little against the operands, which need not be kept.
    pub(super) fn of(
        kernel: &dyn Kernel,
        code: &Arc<Code>,
        operands: &[TensorType],
        results: &[TensorType],
    ) -> Option<Self> {
        let [result] = results else { return None };
        let (summed, product) = match &**code {
            Code::Reduce(Reduction { axis: 0, .. }) => (code.accumulates(), false),
            Code::Contract(names) => {
                let c = names.names();
                let first =
                    c.lhs.first() == c.rhs.first() && c.lhs.first().is_some_and(|l| !c.out.contains(l));
                (first, true)
            }
            _ => (false, false),
        };
        // One part would be the result itself, made where others read unit by unit.
        let slabs = operands.first()?.shape.first().copied().filter(|&slabs| segments(slabs) > 1)?;
        let bytes = operands.iter().map(TensorType::bytes).fold(0, usize::saturating_add);
        if !(summed && bytes >= LEAST && result.bytes().saturating_mul(LARGER) <= bytes) {
            return None;
        }
        // What holds for the whole holds for slabs, unless the kernel thinks otherwise.
        let one: SmallVec<[TensorType; 3]> = operands.iter().map(|ty| slab(ty, 1)).collect();
        let widest = one.iter().map(TensorType::bytes).max().unwrap_or(1).max(1);
        let chunk =
            if product { slabs.div_ceil(segments(slabs)) } else { 1 << (CHUNK / widest).max(1).ilog2() };
        kernel.infer(&one).is_ok_and(|found| *found == *results).then(|| Self {
            code: code.clone(),
            name: kernel.name(),
            ty: Arc::new(*result),
            slabs,
            chunk,
        })
    }

    /// The chunks that some neighbouring slabs are.
    pub(super) fn chunks(&self, slabs: Range<usize>) -> impl Iterator<Item = Chunk> + '_ {
        let (all, segments) = (self.slabs, segments(self.slabs));
        let mut at = slabs.start;
        std::iter::from_fn(move || {
            if at >= slabs.end {
                return None;
            }
            let segment = segment(all, at);
            let start = bound(all, segments, segment);
            let chunk = start.saturating_add(((at - start) / self.chunk + 1).saturating_mul(self.chunk));
            let end = chunk.min(bound(all, segments, segment + 1)).min(slabs.end);
            let first = at == start;
            let piece = at..end;
            at = end;
            Some(Chunk { slabs: piece, part: segment, first })
        })
    }

    /// Bytes that any of its chunks needs.
    pub(super) fn memory(&self, operands: &[Source], arrays: &[Array]) -> usize {
        let (short, long) = (self.slabs / segments(self.slabs), self.slabs.div_ceil(segments(self.slabs)));
        let sizes = [self.chunk.min(long), self.chunk.min(short), short % self.chunk, long % self.chunk];
        let bytes = |size: usize| {
            let types: SmallVec<[TensorType; 3]> =
                operands.iter().map(|s| slab(&arrays[s.array as usize].ty, size)).collect();
            self.code.memory(&types)
        };
        sizes.into_iter().filter(|&size| size > 0).map(bytes).max().unwrap_or(0)
    }
}

/// Into how many segments so many slabs are cut: a power of two.
pub(super) fn segments(slabs: usize) -> usize {
    1 << (slabs / ROWS).clamp(1, MOST).ilog2()
}

/// Where segment `i` of `count` begins among so many slabs: few enough that the product is small.
fn bound(slabs: usize, count: usize, i: usize) -> usize {
    i * slabs / count
}

/// The segment that a slab lies in.
fn segment(slabs: usize, at: usize) -> usize {
    ((at + 1) * segments(slabs) - 1) / slabs
}

/// Where the segment ends that a slab lies in.
pub(super) fn segment_end(slabs: usize, at: usize) -> usize {
    bound(slabs, segments(slabs), segment(slabs, at) + 1)
}

/// The type of so many neighbours along the first axis.
pub(super) fn slab(ty: &TensorType, rows: usize) -> TensorType {
    TensorType::new(ty.dtype, ty.shape.with(0, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ir::IndexMap;
    use crate::shape::Shape;

    #[test]
    fn chunks_are_the_same_however_slabs_are_cut() {
        for slabs in [1, 7, 47, 96, 97, 100, 383, 384, 1000, 1013] {
            for chunk in [1, 4, 32, 2000] {
                let fold = Fold {
                    code: Arc::new(Code::View(IndexMap::row_major(Shape::SCALAR))),
                    name: "sum",
                    ty: Arc::new(TensorType::new(DType::F64, Shape::SCALAR)),
                    slabs,
                    chunk,
                };
                let all = |tile: usize, panels: usize| {
                    let (mut found, mut at) = (Vec::new(), 0);
                    for p in 0..panels {
                        let end = bound(slabs, panels, p + 1);
                        while at < end {
                            let next = (at + tile).min(end).min(segment_end(slabs, at));
                            found.extend(fold.chunks(at..next).map(|c| (c.slabs, c.part, c.first)));
                            at = next;
                        }
                    }
                    found
                };
                let whole: Vec<_> = fold.chunks(0..slabs).map(|c| (c.slabs, c.part, c.first)).collect();
                assert_eq!(whole.iter().filter(|(_, _, first)| *first).count(), segments(slabs), "{slabs}");
                assert_eq!(whole.iter().map(|(s, ..)| s.len()).sum::<usize>(), slabs);
                for panels in [1, 2, 4, 8].into_iter().filter(|&p| p <= segments(slabs)) {
                    for times in [1, 2, 5] {
                        assert_eq!(
                            all(chunk * times, panels),
                            whole,
                            "{slabs} in {panels} panels, tiles of {times}"
                        );
                    }
                }
            }
        }
    }
}
