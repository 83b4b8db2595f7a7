//! Which values of a program need be stored: those that are read from memory again, or outlive the run.

use std::collections::HashMap;
use std::ops::Range;

/// Stores in the order of the code, which is made twice: once to see which are needed, and once for good.
pub(super) struct Stores {
    needed: Vec<bool>,
    /// How many there were so far.
    count: usize,
    /// Whether it is known which are needed.
    known: bool,
    /// By word of the arena, the last store that wrote all of it.
    whole: Vec<Option<u32>>,
    /// By word, the stores that wrote some of its bytes since, and which.
    parts: HashMap<usize, Vec<(Range<usize>, u32)>>,
}

/// The words that some bytes are in, and which bytes of each.
fn words(bytes: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let Range { start, end } = *bytes;
    let within = move |word: usize| start.max(8 * word) - 8 * word..end.min(8 * word + 8) - 8 * word;
    (start / 8..end.div_ceil(8)).map(move |word| (word, within(word)))
}

impl Stores {
    /// Those of code that writes so many bytes of the arena at most.
    pub(super) fn new(reach: usize) -> Self {
        let whole = vec![None; reach.div_ceil(8)];
        Self { needed: Vec::new(), count: 0, known: false, whole, parts: HashMap::new() }
    }

    /// Begins the code again, now that all is known.
    pub(super) fn again(&mut self) {
        (self.count, self.known) = (0, true);
    }

    /// Whether the next value is stored where it lies; in any case if it outlives the run.
    pub(super) fn next(&mut self, bytes: Range<usize>, outlives: bool) -> bool {
        let at = self.count;
        self.count += 1;
        if self.known {
            return self.needed[at];
        }
        self.needed.push(outlives);
        self.written(bytes, u32::try_from(at).ok());
        false
    }

    /// Some bytes are read.
    pub(super) fn read(&mut self, bytes: Range<usize>) {
        if self.known {
            return;
        }
        for (word, bytes) in words(&bytes) {
            if let Some(&Some(store)) = self.whole.get(word) {
                self.needed[store as usize] = true;
            }
            for (written, store) in self.parts.get(&word).into_iter().flatten() {
                self.needed[*store as usize] |= written.start < bytes.end && bytes.start < written.end;
            }
        }
    }

    /// Some bytes are written, by a store or by something else.
    pub(super) fn written(&mut self, bytes: Range<usize>, store: Option<u32>) {
        if self.known {
            return;
        }
        for (word, bytes) in words(&bytes) {
            if bytes == (0..8) {
                if let Some(whole) = self.whole.get_mut(word) {
                    *whole = store;
                }
                if !self.parts.is_empty() {
                    self.parts.remove(&word);
                }
            } else {
                let parts = self.parts.entry(word).or_default();
                parts.retain(|(old, _)| old.start < bytes.start || bytes.end < old.end);
                parts.extend(store.map(|store| (bytes, store)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Range, Stores};

    /// What is stored of values at these bytes, each of which may be read before the next is made.
    fn stored(values: &[(Range<usize>, Option<Range<usize>>)]) -> Vec<bool> {
        let mut stores = Stores::new(64);
        for _ in 0..2 {
            for (bytes, read) in values {
                stores.next(bytes.clone(), false);
                read.iter().for_each(|read| stores.read(read.clone()));
            }
            stores.again();
        }
        stores.needed
    }

    #[test]
    fn what_is_read_is_stored_and_nothing_else() {
        assert_eq!(stored(&[(0..32, None), (32..64, Some(40..48))]), [false, true]);
        assert_eq!(
            stored(&[(0..32, None), (0..32, Some(0..8))]),
            [false, true],
            "overwritten before it is read"
        );
        assert_eq!(stored(&[(0..4, None), (4..8, Some(4..8))]), [false, true], "halves of a word");
        assert_eq!(stored(&[(0..4, None), (4..8, None), (8..9, Some(0..9))]), [true, true, true]);
        assert_eq!(stored(&[(0..8, None), (2..3, Some(3..4))]), [true, false], "a word, and a byte of it");
        assert_eq!(stored(&[(8..9, None), (8..9, Some(8..9))]), [false, true]);
        assert_eq!(stored(&[(60..61, Some(60..61)), (0..64, None)]), [true, false]);
    }
}
