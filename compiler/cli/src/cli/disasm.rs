//! `disasm`: the commands of an accelerator's program.

use std::path::PathBuf;

use secateur_base::Result;
use secateur_base::terminal::print;
use secateur_deploy::{disassemble, read_artefact};

use super::Global;

/// List the commands of an artefact's accelerator program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur disasm yolo-fastest.sct | less
  secateur disasm yolo-fastest.sct | grep 'layer  12'

A line is a command: its place in its queue, the layer that it is charged to, the finished commands
of the LOAD, EXEC and STORE queue that it waits for, the cycles in which the model expects it, and
what it does.")]
pub(crate) struct Args {
    /// An artefact that was compiled for an accelerator.
    artefact: PathBuf,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let bytes = read_artefact(&args.artefact)?;
    let text = disassemble(&bytes).map_err(|e| e.file(&args.artefact))?;
    print(format_args!("{text}"));
    Ok(())
}
