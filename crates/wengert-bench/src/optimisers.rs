//! Update rules alone.

use serde_json::json;
use wengert::{Program, States};
use wengert_nn::{Adam, Optimizer};

use crate::calls::with;
use crate::steps::{stepped, wave};
use crate::{Arguments, Outcome};

/// A step of Adam on a million parameters whose gradients are at hand.
pub(crate) fn adam(arguments: &Arguments) -> Outcome {
    const PARAMETERS: usize = 1_000_000;
    const RATE: f64 = 1e-3;
    let (dtype, mut states) = (arguments.dtype(), States::new());
    let w = states.add("w", wave(dtype, &[PARAMETERS], 1e-3, 0.5)?)?;
    let adam = Optimizer::new(&mut states, Adam::default(), [vec![w].into()])?;
    let program = Program::record(&states, |t| {
        let (gradient, rate) = (t.input(dtype, [PARAMETERS]), t.input(wengert::DType::F64, []));
        adam.apply(t, &[gradient], rate)?;
        t.outputs(rate)
    })?;
    let gradient = wave(dtype, &[PARAMETERS], 2e-3, 0.1)?;
    let figures = stepped(arguments, &program, &mut states, (&gradient, &RATE), 200)?;
    Ok(with(figures, json!({ "parameters": PARAMETERS })))
}
