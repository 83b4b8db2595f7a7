//! The right-hand side of an ODE, in the traits of a solver such as `diffsol`: it wants `f(y)`, and Jacobians times vectors.

use wengert::{Function, Result};

/// As `diffsol::NonLinearOp` and `NonLinearOpJacobian`, without its vectors.
trait RightHandSide {
    fn call_inplace(&self, y: &[f64], t: f64, dy: &mut [f64]);
    fn jac_mul_inplace(&self, y: &[f64], t: f64, v: &[f64], jv: &mut [f64]);
}

struct Recorded(Function);

// The adapter.
impl RightHandSide for Recorded {
    fn call_inplace(&self, y: &[f64], t: f64, dy: &mut [f64]) {
        self.0.value_into((&y, &t), dy).expect("a state of three numbers");
    }
    fn jac_mul_inplace(&self, y: &[f64], t: f64, v: &[f64], jv: &mut [f64]) {
        self.0.jvp((&y, &t), v, jv).expect("a state of three numbers");
    }
}

/// Robertson's chemical reactions, a stiff problem ("The solution of a set of reaction rate equations", 1966).
fn robertson() -> Result<Recorded> {
    use wengert::{Argument, DType::F64};
    let arguments = [Argument::new(F64, [3]), Argument::new(F64, []).fixed()];
    let f = Function::with(arguments, |x| {
        let [a, b, c] = [0, 1, 2].map(|i| x[0].at(i));
        let (slow, fast) = (0.04 * a, 1e4 * b * c);
        let rest = 3e7 * b * b;
        x[0].recorder().stack([fast - slow, slow - fast - rest, rest], 0)
    })?;
    Ok(Recorded(f))
}

/// A step of the implicit Euler method, `y' = y + h f(y')`, by Newton's method with a Jacobian of products.
fn step(f: &impl RightHandSide, y: [f64; 3], t: f64, h: f64) -> [f64; 3] {
    let mut next = y;
    for _ in 0..8 {
        let (mut dy, mut columns) = ([0.0; 3], [[0.0; 3]; 3]);
        f.call_inplace(&next, t + h, &mut dy);
        for (j, column) in columns.iter_mut().enumerate() {
            let mut v = [0.0; 3];
            v[j] = 1.0;
            f.jac_mul_inplace(&next, t + h, &v, column);
            *column = std::array::from_fn(|i| v[i] - h * column[i]);
        }
        let residual: [f64; 3] = std::array::from_fn(|i| next[i] - y[i] - h * dy[i]);
        // Cramer's rule.
        let det = |[a, b, c]: [[f64; 3]; 3]| {
            a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
                + c[0] * (a[1] * b[2] - a[2] * b[1])
        };
        for (i, x) in next.iter_mut().enumerate() {
            let mut replaced = columns;
            replaced[i] = residual;
            *x -= det(replaced) / det(columns);
        }
    }
    next
}

/// Runs the example.
pub fn main() -> Result<()> {
    let (f, mut y, mut t, mut h) = (robertson()?, [1.0, 0.0, 0.0], 0.0, 1e-4);
    while t < 40.0 {
        y = step(&f, y, t, h);
        (t, h) = (t + h, h * 1.01);
    }
    println!("at {t:.1}: {y:.6?}");
    // The substances change into one another; the reference at 40 is 0.7158.
    assert!((y.iter().sum::<f64>() - 1.0).abs() < 1e-9 && (y[0] - 0.7158).abs() < 0.01);
    Ok(())
}
