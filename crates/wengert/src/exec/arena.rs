//! One block of aligned memory, and typed views of its parts.

use std::marker::PhantomData;

use crate::dtype::{DType, Slice, SliceMut};
use crate::error::ErrorKind;

/// What the arena is aligned to, in bytes: a cache line, and the widest vector register.
pub(super) const ALIGN: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; ALIGN / 8]);

/// Zeroed memory, aligned to [`ALIGN`].
pub(super) struct Arena {
    lines: Vec<Line>,
}

impl Arena {
    pub(super) fn new(bytes: usize) -> Result<Self, ErrorKind> {
        let count = bytes.div_ceil(ALIGN);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| ErrorKind::Memory { bytes })?;
        lines.resize(count, Line([0; ALIGN / 8]));
        Ok(Self { lines })
    }

    /// Lends the memory out in parts.
    pub(super) fn parts(&mut self) -> Parts<'_> {
        Parts { base: self.lines.as_mut_ptr().cast(), bytes: self.lines.len() * ALIGN, borrow: PhantomData }
    }

    /// One part, for reading.
    pub(super) fn slice(&self, offset: usize, dtype: DType, len: usize) -> Slice<'_> {
        let (base, bytes) = (self.lines.as_ptr().cast::<u8>(), self.lines.len() * ALIGN);
        // SAFETY: the memory is borrowed shared for as long as the slice lives, so nobody writes it;
        // `typed` checks bounds and alignment.
        unsafe { typed(base.cast_mut(), bytes, offset, dtype, len) }
    }
}

/// The memory of an arena, borrowed mutably and handed out in parts that must not overlap.
pub(super) struct Parts<'a> {
    base: *mut u8,
    bytes: usize,
    borrow: PhantomData<&'a mut Arena>,
}

// SAFETY: a `Parts` does nothing by itself; each of its views is made under the promise that no other
// overlaps it, on whatever thread.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    /// A part for reading; empty if it does not lie inside.
    ///
    /// # Safety
    /// No part for writing that overlaps this one may live at the same time.
    pub(super) unsafe fn slice(&self, offset: usize, dtype: DType, len: usize) -> Slice<'a> {
        // SAFETY: `base` points to `bytes` initialised bytes, borrowed for 'a; the caller keeps
        // writers of this part away.
        unsafe { typed(self.base, self.bytes, offset, dtype, len) }
    }

    /// A part for writing; empty if it does not lie inside.
    ///
    /// # Safety
    /// No other part that overlaps this one may live at the same time.
    pub(super) unsafe fn slice_mut(&self, offset: usize, dtype: DType, len: usize) -> SliceMut<'a> {
        fn part<'a, T: Native>(p: &Parts<'a>, offset: usize, len: usize) -> &'a mut [T] {
            if !fits::<T>(p.bytes, offset, len) {
                return &mut [];
            }
            // SAFETY: `fits` checked that the range lies inside the `bytes` initialised bytes at
            // `base` and is aligned for T, every bit pattern is a T, and the caller of `slice_mut`
            // promises that nothing else refers to it.
            unsafe { std::slice::from_raw_parts_mut(p.base.add(offset).cast(), len) }
        }
        use crate::dtype::Native;
        match dtype {
            DType::F32 => SliceMut::F32(part(self, offset, len)),
            DType::F64 => SliceMut::F64(part(self, offset, len)),
            DType::U8 => SliceMut::U8(part(self, offset, len)),
            DType::U32 => SliceMut::U32(part(self, offset, len)),
            DType::I64 => SliceMut::I64(part(self, offset, len)),
            DType::Bool => SliceMut::Bool(part(self, offset, len)),
        }
    }

    /// The eight-byte words of a part, for writing.
    ///
    /// # Safety
    /// No other part that overlaps this one may live at the same time.
    pub(super) unsafe fn words(&self, offset: usize, bytes: usize) -> &'a mut [u64] {
        let len = bytes.div_ceil(8);
        if !fits::<u64>(self.bytes, offset, len) {
            return &mut [];
        }
        // SAFETY: in bounds and aligned by `fits`, initialised, unshared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).cast(), len) }
    }
}

/// Whether `len` elements of `T` at `offset` lie inside `bytes` and are aligned.
fn fits<T>(bytes: usize, offset: usize, len: usize) -> bool {
    let end = len.checked_mul(size_of::<T>()).and_then(|b| b.checked_add(offset));
    offset.is_multiple_of(align_of::<T>()) && end.is_some_and(|end| end <= bytes)
}

/// A typed view of a part; empty if it does not lie inside.
///
/// # Safety
/// `base` points to `bytes` initialised bytes that nobody writes to during 'a where they overlap
/// the part.
unsafe fn typed<'a>(base: *mut u8, bytes: usize, offset: usize, dtype: DType, len: usize) -> Slice<'a> {
    /// # Safety
    /// As for `typed`.
    unsafe fn part<'a, T>(base: *mut u8, bytes: usize, offset: usize, len: usize) -> &'a [T] {
        if !fits::<T>(bytes, offset, len) {
            return &[];
        }
        // SAFETY: in bounds and aligned by `fits`; initialised and unwritten by the caller's promise;
        // T is a number, for which every bit pattern is valid.
        unsafe { std::slice::from_raw_parts(base.add(offset).cast(), len) }
    }
    // SAFETY: the promise is passed on unchanged.
    unsafe {
        match dtype {
            DType::F32 => Slice::F32(part(base, bytes, offset, len)),
            DType::F64 => Slice::F64(part(base, bytes, offset, len)),
            DType::U8 => Slice::U8(part(base, bytes, offset, len)),
            DType::U32 => Slice::U32(part(base, bytes, offset, len)),
            DType::I64 => Slice::I64(part(base, bytes, offset, len)),
            DType::Bool => Slice::Bool(part(base, bytes, offset, len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_disjoint_and_checked() {
        let mut arena = Arena::new(200).unwrap();
        let parts = arena.parts();
        // SAFETY: bytes 0..32 and 64..80 do not overlap.
        let (a, b) = unsafe { (parts.slice_mut(0, DType::F64, 4), parts.slice(64, DType::F32, 4)) };
        let SliceMut::F64(a) = a else { panic!("the type is kept") };
        a.fill(1.5);
        assert_eq!((a.as_ptr().addr() % ALIGN, b.len()), (0, 4));
        // SAFETY: parts outside are empty, and the others are gone.
        unsafe {
            assert_eq!(parts.slice(0, DType::F64, 1000).len(), 0, "out of bounds");
            assert_eq!(parts.slice(4, DType::F64, 1).len(), 0, "not aligned");
            assert_eq!(parts.slice(8, DType::F64, usize::MAX).len(), 0, "not countable");
            assert_eq!(parts.words(192, 64).len(), 8);
        }
        assert_eq!(arena.slice(0, DType::F64, 4).f64_at(3), Some(1.5));
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        assert!(matches!(Arena::new(isize::MAX as usize), Err(ErrorKind::Memory { .. })));
    }
}
