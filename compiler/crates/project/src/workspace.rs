//! The step cache of a build: a step runs again only if its command or the content of its inputs changed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use secateur_base::{Error, Result, errln, files};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Arg, Step, shell_line};

/// Folder of the stamps of finished steps, in the workspace.
const STAMPS: &str = ".steps";
/// Folder of the checkpoints, logs and curves of trainings, in the workspace.
pub(crate) const TRAINING: &str = "training";
/// Folders of the workspace that builds write to.
const FOLDERS: [&str; 4] = ["", STAMPS, "detections", TRAINING];

/// The record of a finished step in `.steps/NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    key: String,
    /// SHA-256 of every output, in the order of the command line.
    outputs: Vec<String>,
}

/// The work that a step caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Reused,
    Ran,
}

/// The folder of a build: results, and stamps of the finished steps. Locked while it is open.
pub struct Workspace {
    folder: PathBuf,
    /// SHA-256 of this program: another build of it may compute other results under the same version number.
    tool: String,
    hashes: HashMap<PathBuf, Hashed>,
    _lock: File,
}

/// The hash of a file, and the state that the file was in.
struct Hashed {
    length: u64,
    modified: Option<SystemTime>,
    sha256: String,
}

impl Workspace {
    /// Opens or creates the folder and removes what a killed build left half-written.
    ///
    /// # Errors
    /// Another build is at work in the folder, or it cannot be written.
    pub fn open(folder: &Path) -> Result<Self> {
        let stamps = folder.join(STAMPS);
        std::fs::create_dir_all(&stamps).map_err(|e| Error::io("create", &stamps, &e))?;
        let lock = files::lock(&stamps.join("lock"))?.ok_or_else(|| {
            Error::new("another build is at work in this workspace")
                .file(folder)
                .help("wait for it, or give the recipe another workspace")
        })?;
        for name in FOLDERS {
            // Nobody else writes here while the folder is locked: leftovers are of dead builds, however young.
            files::remove_leftovers(&folder.join(name), Duration::ZERO);
        }
        let exe =
            std::env::current_exe().map_err(|e| Error::new(format!("cannot find the own program: {e}")))?;
        Ok(Self { folder: folder.to_owned(), tool: hash_file(&exe)?, hashes: HashMap::new(), _lock: lock })
    }

    /// Runs `work` unless the same step was finished before and its outputs are untouched.
    ///
    /// # Errors
    /// Those of `work`; a file that cannot be read; an input that changed while the step read it.
    pub fn run(&mut self, step: &Step, work: impl FnOnce(&[OsString]) -> Result<()>) -> Result<Outcome> {
        let key = self.key(step)?;
        let stamp = self.folder.join(STAMPS).join(format!("{}.json", step.name));
        if self.is_fresh(step, &stamp, &key) {
            errln!("{:<16} reused", step.name);
            return Ok(Outcome::Reused);
        }
        let command = step.command(&self.folder);
        errln!("{:<16} secateur {}", step.name, shell_line(&command));
        let started = Instant::now();
        work(&command)?;
        if self.key(step)? != key {
            return Err(Error::new(format!("an input of step `{}` changed while the step ran", step.name))
                .file(&self.folder)
                .help("start the build again when nothing writes to its inputs"));
        }
        let outputs = step.outputs().map(|name| self.hash(&self.folder.join(name))).collect::<Result<_>>()?;
        let json = serde_json::to_vec_pretty(&Stamp { key, outputs })
            .map_err(|e| Error::internal(format!("a stamp does not serialise: {e}")))?;
        files::write_bytes(&stamp, &json)?;
        errln!("{:<16} done in {:.1} s", step.name, started.elapsed().as_secs_f64());
        Ok(Outcome::Ran)
    }

    /// Removes what a step that failed may have left of an earlier build.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn discard(&self, step: &Step) -> Result<()> {
        for path in step.outputs().map(|name| self.folder.join(name)).filter(|path| path.exists()) {
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        Ok(())
    }

    fn is_fresh(&mut self, step: &Step, stamp: &Path, key: &str) -> bool {
        let Ok(bytes) = std::fs::read(stamp) else { return false };
        let Ok(stamp) = serde_json::from_slice::<Stamp>(&bytes) else { return false };
        stamp.key == key
            && stamp.outputs.len() == step.outputs().count()
            && step.outputs().zip(&stamp.outputs).all(|(name, expected)| {
                self.hash(&self.folder.join(name)).is_ok_and(|found| found == *expected)
            })
    }

    /// SHA-256 of everything that the step's results depend on.
    fn key(&mut self, step: &Step) -> Result<String> {
        let mut key = Sha256::new();
        let mut part = |kind: &str, value: &[u8]| {
            // Lengths keep neighbouring arguments apart.
            key.update(format!("{kind} {} ", value.len()));
            key.update(value);
        };
        part("tool", self.tool.as_bytes());
        for arg in &step.args {
            match arg {
                Arg::Text(text) => part("text", text.as_bytes()),
                Arg::Input(path) => part("input", self.hash(path)?.as_bytes()),
                Arg::NamedInput(path) => {
                    part("input", self.hash(path)?.as_bytes());
                    part("name", path.file_name().unwrap_or_default().as_encoded_bytes());
                }
                Arg::Output(name) => part("output", name.as_bytes()),
                Arg::Folder(name) => part("folder", name.as_bytes()),
            }
        }
        for path in &step.also_reads {
            part("also", self.hash(path)?.as_bytes());
        }
        for name in &step.also_writes {
            part("also output", name.as_bytes());
        }
        Ok(hex::encode(key.finalize()))
    }

    /// SHA-256 of a file; one that was hashed before is read again only if its length or time changed.
    fn hash(&mut self, path: &Path) -> Result<String> {
        let fail = |e: std::io::Error| Error::io("read", path, &e);
        let metadata = std::fs::metadata(path).map_err(fail)?;
        let modified = metadata.modified().ok();
        if let Some(known) = self.hashes.get(path).filter(|known| known.is_of(&metadata)) {
            return Ok(known.sha256.clone());
        }
        let sha256 = hash_file(path)?;
        let hashed = Hashed { length: metadata.len(), modified, sha256: sha256.clone() };
        self.hashes.insert(path.to_owned(), hashed);
        Ok(sha256)
    }
}

impl Hashed {
    fn is_of(&self, metadata: &Metadata) -> bool {
        self.length == metadata.len() && self.modified.is_some() && self.modified == metadata.modified().ok()
    }
}

fn hash_file(path: &Path) -> Result<String> {
    let fail = |e: std::io::Error| Error::io("read", path, &e);
    let mut hasher = Sha256::new();
    let mut file = File::open(path).map_err(fail)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut block).map_err(fail)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(&block[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_step(input: &Path, flag: &str) -> Step {
        Step {
            name: "copy".to_owned(),
            args: vec![
                Arg::Text(flag.to_owned()),
                Arg::Input(input.to_owned()),
                Arg::Output("copy".to_owned()),
            ],
            also_reads: Vec::new(),
            also_writes: Vec::new(),
            is_optional: false,
        }
    }

    fn copy(command: &[OsString]) -> Result<()> {
        std::fs::copy(&command[1], &command[2]).map_err(|e| Error::new(e.to_string()))?;
        Ok(())
    }

    fn run(folder: &Path, step: &Step) -> Outcome {
        Workspace::open(folder).unwrap().run(step, copy).unwrap()
    }

    #[test]
    fn a_step_is_reused_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (input, out) = (folder.path().join("input"), folder.path().join("out"));
        std::fs::write(&input, "one").unwrap();
        let step = copy_step(&input, "-a");
        assert_eq!(run(&out, &step), Outcome::Ran);
        assert_eq!(run(&out, &step), Outcome::Reused);
        assert_eq!(run(&out, &copy_step(&input, "-b")), Outcome::Ran, "another flag");
        std::fs::write(&input, "two").unwrap();
        assert_eq!(run(&out, &copy_step(&input, "-b")), Outcome::Ran, "another input");
        std::fs::write(out.join("copy"), "tw").unwrap();
        assert_eq!(run(&out, &copy_step(&input, "-b")), Outcome::Ran, "a damaged output");
        std::fs::remove_file(out.join("copy")).unwrap();
        assert_eq!(run(&out, &copy_step(&input, "-b")), Outcome::Ran, "a missing output");
        let moved = folder.path().join("moved");
        std::fs::rename(&input, &moved).unwrap();
        assert_eq!(run(&out, &copy_step(&moved, "-b")), Outcome::Reused, "the same content elsewhere");
    }

    #[test]
    fn a_name_that_the_result_holds_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, "x").unwrap();
        std::fs::write(&two, "x").unwrap();
        let step = |path: &Path| Step {
            args: vec![
                Arg::Text("-a".into()),
                Arg::NamedInput(path.to_owned()),
                Arg::Output("copy".to_owned()),
            ],
            ..copy_step(path, "")
        };
        assert_eq!(run(folder.path(), &step(&one)), Outcome::Ran);
        assert_eq!(run(folder.path(), &step(&one)), Outcome::Reused);
        assert_eq!(run(folder.path(), &step(&two)), Outcome::Ran);
    }

    #[test]
    fn a_failed_step_is_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        std::fs::write(&input, "one").unwrap();
        let step = copy_step(&input, "-a");
        let mut workspace = Workspace::open(folder.path()).unwrap();
        assert!(workspace.run(&step, |_| Err(Error::new("no"))).is_err());
        drop(workspace);
        assert_eq!(run(folder.path(), &step), Outcome::Ran);
    }

    #[test]
    fn an_input_that_changes_under_a_step_is_no_finished_step() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        std::fs::write(&input, "one").unwrap();
        let step = copy_step(&input, "-a");
        let mut workspace = Workspace::open(folder.path()).unwrap();
        let result = workspace.run(&step, |command| {
            copy(command)?;
            std::fs::write(&command[1], "another").map_err(|e| Error::new(e.to_string()))
        });
        assert!(result.unwrap_err().to_string().contains("changed while"));
        assert_eq!(workspace.run(&step, copy).unwrap(), Outcome::Ran);
        assert_eq!(std::fs::read(folder.path().join("copy")).unwrap(), b"another");
    }

    #[test]
    fn leftovers_of_a_killed_build_go_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let left = FOLDERS.map(|name| folder.path().join(name).join(".secateur-killed"));
        for path in &left {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "half").unwrap();
        }
        Workspace::open(folder.path()).unwrap();
        assert!(left.iter().all(|path| !path.exists()));
    }

    #[test]
    fn two_builds_do_not_share_a_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Workspace::open(folder.path()).unwrap();
        assert!(Workspace::open(folder.path()).is_err());
    }
}
