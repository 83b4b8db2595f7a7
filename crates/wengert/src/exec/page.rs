//! Machine code in memory that is written first and executed then, never both.

use std::ops::Range;

use memmap2::{Mmap, MmapMut};

use super::memory::Region;

/// Code, and what it is of.
#[derive(Default)]
pub(super) struct Code {
    pub(super) bytes: Vec<u8>,
    /// Micro-ops that are one function, in their order, and the byte that this begins with.
    pub(super) parts: Vec<(Range<usize>, u32)>,
    /// The byte that the code of each micro-op begins with.
    pub(super) starts: Vec<u32>,
}

/// Code that may be executed. Its bytes are never written again.
pub(super) struct Page {
    bytes: Mmap,
    /// What it was made of, but for the bytes.
    code: Code,
}

impl Page {
    /// `None` where the system gives no such memory, or its functions are called otherwise than the code calls them.
    pub(super) fn new(mut code: Code) -> Option<Self> {
        if !cfg!(all(target_arch = "x86_64", unix)) {
            return None;
        }
        let bytes = std::mem::take(&mut code.bytes);
        let mut page = MmapMut::map_anon(bytes.len()).ok()?;
        page.copy_from_slice(&bytes);
        Some(Self { bytes: page.make_exec().ok()?, code })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it is of; its bytes are elsewhere.
    pub(super) fn code(&self) -> &Code {
        &self.code
    }

    /// Runs the loop that begins with this byte for arrays of so many elements.
    ///
    /// # Safety
    /// The loop is of as many pointers. Pointer by pointer, as many elements as it reads and writes are there, and nobody else writes what
    /// it reads or uses what it writes; only where two pointers are one do those share bytes.
    pub(super) unsafe fn run_loop(&self, byte: u32, pointers: &[*mut u8], len: usize) {
        let Some(code) = self.bytes.get(byte as usize..) else { return };
        // SAFETY: the caller's promise; the code was made for this processor, keeps to the convention of C, and ends.
        unsafe {
            let code: unsafe extern "C" fn(*const *mut u8, usize) = std::mem::transmute(code.as_ptr());
            code(pointers.as_ptr(), len);
        }
    }

    /// The function of these micro-ops, if they are one.
    #[inline]
    pub(super) fn part(&self, ops: &Range<usize>) -> Option<Function<'_>> {
        let at = self.code.parts.partition_point(|(part, _)| part.start < ops.start);
        let (part, byte) = self.code.parts.get(at)?;
        if part == ops { self.bytes.get(*byte as usize..).map(Function) } else { None }
    }
}

/// A function of a page.
pub(super) struct Function<'a>(&'a [u8]);

impl Function<'_> {
    /// Runs it.
    ///
    /// # Safety
    /// It is what the assembler of the room `machine` made between entering and leaving, for a processor with these instructions; what it
    /// reads and writes behind these regions is there, and nobody else has it.
    #[inline]
    pub(super) unsafe fn run(self, regions: &[Region]) {
        // SAFETY: the caller's promise; the code keeps to this convention, which is that of C where there is a page.
        unsafe {
            let code: unsafe extern "C" fn(*mut u8, *const Region) = std::mem::transmute(self.0.as_ptr());
            code(regions[0].base(), regions.as_ptr());
        }
    }
}
