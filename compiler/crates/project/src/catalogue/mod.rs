//! The catalogue of `configs/models`, and getting a model's files with their checksums verified.

mod download;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secateur_base::{Error, Result, files};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// `configs/models/*.toml`, in the order of `models list`.
const CATALOGUE: [&str; 10] = [
    include_str!("../../../../../configs/models/yolo-fastest-1.1.toml"),
    include_str!("../../../../../configs/models/yolo-fastest-1.1-xl.toml"),
    include_str!("../../../../../configs/models/mobilenetv2-yolov3-nano-coco.toml"),
    include_str!("../../../../../configs/models/mobilenetv2-yolo-fastest-voc-v1.toml"),
    include_str!("../../../../../configs/models/yoloface-500k-v2.toml"),
    include_str!("../../../../../configs/models/yoloface-50k.toml"),
    include_str!("../../../../../configs/models/ir-small-v4-40x40.toml"),
    include_str!("../../../../../configs/models/ir-small-1chan-v1-40x40.toml"),
    include_str!("../../../../../configs/models/violence-origin.toml"),
    include_str!("../../../../../configs/models/violence-v1_a-slim.toml"),
];

/// One `configs/models/NAME.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    pub description: String,
    pub licence: String,
    pub licence_url: String,
    /// Page of the upstream commit.
    pub source: String,
    pub files: Vec<RemoteFile>,
}

/// A file of a model and the checksum that it must have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    pub save_as: String,
    pub url: String,
    pub bytes: u64,
    pub sha256: String,
}

/// The origin of a model's files.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The address in the catalogue; gives up where nothing arrives for this long.
    Download { stall_limit: Duration },
    /// `DIR/FILE` or `DIR/NAME/FILE`.
    Folder(PathBuf),
}

/// The fate of one file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// It was there before, with the right checksum.
    Present,
    /// It was verified and written; its size in bytes.
    Written(usize),
}

/// All known models.
///
/// # Errors
/// A file of the catalogue is malformed: a bug.
pub fn models() -> Result<Vec<Model>> {
    CATALOGUE.iter().map(|text| files::parse_toml(Path::new("configs/models"), text)).collect()
}

/// The model called `name`.
///
/// # Errors
/// There is none; the known ones are named.
pub fn find(name: &str) -> Result<Model> {
    let models = models()?;
    let names = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
    models.into_iter().find(|model| model.name == name).ok_or_else(|| {
        Error::new("no such model")
            .found(name)
            .allowed(names)
            .help("`secateur models list` describes each of them")
    })
}

impl Model {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Gets one file into `folder`; returns its path and its fate. Nothing is written before it is verified.
    ///
    /// # Errors
    /// The file cannot be had, is not the one that the catalogue means, or cannot be written.
    pub fn get(&self, file: &RemoteFile, origin: &Origin, folder: &Path) -> Result<(PathBuf, Got)> {
        let path = folder.join(&file.save_as);
        if files::read_limited(&path, file.bytes).is_ok_and(|bytes| digest(&bytes) == file.sha256) {
            return Ok((path, Got::Present));
        }
        let bytes = match origin {
            Origin::Folder(from) => self.copy(file, from)?,
            Origin::Download { stall_limit } => download::download(file, *stall_limit)?,
        };
        files::write_bytes(&path, &bytes)?;
        Ok((path, Got::Written(bytes.len())))
    }

    fn copy(&self, file: &RemoteFile, folder: &Path) -> Result<Vec<u8>> {
        let candidates = [folder.join(&self.name).join(&file.save_as), folder.join(&file.save_as)];
        let path = candidates.iter().find(|path| path.is_file()).ok_or_else(|| {
            Error::new(format!("no {} of {} in this folder", file.save_as, self.name))
                .file(folder)
                .allowed(format!("{} or {}", candidates[0].display(), candidates[1].display()))
        })?;
        let bytes = files::read_limited(path, file.bytes.max(1 << 20))?;
        file.verify(&path.display().to_string(), &bytes)?;
        Ok(bytes)
    }
}

impl RemoteFile {
    fn verify(&self, origin: &str, bytes: &[u8]) -> Result<()> {
        let found = digest(bytes);
        if found == self.sha256 {
            return Ok(());
        }
        Err(Error::new(format!("{origin} is not the file that the catalogue means"))
            .found(format!("{} bytes, sha256 {found}", bytes.len()))
            .allowed(format!("{} bytes, sha256 {}", self.bytes, self.sha256))
            .help("nothing was written; get the file from the address in configs/models"))
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_holds_every_config_and_each_is_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../configs/models");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        on_disk.sort();
        let mut models = models().unwrap();
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

    #[test]
    fn a_file_with_another_checksum_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (from, out) = (folder.path().join("from"), folder.path().join("out"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("model.cfg"), "[net]\n").unwrap();
        let model = find("yoloface-50k").unwrap();
        let error = model.get(&model.files[0], &Origin::Folder(from), &out).unwrap_err();
        assert!(error.to_string().contains("sha256") && !out.exists(), "{error}");
    }
}
