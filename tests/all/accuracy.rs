//! Functions against a table of 60 digits, `reference/special.csv`, which `reference/special.py` makes.

use std::collections::BTreeMap;

use wengert::ir::{Attrs, Op};
use wengert::{DType, Recorder, Registry, Tensor, Var};

/// A line of the table: its operands and the result.
type Line = (Vec<f64>, f64);

fn table() -> BTreeMap<(String, u32), Vec<Line>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/special.csv");
    let text = std::fs::read_to_string(path).expect("the table");
    let mut table: BTreeMap<(String, u32), Vec<Line>> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(',').collect();
        let numbers: Vec<f64> = words[2..].iter().map(|w| w.parse().expect("a number")).collect();
        let (y, x) = numbers.split_last().expect("a result");
        let key = (words[0].to_string(), words[1].parse().expect("bits"));
        table.entry(key).or_default().push((x.to_vec(), *y));
    }
    table
}

fn apply<'t>(name: &str, x: &[Var<'t>]) -> Var<'t> {
    match name {
        "trigamma" => x[0].polygamma(1),
        "tetragamma" => x[0].polygamma(2),
        "pentagamma" => x[0].polygamma(3),
        "pow" => x[0].pow(x[1]),
        _ => {
            let op: Op = Registry::builtin().find(name).expect("an op").load(&Attrs::new()).expect("no data");
            x[0].recorder().emit_one(op, x)
        }
    }
}

/// By how much a result may be off.
fn allowed(name: &str, bits: u32, x: &[f64], y: f64) -> f64 {
    let (epsilon, least) = if bits == 64 { (2f64.powi(-52), -1022) } else { (2f64.powi(-23), -126) };
    let ulp = epsilon * 2f64.powi((y.abs().log2().floor() as i32).max(least));
    let units = if bits == 64 { 3.0 } else { 2.0 };
    let below = if bits == 64 { 1e-13 } else { 1e-6 } * y.abs().max(1.0);
    match name {
        "ln_gamma" | "digamma" if x[0] < 0.0 => below,
        "ln_gamma" | "digamma" => {
            let roots: &[f64] = if name == "digamma" { &[1.461_632_144_968_362_4] } else { &[1.0, 2.0] };
            let near = roots.iter().any(|r| (x[0] - r).abs() < 0.1);
            (4.0 * ulp).max(if near { 2.0 * epsilon } else { 0.0 })
        }
        "trigamma" | "tetragamma" | "pentagamma" if x[0] < 0.0 => below,
        "trigamma" | "tetragamma" | "pentagamma" | "erfinv" => (1e-13 * y.abs()).max(ulp),
        "pow" => 2.0 * ulp,
        _ => units * ulp,
    }
}

#[test]
fn functions_are_as_accurate_as_they_say() {
    let (mut wrong, mut functions) = (Vec::new(), 0);
    for ((name, bits), lines) in table() {
        functions += 1;
        assert!(lines.len() >= 90, "{name} of {bits} bits has {} lines", lines.len());
        let dtype = if bits == 64 { DType::F64 } else { DType::F32 };
        let t = Recorder::default();
        let x: Vec<Var<'_>> = (0..lines[0].0.len())
            .map(|i| {
                let x: Vec<f64> = lines.iter().map(|(x, _)| x[i]).collect();
                t.constant(Tensor::new([x.len()], x).expect("a tensor")).cast(dtype)
            })
            .collect();
        let found = apply(&name, &x).value().expect("numbers").to_f64();
        let worst = lines
            .iter()
            .zip(found)
            .map(|((x, y), found)| ((found - y).abs() / allowed(&name, bits, x, *y), x, *y, found))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("lines");
        println!("{name} {bits}: {:.2} of what is allowed, at {:?}", worst.0, worst.1);
        if worst.0.is_nan() || worst.0 > 1.0 {
            wrong.push(format!(
                "{name} of {bits} bits: {:?} gives {}, not {}: {:.1} times what is allowed",
                worst.1, worst.3, worst.2, worst.0
            ));
        }
    }
    assert!(wrong.is_empty() && functions >= 56, "{functions} functions\n{}", wrong.join("\n"));
}
