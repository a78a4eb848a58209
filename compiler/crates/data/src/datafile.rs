//! Darknet's `.data` files: `key = value`, which name the classes, lists and folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::find_file;
use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Error, Result, files};

/// A parsed `.data` file.
#[derive(Debug, Clone)]
pub struct DataFile {
    path: PathBuf,
    /// Value and 1-based line of every key; as in Darknet the first of equal keys counts.
    entries: BTreeMap<String, (String, usize)>,
}

impl DataFile {
    /// Reads a `.data` file. Blanks are ignored anywhere, `#` and `;` begin a comment line.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, MAX_TEXT_BYTES)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new("not a .data file").file(path).found("bytes that are not UTF-8"))?;
        let mut entries = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let shown: String = line.chars().take(80).collect();
            let Some((key, value)) = line.split_once('=') else {
                return Err(Error::new("not a .data file")
                    .file(path)
                    .line(index + 1)
                    .found(shown)
                    .allowed("key = value, as in: valid = data/val.txt"));
            };
            entries.entry(key.trim().to_owned()).or_insert_with(|| (value.trim().to_owned(), index + 1));
        }
        Ok(Self { path: path.to_path_buf(), entries })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|(value, _)| value.as_str())
    }

    /// The number of classes, if stated.
    pub fn classes(&self) -> Result<Option<usize>> {
        let Some((value, line)) = self.entries.get("classes") else { return Ok(None) };
        match value.parse() {
            Ok(classes) if classes > 0 => Ok(Some(classes)),
            _ => {
                Err(Error::new("classes must be a positive number").file(&self.path).line(*line).found(value))
            }
        }
    }

    /// All existing files that the entries name.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let found =
            self.entries.values().filter_map(|(value, _)| find_file(Path::new(value), &self.path).ok());
        found.filter(|path| path.is_file())
    }

    /// The existing file that a key names: as it stands, or relative to this file's folder.
    pub fn file(&self, key: &str) -> Result<PathBuf> {
        let Some((value, line)) = self.entries.get(key) else {
            return Err(Error::new(format!("no `{key}` in the .data file"))
                .file(&self.path)
                .found(self.entries.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
                .help(format!("add a line: {key} = PATH")));
        };
        find_file(Path::new(value), &self.path).map_err(|error| error.line(*line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_file(text: &str) -> (tempfile::TempDir, Result<DataFile>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.data");
        std::fs::write(&path, text).unwrap();
        let data = DataFile::load(&path);
        (folder, data)
    }

    #[test]
    fn first_of_equal_keys_counts_and_paths_are_searched() {
        let (folder, data) = data_file("# c\r\nclasses= 3\r\n\nvalid =val.txt\nvalid = other.txt\n");
        let data = data.unwrap();
        assert_eq!(data.classes().unwrap(), Some(3));
        assert_eq!(data.get("valid"), Some("val.txt"));
        assert_eq!(data.file("valid").unwrap_err().at_line(), Some(4));
        std::fs::write(folder.path().join("val.txt"), "").unwrap();
        assert_eq!(data.file("valid").unwrap(), folder.path().join("val.txt"));
        assert!(data.file("names").unwrap_err().what().contains("no `names`"));
    }

    #[test]
    fn bad_files_are_errors() {
        assert_eq!(data_file("\nhello\n").1.unwrap_err().at_line(), Some(2));
        assert!(data_file("classes=-1").1.unwrap().classes().is_err());
    }
}
