//! `wengert eval`, `predict` and `gradcheck`: what a model does, and whether its gradients are right.

use std::io::Write;
use std::path::Path;

use indicatif::ProgressBar;
use ndarray::{Array1, ArrayView1, Axis};
use wengert_idx::Reader;
use wengert_nn::{Labels, Model, Split, TwoLayerNet, is_sealed};

use crate::args::{EvalArgs, GradcheckArgs, PredictArgs};
use crate::run_folder::{data_dir, threads};
use crate::{Failure, printable};

pub(crate) fn eval(args: &EvalArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = Model::load_two_layer(&args.model)?;
    let dir = data_dir(args.data.data.as_deref());
    let classes = u32::try_from(model.classes).unwrap_or(u32::MAX);
    let test = Split::load(&dir, "t10k", classes, &args.data.limit.options())?;
    fits(&model, test.images.ncols() as u64, &dir)?;
    let found = model.evaluate(&test, threads(None))?;
    if !found.loss.is_finite() {
        let (file, loss) = (args.model.display(), found.loss);
        return Err(Failure::Work(format!(
            "{file}: the loss on these images is {loss}, not a finite number"
        )));
    }
    tell_unsealed(&args.model)?;
    writeln!(out, "accuracy {:.4}, loss {:.4} on {} images\n", found.accuracy, found.loss, test.len())?;
    writeln!(out, "class  images  accuracy")?;
    for (class, row) in found.confusion.rows().into_iter().enumerate() {
        let count: u64 = row.sum();
        let share = if count == 0 { f64::NAN } else { row[class] as f64 / count as f64 };
        writeln!(out, "{class:>5}  {count:>6}  {share:>8.4}")?;
    }
    writeln!(out, "\nconfusion: a row for each class, a column for what it was taken for")?;
    let width = found.confusion.iter().max().map_or(1, |m| m.to_string().len()).max(3) + 1;
    let head: String = (0..model.classes).map(|c| format!("{c:>width$}")).collect();
    writeln!(out, "     {head}")?;
    for (class, row) in found.confusion.rows().into_iter().enumerate() {
        let cells: String = row.iter().map(|n| format!("{n:>width$}")).collect();
        writeln!(out, "{class:>4} {cells}")?;
    }
    Ok(())
}

/// A word on standard error about a model that nothing vouches for.
fn tell_unsealed(model: &Path) -> Result<(), Failure> {
    if !is_sealed(model)? {
        let file = printable(&model.display().to_string());
        // Only a word: nothing depends on its being read.
        let _ = writeln!(
            std::io::stderr(),
            "wengert: note: {file} has no checksum, as files of this program have"
        );
    }
    Ok(())
}

fn fits(model: &Model, pixels: u64, of: &Path) -> Result<(), Failure> {
    if model.inputs as u64 == pixels {
        return Ok(());
    }
    let of = of.display();
    Err(Failure::Work(format!(
        "{of}: expected images of {} pixels for this model, found {pixels}",
        model.inputs
    )))
}

pub(crate) fn predict(args: &PredictArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = Model::load_two_layer(&args.model)?;
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

/// Images that gradients are compared on.
const IMAGES: usize = 3;
/// The largest mean difference that passes.
const TOLERANCE: f64 = 1e-8;

pub(crate) fn gradcheck(args: &GradcheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let dir = data_dir(args.data.data.as_deref());
    let split = Split::load(&dir, "train", 10, &args.data.limit.options())?;
    let (images, labels) = split.part(0, IMAGES);
    let x = images.mapv(|p| f64::from(p) / 255.0);
    let labels: Array1<u32> = labels.to_owned();
    let net = TwoLayerNet::<f64>::new(x.ncols(), args.hidden as usize, 10, args.seed)?;
    let by_tape = net.gradient(&x, Labels::Classes(&labels))?;
    let bar = ProgressBar::new(0);
    let (by_differences, kinks) = net.numerical_slopes(&x, Labels::Classes(&labels), |done, all| {
        if done % 512 == 0 {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    })?;
    bar.finish_and_clear();
    let mut table = format!("mean |backpropagation − numerical gradient|, {} images, f64\n", x.nrows());
    let mut wrong = Vec::new();
    for name in ["W1", "b1", "W2", "b2"] {
        let (Some(a), Some(b)) = (by_tape.get(name), by_differences.get(name)) else {
            return Err(Failure::Work(format!("there is no gradient by {name}")));
        };
        let left_out = kinks.get(name).copied().unwrap_or(0);
        let sum: f64 = a.iter().zip(b).filter(|(_, b)| !b.is_nan()).map(|(a, b)| (a - b).abs()).sum();
        let difference = sum / (a.len() - left_out).max(1) as f64;
        let finite = difference.is_finite() && a.iter().all(|x| x.is_finite());
        table.push_str(&format!("{name}  {difference:.3e}"));
        if left_out > 0 {
            table.push_str(&format!("  {left_out} of {} at a kink of a ReLU, left out", a.len()));
        }
        table.push('\n');
        if !finite || difference > TOLERANCE {
            wrong.push(name);
        }
    }
    // The verdict counts even where nobody reads the table.
    let printed = write!(out, "{table}");
    if !wrong.is_empty() {
        return Err(Failure::Work(format!(
            "the gradients by {} differ by more than {TOLERANCE:e}",
            wrong.join(", ")
        )));
    }
    Ok(printed?)
}
