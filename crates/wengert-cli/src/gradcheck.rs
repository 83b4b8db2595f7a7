//! `wengert gradcheck`.

use std::io::Write;

use indicatif::ProgressBar;
use ndarray::Array1;
use wengert_nn::{Labels, Split, TwoLayerNet};

use crate::Failure;
use crate::args::GradcheckArgs;
use crate::run_folder::data_dir;

/// Images that gradients are compared on.
const IMAGES: usize = 3;
/// The largest mean difference that passes.
const TOLERANCE: f64 = 1e-8;

pub(crate) fn gradcheck(args: &GradcheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let dir = data_dir(args.data.data.as_deref());
    let (classes, options) = (args.labels.classes, args.data.limit.options());
    let split = Split::load_by(&dir, "train", args.data.label_column(), classes, &options)?;
    let (images, labels) = split.part(0, IMAGES);
    let x = images.mapv(|p| f64::from(p) / 255.0);
    let labels: Array1<u32> = labels.to_owned();
    let net = TwoLayerNet::<f64>::new(x.ncols(), args.hidden as usize, classes as usize, args.seed)?;
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
