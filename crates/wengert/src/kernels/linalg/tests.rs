//! Factors against what they are factors of, over sizes around those of a block.

use super::{
    Triangle, cholesky, choleskys, cofactors, cofactors_scratch, lu, lu_solve, lus, scratch, solve, solves,
};
use crate::kernels::simd::Isa;

const SIZES: [usize; 11] = [0, 1, 2, 3, 7, 17, 47, 49, 96, 131, 300];

fn matrix(n: usize, m: usize, seed: usize) -> Vec<f64> {
    (0..n * m).map(|i| ((i * 7919 + seed * 104_729 + i * i) % 1009) as f64 / 504.0 - 1.0).collect()
}

fn product(n: usize, k: usize, m: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let element = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * m + j]).sum();
    (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
}

fn transpose(n: usize, a: &[f64]) -> Vec<f64> {
    (0..n * n).map(|i| a[i % n * n + i / n]).collect()
}

fn near(a: &[f64], b: &[f64], tolerance: f64) {
    let scale = b.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let worst = a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(a.len() == b.len() && worst <= tolerance * scale, "off by {worst} of {scale}");
}

#[test]
fn factors_multiply_to_the_matrix() {
    for &isa in Isa::available() {
        for n in SIZES {
            let (a, mut room) = (matrix(n, n, 1), vec![f64::NAN; scratch::<f64>(n, n)]);
            let mut definite = product(n, n, n, &a, &transpose(n, &a));
            (0..n).for_each(|i| definite[i * n + i] += 1.0);
            let mut l = vec![f64::NAN; n * n];
            cholesky(isa, n, &definite, &mut l, &mut room).unwrap();
            near(&product(n, n, n, &l, &transpose(n, &l)), &definite, 1e-13);

            let (mut factors, mut order) = (a.clone(), vec![0; n]);
            let sign = lu(isa, n, &mut factors, &mut order, &mut room).unwrap();
            let part = |lower: bool| -> Vec<f64> {
                let element = |i: usize, j: usize| match (i > j, lower) {
                    (true, true) | (false, false) => factors[i * n + j],
                    _ => f64::from(u8::from(i == j && lower)),
                };
                (0..n * n).map(|at| element(at / n, at % n)).collect()
            };
            let sorted: Vec<f64> =
                order.iter().flat_map(|&row| a[row as usize * n..][..n].to_vec()).collect();
            near(&product(n, n, n, &part(true), &part(false)), &sorted, 1e-13);
            let inversions =
                (0..n).flat_map(|i| (0..i).map(move |j| (j, i))).filter(|&(j, i)| order[j] > order[i]);
            assert_eq!(sign, if inversions.count() % 2 == 0 { 1 } else { -1 });
            assert!(
                (0..n).all(|i| (0..i).all(|j| factors[i * n + j].abs() <= 1.0)),
                "pivots are the largest"
            );

            for m in [0, 1, 5] {
                for transposed in [false, true] {
                    let b = matrix(n, m, 2);
                    let (mut x, mut room) = (vec![0.0; n * m], vec![f64::NAN; scratch::<f64>(n, m) + n * m]);
                    let of = (&factors[..], &order[..]);
                    lu_solve(isa, transposed, [n, m], of, &b, (&mut x, &mut room)).unwrap();
                    let system = if transposed { transpose(n, &a) } else { a.clone() };
                    near(&product(n, n, m, &system, &x), &b, 1e-10);
                    for (lower, unit) in [(false, false), (false, true), (true, false), (true, true)] {
                        // A triangle that is well behaved: small beside its diagonal.
                        let triangle: Vec<f64> = (0..n * n)
                            .map(|at| if at / n == at % n { 2.0 } else { a[at] / (n as f64) })
                            .collect();
                        let mut meant = triangle.clone();
                        for (at, number) in meant.iter_mut().enumerate() {
                            let (i, j) = (at / n, at % n);
                            *number = match (i == j, (i > j) == lower) {
                                (true, _) => {
                                    if unit {
                                        1.0
                                    } else {
                                        *number
                                    }
                                }
                                (false, true) => *number,
                                _ => 0.0,
                            };
                        }
                        let mut x = b.clone();
                        let which = Triangle { lower, transposed, unit };
                        solve(isa, which, [n, m], (&triangle, n), (&mut x, m), &mut room).unwrap();
                        let system = if transposed { transpose(n, &meant) } else { meant };
                        near(&product(n, n, m, &system, &x), &b, 1e-12);
                    }
                }
            }
        }
    }
}

#[test]
fn cofactors_are_determinants_of_minors() {
    fn determinant(n: usize, a: &[f64]) -> f64 {
        if n == 0 {
            return 1.0;
        }
        let minor = |j: usize| -> Vec<f64> { (n..n * n).filter(|at| at % n != j).map(|at| a[at]).collect() };
        (0..n).map(|j| a[j] * if j % 2 == 0 { 1.0 } else { -1.0 } * determinant(n - 1, &minor(j))).sum()
    }
    for &isa in Isa::available() {
        for n in 0..6 {
            for rank in 0..=n {
                // A product of `rank` columns and rows.
                let a = product(n, rank, n, &matrix(n, rank, 3), &matrix(rank, n, 4));
                let (mut out, mut room) = (vec![f64::NAN; n * n], vec![f64::NAN; cofactors_scratch(n)]);
                cofactors(isa, n, &a, &mut out, &mut room);
                let due: Vec<f64> = (0..n * n)
                    .map(|at| {
                        let (i, j) = (at / n, at % n);
                        let minor: Vec<f64> = (0..n * n)
                            .filter(|other| other / n != i && other % n != j)
                            .map(|other| a[other])
                            .collect();
                        determinant(n - 1, &minor) * if (i + j) % 2 == 0 { 1.0 } else { -1.0 }
                    })
                    .collect();
                near(&out, &due, 1e-12);
            }
        }
    }
}

#[test]
fn a_matrix_that_is_not_positive_definite_names_its_pivot() {
    for n in [3, 60, 100] {
        for bad in [0, 1, n / 2, n - 1] {
            let mut a: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
            a[bad * n + bad] = -1.0;
            let mut room = vec![0.0; scratch::<f64>(n, n)];
            let mut out = vec![0.0; n * n];
            assert_eq!(cholesky(Isa::best(), n, &a, &mut out, &mut room), Err(bad));
        }
    }
}

#[test]
fn a_matrix_has_the_same_bits_alone_and_in_a_batch() {
    for &isa in Isa::available() {
        for n in [1, 2, 3, 5, 8, 16, 17] {
            // More than the lanes of any register, some of them singular.
            let count = 21;
            let mut a = matrix(count * n, n, 5);
            (0..n).for_each(|i| a[3 * n * n + i * n] = 0.0);
            let mut room = vec![f64::NAN; scratch::<f64>(n, n) + n * n];
            let (mut factors, mut orders, mut signs) = (a.clone(), vec![0; count * n], vec![0; count]);
            lus(isa, n, &mut factors, (&mut orders, &mut signs), &mut room).unwrap();
            let definite: Vec<f64> = a
                .chunks_exact(n * n)
                .flat_map(|a| {
                    let mut square = product(n, n, n, a, &transpose(n, a));
                    (0..n).for_each(|i| square[i * n + i] += 1.0);
                    square
                })
                .collect();
            let mut roots = vec![f64::NAN; a.len()];
            choleskys(isa, n, &definite, &mut roots, &mut room).unwrap();
            let m = n.div_ceil(2);
            let b = matrix(count * n, m, 6);
            let (mut one, mut order) = (vec![0.0; n * n], vec![0; n]);
            let solutions = [false, true].map(|transposed| {
                let mut x = vec![f64::NAN; b.len()];
                let own = (&mut one[..], &mut order[..]);
                solves(isa, transposed, [n, m], (&definite, &b), &mut x, own, &mut room).unwrap();
                x
            });
            for i in 0..count {
                let (square, right) = (i * n * n..(i + 1) * n * n, i * n * m..(i + 1) * n * m);
                let mut alone = a[square.clone()].to_vec();
                let sign = lu(isa, n, &mut alone, &mut order, &mut room).unwrap();
                assert_eq!(
                    (&alone[..], &order[..], sign),
                    (&factors[square.clone()], &orders[i * n..][..n], signs[i])
                );
                cholesky(isa, n, &definite[square.clone()], &mut alone, &mut room).unwrap();
                assert_eq!(alone, roots[square.clone()]);
                alone.copy_from_slice(&definite[square]);
                lu(isa, n, &mut alone, &mut order, &mut room).unwrap();
                for (transposed, due) in [false, true].into_iter().zip(&solutions) {
                    let mut x = vec![f64::NAN; n * m];
                    let of = (&alone[..], &order[..]);
                    lu_solve(isa, transposed, [n, m], of, &b[right.clone()], (&mut x, &mut room)).unwrap();
                    assert_eq!(x, due[right.clone()]);
                }
            }
        }
    }
}

#[test]
fn of_a_batch_the_first_matrix_that_is_not_positive_definite_is_named() {
    let (n, count) = (4, 40);
    for (bad, pivot) in [(0, 2), (5, 0), (17, 3), (39, 1)] {
        let mut a: Vec<f64> =
            (0..count * n * n).map(|at| f64::from(u8::from(at / n % n == at % n))).collect();
        a[(bad * n + pivot) * n + pivot] = f64::NAN;
        a[(39 * n + 3) * n + 3] = -1.0;
        let (mut out, mut room) = (a.clone(), vec![0.0; scratch::<f64>(n, n)]);
        assert_eq!(choleskys(Isa::best(), n, &a, &mut out, &mut room), Err((bad, pivot)));
    }
}
