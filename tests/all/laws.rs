//! The laws over the whole registry, and what they do not say of single ops.

use proptest::prelude::*;
use wengert::check::{check_entry, check_registry, function, laws};
use wengert::ir::Op;
use wengert::{DType, Program, Recorder, Registry, Sampler, States, Tensor, Var};

#[test]
fn every_registered_op_keeps_the_laws() {
    check_registry(&Registry::builtin(), u64::from(crate::cases(40)), 2026).unwrap();
}

proptest! {
    #![proptest_config(crate::random_cases(256))]

    /// Gradients of every op, of both orders and modes, at any sample of its domain.
    #[test]
    fn gradients_of_any_op_at_any_sample(op in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let registry = Registry::builtin();
        let entry = op.get(registry.entries());
        if let Err(e) = check_entry(entry, seed) {
            prop_assert!(false, "{}", e);
        }
    }
}

/// Rows of a program of an op, of its gradient and of that's gradient, without those that nothing needs.
fn rows(op: &Op, x: &[Tensor], order: usize) -> usize {
    fn derived<'t>(t: &'t Recorder, y: Vec<Var<'t>>, x: &[Var<'t>], order: usize) -> Vec<Var<'t>> {
        let float = |v: &Var<'t>| v.dtype().is_float();
        let by: Vec<Var<'t>> = x.iter().copied().filter(float).collect();
        let y: Vec<Var<'t>> = y.into_iter().filter(float).collect();
        if order == 0 || by.is_empty() || y.is_empty() {
            return y;
        }
        let seeds: Vec<(Var<'t>, Var<'t>)> = y.iter().map(|y| (*y, t.input(y.dtype(), y.shape()))).collect();
        let gradients = t.vjp(&seeds, &by);
        derived(t, gradients, x, order - 1)
    }
    let program = Program::record_once(&States::new(), |t| {
        let x: Vec<Var<'_>> = x.iter().map(|x| t.input(x.ty().dtype, x.shape())).collect();
        let y = t.emit(op.clone(), &x).to_vec();
        t.outputs(derived(t, y, &x, order))
    });
    let program = program.unwrap();
    program.tape().rows().iter().filter(|r| !matches!(r.op, Op::Leaf(_))).count()
}

#[test]
fn derivatives_take_few_rows() {
    for entry in Registry::builtin().entries() {
        for seed in 0..12 {
            let mut sampler = Sampler::new(seed);
            let sample = entry.sample(&mut sampler);
            let x = entry.draw(&sample.operands, DType::F64, &mut sampler);
            let [own, first, second] = [0, 1, 2].map(|order| rows(&sample.op, &x, order));
            // Factors of matrices have rules of products and triangular systems.
            let matrices = ["cholesky", "cofactors", "determinant", "lu", "solve", "triangular_solve"];
            if matrices.contains(&entry.name) {
                assert!(first <= own + 40 && second <= own + 120, "{:?}: {first}, {second} rows", sample.op);
                continue;
            }
            // Shares of tied maxima are the longest rule. Second derivatives of two operands are three, of rules that name one another.
            let most = if matches!(sample.op, Op::Custom(_)) { 13 } else { 5 * x.len() };
            assert!(
                first <= own + most && second <= own + 25 * x.len().clamp(1, 2),
                "{:?}: {own}, {first}, {second} rows",
                sample.op
            );
        }
    }
}

#[test]
fn the_third_order_of_five_ops() {
    let registry = Registry::builtin();
    for name in ["tanh", "div", "erf", "contract", "log_softmax"] {
        let entry = registry.find(name).unwrap_or_else(|| panic!("{name} is registered"));
        for seed in 0..6 {
            let mut sampler = Sampler::new(seed);
            let sample = entry.sample(&mut sampler);
            let x = entry.draw(&sample.operands, DType::F64, &mut sampler);
            let f = function(|t, x| t.emit(sample.op.clone(), x).to_vec());
            let first = laws::pullback(&f);
            let second = laws::pullback(&first);
            let law = laws::tangent(&second, &x, seed).and_then(|()| laws::adjoint(&second, &x, seed));
            law.unwrap_or_else(|e| panic!("{name}, seed {seed}: {e}"));
        }
    }
}

#[test]
fn conversions_in_all_directions() {
    use DType::{Bool, F32, F64, I64, U8, U32};
    let numbers = [-3.75, -1.0, -0.0, 0.0, 0.5, 1.0, 2.75, 100.0];
    let all = [F32, F64, U8, U32, I64, Bool];
    for from in all {
        for to in all {
            let both = function(|_, x| {
                let converted = x[0].cast(from).cast(to);
                vec![converted, converted.cast(F64) * x[0].cast(F64), converted.cast(F32).exp()]
            });
            let x = [Tensor::new([numbers.len()], numbers.to_vec()).unwrap()];
            laws::execution(&both, &x).unwrap_or_else(|e| panic!("{from} to {to}: {e}"));
            // Derivatives pass through floats, and stop at all else.
            let t = Recorder::default();
            let v = t.constant(x[0].clone());
            let y = v.cast(from).cast(to).cast(F64);
            let due = if from.is_float() && to.is_float() { 1.0 } else { 0.0 };
            let seed = v.fill(1.0);
            for d in [t.vjp(&[(y, seed)], &[v])[0], t.jvp(&[y], &[(v, seed)])[0]] {
                assert!(d.value().unwrap().to_f64().iter().all(|&d| d == due), "{from} to {to}");
            }
        }
    }
}
