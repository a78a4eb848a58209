//! Files: read with a clear error, write whole or not at all.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Error, Result};

/// What the names of files begin with that are being written.
pub const TEMPORARY_PREFIX: &str = ".secateur-";

/// How old an unlocked temporary file is before it counts as left by a killed process: its writer locks it
/// within this time.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);

/// Reads a whole file; more than `limit` bytes are an error before memory is taken for them.
///
/// The limit holds for what is read, not only for the size that the system reports: devices and pipes report 0.
///
/// # Errors
/// The file cannot be read, or is larger than `limit`.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| Error::io("read", path, &e);
    let too_large = |found: String| {
        Error::new("file is too large")
            .file(path)
            .found(found)
            .allowed(format!("at most {limit} bytes"))
            .help("check that this is the file you meant")
    };
    let file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    if size > limit {
        return Err(too_large(format!("{size} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Creates the file and locks it until it is dropped; `None` if another process holds the lock. The kernel gives up
/// the lock of a process that was killed.
///
/// # Errors
/// The file cannot be created, or its file system has no locks.
pub fn lock(path: &Path) -> Result<Option<File>> {
    let file = File::create(path).map_err(|e| Error::io("create", path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path, &e)),
    }
}

/// Refuses a command that would write over one of its inputs, or write two results to one file.
///
/// Files are the same if their paths or, where they exist, what links and mounts make of them are.
///
/// # Errors
/// Names the output and what it would destroy.
pub fn refuse_overwrite(inputs: &[impl AsRef<Path>], outputs: &[impl AsRef<Path>]) -> Result<()> {
    let with_identity = |path: &Path| (path.to_owned(), Identity::of(path));
    let inputs: Vec<(PathBuf, Identity)> = inputs.iter().map(|path| with_identity(path.as_ref())).collect();
    let mut written: Vec<(&Path, Identity)> = Vec::new();
    for output in outputs.iter().map(AsRef::as_ref) {
        let identity = Identity::of(output);
        if identity.is_device {
            continue;
        }
        if let Some((input, _)) = inputs.iter().find(|(_, input)| input.same(&identity)) {
            return Err(Error::new("the output would overwrite an input")
                .file(output)
                .found(format!("{} is read by the same command", input.display()))
                .allowed("another path for the output"));
        }
        if written.iter().any(|(_, other)| other.same(&identity)) {
            return Err(Error::new("two outputs have the same path")
                .file(output)
                .allowed("a path of its own for each output"));
        }
        written.push((output, identity));
    }
    Ok(())
}

/// What makes two paths the same file.
struct Identity {
    path: PathBuf,
    /// Device and inode, where the file exists and the system has them.
    inode: Option<(u64, u64)>,
    /// A device or a pipe keeps nothing that could be overwritten.
    is_device: bool,
}

impl Identity {
    fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        #[cfg(unix)]
        let inode = metadata.as_ref().map(|m| {
            use std::os::unix::fs::MetadataExt;
            (m.dev(), m.ino())
        });
        #[cfg(not(unix))]
        let inode = None;
        Self { path: resolved(path), inode, is_device: metadata.is_some_and(|m| !m.is_file() && !m.is_dir()) }
    }

    fn same(&self, other: &Self) -> bool {
        self.path == other.path || (self.inode.is_some() && self.inode == other.inode)
    }
}

/// The path with links resolved, of a file that need not exist yet.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    let folder = folder_of(path).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes through a temporary file in the same folder and renames it: nothing is ever half-written.
///
/// A link is followed; a device or a pipe (`/dev/stdout`) is written as it is, never replaced.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    write_renamed(path, true, fill)
}

/// [`write_atomic`] that waits for the disk only if `synced`.
fn write_renamed(
    path: &Path,
    synced: bool,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = resolved.as_path();
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let fail = |e: std::io::Error| Error::io("write", path, &e);
        let mut writer = BufWriter::new(std::fs::OpenOptions::new().write(true).open(path).map_err(fail)?);
        return fill(&mut writer).and_then(|()| writer.flush()).map_err(fail);
    }
    let folder = folder_of(path);
    let fail = |e: std::io::Error| Error::io("write", path, &e);
    std::fs::create_dir_all(folder).map_err(fail)?;
    remove_leftovers_once(folder);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    {
        // A temporary file is private by default; the result is an ordinary file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(folder).map_err(fail)?;
    // Tells others that its writer is alive. File systems without locks only lose the cleaning.
    let _ = temporary.as_file().try_lock();
    let mut writer = BufWriter::new(temporary);
    fill(&mut writer).map_err(fail)?;
    let temporary = writer.into_inner().map_err(|e| fail(e.into_error()))?;
    if synced {
        temporary.as_file().sync_all().map_err(fail)?;
    }
    let file = temporary.persist(path).map_err(|e| fail(e.error))?;
    let _ = file.unlock();
    if synced { sync_folder(folder).map_err(fail) } else { Ok(()) }
}

/// Makes a rename within `folder` survive a power failure.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems (and Windows) cannot sync a folder.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput || !cfg!(unix) => Ok(()),
        result => result,
    }
}

/// [`remove_leftovers`] for the first write of this process into a folder.
fn remove_leftovers_once(folder: &Path) {
    static CLEANED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let mut cleaned = CLEANED.lock().unwrap_or_else(PoisonError::into_inner);
    if cleaned.get_or_insert_default().insert(folder.to_owned()) {
        remove_leftovers(folder, LEFTOVER_AGE);
    }
}

/// Removes temporary files of killed processes: those of at least `age` that no process holds a lock on.
///
/// What cannot be removed stays; it does no harm.
pub fn remove_leftovers(folder: &Path, age: Duration) {
    let now = SystemTime::now();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_old = || {
            let written = entry.metadata().and_then(|m| m.modified()).ok()?;
            Some(now.duration_since(written).unwrap_or_default() >= age)
        };
        if !entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
            || !entry.file_type().is_ok_and(|kind| kind.is_file())
            || is_old() != Some(true)
        {
            continue;
        }
        let Ok(file) = File::options().read(true).write(true).open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => drop(std::fs::remove_file(&path)),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// [`write_atomic`] of bytes that are already there.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |w| w.write_all(bytes))
}

/// [`write_bytes`] that does not wait for the disk, for many small files that are checked where they are found again.
///
/// A killed process leaves the whole file or none; a power failure may leave a cut one.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write_renamed(path, false, |w| w.write_all(bytes))
}

/// Parses a TOML text that was read from `path`; a mistake is shown at its line.
pub fn parse_toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| match e.span() {
        Some(span) => at(path, text, span, e.message()),
        None => Error::new(e.message()).file(path),
    })
}

/// An error about the bytes `span` of `text`, which was read from `path`.
pub fn at(path: &Path, text: &str, span: std::ops::Range<usize>, what: impl Into<String>) -> Error {
    point(Error::new(what), path, text, span)
}

/// `error`, about the bytes `span` of `text`, which was read from `path`.
pub fn point(error: Error, path: &Path, text: &str, span: std::ops::Range<usize>) -> Error {
    let start = (0..=span.start.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    error.file(path).line(line).column(column).source_text(
        &path.display().to_string(),
        text.to_owned(),
        span.into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_bytes(&path, b"old").unwrap();
        let failed = write_atomic(&path, |w| {
            w.write_all(b"new")?;
            Err(std::io::Error::other("cable pulled"))
        });
        assert!(failed.unwrap_err().to_string().contains("cable pulled"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn limits_hold_for_files_that_report_no_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert!(read_limited(&path, 4).unwrap_err().to_string().contains("5 bytes"));
        if cfg!(unix) {
            let error = read_limited(Path::new("/dev/zero"), 1 << 16).unwrap_err();
            assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
        }
    }

    #[test]
    fn outputs_are_no_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("in"), b"1").unwrap();
        let refused = |inputs: &[&Path], outputs: &[&Path]| refuse_overwrite(inputs, outputs).is_err();
        assert!(!refused(&[&at("in")], &[&at("out"), &at("other")]));
        assert!(refused(&[&at("in")], &[&at("in")]));
        assert!(refused(&[&at("in")], &[&at("new/../in"), &at("x")]) || !at("new").exists());
        assert!(refused(&[], &[&at("out"), &at("out")]));
        assert!(refused(&[], &[&at("out"), &folder.path().join(".").join("out")]));
        #[cfg(unix)]
        {
            std::fs::hard_link(at("in"), at("hard")).unwrap();
            std::os::unix::fs::symlink(at("in"), at("soft")).unwrap();
            assert!(refused(&[&at("in")], &[&at("hard")]) && refused(&[&at("in")], &[&at("soft")]));
            let null = Path::new("/dev/null");
            assert!(!refused(&[null], &[null, null]));
        }
    }

    #[test]
    fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [".secateur-dead", ".secateur-alive", "other"] {
            std::fs::write(at(name), b"x").unwrap();
        }
        let alive = File::options().write(true).open(at(".secateur-alive")).unwrap();
        alive.try_lock().unwrap();
        remove_leftovers(folder.path(), Duration::from_secs(3600));
        assert!(at(".secateur-dead").exists(), "it is young");
        remove_leftovers(folder.path(), Duration::ZERO);
        assert!(!at(".secateur-dead").exists());
        assert!(at(".secateur-alive").exists() && at("other").exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_bytes(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_bytes(&link, b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");

        let full = Path::new("/dev/full");
        assert!(write_bytes(full, b"new").unwrap_err().to_string().contains("space"));
        assert!(!std::fs::metadata(full).unwrap().is_file());
    }

    #[test]
    fn a_mistake_in_toml_has_its_line() {
        let error = parse_toml::<toml::Table>(Path::new("x.toml"), "a = 1\nb = = 2\n").unwrap_err();
        assert_eq!(error.at_line(), Some(2));
    }
}
