//! A tape as a picture: its rows from top to bottom, and a bow from each operand to the row that uses it.

use std::fmt::Write;

use wengert::ir::{Leaf, Op, Phase, Row, Tape, Value};

use super::escaped;

/// Rows that are drawn; the picture of a longer tape ends there, and says so.
const MOST: usize = 400;
/// Pixels from row to row.
const LINE: usize = 18;
/// Where the rows stand: bows reach to the left of that.
const LEFT: usize = 170;

/// The picture of a tape: leaves as rings, rows of the model and rows of derivatives in colours of their own, these with a ∂ too.
pub(super) fn drawn(tape: &Tape) -> String {
    let rows = &tape.rows()[..tape.rows().len().min(MOST)];
    let (width, height) = (LEFT + 560, LINE * (rows.len() + 1));
    let mut svg = format!(
        "<svg class=\"tape\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"The tape of a training step\">"
    );
    let y = |row: usize| LINE / 2 + LINE * row;
    // Writing to a String cannot fail.
    for (i, row) in rows.iter().enumerate() {
        for operand in row.operands.iter().map(|operand| operand.row as usize) {
            // Wider the further apart the two are, by a root, so that short bows can be told apart.
            let reach = (((i - operand) as f64).sqrt() * 9.0).min(LEFT as f64 - 10.0);
            let (x, bow) = (LEFT - 8, LEFT as f64 - 8.0 - reach);
            let (from, to) = (y(operand), y(i));
            let _ = write!(svg, "<path d=\"M{x} {from}C{bow:.0} {from} {bow:.0} {to} {x} {to}\"/>");
        }
    }
    let mut last = String::new();
    for (i, row) in rows.iter().enumerate() {
        let derivative = row.origin.phase != Phase::Forward;
        let kind = match (&row.op, derivative) {
            (Op::Leaf(_), _) => "leaf",
            (_, true) => "derivative",
            (_, false) => "forward",
        };
        let scope = tape.site(&row.origin).scope.to_string();
        let types: Vec<String> = row.results.iter().map(|ty| ty.to_string()).collect();
        let text = format!(
            "{} {}{} {}",
            Value { row: i as u32, result: 0 },
            if derivative { "∂ " } else { "" },
            name(tape, row),
            types.join(" ")
        );
        let (x, base) = (LEFT + 12, y(i) + 4);
        let _ = write!(
            svg,
            "<circle class=\"{kind}\" cx=\"{LEFT}\" cy=\"{}\" r=\"4\"/><text x=\"{x}\" y=\"{base}\">{}</text>",
            y(i),
            escaped(&text)
        );
        if scope != last {
            let x = LEFT + 390;
            let _ = write!(svg, "<text class=\"scope\" x=\"{x}\" y=\"{base}\">{}</text>", escaped(&scope));
            last = scope;
        }
    }
    if tape.rows().len() > MOST {
        let (x, base) = (LEFT + 12, y(rows.len()) + 4);
        let more = tape.rows().len() - MOST;
        let _ = write!(svg, "<text class=\"scope\" x=\"{x}\" y=\"{base}\">… and {more} rows more</text>");
    }
    svg.push_str("</svg>");
    svg
}

fn name(tape: &Tape, row: &Row) -> String {
    match row.op {
        Op::Leaf(Leaf::State(index)) => {
            let state = tape.states().iter().find(|state| state.index == index);
            state.map_or_else(|| "state".to_owned(), |state| state.name.to_string())
        }
        ref op => op.name().to_owned(),
    }
}
