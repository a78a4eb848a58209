//! The closed Darknet pruner's config file, read as it stands.
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
//! config file too. A comment may follow a value. Keys of its GPU set-up mean nothing here and are only logged.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Criterion;
use super::criteria;
use secateur_base::{Error, Result, files, limits};

/// The settings of a config file; `None` where it is silent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigFile {
    pub model_cfg: PathBuf,
    pub data: Option<PathBuf>,
    /// Folder of everything that is written.
    pub workspace: PathBuf,
    pruned_cfg: Option<PathBuf>,
    pub sensitivities: Option<PathBuf>,
    pruned_weights: Option<PathBuf>,
    pub criterion: Option<&'static dyn Criterion>,
    pub kernel_batch: Option<usize>,
    pub ignore_layers: Vec<usize>,
    /// One value, or one for each convolutional layer in order.
    pub thresholds: Vec<f64>,
}

impl ConfigFile {
    /// The config file at a path that was given as a network's cfg; `None` where that is the cfg itself. The
    /// first section of a config file is `[pruning]`.
    ///
    /// # Errors
    /// As [`ConfigFile::load`].
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let fail = |e| Error::io("read", path, &e);
        let mut head = Vec::new();
        std::fs::File::open(path).map_err(fail)?.take(1 << 16).read_to_end(&mut head).map_err(fail)?;
        let text = String::from_utf8_lossy(&head);
        let section = text.lines().map(str::trim).find(|line| !is_comment(line)).map(without_comment);
        match section.is_some_and(|line| line.split_whitespace().collect::<String>() == "[pruning]") {
            true => Self::load(path).map(Some),
            false => Ok(None),
        }
    }

    /// Reads a config file.
    ///
    /// Fails on a line that is no `key=value`, a value of the wrong kind, or a missing `modelcfg`.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, limits::MAX_TEXT_BYTES)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::new("not a text file").file(path).found(e.to_string()))?;
        let mut config = Self { workspace: PathBuf::from("pruning"), ..Self::default() };
        for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
            if is_comment(line) || line.starts_with('[') {
                continue;
            }
            let Some((key, value)) = without_comment(line).split_once('=') else {
                return Err(at(path, number, "expected key=value", line));
            };
            config.set(path, number, key.trim(), value.trim())?;
        }
        if config.model_cfg.as_os_str().is_empty() {
            return Err(Error::new("the config file does not name the model to prune")
                .file(path)
                .section("pruning")
                .help("add modelcfg=PATH/TO/model.cfg"));
        }
        Ok(config)
    }

    /// The cfg of the pruned network, for its training: as named, or `NAME-prune.cfg` in the workspace.
    pub fn pruned_cfg(&self) -> PathBuf {
        self.pruned_cfg.clone().unwrap_or_else(|| {
            let mut name = self.model_cfg.file_stem().unwrap_or_default().to_owned();
            name.push("-prune.cfg");
            self.workspace.join(name)
        })
    }

    /// The weights that `prune` writes: as named, or `weights.prune` in the workspace.
    pub fn pruned_weights(&self) -> PathBuf {
        self.pruned_weights.clone().unwrap_or_else(|| self.workspace.join("weights.prune"))
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
                self.criterion = Some(match before_comment(value) {
                    "0" => &criteria::L1,
                    "1" => &criteria::L2,
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

/// A line up to a comment: `#` or `;` at its start or after a blank, as in Darknet's .cfg files.
fn without_comment(line: &str) -> &str {
    let begins =
        |(at, c): &(usize, char)| matches!(c, '#' | ';') && line[..*at].ends_with(char::is_whitespace);
    line.char_indices().find(begins).map_or(line, |(at, _)| line[..at].trim_end())
}

/// A path as it stands if it exists, else beside the config file if it exists there.
fn beside(config: &Path, value: &str) -> PathBuf {
    let plain = PathBuf::from(value);
    if !plain.exists()
        && let Some(folder) = config.parent()
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

/// A number up to a comment, which needs no blank before it.
fn before_comment(value: &str) -> &str {
    value.split(['#', ';']).next().unwrap_or(value).trim()
}

fn number<T: std::str::FromStr>(path: &Path, line: usize, value: &str) -> Result<T> {
    before_comment(value).parse().map_err(|_| at(path, line, "not a number of the right kind", value))
}

fn numbers<T: std::str::FromStr>(path: &Path, line: usize, value: &str) -> Result<Vec<T>> {
    let parts = before_comment(value).split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| number(path, line, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<ConfigFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pruning.cfg");
        std::fs::write(&path, text).unwrap();
        ConfigFile::open(&path).map(|config| config.expect("its first section is [pruning]"))
    }

    #[test]
    fn reads_a_users_file() {
        let config = load(
            "# ours\n[pruning]\nworkspace=pruning\ndatacfg=pruning/voc.data\nmodelcfg=pruning/yolov3-voc.cfg\n\
             prunedcfg=pruning/yolov3-voc-prune.cfg\nana_out_file=pruning/ana.out\n\
             prune_out_weights=pruning/weights.prune\ncriteria=0\nkernel_batch=2\n\
             ignore_layer=80,81,92,93,104,105\nyolov3=1\nthreshold=0.005\n",
        )
        .unwrap();
        assert_eq!(config.model_cfg, Path::new("pruning/yolov3-voc.cfg"));
        assert_eq!(config.pruned_cfg(), Path::new("pruning/yolov3-voc-prune.cfg"));
        assert_eq!(config.pruned_weights(), Path::new("pruning/weights.prune"));
        assert_eq!(config.sensitivities.as_deref(), Some(Path::new("pruning/ana.out")));
        assert_eq!(config.criterion, Some(&criteria::L1 as &dyn Criterion));
        assert_eq!(config.kernel_batch, Some(2));
        assert_eq!(config.ignore_layers, [80, 81, 92, 93, 104, 105]);
        assert_eq!(config.thresholds, [0.005]);
    }

    #[test]
    fn files_without_names_are_in_the_workspace() {
        let config = load("[pruning]\nworkspace=work\nmodelcfg=nets/a.cfg\n").unwrap();
        assert_eq!(config.pruned_cfg(), Path::new("work/a-prune.cfg"));
        assert_eq!(config.pruned_weights(), Path::new("work/weights.prune"));
    }

    #[test]
    fn comments_may_follow_values() {
        let config = load(
            "[pruning] # ours\nmodelcfg=my#net.cfg ; a name with a number sign\nthreshold=0.02 # two percent\n\
             kernel_batch=8;lanes\n",
        )
        .unwrap();
        assert_eq!(config.model_cfg, Path::new("my#net.cfg"));
        assert_eq!((config.thresholds, config.kernel_batch), (vec![0.02], Some(8)));
    }

    #[test]
    fn a_networks_own_cfg_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.cfg");
        std::fs::write(&path, "# [pruning]\n[net]\nwidth=32\n[pruning]\n").unwrap();
        assert_eq!(ConfigFile::open(&path).unwrap(), None);
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
