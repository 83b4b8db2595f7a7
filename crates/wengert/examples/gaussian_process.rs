//! Regression with a Gaussian process: the logarithm of the marginal likelihood of data by the hyperparameters of the kernel, with gradient and Hessian, and
//! Newton's steps to its maximum (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 2.30 and 5.8).

use ndarray::{Array1, Array2};
use wengert::{Argument, DType::F64, ErrorKind, Fault, Function, Result, Triangular, Var};

/// `−½ yᵀ K⁻¹ y − ½ ln |K| − n/2 ln 2π` of the squared-exponential kernel; hyperparameters are the logarithms of length, amplitude and noise.
fn log_likelihood<'t>(x: &[f64], y: &[f64], h: Var<'t>) -> Var<'t> {
    let t = h.recorder();
    let (length, amplitude, noise) = (h.at(0).exp(), h.at(1).exp(), h.at(2).exp());
    let (x, y) = (t.constant(x), t.constant(y));
    let distance = (x.insert_axis(-1) - x) / length;
    let n = x.dim(0);
    let identity = t.constant(Array2::<f64>::eye(n));
    let k = (distance.square() * -0.5).exp() * amplitude.square() + identity * noise.square();
    // A matrix that is not positive definite is an error of the run that names its pivot: hyperparameters to step back from.
    let l = k.cholesky();
    let white = l.solve_triangular(y, Triangular::lower());
    white.square().sum(()) * -0.5
        - l.diagonal().ln().sum(())
        - 0.5 * n as f64 * (2.0 * std::f64::consts::PI).ln()
}

/// Runs the example.
pub fn main() -> Result<()> {
    let x = Array1::<f64>::linspace(0.0, 6.0, 40);
    let noise = |i: usize| 0.1 * ((i * 7919 % 13) as f64 / 6.0 - 1.0);
    let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| x.sin() + noise(i)).collect();
    let f = Function::new(3, |h| log_likelihood(&x.to_vec(), &y, h))?;
    // Newton's step, a function too, towards a maximum: where `−H` is not positive definite it is an error, and more of the identity is tried.
    let arguments = [Argument::new(F64, [3, 3]), Argument::new(F64, 3), Argument::new(F64, ())];
    let step = Function::with(arguments, |x| {
        let identity = x[0].recorder().constant(Array2::<f64>::eye(3));
        (identity * x[2] - x[0]).cholesky().cholesky_solve(x[1])
    })?;
    let mut h = [0.0f64, 0.0, -1.0];
    let (mut gradient, mut hessian, mut moved) = ([0f64; 3], Array2::<f64>::zeros((3, 3)), [0f64; 3]);
    for _ in 0..20 {
        let value = f.value_and_gradient(&h, &mut gradient)?;
        f.hessian(&h, &mut hessian)?;
        let mut damping = 0.0;
        while let Err(e) = step.value_into((&hessian, &gradient, &damping), &mut moved) {
            if !matches!(e.kind(), ErrorKind::Fault(Fault::NotPositiveDefinite { .. })) {
                return Err(e);
            }
            damping = 1.0 + 4.0 * damping;
        }
        let [length, amplitude, noise] = h.map(f64::exp);
        println!("{value:9.4}: length {length:.3}, amplitude {amplitude:.3}, noise {noise:.3}");
        h.iter_mut().zip(moved).for_each(|(h, step)| *h += step.clamp(-0.5, 0.5));
    }
    assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{gradient:?}");
    Ok(())
}
