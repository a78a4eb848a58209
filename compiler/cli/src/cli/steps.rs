//! The step cache of `build`: a step runs again only where its command or the content of its inputs changed.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur_base::{Error, Result, files};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One word of a step's command line.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    /// A verb, a flag or a value: counts as it is written.
    Text(String),
    /// A file that the step reads: its content counts, not its place.
    Input(PathBuf),
    /// A file that the step writes, named relative to the workspace.
    Output(&'static str),
}

/// One command of a build: `secateur` and these words.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Names the stamp file and the line that is printed.
    pub(crate) name: &'static str,
    pub(crate) words: Vec<Word>,
    /// Files that the step reads without their standing on its command line (pictures of a list).
    pub(crate) also_reads: Vec<PathBuf>,
    /// Files that the step writes beside those on its command line, named relative to the workspace.
    pub(crate) also_writes: Vec<&'static str>,
}

impl Step {
    /// The command line as a shell would read it, without the program's name; results lie in `folder`.
    pub(crate) fn command(&self, folder: &Path) -> Vec<String> {
        let text = |word: &Word| match word {
            Word::Text(text) => text.clone(),
            Word::Input(path) => path.display().to_string(),
            Word::Output(name) => folder.join(name).display().to_string(),
        };
        self.words.iter().map(text).collect()
    }

    fn outputs(&self) -> impl Iterator<Item = &'static str> {
        let named =
            self.words.iter().filter_map(|w| if let Word::Output(name) = w { Some(*name) } else { None });
        named.chain(self.also_writes.iter().copied())
    }
}

/// What a finished step leaves behind in `.steps/NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    key: String,
    /// SHA-256 of every output, in the order of the command line.
    outputs: Vec<String>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Reused,
    Ran,
}

/// The folder of a build: results, and stamps of the finished steps. Locked while it is open.
pub(crate) struct Workspace {
    folder: PathBuf,
    tool: String,
    hashes: HashMap<PathBuf, String>,
    _lock: File,
}

impl Workspace {
    /// Opens or creates the folder; another build at work in it is an error.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let stamps = folder.join(".steps");
        std::fs::create_dir_all(&stamps).map_err(|e| Error::io("create", &stamps, &e))?;
        let path = stamps.join("lock");
        let lock = File::create(&path).map_err(|e| Error::io("create", &path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new("another build is at work in this workspace")
                    .file(folder)
                    .help("wait for it, or give the recipe another workspace"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, &e)),
        }
        remove_leftovers(folder);
        // Another build of the tool may compute other results under the same version number.
        let exe =
            std::env::current_exe().map_err(|e| Error::new(format!("cannot find the own program: {e}")))?;
        Ok(Self { folder: folder.to_owned(), tool: hash_file(&exe)?, hashes: HashMap::new(), _lock: lock })
    }

    /// Runs `work` unless the same step was finished before and its outputs are untouched.
    pub(crate) fn run(&mut self, step: &Step, work: impl FnOnce(&[String]) -> Result<()>) -> Result<Outcome> {
        let key = self.key(step)?;
        let stamp = self.folder.join(".steps").join(format!("{}.json", step.name));
        if self.is_fresh(step, &stamp, &key) {
            eprintln!("{:<11} reused", step.name);
            return Ok(Outcome::Reused);
        }
        let command = step.command(&self.folder);
        eprintln!("{:<11} secateur {}", step.name, shell_line(&command));
        let started = Instant::now();
        work(&command)?;
        let mut outputs = Vec::new();
        for name in step.outputs() {
            let path = self.folder.join(name);
            self.hashes.remove(&path);
            outputs.push(self.hash(&path)?);
        }
        let json = serde_json::to_vec_pretty(&Stamp { key, outputs })
            .map_err(|e| Error::new(format!("cannot write a stamp: {e}")))?;
        files::write_bytes(&stamp, &json)?;
        eprintln!("{:<11} done in {:.1} s", step.name, started.elapsed().as_secs_f64());
        Ok(Outcome::Ran)
    }

    fn is_fresh(&mut self, step: &Step, stamp: &Path, key: &str) -> bool {
        let Ok(bytes) = std::fs::read(stamp) else { return false };
        let Ok(stamp) = serde_json::from_slice::<Stamp>(&bytes) else { return false };
        stamp.key == key
            && stamp.outputs.len() == step.outputs().count()
            && step.outputs().zip(&stamp.outputs).all(|(name, expected)| {
                let path = self.folder.join(name);
                self.hash(&path).is_ok_and(|found| found == *expected)
            })
    }

    fn key(&mut self, step: &Step) -> Result<String> {
        let mut key = Sha256::new();
        let mut part = |kind: &str, value: &str| {
            // Lengths keep neighbouring words apart.
            key.update(format!("{kind} {} ", value.len()));
            key.update(value);
        };
        part("tool", &self.tool.clone());
        for word in &step.words {
            match word {
                Word::Text(text) => part("text", text),
                Word::Input(path) => part("input", &self.hash(path)?),
                Word::Output(name) => part("output", name),
            }
        }
        for path in &step.also_reads {
            part("also", &self.hash(path)?);
        }
        for name in &step.also_writes {
            part("also output", name);
        }
        Ok(hex::encode(key.finalize()))
    }

    fn hash(&mut self, path: &Path) -> Result<String> {
        if let Some(hash) = self.hashes.get(path) {
            return Ok(hash.clone());
        }
        let hash = hash_file(path)?;
        self.hashes.insert(path.to_owned(), hash.clone());
        Ok(hash)
    }
}

/// A command line as a shell reads it.
pub(crate) fn shell_line(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@".contains(c);
    let quoted = words.iter().map(|word| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Removes what a killed build was writing; nobody else writes here while the folder is locked.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(files::TEMPORARY_PREFIX) {
            // What cannot be removed does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
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
            name: "copy",
            words: vec![Word::Text(flag.to_owned()), Word::Input(input.to_owned()), Word::Output("copy")],
            also_reads: Vec::new(),
            also_writes: Vec::new(),
        }
    }

    fn run(folder: &Path, step: &Step) -> Outcome {
        let mut workspace = Workspace::open(folder).unwrap();
        workspace
            .run(step, |command| {
                std::fs::copy(&command[1], &command[2]).map_err(|e| Error::new(e.to_string()))?;
                Ok(())
            })
            .unwrap()
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
    fn printed_commands_survive_a_shell() {
        let words = ["a b", "it's", "", "plain-1.0/x"].map(str::to_owned);
        assert_eq!(shell_line(&words), r"'a b' 'it'\''s' '' plain-1.0/x");
    }

    #[test]
    fn two_builds_do_not_share_a_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Workspace::open(folder.path()).unwrap();
        assert!(Workspace::open(folder.path()).is_err());
    }
}
