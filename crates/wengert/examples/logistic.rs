//! Logistic regression by Newton's method with conjugate gradients: the Hessian is only ever multiplied by vectors.

use ndarray::{Array1, Array2};
use wengert::{Argument, DType::F64, Function, Result};

/// Runs the example.
pub fn main() -> Result<()> {
    const ROWS: usize = 200;
    let x = Array2::from_shape_fn((ROWS, 3), |(i, j)| ((i * (j + 7) * 37) % 101) as f64 / 50.0 - 1.0);
    let labels =
        x.map_axis(ndarray::Axis(1), |r| f64::from(u8::from(2.0 * r[0] - r[1] + 0.3 * r[2].sin() > 0.1)));
    let weights = Argument::new(F64, [3]);
    let data = [Argument::new(F64, [ROWS, 3]).fixed(), Argument::new(F64, [ROWS]).fixed()];
    let [rows, classes] = data;
    let f = Function::with([weights, rows, classes], |x| {
        let [w, rows, labels] = x else { return x[0] };
        rows.matmul(*w).binary_cross_entropy(labels).mean(()) + 1e-3 * w.square().sum(())
    })?;

    let (mut w, mut gradient) = (Array1::<f64>::zeros(3), Array1::<f64>::zeros(3));
    for i in 0..12 {
        let loss = f.value_and_gradient((&w, &x, &labels), &mut gradient)?;
        println!("{i}: loss {loss:.6}, gradient {:.1e}", gradient.dot(&gradient).sqrt());
        let product = |v: &Array1<f64>| {
            let mut hv = Array1::<f64>::zeros(3);
            f.hvp((&w, &x, &labels), v, &mut hv).map(|()| hv)
        };
        let step = conjugate_gradients(product, &gradient)?;
        w -= &step;
    }
    assert!(gradient.dot(&gradient).sqrt() < 1e-10);
    Ok(())
}

/// Solves `H s = g` (Hestenes and Stiefel, 1952).
fn conjugate_gradients(
    product: impl Fn(&Array1<f64>) -> Result<Array1<f64>>,
    g: &Array1<f64>,
) -> Result<Array1<f64>> {
    let (mut solution, mut residual, mut direction) = (Array1::zeros(g.len()), g.clone(), g.clone());
    let mut size = residual.dot(&residual);
    for _ in 0..g.len() {
        if size < 1e-30 {
            break;
        }
        let hd = product(&direction)?;
        let length = size / direction.dot(&hd);
        solution.scaled_add(length, &direction);
        residual.scaled_add(-length, &hd);
        let next = residual.dot(&residual);
        direction = &residual + &(direction * (next / size));
        size = next;
    }
    Ok(solution)
}
