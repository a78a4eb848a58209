//! `models`: lists the catalogue, and gets a model's files with their checksums verified.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use secateur_base::{Result, outln};
use secateur_project::catalogue::{self, Got, Origin};

use super::Global;

/// List known models, or get one with its checksums verified.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the known models with size, licence and origin.
    List,
    /// Get a model's cfg, weights and names; every file's SHA-256 is verified before it is written.
    #[command(after_help = "Examples:
  secateur models get yolo-fastest-1.1
  secateur models get yolo-fastest-1.1 --from ../shared/data/models
  secateur models get yoloface-50k -o nets/face

Without --from the files are downloaded by the command `curl`, which must be installed.")]
    Get(Get),
}

#[derive(Debug, clap::Args)]
struct Get {
    /// Name of the model, as `models list` prints it.
    name: String,
    /// Copy from this folder (DIR/FILE or DIR/NAME/FILE) instead of downloading.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Folder to write into [default: models/NAME].
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Give up on a server that stays silent for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    stall_limit: u16,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    match args.action {
        Action::List => list(),
        Action::Get(job) => get(job),
    }
}

fn list() -> Result<()> {
    for model in catalogue::models()? {
        outln!("{:<32} {:>6.2} MB  {}", model.name, model.bytes() as f64 / 1e6, model.description);
        outln!("{:<43} {}, {}", "", model.licence, model.source);
    }
    Ok(())
}

fn get(job: Get) -> Result<()> {
    let model = catalogue::find(&job.name)?;
    let folder = job.out.unwrap_or_else(|| Path::new("models").join(&model.name));
    let origin = match job.from {
        Some(from) => Origin::Folder(from),
        None => Origin::Download { stall_limit: Duration::from_secs(job.stall_limit.into()) },
    };
    for file in &model.files {
        match model.get(file, &origin, &folder)? {
            (path, Got::Present) => outln!("{}: already there", path.display()),
            (path, Got::Written(bytes)) => outln!("{}: {bytes} bytes, checksum OK", path.display()),
        }
    }
    outln!("licence: {} ({})", model.licence, model.licence_url);
    Ok(())
}
