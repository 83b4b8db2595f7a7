//! The matrix product `C = α A · B + β C`, serial, in blocks for the caches.
//!
//! The loops are those of K. Goto and R. van de Geijn ("Anatomy of high-performance matrix
//! multiplication", TOMS 2008): a block of `k`, panels of `B` that stay near the processor, tiles of `C`
//! that stay in registers. Every element of `C` is one chain of fused multiply-adds in the order of `k`, whatever the
//! blocks, and whatever is computed beside it: a part of `C` has the bits of the whole, and registers of any width give
//! the same. A few columns are sums of a fixed number of such chains; see [`skinny`].

use super::pack::{self, Pack, pack_left};
use super::product::{Product, Right, Strides};
use super::reduce::rescale;
use super::simd::{Isa, Real, Simd, Vector};
use super::skinny::{self, Skinny};
use super::tile::{COLUMNS, LINE, ROWS, Tile, tile_rows};
use crate::error::Fault;

/// Bytes of a row of `A` in a block of `k`: so much of a panel of `B` and of a tile of `A` streams from the second
/// cache while a tile of `C` is summed. Shorter blocks would read and write `C` more often.
const DEPTH: usize = 4 << 10;
/// Rows of `A` whose block of `k` stays in the second cache, about.
const MC: usize = 128;
/// Rows of `A` at least, however long.
const LEAST_ROWS: usize = 24;
/// Panels of `B` for which it pays to lay out rows of `A` anew.
const OFTEN: usize = 8;
/// Up to this many rows of a transposed `A` stay in the first cache by themselves.
const SHORT: usize = 128;

/// Elements of scratch of a product whose `B` is packed.
pub(crate) fn left_len<T>(k: usize) -> usize {
    // `k` in blocks, or in one; a block of `A` may have a tile more.
    let block = |k: usize| (block_rows::<T>(k) + 8).saturating_mul(k);
    block(blocks(k, DEPTH / size_of::<T>()).1).max(block(k)).max(skinny::SCRATCH)
}

/// Rows in a block of `A`: fewer of longer ones.
fn block_rows<T>(k: usize) -> usize {
    (MC * (DEPTH / size_of::<T>()) / k.max(1)).clamp(LEAST_ROWS, MC)
}

/// Elements of scratch of a product whose `B` is plain.
pub(crate) fn scratch_len<T>(k: usize, n: usize) -> usize {
    pack::packed_len::<T>(k, n).saturating_add(left_len::<T>(k))
}

/// Cuts `total` into the fewest nearly equal pieces of at most `most`: their number and largest size.
fn blocks(total: usize, most: usize) -> (usize, usize) {
    let count = total.div_ceil(most).max(1);
    (count, total.div_ceil(count))
}

/// Computes a product. `scratch` has [`left_len`] elements where `B` is packed, else [`scratch_len`].
pub(crate) fn gemm<T: Real>(
    isa: Isa,
    p: &Product,
    a: &[T],
    b: Right<'_, T>,
    c: &mut [T],
    scratch: &mut [T],
) -> Result<(), Fault> {
    let (right, due) = match b {
        Right::Plain(b) => (p.b.inside(p.k, p.n, b.len()), scratch_len::<T>(p.k, p.n)),
        Right::Packed(b) => (b.len() >= pack::packed_len::<T>(p.k, p.n), left_len::<T>(p.k)),
    };
    let result = Strides { rows: p.c, columns: 1 }.inside(p.m, p.n, c.len());
    if !(right && result && p.a.inside(p.m, p.k, a.len()) && scratch.len() >= due) {
        return Err(pack::OUTSIDE);
    }
    if p.k > 0 {
        let (left, right) = scratch.split_at_mut(left_len::<T>(p.k));
        if let Right::Plain(b) = b {
            isa.run(Pack { p, start: 0, n: p.n, rest: true, b, out: &mut *right });
        }
        isa.run(Gemm { p, a, b, c, left, right });
    } else {
        c.chunks_mut(p.c.max(1)).take(p.m).for_each(|row| rescale(&mut row[..p.n], p.beta));
    }
    Ok(())
}

struct Gemm<'a, 'b, T> {
    p: &'a Product,
    a: &'b [T],
    b: Right<'b, T>,
    c: &'a mut [T],
    /// Room for rows of `A`.
    left: &'a mut [T],
    /// What is packed of a plain `B`.
    right: &'a [T],
}

impl<T: Real> Simd<T> for Gemm<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Scalar = T>>(self) {
        let Self { p, a, b, c, left, right } = self;
        let width = V::VECTORS * V::LANES;
        let skinny = p.skinny_columns::<V>();
        let n = p.n - skinny;
        let (whole, plain, packed) = match b {
            Right::Packed(b) => (0, b, b),
            Right::Plain(b) => (p.plain_columns::<V>(), b, right),
        };
        let alpha = T::from_f64(p.alpha);
        // What is added to something else is summed before it is: in one block.
        let depth = if p.beta == 0.0 { DEPTH / size_of::<T>() } else { p.k };
        let (k_blocks, k_most) = blocks(p.k, depth);
        let most = block_rows::<T>(k_most);
        let m_most = if n > 0 { blocks(p.m, most).1.next_multiple_of(V::ROWS) } else { p.m };
        // Read down its columns `A` has a new cache line for every element, and along its rows as many streams as
        // rows: packed where it is read often.
        let reads = n.div_ceil(width);
        let pack_a = match p.a {
            Strides { columns: 1, .. } => reads >= OFTEN,
            Strides { rows: 1, .. } => reads > 1 && p.k > SHORT,
            _ => reads > 0,
        };
        for block in 0..k_blocks {
            let k0 = block * k_most;
            let k = k_most.min(p.k.saturating_sub(k0));
            for m0 in (0..p.m).step_by(m_most.max(1)) {
                let m = m_most.min(p.m - m0);
                if pack_a {
                    pack_left::<V>(a, p.a, (m0, m), (k0, k), left);
                }
                for column in (0..n).step_by(width) {
                    let columns = (n - column).min(width);
                    let (b, b_row) = if column < whole {
                        (&plain[k0 * p.b.rows + column..], p.b.rows)
                    } else {
                        let width = columns.next_multiple_of(V::LANES);
                        (&packed[p.k * (column - whole) + k0 * width..], width)
                    };
                    let mut i = 0;
                    while i < m {
                        let rows = tile_rows::<V>(m - i);
                        let (a, a_step) = match p.a {
                            _ if pack_a => (&left[i * k..], rows),
                            Strides { rows, columns: 1 } => (&a[(m0 + i) * rows + k0..], rows),
                            Strides { columns, .. } => (&a[m0 + i + k0 * columns..], columns),
                        };
                        let c = c[(m0 + i) * p.c + column..].as_mut_ptr();
                        let (a, b) = (a.as_ptr(), b.as_ptr());
                        // The last tiles of a panel fetch the next one, if it lies behind this one.
                        let left = (m - i - rows) / V::ROWS;
                        let further = if left < V::VECTORS && reads > 1 {
                            p.k * width + left * k * LINE / size_of::<T>()
                        } else {
                            0
                        };
                        let soon = b.wrapping_add(further);
                        let (c_row, begun, gates) = (p.c, block > 0, p.gates);
                        let beta = T::from_f64(p.beta);
                        #[rustfmt::skip]
                        let tile = Tile {
                            k, a, a_step, b, b_row, soon, c, c_row, columns, begun, beta, alpha, gates,
                        };
                        if p.beta != 0.0 {
                            tile.fetch_result(rows);
                        }
                        // SAFETY: `gemm` checked that all of A, B and C lie inside their slices, and the rows
                        // and columns of this tile are among theirs; packed panels are whole vectors wide, and
                        // where B is plain the panel is.
                        unsafe {
                            if p.a.columns == 1 && !pack_a {
                                V::tile::<ROWS>(&tile, rows);
                            } else {
                                V::tile::<COLUMNS>(&tile, rows);
                            }
                        }
                        i += rows;
                    }
                }
                // While these rows of `A` are near.
                if skinny > 0 && block + 1 == k_blocks {
                    Skinny {
                        m,
                        n: skinny,
                        k: p.k,
                        a: &a[m0 * p.a.rows..],
                        strides: p.a,
                        b: &packed[p.k * (n - whole).next_multiple_of(V::LANES)..],
                        c: &mut c[m0 * p.c + n..],
                        row: p.c,
                        beta: T::from_f64(p.beta),
                        alpha,
                        gates: p.gates,
                        scratch: &mut *left,
                    }
                    .compute::<V>();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fused::Fused;
    use super::super::pack::{pack, packed_len};
    use super::super::product::FEW;
    use super::*;

    /// Every size and layout against plain sums, on whole numbers, where every order gives the same.
    #[test]
    fn products_of_every_size_and_layout() {
        let sizes = [1, 2, 3, 5, 8, 11, 13, 16, 17, 21, 28, 34, 42, 50, 97];
        for &isa in Isa::available() {
            for m in sizes {
                for n in sizes {
                    for k in [0, 1, 7, 16, 130, 300] {
                        for layout in 0..4 {
                            // A part of a product may have few rows where the whole has many.
                            for skinny in [m > FEW, true] {
                                check::<f64>(isa, (m, n, k), (layout & 1 == 1, layout & 2 == 2), skinny);
                                check::<f32>(isa, (m, n, k), (layout & 1 == 1, layout & 2 == 2), skinny);
                            }
                        }
                    }
                }
            }
        }
        // So many columns that rows of `A` are laid out anew, whichever way they lie; several blocks of rows, and of `k`.
        for &isa in Isa::available() {
            for layout in 0..4 {
                check::<f64>(isa, (27, 410, 300), (layout & 1 == 1, layout & 2 == 2), true);
                check::<f32>(isa, (150, 390, 140), (layout & 1 == 1, layout & 2 == 2), true);
                check::<f64>(isa, (17, 30, 1100), (layout & 1 == 1, layout & 2 == 2), true);
                check::<f32>(isa, (17, 50, 2100), (layout & 1 == 1, layout & 2 == 2), true);
            }
        }
    }

    /// A register of one lane, with a fused multiply-add, gives the bits of those of the processor, whatever their width: of
    /// numbers whose sums round.
    #[test]
    fn products_have_the_bits_of_one_lane() {
        fn one<T: Real>((m, n, k): (usize, usize, usize), (ta, tb): (bool, bool), alpha: f64, beta: f64) {
            let number = |i: usize| T::from_f64(((i * 7919 + 13) % 1009) as f64 / 1009.0 - 0.5);
            let strides = |rows, columns, turned| match turned {
                true => Strides { rows: 1, columns: rows },
                false => Strides { rows: columns, columns: 1 },
            };
            let (a, b): (Vec<T>, Vec<T>) =
                ((0..m * k).map(number).collect(), (0..k * n).map(number).collect());
            let p = Product {
                m,
                n,
                k,
                a: strides(m, k, ta),
                b: strides(k, n, tb),
                c: n,
                beta,
                alpha,
                skinny: m > FEW,
                gates: 0,
            };
            let start = vec![T::from_f64(0.3); m * n];
            let mut scratch = vec![T::default(); scratch_len::<T>(k, n)];
            let mut due = start.clone();
            let (left, right) = scratch.split_at_mut(left_len::<T>(k));
            Pack { p: &p, start: 0, n, rest: true, b: &b, out: &mut *right }.run::<Fused<T>>();
            Gemm { p: &p, a: &a, b: Right::Plain(&b), c: &mut due, left, right }.run::<Fused<T>>();
            let fused = |&&isa: &&Isa| isa != Isa::Portable && isa <= Isa::best();
            for &isa in Isa::available().iter().filter(fused) {
                let mut found = start.clone();
                gemm(isa, &p, &a, Right::Plain(&b), &mut found, &mut scratch).unwrap();
                assert!(found == due, "{isa:?}: {m}x{k}x{n} {ta} {tb} {alpha} {beta}");
            }
        }
        for (m, n, k) in [
            (1, 1, 40),
            (3, 17, 70),
            (13, 1, 33),
            (20, 10, 50),
            (40, 50, 37),
            (14, 9, 1100),
            (30, 20, 31),
            // Many rows of a long `k`: in several blocks of it, and in one where something is added.
            (96, 50, 1500),
            (86, 130, 3000),
        ] {
            for layout in 0..4 {
                for (alpha, beta) in [(1.0, 0.0), (-0.7, 0.9)] {
                    one::<f32>((m, n, k), (layout & 1 == 1, layout & 2 == 2), alpha, beta);
                    one::<f64>((m, n, k), (layout & 1 == 1, layout & 2 == 2), alpha, beta);
                }
            }
        }
    }

    fn check<T: Real>(isa: Isa, (m, n, k): (usize, usize, usize), (ta, tb): (bool, bool), skinny: bool) {
        let number = |i: usize, j: usize| T::from_f64(((i * 7 + j * 3) % 5) as f64 - 2.0);
        let fill = |rows: usize, columns: usize, transposed: bool| -> (Vec<T>, Strides) {
            let strides = if transposed {
                Strides { rows: 1, columns: rows }
            } else {
                Strides { rows: columns, columns: 1 }
            };
            let mut x = vec![T::default(); rows * columns];
            (0..rows).for_each(|i| {
                (0..columns).for_each(|j| x[i * strides.rows + j * strides.columns] = number(i, j))
            });
            (x, strides)
        };
        let ((a, sa), (b, sb)) = (fill(m, k, ta), fill(k, n, tb));
        let p = Product { m, n, k, a: sa, b: sb, c: n, beta: 2.0, alpha: -0.5, skinny, gates: 0 };
        let mut scratch = vec![T::from_f64(f64::NAN); scratch_len::<T>(k, n)];
        let mut packed = vec![T::from_f64(f64::NAN); packed_len::<T>(k, n)];
        pack(isa, &p, (0, n), &b, &mut packed).unwrap();
        for right in [Right::Plain(&b[..]), Right::Packed(&packed[..])] {
            let mut c = vec![T::from_f64(3.0); m * n];
            gemm(isa, &p, &a, right, &mut c, &mut scratch).unwrap();
            for i in 0..m {
                for j in 0..n {
                    let sum: f64 = (0..k).map(|p| number(i, p).to_f64() * number(p, j).to_f64()).sum();
                    let found = c[i * n + j].to_f64();
                    assert_eq!(found, 6.0 - 0.5 * sum, "{isa:?} {m}x{k}x{n} {ta} {tb} at {i}, {j}");
                }
            }
        }
    }
}
