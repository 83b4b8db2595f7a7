//! What a training shows while it runs.

use std::collections::VecDeque;
use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use wengert_nn::{Point, Trainer};

/// A bar with a sparkline on a terminal, plain lines elsewhere, nothing where nothing is wanted.
pub(crate) struct Display {
    bar: ProgressBar,
    plain: bool,
    losses: VecDeque<f64>,
    recent: (f64, u64),
    accuracy: String,
}

/// Steps whose losses make one mark of the sparkline, and marks that are shown.
const STEPS: u64 = 25;
const MARKS: usize = 12;

impl Display {
    pub(crate) fn new(trainer: &Trainer, silent: bool) -> Self {
        let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(trainer.steps()) };
        let template = "{bar:10} {pos}/{len} {msg}, {eta} left";
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        // What is done already says nothing of the time that is left.
        bar.set_position(trainer.steps_made());
        bar.reset_eta();
        let plain = !silent && bar.is_hidden();
        let accuracy = trainer.history().last().map(watched).unwrap_or_default();
        Self { bar, plain, losses: VecDeque::new(), recent: (0.0, 0), accuracy }
    }

    pub(crate) fn step(&mut self, step: u64, loss: f64) {
        self.recent = (self.recent.0 + loss, self.recent.1 + 1);
        self.bar.set_position(step);
        if self.recent.1 < STEPS {
            return;
        }
        let mean = self.recent.0 / self.recent.1 as f64;
        self.recent = (0.0, 0);
        self.losses.push_back(mean);
        if self.losses.len() > MARKS {
            self.losses.pop_front();
        }
        let comma = if self.accuracy.is_empty() { "" } else { ", " };
        self.bar.set_message(format!(
            "{} loss {mean:.3}{comma}{}",
            sparkline(self.losses.make_contiguous()),
            self.accuracy
        ));
    }

    /// What cannot be shown, for nobody looks any more, does not end a training.
    pub(crate) fn evaluated(&mut self, point: &Point, steps: u64, out: &mut dyn Write) {
        self.accuracy = watched(point);
        if self.plain {
            let _ = writeln!(
                out,
                "step {}/{steps}, epoch {:.2}: loss {:.4}, train {:.4}, {}",
                point.step, point.epoch, point.loss, point.train.accuracy, self.accuracy
            );
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
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
