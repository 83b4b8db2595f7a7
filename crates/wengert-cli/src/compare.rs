//! `wengert compare`.

use std::io::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::SeriesLabelPosition;
use wengert_idx::replace_file;
use wengert_nn::{Best, Measure, Point, Recipe, load_checkpoint};

use crate::args::CompareArgs;
use crate::curves::{COLOURS, Line, Panel, draw};
use crate::ending::{kept, part};
use crate::run_folder::checkpoints_newest_first;
use crate::{Failure, printable, tell};

/// What is known of a run.
struct Run {
    name: String,
    recipe: Recipe,
    step: u64,
    history: Vec<Point>,
    best: Option<Best>,
    test: Option<Measure>,
}

pub(crate) fn compare(args: &CompareArgs, out: &mut dyn Write) -> Result<(), Failure> {
    // Those that can be read are compared; the first that cannot is the error.
    let (mut runs, mut unread) = (Vec::new(), None);
    for dir in &args.runs {
        match read(dir) {
            Ok(run) => runs.push(run),
            Err(e) => unread = unread.or(Some(e)),
        }
    }
    if runs.is_empty() {
        return Err(unread.unwrap_or(Failure::Usage("expected runs".into())));
    }
    let names = runs.iter().map(|run| run.name.chars().count());
    let width = names.max().unwrap_or(0).max("run".len());
    writeln!(
        out,
        "{:width$}  {:<16} {:>9} {:>9} {:>11} {:>9} {:>9}",
        "run", "model", "steps", "train", "validation", "test", "test loss"
    )?;
    for run in &runs {
        let number = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.4}"));
        let last = kept(&run.history, run.best.as_ref());
        writeln!(
            out,
            "{:width$}  {:<16} {:>9} {:>9} {:>11} {:>9} {:>9}",
            run.name,
            run.recipe.model,
            run.step,
            number(last.map(|point| point.train.accuracy)),
            number(run.best.map(|best| best.validation.accuracy)),
            number(run.test.map(|test| test.accuracy)),
            number(run.test.map(|test| test.loss))
        )?;
    }
    let differing = differing(&runs);
    if !differing.is_empty() {
        writeln!(out, "\nwhat differs")?;
        for name in differing {
            let values: Vec<String> =
                runs.iter().map(|run| run.recipe.setting(&name).unwrap_or_else(|| "–".to_owned())).collect();
            let width = values.iter().map(|value| value.chars().count()).max().unwrap_or(0);
            let cells: String = values.iter().map(|value| format!("  {value:<width$}")).collect();
            writeln!(out, "  {name:<16}{}", cells.trim_end())?;
        }
    }
    // More could not be told apart.
    let drawn = &runs[..runs.len().min(COLOURS.len())];
    let panels = [panel("accuracy", drawn, |m| m.accuracy), panel("loss", drawn, |m| m.loss)];
    let svg = draw("", &panels)?;
    let path = &args.picture;
    replace_file(path, |file| file.write_all(svg.as_bytes()))
        .map_err(|e| Failure::Work(format!("{}: {e}", path.display())))?;
    let path = printable(&path.display().to_string());
    let of = if drawn.len() < runs.len() { format!("the first {}", drawn.len()) } else { "all".to_owned() };
    writeln!(out, "\n{path}: the curves of {of}, on what was set apart or else the test set")?;
    unread.map_or(Ok(()), Err)
}

/// A finished run by its model, another by its newest sound checkpoint.
fn read(dir: &Path) -> Result<Run, Failure> {
    let model = dir.join("final.safetensors");
    let mut places: Vec<PathBuf> = vec![model];
    places.extend(checkpoints_newest_first(dir).into_iter().map(|(_, path)| path));
    for path in places.into_iter().filter(|path| path.exists()) {
        match load_checkpoint(&path) {
            Ok((_, said)) => {
                let missing =
                    || Failure::Work(format!("{}: expected the evaluations of a run", path.display()));
                return Ok(Run {
                    name: printable(&dir.display().to_string()),
                    recipe: part(&said, "recipe").ok_or_else(missing)?,
                    step: part(&said, "step").ok_or_else(missing)?,
                    history: part(&said, "history").ok_or_else(missing)?,
                    best: part(&said, "best"),
                    test: part(&said, "test"),
                });
            }
            Err(e) => tell(&format!("passed over: {e}")),
        }
    }
    Err(Failure::Work(format!(
        "{}: expected the folder of a run, with a model or a checkpoint",
        dir.display()
    )))
}

/// The settings that are not the same in all runs.
fn differing(runs: &[Run]) -> Vec<String> {
    let Some((first, rest)) = runs.split_first() else { return Vec::new() };
    let all = rest.iter().flat_map(|run| first.recipe.differences(&run.recipe)).map(|(name, ..)| name);
    let mut names: Vec<String> = all.collect();
    names.sort();
    names.dedup();
    names
}

fn panel(name: &'static str, runs: &[Run], of: fn(Measure) -> f64) -> Panel {
    let line = |run: &Run| Line {
        label: run.name.clone(),
        points: run.history.iter().filter_map(|p| Some((p.epoch, of(p.validation.or(p.test)?)))).collect(),
    };
    let labels =
        if name == "loss" { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::LowerRight };
    Panel { name, lines: runs.iter().map(line).collect(), logarithmic: false, labels }
}
