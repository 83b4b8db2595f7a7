//! Tapes as text and as Graphviz DOT.

use std::collections::HashSet;
use std::fmt::{self, Write};

use super::form::Form;
use super::op::{Leaf, Op};
use super::tape::{Phase, Row, Tape, Value};
use crate::kernels::Body;
use crate::shape::TensorType;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.row)?;
        if self.result > 0 { write!(f, ".{}", self.result) } else { Ok(()) }
    }
}

/// A tape as text, one row a line; the middle of a long one is left out. From [`Tape::listing`].
pub struct Listing<'a> {
    tape: &'a Tape,
    most: usize,
}

impl Tape {
    /// The tape as text, at most `most` rows of it: name, op, operands, types, and the line that
    /// recorded the row. Rows that push tangents start with `'`, rows that pull cotangents with `~`.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let x = t.input(F64, [3]);
    ///     t.outputs([x.exp().sum(())])
    /// })?;
    /// let text = program.tape().listing(100).to_string();
    /// assert!(text.contains("%1 = exp(%0): f64[3]"), "{text}");
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn listing(&self, most: usize) -> Listing<'_> {
        Listing { tape: self, most }
    }

    /// What the ops that work element by element compute, each body once, in the order of the rows: the op's name, and the
    /// scalar program that executors interpret.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| t.outputs(t.input(F64, [3]).relu()))?;
    /// let bodies = program.tape().bodies();
    /// assert_eq!((bodies.len(), bodies[0].0), (1, "relu"));
    /// assert_eq!(bodies[0].1.to_string(), "(x0: f64) { max x0 c0=0 } -> v0: f64");
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn bodies(&self) -> Vec<(&'static str, Body)> {
        let mut seen = HashSet::new();
        let body = |row: &Row| {
            let types: Vec<TensorType> = row.operands.iter().filter_map(|&v| self.ty(v)).collect();
            match row.op.kernel()?.form(&types) {
                Form::Map(body) => Some((row.op.name(), body)),
                _ => None,
            }
        };
        self.rows().iter().filter_map(body).filter(|body| seen.insert(body.clone())).collect()
    }

    /// The op of a row, with a state's name.
    fn label(&self, row: &Row) -> String {
        match row.op {
            Op::Leaf(Leaf::State(index)) => format!("state {}", self.state_name(index)),
            ref op => format!("{op:?}"),
        }
    }

    fn state_name(&self, index: usize) -> &str {
        self.states.iter().find(|s| s.index == index).map_or("?", |s| &s.name)
    }

    /// The tape in the DOT language of Graphviz: rows as boxes, clustered by scope; leaves, forward
    /// rows and rows of derivatives in colours of their own.
    pub fn dot(&self) -> String {
        let mut out = String::from(
            "digraph tape {\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=10];\n",
        );
        let mut by_scope = vec![Vec::new(); self.scopes.len()];
        for (i, row) in self.rows.iter().enumerate() {
            by_scope[self.scope(&row.origin) as usize].push((i, row));
        }
        for ((s, scope), rows) in
            self.scopes.iter().enumerate().zip(by_scope).filter(|(_, rows)| !rows.is_empty())
        {
            // Writing to a String cannot fail.
            if !scope.is_empty() {
                let _ = writeln!(
                    out,
                    "  subgraph cluster_{s} {{ label=\"{}\"; fontname=\"Helvetica\";",
                    escape(scope)
                );
            }
            for (i, row) in rows {
                let colour = match (&row.op, row.origin.phase) {
                    (Op::Leaf(Leaf::Input(_) | Leaf::State(_)), _) => "#ffe8b3",
                    (Op::Leaf(_), _) => "#eeeeee",
                    (_, Phase::Forward) => "#cfe3ff",
                    (_, Phase::Tangent) => "#d8f5d0",
                    (_, Phase::Cotangent) => "#ffd6d6",
                };
                let types: Vec<String> = row.results.iter().map(|t| t.to_string()).collect();
                let label = format!("{}\n{}", self.label(row), types.join(" "));
                let _ = writeln!(out, "  r{i} [label=\"{}\", fillcolor=\"{colour}\"];", escape(&label));
            }
            if !scope.is_empty() {
                out.push_str("  }\n");
            }
        }
        for (i, row) in self.rows.iter().enumerate() {
            for operand in &row.operands {
                let _ = writeln!(out, "  r{} -> r{i};", operand.row);
            }
        }
        for (o, value) in self.outputs.iter().enumerate() {
            let _ = writeln!(
                out,
                "  o{o} [label=\"output {o}\", shape=ellipse, fillcolor=\"#ffffff\"];\n  r{} -> o{o};",
                value.row
            );
        }
        for (s, value) in &self.updates {
            let _ = writeln!(
                out,
                "  u{s} [label=\"next {}\", shape=ellipse, fillcolor=\"#ffe8b3\"];\n  r{} -> u{s};",
                escape(self.state_name(*s)),
                value.row
            );
        }
        out.push_str("}\n");
        out
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.tape.rows;
        let head = if rows.len() <= self.most { rows.len() } else { self.most.div_ceil(2) };
        let tail = if rows.len() <= self.most { 0 } else { self.most / 2 };
        for (i, row) in rows.iter().enumerate().take(head) {
            self.row(f, i, row)?;
        }
        if head + tail < rows.len() {
            writeln!(f, "  … {} more rows …", rows.len() - head - tail)?;
            for (i, row) in rows.iter().enumerate().skip(rows.len() - tail) {
                self.row(f, i, row)?;
            }
        }
        for (state, value) in &self.tape.updates {
            writeln!(f, "  update {} := {value}", self.tape.state_name(*state))?;
        }
        for value in &self.tape.outputs {
            writeln!(f, "  return {value}")?;
        }
        Ok(())
    }
}

impl Listing<'_> {
    fn row(&self, f: &mut fmt::Formatter<'_>, i: usize, row: &Row) -> fmt::Result {
        let mark = match row.origin.phase {
            Phase::Forward => ' ',
            Phase::Tangent => '\'',
            Phase::Cotangent => '~',
        };
        write!(f, "{mark} %{i} = {}(", self.tape.label(row))?;
        for (n, operand) in row.operands.iter().enumerate() {
            write!(f, "{}{operand}", if n > 0 { ", " } else { "" })?;
        }
        f.write_str(")")?;
        for (n, ty) in row.results.iter().enumerate() {
            write!(f, "{} {ty}", if n > 0 { "," } else { ":" })?;
        }
        writeln!(f, "  // {}", self.tape.site(&row.origin))
    }
}
