//! Ctrl-C while a training runs: the first one ends it after its batch, the second at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use secateur_base::{Error, Result, errln};

/// A training is under way; without one an interrupt ends the program, as if nothing caught it.
static TRAINING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);
/// The exit code of a program that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Catches interrupts while it lives. A process trains once at a time.
pub(super) struct Interrupt(());

impl Interrupt {
    /// # Errors
    /// The system does not let interrupts be caught.
    pub(super) fn catch() -> Result<Self> {
        // A build trains several times in one process, which can set its handler once.
        static HANDLER: OnceLock<std::result::Result<(), String>> = OnceLock::new();
        let set = HANDLER.get_or_init(|| ctrlc::set_handler(on_interrupt).map_err(|e| e.to_string()));
        set.as_ref().map_err(|e| Error::new(format!("cannot catch interrupts: {e}")))?;
        ASKED.store(false, Ordering::Relaxed);
        TRAINING.store(true, Ordering::Relaxed);
        Ok(Self(()))
    }

    /// Returns whether the training is to end.
    pub(super) fn is_asked(&self) -> bool {
        ASKED.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        TRAINING.store(false, Ordering::Relaxed);
    }
}

fn on_interrupt() {
    if !TRAINING.load(Ordering::Relaxed) || ASKED.swap(true, Ordering::Relaxed) {
        std::process::exit(INTERRUPTED);
    }
    errln!("stopping after this batch; once more to stop at once");
}
