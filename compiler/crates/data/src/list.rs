//! Lists of images, one path a line, and the search for files that such lists name.

use std::path::{Path, PathBuf};

use secateur_base::limits::MAX_LIST_BYTES;
use secateur_base::{Error, Result, files};

/// Longest line that can be a path.
const MAX_PATH_BYTES: usize = 4096;

/// Finds the file that `named_in` calls `path`: absolute, or relative to the working folder, or
/// relative to the folder of `named_in`.
///
/// Darknet knows the first two only.
pub fn find_file(path: &Path, named_in: &Path) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    let beside = named_in.parent().unwrap_or(Path::new("")).join(path);
    if path.is_relative() && beside.exists() {
        return Ok(beside);
    }
    let tried = if path.is_relative() {
        format!("neither {} (from the working folder) nor {}", path.display(), beside.display())
    } else {
        format!("no {}", path.display())
    };
    Err(Error::new("file does not exist")
        .file(named_in)
        .found(tried)
        .allowed("an absolute path, or one relative to the working folder or to this file's folder"))
}

/// Reads a list of images: one path a line, blank lines and line ends of any kind ignored.
///
/// Fails on an empty list and on the first path that leads nowhere.
pub fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let bytes = files::read_limited(list, MAX_LIST_BYTES)?;
    let mut images = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if line.len() > MAX_PATH_BYTES || line.contains(&0) {
            return Err(Error::new("not a list of images")
                .file(list)
                .line(number + 1)
                .found(format!("a line of {} bytes that is no path", line.len()))
                .allowed("one image's path a line"));
        }
        let path = path_of(line, list, number + 1)?;
        images.push(find_file(&path, list).map_err(|error| error.line(number + 1))?);
    }
    if images.is_empty() {
        return Err(Error::new("the list names no image")
            .file(list)
            .found("an empty list")
            .allowed("one image's path a line"));
    }
    Ok(images)
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)]
fn path_of(line: &[u8], _list: &Path, _number: usize) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(line)))
}

#[cfg(not(unix))]
fn path_of(line: &[u8], list: &Path, number: usize) -> Result<PathBuf> {
    let text = std::str::from_utf8(line)
        .map_err(|_| Error::new("a path that is not UTF-8").file(list).line(number))?;
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_images_beside_the_list() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b.png"), b"").unwrap();
        let list = folder.path().join("list.txt");
        std::fs::write(&list, "\r\na b.png \r\n\n").unwrap();
        assert_eq!(read_list(&list).unwrap(), [folder.path().join("a b.png")]);
    }

    #[test]
    fn says_which_line_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        std::fs::write(&list, "\nnone.png\n").unwrap();
        assert_eq!(read_list(&list).unwrap_err().at_line(), Some(2));
    }

    #[test]
    fn empty_lists_and_garbage_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        for (content, message) in [
            (b" \n\n".to_vec(), "names no image"),
            (vec![0; 100], "not a list"),
            (vec![b'x'; 5000], "not a list"),
        ] {
            std::fs::write(&list, content).unwrap();
            assert!(read_list(&list).unwrap_err().what().contains(message));
        }
    }
}
