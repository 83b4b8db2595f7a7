//! Contractions of two arrays along labelled axes, on top of a serial matrix product.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar, ShapeBuilder};

use crate::error::Fault;

/// One label of a contraction: its size and its stride in each array (`None` where absent).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) size: usize,
    /// Its size in the whole result, of which this call may compute a part. Choices are made by this,
    /// so that a part has the bits of the whole.
    pub(crate) full: usize,
    pub(crate) lhs: Option<isize>,
    pub(crate) rhs: Option<isize>,
    pub(crate) out: Option<isize>,
}

/// The largest number of labels: those of the result and as many summed ones.
pub(crate) const MAX_LABELS: usize = 2 * crate::shape::MAX_RANK;

/// Products with at most this many multiplications run as plain loops: packing would cost more.
const SMALL: usize = 512;

/// `out = Σ lhs · rhs` over the labels that `out` lacks.
pub(crate) fn contract<T>(axes: &mut [Axis], lhs: &[T], rhs: &[T], out: &mut [T]) -> Result<(), Fault>
where
    T: LinalgScalar,
{
    if axes.iter().any(|a| a.size == 0) {
        out.fill(T::zero());
        return Ok(());
    }
    let axes = {
        let kept = fuse(axes);
        &mut axes[..kept]
    };
    // The matrix product takes the largest label of each role; the others are looped over.
    let m = take(axes, |a| a.lhs.is_some() && a.rhs.is_none());
    let n = take(axes, |a| a.lhs.is_none() && a.rhs.is_some());
    let k = take(axes, |a| a.out.is_none());
    let accumulate = axes.iter().any(|a| a.out.is_none() && a.size > 1);
    if accumulate {
        out.fill(T::zero());
    }
    let mut index = [0usize; MAX_LABELS];
    let (mut l, mut r, mut o) = (0isize, 0isize, 0isize);
    loop {
        product(&m, &n, &k, &lhs[l as usize..], &rhs[r as usize..], &mut out[o as usize..], accumulate)?;
        let mut axis = axes.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            let a = axes[axis];
            let (sl, sr, so) = (a.lhs.unwrap_or(0), a.rhs.unwrap_or(0), a.out.unwrap_or(0));
            index[axis] += 1;
            l += sl;
            r += sr;
            o += so;
            if index[axis] < a.size {
                break;
            }
            let size = a.size as isize;
            l -= sl * size;
            r -= sr * size;
            o -= so * size;
            index[axis] = 0;
        }
    }
}

/// Merges labels that lie behind one another in every array; returns how many remain in front.
fn fuse(axes: &mut [Axis]) -> usize {
    let follows = |outer: Option<isize>, inner: Option<isize>, size: usize| match (outer, inner) {
        (None, None) => true,
        (Some(o), Some(i)) => o == i * size as isize,
        _ => false,
    };
    let mut kept = axes.len();
    let mut i = 0;
    while i < kept {
        let a = axes[i];
        let partner = (0..kept).find(|&j| {
            let b = axes[j];
            j != i
                && follows(a.lhs, b.lhs, b.size)
                && follows(a.rhs, b.rhs, b.size)
                && follows(a.out, b.out, b.size)
        });
        if let Some(j) = partner {
            axes[j].size *= a.size;
            axes[j].full *= a.full;
            axes[i..kept].rotate_left(1);
            kept -= 1;
            i = 0;
        } else {
            i += 1;
        }
    }
    kept
}

/// Takes the largest label of a role out of the loop, leaving a label of size 1 in its place.
fn take(axes: &mut [Axis], role: impl Fn(&Axis) -> bool) -> Axis {
    let unit = Axis { size: 1, full: 1, lhs: None, rhs: None, out: None };
    match axes.iter_mut().filter(|a| role(a)).max_by_key(|a| a.full) {
        Some(axis) => std::mem::replace(axis, unit),
        None => unit,
    }
}

/// One matrix product `out (+)= lhs[m, k] · rhs[k, n]` by strides.
fn product<T: LinalgScalar>(
    m: &Axis,
    n: &Axis,
    k: &Axis,
    lhs: &[T],
    rhs: &[T],
    out: &mut [T],
    accumulate: bool,
) -> Result<(), Fault> {
    let stride = |s: Option<isize>| s.unwrap_or(0).unsigned_abs();
    let (lm, lk) = (stride(m.lhs), stride(k.lhs));
    let (rk, rn) = (stride(k.rhs), stride(n.rhs));
    let (om, on) = (stride(m.out), stride(n.out));
    if m.full * n.full * k.full <= SMALL {
        for i in 0..m.size {
            for j in 0..n.size {
                let mut sum = T::zero();
                for p in 0..k.size {
                    sum = sum + lhs[i * lm + p * lk] * rhs[p * rk + j * rn];
                }
                let o = &mut out[i * om + j * on];
                *o = if accumulate { *o + sum } else { sum };
            }
        }
        return Ok(());
    }
    let misfit = |_| Fault::Custom("strides that leave their array");
    let a = ArrayView2::from_shape((m.size, k.size).strides((lm, lk)), lhs).map_err(misfit)?;
    let b = ArrayView2::from_shape((k.size, n.size).strides((rk, rn)), rhs).map_err(misfit)?;
    let mut c =
        ArrayViewMut2::from_shape((m.size, n.size).strides((om.max(1), on.max(1))), out).map_err(misfit)?;
    general_mat_mul(T::one(), &a, &b, if accumulate { T::one() } else { T::zero() }, &mut c);
    Ok(())
}
