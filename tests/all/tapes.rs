//! Random tapes over all ops, well typed by construction: plans equal their rows, modes agree, and where a tape is smooth its
//! derivatives are those of its values. `just soak-tapes SECONDS` runs more of them.

use std::time::{Duration, Instant};

use wengert::check::{Options, function, gradcheck, laws};
use wengert::ir::{Domain, Op};
use wengert::{Content, DType, Entry, Recorder, Registry, Sampler, Spec, States, Tensor, Var};

/// A value of a spec, made of one that is there: its elements over and over in the shape, within the domain.
fn operand<'t>(t: &'t Recorder, pool: &[Var<'t>], spec: &Spec, s: &mut Sampler) -> Var<'t> {
    let from = pool[s.below(pool.len())];
    let (have, need) = (from.shape().elements(), spec.shape.elements());
    let domain = match spec.content {
        Content::Float(domain) => domain,
        Content::Distinct => Domain::All,
        _ => return t.constant(spec.draw(DType::F64, s)),
    };
    if have == 0 || need == 0 {
        return t.constant(spec.draw(DType::F64, s));
    }
    let near = from.reshape([have]).tile(need.div_ceil(have), 0).slice(0, ..need).reshape(spec.shape).tanh();
    match domain {
        Domain::Positive => near.exp() * 0.9,
        Domain::NonZero => near.exp() * if s.below(2) == 0 { 0.8 } else { -0.8 },
        Domain::Between(low, high) => near * (0.45 * (high - low)) + 0.5 * (low + high),
        _ => near * 2.0,
    }
}

/// Ops without steps and bends.
fn smooth(entry: &Entry, op: &Op) -> bool {
    !matches!(op, Op::Discrete(_))
        && !["abs", "relu", "max", "maximum", "minimum", "rem", "to_integer", "select"].contains(&entry.name)
}

/// The sum of what some random ops make of two arrays.
fn record<'t>(t: &'t Recorder, x: &[Var<'t>], seed: u64, only_smooth: bool) -> Var<'t> {
    let (registry, mut s) = (Registry::builtin(), Sampler::new(seed));
    let entries: Vec<&Entry> = registry.entries().iter().collect();
    let mut pool = x.to_vec();
    let mut made = 0;
    while made < 8 {
        let entry = entries[s.below(entries.len())];
        let sample = entry.sample(&mut s);
        if only_smooth && !smooth(entry, &sample.op) {
            continue;
        }
        let operands: Vec<Var<'t>> =
            sample.operands.iter().map(|spec| operand(t, &pool, spec, &mut s)).collect();
        for y in t.emit(sample.op, &operands) {
            pool.push(if y.dtype() == DType::F64 { y } else { y.cast(DType::F64) });
        }
        made += 1;
    }
    pool.iter().rev().take(4).map(|y| (*y * 0.5).tanh().sum(())).sum()
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
