//! `wengert predict`.

use std::io::Write;

use ndarray::{ArrayView1, Axis};
use wengert_idx::Reader;
use wengert_nn::Model;

use crate::Failure;
use crate::args::PredictArgs;
use crate::eval::{fits, tell_unsealed};

pub(crate) fn predict(args: &PredictArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = Model::load(&args.model)?;
    let mut reader = Reader::open(&args.images, &args.limit.options())?;
    let header = reader.header().clone();
    fits(&model, header.record_elements(), &args.images)?;
    if args.index >= header.records() {
        let (path, count) = (args.images.display(), header.records());
        return Err(Failure::Work(format!("{path}: there are {count} images, no number {}", args.index)));
    }
    // To the end, where checksum and length are verified.
    let (mut pixels, mut record): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut index = 0;
    while reader.next_record(&mut record)? {
        if index == args.index {
            pixels.clone_from(&record);
        }
        index += 1;
    }
    let width = header.dims.get(2).map_or(pixels.len(), |&w| w as usize).max(1);
    let image = ArrayView1::from(&pixels);
    let probabilities = model.probabilities(image.insert_axis(Axis(0)))?;
    let row = probabilities.row(0);
    if let Some(p) = row.iter().find(|p| !p.is_finite()) {
        let file = args.model.display();
        return Err(Failure::Work(format!(
            "{file}: a probability of this image is {p}, not a finite number"
        )));
    }
    tell_unsealed(&args.model)?;
    draw(&pixels, width, out)?;
    let best = row.iter().enumerate().fold(0, |best, (c, p)| if *p > row[best] { c } else { best });
    for (class, p) in row.iter().enumerate() {
        let bar = "█".repeat((p * 40.0).round() as usize);
        writeln!(out, "{}{class:>3}  {p:.4}  {bar}", if class == best { '>' } else { ' ' })?;
    }
    Ok(())
}

/// Two rows of pixels a line, in five greys.
fn draw(pixels: &[u8], width: usize, out: &mut dyn Write) -> Result<(), Failure> {
    for line in pixels.chunks(width * 2) {
        let (upper, lower) = line.split_at(width.min(line.len()));
        let cell = |i: usize| {
            let sum = u32::from(upper[i]) + lower.get(i).copied().map_or(0, u32::from);
            [' ', '░', '▒', '▓', '█'][((sum + 63) / 128).min(4) as usize]
        };
        let text: String = (0..upper.len()).map(cell).collect();
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
