//! The `secateur` command: arguments → job → exit code (0 done, 1 failed, 2 usage).

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    fail_softly_on_closed_output();
    match cli::Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:?}", miette::Report::new(error));
            ExitCode::from(1)
        }
    }
}

/// `println!` panics where its output cannot be written: `secateur … | head` ends quietly instead, and a
/// full disk is an error like any other.
fn fail_softly_on_closed_output() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        match message.strip_prefix("failed printing to stdout: ") {
            Some(cause) if cause.contains("Broken pipe") => std::process::exit(0),
            Some(cause) => {
                eprintln!("Error: cannot write to the standard output: {cause}");
                std::process::exit(1)
            }
            None => default(panic),
        }
    }));
}
