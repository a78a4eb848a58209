//! `models`: the catalogue of `configs/models`, and getting its files with their checksums verified.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Subcommand;
use secateur_base::{Error, Result, files};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Global;

/// `configs/models/*.toml`, in the order of `models list`.
const CATALOGUE: [&str; 10] = [
    include_str!("../../../../configs/models/yolo-fastest-1.1.toml"),
    include_str!("../../../../configs/models/yolo-fastest-1.1-xl.toml"),
    include_str!("../../../../configs/models/mobilenetv2-yolov3-nano-coco.toml"),
    include_str!("../../../../configs/models/mobilenetv2-yolo-fastest-voc-v1.toml"),
    include_str!("../../../../configs/models/yoloface-500k-v2.toml"),
    include_str!("../../../../configs/models/yoloface-50k.toml"),
    include_str!("../../../../configs/models/ir-small-v4-40x40.toml"),
    include_str!("../../../../configs/models/ir-small-1chan-v1-40x40.toml"),
    include_str!("../../../../configs/models/violence-origin.toml"),
    include_str!("../../../../configs/models/violence-v1_a-slim.toml"),
];

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

Without --from the files are downloaded through curl, which must be installed.")]
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
}

/// One `configs/models/NAME.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    description: String,
    licence: String,
    licence_url: String,
    /// Page of the upstream commit.
    source: String,
    files: Vec<RemoteFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteFile {
    save_as: String,
    url: String,
    bytes: u64,
    sha256: String,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    match args.action {
        Action::List => list(),
        Action::Get(job) => get(&job),
    }
}

fn catalogue() -> Result<Vec<Model>> {
    CATALOGUE.iter().map(|text| files::parse_toml(Path::new("configs/models"), text)).collect()
}

fn list() -> Result<()> {
    for model in catalogue()? {
        let bytes: u64 = model.files.iter().map(|f| f.bytes).sum();
        println!("{:<32} {:>6.2} MB  {}", model.name, bytes as f64 / 1e6, model.description);
        println!("{:<43} {}, {}", "", model.licence, model.source);
    }
    Ok(())
}

fn get(job: &Get) -> Result<()> {
    let models = catalogue()?;
    let Some(model) = models.iter().find(|m| m.name == job.name) else {
        let names: Vec<_> = models.iter().map(|m| m.name.as_str()).collect();
        return Err(Error::new("no such model")
            .found(&job.name)
            .allowed(names.join(", "))
            .help("`secateur models list` says what each one is"));
    };
    let out = job.out.clone().unwrap_or_else(|| Path::new("models").join(&model.name));
    for file in &model.files {
        let path = out.join(&file.save_as);
        if std::fs::read(&path).is_ok_and(|bytes| digest(&bytes) == file.sha256) {
            println!("{}: already there", path.display());
            continue;
        }
        let bytes = match &job.from {
            Some(folder) => copy(folder, &model.name, file)?,
            None => download(file)?,
        };
        files::write_bytes(&path, &bytes)?;
        println!("{}: {} bytes, checksum right", path.display(), bytes.len());
    }
    println!("licence: {} ({})", model.licence, model.licence_url);
    Ok(())
}

fn copy(folder: &Path, name: &str, file: &RemoteFile) -> Result<Vec<u8>> {
    let candidates = [folder.join(name).join(&file.save_as), folder.join(&file.save_as)];
    let path = candidates.iter().find(|p| p.is_file()).ok_or_else(|| {
        Error::new(format!("no {} of {name} in this folder", file.save_as)).file(folder).allowed(format!(
            "{} or {}",
            candidates[0].display(),
            candidates[1].display()
        ))
    })?;
    let bytes = files::read_limited(path, file.bytes.max(1 << 20))?;
    verify(&path.display().to_string(), &bytes, file)?;
    Ok(bytes)
}

fn download(file: &RemoteFile) -> Result<Vec<u8>> {
    let fail = |what: String| {
        Error::new(what).help(format!("fetch {} yourself and use --from DIR with its folder", file.url))
    };
    eprintln!("downloading {}", file.url);
    let mut curl = Command::new("curl")
        .args(["--fail", "--silent", "--show-error", "--location", "--proto", "=https", "--retry", "3"])
        .args(["--connect-timeout", "30", "--", &file.url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| fail(format!("cannot start curl: {e}")))?;
    let mut bytes = Vec::new();
    let stdout = curl.stdout.take().ok_or_else(|| fail("curl has no output".to_owned()))?;
    // A server that sends more than announced is cut off, not stored.
    let read = stdout.take(file.bytes + 1).read_to_end(&mut bytes);
    let status = curl.wait().map_err(|e| fail(format!("curl did not end: {e}")))?;
    read.map_err(|e| fail(format!("cannot read from curl: {e}")))?;
    if !status.success() && bytes.len() as u64 <= file.bytes {
        return Err(fail(format!("cannot download {} (curl: {status})", file.url)));
    }
    verify(&file.url, &bytes, file)?;
    Ok(bytes)
}

fn verify(origin: &str, bytes: &[u8], file: &RemoteFile) -> Result<()> {
    let found = digest(bytes);
    if found == file.sha256 {
        return Ok(());
    }
    Err(Error::new(format!("{origin} is not the file that the catalogue means"))
        .found(format!("{} bytes, sha256 {found}", bytes.len()))
        .allowed(format!("{} bytes, sha256 {}", file.bytes, file.sha256))
        .help("nothing was written; get the file from the address in configs/models"))
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_holds_every_config_and_each_is_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/models");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        on_disk.sort();
        let mut models = catalogue().unwrap();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        let mut names: Vec<String> = models.iter().map(|m| format!("{}.toml", m.name)).collect();
        names.sort();
        assert_eq!(names, on_disk);
        for model in models {
            let files: Vec<_> = model.files.iter().map(|f| f.save_as.as_str()).collect();
            assert_eq!(files, ["model.cfg", "model.weights", "names"], "{}", model.name);
            for file in &model.files {
                assert_eq!(hex::decode(&file.sha256).unwrap().len(), 32);
                assert!(file.url.starts_with("https://"));
            }
        }
    }
}
