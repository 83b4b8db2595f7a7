//! Interrupts.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Failure, tell};

/// Whether somebody asked the program to end. The first time it is only remembered; later the program ends at once.
pub(crate) struct Interrupts(Arc<AtomicUsize>);

/// Within this time a signal is the same one again: some send it to a process and to its group.
const AGAIN: Duration = Duration::from_millis(100);

impl Interrupts {
    pub(crate) fn watch() -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::Work(format!("signals: {e}"));
        let found = Arc::new(AtomicUsize::new(0));
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let first = found.clone();
        let watch = move || {
            let mut since = None;
            for signal in signals.forever() {
                let begun = *since.get_or_insert_with(Instant::now);
                if first.swap(signal as usize, Ordering::Relaxed) == 0 {
                    if io::stderr().is_terminal() {
                        tell("this step is finished and kept; once more ends at once");
                    }
                } else if begun.elapsed() > AGAIN {
                    std::process::exit(128 + signal);
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
        Ok(Self(found))
    }

    /// The exit code of the signal that came, if one did.
    pub(crate) fn code(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(128 + signal as u8),
        }
    }
}

/// Has a file that grows beyond what the system allows be an error of writing, and not the end of the program.
pub(crate) fn survive_full_quota() {
    // Where there is no such signal, nothing has to be survived.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}
