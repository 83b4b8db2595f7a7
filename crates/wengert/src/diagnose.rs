//! Where numbers come from that are none.

use std::fmt;

use crate::dtype::DType;
use crate::error::{Result, Site};
use crate::exec::Inputs;
use crate::ir::{Leaf, Op, Phase, Row, States, Value};
use crate::program::Program;
use crate::tensor::Tensor;

/// The numbers of an array: the least and the largest that are finite, and how many are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberRange {
    /// The least finite number; +∞ if there is none.
    pub least: f64,
    /// The largest finite number; −∞ if there is none.
    pub most: f64,
    /// How many are NaN.
    pub nan: usize,
    /// How many are +∞ or −∞.
    pub infinite: usize,
}

impl NumberRange {
    fn of(numbers: &[f64]) -> Self {
        let mut range = Self { least: f64::INFINITY, most: f64::NEG_INFINITY, nan: 0, infinite: 0 };
        for &x in numbers {
            if x.is_finite() {
                (range.least, range.most) = (range.least.min(x), range.most.max(x));
            } else if x.is_nan() {
                range.nan += 1;
            } else {
                range.infinite += 1;
            }
        }
        range
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.least <= self.most {
            true => write!(f, "{:e} to {:e}", self.least, self.most)?,
            false => f.write_str("no finite number")?,
        }
        for (count, what) in [(self.nan, "NaN"), (self.infinite, "infinite")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// A row that made NaN of numbers, or infinities of finite ones; or an input or a state that held some.
#[derive(Clone, Debug)]
pub struct NotFinite {
    /// The row of [`Program::tape`].
    pub row: usize,
    /// The operation that the user called, or what the leaf is.
    pub op: String,
    /// The line that recorded it, and its scope; for a derivative that of what it differentiates.
    pub site: Site,
    /// Whether it belongs to the computation itself, to tangents, or to cotangents.
    pub phase: Phase,
    /// The position of the first such element.
    pub element: Vec<usize>,
    /// That element.
    pub value: f64,
    /// The numbers of the result.
    pub result: NumberRange,
    /// The numbers of each operand that holds floats.
    pub operands: Vec<NumberRange>,
    /// How many later rows hold NaN or infinities and depend on it.
    pub spread: usize,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, op, site, element, value, result, operands, spread, .. } = self;
        let phase = match self.phase {
            Phase::Forward => "",
            Phase::Tangent => "the tangent of ",
            Phase::Cotangent => "the cotangent of ",
        };
        write!(f, "row {row}, {phase}{op} at {site}: element {element:?} is {value}; {result}")?;
        for (i, operand) in operands.iter().enumerate() {
            write!(f, "; operand {i}: {operand}")?;
        }
        write!(f, "; {spread} later rows")
    }
}

impl Program {
    /// Runs the program row by row and tells which rows were the first to make NaN or infinities, in the order of the tape: forward rows and those of
    /// derivatives. None where all numbers are finite. Infinities that a constant holds are taken to be meant; NaN that comes of them is told; further
    /// infinities made beside them are not. States
    /// stay as they are. Every row is kept in memory at once; a program that is not asked costs nothing.
    ///
    /// ```
    /// use wengert::{DType::F64, Program, States};
    /// let program = Program::record(&States::new(), |t| {
    ///     let x = t.input(F64, [2]);
    ///     // Of 0 the root is 0, but its derivative is infinite.
    ///     let y = t.scope("distance", || (x * 0.0).sqrt());
    ///     let g = y.sum(()).gradients(x)[x];
    ///     t.outputs([y, g])
    /// })?;
    /// let found = program.not_finite(&States::new(), &ndarray::array![1.0, 2.0])?;
    /// assert_eq!((found[0].op.as_str(), found[0].value), ("sqrt", f64::INFINITY));
    /// assert!(found[0].to_string().contains("the cotangent of sqrt at"));
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[doc(alias = "detect_anomaly")]
    #[doc(alias = "debug_nans")]
    pub fn not_finite(&self, states: &States, inputs: impl Inputs) -> Result<Vec<NotFinite>> {
        let tape = self.tape();
        let (program, values) = self.of_values(DType::is_float)?;
        let mut workspace = program.workspace_on(1)?;
        let results = program.evaluate(&mut workspace, states, inputs)?;
        let mut held: Vec<(NumberRange, Option<usize>)> = Vec::with_capacity(values.len());
        let mut found: Vec<NotFinite> = Vec::new();
        let numbers = |v: &Value| values.binary_search(v).ok();
        for (i, value) in values.iter().enumerate() {
            let tensor = results.tensor(i)?;
            let range = NumberRange::of(&tensor.to_f64());
            let row = &tape.rows()[value.row as usize];
            let operands: Vec<usize> = row.operands.iter().filter_map(numbers).collect();
            let any = |bad: fn(&NumberRange) -> usize| operands.iter().any(|&o| bad(&held[o].0) > 0);
            let (nan, infinite) = (any(|r| r.nan), any(|r| r.infinite));
            let meant = matches!(row.op, Op::Leaf(Leaf::Constant(_) | Leaf::Fill(_)));
            let first = (range.nan > 0 && !nan) || (range.infinite > 0 && !nan && !infinite);
            // The first of all whose numbers these came from.
            let mut from = operands.iter().filter_map(|&o| held[o].1).min();
            if range.nan + range.infinite == 0 {
                from = None;
            } else if first && !meant {
                from = Some(found.len());
                found.push(self.told(value, &tensor, range, operands.iter().map(|&o| held[o].0).collect()));
            } else if let Some(from) = from {
                found[from].spread += 1;
            }
            held.push((range, from));
        }
        Ok(found)
    }

    fn told(
        &self,
        value: &Value,
        tensor: &Tensor,
        result: NumberRange,
        operands: Vec<NumberRange>,
    ) -> NotFinite {
        let (tape, row) = (self.tape(), value.row as usize);
        let made = &tape.rows()[row];
        let numbers = tensor.to_f64();
        let wanted = |x: &f64| if result.nan > 0 { x.is_nan() } else { x.is_infinite() };
        let flat = numbers.iter().position(wanted).unwrap_or(0);
        let op = match &made.op {
            Op::Leaf(Leaf::Input(i)) => format!("input {i}"),
            Op::Leaf(Leaf::State(i)) => format!("state {i}"),
            op => {
                // A row of a derivative is told by what it differentiates, if that is still there.
                let own = |r: &&Row| r.origin.call == made.origin.call && r.origin.phase == Phase::Forward;
                let forward = tape.rows().iter().find(own).map_or(op, |r| &r.op);
                tape.operation(&made.origin, forward).to_string()
            }
        };
        NotFinite {
            row,
            op,
            site: tape.site(&made.origin),
            phase: made.origin.phase,
            element: tensor.shape().position(flat),
            value: numbers.get(flat).copied().unwrap_or(f64::NAN),
            result,
            operands,
            spread: 0,
        }
    }
}
