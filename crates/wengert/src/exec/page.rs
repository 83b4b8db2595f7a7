//! Machine code in memory that is written first and executed then, never both.

use memmap2::{Mmap, MmapMut};

use super::memory::Region;

/// Code that may be executed. Its bytes are never written again.
pub(super) struct Page {
    code: Mmap,
    /// Where the code of each of its parts begins.
    starts: Box<[u32]>,
}

impl Page {
    /// `None` where the system gives no such memory, or its functions are called otherwise than the code calls them.
    pub(super) fn new(code: &[u8], starts: Box<[u32]>) -> Option<Self> {
        if !cfg!(all(target_arch = "x86_64", unix)) {
            return None;
        }
        let mut page = MmapMut::map_anon(code.len()).ok()?;
        page.copy_from_slice(code);
        Some(Self { code: page.make_exec().ok()?, starts })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.code
    }

    pub(super) fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Runs the code.
    ///
    /// # Safety
    /// It is what the assembler of the room `machine` made between entering and leaving, for a processor with these instructions;
    /// what it reads and writes behind these regions is there, and nobody else has it.
    #[inline]
    pub(super) unsafe fn run(&self, regions: &[Region]) {
        // SAFETY: the caller's promise; the code keeps to this convention, which is that of C where there is a page.
        unsafe {
            let code: unsafe extern "C" fn(*mut u8, *const Region) = std::mem::transmute(self.code.as_ptr());
            code(regions[0].base(), regions.as_ptr());
        }
    }
}
