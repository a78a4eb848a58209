//! Measured sensitivities, kept on disk: killed and run again, the file ends with the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Granularity;
use secateur_base::{Error, Result, files, limits, path_text};
use secateur_eval::Metric;

const FORMAT: &str = "secateur sensitivities";
const VERSION: u32 = 2;

/// The arithmetic in which losses are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numeric {
    #[default]
    Float,
    /// The int8 network's, calibrated anew for every candidate.
    Int8,
}

impl Numeric {
    fn is_float(&self) -> bool {
        *self == Self::Float
    }
}

/// Everything that a sensitivity depends on, besides group and count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// SHA-256 of cfg and weights.
    pub model: String,
    /// SHA-256 of the prepared images and their labels, in order.
    pub images: String,
    pub metric: Metric,
    pub granularity: Granularity,
    /// Name of the criterion.
    pub criterion: String,
    /// Consumers are reconstructed.
    pub reconstruction: bool,
    pub ridge: f64,
    pub seed: u64,
    /// Files in float do not say it.
    #[serde(default, skip_serializing_if = "Numeric::is_float")]
    pub numeric: Numeric,
}

/// The source of the images and the layers left out, for the steps that follow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    #[serde(default, with = "path_text")]
    pub data: Option<PathBuf>,
    #[serde(default, with = "path_text")]
    pub list: Option<PathBuf>,
    #[serde(default, with = "path_text")]
    pub names: Option<PathBuf>,
    /// The first so many images only.
    pub images: Option<usize>,
    pub ignored: Vec<usize>,
}

/// Loss of accuracy with one group cut down and all others whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    pub loss: f64,
    /// The loss is at least this: the measurement stopped when that was certain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// Sensitivities by (group, kept units).
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub setting: Setting,
    pub origin: Origin,
    points: BTreeMap<(usize, usize), Sensitivity>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreFile {
    format: String,
    version: u32,
    setting: Setting,
    origin: Origin,
    /// `[group, kept units, sensitivity]`, ascending.
    points: Vec<(usize, usize, Sensitivity)>,
}

/// The part that files of all versions have.
#[derive(Deserialize)]
pub(crate) struct Header {
    format: String,
    version: u32,
}

impl Header {
    pub(crate) fn of(bytes: &[u8], path: &Path) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| unreadable(path, &e))
    }

    pub(crate) fn is_current(&self, format: &str, version: u32) -> bool {
        (self.format.as_str(), self.version) == (format, version)
    }
}

pub(crate) fn unreadable(path: &Path, e: &serde_json::Error) -> Error {
    let what = Error::new(format!("not a file of measurements: {e}"));
    what.file(path).line(e.line()).column(e.column()).help("remove it to measure anew")
}

impl Store {
    pub fn new(setting: Setting, origin: Origin) -> Self {
        Self { setting, origin, points: BTreeMap::new() }
    }

    /// Points of `path` if it was made under the same setting, else an empty store.
    ///
    /// Fails if the file is there but is no such file, of any version.
    pub fn resume(setting: Setting, origin: Origin, path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::new(setting, origin));
        }
        let bytes = files::read_limited(path, limits::MAX_RESULT_BYTES)?;
        if Header::of(&bytes, path)?.is_current(FORMAT, VERSION) {
            let found = Self::load(path)?;
            if found.setting == setting {
                return Ok(Self { origin, ..found });
            }
        }
        tracing::warn!("{} was measured under other settings: starting anew", path.display());
        Ok(Self::new(setting, origin))
    }

    /// Reads a store.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, limits::MAX_RESULT_BYTES)?;
        let header = Header::of(&bytes, path)?;
        if !header.is_current(FORMAT, VERSION) {
            return Err(Error::new("not a sensitivity file of this version")
                .file(path)
                .found(format!("{} {}", header.format, header.version))
                .allowed(format!("{FORMAT} {VERSION}"))
                .help("make it anew with `secateur ana`"));
        }
        let file: StoreFile = serde_json::from_slice(&bytes).map_err(|e| unreadable(path, &e))?;
        let points = file.points.into_iter().map(|(group, keep, point)| ((group, keep), point)).collect();
        Ok(Self { setting: file.setting, origin: file.origin, points })
    }

    /// Writes all points, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let file = StoreFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            setting: self.setting.clone(),
            origin: self.origin.clone(),
            points: self.points.iter().map(|(&(group, keep), &point)| (group, keep, point)).collect(),
        };
        files::write_atomic(path, |w| {
            serde_json::to_writer_pretty(&mut *w, &file)?;
            writeln!(w)
        })
    }

    /// Takes over what another store of the same setting knows better.
    pub fn merge(&mut self, other: &Self) {
        for (&at, &point) in &other.points {
            let worse = |mine: &Sensitivity| mine.at_least && (!point.at_least || point.loss > mine.loss);
            if self.points.get(&at).is_none_or(worse) {
                self.points.insert(at, point);
            }
        }
    }

    pub fn insert(&mut self, group: usize, keep: usize, point: Sensitivity) {
        self.points.insert((group, keep), point);
    }

    /// The measured loss, if any.
    pub fn get(&self, group: usize, keep: usize) -> Option<Sensitivity> {
        self.points.get(&(group, keep)).copied()
    }

    /// Returns whether the loss stays within `threshold`; `None` if that is not known.
    pub fn holds(&self, group: usize, keep: usize, threshold: f64) -> Option<bool> {
        let point = self.get(group, keep)?;
        match point.at_least {
            true if point.loss <= threshold => None,
            true => Some(false),
            false => Some(point.loss <= threshold),
        }
    }

    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

/// SHA-256 of several byte strings, each with its length, in hex.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            model: "m".to_owned(),
            images: "i".to_owned(),
            metric: Metric::Dp,
            granularity: Granularity::Channel,
            criterion: "l1".to_owned(),
            reconstruction: true,
            ridge: 0.01,
            seed: 1,
            numeric: Numeric::Float,
        }
    }

    #[test]
    fn files_keep_every_bit_and_their_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ana.json");
        let mut store = Store::new(setting(), Origin::default());
        for (i, loss) in [0.1 + 0.2, 1.0 / 3.0, 5e-324, 0.0].into_iter().enumerate() {
            store.insert(i, 10 - i, Sensitivity { loss, at_least: i == 1 });
        }
        store.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let again = Store::resume(setting(), Origin::default(), &path).unwrap();
        assert_eq!(again, store);
        again.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let other = Setting { seed: 2, ..setting() };
        assert!(Store::resume(other, Origin::default(), &path).unwrap().is_empty());
        // Losses of float and int8 never mix.
        let int8 = Setting { numeric: Numeric::Int8, ..setting() };
        assert!(Store::resume(int8.clone(), Origin::default(), &path).unwrap().is_empty());
        Store::new(int8.clone(), Origin::default()).save(&path).unwrap();
        assert_eq!(Store::load(&path).unwrap().setting, int8);
        // Another version is measured anew, but is no input.
        let old = r#"{"format": "secateur sensitivities", "version": 1, "points": "of another form"}"#;
        std::fs::write(&path, old).unwrap();
        assert!(Store::resume(setting(), Origin::default(), &path).unwrap().is_empty());
        assert!(Store::load(&path).unwrap_err().what().contains("of this version"));
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Store::resume(setting(), Origin::default(), &path).is_err());
    }

    #[test]
    fn a_bound_answers_only_below_itself() {
        let mut store = Store::new(setting(), Origin::default());
        store.insert(0, 5, Sensitivity { loss: 0.02, at_least: true });
        store.insert(0, 6, Sensitivity { loss: 0.01, at_least: false });
        assert_eq!(store.holds(0, 5, 0.01), Some(false));
        assert_eq!(store.holds(0, 5, 0.03), None);
        assert_eq!(store.holds(0, 6, 0.01), Some(true));
        assert_eq!(store.holds(0, 7, 0.01), None);
    }
}
