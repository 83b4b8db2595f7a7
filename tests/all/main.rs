//! Tests of the whole: one binary, so that the gate links once.

mod conventions;
mod datasets;
mod golden;
mod laws;
mod semantics;
mod tidy;
mod training;
