//! Batches of matrices. Of small ones as many are done at once as a register has lanes, each element of all of them side by side; the others, and those that are left over, one by one. Both ways the
//! numbers of a matrix meet in the same order, so that it has the same bits.

use super::{cholesky, lu, lu_solve};
use crate::error::Fault;
use crate::kernels::simd::{Isa, Real, Simd, Vector, WIDEST};
use crate::kernels::turn::turn;

/// Rows of matrices, and columns of right sides, that are small.
const SMALL: usize = 16;

/// Elements of scratch for small matrices of `n` rows and systems of `m` columns.
pub(super) fn scratch(n: usize, m: usize) -> usize {
    if n <= SMALL { n * (n + 1 + m.min(SMALL)) * WIDEST } else { 0 }
}

/// [`cholesky`] of matrices behind each other. An error names the first that is not positive definite, and its pivot.
pub(crate) fn choleskys<T: Real>(
    isa: Isa,
    n: usize,
    a: &[T],
    out: &mut [T],
    scratch: &mut [T],
) -> Result<(), (usize, usize)> {
    let size = (n * n).max(1);
    let done = if n <= SMALL { isa.narrow(Choleskys { n, a, out, scratch })? } else { 0 };
    for (i, (a, out)) in a.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate().skip(done) {
        cholesky(isa, n, a, out, scratch).map_err(|pivot| (i, pivot))?;
    }
    Ok(())
}

/// [`lu`] of matrices behind each other, each with its order and its sign.
pub(crate) fn lus<T: Real>(
    isa: Isa,
    n: usize,
    a: &mut [T],
    (orders, signs): (&mut [i64], &mut [i64]),
    scratch: &mut [T],
) -> Result<(), Fault> {
    let done = if n <= SMALL { isa.narrow(Lus { n, a, orders, signs, scratch }) } else { 0 };
    for (i, sign) in signs.iter_mut().enumerate().skip(done) {
        *sign = lu(isa, n, &mut a[i * n * n..][..n * n], &mut orders[i * n..][..n], scratch)?;
    }
    Ok(())
}

/// The solutions of `A X = B` of `m` columns, or of `Aᵀ X = B`, for systems behind each other. `factors` and `order` have room for those of one.
pub(crate) fn solves<T: Real>(
    isa: Isa,
    transposed: bool,
    [n, m]: [usize; 2],
    (a, b): (&[T], &[T]),
    x: &mut [T],
    (factors, order): (&mut [T], &mut [i64]),
    scratch: &mut [T],
) -> Result<(), Fault> {
    let (size, right) = ((n * n).max(1), (n * m).max(1));
    let small = n <= SMALL && m <= SMALL;
    let done = if small { isa.narrow(Solves { transposed, n, m, a, b, x, scratch }) } else { 0 };
    let systems = a.chunks_exact(size).zip(b.chunks_exact(right)).zip(x.chunks_exact_mut(right));
    for ((a, b), x) in systems.skip(done) {
        factors.copy_from_slice(a);
        lu(isa, n, factors, order, scratch)?;
        lu_solve(isa, transposed, [n, m], (factors, order), b, (x, scratch))?;
    }
    Ok(())
}

/// The lanes of a number.
#[inline(always)]
fn get<V: Vector>(x: &[V::Scalar], at: usize) -> V {
    // SAFETY: the slice is as long as a register.
    unsafe { V::load(x[at * V::LANES..][..V::LANES].as_ptr()) }
}

#[inline(always)]
fn set<V: Vector>(x: &mut [V::Scalar], at: usize, lanes: V) {
    // SAFETY: as above.
    unsafe { lanes.store(x[at * V::LANES..][..V::LANES].as_mut_ptr()) };
}

/// A small number in each lane, as such.
fn whole<T: Real>(number: T) -> usize {
    number.to_f64() as usize
}

struct Choleskys<'a, T> {
    n: usize,
    a: &'a [T],
    out: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Simd<T> for Choleskys<'_, T> {
    /// How many matrices are done.
    type Output = Result<usize, (usize, usize)>;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> Self::Output {
        let Self { n, a, out, scratch } = self;
        let (size, half) = (n * n, V::splat(0.5));
        let x = &mut scratch[..size * V::LANES];
        let groups =
            a.chunks_exact((size * V::LANES).max(1)).zip(out.chunks_exact_mut((size * V::LANES).max(1)));
        let mut done = 0;
        for (a, out) in groups {
            lay::<V>(a, size, x);
            let mut failed = V::splat(n as f64);
            for k in 0..n {
                let pivot = remaining::<V>(n, x, k, k, half);
                let fails = !pivot.gt(V::splat(0.0)) & !failed.lt(V::splat(n as f64));
                failed = V::select(fails, V::splat(k as f64), failed);
                let root = pivot.sqrt();
                for j in k + 1..n {
                    let number = remaining::<V>(n, x, k, j, half);
                    set::<V>(x, j * n + k, number / root);
                    set::<V>(x, k * n + j, V::splat(0.0));
                }
                set::<V>(x, k * n + k, root);
            }
            let mut pivots = [T::default(); WIDEST];
            set::<V>(&mut pivots, 0, failed);
            if let Some((lane, pivot)) = pivots[..V::LANES].iter().enumerate().find(|(_, p)| whole(**p) < n) {
                return Err((done + lane, whole(*pivot)));
            }
            spread::<V>(x, size, out);
            done += V::LANES;
        }
        Ok(done)
    }
}

/// Element `(k, j)` of the symmetric part of a matrix, minus the product of what is known of rows `k` and `j` of its factor.
#[inline(always)]
fn remaining<V: Vector>(n: usize, x: &[V::Scalar], k: usize, j: usize, half: V) -> V {
    let mut number = (get::<V>(x, k * n + j) + get::<V>(x, j * n + k)) * half;
    for p in 0..k {
        number = (-get::<V>(x, k * n + p)).mul_add(get::<V>(x, j * n + p), number);
    }
    number
}

struct Lus<'a, T> {
    n: usize,
    a: &'a mut [T],
    orders: &'a mut [i64],
    signs: &'a mut [i64],
    scratch: &'a mut [T],
}

impl<T: Real> Simd<T> for Lus<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> usize {
        let Self { n, a, orders, signs, scratch } = self;
        let size = n * n;
        let (x, pivots) = scratch[..(size + n) * V::LANES].split_at_mut(size * V::LANES);
        let mut done = 0;
        for a in a.chunks_exact_mut((size * V::LANES).max(1)) {
            lay::<V>(a, size, x);
            factor::<V>(n, x, pivots);
            spread::<V>(x, size, a);
            for lane in done..done + V::LANES {
                let order = &mut orders[lane * n..][..n];
                order.iter_mut().zip(0..).for_each(|(to, i)| *to = i);
                signs[lane] = 1;
                for k in 0..n {
                    let pivot = whole(pivots[k * V::LANES + lane - done]);
                    if pivot != k {
                        order.swap(k, pivot);
                        signs[lane] = -signs[lane];
                    }
                }
            }
            done += V::LANES;
        }
        done
    }
}

/// Replaces matrices by their factors, and writes for each column which row it was exchanged with.
#[inline(always)]
fn factor<V: Vector>(n: usize, x: &mut [V::Scalar], pivots: &mut [V::Scalar]) {
    for k in 0..n {
        let mut pivot = V::splat(k as f64);
        let mut largest = get::<V>(x, k * n + k).abs();
        for i in k + 1..n {
            let other = get::<V>(x, i * n + k).abs();
            let larger = other.gt(largest);
            largest = V::select(larger, other, largest);
            pivot = V::select(larger, V::splat(i as f64), pivot);
        }
        set::<V>(pivots, k, pivot);
        exchange::<V>([n, n], x, k, pivot);
        let divisor = get::<V>(x, k * n + k);
        let none = divisor.eq(V::splat(0.0));
        for i in k + 1..n {
            let first = get::<V>(x, i * n + k);
            let factor = V::select(none, first, first / divisor);
            set::<V>(x, i * n + k, factor);
            for j in k + 1..n {
                let number = get::<V>(x, i * n + j);
                let less = (-factor).mul_add(get::<V>(x, k * n + j), number);
                set::<V>(x, i * n + j, V::select(none, number, less));
            }
        }
    }
}

/// Exchanges row `k` with the row of each lane below.
#[inline(always)]
fn exchange<V: Vector>([n, m]: [usize; 2], x: &mut [V::Scalar], k: usize, pivot: V) {
    for i in k + 1..n {
        let here = pivot.eq(V::splat(i as f64));
        for j in 0..m {
            let (above, below) = (get::<V>(x, k * m + j), get::<V>(x, i * m + j));
            set::<V>(x, k * m + j, V::select(here, below, above));
            set::<V>(x, i * m + j, V::select(here, above, below));
        }
    }
}

struct Solves<'a, T> {
    transposed: bool,
    n: usize,
    m: usize,
    a: &'a [T],
    b: &'a [T],
    x: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Real> Simd<T> for Solves<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) -> usize {
        let Self { transposed, n, m, a, b, x, scratch } = self;
        let (size, right) = (n * n, n * m);
        let (lu, rest) = scratch[..(size + n + right) * V::LANES].split_at_mut(size * V::LANES);
        let (pivots, y) = rest.split_at_mut(n * V::LANES);
        let of = |size: usize| (size * V::LANES).max(1);
        let systems = a.chunks_exact(of(size)).zip(b.chunks_exact(of(right)));
        let mut done = 0;
        for ((a, b), x) in systems.zip(x.chunks_exact_mut(of(right))) {
            lay::<V>(a, size, lu);
            lay::<V>(b, right, y);
            factor::<V>(n, lu, pivots);
            if transposed {
                triangle::<V>([n, m], |i, j| j * n + i, true, false, lu, y);
                triangle::<V>([n, m], |i, j| j * n + i, false, true, lu, y);
                for k in (0..n).rev() {
                    exchange::<V>([n, m], y, k, get(pivots, k));
                }
            } else {
                for k in 0..n {
                    exchange::<V>([n, m], y, k, get(pivots, k));
                }
                triangle::<V>([n, m], |i, j| i * n + j, true, true, lu, y);
                triangle::<V>([n, m], |i, j| i * n + j, false, false, lu, y);
            }
            spread::<V>(y, right, x);
            done += V::LANES;
        }
        done
    }
}

/// Replaces right sides by the solutions of triangular systems: from the first row or from the last, with ones on the diagonal or what is there.
#[inline(always)]
fn triangle<V: Vector>(
    [n, m]: [usize; 2],
    at: impl Fn(usize, usize) -> usize,
    forward: bool,
    unit: bool,
    lu: &[V::Scalar],
    y: &mut [V::Scalar],
) {
    for step in 0..n {
        let i = if forward { step } else { n - 1 - step };
        let mut column = 0;
        while column < m {
            // Some columns together, which wait for none of each other.
            if m - column >= TOGETHER {
                columns::<V, TOGETHER>([n, m], &at, (step, i, column), (forward, unit), lu, y);
                column += TOGETHER;
            } else {
                columns::<V, 1>([n, m], &at, (step, i, column), (forward, unit), lu, y);
                column += 1;
            }
        }
    }
}

/// Right sides that are solved for together.
const TOGETHER: usize = 4;

/// Row `i`, which is found in step `step`, of `N` columns.
#[inline(always)]
fn columns<V: Vector, const N: usize>(
    [n, m]: [usize; 2],
    at: &impl Fn(usize, usize) -> usize,
    (step, i, column): (usize, usize, usize),
    (forward, unit): (bool, bool),
    lu: &[V::Scalar],
    y: &mut [V::Scalar],
) {
    let mut numbers = [V::splat(0.0); N];
    for (c, number) in numbers.iter_mut().enumerate() {
        *number = get::<V>(y, i * m + column + c);
    }
    for earlier in 0..step {
        let j = if forward { earlier } else { n - 1 - earlier };
        let factor = -get::<V>(lu, at(i, j));
        for (c, number) in numbers.iter_mut().enumerate() {
            *number = factor.mul_add(get::<V>(y, j * m + column + c), *number);
        }
    }
    let divisor = if unit { V::splat(1.0) } else { get::<V>(lu, at(i, i)) };
    for (c, number) in numbers.into_iter().enumerate() {
        set::<V>(y, i * m + column + c, if unit { number } else { number / divisor });
    }
}

/// Lays arrays of `len` numbers behind each other, one for each lane, out as `[len, lanes]`.
#[inline(always)]
fn lay<V: Vector>(arrays: &[V::Scalar], len: usize, out: &mut [V::Scalar]) {
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
fn spread<V: Vector>(lanes: &[V::Scalar], len: usize, out: &mut [V::Scalar]) {
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
