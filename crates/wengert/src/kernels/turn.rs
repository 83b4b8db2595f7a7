//! A square of numbers transposed in registers: from one array of each lane to the lanes of each number, and back.

use super::simd::{Vector, WIDEST};

/// A square of numbers, rows for columns: as many of each as a register has lanes.
///
/// # Safety
/// At each of the places in `from` so many numbers can be read, and in `to` written.
#[inline(always)]
pub(super) unsafe fn turn<V: Vector>(
    from: impl Fn(usize) -> *const V::Scalar,
    to: impl Fn(usize) -> *mut V::Scalar,
) {
    let mut rows = [V::all(V::Scalar::default()); WIDEST];
    for (i, row) in rows.iter_mut().enumerate().take(V::LANES) {
        // SAFETY: the caller's places.
        *row = unsafe { V::load(from(i)) };
    }
    V::transpose(&mut rows);
    for (i, row) in rows.iter().enumerate().take(V::LANES) {
        // SAFETY: the caller's places.
        unsafe { row.store(to(i)) };
    }
}
