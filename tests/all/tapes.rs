//! Random tapes over all ops, well typed by construction: plans equal their rows, modes agree, and where a tape is smooth its
//! derivatives are those of its values. `just soak-tapes SECONDS` runs more of them.

use std::time::{Duration, Instant};

use wengert::check::strategies::RandomTape;
use wengert::check::{Options, function, gradcheck, laws};
use wengert::ir::Domain;
use wengert::{DType, Recorder, Registry, Sampler, Spec, States, Tensor, Var};

fn record<'t>(t: &'t Recorder, x: &[Var<'t>], seed: u64, smooth: bool) -> Var<'t> {
    RandomTape { seed, ops: 8, smooth }.record(t, x)
}

fn inputs(seed: u64) -> [Tensor; 2] {
    let mut s = Sampler::new(!seed);
    [(); 2].map(|()| {
        let n = 1 + s.below(6);
        Tensor::new([n], (0..n).map(|_| s.float(Domain::All)).collect()).expect("a tensor")
    })
}

fn check(seed: u64) -> wengert::Result<()> {
    let x = inputs(seed);
    laws::program(&States::new(), &x, 1e-6, &|t| {
        let x: Vec<Var<'_>> = x.iter().map(|x| t.input(DType::F64, x.shape())).collect();
        let y = record(t, &x, seed, false);
        let g = y.gradients(&x);
        t.outputs([y, g[x[0]], g[x[1]]])
    })?;
    let f = function(move |t, x| vec![record(t, x, seed, true)]);
    laws::adjoint(&f, &x, seed)?;
    laws::adjoint(&laws::pullback(&f), &x, seed)?;
    // Eight ops deep a function may be so steep that differences need shorter steps; a wrong derivative fails with any.
    let mut outcome = Ok(());
    for step in [1e-3, 1e-4, 1e-5] {
        let options = Options { order: 1, tolerance: 1e-4, step, ..Options::default() };
        outcome = gradcheck(move |t, x| record(t, x, seed, true), &x, &options).map(|_| ());
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

#[test]
fn random_tapes_over_all_ops_hold_every_law() {
    let seconds = std::env::var("WENGERT_SECONDS").ok().and_then(|n| n.parse().ok()).map(Duration::from_secs);
    let start = Instant::now();
    let first = match seconds {
        Some(_) => std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_nanos() as u64,
        None => 2026,
    };
    let (mut seed, mut tapes) = (first, 0);
    while seconds.map_or(tapes < 100, |seconds| start.elapsed() < seconds) {
        if let Err(e) = check(seed) {
            panic!("seed {seed}: {e}");
        }
        (seed, tapes) = (seed.wrapping_add(1), tapes + 1);
    }
    println!("{tapes} tapes");
}

/// Any op on any operands: an error at most.
#[test]
fn ops_on_operands_that_make_no_sense_are_errors() {
    let registry = Registry::builtin();
    let mut s = Sampler::new(7);
    let mut refused = 0;
    for round in 0..400 {
        let entry = &registry.entries()[round % registry.entries().len()];
        let t = Recorder::default();
        let operands: Vec<Var<'_>> = (0..s.below(4))
            .map(|_| {
                let shape = s.shape(3);
                let spec = match s.below(4) {
                    0 => Spec::bool(shape),
                    1 => Spec::index(shape, 3),
                    2 => Spec::key(shape),
                    _ => Spec::float(shape, Domain::All),
                };
                t.constant(spec.draw(if s.below(2) == 0 { DType::F32 } else { DType::F64 }, &mut s))
            })
            .collect();
        let made = t.emit(entry.sample(&mut s).op, &operands);
        refused += usize::from(made.iter().any(|y| y.value().is_err()));
    }
    assert!(refused > 200, "{refused} of 400 were refused");
}
