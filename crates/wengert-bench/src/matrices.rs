//! Factors of matrices, systems and inverses: single ones and a batch of small ones, beside faer on one thread.

use std::time::Instant;

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::linalg::lu::partial_pivoting as lu;
use faer::{MatMut, Par, Spec};
use serde_json::{Value, json};
use wengert::{DType, Program, Recorder, Sampler, States, Var};

use crate::calls::{agree, difference, normal};
use crate::{Arguments, Outcome};

/// What is computed of matrices.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    Cholesky,
    Lu,
    /// As many right sides as rows.
    Solve,
    Inverse,
}

const TASKS: [(&str, Task); 4] =
    [("cholesky", Task::Cholesky), ("lu", Task::Lu), ("solve", Task::Solve), ("inverse", Task::Inverse)];

/// Matrices, and rows of each.
const SIZES: [(usize, usize); 5] = [(1, 8), (1, 32), (1, 128), (1, 512), (1000, 8)];

/// Each task at each size: microseconds of both, the least and the median of calls in turn, and the ratio of the least.
pub(crate) fn linalg(arguments: &Arguments) -> Outcome {
    let mut shapes = serde_json::Map::new();
    let (mut least, mut median) = (0.0, 0.0);
    for (name, task) in TASKS {
        for (count, n) in SIZES {
            let [ours, faers] = measured(arguments, task, count, n)?.map(|mut times| {
                times.sort_by(f64::total_cmp);
                [times[0], times[times.len() / 2]]
            });
            (least, median) = (least + ours[0], median + ours[1]);
            let figures = json!({
                "all_us": ours[0], "all_us_median": ours[1], "faer_us": faers[0], "faer_us_median": faers[1],
                "ratio": ours[0] / faers[0],
            });
            shapes.insert(format!("{name} {count}x{n}"), figures);
        }
    }
    Ok(json!({ "shapes": Value::Object(shapes), "us_per_step": median, "us_min": least }))
}

/// The microseconds of each call, ours and faer's.
fn measured(
    arguments: &Arguments,
    task: Task,
    count: usize,
    n: usize,
) -> Result<[Vec<f64>; 2], crate::Failure> {
    let shape = if count == 1 { vec![n, n] } else { vec![count, n, n] };
    let (dtype, states) = (DType::F64, States::new());
    let mut sampler = Sampler::new(0);
    let (x, b) = (normal(&mut sampler, dtype, &shape, 1.0)?, normal(&mut sampler, dtype, &shape, 1.0)?);
    // Positive definite.
    let t = Recorder::default();
    let rows = t.constant(&x);
    let a = (rows.matmul(rows.swap_axes(-1, -2)) + rows.matrix_power(0)).value()?;
    let program = Program::record(&states, |t| {
        let (a, b) = (t.input(dtype, &shape[..]), t.input(dtype, &shape[..]));
        let outputs: Vec<Var<'_>> = match task {
            Task::Cholesky => vec![a.cholesky()],
            Task::Lu => <[Var<'_>; 2]>::from(a.lu()).into(),
            Task::Solve => vec![a.solve(b)],
            Task::Inverse => vec![a.inverse()],
        };
        t.outputs(outputs)
    })?;
    let mut workspace = program.workspace_on(arguments.threads)?;
    let mut faer = Faer::new(n, &a.to_f64(), &b.to_f64());
    let calls = arguments.iters.unwrap_or(200_000_000 / (count * n * n * n).max(20_000)).clamp(5, 10_000);
    let mut times = [const { Vec::new() }; 2];
    for round in 0..=calls {
        let clock = Instant::now();
        program.evaluate(&mut workspace, &states, (&*a, &b))?;
        let between = clock.elapsed();
        faer.run(task);
        let both = clock.elapsed();
        if round > 0 {
            times[0].push(between.as_secs_f64() * 1e6);
            times[1].push((both - between).as_secs_f64() * 1e6);
        }
    }
    if task != Task::Lu {
        let found = program.evaluate(&mut workspace, &states, (&*a, &b))?.tensor(0)?.to_f64();
        agree("a matrix", difference(&found, &faer.result(task)), 1e-6)?;
    }
    Ok(times)
}

/// The same by faer, in memory of its own, which it is given once.
struct Faer {
    n: usize,
    a: Vec<f64>,
    b: Vec<f64>,
    factors: Vec<f64>,
    x: Vec<f64>,
    order: [Vec<usize>; 2],
    memory: MemBuffer,
}

impl Faer {
    /// Of symmetric matrices, and right sides in rows.
    fn new(n: usize, a: &[f64], b: &[f64]) -> Self {
        let needed = StackReq::any_of(&[
            llt::factor::cholesky_in_place_scratch::<f64>(n, Par::Seq, Spec::default()),
            lu::factor::lu_in_place_scratch::<usize, f64>(n, n, Par::Seq, Spec::default()),
            lu::solve::solve_in_place_scratch::<usize, f64>(n, n, Par::Seq),
            lu::inverse::inverse_scratch::<usize, f64>(n, Par::Seq),
        ]);
        Self {
            n,
            a: a.to_vec(),
            b: transposed(n, b),
            factors: a.to_vec(),
            x: b.to_vec(),
            order: [vec![0; n], vec![0; n]],
            memory: MemBuffer::new(needed),
        }
    }

    fn run(&mut self, task: Task) {
        let Self { n, a, b, factors, x, order: [order, back], memory } = self;
        let n = *n;
        factors.copy_from_slice(a);
        if task == Task::Solve {
            x.copy_from_slice(b);
        }
        for (a, x) in factors.chunks_exact_mut(n * n).zip(x.chunks_exact_mut(n * n)) {
            let (mut a, x) =
                (MatMut::from_column_major_slice_mut(a, n, n), MatMut::from_column_major_slice_mut(x, n, n));
            let stack = MemStack::new(memory);
            if task == Task::Cholesky {
                // It is positive definite; the check of the results would tell.
                let _ =
                    llt::factor::cholesky_in_place(a, Default::default(), Par::Seq, stack, Spec::default());
                continue;
            }
            let (_, rows) =
                lu::factor::lu_in_place(a.as_mut(), order, back, Par::Seq, stack, Spec::default());
            let a = a.as_ref();
            match task {
                Task::Solve => lu::solve::solve_in_place(a, a, rows, x, Par::Seq, stack),
                Task::Inverse => lu::inverse::inverse(x, a, a, rows, Par::Seq, stack),
                _ => {}
            }
        }
    }

    /// What a task has computed, in rows.
    fn result(&self, task: Task) -> Vec<f64> {
        if task != Task::Cholesky {
            return transposed(self.n, &self.x);
        }
        let mut factors = transposed(self.n, &self.factors);
        for (i, row) in factors.chunks_exact_mut(self.n).enumerate() {
            row[i % self.n + 1..].fill(0.0);
        }
        factors
    }
}

/// Square matrices, columns for rows.
fn transposed(n: usize, matrices: &[f64]) -> Vec<f64> {
    let columns = |a: &[f64]| (0..n * n).map(|i| a[i % n * n + i / n]).collect::<Vec<_>>();
    matrices.chunks_exact(n * n).flat_map(columns).collect()
}
