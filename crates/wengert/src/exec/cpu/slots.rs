//! Where threads take what they work with, and put it back, without waiting for one another.

use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Things at most that wait here: more are given up. Calls at the same time are rarely more.
const SLOTS: usize = 32;

/// A place on a cache line of its own, so that threads which use others do not share it.
#[repr(align(64))]
struct Slot<T>(AtomicPtr<T>);

/// A few things of which each is one thread's at a time.
pub(crate) struct Slots<T: Send> {
    slots: Box<[Slot<T>]>,
}

impl<T: Send> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| Slot(AtomicPtr::new(ptr::null_mut()))).collect() }
    }
}

impl<T: Send> Slots<T> {
    /// Slots, beginning at one that differs from thread to thread: by where its stack lies.
    fn around(&self) -> impl Iterator<Item = &AtomicPtr<T>> {
        let here = 0u8;
        let (before, from) = self.slots.split_at((&raw const here as usize >> 16) % SLOTS);
        from.iter().chain(before).map(|slot| &slot.0)
    }

    /// One of the things, if one is there.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        let full = |slot: &&AtomicPtr<T>| !slot.load(Relaxed).is_null();
        let taken = self.around().filter(full).map(|slot| slot.swap(ptr::null_mut(), Acquire));
        let found = taken.into_iter().find(|taken| !taken.is_null())?;
        // SAFETY: the pointer came from a box in `give`, and the exchange made it this thread's alone.
        Some(unsafe { Box::from_raw(found) })
    }

    /// Puts a thing where the next one finds it; gives it up where there is no room.
    pub(crate) fn give(&self, thing: Box<T>) {
        let thing = Box::into_raw(thing);
        let empty = |slot: &&AtomicPtr<T>| slot.load(Relaxed).is_null();
        let put =
            |slot: &AtomicPtr<T>| slot.compare_exchange(ptr::null_mut(), thing, Release, Relaxed).is_ok();
        if !self.around().filter(empty).any(put) {
            // SAFETY: it came from a box above, and no slot has it.
            drop(unsafe { Box::from_raw(thing) });
        }
    }
}

impl<T: Send> Drop for Slots<T> {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;

    use super::*;

    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted(usize);
    impl Counted {
        fn new() -> Box<Self> {
            ALIVE.fetch_add(1, SeqCst);
            Box::new(Self(0))
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, SeqCst);
        }
    }

    #[test]
    fn each_thing_is_one_threads_at_a_time_and_all_are_freed() {
        let slots = Slots::<Counted>::default();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let mut thing = slots.take().unwrap_or_else(Counted::new);
                        // Two threads that had the same one would lose some of these.
                        thing.0 += 1;
                        slots.give(thing);
                    }
                });
            }
        });
        assert!(ALIVE.load(SeqCst) <= 8);
        let counts: usize = std::iter::from_fn(|| slots.take()).map(|thing| thing.0).sum();
        assert_eq!(counts, 8 * 2000);
        (0..2 * SLOTS).for_each(|_| slots.give(Counted::new()));
        assert_eq!(ALIVE.load(SeqCst), SLOTS);
        drop(slots);
        assert_eq!(ALIVE.load(SeqCst), 0);
    }
}
