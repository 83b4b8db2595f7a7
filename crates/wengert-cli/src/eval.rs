//! `wengert eval`.

use std::io::Write;
use std::path::Path;

use wengert_nn::{Model, Split, class_metrics, is_sealed, top_k_accuracy};

use crate::args::EvalArgs;
use crate::run_folder::{data_dir, threads};
use crate::{Failure, tell};

pub(crate) fn eval(args: &EvalArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = Model::load(&args.model)?;
    let dir = data_dir(args.data.data.as_deref());
    let classes = u32::try_from(model.classes).unwrap_or(u32::MAX);
    let options = args.data.limit.options();
    let test = Split::load_by(&dir, "t10k", args.data.label_column(), classes, &options)?;
    fits(model.inputs as u64, test.images.ncols() as u64, &dir)?;
    let found = model.evaluate(&test, threads(None))?;
    if !found.loss.is_finite() {
        let (file, loss) = (args.model.display(), found.loss);
        return Err(Failure::Work(format!(
            "{file}: the loss on these images is {loss}, not a finite number"
        )));
    }
    tell_unsealed(&args.model)?;
    writeln!(out, "accuracy {:.4}, loss {:.4} on {} images", found.accuracy, found.loss, test.len())?;
    let labels: Vec<u32> = test.labels.to_vec();
    let top = top_k_accuracy(&model.probabilities(test.images.view())?, &labels, 3)?;
    writeln!(out, "among the three most probable {top:.4}\n")?;
    writeln!(out, "class  images  accuracy  precision      F1")?;
    for (class, m) in class_metrics(&found.confusion)?.into_iter().enumerate() {
        let share = if m.count == 0 { "–".to_owned() } else { format!("{:.4}", m.recall) };
        writeln!(out, "{class:>5}  {:>6}  {share:>8}  {:>9.4}  {:>6.4}", m.count, m.precision, m.f1)?;
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
pub(crate) fn tell_unsealed(model: &Path) -> Result<(), Failure> {
    if !is_sealed(model)? {
        tell(&format!("{} has no checksum, as files of this program have", model.display()));
    }
    Ok(())
}

/// An error where images of so many pixels are none for a model.
pub(crate) fn fits(due: u64, found: u64, of: &Path) -> Result<(), Failure> {
    if due == found {
        return Ok(());
    }
    let of = of.display();
    Err(Failure::Work(format!("{of}: expected images of {due} pixels for this model, found {found}")))
}
