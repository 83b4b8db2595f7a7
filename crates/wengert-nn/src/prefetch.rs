//! What is made ahead by other threads.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Things made by their numbers, on other threads, a few ahead of whoever takes them, in order: the same whatever the number of threads. Without threads each is made when it is
/// asked for.
///
/// ```
/// use wengert_nn::Prefetch;
/// let squares: Vec<u64> = Prefetch::new(2, 3, 0..10, |n| n * n).collect();
/// assert_eq!(squares, (0..10).map(|n| n * n).collect::<Vec<u64>>());
/// ```
pub struct Prefetch<T> {
    make: Arc<dyn Fn(u64) -> T + Send + Sync>,
    rest: Range<u64>,
    /// Of the thread of each number, in turn.
    workers: Vec<Option<Worker<T>>>,
    first: u64,
}

struct Worker<T> {
    made: Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Those of a range of numbers, by so many threads (256 at most), each of which is so many ahead (1 to 1,024).
    pub fn new(
        threads: usize,
        ahead: usize,
        numbers: Range<u64>,
        make: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> Self {
        let (threads, ahead) = (threads.min(256), ahead.clamp(1, 1024));
        let make: Arc<dyn Fn(u64) -> T + Send + Sync> = Arc::new(make);
        let worker = |n: u64| {
            let (made, all) = (make.clone(), numbers.clone());
            let (to, from) = sync_channel(ahead);
            let work = move || {
                // Whoever takes them may have gone.
                let own = all.skip(n as usize).step_by(threads);
                let _ = own.map(|number| to.send(made(number))).find(Result::is_err);
            };
            let thread = Builder::new().name("prefetch".into()).spawn(work).ok()?;
            Some(Worker { made: from, thread })
        };
        let workers = (0..threads as u64).map(worker).collect();
        Self { first: numbers.start, rest: numbers, workers, make }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        let number = self.rest.next()?;
        let of = (number - self.first).checked_rem(self.workers.len() as u64);
        let worker = of.and_then(|of| self.workers[of as usize].as_ref());
        // What a thread could not make, because it is not there, is made here.
        Some(worker.and_then(|worker| worker.made.recv().ok()).unwrap_or_else(|| (self.make)(number)))
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        for Worker { made, thread } in self.workers.drain(..).flatten() {
            drop(made);
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
