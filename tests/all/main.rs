//! Tests of the whole: one binary, so that the gate links once.

use proptest::test_runner::{Config as ProptestConfig, RngSeed};

/// How many cases a law gets: few for the gate, more where `WENGERT_CASES` says so (`just soak`).
fn cases(few: u32) -> u32 {
    std::env::var("WENGERT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}

/// Random cases that are the same on every run, unless `WENGERT_SEED` says otherwise.
fn random_cases(few: u32) -> ProptestConfig {
    let seed = std::env::var("WENGERT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(2026);
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases: cases(few), failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

/// The numbers of a variable.
fn value(x: wengert::Var<'_>) -> Vec<f64> {
    x.value().unwrap_or_else(|e| panic!("{e}")).to_f64()
}

/// What a recorder says of a misuse.
fn error(misuse: impl for<'t> FnOnce(&'t wengert::Recorder) -> wengert::Var<'t>) -> String {
    let t = wengert::Recorder::default();
    misuse(&t);
    t.check().unwrap_err().to_string()
}

mod accuracy;
mod allocations;
mod arrays;
mod batches;
mod branching;
mod checkpoints;
mod composites;
mod contracts;
mod conventions;
mod datasets;
mod einsum;
mod equivalents;
mod errors;
mod examples;
mod expressions;
mod functions;
mod gates;
mod golden;
mod images;
mod joins;
mod large;
mod laws;
mod layers;
mod machine;
mod matrices;
mod misuse;
mod models;
mod optimizers;
mod passes;
mod planning;
mod plants;
mod programs;
mod refused;
mod repeated;
mod rooms;
mod rules;
mod semantics;
mod tapes;
mod tidy;
mod training;
mod user_ops;
