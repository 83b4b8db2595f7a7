//! Row by row: what all other plans are held to, and the values that a person can look at while recording.

mod rows;
mod values;

pub(super) use rows::Rows;
pub(crate) use values::evaluate;
