//! What the design promises of recording, states, branches, transforms and errors.

use ndarray::{Array1, Array2, Axis, array};
use proptest::prelude::*;
use wengert::check::{Options, function, gradcheck, laws};
use wengert::ir::verify;
use wengert::{DType, DType::F64, Error, ErrorKind, Fault, Program, Recorder, Result, States, Tensor, Var};

#[test]
fn states_swap_and_keep_their_values_when_a_run_fails() -> Result<()> {
    let mut states = States::new();
    let (a, b) = (states.add("a", 1.0)?, states.add("b", 2.0)?);
    let swap = Program::record(&states, |t| {
        let guard = t.input_with(1.0);
        let (x, y) = (t.state(a), t.state(b));
        t.update(x, y);
        t.update(y, x);
        guard.gt(0.0).decide()?;
        t.outputs([x, y])
    })?;
    let mut space = swap.workspace()?;
    let out = swap.run(&mut space, &mut states, (&1.0,))?;
    assert_eq!((out.scalar(0)?, out.scalar(1)?), (1.0, 2.0), "a state is its value at the start");
    assert_eq!((states.get(a)?.item()?, states.get(b)?.item()?), (2.0, 1.0));
    let error = swap.run(&mut space, &mut states, (&-1.0,)).err().expect("the guard fails");
    assert_eq!(error.kind(), &ErrorKind::Guard { recorded: true, found: false });
    assert_eq!((states.get(a)?.item()?, states.get(b)?.item()?), (2.0, 1.0));
    assert!(swap.evaluate(&mut space, &states, (&1.0,)).is_err(), "a shared store is not written");

    let twice = Program::record(&states, |t| {
        t.update(t.state(a), t.state(b));
        t.update(t.state(a), t.state(b));
        t.outputs([])
    });
    assert!(matches!(twice.unwrap_err().kind(), ErrorKind::State(_)));
    let other_order = {
        let mut states = States::new();
        states.add("b", 2.0)?;
        states.add("a", 1.0)?;
        states
    };
    let read = Program::record(&states, |t| t.outputs(t.state(a)))?;
    let error = read.evaluate(&mut read.workspace()?, &other_order, ()).err().expect("another order");
    assert!(error.to_string().contains("state a"), "{error}");
    Ok(())
}

#[test]
fn a_store_is_shared_by_threads_and_batch_sizes() -> Result<()> {
    let mut states = States::new();
    let w = states.add("w", array![1.0, 2.0, 3.0])?;
    let sums =
        |rows: usize| Program::record(&states, |t| t.outputs(t.input(F64, [rows, 3]).matmul(t.state(w))));
    let (two, five) = (sums(2)?, sums(5)?);
    std::thread::scope(|scope| {
        let run = |program: &Program, rows: usize| -> Result<Vec<f64>> {
            let x = Array2::<f64>::ones((rows, 3));
            let mut space = program.workspace()?;
            Ok(program.evaluate(&mut space, &states, (&x,))?.slice::<f64>(0)?.to_vec())
        };
        let (two, five) = (&two, &five);
        let a = scope.spawn(move || run(two, 2));
        assert_eq!(run(five, 5).unwrap(), [6.0; 5]);
        assert_eq!(a.join().unwrap().unwrap(), [6.0; 2]);
    });
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit_nor_the_fault_that_is_told() -> Result<()> {
    // No task divides a prime.
    const N: usize = 401;
    fn outputs<'t>(x: Var<'t>, index: Var<'t>) -> [Var<'t>; 3] {
        let y = (x.matmul(x.t()) * 0.01).tanh();
        let picked = y.gather(index);
        let g = (picked.log_softmax().max(1) * picked.sum(1)).sum(()).gradients([x]);
        [y, picked.sum(0), g[x]]
    }
    let states = States::new();
    let record =
        |t: &Recorder| t.outputs(outputs(t.input(DType::F32, [N, N]), t.input(DType::U32, [N * 40])));
    let (exact, full) = (Program::record_exact(&states, record)?, Program::record(&states, record)?);
    let mut sampler = wengert::Sampler::new(4);
    let x = Array2::from_shape_simple_fn((N, N), || sampler.unit() as f32 - 0.5);
    let mut index = Array1::from_iter((0..N as u32 * 40).map(|i| i * 7 % N as u32));
    let run = |program: &Program, threads: usize, index: &Array1<u32>| -> Result<Vec<Tensor>> {
        let mut space = program.workspace_on(threads)?;
        let results = program.evaluate(&mut space, &states, (&x, index))?;
        (0..3).map(|i| results.tensor(i)).collect()
    };
    // Row by row, without tasks or threads.
    let t = Recorder::default();
    let by_row = outputs(t.constant(x.clone()), t.constant(index.clone()));
    let alone = run(&full, 1, &index)?;
    for threads in [1, 2, 3, 8] {
        for (planned, row) in run(&exact, threads, &index)?.iter().zip(by_row) {
            assert!(planned.data().as_bytes() == row.value()?.data().as_bytes(), "{threads} threads");
        }
        for (planned, alone) in run(&full, threads, &index)?.iter().zip(&alone) {
            assert!(planned.data().as_bytes() == alone.data().as_bytes(), "{threads} threads, all passes");
        }
    }
    (index[15_000], index[3]) = (N as u32, 99_999);
    for threads in [1, 2, 3, 8] {
        let error = run(&full, threads, &index).unwrap_err();
        let expected = ErrorKind::Fault(Fault::Index { position: 3, found: 99_999, below: N });
        assert_eq!(error.kind(), &expected, "{threads} threads");
    }
    Ok(())
}

#[test]
fn a_product_cut_into_tasks_has_the_bits_of_the_whole() -> Result<()> {
    let mut sampler = wengert::Sampler::new(8);
    let mut draw = |n: usize| (0..n).map(|_| sampler.unit()).collect::<Vec<f64>>();
    let x = Tensor::new([64, 200, 15], draw(64 * 200 * 15))?;
    let y = Tensor::new([200, 15, 20], draw(200 * 15 * 20))?;
    let program = Program::record(&States::new(), |t| {
        let (x, y) = (t.input(F64, x.shape()), t.input(F64, y.shape()));
        t.outputs(x.einsum("mbk,bkn->mbn", y))
    })?;
    let mut space = program.workspace()?;
    let planned = program.evaluate(&mut space, &States::new(), (&x, &y))?.tensor(0)?;
    let t = Recorder::default();
    let by_row = t.constant(x.clone()).einsum("mbk,bkn->mbn", t.constant(y.clone())).value()?;
    assert!(planned.data().as_bytes() == by_row.data().as_bytes());
    Ok(())
}

#[test]
fn a_workspace_serves_its_own_program_only() -> Result<()> {
    let states = States::new();
    let record = |row: u8| {
        Program::record(&states, |t| {
            let x = t.input(F64, [2]);
            t.outputs(x.gather(t.constant(array![row])))
        })
    };
    let (a, b) = (record(0)?, record(1)?);
    let mut space = a.workspace()?;
    let x = array![5.0, 6.0];
    let error = b.evaluate(&mut space, &states, (&x,)).err().expect("another program");
    assert!(matches!(error.kind(), ErrorKind::Argument(_)), "{error}");
    assert_eq!(
        a.clone().evaluate(&mut space, &states, (&x,))?.scalar(0)?,
        5.0,
        "a clone is the same program"
    );
    Ok(())
}

#[test]
fn inputs_of_any_layout_and_plain_slices() -> Result<()> {
    let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [2, 3]) * 1.0))?;
    let mut space = program.workspace()?;
    let x = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let states = States::new();
    assert_eq!(program.evaluate(&mut space, &states, (&x.t(),))?.view::<f64>(0)?, x.t().into_dyn());
    let flat: &[f64] = &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0];
    assert_eq!(program.evaluate(&mut space, &states, (&flat,))?.slice::<f64>(0)?, flat);
    for error in [
        program.evaluate(&mut space, &states, (&x,)).err(),
        program.evaluate(&mut space, &states, (&&flat[1..],)).err(),
        program.evaluate(&mut space, &states, (&x.mapv(|x| x as f32),)).err(),
        program.evaluate(&mut space, &states, ()).err(),
    ] {
        assert!(matches!(error.expect("a misfit").kind(), ErrorKind::Input(_)));
    }
    let out = program.evaluate(&mut space, &states, (&flat,))?;
    assert!(out.slice::<f32>(0).is_err() && out.scalar(0).is_err() && out.tensor(1).is_err());
    Ok(())
}

#[test]
fn looking_and_branching() -> Result<()> {
    let states = States::new();
    let looked = Program::record(&states, |t| {
        let x = t.input_with(2.0);
        let n = x.value()?.item()?;
        t.outputs(x * n)
    })?;
    assert!(looked.observed());
    let strict = Program::record_strict(&states, |t| {
        let x = t.input_with(2.0);
        let n = x.value()?.item()?;
        t.outputs(x * n)
    });
    assert_eq!(strict.unwrap_err().kind(), &ErrorKind::Observed);
    let decided = Program::record_strict(&states, |t| {
        let x = t.input_with(2.0);
        t.constant(1.0).value()?;
        t.outputs(if x.gt(1.0).decide()? { x } else { -x })
    })?;
    assert!(!decided.observed());
    let error =
        decided.evaluate(&mut decided.workspace()?, &states, (&0.5,)).err().expect("the other branch");
    assert_eq!(error.site().map(|s| s.location.file()), Some(file!()));
    let abstract_input = Program::record(&states, |t| {
        t.input(F64, []).value()?;
        t.outputs([])
    });
    assert!(matches!(abstract_input.unwrap_err().kind(), ErrorKind::NoValue(_)));
    Ok(())
}

#[test]
fn a_million_rows_in_a_chain_on_a_small_stack() {
    let work = || {
        const ROWS: usize = 1_000_000;
        let program = Program::record(&States::new(), |t| {
            let x = t.input(F64, []);
            let mut y = x;
            for _ in 0..ROWS {
                y = y.sin();
            }
            t.outputs([y, y.gradients([x])[x]])
        })?;
        assert!(program.tape().rows().len() > 2 * ROWS);
        verify(program.tape())?;
        let text = program.tape().listing(20).to_string();
        assert!(text.lines().count() < 30 && text.contains("more rows"), "{text}");
        let mut space = program.workspace()?;
        let out = program.evaluate(&mut space, &States::new(), (&1.0,))?;
        let (mut y, mut slope) = (1f64, 1f64);
        for _ in 0..ROWS {
            slope *= y.cos();
            y = y.sin();
        }
        assert!((out.scalar(0)? - y).abs() < 1e-12 && (out.scalar(1)? - slope).abs() < 1e-12);
        let t = Recorder::default();
        let mut y = t.constant(1.0);
        for _ in 0..ROWS {
            y = y.sin();
        }
        assert!((y.value()?.item()? - out.scalar(0)?).abs() < 1e-12);
        Ok::<(), Error>(())
    };
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn the_gradient_of_many_slices_has_no_padded_arrays() -> Result<()> {
    let program = Program::record(&States::new(), |t| {
        let x = t.input(F64, [64, 64]);
        let parts = (0..64).map(|i| x.slice(0, i..i + 1).sum(()).tanh());
        let loss = parts.reduce(|a, b| a + b).expect("parts");
        t.outputs(loss.gradients([x])[x])
    })?;
    // One array of zeros to start from, one row that adds each part, and nothing else of that size.
    let whole = |name: &str| {
        let rows = program.tape().rows().iter();
        rows.filter(|r| r.op.name() == name && r.results[0].shape.elements() == 64 * 64).count()
    };
    assert_eq!((whole("fill"), whole("add_slice"), whole("add")), (1, 64, 0));
    Ok(())
}

fn hessian_vector<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Var<'t> {
    let y = (x[0].matmul(x[0].t()).tanh() * x[0].sin()).sum(());
    let g = y.gradients([x[0]]);
    t.jvp(&[g[x[0]]], &[(x[0], x[1])])[0]
}

#[test]
fn derivatives_of_any_order() -> Result<()> {
    let x = Tensor::from_array(&array![[0.3, -0.4], [0.9, 0.1]])?;
    let report = gradcheck(hessian_vector, &[x.clone(), x], &Options { order: 2, ..Options::default() })?;
    assert!(report.worst < 1e-7 && report.compared > 10, "{report:?}");
    let y = Tensor::scalar(0.4);
    gradcheck(
        |_, x| (x[0].exp() * x[0]).sin(),
        &[y],
        &Options { order: 4, tolerance: 1e-5, ..Options::default() },
    )?;
    Ok(())
}

#[test]
fn transforms_compose() -> Result<()> {
    let x = Tensor::from_array(&array![[0.3, -0.4, 0.7], [0.9, 0.1, -0.2]])?;
    let w = Tensor::from_array(&array![[0.5, 0.25], [1.0, -1.0], [0.1, 0.2]])?;
    // The gradient of a sum over a map; a map of gradients; a map within a map; other axes.
    let of_map = function(|t, x| {
        let y = t.vmap(&[(x[0], Some(0))], |row| vec![row[0].matmul(x[1]).tanh().sum(())]);
        y[0].sum(()).gradients([x[0], x[1]]).iter().map(|(_, g)| g).collect()
    });
    let plain = function(|_, x| {
        let y = x[0].matmul(x[1]).tanh().sum(());
        y.gradients([x[0], x[1]]).iter().map(|(_, g)| g).collect()
    });
    let run = |f: &dyn wengert::check::Function, inputs: &[Tensor]| -> Result<Vec<Tensor>> {
        let t = Recorder::default();
        let x: Vec<Var<'_>> = inputs.iter().map(|x| t.constant(x.clone())).collect();
        f(&t, &x).into_iter().map(|y| Ok((*y.value()?).clone())).collect()
    };
    let inputs = [x, w];
    let close = |a: &Tensor, b: &Tensor| {
        assert_eq!(a.shape(), b.shape());
        assert!(a.to_f64().iter().zip(b.to_f64()).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} is not {b:?}");
    };
    for (a, b) in run(&of_map, &inputs)?.iter().zip(&run(&plain, &inputs)?) {
        close(a, b);
    }
    let outer = function(|t, x| {
        t.vmap(&[(x[0], Some(0))], |row| {
            t.vmap(&[(row[0], None), (x[1], Some(1))], |pair| vec![pair[0].einsum("i,i->", pair[1])])
        })
    });
    let product = function(|_, x| vec![x[0].matmul(x[1])]);
    close(&run(&outer, &inputs)?[0], &run(&product, &inputs)?[0]);
    laws::adjoint(&of_map, &inputs, 3)?;
    laws::tangent(&of_map, &inputs, 3)?;
    // An input and what is computed from it, together: both modes agree.
    let t = Recorder::default();
    let x = t.constant(2.0);
    let y = x * x;
    let z = y * x;
    let ct = t.vjp(&[(z, z.fill(1.0))], &[x, y]);
    assert_eq!((ct[0].value()?.item()?, ct[1].value()?.item()?), (12.0, 2.0));
    let tangent = t.jvp(&[z], &[(x, x.fill(1.0)), (y, y.fill(10.0))]);
    assert_eq!(tangent[0].value()?.item()?, 12.0 + 20.0);
    Ok(())
}

#[test]
fn a_branch_cannot_differ_within_a_batch() {
    let t = Recorder::default();
    let x = t.constant(array![1.0, -1.0]);
    t.vmap(&[(x, Some(0))], |x| {
        let decided = x[0].gt(0.0).decide();
        assert!(decided.unwrap_err().to_string().contains("stands for every example"));
        x.to_vec()
    });
}

#[test]
fn random_numbers_depend_on_key_and_position_only() -> Result<()> {
    let t = Recorder::default();
    let (a, again, b) = (t.constant(1i64), t.constant(1i64), t.constant(2i64));
    let draw = |key: Var<'_>, n: usize| key.uniform(DType::F32, [n]).value().map(|v| v.to_f64());
    assert_eq!(draw(a, 7)?, draw(again, 7)?);
    assert_ne!(draw(a, 7)?, draw(b, 7)?);
    assert_eq!(draw(a, 7)?[..5], draw(a, 5)?);
    let keys = t.constant(array![1i64, 2]);
    let rows = keys.uniform(DType::F32, [7]).value()?;
    assert_eq!(rows.to_f64(), [draw(a, 7)?, draw(b, 7)?].concat());
    // Moments of 20,000 numbers: mean, variance, and the share in each tenth.
    let many = a.uniform(F64, [20_000]).value()?.to_f64();
    let mean = many.iter().sum::<f64>() / 2e4;
    let variance = many.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2e4;
    assert!((mean - 0.5).abs() < 0.01 && (variance - 1.0 / 12.0).abs() < 0.002, "{mean} {variance}");
    for tenth in 0..10 {
        let share = many.iter().filter(|&&x| (x * 10.0) as usize == tenth).count();
        assert!((1850..2150).contains(&share), "{share} in tenth {tenth}");
    }
    Ok(())
}

/// A random expression of one matrix, as a list of choices.
fn grown<'t>(t: &'t Recorder, x: Var<'t>, choices: &[(u8, usize, usize)]) -> Var<'t> {
    let n = x.dim(0);
    let mut pool = vec![x, x.t(), t.full(x.dtype(), [n, n], 0.5)];
    for &(kind, a, b) in choices {
        let (a, b) = (pool[a % pool.len()], pool[b % pool.len()]);
        pool.push(match kind % 14 {
            0 => a + b,
            1 => a - b,
            2 => a * b,
            3 => a / (b * b + 1.0),
            4 => a.matmul(b) * 0.3,
            5 => a.tanh(),
            6 => a.sin(),
            7 => a.sigmoid() * b,
            8 => (a * 0.1).exp(),
            9 => a.t(),
            10 => a - a.mean(0),
            11 => a.log_softmax(),
            12 => a.gather(t.constant(Array1::from_iter((0..n as i64).rev()))),
            _ => a.sum(1).insert_axis(1) * b,
        });
    }
    pool.last().copied().unwrap_or(x).tanh().sum(())
}

proptest! {
    #![proptest_config(crate::random_cases(40))]

    #[test]
    fn random_tapes_keep_the_laws(
        choices in prop::collection::vec((0u8..14, 0usize..40, 0usize..40), 1..14),
        seed in 0u64..1000,
    ) {
        let mut sampler = wengert::Sampler::new(seed);
        let x = [Tensor::new([3, 3], (0..9).map(|_| sampler.unit() - 0.5).collect::<Vec<f64>>()).unwrap()];
        let f = function(|t, x| vec![grown(t, x[0], &choices)]);
        laws::execution(&f, &x).unwrap();
        laws::adjoint(&f, &x, seed).unwrap();
        laws::tangent(&f, &x, seed).unwrap();
        let second = laws::pullback(&f);
        laws::adjoint(&second, &x, seed).unwrap();
        laws::tangent(&second, &x, seed).unwrap();
        let examples = vec![vec![x[0].clone(), Tensor::filled(x[0].ty(), 0.25).unwrap()]];
        laws::batching(&f, &examples).unwrap();
        laws::batching(&second, &examples).unwrap();
    }

    #[test]
    fn matmul_is_that_of_ndarray(m in 0usize..20, k in 0usize..20, n in 0usize..20, seed in 0u64..100) {
        let mut s = wengert::Sampler::new(seed);
        let mut draw = |r, c| Array2::from_shape_simple_fn((r, c), || s.unit() - 0.5);
        let (a, b) = (draw(m, k), draw(k, n));
        let t = Recorder::default();
        let product = |x: Var<'_>| x.value().unwrap().to_f64();
        let found = product(t.constant(a.clone()).matmul(t.constant(b.clone())));
        let transposed = product(t.constant(b.t().to_owned()).matmul(t.constant(a.t().to_owned())).t());
        let expected: Vec<f64> = (0..m * n).map(|i| a.row(i / n).iter().zip(b.column(i % n)).map(|(a, b)| a * b).sum()).collect();
        for ((f, g), e) in found.iter().zip(&transposed).zip(&expected) {
            prop_assert!((f - e).abs() < 1e-13 && (g - e).abs() < 1e-13);
        }
        let by_axis: Vec<f64> = t.constant(a.clone()).sum(0).value().unwrap().to_f64();
        let expected = a.sum_axis(Axis(0));
        prop_assert!(by_axis.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}

/// States are written in place only where nothing that follows reads the old value or can fail.
#[test]
fn large_states_are_written_after_all_reading_and_all_that_may_fail() {
    let mut states = States::new();
    let number = |i: usize, j: usize| ((i * 31 + j * 17) % 23) as f64 / 23.0 - 0.4;
    let w = states.add("w", ndarray::Array2::from_shape_fn((400, 300), |(i, j)| number(i, j))).unwrap();
    let v = states.add("v", ndarray::Array2::from_shape_fn((400, 300), |(i, j)| number(j, i))).unwrap();
    let record = |t: &Recorder| {
        let (x, index) = (t.input(F64, [400, 300]), t.input(wengert::DType::I64, [2]));
        let (w, v) = (t.state(w), t.state(v));
        // `w` is read whole long after its next value is known, and the last row may fail.
        t.update(w, w * 0.5 + x);
        t.update(v, v - x * 0.25);
        let late = w.matmul(w.t()).matmul(w).tanh().sum(1);
        t.outputs([late.gather(index), (v * x).sum(())])
    };
    let exact = Program::record_exact(&states, record).unwrap();
    let (full, rows) =
        (Program::record(&states, record).unwrap(), Program::record_once(&states, record).unwrap());
    let x = ndarray::Array2::from_shape_fn((400, 300), |(i, j)| number(i + j, j));
    let run = |program: &Program, threads| {
        let (mut own, mut workspace) = (states.clone(), program.workspace_on(threads).unwrap());
        let bad = program.run(&mut workspace, &mut own, (&x, &ndarray::array![3i64, 400]));
        assert!(matches!(bad.err().unwrap().kind(), ErrorKind::Fault(wengert::Fault::Index { .. })));
        for s in [w, v] {
            assert_eq!(own.get(s).unwrap(), states.get(s).unwrap(), "{threads} threads");
        }
        let mut found = Vec::new();
        for _ in 0..2 {
            let results = program.run(&mut workspace, &mut own, (&x, &ndarray::array![3i64, 399])).unwrap();
            found.extend([results.tensor(0).unwrap(), results.tensor(1).unwrap()]);
        }
        found.extend([own.get(w).unwrap().clone(), own.get(v).unwrap().clone()]);
        found
    };
    let reference = run(&rows, 1);
    let rounded = run(&full, 1);
    for threads in 1..=3 {
        assert!(run(&exact, threads) == reference, "exact on {threads} threads");
        assert!(run(&full, threads) == rounded, "{threads} threads");
    }
    // The full plan may add in another order, no more.
    for (a, b) in rounded.iter().zip(&reference).flat_map(|(a, b)| a.to_f64().into_iter().zip(b.to_f64())) {
        assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{a} instead of {b}");
    }
}
