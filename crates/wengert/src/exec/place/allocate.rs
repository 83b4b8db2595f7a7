//! Where arrays lie that are not all needed at the same time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::error::ErrorKind;
use crate::sort::sort_by_key;

/// What the memory of a run is aligned to, in bytes: a cache line, and the widest register.
pub(in crate::exec) const ALIGN: usize = 64;

/// What every buffer in it is aligned to.
pub(in crate::exec) const WORD: usize = 8;

/// A buffer that is needed from one moment to another, both included.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) struct Span {
    pub(in crate::exec) first: u32,
    pub(in crate::exec) last: u32,
    pub(in crate::exec) bytes: usize,
}

/// Gives each span, in ascending order of their first moments, the smallest free gap that holds it: tells the offset of each
/// by the name that came with it, and returns the bytes in all.
pub(in crate::exec) fn allocate<T: Copy>(
    spans: &mut [(Span, T)],
    mut tell: impl FnMut(T, usize),
) -> Result<usize, ErrorKind> {
    sort_by_key(spans, |(span, _)| (u64::from(span.first), 0));
    let mut memory = Gaps::default();
    let mut ends: BinaryHeap<Reverse<(u32, usize, usize)>> = BinaryHeap::new();
    for (span, name) in spans.iter() {
        while let Some(&Reverse((last, offset, bytes))) = ends.peek() {
            if last >= span.first {
                break;
            }
            ends.pop();
            memory.give(offset, bytes);
        }
        // Small arrays need not fill a cache line each.
        let bytes = span.bytes.max(1).next_multiple_of(if span.bytes < ALIGN { WORD } else { ALIGN });
        let offset = memory.take(bytes).ok_or(ErrorKind::Memory { bytes: span.bytes })?;
        ends.push(Reverse((span.last, offset, bytes)));
        tell(*name, offset);
    }
    Ok(memory.top)
}

/// Free memory below a top that rises.
#[derive(Default)]
struct Gaps {
    top: usize,
    /// Each gap with its size.
    by_offset: BTreeSet<(usize, usize)>,
    /// Sizes, each with its gap.
    by_size: BTreeSet<(usize, usize)>,
}

impl Gaps {
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let aligned = |offset: usize| offset.next_multiple_of(bytes.next_power_of_two().min(ALIGN));
        let fits = |&&(size, offset): &&(usize, usize)| aligned(offset) + bytes <= offset + size;
        if let Some(&(size, offset)) = self.by_size.range((bytes, 0)..).take(8).find(fits) {
            self.remove(offset, size);
            let start = aligned(offset);
            self.give(offset, start - offset);
            self.give(start + bytes, offset + size - start - bytes);
            return Some(start);
        }
        let start = aligned(self.top);
        let end = start.checked_add(bytes).filter(|&end| end <= isize::MAX as usize / 2)?;
        let gap = (self.top, start - self.top);
        self.top = end;
        self.give(gap.0, gap.1);
        Some(start)
    }

    /// Frees memory, joined with the gaps that it touches.
    fn give(&mut self, mut offset: usize, mut bytes: usize) {
        if bytes == 0 {
            return;
        }
        if let Some(&(before, size)) = self.by_offset.range(..(offset, 0)).next_back()
            && before + size == offset
        {
            self.remove(before, size);
            (offset, bytes) = (before, bytes + size);
        }
        if let Some(&(after, size)) = self.by_offset.range((offset + bytes, 0)..).next()
            && after == offset + bytes
        {
            self.remove(offset + bytes, size);
            bytes += size;
        }
        self.by_offset.insert((offset, bytes));
        self.by_size.insert((bytes, offset));
    }

    fn remove(&mut self, offset: usize, bytes: usize) {
        self.by_offset.remove(&(offset, bytes));
        self.by_size.remove(&(bytes, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_meet_do_not_overlap_and_others_share() {
        let mut state = 1u64;
        let mut draw = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        let mut spans: Vec<Span> = (0..400)
            .map(|_| {
                let first = draw(100) as u32;
                Span { first, last: first + draw(10) as u32, bytes: draw(3000) as usize }
            })
            .collect();
        spans.sort_by_key(|s| s.first);
        let mut named: Vec<(Span, usize)> = spans.iter().copied().zip(0..).collect();
        let mut offsets = vec![(0, 0); spans.len()];
        let total = allocate(&mut named, |name, offset| offsets[name] = (name, offset)).unwrap();
        for (i, (a, &(_, x))) in spans.iter().zip(&offsets).enumerate() {
            assert!(x + a.bytes <= total && (a.bytes < ALIGN || x % ALIGN == 0));
            for (b, &(_, y)) in spans[..i].iter().zip(&offsets) {
                let meet = a.first <= b.last && b.first <= a.last;
                assert!(!meet || x + a.bytes <= y || y + b.bytes <= x, "{a:?} at {x}, {b:?} at {y}");
            }
        }
        let most = (0..110)
            .map(|t| spans.iter().filter(|s| s.first <= t && t <= s.last).map(|s| s.bytes).sum::<usize>());
        assert!(total < 2 * most.max().unwrap(), "{total}");
    }

    #[test]
    fn memory_beyond_counting_is_an_error() {
        let mut spans = [(Span { first: 0, last: 1, bytes: isize::MAX as usize / 2 }, ()); 3];
        assert!(matches!(allocate(&mut spans, |(), _| ()), Err(ErrorKind::Memory { .. })));
    }
}
