//! Tests of the whole: one binary, so that the gate links once.

mod conventions;
mod golden;
mod laws;
mod semantics;
