//! The batches of a training, by their numbers.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array1, Array2};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::augment::{Augment, mixed};
use crate::epochs::Epochs;
use crate::error::{Error, Result};
use crate::examples::{Examples, gathered};
use crate::prefetch::Prefetch;

/// The images and labels of a step.
pub(super) struct Batch {
    pub(super) images: Array2<u8>,
    pub(super) labels: Array1<u32>,
}

/// Which images make up a step, and how they are varied.
pub(super) struct Batches {
    examples: Arc<dyn Examples>,
    epochs: Epochs,
    /// Whether images are drawn with replacement, instead of each once an epoch.
    drawn: bool,
    augment: Augment,
    /// The order of the epoch that was last asked for.
    order: Mutex<(u64, Arc<Vec<u32>>)>,
}

impl Batches {
    pub(super) fn new(examples: Arc<dyn Examples>, epochs: Epochs, drawn: bool, augment: Augment) -> Self {
        let order = Mutex::new((0, Arc::new(epochs.order(0))));
        Self { examples, epochs, drawn, augment, order }
    }

    /// The steps from a number on, made ahead on other threads where that takes time and there may be more than one thread.
    pub(super) fn ahead(self: Arc<Self>, from: u64, to: u64, threads: usize) -> Prefetch<Result<Batch>> {
        const AHEAD: usize = 4;
        let quick = self.augment.is_none() && self.examples.in_memory();
        let threads = if quick || threads < 2 { 0 } else { threads.min(4) };
        Prefetch::new(threads, AHEAD, from..to, move |step| self.batch(step))
    }

    pub(super) fn batch(&self, step: u64) -> Result<Batch> {
        let seed = self.epochs.seed;
        let each = self.epochs.batches().max(1) as u64;
        let (epoch, rows): (u64, Vec<usize>) = if self.drawn {
            let mut rng = Pcg64::seed_from_u64(mixed(mixed(seed ^ 0x6472_6177) ^ step));
            let examples = self.epochs.examples;
            let draw = |_| rng.random_range(0..examples) as usize;
            (step, (0..self.epochs.batch).map(draw).collect())
        } else {
            let order = self.order(step / each);
            let batch = self.epochs.batch(&order, (step % each) as usize);
            (step / each, batch.iter().map(|&i| i as usize).collect())
        };
        let (mut images, labels) = gathered(&*self.examples, rows.iter().copied())?;
        if !self.augment.is_none() {
            let mut image = vec![0; images.ncols()];
            for (row, mut to) in rows.into_iter().zip(images.rows_mut()) {
                let to = to
                    .as_slice_mut()
                    .ok_or_else(|| Error::Argument("expected images that lie in rows".into()))?;
                image.copy_from_slice(to);
                self.augment.apply((seed, epoch, row as u64), &image, to)?;
            }
        }
        Ok(Batch { images, labels })
    }

    fn order(&self, epoch: u64) -> Arc<Vec<u32>> {
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != epoch {
            *last = (epoch, Arc::new(self.epochs.order(epoch)));
        }
        last.1.clone()
    }
}
