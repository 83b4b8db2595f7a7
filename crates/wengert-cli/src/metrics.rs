//! The table of a run's evaluations.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use wengert_nn::{Measure, Point};

pub(crate) const METRICS: &str = "metrics.csv";

/// The seconds of evaluations by their steps. They stand beside the evaluations, for these are the same each time a run is repeated.
pub(crate) type Seconds = BTreeMap<u64, f64>;

/// The table as CSV; what was not measured is an empty cell.
pub(crate) fn csv(points: &[Point], seconds: &Seconds) -> String {
    let mut text = String::from(
        "iteration,loss,train_accuracy,test_accuracy,seconds,epoch,train_loss,test_loss,validation_accuracy,\
         validation_loss,learning_rate,gradient_norm\n",
    );
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
    for p in points {
        let accuracy = |of: Option<Measure>| number(of.map(|found| found.accuracy));
        let loss = |of: Option<Measure>| number(of.map(|found| found.loss));
        let time = seconds.get(&p.step).map_or_else(String::new, |time| format!("{time:.3}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{time},{},{},{},{},{},{},{}",
            p.step,
            p.loss,
            p.train.accuracy,
            accuracy(p.test),
            p.epoch,
            p.train.loss,
            loss(p.test),
            accuracy(p.validation),
            loss(p.validation),
            p.lr,
            p.gradient_norm
        );
    }
    text
}

/// The seconds of the evaluations up to a step, as an interrupted run left them; a checkpoint has no times.
pub(crate) fn times(path: &Path, last: u64) -> Seconds {
    const MOST_BYTES: u64 = 1 << 24;
    let mut text = String::new();
    // Where they cannot be read, the times are not known.
    let _ = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text));
    let row = |line: &str| {
        let mut cells = line.split(',');
        Some((cells.next()?.parse().ok()?, cells.nth(3)?.parse().ok()?))
    };
    text.lines().skip(1).filter_map(row).filter(|(step, _)| *step <= last).collect()
}
