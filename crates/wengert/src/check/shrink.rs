//! A smaller input for which a check fails as well.

use super::position;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// How many checks may be spent on it, where each of so many elements takes one evaluation or more.
fn attempts(elements: usize) -> usize {
    (20_000 / elements.max(1)).clamp(8, 256)
}

/// The inputs with as many elements as can be 0, or else 1 or a whole number, while the check still fails: of halves, quarters
/// and so on of all elements, down to single ones. Shapes stay.
pub(super) fn smallest(inputs: &[Tensor], fails: impl Fn(&[Tensor]) -> bool) -> Vec<Tensor> {
    let mut inputs = inputs.to_vec();
    let of: Vec<(usize, usize)> = (0..inputs.len())
        .filter(|&i| inputs[i].ty().dtype == DType::F64)
        .flat_map(|i| (0..inputs[i].shape().elements()).map(move |e| (i, e)))
        .collect();
    let mut left = attempts(of.len());
    let mut size = of.len();
    while size > 0 {
        for part in of.chunks(size) {
            for simpler in [|_: f64| 0.0, |_| 1.0, f64::round] {
                let Some(candidate) = replaced(&inputs, part, simpler) else { continue };
                if left == 0 {
                    return inputs;
                }
                left -= 1;
                if fails(&candidate) {
                    inputs = candidate;
                    break;
                }
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    inputs
}

/// The inputs with simpler numbers in these places, where they are not 0; nothing where none changes.
fn replaced(inputs: &[Tensor], part: &[(usize, usize)], simpler: fn(f64) -> f64) -> Option<Vec<Tensor>> {
    let mut numbers: Vec<Vec<f64>> = inputs.iter().map(Tensor::to_f64).collect();
    let mut changed = false;
    for &(i, e) in part {
        let number = &mut numbers[i][e];
        let to = if *number == 0.0 { 0.0 } else { simpler(*number) };
        changed |= to != *number;
        *number = to;
    }
    let with = |(x, numbers): (&Tensor, Vec<f64>)| match x.ty().dtype {
        DType::F64 => Tensor::new(x.shape(), numbers).ok(),
        _ => Some(x.clone()),
    };
    if changed { inputs.iter().zip(numbers).map(with).collect() } else { None }
}

/// The numbers of the inputs, those that are not 0 where they are many.
pub(super) fn text(inputs: &[Tensor]) -> String {
    const SHOWN: usize = 12;
    let one = |(i, x): (usize, &Tensor)| {
        let numbers = x.to_f64();
        if numbers.len() <= SHOWN {
            return format!("input {i} = {numbers:?}");
        }
        let other = || numbers.iter().enumerate().filter(|(_, x)| **x != 0.0);
        let list = other().take(SHOWN).map(|(e, x)| format!("{} = {x:?}", position(e, &inputs[i])));
        let (list, count) = (list.collect::<Vec<_>>().join(", "), other().count());
        let more = if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
        format!("input {i} of zeros but for {list}{more}")
    };
    inputs.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}
