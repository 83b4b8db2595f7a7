//! Interrupts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Failure;

/// Whether somebody asked the program to end. The first time it is only remembered; the second time the program ends at once.
pub(crate) struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    pub(crate) fn watch() -> Result<Self, Failure> {
        let (found, twice) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds nothing yet.
            flag::register_conditional_shutdown(signal, 128 + signal, twice.clone())
                .and_then(|_| flag::register_usize(signal, found.clone(), signal as usize))
                .and_then(|_| flag::register(signal, twice.clone()))
                .map_err(|e| Failure::Work(format!("signals: {e}")))?;
        }
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
