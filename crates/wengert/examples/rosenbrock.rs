//! Minimise Rosenbrock's function by Newton's method, and check its derivatives.

use ndarray::{Array1, Array2, array};
use wengert::check::{Options, gradcheck};
use wengert::{Function, Result, Tensor, Var};

fn rosenbrock(x: Var<'_>) -> Var<'_> {
    (1 - x.at(0)).square() + 100 * (x.at(1) - x.at(0).square()).square()
}

/// Runs the example.
pub fn main() -> Result<()> {
    let f = Function::new(2, rosenbrock)?;
    let (mut x, mut gradient, mut hessian) =
        (array![-1.2, 1.0], Array1::<f64>::zeros(2), Array2::<f64>::zeros((2, 2)));
    for i in 0..20 {
        let value = f.value_and_gradient(&x, &mut gradient)?;
        println!("{i}: {value:.3e} at {x:.6}");
        if gradient.iter().all(|g| g.abs() < 1e-12) {
            break;
        }
        f.hessian(&x, &mut hessian)?;
        x = x - solved(&hessian, &gradient);
    }
    assert!((x - array![1.0, 1.0]).iter().all(|d| d.abs() < 1e-9));

    let point = Tensor::new([2], vec![0.3, -0.8])?;
    let report = gradcheck(|_, x| rosenbrock(x[0]), &[point], &Options::default())?;
    println!("{} derivatives agree with differences, the worst within {:.1e}", report.compared, report.worst);
    Ok(())
}

/// `A⁻¹ b` of two rows, by Cramer's rule.
fn solved(a: &Array2<f64>, b: &Array1<f64>) -> Array1<f64> {
    let determinant = a[[0, 0]] * a[[1, 1]] - a[[0, 1]] * a[[1, 0]];
    array![a[[1, 1]] * b[0] - a[[0, 1]] * b[1], a[[0, 0]] * b[1] - a[[1, 0]] * b[0]] / determinant
}
