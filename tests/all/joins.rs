//! Arrays that are put together: the parts are computed where they lie, whoever else reads them.

use wengert::check::{Function, laws};
use wengert::{DType, Program, Recorder, Result, States, Tensor, Var};

use crate::planning::numbers;

fn keeps_the_bits(f: impl Function, dims: &[&[usize]]) {
    let inputs: Vec<Tensor> = dims.iter().zip(1..).map(|(d, seed)| numbers(d, seed)).collect();
    laws::execution(&f, &inputs).expect("the same bits");
}

/// How many copies and how many joins the plan of a function of arrays of these sizes has.
fn counted(f: impl Function, dims: &[&[usize]]) -> Result<(usize, usize)> {
    let program = Program::record(&States::new(), |t| {
        let x: Vec<Var<'_>> = dims.iter().map(|d| t.input(DType::F64, *d)).collect();
        t.outputs(f(t, &x))
    })?;
    let text = program.plan().to_string();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("set_part") + count("set_slice"), 0, "{text}");
    Ok((count(" copy("), count(" join(")))
}

#[test]
fn parts_are_computed_where_they_lie() -> Result<()> {
    fn rows<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        vec![t.concat([x[0].exp(), x[1].tanh(), x[0].sin()], 0).square()]
    }
    let dims: &[&[usize]] = &[&[100, 20], &[33, 20]];
    assert_eq!(counted(rows, dims)?, (0, 1));
    keeps_the_bits(rows, dims);
    fn layers<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let all = t.stack([x[0].matmul(x[1]), x[0].exp().matmul(x[1]), (x[0] * x[0]).matmul(x[1])], 0);
        vec![all.sum(0), all.max(2)]
    }
    let dims: &[&[usize]] = &[&[70, 40], &[40, 30]];
    assert_eq!(counted(layers, dims)?, (0, 1));
    keeps_the_bits(layers, dims);
    // Margins are filled beside what they are around.
    fn margin<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let y = (x[0] * 3.0).pad([(2, 1)], -1.5);
        vec![y.slice(0, 2..) - y.slice(0, ..x[0].dim(0) + 1)]
    }
    let dims: &[&[usize]] = &[&[4000]];
    assert_eq!(counted(margin, dims)?, (2, 1));
    keeps_the_bits(margin, dims);
    Ok(())
}

#[test]
fn others_may_read_the_parts_and_change_what_they_read() -> Result<()> {
    // A part that is an output, one that is read later, one that is there twice, and inputs, which stay where they are.
    fn shared<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let (a, b) = (x[0].exp(), x[1].sqrt());
        let all = t.concat([a, b, a, x[0]], 0);
        let far = all.slice(0, 10..900).sum(()) * a;
        vec![a, all.add_part([(5..300).into()], 1.0), far + b.sum(()), all.cumsum(0)]
    }
    let dims: &[&[usize]] = &[&[500], &[700]];
    assert_eq!(counted(shared, dims)?.1, 1);
    keeps_the_bits(shared, dims);
    // Joins of joins, of what was changed where it lies, of nothing, and of products that are added to sums.
    fn nested<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let inner = t.concat([x[0].exp(), x[1]], 0);
        let set = (x[1] * 2.0).set_part([(3..90).into()], x[0].slice(0, 0..87));
        let empty = x[0].slice(0, 0..0);
        let all = t.concat([inner, empty, set, inner.tanh()], 0);
        vec![all.sin().sum(()).gradients([x[0]])[x[0]], all, (all.pad([(1, 1)], 2.0) * 2.0).slice(0, 1..7)]
    }
    keeps_the_bits(nested, dims);
    fn sums<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let products = x[0].matmul(x[1]) + x[0].exp().matmul(x[1]);
        let all = t.concat([products, x[0].sin().matmul(x[1])], 0);
        vec![all.exp(), (all + all.matmul(x[2])).sum(0)]
    }
    keeps_the_bits(sums, &[&[40, 60], &[60, 40], &[40, 40]]);
    Ok(())
}

#[test]
fn parts_of_f32_begin_at_whole_words_or_are_copied() -> Result<()> {
    for (before, after) in [(1, 1), (2, 2), (1, 2), (0, 1)] {
        let record = |t: &Recorder| {
            let x = t.input(DType::F32, [3001]);
            t.outputs((x.exp().pad([(before, after)], 1.0) * 2.0).sum(()))
        };
        let (program, rows) =
            (Program::record_exact(&States::new(), record)?, Program::record_once(&States::new(), record)?);
        let x = Tensor::new([3001], (0..3001).map(|i| (i as f32).sin()).collect())?;
        let value = |p: &Program| p.evaluate(&mut p.workspace()?, &States::new(), (&x,))?.tensor(0)?.item();
        assert_eq!(value(&program)?, value(&rows)?, "{before}, {after}");
    }
    Ok(())
}

#[test]
fn states_that_are_put_together_anew_are_written_when_all_is_read() -> Result<()> {
    let mut ends = Vec::new();
    for once in [false, true] {
        let mut states = States::new();
        let s = states.add("s", numbers(&[3000], 4))?;
        let record = |t: &Recorder| {
            let s = t.state(s);
            let next = t.concat([s.slice(0, 1..) * 0.5, s.slice(0, 0..1).exp()], 0);
            t.update(s, next);
            t.outputs([s.sum(()), next.at(7)])
        };
        let how = if once { Program::record_once } else { Program::record };
        let program = how(&states, record)?;
        let mut workspace = program.workspace()?;
        for _ in 0..3 {
            program.run(&mut workspace, &mut states, ())?;
        }
        ends.push(states.get(s)?.to_f64());
    }
    assert_eq!(ends[0], ends[1]);
    Ok(())
}

/// The bits of a full plan are the same on every machine, and off by rounding.
fn rounds(f: impl Function, dims: &[&[usize]]) {
    let inputs: Vec<Tensor> = dims.iter().zip(1..).map(|(d, seed)| numbers(d, seed)).collect();
    let record = |t: &Recorder| {
        let x: Vec<Var<'_>> = dims.iter().map(|d| t.input(DType::F64, *d)).collect();
        t.outputs(f(t, &x))
    };
    laws::program(&States::new(), &inputs, 1e-12, &record).expect("rounding");
}

/// A recurrent network over the steps of its input, and the gradients of its weights.
fn recurrent<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
    let [inputs, w, u, start] = [x[0], x[1], x[2], x[3]];
    let steps = inputs.dim(0);
    let mut h = start;
    let mut all = Vec::new();
    for step in 0..steps {
        h = (inputs.at(step).matmul(w) + h.matmul(u)).tanh();
        all.push(h);
    }
    let loss = (t.stack(all, 0) * 0.5).square().sum(()) + (w * w).sum(());
    let g = loss.gradients([w, u, start]);
    vec![loss, g[w], g[u], g[start]]
}

#[test]
fn products_of_all_steps_are_one() -> Result<()> {
    let products = |dims: &[&[usize]]| -> Result<usize> {
        let program = Program::record(&States::new(), |t| {
            let x: Vec<Var<'_>> = dims.iter().map(|d| t.input(DType::F64, *d)).collect();
            t.outputs(recurrent(t, &x))
        })?;
        let text = program.lowered(wengert::Lowering::Graph)?;
        Ok(text.lines().filter(|line| line.contains(" contract(") && !line.contains("pack for")).count())
    };
    // One of all inputs, two for gradients; each step and each step back has its own.
    let dims: &[&[usize]] = &[&[9, 20, 16], &[16, 24], &[24, 24], &[20, 24]];
    assert_eq!(products(dims)?, 1 + 2 + 9 + 9);
    rounds(recurrent, dims);
    // Few steps, and few numbers, stay as they are.
    let dims: &[&[usize]] = &[&[3, 20, 16], &[16, 24], &[24, 24], &[20, 24]];
    assert_eq!(products(dims)?, 5 * 3);
    rounds(recurrent, dims);
    rounds(recurrent, &[&[9, 3, 5], &[5, 7], &[7, 7], &[3, 7]]);
    // Two layers: the second one's inputs are the first one's states.
    fn layers<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let (mut a, mut b) = (x[3], x[3]);
        let mut loss = (x[1] * 3.0).sum(());
        for step in (0..x[0].dim(0)).rev() {
            a = (x[0].at(step).matmul(x[1]) + a.matmul(x[2])).tanh();
            b = (a.matmul(x[2]) + b.matmul(x[2])).sigmoid();
            loss += (b * a).sum(());
        }
        let g = loss.gradients([x[0], x[1], x[2]]);
        let _ = t;
        vec![loss, g[x[0]], g[x[1]], g[x[2]]]
    }
    rounds(layers, &[&[9, 20, 16], &[16, 24], &[24, 24], &[20, 24]]);
    Ok(())
}

/// What one sum is joined from depends on the other sum, which could share it.
#[test]
fn sums_that_wait_for_one_another_stay_apart() {
    fn circle<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let mut d: Vec<Var<'t>> = (0..5).map(|i| x[0].at(i).exp()).collect();
        let sum = |d: &[Var<'t>], by: fn(Var<'t>) -> Var<'t>| {
            let term = |(i, &d): (usize, &Var<'t>)| by(x[1].at(i)).einsum("ki,kj->ij", d);
            d.iter().enumerate().map(term).reduce(|a, b| a + b).expect("some")
        };
        let first = sum(&d, |x| x.sin());
        d.push(x[0].at(5) * first.sum(()));
        let _ = t;
        vec![sum(&d, |x| x.cos()), first]
    }
    rounds(circle, &[&[6, 20, 16], &[6, 20, 24]]);
}

#[test]
fn products_of_rows_that_others_see_are_theirs() -> Result<()> {
    // Outputs, views of results, rows in another order, with gaps, and from several arrays.
    fn rows<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let y: Vec<Var<'t>> = [5, 0, 1, 2, 3, 7, 8, 9, 10].map(|i| x[0].at(i).matmul(x[1])).to_vec();
        let sums = y.iter().fold(y[0] * 0.0, |sum, y| sum + y.slice(0, 3..10).sum(0));
        let turned = y[7].permute([1, 0]).reshape([30 * 24]).sum(());
        vec![y[0], sums, turned, y[0].reshape([24 * 30]), x[0].at(4).slice(0, 4..9).matmul(x[1])]
    }
    rounds(rows, &[&[11, 24, 40], &[40, 30]]);
    // Sums of products of several kinds, and of other terms.
    fn sums<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let part = |a: Var<'t>, i: usize| a.slice(0, 20 * i..20 * i + 20);
        let mut sum = x[2].exp();
        for i in [2, 0, 3, 1, 4] {
            sum += part(x[0], i).einsum("ki,kj->ij", part(x[1], i).sin());
            sum = part(x[0], i).exp().einsum("ki,kj->ij", part(x[1], 4 - i)) + sum;
            sum -= part(x[1], i).einsum("kj,ki->ij", part(x[0], 4 - i).tanh());
        }
        vec![sum, sum.tanh()]
    }
    rounds(sums, &[&[100, 30], &[100, 18], &[30, 18]]);
    Ok(())
}

#[test]
fn rows_are_put_side_by_side() -> Result<()> {
    fn columns<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let all = t.concat([x[0].exp(), x[1], x[0], x[1].sin().slice(1, 1..2)], -1);
        vec![all.tanh().sum(0), all, all.pad([(0, 0), (2, 3)], 0.25)]
    }
    let dims: &[&[usize]] = &[&[90, 7], &[90, 4]];
    assert_eq!(counted(columns, dims)?, (0, 0));
    keeps_the_bits(columns, dims);
    fn middle<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let all = t.stack([x[0], x[0] * 2.0, x[0].exp()], 2).square();
        let around = x[0].pad([(0, 0), (1, 2), (0, 0)], -1.0);
        vec![all, around.cumsum(1), all.add_part([(1..3).into()], 1.0)]
    }
    keeps_the_bits(middle, &[&[12, 9, 11]]);
    // Truth values and bytes, and parts of no columns.
    fn truths<'t>(t: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let (a, b) = (x[0].gt(0.0), x[1].le(0.1));
        let all = t.concat([a, b.slice(1, 0..0), b, a], 1);
        vec![all.cast(DType::F64), t.concat([a.cast(DType::U8), b.cast(DType::U8)], 1).cast(DType::I64)]
    }
    keeps_the_bits(truths, &[&[300, 13], &[300, 5]]);
    Ok(())
}

#[test]
fn gradients_of_parts_are_put_together_where_that_rounds() -> Result<()> {
    // Zeros keep their signs in the exact plan: 0 + −0 is 0.
    fn gates<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let gate = |k: usize| x[0].slice(1, 30 * k..30 * k + 30);
        let y = gate(0).sigmoid() * gate(1).tanh() + gate(2) * gate(3).relu();
        let g = (y * x[1]).sum(()).gradients([x[0]])[x[0]];
        vec![g]
    }
    let dims: &[&[usize]] = &[&[40, 120], &[40, 30]];
    keeps_the_bits(gates, dims);
    rounds(gates, dims);
    let program = Program::record(&States::new(), |t| {
        let x = [t.input(DType::F64, [40, 120]), t.input(DType::F64, [40, 30])];
        t.outputs(gates(t, &x))
    })?;
    let text = program.plan().to_string();
    assert!(text.contains("join rows") && !text.contains("add_slice"), "{text}");
    // Parts that overlap, or leave gaps.
    fn overlaps<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
        let y = x[0].slice(1, 3..50).square().sum(()) + x[0].slice(1, 49..80).exp().sum(());
        let z = x[1].slice(1, 2..9).square().sum(()) + x[1].slice(1, 20..27).exp().sum(());
        let w = x[0].slice(0, 5..20).sin().sum(()) + x[0].slice(0, 30..40).exp().sum(());
        let g = (y + z * w).gradients([x[0], x[1]]);
        vec![g[x[0]], g[x[1]]]
    }
    keeps_the_bits(overlaps, dims);
    rounds(overlaps, dims);
    Ok(())
}
