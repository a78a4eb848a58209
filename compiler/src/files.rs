//! Files: read with a clear error, write whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

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
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fail = |e: std::io::Error| Error::io("write", path, &e);
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".secateur-");
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
