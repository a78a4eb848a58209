//! Progress of anything that may take over a second: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::errln;

/// How long work runs before the first plain line, and between two of them.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Counts finished units of a job whose length is known; shows the remaining time.
pub struct Progress {
    bar: Option<ProgressBar>,
    label: String,
    total: u64,
    plain: Mutex<Plain>,
}

struct Plain {
    done: u64,
    started: Instant,
    printed: Instant,
}

impl Progress {
    /// Starts a job of `total` units; `label` is a few words: "analysing 57 groups".
    pub fn new(label: impl Into<String>, total: u64) -> Self {
        let label = label.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}, {eta} left")
                .expect("the template is a constant")
                .progress_chars("=> ");
            ProgressBar::new(total).with_style(style).with_message(label.clone())
        });
        let now = Instant::now();
        Self { bar, label, total, plain: Mutex::new(Plain { done: 0, started: now, printed: now }) }
    }

    /// Reports `units` more as done. May be called from several threads.
    pub fn advance(&self, units: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(units);
            return;
        }
        let mut plain = self.plain.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        plain.done += units;
        if plain.printed.elapsed() < PLAIN_INTERVAL || plain.done == 0 {
            return;
        }
        plain.printed = Instant::now();
        let left = plain.started.elapsed().as_secs_f64() * self.total.saturating_sub(plain.done) as f64
            / plain.done as f64;
        errln!("{}: {}/{}, {left:.0} s left", self.label, plain.done, self.total);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
