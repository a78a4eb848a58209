//! Class names, one a line.

use std::path::Path;

use secateur_base::limits::MAX_NAMES_BYTES;
use secateur_base::{Error, Result, files, kind};

/// Reads class names; blank lines at the end do not count.
pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let bytes = files::read_limited(path, MAX_NAMES_BYTES)?;
    kind::check(path, &bytes, kind::CLASS_NAMES)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let line =
            e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Error::new("class names must be UTF-8").file(path).line(line)
    })?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    if names.is_empty() {
        return Err(Error::new("no class names")
            .file(path)
            .found("an empty file")
            .allowed("one name a line"));
    }
    Ok(names)
}

/// The names that lie beside a cfg (`names`, `NAME.names`, `coco.names`-like), if their number fits.
pub fn names_beside(cfg: &Path, classes: usize) -> Option<Vec<String>> {
    [cfg.with_extension("names"), cfg.with_file_name("names")]
        .iter()
        .filter_map(|path| read_names(path).ok())
        .find(|names| names.len() == classes)
}

/// Name of a class, or its number where names are missing.
pub fn class_name(names: &[String], class: usize) -> String {
    names.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.names");
        std::fs::write(&path, "person\r\ntraffic light\n\n").unwrap();
        assert_eq!(read_names(&path).unwrap(), ["person", "traffic light"]);
        let cfg = folder.path().join("model.cfg");
        assert_eq!(names_beside(&cfg, 2).unwrap().len(), 2);
        assert!(names_beside(&cfg, 3).is_none());
        assert_eq!(class_name(&["person".to_owned()], 1), "class 1");
    }

    #[test]
    fn bad_names_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        std::fs::write(&path, "\n \n").unwrap();
        assert!(read_names(&path).unwrap_err().what().contains("no class names"));
        std::fs::write(&path, "# mine\n[net]\nwidth=8\n").unwrap();
        assert!(read_names(&path).unwrap_err().what().contains("a Darknet cfg"));
        std::fs::write(&path, b"a\n\xff\n").unwrap();
        assert_eq!(read_names(&path).unwrap_err().at_line(), Some(2));
    }
}
