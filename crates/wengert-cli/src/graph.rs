//! `wengert graph`.

use std::io::Write;

use wengert_nn::{Sgd, TwoLayerNet};

use crate::Failure;
use crate::args::{GraphArgs, GraphFormat};

/// The shape of MNIST: what a training step binds.
const EXAMPLES: usize = 60_000;
const PIXELS: usize = 784;
const CLASSES: usize = 10;

pub(crate) fn graph(args: &GraphArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let net = TwoLayerNet::<f32>::new(PIXELS, args.hidden as usize, CLASSES, 0)?;
    let step = net.model().training_step(EXAMPLES, args.batch as usize, Sgd { learning_rate: 0.1 })?;
    match args.format {
        GraphFormat::Text => write!(out, "{}", step.tape().listing(usize::MAX))?,
        GraphFormat::Dot => write!(out, "{}", step.tape().dot())?,
    }
    Ok(())
}
