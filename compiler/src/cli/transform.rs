use secateur::Result;

use super::Global;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args, _global: &Global) -> Result<()> {
    Err(secateur::Error::new("not built yet"))
}
