//! Threads that share the steps of one picture.
//!
//! The caller's thread never waits for a helper that has not begun: parts are claimed one by one
//! from a counter, so that a busy pool only means that the caller does more of them itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Step number that tells the helpers to leave.
const CLOSED: u64 = u32::MAX as u64;

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
    // High half: the step, low half: the next part to claim.
    let next = AtomicU64::new(pack(0, u64::from(u32::MAX)));
    let done = AtomicUsize::new(0);
    // Leaves even if a part panics, so that the scope below can end.
    struct Close<'a>(&'a AtomicU64);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.store(pack(CLOSED, 0), Ordering::Release);
        }
    }
    let failed = AtomicUsize::new(0);
    let claim = |seen: u64, worker: usize| -> bool {
        let (step, part) = ((seen >> 32) as usize, (seen & 0xffff_ffff) as usize);
        if part >= parts(step)
            || next.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        struct Count<'a>(&'a AtomicUsize, &'a AtomicUsize);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.1.fetch_add(1, Ordering::Relaxed);
                }
                self.0.fetch_add(1, Ordering::Release);
            }
        }
        let _count = Count(&done, &failed);
        work(step, part, worker);
        true
    };
    let helper = |worker: usize| {
        let mut idle = 0u32;
        loop {
            let seen = next.load(Ordering::Acquire);
            if seen >> 32 == CLOSED {
                return;
            }
            if claim(seen, worker) {
                idle = 0;
            } else {
                idle += 1;
                pause(idle);
            }
        }
    };
    rayon::in_place_scope(|scope| {
        for worker in 1..threads {
            let helper = &helper;
            scope.spawn(move |_| helper(worker));
        }
        let _close = Close(&next);
        for step in 0..steps {
            let count = parts(step);
            if count == 1 {
                work(step, 0, 0);
                continue;
            }
            done.store(0, Ordering::Relaxed);
            next.store(pack(step as u64, 0), Ordering::Release);
            loop {
                let seen = next.load(Ordering::Acquire);
                if (seen & 0xffff_ffff) as usize >= count {
                    break;
                }
                claim(seen, 0);
            }
            let mut idle = 0u32;
            while done.load(Ordering::Acquire) < count {
                idle += 1;
                pause(idle);
            }
            if failed.load(Ordering::Relaxed) > 0 {
                return; // the scope passes the helper's panic on
            }
        }
    });
}

fn pack(step: u64, part: u64) -> u64 {
    step << 32 | part
}

/// Spins at first, then lets others run: the machine may have fewer free cores than threads.
fn pause(idle: u32) {
    if idle.is_multiple_of(2048) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}
