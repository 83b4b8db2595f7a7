//! What the passes over a tape change, and what they must leave.

use ndarray::array;
use proptest::prelude::*;
use wengert::DType::{F32, F64};
use wengert::ir::{Leaf, Op, Tape, verify};
use wengert::{PASSES, Program, Recorder, Result, Sampler, States, Tensor, Var};

fn recorded(f: impl for<'t> Fn(&'t Recorder) -> Vec<Var<'t>>) -> Program {
    Program::record(&States::new(), |t| t.outputs(f(t))).expect("a recording without errors")
}

/// The names of the rows that are not leaves, and the elements of their results.
fn work(tape: &Tape) -> Vec<(&'static str, usize)> {
    let rows = tape.rows().iter().filter(|r| !matches!(r.op, Op::Leaf(_)));
    rows.map(|r| (r.op.name(), r.results.first().map_or(0, |ty| ty.shape.elements()))).collect()
}

#[test]
fn scales_are_merged_and_stay_where_magnitudes_might_matter() -> Result<()> {
    let program = recorded(|t| {
        let x = t.input(F32, [1]);
        let (a, b) = (x * 1e-4, t.input(F32, [2]));
        vec![
            a * a,
            (b * 1e-4).sum(()),
            (b * 0.5).sum(()) + b.sum(()) * 0.5,
            (x * 1e4).einsum("i,i->", x * 1e4),
            x * 2.0 * 3.0 * -1.0,
        ]
    });
    let mut workspace = program.workspace()?;
    let large =
        program.evaluate(&mut workspace, &States::new(), (&array![1e22f32], &array![3e38f32, 3e38]))?;
    assert!((large.scalar(0)? / 1e36 - 1.0).abs() < 1e-5 && (large.scalar(1)? / 6e34 - 1.0).abs() < 1e-5);
    let small = program.evaluate(&mut workspace, &States::new(), (&array![1e-23f32], &array![0f32, 0.]))?;
    assert!((small.scalar(3)? / 1e-38 - 1.0).abs() < 1e-2, "{}", small.scalar(3)?);
    assert_eq!(work(program.optimised()).iter().filter(|(name, _)| *name == "scale").count(), 6);
    let sums = recorded(|t| {
        let (a, b) = (t.input(F64, [1]), t.input(F64, [1]));
        vec![a * 0.5 + b * 0.5, (a * 0.5 - b * 0.5).exp()]
    });
    let mut workspace = sums.workspace()?;
    let found = sums.evaluate(&mut workspace, &States::new(), (&array![1e308], &array![1.2e308]))?;
    assert_eq!(found.scalar(0)?, 1.1e308);
    Ok(())
}

#[test]
fn learning_rates_multiply_while_products_are_added_to_states() -> Result<()> {
    let mut states = States::new();
    let w = states.add("w", ndarray::Array2::<f32>::ones((30, 20)))?;
    let step = Program::record(&states, |t| {
        let (w, x) = (t.state(w), t.input(F32, [8, 30]));
        let y = x.matmul(w).relu();
        t.update(w, w - (y * y).mean(()).gradients([w])[w] * 0.1);
        t.outputs(y.sum(()))
    })?;
    let plan = step.plan().to_string();
    assert!(plan.contains("times -0.1 added to f32[30, 20] state w"), "{plan}");
    assert!(!plan.contains("scale(f32[30, 20]"), "{plan}");
    Ok(())
}

#[test]
fn negations_vanish_in_differences_and_sums() {
    let program = recorded(|t| {
        let (x, y) = (t.input(F64, [9]), t.input(F64, [9]));
        vec![x + -y, x - -y, -x - y, (-x) * (-y), x + x, x.sum(()) * 3.0 + x.sum(())]
    });
    let left = work(program.optimised());
    let count = |name: &str| left.iter().filter(|(n, _)| *n == name).count();
    assert_eq!((count("add"), count("sub"), count("mul"), count("sum")), (1, 1, 1, 1), "{left:?}");
    let mut workspace = program.workspace().unwrap();
    let (x, y) = (array![1., 2., 3., 4., 5., 6., 7., 8., 9.], array![9., 8., 7., 6., 5., 4., 3., 2., 1.]);
    let found = program.evaluate(&mut workspace, &States::new(), (&x, &y)).unwrap();
    let due = [&x - &y, &x + &y, -&x - &y, &x * &y, &x + &x];
    for (i, due) in due.iter().enumerate() {
        assert_eq!(found.slice::<f64>(i).unwrap(), due.as_slice().unwrap());
    }
    assert_eq!(found.scalar(5).unwrap(), 180.0);
}

#[test]
fn only_true_identities_are_rewritten() -> Result<()> {
    let program = recorded(|t| {
        let x = t.input(F64, [3]);
        vec![x * 0.0, x - x, x * 1.0, x.reshape([3]).permute([0]), x / x, x * 2.0 - x * 2.0, x * 3.0 - x]
    });
    let x = array![f64::INFINITY, f64::NAN, 2.0];
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &States::new(), (&x,))?;
    for (i, last) in [(0, 0.0), (1, 0.0), (4, 1.0), (5, 0.0), (6, 4.0)] {
        let y = found.slice::<f64>(i)?;
        assert!(y[0].is_nan() && y[1].is_nan() && y[2] == last, "output {i}: {y:?}");
    }
    assert_eq!(found.slice::<f64>(2)?[..1], [f64::INFINITY]);
    assert_eq!(found.slice::<f64>(3)?[2], 2.0);
    Ok(())
}

#[test]
fn factors_outside_the_range_of_a_type_are_not_gathered() -> Result<()> {
    let program = recorded(|t| {
        let x = t.input(F32, [1]);
        vec![(x * 1e-30) * (x * 1e-30), (x * 1e-25) * 1e25 * 1e25, (x * 1e30 - x * 1e30).exp()]
    });
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &States::new(), (&array![1e22f32],))?;
    // Nor are they moved to smaller arrays.
    let raised = recorded(|t| {
        let (x, y, z) = (t.input(F32, [1]), t.input(F32, [1000]), t.input(F32, [1]));
        vec![(x.broadcast_to([1000]) * y) * 1e-30, (z.broadcast_to([1000]) * y) * 0.0]
    });
    let (x, y, z) = (array![1e-20f32], ndarray::Array1::from_elem(1000, 1e25f32), array![1e30f32]);
    let mut space = raised.workspace()?;
    let results = raised.evaluate(&mut space, &States::new(), (&x, &y, &z))?;
    assert!((results.slice::<f32>(0)?[999] * 1e25 - 1.0).abs() < 1e-5);
    assert!(results.slice::<f32>(1)?[0].is_nan());
    // The product of the numbers themselves would be infinite.
    assert!((found.scalar(0)? * 1e16 - 1.0).abs() < 1e-5, "{}", found.scalar(0)?);
    assert!(found.scalar(1)?.is_infinite());
    assert!(found.scalar(2)?.is_nan());
    Ok(())
}

#[test]
fn equal_rows_are_one_and_guards_all_stay() -> Result<()> {
    let program = Program::record(&States::new(), |t| {
        let (x, y) = (t.input_with(array![1.0, 2.0]), t.input_with(array![3.0, 4.0]));
        let (a, b) = (x * y, y * x);
        // The same number in other shapes, and the same op with other data.
        let others = [t.full(F64, [2], 7.0) + x, t.full(F64, [], 7.0) + x, x * 2.0 + y, x * 3.0 + y];
        let positive = a.sum(()).gt(0.0).decide()? && b.sum(()).gt(0.0).decide()?;
        assert!(positive);
        t.outputs([a, b, x - y, y - x].into_iter().chain(others))
    })?;
    let left = work(program.optimised());
    let count = |name: &str| left.iter().filter(|(n, _)| *n == name).count();
    assert_eq!((count("mul"), count("sub"), count("sum"), count("guard")), (1, 2, 1, 2), "{left:?}");
    let mut workspace = program.workspace()?;
    let found = program.evaluate(&mut workspace, &States::new(), (&array![1.0, 2.0], &array![3.0, 4.0]))?;
    assert_eq!(found.slice::<f64>(0)?, found.slice::<f64>(1)?);
    assert_eq!(found.slice::<f64>(3)?, [2.0, 2.0]);
    Ok(())
}

#[test]
fn what_is_known_is_computed_once() {
    let program = recorded(|t| {
        let x = t.input(F32, [2, 3]);
        let half = t.full(F32, [], 0.25).sqrt().broadcast_to([3]).reshape([1, 3]);
        vec![x + half, x * half.exp()]
    });
    assert_eq!(work(program.optimised()), [("add", 6), ("mul", 6)], "{}", program.optimised().listing(100));
    let fills = program.optimised().rows().iter().filter_map(|r| match r.op {
        Op::Leaf(Leaf::Fill(x)) => Some(x),
        _ => None,
    });
    // In the precision of its type.
    let fills: Vec<f64> = fills.collect();
    assert!(fills.len() == 2 && fills[0] == 0.5 && (fills[1] - 0.5f64.exp()).abs() < 1e-6, "{fills:?}");
    assert_eq!(fills[1], f64::from(fills[1] as f32));
}

#[test]
fn every_pass_leaves_a_tape_that_is_one_and_says_what_it_does() {
    let program = recorded(|t| {
        let (x, w) = (t.input(F64, [20, 6]), t.input(F64, [6, 4]));
        let loss = (x.matmul(w) * 0.5).log_softmax().mean(());
        let g = loss.gradients([w]);
        t.jvp(&[g[w]], &[(w, w * 2.0)])
    });
    let mut tape = program.tape().clone();
    for pass in &PASSES {
        tape = pass.apply(&tape);
        verify(&tape).unwrap();
        assert!(!pass.name().is_empty());
    }
    assert_eq!(tape.listing(1000).to_string(), program.optimised().listing(1000).to_string());
    assert!(tape.rows().len() < program.tape().rows().len());
}

#[test]
fn numbers_do_not_pass_from_one_type_to_another() -> Result<()> {
    let program = recorded(|t| {
        let (x, y) = (t.input(F32, [4]), t.input(F64, [1]));
        vec![x.broadcast_to([1000, 4]).cast(F64) * 0.1, (y * 1e-6).cast(F32)]
    });
    let mut workspace = program.workspace()?;
    let found =
        program.evaluate(&mut workspace, &States::new(), (&array![1f32, 2., 3., 4.], &array![1e40]))?;
    assert_eq!(found.slice::<f64>(0)?[..2], [0.1, 0.2]);
    assert!((found.scalar(1)? * 1e-34 - 1.0).abs() < 1e-6);
    Ok(())
}

#[test]
fn many_constants_are_told_apart_in_linear_time() {
    let program = recorded(|t| {
        let mut sum = t.input(F64, [2]);
        for i in 0..100_000 {
            sum += t.constant(array![f64::from(i), 1.0]);
        }
        vec![sum]
    });
    let mut workspace = program.workspace().unwrap();
    let found = program.evaluate(&mut workspace, &States::new(), (&array![0.0, 0.0],)).unwrap();
    assert_eq!(found.slice::<f64>(0).unwrap(), [4_999_950_000.0, 100_000.0]);
}

/// A random tape of scales, sums and products of numbers of any magnitude, with all its values.
fn magnitudes<'t>(t: &'t Recorder, dtype: wengert::DType, s: &mut Sampler) -> (Vec<Var<'t>>, Vec<bool>) {
    let most = if dtype == F32 { 30.0 } else { 250.0 };
    let mut all = vec![t.input(dtype, [2]), t.input(dtype, [2]), t.input(dtype, [2, 2])];
    // Whether a value is a product or a multiple, whose digits do not cancel.
    let mut sound = vec![true; 3];
    for _ in 0..10 {
        let (i, j) = (s.below(all.len()), s.below(all.len()));
        let (a, b) = (all[i], all[j]);
        let factor = 10f64.powf((2.0 * s.unit() - 1.0) * if s.below(2) == 0 { 2.0 } else { most });
        let (new, keeps) = match s.below(8) {
            0..3 => (a * if s.below(2) == 0 { factor } else { -factor }, sound[i]),
            3 => (a * b, sound[i] && sound[j]),
            4 => (a + b, false),
            5 => (a - b, false),
            6 if a.rank() == 2 => (a.matmul(b), false),
            _ => (a.sum(0).broadcast_to([2]), false),
        };
        all.push(new);
        sound.push(keeps);
    }
    (all, sound)
}

proptest! {
    #![proptest_config(crate::random_cases(400))]

    /// The full plan may round; it may not overflow, vanish or make a NaN where the rows do not.
    #[test]
    fn magnitudes_stay_where_the_rows_leave_them(seed in any::<u64>(), wide in any::<bool>()) {
        let dtype = if wide { F64 } else { F32 };
        let (most, normal) = if wide { (300.0, 1e-300) } else { (37.0, 1e-36) };
        let record = |t: &Recorder| t.outputs(magnitudes(t, dtype, &mut Sampler::new(seed)).0);
        let mut s = Sampler::new(!seed);
        let mut draw = |dims: &[usize]| {
            let numbers = (0..dims.iter().product()).map(|_| {
                let x = 10f64.powf((2.0 * s.unit() - 1.0) * if s.below(2) == 0 { 1.0 } else { most });
                if s.below(2) == 0 { x } else { -x }
            });
            match dtype {
                F32 => Tensor::new(dims, numbers.map(|x| x as f32).collect::<Vec<f32>>()),
                _ => Tensor::new(dims, numbers.collect::<Vec<f64>>()),
            }.expect("as many numbers")
        };
        let x = [draw(&[2]), draw(&[2]), draw(&[2, 2])];
        let values = |program: Program| -> Vec<Vec<f64>> {
            let mut workspace = program.workspace().expect("memory");
            let found = program.evaluate(&mut workspace, &States::new(), &x[..]).expect("a run");
            (0..13).map(|i| found.tensor(i).expect("an output").to_f64()).collect()
        };
        let exact = values(Program::record_exact(&States::new(), record).expect("a program"));
        let full = values(Program::record(&States::new(), record).expect("a program"));
        let sound = magnitudes(&Recorder::default(), dtype, &mut Sampler::new(seed)).1;
        for (o, (exact, full)) in exact.iter().zip(&full).enumerate() {
            for (&e, &f) in exact.iter().zip(full) {
                prop_assert!(!e.is_finite() || f.is_finite(), "output {}: {:e} became {:e}", o, e, f);
                let close = (e - f).abs() <= 1e-4 * e.abs();
                prop_assert!(!(sound[o] && e.abs() > normal && e.is_finite()) || close, "{}: {:e}, {:e}", o, e, f);
            }
        }
    }
}
