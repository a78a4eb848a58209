//! The closed Darknet pruner's main file, read as it stands.
//!
//! ```text
//! [pruning]
//! workspace=pruning
//! datacfg=pruning/voc.data
//! modelcfg=pruning/yolov3-voc.cfg
//! kernel_batch=2
//! ignore_layer=80,81,92,93
//! threshold=0.005
//! ```
//! Paths are relative to the working folder, as there; one that does not exist is tried beside the
//! main file too. Keys of its GPU and fine-tuning set-up mean nothing here and are only logged.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Criterion;
use secateur_base::{Error, Result, files};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the main file sets; `None` where it is silent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MainFile {
    pub model_cfg: PathBuf,
    pub data: Option<PathBuf>,
    /// Folder of everything that is written.
    pub workspace: PathBuf,
    pub pruned_cfg: Option<PathBuf>,
    pub sensitivities: Option<PathBuf>,
    pub pruned_weights: Option<PathBuf>,
    pub criterion: Option<Criterion>,
    pub kernel_batch: Option<usize>,
    pub ignore_layers: Vec<usize>,
    /// One value, or one for each convolutional layer in order.
    pub thresholds: Vec<f64>,
}

impl MainFile {
    /// Whether a file that was given as a cfg is a main file: its first section is `[pruning]`.
    pub fn is_one(path: &Path) -> Result<bool> {
        let fail = |e| Error::io("read", path, &e);
        let mut head = Vec::new();
        std::fs::File::open(path).map_err(fail)?.take(1 << 16).read_to_end(&mut head).map_err(fail)?;
        let text = String::from_utf8_lossy(&head);
        let section = text.lines().map(str::trim).find(|line| !is_comment(line));
        Ok(section.is_some_and(|line| line.split_whitespace().collect::<String>() == "[pruning]"))
    }

    /// Reads a main file.
    ///
    /// Fails on a line that is no `key=value`, a value of the wrong kind, or a missing `modelcfg`.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, MAX_FILE_BYTES)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::new("not a text file").file(path).found(e.to_string()))?;
        let mut main = Self { workspace: PathBuf::from("pruning"), ..Self::default() };
        for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
            if is_comment(line) || line.starts_with('[') {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(at(path, number, "expected key=value", line));
            };
            main.set(path, number, key.trim(), value.trim())?;
        }
        if main.model_cfg.as_os_str().is_empty() {
            return Err(Error::new("the main file does not say which model to prune")
                .file(path)
                .section("pruning")
                .help("add modelcfg=PATH/TO/model.cfg"));
        }
        Ok(main)
    }

    fn set(&mut self, path: &Path, line: usize, key: &str, value: &str) -> Result<()> {
        match key {
            "workspace" => self.workspace = value.into(),
            "datacfg" => self.data = Some(beside(path, value)),
            "modelcfg" => self.model_cfg = beside(path, value),
            "prunedcfg" => self.pruned_cfg = Some(value.into()),
            "ana_out_file" => self.sensitivities = Some(value.into()),
            "prune_out_weights" => self.pruned_weights = Some(value.into()),
            "criteria" => {
                self.criterion = Some(match value {
                    "0" => Criterion::L1,
                    "1" => Criterion::L2,
                    _ => return Err(at(path, line, "unknown criterion", value).allowed("0 (L1) or 1 (L2)")),
                });
            }
            "kernel_batch" => match number(path, line, value)? {
                0 => return Err(at(path, line, "kernel_batch must be positive", value)),
                batch => self.kernel_batch = Some(batch),
            },
            "ignore_layer" => self.ignore_layers = numbers(path, line, value)?,
            "threshold" => {
                self.thresholds = numbers(path, line, value)?;
                if self.thresholds.iter().any(|threshold| !(0.0..=1.0).contains(threshold)) {
                    return Err(at(path, line, "threshold out of range", value).allowed("0 to 1"));
                }
            }
            // The kind of head is read from the model itself.
            "yolov3" | "is_yolov3" | "yolo_v3v4" => {}
            _ => tracing::warn!("{}:{line}: `{key}` means nothing here and is ignored", path.display()),
        }
        Ok(())
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with(['#', ';'])
}

/// A path as it stands if it exists, else beside the main file if it exists there.
fn beside(main: &Path, value: &str) -> PathBuf {
    let plain = PathBuf::from(value);
    if !plain.exists()
        && let Some(folder) = main.parent()
    {
        let tried = folder.join(value);
        if tried.exists() {
            return tried;
        }
    }
    plain
}

fn at(path: &Path, line: usize, what: &str, found: &str) -> Error {
    Error::new(what).file(path).line(line).section("pruning").found(found)
}

fn number<T: std::str::FromStr>(path: &Path, line: usize, value: &str) -> Result<T> {
    value.parse().map_err(|_| at(path, line, "not a number of the right kind", value))
}

fn numbers<T: std::str::FromStr>(path: &Path, line: usize, value: &str) -> Result<Vec<T>> {
    let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| number(path, line, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<MainFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.cfg");
        std::fs::write(&path, text).unwrap();
        assert!(MainFile::is_one(&path).unwrap());
        MainFile::load(&path)
    }

    #[test]
    fn reads_a_users_file() {
        let main = load(
            "# ours\n[pruning]\nworkspace=pruning\ndatacfg=pruning/voc.data\nmodelcfg=pruning/yolov3-voc.cfg\n\
             prunedcfg=pruning/yolov3-voc-prune.cfg\nana_out_file=pruning/ana.out\n\
             prune_out_weights=pruning/weights.prune\ncriteria=0\nkernel_batch=2\n\
             ignore_layer=80,81,92,93,104,105\nyolov3=1\nthreshold=0.005\n",
        )
        .unwrap();
        assert_eq!(main.model_cfg, Path::new("pruning/yolov3-voc.cfg"));
        assert_eq!(main.sensitivities.as_deref(), Some(Path::new("pruning/ana.out")));
        assert_eq!(main.criterion, Some(Criterion::L1));
        assert_eq!(main.kernel_batch, Some(2));
        assert_eq!(main.ignore_layers, [80, 81, 92, 93, 104, 105]);
        assert_eq!(main.thresholds, [0.005]);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let error = load("[pruning]\nmodelcfg=a.cfg\nkernel_batch=two\n").unwrap_err();
        assert_eq!(error.at_line(), Some(3));
        assert!(load("[pruning]\nmodelcfg=a.cfg\nthreshold=7\n").is_err());
        assert!(load("[pruning]\nworkspace=x\n").is_err());
        assert!(load("[pruning]\nmodelcfg\n").is_err());
    }
}
