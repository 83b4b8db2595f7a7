//! A few threads that share the tasks of one level after another, without allocating.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result};

/// What is run for each task: its number, and that of the thread.
type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// How long a thread looks for work before it sleeps: longer than the gaps inside one run.
const PATIENCE: Duration = Duration::from_micros(200);

/// Threads that wait for jobs. The thread that runs a job works on it too.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Jobs so far.
    jobs: usize,
}

struct Shared {
    /// The number of the job that is open, 0 while none is.
    open: AtomicUsize,
    /// Threads of the pool that may be using `job`.
    inside: AtomicUsize,
    /// The next task that nobody has taken.
    next: AtomicUsize,
    tasks: AtomicUsize,
    panicked: AtomicBool,
    ended: AtomicBool,
    job: UnsafeCell<Option<&'static Job<'static>>>,
}

// SAFETY: everything but `job` is atomic. `job` is written only by the thread that runs jobs while
// `open` is 0 and `inside` has been seen to be 0, and read only by threads that raised `inside` and
// then saw `open` set; the order of these is the same for all threads (SeqCst). So no read meets
// a write, and no thread uses a job after `run` has returned.
unsafe impl Sync for Shared {}

impl Shared {
    /// Takes tasks until none is left.
    fn work(&self, job: &Job<'_>, thread: usize) {
        loop {
            let task = self.next.fetch_add(1, SeqCst);
            if task >= self.tasks.load(SeqCst) {
                return;
            }
            job(task, thread);
        }
    }

    /// What a thread of the pool does: joins each job that it finds open.
    fn serve(&self, thread: usize) {
        let mut last = 0;
        let mut since = Instant::now();
        while !self.ended.load(SeqCst) {
            let open = self.open.load(SeqCst);
            if open == 0 || open == last {
                if since.elapsed() > PATIENCE {
                    thread::park();
                    since = Instant::now();
                } else {
                    (0..32).for_each(|_| std::hint::spin_loop());
                }
                continue;
            }
            self.inside.fetch_add(1, SeqCst);
            if self.open.load(SeqCst) == open {
                // SAFETY: `inside` is raised and the job is still open, so `run` waits for this thread.
                if let Some(job) = unsafe { *self.job.get() } {
                    let outcome = catch_unwind(AssertUnwindSafe(|| self.work(job, thread)));
                    if outcome.is_err() {
                        self.panicked.store(true, SeqCst);
                    }
                }
            }
            self.inside.fetch_sub(1, SeqCst);
            last = open;
            since = Instant::now();
        }
    }
}

impl Pool {
    /// How many threads share a job.
    pub(super) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// A pool in which `threads` threads work, the calling one among them. An error where they cannot be
    /// spawned.
    pub(super) fn new(threads: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            open: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            job: UnsafeCell::new(None),
        });
        let mut pool = Self { shared, workers: Vec::new(), jobs: 0 };
        for thread in 1..threads {
            let shared = pool.shared.clone();
            let worker =
                thread::Builder::new().name(format!("wengert-{thread}")).spawn(move || shared.serve(thread));
            pool.workers.push(
                worker.map_err(|e| ErrorKind::Argument(format!("spawning {threads} threads failed: {e}")))?,
            );
        }
        Ok(pool)
    }

    /// Runs a job for every task and returns when all are done. A panic of the job comes out here,
    /// on whichever thread it happened.
    pub(super) fn run(&mut self, tasks: usize, job: &Job<'_>) {
        if self.workers.is_empty() || tasks <= 1 {
            return (0..tasks).for_each(|task| job(task, 0));
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes, and `run` does not return before the job is closed and
        // nobody is inside.
        let forgotten = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        // SAFETY: `open` is 0 and `inside` was 0 when the last job was closed, so nobody reads.
        unsafe { *shared.job.get() = Some(forgotten) };
        shared.next.store(0, SeqCst);
        shared.tasks.store(tasks, SeqCst);
        // Never 0, which means closed, and never the same twice in a row.
        self.jobs = self.jobs.wrapping_add(1).max(1);
        shared.open.store(self.jobs, SeqCst);
        for worker in self.workers.iter().take(tasks - 1) {
            worker.thread().unpark();
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| shared.work(job, 0)));
        shared.open.store(0, SeqCst);
        let mut spins = 0u32;
        while shared.inside.load(SeqCst) > 0 {
            // Where there are fewer cores than threads, the last one needs this core to finish.
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(1024) { thread::yield_now() } else { std::hint::spin_loop() }
        }
        // SAFETY: the job is closed and nobody is inside.
        unsafe { *shared.job.get() = None };
        // Forgotten in any case, so that the next job starts clean.
        let elsewhere = shared.panicked.swap(false, SeqCst);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        if elsewhere {
            resume_unwind(Box::new("a kernel panicked on another thread"));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs, so it ends in good order.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_however_many_threads() {
        for threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(threads).unwrap();
            for tasks in (0..40).chain([1000]) {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|task, thread| {
                    assert!(thread < threads);
                    counts[task].fetch_add(1, SeqCst);
                });
                assert!(counts.iter().all(|c| c.load(SeqCst) == 1), "{tasks} tasks, {threads} threads");
            }
        }
    }

    #[test]
    fn sleeping_threads_wake_and_panics_come_out() {
        let mut pool = Pool::new(2).unwrap();
        for round in 0..20 {
            if round % 5 == 0 {
                thread::sleep(PATIENCE * 5);
            }
            let sum = AtomicUsize::new(0);
            pool.run(100, &|task, _| {
                sum.fetch_add(task, SeqCst);
            });
            assert_eq!(sum.load(SeqCst), 4950);
            let one =
                catch_unwind(AssertUnwindSafe(|| pool.run(100, &|task, _| assert!(task != 50, "task 50"))));
            let all = catch_unwind(AssertUnwindSafe(|| pool.run(4, &|task, _| panic!("task {task}"))));
            assert!(one.is_err() && all.is_err());
        }
    }
}
