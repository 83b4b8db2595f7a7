//! All examples once, in another order each time.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use crate::augment::mixed;

/// Epochs of batches: which examples make up a batch is said by the seed, the epoch and the batch alone, so that a training can go on anywhere.
///
/// ```
/// let epochs = wengert_nn::Epochs { examples: 10, batch: 4, seed: 7, whole: false };
/// let order = epochs.order(3);
/// assert_eq!(epochs.batches(), 3);
/// assert_eq!(epochs.batch(&order, 2), &order[8..], "the last batch is smaller");
/// assert_eq!(order, epochs.order(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Examples in all.
    pub examples: u32,
    /// Examples of a batch, at least one.
    pub batch: usize,
    /// For the order.
    pub seed: u64,
    /// Whether all batches are whole: those that remain at the end of an epoch are left out then. Else they are a smaller last batch.
    pub whole: bool,
}

impl Epochs {
    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        let (examples, batch) = (self.examples as usize, self.batch.max(1));
        if self.whole { examples / batch } else { examples.div_ceil(batch) }
    }

    /// All examples in the order of an epoch.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        shuffled(self.examples, self.seed, epoch)
    }

    /// The examples of a batch of an epoch, by its order; none behind the last batch.
    pub fn batch<'a>(&self, order: &'a [u32], batch: usize) -> &'a [u32] {
        let size = self.batch.max(1);
        let from = batch.saturating_mul(size);
        let to = from.saturating_add(size).min(order.len());
        if batch >= self.batches() { &[] } else { order.get(from..to).unwrap_or(&[]) }
    }
}

/// Numbers below a count in an order of their own for each seed and epoch.
pub(crate) fn shuffled(count: u32, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    order.shuffle(&mut Pcg64::seed_from_u64(mixed(mixed(seed) ^ epoch)));
    order
}
