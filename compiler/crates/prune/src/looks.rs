//! Joint losses that a search has measured, kept on disk: a search that was killed goes on from there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Setting;
use secateur_base::{Error, Result, files};
use secateur_eval::Accuracy;

const FORMAT: &str = "secateur joint losses";
const VERSION: u32 = 1;
const MAX_FILE_BYTES: u64 = 1 << 28;

/// Accuracies on the held-out pictures, by the units that every group keeps.
#[derive(Debug, Default)]
pub struct Looks {
    known: BTreeMap<Vec<usize>, Accuracy>,
    file: Option<(PathBuf, [Setting; 2])>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LooksFile {
    format: String,
    version: u32,
    /// What candidates are made with.
    analysed: Setting,
    /// What they are measured on.
    held_out: Setting,
    /// `[kept units of every group, accuracy]`, ascending.
    looks: Vec<(Vec<usize>, Accuracy)>,
}

impl Looks {
    /// Those of `path` if they were made under the same settings, else none; new ones are saved there.
    ///
    /// Fails if the file is there but is no such file.
    pub fn resume(analysed: Setting, held_out: Setting, path: &Path) -> Result<Self> {
        let mut known = BTreeMap::new();
        if path.exists() {
            let bytes = files::read_limited(path, MAX_FILE_BYTES)?;
            let found: LooksFile = serde_json::from_slice(&bytes).map_err(|e| {
                let what = Error::new(format!("not a file of joint losses: {e}"));
                what.file(path).line(e.line()).column(e.column()).help("remove it to measure them anew")
            })?;
            let same = (&found.analysed, &found.held_out) == (&analysed, &held_out);
            if same && found.format == FORMAT && found.version == VERSION {
                known.extend(found.looks);
            } else {
                tracing::warn!("{} was measured under other settings: starting anew", path.display());
            }
        }
        Ok(Self { known, file: Some((path.to_owned(), [analysed, held_out])) })
    }

    /// The accuracy of what keeps `keep`, if it was measured.
    pub fn get(&self, keep: &[usize]) -> Option<Accuracy> {
        self.known.get(keep).copied()
    }

    /// Adds a measured one and saves.
    pub fn insert(&mut self, keep: &[usize], accuracy: Accuracy) -> Result<()> {
        self.known.insert(keep.to_vec(), accuracy);
        let Some((path, [analysed, held_out])) = &self.file else { return Ok(()) };
        let file = LooksFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            analysed: analysed.clone(),
            held_out: held_out.clone(),
            looks: self.known.iter().map(|(keep, &accuracy)| (keep.clone(), accuracy)).collect(),
        };
        files::write_atomic(path, |w| {
            serde_json::to_writer(&mut *w, &file)?;
            writeln!(w)
        })
    }
}
