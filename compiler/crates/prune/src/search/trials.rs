//! Trials: joint losses that a search has measured, kept on disk, so that a killed search resumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Setting;
use crate::store::{Header, unreadable};
use secateur_base::{Result, files, limits};
use secateur_eval::Accuracy;

const FORMAT: &str = "secateur joint losses";
const VERSION: u32 = 2;

/// Accuracies on the held-out images, by the number of units that every group keeps.
#[derive(Debug, Default)]
pub struct Trials {
    known: BTreeMap<Vec<usize>, Accuracy>,
    file: Option<(PathBuf, [Setting; 2])>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialsFile {
    format: String,
    version: u32,
    /// The setting under which candidates are made.
    analysed: Setting,
    /// The setting under which they are measured.
    held_out: Setting,
    /// `[kept units of every group, accuracy]`, ascending.
    trials: Vec<(Vec<usize>, Accuracy)>,
}

impl Trials {
    /// Those of `path` if they were made under the same settings, else none; new ones are saved there.
    ///
    /// Fails if the file is there but is no such file.
    pub fn resume(analysed: Setting, held_out: Setting, path: &Path) -> Result<Self> {
        let mut known = BTreeMap::new();
        if path.exists() {
            let bytes = files::read_limited(path, limits::MAX_RESULT_BYTES)?;
            let mut taken = false;
            if Header::of(&bytes, path)?.is_current(FORMAT, VERSION) {
                let found: TrialsFile = serde_json::from_slice(&bytes).map_err(|e| unreadable(path, &e))?;
                taken = (&found.analysed, &found.held_out) == (&analysed, &held_out);
                if taken {
                    known.extend(found.trials);
                }
            }
            if !taken {
                tracing::warn!("{} was measured under other settings: starting anew", path.display());
            }
        }
        Ok(Self { known, file: Some((path.to_owned(), [analysed, held_out])) })
    }

    /// The accuracy of the pruning that keeps `keep`, if it was measured.
    pub fn get(&self, keep: &[usize]) -> Option<Accuracy> {
        self.known.get(keep).copied()
    }

    /// Adds a measured one and saves.
    pub fn insert(&mut self, keep: &[usize], accuracy: Accuracy) -> Result<()> {
        self.known.insert(keep.to_vec(), accuracy);
        let Some((path, [analysed, held_out])) = &self.file else { return Ok(()) };
        let file = TrialsFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            analysed: analysed.clone(),
            held_out: held_out.clone(),
            trials: self.known.iter().map(|(keep, &accuracy)| (keep.clone(), accuracy)).collect(),
        };
        files::write_atomic(path, |w| {
            serde_json::to_writer(&mut *w, &file)?;
            writeln!(w)
        })
    }
}
