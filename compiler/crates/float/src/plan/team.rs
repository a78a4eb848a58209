//! Threads that share the steps of one image.
//!
//! The caller's thread never waits for a helper that has not begun: parts are claimed one by one
//! from a counter, so that a busy pool only means that the caller does more of them itself. A rayon
//! loop for every step costs more than many steps do: a network has some 60 of them, of 20 to 500 µs.
//!
//! The memory ordering is model-checked: `RUSTFLAGS="--cfg loom" cargo test -p secateur-float --lib team`.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Step number that tells the helpers to leave.
const CLOSED: u64 = u32::MAX as u64;
/// Part number beyond those of any step: nothing can be claimed yet.
const NO_PART: u64 = u32::MAX as u64;

/// Calls `work(step, part, worker)` for every part of every step, with at most `threads` workers.
/// All parts of a step are done, and their writes visible, before the next step begins.
pub(super) fn run(
    threads: usize,
    steps: usize,
    parts: impl Fn(usize) -> usize + Sync,
    work: impl Fn(usize, usize, usize) + Sync,
) {
    if threads <= 1 {
        for step in 0..steps {
            (0..parts(step)).for_each(|part| work(step, part, 0));
        }
        return;
    }
    let claims = Claims::new();
    rayon::in_place_scope(|scope| {
        for worker in 1..threads {
            let (claims, parts, work) = (&claims, &parts, &work);
            scope.spawn(move |_| claims.help(worker, parts, work));
        }
        // Sends the helpers home even if a part panics, so that the scope can end.
        let _close = Close(&claims);
        for step in 0..steps {
            match parts(step) {
                1 => work(step, 0, 0),
                count if !claims.run_step(step, count, &work) => return, // the scope passes the panic on
                _ => {}
            }
        }
    });
}

/// Parts of the current step that are taken, and the number of finished ones.
struct Claims {
    /// High half: the step, low half: the next part to claim.
    next: AtomicU64,
    /// Finished parts of the current step.
    done: AtomicUsize,
    /// Set if a part panicked.
    failed: AtomicBool,
}

impl Claims {
    fn new() -> Self {
        Self { next: AtomicU64::new(NO_PART), done: AtomicUsize::new(0), failed: AtomicBool::new(false) }
    }

    /// The caller's side of one step of `count` parts; false if a part panicked.
    fn run_step(&self, step: usize, count: usize, work: &impl Fn(usize, usize, usize)) -> bool {
        // Nobody counts now: all parts of the step before are done.
        self.done.store(0, Ordering::Relaxed);
        self.next.store((step as u64) << 32, Ordering::Release);
        loop {
            let seen = self.next.load(Ordering::Acquire);
            if (seen & 0xffff_ffff) as usize >= count {
                break;
            }
            self.claim(seen, 0, &|_| count, work);
        }
        let mut idle = 0;
        while self.done.load(Ordering::Acquire) < count {
            pause(&mut idle);
        }
        !self.failed.load(Ordering::Relaxed)
    }

    /// A helper's side of all steps, until the claims are closed.
    fn help(&self, worker: usize, parts: &impl Fn(usize) -> usize, work: &impl Fn(usize, usize, usize)) {
        let mut idle = 0;
        loop {
            let seen = self.next.load(Ordering::Acquire);
            if seen >> 32 == CLOSED {
                return;
            }
            if self.claim(seen, worker, parts, work) {
                idle = 0;
            } else {
                pause(&mut idle);
            }
        }
    }

    /// Does the part that `seen` offers, unless there is none or another worker was faster.
    ///
    /// Step numbers never come twice, so an outdated `seen` cannot be claimed.
    fn claim(
        &self,
        seen: u64,
        worker: usize,
        parts: &impl Fn(usize) -> usize,
        work: &impl Fn(usize, usize, usize),
    ) -> bool {
        let (step, part) = ((seen >> 32) as usize, seen & 0xffff_ffff);
        if part == NO_PART
            || part as usize >= parts(step)
            || self.next.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        let _finish = Finish(self);
        work(step, part as usize, worker);
        true
    }
}

/// Counts a part as done when it is dropped, also by a panic.
struct Finish<'a>(&'a Claims);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.done.fetch_add(1, Ordering::Release);
    }
}

struct Close<'a>(&'a Claims);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.next.store(CLOSED << 32, Ordering::Release);
    }
}

/// Spins at first, then lets others run: the machine may have fewer free cores than threads.
fn pause(idle: &mut u32) {
    *idle += 1;
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    if idle.is_multiple_of(2048) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_and_steps_in_order() {
        for threads in 1..5 {
            let done: Vec<Vec<AtomicUsize>> =
                (0..40).map(|step| (0..step % 7 + 1).map(|_| AtomicUsize::new(0)).collect()).collect();
            run(
                threads,
                done.len(),
                |step| done[step].len(),
                |step, part, worker| {
                    assert!(worker < threads);
                    assert!(step == 0 || done[step - 1].iter().all(|part| part.load(Ordering::Relaxed) == 1));
                    done[step][part].fetch_add(1, Ordering::Relaxed);
                },
            );
            assert!(done.iter().flatten().all(|part| part.load(Ordering::Relaxed) == 1), "{threads} threads");
        }
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller() {
        for guilty in 0..3 {
            let caught = std::panic::catch_unwind(|| {
                run(2, 3, |_| 3, |step, part, _| assert!(step != 1 || part != guilty, "planned"));
            });
            assert!(caught.is_err());
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;

    /// Every interleaving of a caller and a helper over two steps: each part runs once, and the second step
    /// sees what the first wrote: loom gives relaxed loads every stale value that nothing orders.
    #[test]
    fn team_orders_the_writes_of_steps() {
        struct Shared {
            claims: Claims,
            cells: [[AtomicUsize; 2]; 2],
        }
        loom::model(|| {
            let cells = std::array::from_fn(|_| std::array::from_fn(|_| AtomicUsize::new(0)));
            let shared = Arc::new(Shared { claims: Claims::new(), cells });
            let work = |shared: &Shared, step: usize, part: usize| {
                if step > 0 {
                    for cell in &shared.cells[step - 1] {
                        assert_eq!(cell.load(Ordering::Relaxed), 1);
                    }
                }
                shared.cells[step][part].fetch_add(1, Ordering::Relaxed);
            };
            let other = Arc::clone(&shared);
            let helper = loom::thread::spawn(move || {
                other.claims.help(1, &|_| 2, &|step, part, _| work(&other, step, part));
            });
            for step in 0..2 {
                assert!(shared.claims.run_step(step, 2, &|step, part, _| work(&shared, step, part)));
            }
            drop(Close(&shared.claims));
            helper.join().unwrap();
            for cell in shared.cells.iter().flatten() {
                assert_eq!(cell.load(Ordering::Relaxed), 1);
            }
        });
    }
}
