//! Files: read with a clear error, write whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// What the names of files begin with that are being written.
pub const TEMPORARY_PREFIX: &str = ".secateur-";

/// Reads a whole file; larger than `limit` bytes is an error before anything is allocated.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len();
    if size > limit {
        return Err(Error::new("file is too large")
            .file(path)
            .found(format!("{size} bytes"))
            .allowed(format!("at most {limit} bytes"))
            .help("check that this is the file you meant"));
    }
    std::fs::read(path).map_err(|e| Error::io("read", path, &e))
}

/// Writes through a temporary file in the same folder and renames it: nothing is ever half-written.
///
/// A link is followed; a device or a pipe (`/dev/stdout`) is written as it is, never replaced.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = resolved.as_path();
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let fail = |e: std::io::Error| Error::io("write", path, &e);
        let mut writer = BufWriter::new(std::fs::OpenOptions::new().write(true).open(path).map_err(fail)?);
        return fill(&mut writer).and_then(|()| writer.flush()).map_err(fail);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fail = |e: std::io::Error| Error::io("write", path, &e);
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    {
        // A temporary file is private by default; the result is an ordinary file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(folder).map_err(fail)?;
    let mut writer = BufWriter::new(temporary);
    fill(&mut writer).map_err(fail)?;
    let temporary = writer.into_inner().map_err(|e| fail(e.into_error()))?;
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// [`write_atomic`] of bytes that are already there.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |w| w.write_all(bytes))
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
    let start = (0..=span.start.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    let source = miette::NamedSource::new(path.display().to_string(), text.to_owned());
    Error::new(what)
        .file(path)
        .line(line)
        .column(column)
        .source_text(std::sync::Arc::new(source), span.into())
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
