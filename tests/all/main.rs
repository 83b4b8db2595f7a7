//! Tests of the whole: one binary, so that the gate links once.

mod golden;
mod laws;
