//! Paths in JSON that is read back: the same bytes again, also where they are not UTF-8.
//!
//! Use as `#[serde(default, with = "secateur_base::path_text")]` on an `Option<PathBuf>`. A path that is UTF-8 is a plain
//! string; another one is `{ "hex": "…" }`, the bytes as the system gives them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathText {
    Text(String),
    Bytes { hex: String },
}

/// Writes a path.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(to_text).serialize(serializer)
}

/// Reads a path.
///
/// # Errors
/// Neither a string nor hex digits of a path of this system.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = Option::<PathText>::deserialize(deserializer)?;
    text.map(|text| from_text(text).ok_or_else(|| serde::de::Error::custom("not a path"))).transpose()
}

fn to_text(path: &Path) -> PathText {
    match path.to_str() {
        Some(text) => PathText::Text(text.to_owned()),
        None => PathText::Bytes {
            hex: path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        },
    }
}

fn from_text(text: PathText) -> Option<PathBuf> {
    let hex = match text {
        PathText::Text(text) => return Some(text.into()),
        PathText::Bytes { hex } => hex,
    };
    let bytes =
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    os_string(bytes.collect::<Option<_>>()?).map(PathBuf::from)
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    Some(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        #[serde(default, with = "super")]
        path: Option<PathBuf>,
    }

    #[test]
    fn paths_read_back_as_they_were_written() {
        let mut paths = vec![None, Some(PathBuf::from("a/ä b"))];
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            paths.push(Some(PathBuf::from(std::ffi::OsStr::from_bytes(b"odd\xff\x1b"))));
        }
        for path in paths {
            let file = File { path };
            let text = toml::to_string(&file).unwrap();
            assert_eq!(toml::from_str::<File>(&text).unwrap(), file, "{text}");
        }
        assert!(toml::from_str::<File>("path = { hex = \"xy\" }").is_err());
    }
}
