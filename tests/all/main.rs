//! Tests of the whole: one binary, so that the gate links once.

/// How many cases a law gets: few for the gate, more where `WENGERT_CASES` says so (`just soak`).
fn cases(few: u32) -> u32 {
    std::env::var("WENGERT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}

mod conventions;
mod datasets;
mod golden;
mod laws;
mod semantics;
mod tidy;
mod training;
mod user_ops;
