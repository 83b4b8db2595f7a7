//! The page of a run: one file, which needs no network and runs no code.

mod images;
mod tape;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use ndarray::{Array2, Axis};
use plotters::prelude::SeriesLabelPosition;
use wengert::{Profile, Program};
use wengert_nn::{Measure, Model, Point, Recipe, Split, class_metrics};

use crate::curves::{Line, Panel, draw, learning};
use crate::ending::Outcome;
use crate::{Failure, largest};

/// Mistakes and filters that are shown, and rows of the tables of times and bytes.
const MISTAKES: usize = 24;
const FILTERS: usize = 64;
const ROWS: usize = 15;

/// What a page tells of.
pub(crate) struct Report<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) test: &'a Split,
    pub(crate) config: &'a str,
    /// Of the whole run, where it is known.
    pub(crate) seconds: Option<f64>,
    /// A step, and what its calls took.
    pub(crate) program: &'a Program,
    pub(crate) profile: &'a Profile,
}

impl Report<'_> {
    /// The page.
    pub(crate) fn page(&self) -> Result<String, Failure> {
        let recipe = &self.outcome.recipe;
        let sections = [
            charts(&self.outcome.history)?,
            self.classes()?,
            matrix(&self.outcome.found.confusion),
            self.mistakes()?,
            filters(&self.outcome.model)?,
            times(self.profile),
            memory(self.program),
            tape_section(self.program),
            format!("<h2>Configuration</h2><pre>{}</pre>", escaped(self.config)),
        ];
        let title = escaped(&format!("{}, {}", recipe.model, recipe.optimizer));
        Ok(format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style>{}</style></head>\
             <body><main><h1>{title}</h1><p>{}</p>{}{}<footer>Made by wengert {}.</footer></main></body></html>\n",
            include_str!("style.css"),
            escaped(&summary(recipe)),
            self.facts(),
            sections.concat(),
            env!("CARGO_PKG_VERSION")
        ))
    }

    fn facts(&self) -> String {
        let mut facts = vec![
            ("test accuracy", percent(self.outcome.found.accuracy)),
            ("test loss", format!("{:.4}", self.outcome.found.loss)),
        ];
        if let Some(best) = self.outcome.best {
            facts.push(("validation accuracy", percent(best.validation.accuracy)));
        }
        if let Some(point) = self.outcome.kept() {
            facts.push(("training accuracy", percent(point.train.accuracy)));
        }
        let states = &self.outcome.model.states;
        let count = |state| states.get(state).map_or(0, |value| value.shape().elements());
        let parameters: usize = self.outcome.model.parameters().into_iter().map(count).sum();
        facts.push(("parameters", grouped(parameters)));
        facts.push(("steps", grouped(self.outcome.steps as usize)));
        if let Some(seconds) = self.seconds {
            facts.push(("time", duration(seconds)));
        }
        let items: String = facts
            .into_iter()
            .map(|(name, value)| format!("<li><b>{value}</b><span>{name}</span></li>"))
            .collect();
        format!("<ul class=\"facts\">{items}</ul>")
    }

    fn classes(&self) -> Result<String, Failure> {
        let mut rows = String::new();
        for (class, m) in class_metrics(&self.outcome.found.confusion)?.iter().enumerate() {
            let cells = [m.precision, m.recall, m.f1].map(|share| format!("<td>{share:.4}</td>")).concat();
            let _ = write!(rows, "<tr><td>{class}</td><td>{}</td>{cells}</tr>", m.count);
        }
        Ok(format!(
            "<h2>Classes</h2><p>On the test set: how much of what was taken for a class is of it (precision), how much of a class \
             was found (recall), and the harmonic mean of both (F1).</p>{}",
            table("class images precision recall F1", &rows)
        ))
    }

    /// The images that the model is most certain of, and wrong.
    fn mistakes(&self) -> Result<String, Failure> {
        let mut text = String::from("<h2>The most confident mistakes</h2>");
        let probabilities = self.outcome.model.probabilities(self.test.images.view())?;
        let mut wrong: Vec<(usize, usize, f64)> = Vec::new();
        for (i, row) in probabilities.axis_iter(Axis(0)).enumerate() {
            let best = largest(row);
            if best != self.test.labels[i] as usize {
                wrong.push((i, best, row[best]));
            }
        }
        if wrong.is_empty() {
            return Ok(text + "<p>There are none: all images of the test set are told.</p>");
        }
        let all = wrong.len();
        wrong.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        wrong.truncate(MISTAKES);
        let _ = write!(
            text,
            "<p>{} of the {all} images of the test set that the model takes for something else, by the probability that it gives to its \
             mistake.</p><div class=\"tiles\">",
            wrong.len()
        );
        let (height, width) = self.test.size;
        for (i, taken, probability) in wrong {
            let pixels: Vec<u8> = self.test.images.row(i).iter().copied().collect();
            let label = self.test.labels[i];
            let _ = write!(
                text,
                "<figure><img alt=\"a {label} taken for a {taken}\" src=\"{}\"><figcaption>is <b>{label}</b>, taken for \
                 <span class=\"wrong\">{taken}</span><br>{} · no. {i}</figcaption></figure>",
                images::address(width, height, &pixels)?,
                percent(probability)
            );
        }
        Ok(text + "</div>")
    }
}

fn summary(recipe: &Recipe) -> String {
    let length = match (recipe.epochs, recipe.iters) {
        (Some(epochs), _) => format!("{epochs} epochs"),
        (_, iters) => format!("{} steps", iters.unwrap_or(0)),
    };
    format!(
        "{length} of {} images a step; learning rate {}, {}; {}, seed {}",
        recipe.batch, recipe.lr, recipe.schedule, recipe.dtype, recipe.seed
    )
}

/// Each chart is a picture of its own, so that a narrow page has them one below the other.
fn charts(points: &[Point]) -> Result<String, Failure> {
    let one = |name: &'static str, of: fn(&Point) -> f64, logarithmic| Panel {
        name,
        lines: vec![Line {
            label: name.to_owned(),
            points: points.iter().map(|p| (p.epoch, of(p))).collect(),
        }],
        logarithmic,
        labels: SeriesLabelPosition::UpperRight,
    };
    let mut panels: Vec<Panel> = learning(points).into_iter().collect();
    panels.push(one("learning rate", |p| p.lr, true));
    panels.push(one("gradient norm", |p| p.gradient_norm, true));
    let mut text = String::from("<h2>Learning</h2><div class=\"charts\">");
    for panel in panels {
        // Inside a page a picture needs no name of its language, which looks like an address.
        text += &draw("", &[panel])?.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    }
    text += "</div><details><summary>As a table</summary>";
    let mut rows = String::new();
    for p in points {
        let of = |found: Option<Measure>| {
            found.map_or_else(
                || "<td></td><td></td>".to_owned(),
                |m| format!("<td>{:.4}</td><td>{:.4}</td>", m.accuracy, m.loss),
            )
        };
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{:.2}</td><td>{:.4}</td>{}{}{}<td>{:.3e}</td><td>{:.3e}</td></tr>",
            p.step,
            p.epoch,
            p.loss,
            of(Some(p.train)),
            of(p.validation),
            of(p.test),
            p.lr,
            p.gradient_norm
        );
    }
    let head = "step epoch batches’_loss train_accuracy train_loss validation_accuracy validation_loss test_accuracy test_loss \
                learning_rate gradient_norm";
    Ok(text + &table(head, &rows) + "</details>")
}

/// Counts as numbers, with their share of the row as shade.
fn matrix(confusion: &Array2<u64>) -> String {
    let classes = confusion.nrows();
    let mut rows = String::from("<tr><th></th>");
    (0..classes).for_each(|class| rows += &format!("<th>{class}</th>"));
    rows += "</tr>";
    for (class, row) in confusion.rows().into_iter().enumerate() {
        let _ = write!(rows, "<tr><th>{class}</th>");
        let all = row.sum().max(1) as f64;
        for (taken, &count) in row.iter().enumerate() {
            let share = count as f64 / all;
            // Rare mistakes would not be seen beside what is right if the shade were the share.
            let shade = if count == 0 { 0.0 } else { 8.0 + 62.0 * share.sqrt() };
            let (kind, colour) =
                if taken == class { (" class=\"hit\"", "--accent") } else { ("", "--wrong") };
            let text = if count == 0 { "·".to_owned() } else { count.to_string() };
            let _ = write!(
                rows,
                "<td{kind} title=\"{class} taken for {taken}: {count}\" \
                 style=\"background:color-mix(in srgb,var({colour}) {shade:.0}%,transparent)\">{text}</td>"
            );
        }
        rows += "</tr>";
    }
    format!(
        "<h2>Confusion</h2><p>A row for each class of the test set, a column for what its images were taken for.</p>\
         <div class=\"scroll\"><table class=\"matrix\">{rows}</table></div>"
    )
}

/// The weights of the first layer: kernels, what each hidden unit looks for, or the matrix as it is.
fn filters(model: &Model) -> Result<String, Failure> {
    let Some((name, value)) = model.parameters().first().and_then(|&first| {
        Some((model.states.name(first)?.to_owned(), model.states.get(first).ok()?.clone()))
    }) else {
        return Ok(String::new());
    };
    let weights = value.to_f64();
    let (height, width) = model.size;
    let (what, size, all): (&str, (usize, usize), Vec<Vec<f64>>) = match value.shape()[..] {
        [_, _, h, w] if h * w > 0 => {
            ("kernels", (h, w), weights.chunks(h * w).map(<[f64]>::to_vec).collect())
        }
        [inputs, units] if inputs == height * width && units > 0 => {
            let unit = |u: usize| weights.iter().skip(u).step_by(units).copied().collect();
            ("units", (height, width), (0..units).map(unit).collect())
        }
        [rows, columns] if rows * columns > 0 => ("matrix", (rows, columns), vec![weights]),
        _ => return Ok(String::new()),
    };
    let shown = all.len().min(FILTERS);
    let wide = if shown == 1 { " wide" } else { "" };
    let mut text = format!(
        "<h2>What the first layer looks for</h2><p>{name}, {} {what}{}: white is the largest weight of each, black its negative, zero the \
         grey between.</p><div class=\"tiles filters{wide}\">",
        all.len(),
        if shown < all.len() { format!(", of which the first {shown}") } else { String::new() }
    );
    for (n, weights) in all.iter().take(shown).enumerate() {
        let address = images::address(size.1, size.0, &images::greys(weights))?;
        let _ = write!(text, "<figure><img alt=\"{what} {n}\" src=\"{address}\"></figure>");
    }
    Ok(text + "</div>")
}

/// Time by op and layer, the longest first.
fn times(profile: &Profile) -> String {
    let mut spent: BTreeMap<(String, String), (Duration, u64, u64)> = BTreeMap::new();
    for call in profile.calls() {
        let sum = spent.entry((call.op.clone(), call.site.scope.to_string())).or_default();
        *sum = (sum.0 + call.time, sum.1 + call.calls, sum.2 + call.flops);
    }
    let total: f64 = spent.values().map(|(time, ..)| time.as_secs_f64()).sum();
    let mut spent: Vec<_> = spent.into_iter().collect();
    spent.sort_by_key(|(_, (time, ..))| std::cmp::Reverse(*time));
    let mut rows = String::new();
    for ((op, scope), (time, calls, flops)) in spent.iter().take(ROWS) {
        let seconds = time.as_secs_f64();
        let share = seconds / total.max(1e-12);
        let speed = if *flops == 0 {
            String::new()
        } else {
            format!("{:.1}", *flops as f64 / seconds.max(1e-12) / 1e9)
        };
        let _ = write!(
            rows,
            "<tr><td class=\"l\">{}</td><td class=\"l\">{}</td><td>{:.1}</td><td>{calls}</td><td>{speed}</td>\
             <td>{:.1}</td><td class=\"l\">{}</td></tr>",
            escaped(op),
            escaped(scope),
            seconds * 1e6,
            share * 100.0,
            bar(share)
        );
    }
    format!(
        "<h2>Where a step spends its time</h2><p>{:.0} µs in all threads together, by op and layer, on this machine.</p>{}",
        total * 1e6,
        table("<op <layer µs calls GFLOP/s % <", &rows)
    )
}

fn memory(program: &Program) -> String {
    let report = program.memory_report();
    let mut all: Vec<_> = report.rows.iter().collect();
    all.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    let most = all.first().map_or(1, |row| row.bytes.max(1));
    let mut rows = String::new();
    for row in all.into_iter().take(ROWS) {
        let _ = write!(
            rows,
            "<tr><td>%{}</td><td class=\"l\">{}</td><td class=\"l\">{}</td><td>{}</td><td class=\"l\">{}</td>\
             <td class=\"l\">{}</td></tr>",
            row.row,
            escaped(&row.op),
            escaped(&row.site.scope),
            grouped(row.bytes),
            if row.by_thread { "each thread" } else { "" },
            bar(row.bytes as f64 / most as f64)
        );
    }
    format!(
        "<h2>What a step keeps in memory</h2><p>{} bytes that threads share, {} for each thread, {} of constants. Rows that are not needed at \
         the same time share memory.</p>{}",
        grouped(report.shared),
        grouped(report.by_thread),
        grouped(report.constants),
        table("row <op <layer bytes < <", &rows)
    )
}

fn tape_section(program: &Program) -> String {
    let tape = program.tape();
    let (rows, updates) = (tape.rows().len(), tape.updates().len());
    format!(
        "<h2>The tape</h2><p>{rows} rows, {updates} next values of states. Each row stands below those that it uses; rows with a ∂ were \
         recorded by rules of derivatives.</p><details><summary>Show the rows</summary><div class=\"scroll\">{}</div></details>",
        tape::drawn(tape)
    )
}

/// A table that scrolls where the page is narrow; names of columns that begin with `<` stand to the left.
fn table(head: &str, rows: &str) -> String {
    let column = |name: &str| match name.strip_prefix('<') {
        Some(name) => format!("<th class=\"l\">{}</th>", name.replace('_', " ")),
        None => format!("<th>{}</th>", name.replace('_', " ")),
    };
    let head: String = head.split_whitespace().map(column).collect();
    format!("<div class=\"scroll\"><table><tr>{head}</tr>{rows}</table></div>")
}

fn bar(share: f64) -> String {
    format!("<span class=\"bar\" style=\"width:{:.0}px\"></span>", 120.0 * share.clamp(0.0, 1.0))
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn duration(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

/// A number with its digits in threes.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A text in which nothing is markup.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
