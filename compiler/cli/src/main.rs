//! The `secateur` command: arguments → job → exit code (0 done, 1 failed, 2 usage, 70 internal error).

// `outln!` and `errln!` print text that may hold foreign parts, and never panic.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use secateur_base::terminal::eprint;
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
    // If this fails, nobody is left to be told.
    let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(error));
}

/// Prints help, version or a usage error; the code is 0 for what was asked for, else 2.
fn usage_code(usage: &clap::Error) -> ExitCode {
    use std::io::Write;
    if usage.use_stderr() {
        // It quotes the arguments, which a shell may have read from anywhere.
        eprint(format_args!("{}", usage.render()));
    } else if let Err(error) = usage.print().and_then(|()| std::io::stdout().flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        errln!("Error: cannot write to the standard output: {error}");
        return ExitCode::from(ErrorKind::Io.exit_code());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_have_their_codes() {
        let code = |result| format!("{:?}", exit_code(result));
        assert_eq!(code(Ok(())), format!("{:?}", ExitCode::from(0)));
        assert_eq!(code(Err(Error::new("a mistake"))), format!("{:?}", ExitCode::from(1)));
        assert_eq!(code(Err(Error::internal("a bug"))), format!("{:?}", ExitCode::from(70)));
    }
}
