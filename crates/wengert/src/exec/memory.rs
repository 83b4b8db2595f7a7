//! The memory of a run: an arena, and what is bound, in typed views of their parts.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use super::frame::Frame;
use super::place::{ALIGN, Place, WORD};
use crate::dtype::DType;
use crate::elements::{Native, Slice, SliceMut, with_dtype};
use crate::error::ErrorKind;
use crate::shape::TensorType;

/// Zeroed memory, aligned to [`ALIGN`]. The system hands out its pages when they are first written.
pub(super) struct Arena {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the arena owns its memory alone, and lends it out under the borrow checker.
unsafe impl Send for Arena {}
// SAFETY: as above; what is shared is only read.
unsafe impl Sync for Arena {}

impl Arena {
    pub(super) fn new(bytes: usize) -> Result<Self, ErrorKind> {
        let memory = || ErrorKind::Memory { bytes };
        // Never empty, which the allocator would not take.
        let layout = Layout::from_size_align(bytes.max(ALIGN), ALIGN).map_err(|_| memory())?;
        // SAFETY: the layout has a size above zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(memory)?;
        Ok(Self { base, layout })
    }

    /// All of it, to be lent out in parts.
    pub(super) fn region(&mut self) -> Region {
        Region { base: self.base.as_ptr(), bytes: self.layout.size() }
    }

    /// One part, for reading.
    #[inline]
    pub(super) fn slice(&self, offset: usize, dtype: DType, len: usize) -> Slice<'_> {
        // SAFETY: the memory is borrowed shared for as long as the slice lives, so nobody writes it;
        // `typed` checks bounds and alignment.
        unsafe { typed(self.base.as_ptr(), self.layout.size(), offset, dtype, len) }
    }

    /// One part of elements of a type, for reading; empty if it does not lie inside.
    #[inline]
    pub(super) fn part<T: Native>(&self, offset: usize, len: usize) -> &[T] {
        // SAFETY: the memory is borrowed shared for as long as the slice lives, so nobody writes it.
        unsafe { part(self.base.as_ptr(), self.layout.size(), offset, len) }
    }

    /// One part, for writing.
    pub(super) fn slice_mut(&mut self, offset: usize, dtype: DType, len: usize) -> SliceMut<'_> {
        // SAFETY: the memory is borrowed exclusively for as long as the slice lives.
        unsafe { self.region().slice_mut(offset, dtype, len) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and lent to nobody any more.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// Memory that is handed out in parts, by promises that the borrow checker does not see: see each method.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Region {
    base: *mut u8,
    bytes: usize,
}

/// Bytes of a [`Region`], of which the first word says where it lies: what machine code counts in.
#[cfg(feature = "jit")]
pub(super) const REGION: usize = size_of::<Region>();

// SAFETY: a `Region` does nothing by itself; each of its parts is made under the promise that no other
// overlaps it that is written, on whatever thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Where nothing is.
    pub(super) const NOWHERE: Self = Self { base: std::ptr::null_mut(), bytes: 0 };

    /// An array, only for reading.
    pub(super) fn shared(array: Slice<'_>) -> Self {
        Self::of_bytes(array.as_bytes())
    }

    /// Bytes, only for reading.
    #[inline]
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self { base: bytes.as_ptr().cast_mut(), bytes: bytes.len() }
    }

    /// An array.
    pub(super) fn exclusive(array: &mut SliceMut<'_>) -> Self {
        let bytes = array.as_bytes_mut();
        Self { base: bytes.as_mut_ptr(), bytes: bytes.len() }
    }

    /// Where it lies.
    #[cfg(feature = "jit")]
    pub(super) fn base(&self) -> *mut u8 {
        self.base
    }

    /// The first of `len` numbers of so many bytes each, if they lie inside and are aligned.
    pub(super) fn pointer(&self, offset: usize, len: usize, bytes: usize) -> Option<*mut u8> {
        let end = len.checked_mul(bytes).and_then(|b| b.checked_add(offset));
        let fits = offset.is_multiple_of(bytes) && end.is_some_and(|end| end <= self.bytes);
        fits.then(|| self.base.wrapping_add(offset))
    }

    /// A part of known type for writing; empty if it does not lie inside.
    ///
    /// # Safety
    /// As for [`slice_mut`](Self::slice_mut).
    #[inline]
    unsafe fn part_mut<'a, T: Native>(&self, offset: usize, len: usize) -> &'a mut [T] {
        if !fits::<T>(self.bytes, offset, len) {
            return &mut [];
        }
        // SAFETY: as for `part`, and nothing else refers to it by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).cast(), len) }
    }

    /// A part for reading; empty if it does not lie inside.
    ///
    /// # Safety
    /// The memory lives for 'a, and no part for writing that overlaps this one lives at the same time.
    pub(super) unsafe fn slice<'a>(&self, offset: usize, dtype: DType, len: usize) -> Slice<'a> {
        // SAFETY: `base` points to `bytes` initialised bytes; the caller keeps writers of this part away.
        unsafe { typed(self.base, self.bytes, offset, dtype, len) }
    }

    /// A part for writing; empty if it does not lie inside.
    ///
    /// # Safety
    /// The memory is writable and lives for 'a, and no other part that overlaps this one lives at the
    /// same time.
    #[inline]
    pub(super) unsafe fn slice_mut<'a>(&self, offset: usize, dtype: DType, len: usize) -> SliceMut<'a> {
        // SAFETY: the promise is passed on unchanged.
        with_dtype!(dtype, T => T::typed_mut(unsafe { self.part_mut(offset, len) }, dtype))
    }

    /// The eight-byte words of a part, for writing.
    ///
    /// # Safety
    /// As for [`slice_mut`](Self::slice_mut).
    pub(super) unsafe fn words<'a>(&self, offset: usize, bytes: usize) -> &'a mut [u64] {
        let len = bytes.div_ceil(8);
        if !fits::<u64>(self.bytes, offset, len) {
            return &mut [];
        }
        // SAFETY: in bounds and aligned by `fits`, initialised, unshared by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset).cast(), len) }
    }
}

/// The regions of a run, in words of eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    addresses: Addresses,
    regions: &'a [Region],
}

impl Words<'_> {
    /// # Safety
    /// There is such a region; its word is inside of it, of the arena inside of what was reached for.
    #[inline(always)]
    pub(super) unsafe fn word(self, address: Address) -> *mut u8 {
        let (region, byte) = self.addresses.place(address);
        // SAFETY: passed on from the caller.
        unsafe { self.regions.get_unchecked(region).base.add(byte) }
    }
}

/// A word of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Address(u32);

/// How a region and a word of it are one number: so many bits are the word's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addresses(u32);

impl Addresses {
    /// Those of so many regions.
    pub(super) fn new(regions: usize) -> Self {
        Self((regions.max(2) - 1).leading_zeros() - (usize::BITS - u32::BITS))
    }

    /// The address of a byte of a region; `None` where that is no word, or one too far.
    pub(super) fn at(self, region: usize, byte: usize) -> Option<Address> {
        let word = Some(byte / WORD).filter(|word| byte.is_multiple_of(WORD) && word >> self.0 == 0)?;
        let region = Some(region).filter(|region| region.checked_shr(u32::BITS - self.0) == Some(0))?;
        Some(Address((region << self.0 | word) as u32))
    }

    /// The region, and the byte.
    #[inline(always)]
    pub(super) fn place(self, Address(address): Address) -> (usize, usize) {
        let word = address & ((1 << self.0) - 1);
        ((address >> self.0) as usize, word as usize * WORD)
    }
}

/// Whether `len` elements of `T` at `offset` lie inside `bytes` and are aligned. What is handed out is at
/// least as aligned as its first element was: an arena's line, or an array of the same type.
#[inline]
fn fits<T>(bytes: usize, offset: usize, len: usize) -> bool {
    let end = len.checked_mul(size_of::<T>()).and_then(|b| b.checked_add(offset));
    offset.is_multiple_of(align_of::<T>()) && end.is_some_and(|end| end <= bytes)
}

/// A typed view of a part; empty if it does not lie inside.
///
/// # Safety
/// `base` points to `bytes` initialised bytes that nobody writes to during 'a where they overlap
/// the part.
#[inline]
unsafe fn typed<'a>(base: *mut u8, bytes: usize, offset: usize, dtype: DType, len: usize) -> Slice<'a> {
    // SAFETY: the promise is passed on unchanged.
    with_dtype!(dtype, T => T::typed(unsafe { part(base, bytes, offset, len) }, dtype))
}

/// # Safety
/// As for `typed`.
#[inline]
unsafe fn part<'a, T: Native>(base: *mut u8, bytes: usize, offset: usize, len: usize) -> &'a [T] {
    if !fits::<T>(bytes, offset, len) {
        return &[];
    }
    // SAFETY: in bounds and aligned by `fits`; initialised and unwritten by the caller's promise;
    // T is a number, for which every bit pattern is valid.
    unsafe { std::slice::from_raw_parts(base.add(offset).cast(), len) }
}

/// All places of one run.
pub(super) struct Memory<'a> {
    pub(super) frame: &'a Frame,
    /// As the frame [counts](Frame::region) them.
    pub(super) regions: &'a [Region],
}

impl<'a> Memory<'a> {
    /// All regions, to be handed out by the word without further checks, of the arena the first bytes; `None` if they are not there.
    #[inline]
    pub(super) fn words(&self, addresses: Addresses, reach: usize) -> Option<Words<'a>> {
        let Region { base, bytes } = *self.regions.first()?;
        let there = reach <= bytes && base.addr().is_multiple_of(ALIGN);
        (there && self.regions.len() == self.frame.regions())
            .then_some(Words { addresses, regions: self.regions })
    }

    #[inline]
    pub(super) fn find(&self, place: Place) -> (Region, usize) {
        let (region, offset) = match place {
            Place::Arena(offset) | Place::Task(offset) | Place::Tile(offset) => (0, offset),
            Place::Home(home) => (self.frame.region(home), 0),
        };
        (self.regions[region], offset)
    }

    /// All of an array of this type.
    ///
    /// # Safety
    /// No writer of it lives at the same time.
    pub(super) unsafe fn place<'b>(&self, place: Place, ty: &TensorType) -> Slice<'b> {
        let (region, offset) = self.find(place);
        // SAFETY: passed on to the caller; the regions outlive the run.
        unsafe { region.slice(offset, ty.dtype, ty.shape.elements()) }
    }

    /// The same for writing.
    ///
    /// # Safety
    /// It lies in the arena, and no other user of it lives at the same time.
    #[inline]
    pub(super) unsafe fn place_mut<'b>(&self, place: Place, ty: &TensorType) -> SliceMut<'b> {
        let (region, offset) = self.find(place);
        // SAFETY: passed on to the caller; the regions outlive the run.
        unsafe { region.slice_mut(offset, ty.dtype, ty.shape.elements()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_disjoint_and_checked() {
        let mut arena = Arena::new(200).unwrap();
        let parts = arena.region();
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
            assert_eq!(parts.words(136, 64).len(), 8);
        }
        assert_eq!(arena.slice(0, DType::F64, 4).f64_at(3), Some(1.5));
    }

    #[test]
    fn addresses_have_as_many_bits_for_regions_as_there_are() {
        for regions in [1, 2, 3, 4, 5, 300, 1 << 20] {
            let addresses = Addresses::new(regions);
            let last = addresses.at(regions - 1, 8).unwrap();
            assert_eq!(addresses.place(last), (regions - 1, 8));
            let words = 1 << addresses.0;
            assert_eq!(addresses.place(addresses.at(0, 8 * (words - 1)).unwrap()), (0, 8 * (words - 1)));
            assert_eq!(addresses.at(0, 8 * words), None, "too far");
            assert_eq!(addresses.at(0, 4), None, "no word");
            assert!(
                addresses.at(2 * regions.next_power_of_two(), 0).is_none_or(|_| regions == 1),
                "no region"
            );
        }
    }

    #[test]
    fn an_allocation_that_fails_is_an_error() {
        assert!(matches!(Arena::new(isize::MAX as usize), Err(ErrorKind::Memory { .. })));
    }
}
