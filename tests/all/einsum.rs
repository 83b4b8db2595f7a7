//! Einstein's sums, against a loop over all letters.

use crate::{error, value};
use wengert::DType::{F32, F64};
use wengert::check::{Options, gradcheck, scalar};
use wengert::{Recorder, Tensor};

/// Every index of these sizes.
fn indices(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let all: usize = sizes.iter().product();
    let sizes = sizes.to_vec();
    (0..all).map(move |mut flat| {
        let mut index = vec![0; sizes.len()];
        for (i, size) in index.iter_mut().zip(&sizes).rev() {
            (*i, flat) = (flat % size, flat / size);
        }
        index
    })
}

#[test]
fn einsum_is_a_loop_over_all_letters() {
    // What is written, and the same with every axis named and the result spelled out.
    let cases: &[(&str, &[&str], &str)] = &[
        ("ij,jk->ik", &["ij", "jk"], "ik"),
        ("ij,jk", &["ij", "jk"], "ik"),
        ("kj,ik", &["kj", "ik"], "ij"),
        ("ii", &["ii"], ""),
        ("ii->i", &["ii"], "i"),
        ("iij->ji", &["iij"], "ji"),
        ("iji,i->j", &["iji", "i"], "j"),
        ("ij->ji", &["ij"], "ji"),
        ("ij->", &["ij"], ""),
        ("ba", &["ba"], "ab"),
        ("i,i,i->i", &["i", "i", "i"], "i"),
        ("ij,jk,kl,l->i", &["ij", "jk", "kl", "l"], "i"),
        ("i,j,k->kji", &["i", "j", "k"], "kji"),
        ("ij, kj -> i", &["ij", "kj"], "i"),
        ("...ij,...jk->...ik", &["xyij", "yjk"], "xyik"),
        ("...i,i", &["xyi", "i"], "xy"),
        ("i...->...i", &["ixy"], "xyi"),
        ("ij...,j->i...", &["ijx", "j"], "ix"),
        ("...,...", &["xy", "y"], "xy"),
    ];
    let size = |letter: char| 2 + "ijkxy".find(letter).unwrap_or(1) % 3;
    for (spec, operands, out) in cases {
        let t = Recorder::default();
        let arrays: Vec<ndarray::ArrayD<f64>> = operands
            .iter()
            .enumerate()
            .map(|(n, letters)| {
                let sizes: Vec<usize> = letters.chars().map(size).collect();
                let mut next = n as f64;
                ndarray::ArrayD::from_shape_simple_fn(sizes, || {
                    next = (next * 7.0 + 3.0) % 11.0;
                    next - 5.0
                })
            })
            .collect();
        let found = t.einsum(spec, arrays.iter().map(|a| t.constant(a)));
        t.check().unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<char> = {
            let mut all: Vec<char> = operands.concat().chars().collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let mut due = ndarray::ArrayD::<f64>::zeros(out.chars().map(size).collect::<Vec<_>>());
        for index in indices(&all.iter().map(|&l| size(l)).collect::<Vec<_>>()) {
            let of = |letters: &str| -> Vec<usize> {
                letters.chars().map(|l| index[all.iter().position(|m| *m == l).unwrap()]).collect()
            };
            let product: f64 = operands.iter().zip(&arrays).map(|(l, a)| a[&of(l)[..]]).product();
            due[&of(out)[..]] += product;
        }
        assert_eq!(&found.shape()[..], due.shape(), "{spec}");
        assert_eq!(value(found), due.into_raw_vec_and_offset().0, "{spec}");
        // Derivatives of the pieces it is made of are held to laws; here that none of them is left out.
        let f = scalar(|t, x| t.einsum(spec, x).square().sum(()));
        let tensors: Vec<Tensor> = arrays.iter().map(|a| Tensor::from_array(a).unwrap()).collect();
        gradcheck(f, &tensors, &Options::default()).unwrap_or_else(|e| panic!("{spec}: {e}"));
    }
    // Sizes of 1 under an ellipsis repeat.
    let t = Recorder::default();
    let (a, b) = (t.constant([[1.0], [2.0]]), t.constant([[10.0, 20.0, 30.0]]));
    assert_eq!(value(t.einsum("...,...->...", [a, b])), [10.0, 20.0, 30.0, 20.0, 40.0, 60.0]);
}

#[test]
fn einsum_says_which_letter_is_wrong_and_why() {
    let refused = |spec: &str, shapes: &[&[usize]]| {
        error(|t| t.einsum(spec, shapes.iter().map(|shape| t.input(F64, *shape)).collect::<Vec<_>>()))
    };
    let cases: &[(&str, &[&[usize]], &str)] = &[
        ("ij,jk->iq", &[&[2, 3], &[3, 4]], "`q` of the result is in no operand"),
        ("ij,jk->ii", &[&[2, 3], &[3, 4]], "the result has `i` twice"),
        ("ij,jk", &[&[2, 3], &[4, 5]], "the sizes 3 and 4 of `j`"),
        ("ij,jk", &[&[2, 3]], "it names 2 operands, there are 1"),
        ("ij", &[&[2]], "operand 0 has 1 axes, not 2"),
        ("i1->i", &[&[2, 2]], "`1` is no letter"),
        ("i...j...", &[&[2, 2]], "`...` stands once at most"),
        ("...i->i", &[&[2, 2]], "the result lacks the `...`"),
        ("ii", &[&[2, 3]], "the sizes 2 and 3 of `i`"),
        ("i->j->k", &[&[2]], "is no letter"),
    ];
    for (spec, shapes, why) in cases {
        let text = refused(spec, shapes);
        assert!(text.contains(why) && text.contains(spec), "{text}");
    }
    let eight: &[usize] = &[1; 8];
    assert!(
        refused("abcdefgh,ijklmnop->abcdefghijklmnop", &[eight, eight])
            .contains("16 axes; a tensor has at most 8")
    );
    assert!(refused("", &[]).contains("no arrays to multiply"));
    assert!(error(|t| t.einsum("i,i", [t.input(F64, [2]), t.input(F32, [2])])).contains("f64 and f32"));
}
