//! Machine code against rows that are computed one by one: random programs of small arrays and of long ones, bit for bit.

use wengert::DType::{F32, F64};
use wengert::{DType, Program, Recorder, Result, Sampler, States, Tensor, Var};

/// One of a list.
fn any<T: Copy>(rng: &mut Sampler, of: &[T]) -> T {
    of[below(rng, of.len())]
}

fn below(rng: &mut Sampler, n: usize) -> usize {
    (rng.unit() * n as f64) as usize
}

/// Rows of arrays of this size, or of one number, each of what is there.
fn rows<'t>(t: &'t Recorder, rng: &mut Sampler, x: [Var<'t>; 3], n: usize, count: usize) -> Vec<Var<'t>> {
    let dtype = x[0].dtype();
    let mut whole: Vec<Var<'t>> = x.to_vec();
    let mut numbers = vec![x[0].at(0)];
    let mut truths = vec![x[0].lt(x[1])];
    for _ in 0..count {
        let (a, b, c) = (any(rng, &whole), any(rng, &whole), any(rng, &whole));
        let (s, m) = (any(rng, &numbers), any(rng, &truths));
        let new = match below(rng, 36) {
            0 => a + b,
            1 => a - s,
            2 => a * b,
            3 => s / a,
            4 => -a,
            5 => a.abs(),
            6 => a.abs().sqrt(),
            7 => a.maximum(b),
            8 => a.minimum(s),
            9 => m.select(a, b),
            10 => m.select(a, s),
            11 => a.relu(),
            12 => a.clamp(-0.5, 1.5),
            13 => a.round() + b.floor(),
            14 => (a * 0.25).exp(),
            15 => a.sin() * b.cos(),
            16 => a * 0.3 + 1,
            17 => m.cast(dtype) * c,
            18 => a.square() + b * c,
            19 => a.recip(),
            20 => a.tanh(),
            21 => t.concat([a.slice(0, n / 2..), b.slice(0, ..n / 2)], 0),
            22 => a.flip(0),
            23 => a.roll(1, 0),
            24 => a.add_part([(n / 3..n / 2).into()], s),
            25 => a.cast(if dtype == F64 { F32 } else { F64 }).cast(dtype),
            26 => a.reshape([n, 1]).matmul(b.slice(0, ..1).reshape([1, 1])).reshape([n]),
            34 => {
                let side = (1..).take_while(|side| side * side <= n).last().unwrap_or(1);
                let square = |x: Var<'t>| x.slice(0, ..side * side).reshape([side, side]);
                let product = square(a).matmul(square(b)).reshape([side * side]);
                t.concat([product, c.slice(0, side * side..)], 0)
            }
            kind => {
                match kind {
                    27 => numbers.push(a.sum(())),
                    28 => numbers.push(s * any(rng, &numbers) - 1),
                    29 => numbers.push(a.max(())),
                    30 => numbers.push(a.at(below(rng, n))),
                    31 => truths.push(a.le(b)),
                    32 => truths.push(m & any(rng, &truths)),
                    33 => numbers.push(a.matmul(b)),
                    _ => truths.push(!m),
                }
                continue;
            }
        };
        whole.push(new);
    }
    let last = whole.len() - 3;
    whole.drain(..last);
    whole.extend([any(rng, &numbers), any(rng, &truths).cast(dtype)]);
    whole
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    tensor.to_f64().into_iter().map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() }).collect()
}

/// Values and gradients of programs of arrays of some sizes, on numbers among which are zeros of both signs, infinities and NaNs: how many were
/// machine code.
fn agree(programs: u64, sizes: &[usize], most: usize) -> Result<usize> {
    let mut compiled = 0;
    for seed in 0..programs {
        let mut rng = Sampler::new(seed);
        let (dtype, n) = (any(&mut rng, &[F32, F64]), any(&mut rng, sizes));
        let count = 1 + below(&mut rng, most);
        let record = |t: &Recorder| {
            let x = [(); 3].map(|()| t.input(dtype, [n]));
            let results = rows(t, &mut Sampler::new(!seed), x, n, count);
            let value = results.iter().fold(x[0].sum(()), |sum, y| sum + y.sum(()));
            let gradients = value.gradients(x);
            t.outputs(results.into_iter().chain(x.map(|x| gradients[x])))
        };
        let (program, rows) =
            (Program::record_exact(&States::new(), record)?, Program::record_once(&States::new(), record)?);
        let special = [0.0, -0.0, f64::INFINITY, f64::NAN, -1.0, 1e-310];
        let mut draw = || match below(&mut rng, 12) {
            0 => any(&mut rng, &special),
            _ => 4.0 * rng.unit() - 2.0,
        };
        let mut input = |dtype: DType| {
            let x: Vec<f64> = (0..n).map(|_| draw()).collect();
            if dtype == F64 {
                Tensor::new([n], x)
            } else {
                Tensor::new([n], x.iter().map(|&x| x as f32).collect())
            }
        };
        let x = [input(dtype)?, input(dtype)?, input(dtype)?];
        let (mut a, mut b) = (program.workspace()?, rows.workspace()?);
        // A second run finds what the first one left.
        program.evaluate(&mut a, &States::new(), (&x[2], &x[0], &x[1]))?;
        let found = program.evaluate(&mut a, &States::new(), (&x[0], &x[1], &x[2]))?;
        let due = rows.evaluate(&mut b, &States::new(), (&x[0], &x[1], &x[2]))?;
        for i in 0..due.count() {
            assert_eq!(
                bits(&found.tensor(i)?),
                bits(&due.tensor(i)?),
                "seed {seed}, output {i}\n{}",
                program.plan()
            );
        }
        compiled += usize::from(program.machine_code().is_some());
    }
    Ok(compiled)
}

/// Whether this processor has machine code.
fn some() -> Result<bool> {
    Ok(Program::record(&States::new(), |t| t.outputs(t.input(F64, []) * 2.0))?.machine_code().is_some())
}

#[test]
fn random_programs_have_the_bits_of_their_rows() -> Result<()> {
    let compiled = agree(10_000, &[1, 2, 3, 5, 8, 9, 13, 16, 31, 32, 33, 65], 24)?;
    assert!(compiled >= if some()? { 10_000 } else { 0 }, "only {compiled} were machine code");
    Ok(())
}

/// Loops over tiles, with more numbers at once than there are registers.
#[test]
fn random_programs_of_long_arrays_have_the_bits_of_their_rows() -> Result<()> {
    let compiled = agree(500, &[257, 300, 1000, 1001, 5003], 60)?;
    assert!(compiled >= if some()? { 500 } else { 0 }, "only {compiled} were machine code");
    Ok(())
}

/// A loop leaves one NaN for all, in what it returns and in states, whatever sign it came with; so do its last elements, one by one.
#[test]
fn loops_leave_one_nan() -> Result<()> {
    const LEN: usize = 1003;
    for dtype in [F32, F64] {
        let mut states = States::new();
        let kept = states.add(
            "kept",
            Tensor::filled(wengert::TensorType::new(dtype, wengert::Shape::new(&[LEN])?), 1.0)?,
        )?;
        let program = Program::record(&states, |t| {
            let x = t.input(dtype, [LEN]);
            let y = -(x - x) * 2.0 + x;
            let state = t.state(kept);
            t.update(state, state * -y);
            t.outputs([y, -y * 3.0])
        })?;
        let x: Vec<f64> = (0..LEN).map(|i| if i % 3 == 0 { f64::INFINITY } else { i as f64 }).collect();
        let x = match dtype {
            F32 => Tensor::new([LEN], x.iter().map(|&x| x as f32).collect())?,
            _ => Tensor::new([LEN], x)?,
        };
        let mut workspace = program.workspace()?;
        let found = program.run(&mut workspace, &mut states, &x)?;
        for tensor in [found.tensor(0)?, found.tensor(1)?, states.get(kept)?.clone()] {
            let nans = |bits: Vec<u64>, one: u64| bits.iter().filter(|bits| **bits == one).count();
            let count = match dtype {
                F32 => {
                    let bits = tensor.as_slice::<f32>()?.iter().map(|x| u64::from(x.to_bits())).collect();
                    nans(bits, u64::from(f32::NAN.to_bits()))
                }
                _ => {
                    nans(tensor.as_slice::<f64>()?.iter().map(|x| x.to_bits()).collect(), f64::NAN.to_bits())
                }
            };
            assert_eq!(count, LEN.div_ceil(3), "{dtype}");
        }
    }
    Ok(())
}
