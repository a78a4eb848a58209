//! Threads that share the steps of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Looks at the state before a worker goes to sleep: some tens of microseconds, more than steps are apart.
const SPINS: u32 = 2000;
/// Every so many runs the slower way is tried again.
const PROBE: u32 = 32;

/// A piece of work in numbered parts.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Threads that compute parts of a step beside the caller's.
///
/// The caller takes parts from the front, workers from the back: over many steps each thread finds in its cache what
/// it wrote. Nobody waits for a worker that has not begun a part, so that one which the system does not run costs
/// nothing but its help. A worker that is interrupted inside a part does delay the run; [`Team`] measures runs with and
/// without its workers and prefers what is faster on the machine as it is.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    pace: Pace,
}

#[derive(Debug)]
struct Shared {
    /// Number of the piece of work, the first part that nobody took, the part after the last that nobody took:
    /// 32, 16 and 16 bits.
    state: AtomicU64,
    /// Parts that workers have finished of the piece of work.
    done: AtomicUsize,
    /// A [`Work`] on the caller's stack, valid until all its parts are done.
    work: AtomicPtr<Work<'static>>,
    /// A worker sleeps, or is about to.
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
}

const PART: u64 = 0xFFFF;

impl Shared {
    /// Takes a part, from the front or from the back; `None` where none is left.
    fn take(&self, front: bool) -> Option<usize> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let (first, end) = (state >> 16 & PART, state & PART);
            if first >= end {
                return None;
            }
            let (next, part) = if front { (state + (1 << 16), first) } else { (state - 1, end - 1) };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(part as usize),
                Err(found) => state = found,
            }
        }
    }

    /// A worker's life.
    fn serve(&self, number: usize) {
        let mut idle = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(part) = self.take(false) {
                // SAFETY: a part was taken, so that the caller waits inside `share` until `done` counts it, where the
                // work is alive; the state that showed the part was written after the pointer.
                let work = unsafe { &*self.work.load(Ordering::Relaxed) };
                let _done = Done(&self.done);
                work(part);
                idle = 0;
            } else if idle < SPINS {
                idle += 1;
                std::hint::spin_loop();
            } else {
                self.asleep[number].store(true, Ordering::SeqCst);
                // The caller writes the state before it looks for sleepers.
                let state = self.state.load(Ordering::SeqCst);
                if state >> 16 & PART >= state & PART && !self.stop.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep[number].store(false, Ordering::SeqCst);
                idle = 0;
            }
        }
    }
}

/// Counts a part when it is dropped: a panic in it must not leave the caller waiting.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Team {
    /// A team of `threads` threads, of which the caller is one.
    pub fn new(threads: usize) -> Self {
        let count = threads.clamp(1, 64) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            work: AtomicPtr::new(std::ptr::null_mut()),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
        });
        let worker = |number| {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("secateur-kernels".to_owned());
            // A system that gives no more threads leaves a smaller team.
            builder.spawn(move || shared.serve(number)).ok()
        };
        let workers = (0..count).map_while(worker).collect();
        Self { shared, workers, pace: Pace::default() }
    }

    /// Threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` for each of `parts` parts and returns when all are done.
    pub(super) fn share(&self, parts: usize, work: Work<'_>) {
        if parts < 2 || self.workers.is_empty() {
            (0..parts).for_each(work);
            return;
        }
        debug_assert!(parts as u64 <= PART);
        // The pointer's lifetime ends with this function, which no worker's use of it outlasts.
        let mut pointer: Work<'_> = work;
        self.shared.work.store(std::ptr::from_mut(&mut pointer).cast(), Ordering::Relaxed);
        self.shared.done.store(0, Ordering::Relaxed);
        let number = (self.shared.state.load(Ordering::Relaxed) >> 32) + 1;
        self.shared.state.store(number << 32 | parts as u64, Ordering::SeqCst);
        for (asleep, worker) in self.shared.asleep.iter().zip(&self.workers) {
            if asleep.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let finished = Finished { shared: &self.shared, parts, own: std::cell::Cell::new(0) };
        while let Some(part) = self.shared.take(true) {
            finished.own.set(finished.own.get() + 1);
            work(part);
        }
    }

    /// Runs `run` with the team or with the caller alone, whichever was faster of late.
    pub(super) fn paced(&mut self, run: impl FnOnce(Option<&Self>)) {
        let together = !self.workers.is_empty() && self.pace.together();
        let start = Instant::now();
        run(together.then_some(&*self));
        self.pace.note(together, start.elapsed());
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    }
}

/// Waits when it is dropped, after a panic too, until workers have finished the parts that they took.
struct Finished<'a> {
    shared: &'a Shared,
    parts: usize,
    /// Parts that the caller took.
    own: std::cell::Cell<usize>,
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        // What nobody took is the caller's after a panic: there is no one else to wait for.
        let mut own = self.own.get();
        while self.shared.take(true).is_some() {
            own += 1;
        }
        let mut spins = 0u32;
        while self.shared.done.load(Ordering::Acquire) + own < self.parts {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Times of runs of both ways.
#[derive(Debug, Default)]
struct Pace {
    runs: u32,
    /// Smoothed seconds of runs alone and together.
    times: [Option<f64>; 2],
}

impl Pace {
    /// Whether the next run is the team's.
    fn together(&self) -> bool {
        match self.times {
            [_, None] => true,
            [None, _] => false,
            // The other way now and then: the machine's other work comes and goes.
            [Some(alone), Some(together)] => (together < alone) != (self.runs % PROBE == PROBE - 1),
        }
    }

    fn note(&mut self, together: bool, time: Duration) {
        self.runs = self.runs.wrapping_add(1);
        let time = time.as_secs_f64();
        let known = &mut self.times[usize::from(together)];
        // The first runs find cold memory: a better time replaces theirs at once.
        *known =
            Some(known.map_or(time, |known| if time < known { time } else { known + (time - known) / 4.0 }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_computed_once() {
        for threads in [1, 2, 5] {
            let team = Team::new(threads);
            for parts in (0..200).chain([60_000]) {
                let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                team.share(parts, &|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                if parts % 50 == 0 {
                    // Workers go to sleep.
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_tried() {
        let mut pace = Pace::default();
        let mut ways = [0, 0];
        for run in 0..1000 {
            let together = pace.together();
            ways[usize::from(together)] += 1;
            // The other processors are taken for the second half.
            let time = if together && run >= 500 {
                3
            } else if together {
                1
            } else {
                2
            };
            pace.note(together, Duration::from_millis(time));
        }
        assert!(ways[1] > 460 && ways[1] < 540, "{ways:?}");
    }
}
