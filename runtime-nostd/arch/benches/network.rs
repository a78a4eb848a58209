//! Whole networks on this machine, by the executor for x86-64 and by the portable kernels.
//!
//! ```text
//! network ARTEFACT LEVEL [profile]
//! ```
//!
//! LEVEL is `avx512vnni`, `avxvnni`, `avx2` or `portable`. For each line of its input the program runs the network
//! once and prints the milliseconds of the processor's time that its thread took, which other work on the machine does
//! not lengthen as it does the clock's; `peers/compare.py` alternates it with other runtimes. With `profile` it prints the
//! microseconds of each step, the least of 200 runs. Without arguments it does nothing: `cargo test` calls it so.

#[cfg(target_arch = "x86_64")]
fn main() {
    use std::io::BufRead;
    use std::time::Instant;

    use secateur_kernels::HostKernels;
    use secateur_kernels::x86::{Level, Memory, Plan};
    use secateur_runtime::Engine;
    use secateur_runtime::artefact::Model;

    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [artefact, level, rest @ ..] = &arguments[..] else { return };
    let bytes = std::fs::read(artefact).expect("the artefact can be read");
    let model = Model::from_bytes(&bytes).expect("it is one");
    let level = match &level[..] {
        "avx512vnni" => Some(Level::Avx512Vnni),
        "avxvnni" => Some(Level::AvxVnni),
        "avx2" => Some(Level::Avx2),
        _ => None,
    };
    let plan =
        level.map(|level| Plan::with_level(&model, level).expect("this processor has the instructions"));
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine =
        Engine::with_kernels(&model, &mut arena, HostKernels).expect("the arena is large enough");
    let image: Vec<i8> =
        (0..model.input_shape().iter().product::<usize>()).map(|i| (i * 31 % 251) as i8).collect();
    let mut memory = Memory::default();
    if let (Some(plan), [profile]) = (&plan, rest)
        && profile == "profile"
    {
        let mut least = vec![f64::MAX; model.step_count()];
        for _ in 0..200 {
            let mut last = Instant::now();
            plan.run_timed(&mut memory, &mut engine, &image, |step| {
                let now = Instant::now();
                let time = (now - last).as_secs_f64() * 1e6;
                last = now;
                least[step.index()] = least[step.index()].min(time);
            });
        }
        for (step, time) in model.steps().zip(least) {
            let [h, w, c] = step.input(0).expect("it was checked").shape();
            let out = step.output().expect("it was checked").shape();
            let kernel = step.record().kernel_h.get();
            let kind = step.kind().expect("it was checked");
            println!("{time:8.1} {kind:?} {kernel} {h}x{w}x{c} -> {out:?}");
        }
        return;
    }
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            return;
        }
        let start = thread_time();
        match &plan {
            Some(plan) => plan.run(&mut memory, &mut engine, &image),
            None => engine.run(&image, &mut ()),
        }
        println!("{}", (thread_time() - start) * 1e3);
    }
}

/// Seconds that the thread has run.
#[cfg(target_arch = "x86_64")]
fn thread_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the function writes one `timespec`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the system has a clock for each thread");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}
