//! `probe`: the debug probes that `flash` can use.

use clap::Subcommand;
use secateur_base::Result;

use super::Global;

/// List the debug probes that `flash` can use.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the probes that are plugged in: what `flash --probe` takes, and their names.
    List,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    match args.action {
        Action::List => list(),
    }
}

#[cfg(feature = "probe")]
fn list() -> Result<()> {
    use secateur_base::outln;

    let probes = secateur_boards::probes();
    if probes.is_empty() {
        outln!("no debug probe is plugged in");
    }
    for probe in probes {
        outln!("{probe}");
    }
    Ok(())
}

#[cfg(not(feature = "probe"))]
fn list() -> Result<()> {
    Err(missing())
}

/// What is said where the command was built without probes.
#[cfg(not(feature = "probe"))]
pub(super) fn missing() -> secateur_base::Error {
    secateur_base::Error::new("this secateur was built without debug probes")
        .help("build it with them: cargo install --path compiler/cli --features probe")
}
