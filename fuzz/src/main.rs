//! Fuzzing on stable Rust: mutates the committed corpora, keeps what took a new way, saves what failed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, panic};

use clap::Parser;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_fuzz::{Outcome, TARGETS, Target, committed, mutate, seeds, target};

/// An input that takes longer is a finding.
const SLOW: Duration = Duration::from_secs(10);
/// What a target may take beyond its time before it counts as hung.
const GRACE: Duration = Duration::from_secs(60);
/// Inputs that are kept beside the committed ones.
const KEPT: usize = 4096;

#[derive(Debug, Parser)]
#[command(about = "Runs the fuzz targets on mutated inputs; what fails is saved in fuzz/artifacts/TARGET")]
struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Executions of each target, where they come first.
    #[arg(long, default_value_t = u64::MAX)]
    executions: u64,
    /// Of the mutations; another one is other inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the corpora anew, from the project's own code.
    #[arg(long)]
    write_corpora: bool,
    /// Saves each input before it runs, so that one which ends the process is there afterwards.
    #[arg(long, hide = true)]
    record: bool,
    /// Runs in this process.
    #[arg(long, hide = true)]
    worker: bool,
    /// Those to run; all without any.
    targets: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut chosen = Vec::new();
    for name in &args.targets {
        let Some(target) = target(name) else {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("no target {name}; there are {}", names.join(", "));
            return ExitCode::from(2);
        };
        chosen.push(target);
    }
    if chosen.is_empty() {
        chosen.extend(TARGETS);
    }
    let mut failed = false;
    for target in chosen {
        failed |= match (args.write_corpora, args.worker) {
            (true, _) => !write_corpus(target),
            (false, true) => !work(target, &args),
            (false, false) => !supervise(target, &args),
        };
    }
    ExitCode::from(u8::from(failed))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn write_corpus(target: &Target) -> bool {
    let folder = root().join("corpus").join(target.name);
    let write = || {
        fs::create_dir_all(&folder)?;
        seeds(target.name).iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
    };
    write().inspect_err(|error| eprintln!("{}: {error}", folder.display())).is_ok()
}

/// Runs a target in a process of its own, since an input may end it; once more with every input recorded
/// where it did.
fn supervise(target: &Target, args: &Args) -> bool {
    let run = |record: bool| {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--worker", "--seconds", &args.seconds.to_string(), "--seed", &args.seed.to_string()]);
        command.args(["--executions", &args.executions.to_string(), target.name]);
        command.args(record.then_some("--record"));
        let mut child = command.spawn()?;
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.code());
            }
            if started.elapsed() > Duration::from_secs(args.seconds) * 2 + GRACE {
                child.kill()?;
                child.wait()?;
                return Ok::<_, std::io::Error>(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    match run(false) {
        Ok(Some(code)) => code == 0,
        Ok(None) => {
            eprintln!("{}: the process was ended; once more to find the input", target.name);
            let _ = run(true);
            eprintln!("{}: the last input is {}", target.name, artifacts(target).join("last").display());
            false
        }
        Err(error) => {
            eprintln!("{}: {error}", target.name);
            false
        }
    }
}

fn artifacts(target: &Target) -> PathBuf {
    root().join("artifacts").join(target.name)
}

fn save(target: &Target, name: &str, bytes: &[u8]) -> PathBuf {
    let path = artifacts(target).join(name);
    let written = fs::create_dir_all(artifacts(target)).and_then(|()| fs::write(&path, bytes));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
    path
}

/// Mutates and runs until time or executions are used up; whether nothing failed.
fn work(target: &Target, args: &Args) -> bool {
    let rng = &mut ChaCha8Rng::seed_from_u64(args.seed);
    let mut inputs: Vec<Vec<u8>> = committed(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    let beginning = inputs.len();
    let mut seen = std::collections::HashSet::<Outcome>::new();
    let (started, mut executions) = (Instant::now(), 0);
    let limit = Duration::from_secs(args.seconds);
    while executions < args.executions && started.elapsed() < limit {
        let empty = Vec::new();
        // Half of the time what was there from the beginning, which is the most valid.
        let pool = if rng.random() { &inputs[..beginning] } else { &inputs[..] };
        let input = pool.choose(rng).unwrap_or(&empty);
        let other = inputs.choose(rng).unwrap_or(&empty);
        let bytes = mutate::mutate(rng, input, other, target.words);
        if args.record {
            save(target, "last", &bytes);
        }
        let before = Instant::now();
        let result = panic::catch_unwind(|| (target.run)(&bytes));
        let spent = before.elapsed();
        executions += 1;
        let failure = match result {
            Ok(_) if spent > SLOW => Some("slow"),
            Ok(_) => None,
            Err(_) => Some("panic"),
        };
        if let Some(kind) = failure {
            let path = save(target, &format!("{kind}-{:016x}", Outcome::of(&bytes).0), &bytes);
            eprintln!("{}: {kind} after {executions} executions, {spent:?}: {}", target.name, path.display());
            return false;
        }
        if result.is_ok_and(|outcome| seen.insert(outcome)) {
            if inputs.len() < beginning + KEPT {
                inputs.push(bytes);
            } else {
                let at = rng.random_range(beginning..inputs.len());
                inputs[at] = bytes;
            }
        }
    }
    println!(
        "{:<12} {executions:>10} executions in {:>4} s, {} ways",
        target.name,
        started.elapsed().as_secs(),
        seen.len()
    );
    true
}
