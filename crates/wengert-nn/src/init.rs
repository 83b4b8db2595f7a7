//! How parameters start.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use ndarray::Array2;

/// How weights start. The inputs and outputs of a number are how many numbers are added up where it is used, forwards and backwards.
///
/// ```
/// use rand::SeedableRng;
/// let mut rng = rand_pcg::Pcg64::seed_from_u64(1);
/// let w = wengert_nn::Init::Normal(0.01).draw(784, 50, &mut rng);
/// assert!(w.std(0.0) < 0.011 && w.std(0.0) > 0.009);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Constant(f64),
    /// Normal numbers of this standard deviation.
    Normal(f64),
    /// Normal numbers of this standard deviation, drawn again where they are more than two of them away from zero.
    TruncatedNormal(f64),
    /// Numbers from −a to a, all alike.
    Uniform(f64),
    /// Normal numbers of variance 2/inputs (He et al., "Delving deep into rectifiers", 2015).
    He,
    /// Uniform numbers of the same variance.
    HeUniform,
    /// Normal numbers of variance 2/(inputs + outputs) (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010).
    Glorot,
    /// Uniform numbers of the same variance.
    GlorotUniform,
    /// Normal numbers of variance 1/inputs (LeCun et al., "Efficient backprop", 1998).
    LeCun,
    /// Uniform numbers from −1/√inputs to 1/√inputs, as PyTorch's layers start.
    Fan,
    /// Rows or columns of length `gain` that stand at right angles on each other, whichever are fewer (Saxe et al., "Exact solutions to the nonlinear dynamics of
    /// learning in deep linear neural networks", 2014).
    Orthogonal(f64),
}

impl Init {
    /// A matrix of initial weights, drawn in row-major order.
    pub fn draw(self, inputs: usize, outputs: usize, rng: &mut Pcg64) -> Array2<f64> {
        let next = self.numbers((inputs, outputs), (inputs, outputs), rng);
        Array2::from_shape_simple_fn((inputs, outputs), next)
    }

    /// One number after another of a matrix of these rows and columns, with so many inputs and outputs.
    pub(crate) fn numbers(
        self,
        (rows, columns): (usize, usize),
        (inputs, outputs): (usize, usize),
        rng: &mut Pcg64,
    ) -> Box<dyn FnMut() -> f64 + '_> {
        if let Self::Orthogonal(gain) = self {
            let mut all = orthogonal(rows, columns, gain, rng).into_iter();
            return Box::new(move || all.next().unwrap_or_default());
        }
        Box::new(self.next(inputs as f64, outputs as f64, rng))
    }

    /// One number after another, but of [`Orthogonal`](Self::Orthogonal), which has none alone.
    fn next(self, inputs: f64, outputs: f64, rng: &mut Pcg64) -> impl FnMut() -> f64 {
        let inputs = inputs.max(1.0);
        move || match self {
            Self::Constant(value) => value,
            Self::Normal(deviation) | Self::Orthogonal(deviation) => normal(rng) * deviation,
            Self::TruncatedNormal(deviation) => loop {
                let z = normal(rng);
                if z.abs() <= 2.0 {
                    break z * deviation;
                }
            },
            Self::Uniform(most) => uniform(rng) * most,
            Self::He => normal(rng) * (2.0 / inputs).sqrt(),
            Self::HeUniform => uniform(rng) * (6.0 / inputs).sqrt(),
            Self::Glorot => normal(rng) * (2.0 / (inputs + outputs)).sqrt(),
            Self::GlorotUniform => uniform(rng) * (6.0 / (inputs + outputs)).sqrt(),
            Self::LeCun => normal(rng) * (1.0 / inputs).sqrt(),
            Self::Fan => uniform(rng) / inputs.sqrt(),
        }
    }
}

/// The generator that all initial weights of a seed come from.
pub(crate) fn rng(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

fn normal(rng: &mut Pcg64) -> f64 {
    StandardNormal.sample(rng)
}

/// From −1 to 1.
fn uniform(rng: &mut Pcg64) -> f64 {
    2.0 * rng.random::<f64>() - 1.0
}

/// Normal rows, or columns, made orthogonal one after another, twice against rounding (Giraud et al., "Rounding error analysis of the classical Gram-Schmidt orthogonalization
/// process", 2005).
fn orthogonal(rows: usize, columns: usize, gain: f64, rng: &mut Pcg64) -> Vec<f64> {
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut all: Vec<Vec<f64>> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut v: Vec<f64> = (0..len).map(|_| normal(rng)).collect();
        for _ in 0..2 {
            for u in &all {
                let along: f64 = u.iter().zip(&v).map(|(u, v)| u * v).sum();
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter_mut().for_each(|x| *x /= norm);
        all.push(v);
    }
    let at = |i: usize, j: usize| if rows <= columns { all[i][j] } else { all[j][i] };
    (0..rows * columns).map(|n| gain * at(n / columns.max(1), n % columns.max(1))).collect()
}
