//! What a training shows while it runs.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use wengert_nn::{Point, Trainer};

/// A bar with a sparkline of the losses on a terminal, plain lines where standard output is none, nothing where nothing is wanted.
pub(crate) struct Display {
    bar: ProgressBar,
    plain: bool,
    losses: Losses,
    accuracy: String,
}

impl Display {
    pub(crate) fn new(trainer: &Trainer, silent: bool) -> Self {
        let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(trainer.steps()) };
        let bar = match ProgressStyle::with_template("{bar:10} {pos}/{len}{msg}, {eta} left") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        // What is done already says nothing of the time that is left.
        bar.set_position(trainer.steps_made());
        bar.reset_eta();
        let plain = !silent && (bar.is_hidden() || !io::stdout().is_terminal());
        let accuracy = trainer.history().last().map(watched).unwrap_or_default();
        Self { bar, plain, losses: Losses::default(), accuracy }
    }

    pub(crate) fn step(&mut self, step: u64, loss: f64) {
        self.bar.set_position(step);
        if self.losses.add(loss) {
            self.show();
        }
    }

    /// What cannot be shown, for nobody looks any more, does not end a training.
    pub(crate) fn evaluated(&mut self, point: &Point, steps: u64, out: &mut dyn Write) {
        self.accuracy = watched(point);
        self.show();
        if self.plain {
            let _ = writeln!(
                out,
                "step {}/{steps}, epoch {:.2}: loss {:.4}, train {:.4}, {}",
                point.step, point.epoch, point.loss, point.train.accuracy, self.accuracy
            );
        }
    }

    fn show(&self) {
        let mut message = String::new();
        if let Some(last) = self.losses.means.last() {
            message += &format!(" {} loss {last:.3}", sparkline(&self.losses.means));
        }
        if !self.accuracy.is_empty() {
            message += &format!(", {}", self.accuracy);
        }
        self.bar.set_message(message);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// The losses of all steps so far, in few means: each of so many steps, twice as many whenever there would be too many.
struct Losses {
    means: Vec<f64>,
    each: u64,
    sum: f64,
    count: u64,
}

impl Default for Losses {
    fn default() -> Self {
        Self { means: Vec::new(), each: 10, sum: 0.0, count: 0 }
    }
}

impl Losses {
    const MOST: usize = 16;

    /// Adds the loss of a step, and returns whether there is something new to see.
    fn add(&mut self, loss: f64) -> bool {
        (self.sum, self.count) = (self.sum + loss, self.count + 1);
        if self.count < self.each {
            return false;
        }
        self.means.push(self.sum / self.count as f64);
        (self.sum, self.count) = (0.0, 0);
        if self.means.len() >= Self::MOST {
            self.means = self.means.chunks(2).map(|two| two.iter().sum::<f64>() / two.len() as f64).collect();
            self.each *= 2;
        }
        true
    }
}

/// The accuracy on the images that are not learned from.
fn watched(point: &Point) -> String {
    match (point.validation, point.test) {
        (Some(found), _) => format!("validation {:.4}", found.accuracy),
        (_, Some(found)) => format!("test {:.4}", found.accuracy),
        _ => String::new(),
    }
}

/// Numbers as bars of eight heights, from the smallest to the largest.
fn sparkline(numbers: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (least, most) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let height =
        |x: f64| if most > least { ((x - least) / (most - least) * 7.0).round() as usize } else { 0 };
    numbers.iter().map(|&x| BARS[height(x).min(7)]).collect()
}
