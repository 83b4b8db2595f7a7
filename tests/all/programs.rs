//! Random programs with states: every plan of each, for any machine, against its rows.

use proptest::prelude::*;
use wengert::check::laws;
use wengert::{DType, Error, Outputs, Recorder, Sampler, Shape, State, States, Tensor, Var};

fn numbers(dims: &[usize], s: &mut Sampler) -> Tensor {
    let shape = Shape::new(dims).expect("few axes");
    let numbers = (0..shape.elements()).map(|_| s.unit() - 0.5).collect::<Vec<f64>>();
    Tensor::new(shape, numbers).expect("as many numbers as the shape has")
}

fn pick<'t>(all: &[Var<'t>], s: &mut Sampler) -> Var<'t> {
    all[s.below(all.len())]
}

/// One more value from those that are there: whatever of a few ops fits their shapes.
fn next<'t>(t: &'t Recorder, all: &[Var<'t>], s: &mut Sampler) -> Var<'t> {
    let (a, b) = (pick(all, s), pick(all, s));
    let (same, matrix) = (a.shape() == b.shape(), a.rank() == 2);
    match s.below(18) {
        0 => (a * 0.5).exp().tanh(),
        1 => -a.tanh(),
        2 | 3 if same => a + b,
        4 if same => a - b * 0.9,
        5 | 6 if same => a * b,
        7 if a.rank() > 0 => a.sum(0),
        8 if matrix => a.sum(1),
        9 if matrix && b.rank() == 2 && a.dim(1) == b.dim(0) => a.matmul(b).tanh(),
        10 if matrix && b.rank() == 2 && a.dim(0) == b.dim(0) => a.einsum("ki,kj->ij", b) * 0.01,
        11 if matrix && b.rank() == 1 && a.dim(1) == b.dim(0) => a + b,
        12 if matrix && b.rank() == 1 && a.dim(0) == b.dim(0) => a * b.insert_axis(1),
        13 if matrix => a.t(),
        14 if matrix => a.reshape([a.dim(0) * a.dim(1)]),
        15 if a.rank() > 0 && a.dim(0) > 1 => a.slice(0, 1..a.dim(0)),
        16 if a.rank() > 0 => a.gather(t.constant(ndarray::array![0u32])),
        17 => {
            let by = pick(all, s);
            a.tanh().sum(()).gradients([by])[by]
        }
        _ => a.sigmoid(),
    }
}

fn record(
    t: &Recorder,
    (rows, columns): (usize, usize),
    states: &[State],
    seed: u64,
) -> Result<Outputs, Error> {
    let mut s = Sampler::new(seed);
    let mut all = vec![t.input(DType::F64, [rows, columns]), t.input(DType::F64, [columns])];
    all.extend(states.iter().map(|&state| t.state(state)));
    for _ in 0..3 + s.below(14) {
        all.push(next(t, &all, &mut s));
    }
    for &state in states {
        let old = t.state(state);
        let fit: Vec<Var<'_>> = all.iter().copied().filter(|v| v.shape() == old.shape()).collect();
        let new = pick(&fit, &mut s);
        let new = match s.below(7) {
            0 => new,
            1 => old + new * 0.1,
            2 => old * 0.9 + new,
            3 => old - new * 0.1,
            4 if old.rank() == 2 && old.dim(0) == old.dim(1) && old.dim(0) == columns => {
                old * 0.5 + all[0].einsum("ki,kj->ij", all[0]) * 0.01
            }
            5 => continue,
            _ => new.tanh(),
        };
        t.update(old, new);
        all.push(new);
    }
    t.outputs((0..1 + s.below(4)).map(|_| pick(&all, &mut s)).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(crate::random_cases(300))]

    #[test]
    fn every_plan_of_a_random_program_has_the_bits_it_should(seed in any::<u64>()) {
        let mut s = Sampler::new(!seed);
        let rows = [1, 2, 5, 16, 31, 64, 97, 100, 128, 200, 500, 801][s.below(12)];
        let columns = [1, 2, 3, 5, 8, 10, 16, 31, 64][s.below(9)];
        let mut states = States::new();
        let shapes = [vec![rows, columns], vec![columns], vec![columns, columns], vec![rows]];
        let all: Vec<State> = shapes.iter().enumerate().map(|(i, dims)| {
            states.add(&format!("s{i}"), numbers(dims, &mut s)).expect("a new name")
        }).collect();
        let x = [numbers(&[rows, columns], &mut s), numbers(&[columns], &mut s)];
        let law = laws::program(&states, &x, 1e-9, &|t| record(t, (rows, columns), &all, seed));
        prop_assert!(law.is_ok(), "{}", law.unwrap_err());
    }
}
