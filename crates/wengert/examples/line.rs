//! Fit a line by gradient descent: a program that updates its parameters.

use wengert::{DType::F64, Program, Result, States};

/// Runs the example.
pub fn main() -> Result<()> {
    let mut states = States::new();
    let (slope, offset) = (states.add("slope", 0.0)?, states.add("offset", 0.0)?);
    let step = Program::record(&states, |t| {
        let (x, y) = (t.input(F64, [50]).named("x"), t.input(F64, [50]).named("y"));
        let rate = t.input(F64, []).named("rate");
        let params = [t.state(slope), t.state(offset)];
        let loss = (params[0] * x + params[1]).mse(y);
        let gradients = loss.gradients(params);
        for p in params {
            t.update(p, p - rate * gradients[p]);
        }
        t.outputs(loss.named("loss"))
    })?;

    let x: Vec<f64> = (0..50).map(|i| f64::from(i) / 25.0 - 1.0).collect();
    let y: Vec<f64> = x.iter().map(|x| 3.0 * x - 0.5).collect();
    let mut workspace = step.workspace()?;
    for i in 0..300 {
        let inputs = (("x", &x), ("y", &y), ("rate", &0.3));
        let loss = step.run(&mut workspace, &mut states, inputs)?.scalar("loss")?;
        if i % 100 == 0 {
            println!("step {i}: {loss:.2e}");
        }
    }
    let found = (states.get(slope)?.item()?, states.get(offset)?.item()?);
    println!("y = {:.6} x + {:.6}", found.0, found.1);
    assert!((found.0 - 3.0).abs() < 1e-6 && (found.1 + 0.5).abs() < 1e-6);
    Ok(())
}
