//! A problem in the traits of an optimiser such as `argmin`: it asks `&self` for cost and gradient, from any thread.

use ndarray::{Array1, array};
use wengert::{Error, Function, Result};

/// As the traits of `argmin::core` of these names.
trait CostFunction {
    fn cost(&self, param: &Array1<f64>) -> Result<f64, Error>;
}
trait Gradient {
    fn gradient(&self, param: &Array1<f64>) -> Result<Array1<f64>, Error>;
}

#[derive(Clone)]
struct Problem(Function);

// The adapter.
impl CostFunction for Problem {
    fn cost(&self, param: &Array1<f64>) -> Result<f64, Error> {
        self.0.value(param)
    }
}
impl Gradient for Problem {
    fn gradient(&self, param: &Array1<f64>) -> Result<Array1<f64>, Error> {
        let mut gradient = Array1::zeros(param.len());
        self.0.gradient(param, &mut gradient).map(|()| gradient)
    }
}

/// Steepest descent with backtracking (Armijo, 1966).
fn descend(problem: &(impl CostFunction + Gradient), mut x: Array1<f64>) -> Result<Array1<f64>, Error> {
    for _ in 0..200 {
        let (cost, gradient) = (problem.cost(&x)?, problem.gradient(&x)?);
        let mut length = 1.0;
        while problem.cost(&(&x - length * &gradient))? > cost - 1e-4 * length * gradient.dot(&gradient) {
            length /= 2.0;
        }
        x.scaled_add(-length, &gradient);
    }
    Ok(x)
}

/// Runs the example.
pub fn main() -> Result<()> {
    // Himmelblau's function, with four minima.
    let problem = Problem(Function::new(2, |x| {
        let (a, b) = (x.at(0), x.at(1));
        (a.square() + b - 11).square() + (a + b.square() - 7).square()
    })?);
    let starts = [array![4.0, 4.0], array![-3.0, 3.0], array![-4.0, -4.0], array![3.0, -1.0]];
    std::thread::scope(|scope| {
        let problem = &problem;
        let runs = starts.map(|start| scope.spawn(move || descend(problem, start)));
        for run in runs {
            let x = run.join().expect("a thread that ends")?;
            println!("a minimum at {x:.4}");
            assert!(problem.cost(&x)? < 1e-10);
        }
        Ok(())
    })
}
