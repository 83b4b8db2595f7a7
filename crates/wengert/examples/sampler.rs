//! A density in the trait of a sampler such as `nuts-rs`: each chain owns what it calls, and wants the gradient in its own slice.

use wengert::{Error, Function, Result, Worker};

/// As `nuts_rs::CpuLogpFunc`.
trait CpuLogpFunc {
    type LogpError;
    fn dim(&self) -> usize;
    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, Self::LogpError>;
}

#[derive(Clone)]
struct Density(Worker);

// The adapter.
impl CpuLogpFunc for Density {
    type LogpError = Error;
    fn dim(&self) -> usize {
        self.0.function().arguments()
    }
    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, Error> {
        self.0.value_and_gradient(position, gradient)
    }
}

/// Hamiltonian Monte Carlo (Neal, 2011): the mean of each coordinate over a chain.
fn chain(mut density: impl CpuLogpFunc<LogpError = Error>, seed: u64) -> Result<Vec<f64>> {
    let n = density.dim();
    let (mut x, mut g, mut means) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let mut bits = seed;
    let mut uniform = move || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    };
    const DRAWS: usize = 2000;
    for _ in 0..DRAWS {
        let mut p: Vec<f64> = (0..n).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect();
        let energy = |logp: f64, p: &[f64]| p.iter().map(|p| p * p / 2.0).sum::<f64>() - logp;
        let (before, mut y) = (energy(density.logp(&x, &mut g)?, &p), x.clone());
        let mut logp = 0.0;
        for _ in 0..8 {
            p.iter_mut().zip(&g).for_each(|(p, g)| *p += 0.1 * g);
            y.iter_mut().zip(&p).for_each(|(y, p)| *y += 0.2 * p);
            logp = density.logp(&y, &mut g)?;
            p.iter_mut().zip(&g).for_each(|(p, g)| *p += 0.1 * g);
        }
        if uniform().ln() < before - energy(logp, &p) {
            x = y;
        }
        means.iter_mut().zip(&x).for_each(|(mean, x)| *mean += x / DRAWS as f64);
    }
    Ok(means)
}

/// Runs the example.
pub fn main() -> Result<()> {
    // Two normal numbers, around 1 and −2.
    let density = Function::new(2, |x| {
        let p = x.unpack((("mu", []), ("theta", [])));
        -0.5 * ((p["mu"] - 1).square() + (p["theta"] + 2).square() / 0.5)
    })?;
    let density = Density(density.worker());
    std::thread::scope(|scope| {
        let chains = [1, 2, 3].map(|seed| {
            scope.spawn({
                let density = density.clone();
                move || chain(density, seed)
            })
        });
        for chain in chains {
            let means = chain.join().expect("a thread that ends")?;
            println!("means {means:.3?}");
            assert!((means[0] - 1.0).abs() < 0.2 && (means[1] + 2.0).abs() < 0.2);
        }
        Ok(())
    })
}
