//! Which examples make up a batch.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// How batches are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Each example of each batch uniformly from all, as the book does.
    WithReplacement,
    /// Every epoch once through all examples in a new order; the last batch of an epoch holds
    /// those that remain, so it may be smaller.
    Shuffled,
}

/// Draws batches of example numbers: the same seed, the same batches.
///
/// ```
/// use wengert_nn::{BatchSampler, Sampling};
/// let mut sampler = BatchSampler::new(5, 2, Sampling::Shuffled, 7);
/// let sizes: Vec<usize> = (0..4).map(|_| sampler.next_batch().len()).collect();
/// assert_eq!(sizes, [2, 2, 1, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct BatchSampler {
    rng: Pcg64,
    sampling: Sampling,
    batch: usize,
    order: Vec<u32>,
    position: usize,
    drawn: Vec<u32>,
}

impl BatchSampler {
    /// Batches of `batch` (at least one) of `examples` examples.
    pub fn new(examples: u32, batch: usize, sampling: Sampling, seed: u64) -> Self {
        // A stream of its own: weights of the same seed must not be correlated with batches.
        let rng = Pcg64::seed_from_u64(seed ^ 0x6261_7463_6865_7321);
        let order = (0..examples).collect();
        Self { rng, sampling, batch: batch.max(1), order, position: examples as usize, drawn: Vec::new() }
    }

    /// The example numbers of the next batch; none if there are no examples.
    pub fn next_batch(&mut self) -> &[u32] {
        let examples = self.order.len();
        match self.sampling {
            Sampling::WithReplacement => {
                self.drawn.clear();
                if examples > 0 {
                    let rng = &mut self.rng;
                    self.drawn.extend((0..self.batch).map(|_| rng.random_range(0..examples as u32)));
                }
                &self.drawn
            }
            Sampling::Shuffled => {
                if self.position >= examples {
                    self.order.shuffle(&mut self.rng);
                    self.position = 0;
                }
                let start = self.position;
                self.position = (start + self.batch).min(examples);
                &self.order[start..self.position]
            }
        }
    }
}
