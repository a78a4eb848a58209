//! `completions`: a script with which a shell completes the command's arguments.

use clap::CommandFactory;
use clap_complete::Shell;
use secateur_base::Result;
use secateur_base::terminal::print;

use super::{Cli, Global};

/// Print a shell completion script.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur completions bash > ~/.local/share/bash-completion/completions/secateur
  secateur completions zsh > ~/.zfunc/_secateur
  secateur completions fish > ~/.config/fish/completions/secateur.fish")]
pub(crate) struct Args {
    /// The shell to write for.
    shell: Shell,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    // Generated into memory first: clap_complete panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "secateur", &mut script);
    print(format_args!("{}", String::from_utf8_lossy(&script)));
    Ok(())
}
