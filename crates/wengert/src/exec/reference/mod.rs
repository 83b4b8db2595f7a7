//! Row by row: what all other plans are held to, and the values that a person can look at while recording.

mod rows;
mod values;

pub(crate) use rows::Rows;
pub(super) use rows::rows;
pub(crate) use values::evaluate;
