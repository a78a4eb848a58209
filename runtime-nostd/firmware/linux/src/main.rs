//! Runs the package in a file on Linux and reports every step; ticks are nanoseconds. Exit codes are the other
//! families': 0, 1 for a reported fault, 2 where the file cannot be read or the report not be written.
//!
//! `secateur-linux PACKAGE [KERNELS [RUNS]]`: KERNELS are `tiled` or `reference`. After the report RUNS further runs
//! are made without one, so that what a run takes is the difference of two numbers of runs
//! (`runtime-nostd/arch/counts/linux`).
#![forbid(unsafe_code)]

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::{env, fs};

use secateur_job::Package;
use secateur_kernels::Tiled;
use secateur_runtime::artefact::Model;
use secateur_runtime::{Engine, Kernels, Reference};

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("secateur-linux: {error}");
            ExitCode::from(2)
        }
    }
}

fn start() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let argument = |n: usize| arguments.get(n).map(String::as_str);
    let path = argument(0).ok_or(io::Error::other("the file of a package is missing"))?;
    let package = fs::read(path)?;
    let runs = argument(2).unwrap_or("0").parse().map_err(io::Error::other)?;
    match argument(1).unwrap_or("tiled") {
        "tiled" => run(&package, Tiled, runs),
        "reference" => run(&package, Reference, runs),
        other => Err(io::Error::other(format!("there are no kernels {other}"))),
    }
}

fn run(package: &[u8], kernels: impl Kernels + Copy, runs: u32) -> io::Result<ExitCode> {
    let result = secateur_job::report(package, kernels, BufWriter::new(io::stdout().lock()))?;
    let parts = Package::from_bytes(package).filter(|_| result.is_ok());
    if let Some((parts, model)) =
        parts.and_then(|parts| Some((parts, Model::from_bytes(parts.artefact).ok()?)))
    {
        let mut arena = vec![0; model.arena_bytes()];
        let mut engine = Engine::with_kernels(&model, &mut arena, kernels).map_err(io::Error::other)?;
        (0..runs).for_each(|_| engine.run(parts.image, &mut ()));
    }
    Ok(ExitCode::from(u8::from(result.is_err())))
}
