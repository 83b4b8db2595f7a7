//! Eager exploration: numbers are there as soon as they are written down, and loops and branches are Rust's.

use ndarray::{Array1, array};
use wengert::{Recorder, Result};

/// Runs the example.
pub fn main() -> Result<()> {
    let (mut t, mut x, mut steps) = (Recorder::default(), array![-1.2, 1.0], 0);
    loop {
        // What the last step computed is let go, its memory kept.
        t.clear();
        let p = t.input_with(&x);
        let (a, b) = (p.at(0), p.at(1));
        let loss = (1.0 - a).square() + 100.0 * (b - a.square()).square();
        let gradient = loss.gradients(p)[p];
        if gradient.norm(()).value()?.item()? < 1e-3 || steps == 10_000 {
            println!("after {steps} steps {:?} at {x}", loss.value()?);
            break;
        }
        let gradient: Array1<f64> = gradient.value()?.to_array()?;
        x = x - 1e-3 * gradient;
        steps += 1;
    }
    assert!((&x - &array![1.0, 1.0]).iter().all(|d| d.abs() < 0.05), "{x}");

    // Derivatives of derivatives, looked at on the way.
    let t = Recorder::default();
    let x = t.input_with(0.5);
    let mut y = x.sin();
    for order in 0..4 {
        println!("derivative {order} of sin at 0.5: {:?}", y.value()?);
        y = y.gradients(x)[x];
    }
    Ok(())
}
