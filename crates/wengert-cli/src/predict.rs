//! `wengert predict`.

use std::io::Write;

use ndarray::{Array2, ArrayView1};
use serde_json::json;
use wengert_nn::Model;

use crate::args::PredictArgs;
use crate::eval::tell_unsealed;
use crate::pictures::read;
use crate::{Failure, largest, printable};

pub(crate) fn predict(args: &PredictArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = Model::load(&args.model)?;
    let mut told = false;
    for path in &args.images {
        let wanted = |number| args.index.contains(number);
        let (pictures, count) = read(path, &wanted, model.size, args.invert, &args.limit.options())?;
        if let Some(number) = args.index.last().filter(|last| *last >= count) {
            let path = path.display();
            return Err(Failure::Work(format!("{path}: there are {count} images, no number {number}")));
        }
        let all: Vec<u8> = pictures.iter().flat_map(|picture| &picture.pixels).copied().collect();
        let images = Array2::from_shape_vec((pictures.len(), model.inputs), all)
            .map_err(|e| Failure::Work(format!("{}: {e}", path.display())))?;
        let probabilities = model.probabilities(images.view())?;
        if let Some(p) = probabilities.iter().find(|p| !p.is_finite()) {
            let file = args.model.display();
            return Err(Failure::Work(format!("{file}: a probability is {p}, not a finite number")));
        }
        if !told {
            tell_unsealed(&args.model)?;
            told = true;
        }
        for (picture, row) in pictures.iter().zip(probabilities.rows()) {
            let best = largest(row);
            let file = printable(&path.display().to_string());
            if args.json {
                let line = json!({
                    "file": path.to_string_lossy(), "index": picture.number, "class": best, "probability": row[best],
                    "probabilities": row.to_vec(),
                });
                writeln!(out, "{line}")?;
            } else if args.images.len() == 1 && pictures.len() == 1 {
                draw(&picture.pixels, picture.width, out)?;
                bars(row, best, out)?;
            } else {
                writeln!(out, "{file} {}: {best} ({:.4})", picture.number, row[best])?;
            }
        }
    }
    Ok(())
}

fn bars(row: ArrayView1<'_, f64>, best: usize, out: &mut dyn Write) -> Result<(), Failure> {
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
