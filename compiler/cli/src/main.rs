//! The `secateur` command: arguments → job → exit code (0 done, 1 failed, 2 usage, 70 internal error).

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use secateur_base::terminal::{eprint, print};
use secateur_base::{Error, ErrorKind, Result, errln};

mod cli;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    // Unwinding removes temporary files on the way.
    let result = catch_unwind(AssertUnwindSafe(|| match cli::Cli::parse_checked() {
        Ok(cli) => exit_code(cli.execute()),
        Err(usage) => usage_code(&usage),
    }));
    result.unwrap_or(ExitCode::from(ErrorKind::Internal.exit_code()))
}

fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.kind().exit_code();
            print_error(error);
            ExitCode::from(code)
        }
    }
}

/// The error with its source line and, on a terminal, in colour. Its parts are made harmless by its own `Display`.
fn print_error(error: Error) {
    use std::io::Write;
    // Where this fails, nobody is left who could be told.
    let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(error));
}

/// Prints help, version or a usage error: 0 for what was asked for, else 2.
fn usage_code(usage: &clap::Error) -> ExitCode {
    let text = usage.render();
    if usage.use_stderr() {
        eprint(format_args!("{text}"));
    } else {
        print(format_args!("{text}"));
    }
    ExitCode::from(usage.exit_code().clamp(0, 255) as u8)
}

/// A panic is a bug of ours: says so, and what to do.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let location = panic.location().map(|location| format!(" ({}:{})", location.file(), location.line()));
    errln!(
        "Error: internal error: {message}{}\n\
         help: this is a bug in secateur {}: please report it with the command and its input files",
        location.unwrap_or_default(),
        env!("CARGO_PKG_VERSION")
    );
}
