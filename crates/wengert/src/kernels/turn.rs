//! Squares of numbers transposed in registers: from one array of each lane to the lanes of each number, and back.

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

/// Lays arrays of `len` numbers behind each other, one for each lane, out as `[len, lanes]`.
#[inline(always)]
pub(super) fn lay<V: Vector>(arrays: &[V::Scalar], len: usize, out: &mut [V::Scalar]) {
    let (arrays, out) = (&arrays[..len * V::LANES], &mut out[..len * V::LANES]);
    if len < V::LANES {
        (0..out.len()).for_each(|i| out[i] = arrays[i % V::LANES * len + i / V::LANES]);
        return;
    }
    let (from, to) = (arrays.as_ptr(), out.as_mut_ptr());
    for at in squares::<V>(len) {
        // SAFETY: each array has numbers from `at` on for a register, and `out` as many registers.
        unsafe { turn::<V>(|i| from.add(i * len + at), |i| to.add((at + i) * V::LANES)) };
    }
}

/// The way back.
#[inline(always)]
pub(super) fn spread<V: Vector>(lanes: &[V::Scalar], len: usize, out: &mut [V::Scalar]) {
    let (lanes, out) = (&lanes[..len * V::LANES], &mut out[..len * V::LANES]);
    if len < V::LANES {
        (0..lanes.len()).for_each(|i| out[i % V::LANES * len + i / V::LANES] = lanes[i]);
        return;
    }
    let (from, to) = (lanes.as_ptr(), out.as_mut_ptr());
    for at in squares::<V>(len) {
        // SAFETY: as in `lay`.
        unsafe { turn::<V>(|i| from.add((at + i) * V::LANES), |i| to.add(i * len + at)) };
    }
}

/// Where squares begin that cover so many numbers, the last one where it ends with them.
#[inline(always)]
fn squares<V: Vector>(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(V::LANES).map(move |at| at.min(len - V::LANES))
}
