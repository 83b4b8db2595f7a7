//! Owned elements that begin at a cache line.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::error::ErrorKind;

/// Bytes of a cache line, and of the widest vector register.
const LINE: usize = 64;
/// Arrays of fewer bytes lie where they happen to.
const SMALL: usize = 1 << 10;

/// A vector of numbers whose first one, if they are many, lies at the beginning of a cache line: registers that cross
/// lines take two reads each, and rows that do share lines with their neighbours.
///
/// ```
/// let numbers = wengert::Aligned::from(vec![1.5f32; 1000]);
/// assert_eq!((numbers.len(), numbers.as_ptr().addr() % 64), (1000, 0));
/// ```
pub struct Aligned<T> {
    /// The elements from `start` on.
    memory: Vec<T>,
    start: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// So many times the same number. An error where the allocation fails.
    pub fn filled(len: usize, value: T) -> Result<Self, ErrorKind> {
        let mut memory = Vec::new();
        let memory_error = |_| ErrorKind::Memory { bytes: len.saturating_mul(size_of::<T>()) };
        memory.try_reserve_exact(len.saturating_add(Self::room(len))).map_err(memory_error)?;
        let start = Self::start(&memory, len);
        memory.resize(start + len, value);
        Ok(Self { memory, start })
    }

    /// Elements that may lie before the first of so many.
    fn room(len: usize) -> usize {
        if len.saturating_mul(size_of::<T>()) < SMALL { 0 } else { LINE / size_of::<T>() - 1 }
    }

    /// Where in memory with room so many elements begin.
    fn start(memory: &[T], len: usize) -> usize {
        let start = memory.as_ptr().align_offset(LINE);
        if start <= Self::room(len) { start } else { 0 }
    }
}

impl<T: Copy + Default> From<Vec<T>> for Aligned<T> {
    fn from(mut memory: Vec<T>) -> Self {
        let len = memory.len();
        if Self::start(&memory, len) > 0 {
            memory.reserve_exact(Self::room(len));
        }
        let start = Self::start(&memory, len);
        memory.resize(start + len, T::default());
        memory.copy_within(..len, start);
        Self { memory, start }
    }
}

impl<T: Copy + Default> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut memory = Vec::with_capacity(self.len() + Self::room(self.len()));
        let start = Self::start(&memory, self.len());
        memory.resize(start, T::default());
        memory.extend_from_slice(self);
        Self { memory, start }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.memory[self.start..]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..]
    }
}

impl<T: PartialEq> PartialEq for Aligned<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_begin_at_a_line_however_they_came() {
        fn check<T: Copy + Default + PartialEq + fmt::Debug>(of: impl Fn(usize) -> T) {
            for len in [0, 1, 17, 255, 256, 1000, 5000, 100_001] {
                for spare in [0, 3, 100] {
                    let mut elements = Vec::with_capacity(len + spare);
                    elements.extend((0..len).map(&of));
                    let (aligned, filled) =
                        (Aligned::from(elements.clone()), Aligned::filled(len, of(7)).unwrap());
                    let copy = aligned.clone();
                    assert_eq!((&*aligned, &*copy), (&*elements, &*elements));
                    assert_eq!(*filled, vec![of(7); len]);
                    if len * size_of::<T>() >= SMALL {
                        assert!([&aligned, &copy, &filled].iter().all(|a| a.as_ptr().addr() % LINE == 0));
                    }
                }
            }
        }
        check(|i| i as f64);
        check(|i| i as f32);
        check(|i| i as u8);
    }

    #[test]
    fn an_allocation_that_fails_is_an_error() {
        assert!(matches!(Aligned::filled(usize::MAX / 16, 0.0f64), Err(ErrorKind::Memory { .. })));
        assert!(matches!(Aligned::filled(usize::MAX, 0u8), Err(ErrorKind::Memory { .. })));
    }
}
