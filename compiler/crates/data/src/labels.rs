//! Labels in Darknet's form: one object a line, `class cx cy w h`, relative to the image.

use std::path::{Path, PathBuf};

use secateur_base::BBox;
use secateur_base::limits::MAX_LABEL_BYTES;
use secateur_base::{Error, Result, files};

/// Relative coordinates beyond this are pixels by mistake; annotators do overshoot 1 a little.
const MAX_RELATIVE: f32 = 2.0;

/// A labelled object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    pub class: usize,
    pub bbox: BBox,
}

/// The label file of an image: `images` or `JPEGImages` in its path becomes `labels` (the last
/// such folder), the extension `.txt`; where that does not exist, the image's own folder.
pub fn label_path(image: &Path) -> PathBuf {
    let beside = image.with_extension("txt");
    let parts: Vec<_> = beside.components().collect();
    let folder = parts
        .iter()
        .take(parts.len().saturating_sub(1))
        .rposition(|part| matches!(part.as_os_str().to_str(), Some("images" | "JPEGImages")));
    let Some(folder) = folder else { return beside };
    let labels: PathBuf = parts[..folder]
        .iter()
        .map(|part| part.as_os_str())
        .chain([std::ffi::OsStr::new("labels")])
        .chain(parts[folder + 1..].iter().map(|part| part.as_os_str()))
        .collect();
    if !labels.exists() && beside.exists() { beside } else { labels }
}

/// Reads the labels of a network with `classes` classes.
pub fn read_labels(path: &Path, classes: usize) -> Result<Vec<Truth>> {
    let bytes = files::read_limited(path, MAX_LABEL_BYTES)?;
    parse_labels(&bytes, classes).map_err(|error| error.file(path))
}

/// Parses labels. Unlike Darknet, which stops silently at the first line that it cannot read, a
/// line that is not five good numbers is an error.
pub fn parse_labels(bytes: &[u8], classes: usize) -> Result<Vec<Truth>> {
    let mut truths = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let truth = std::str::from_utf8(line)
            .map_err(|_| Error::new("label line is not text").allowed("class cx cy w h"))
            .and_then(|line| parse_line(line, classes));
        truths.push(truth.map_err(|error| error.line(index + 1))?);
    }
    Ok(truths)
}

fn parse_line(line: &str, classes: usize) -> Result<Truth> {
    let shown: String = line.chars().take(80).collect();
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [class, numbers @ ..] = fields.as_slice() else { unreachable!("blank lines were skipped") };
    if numbers.len() != 4 {
        return Err(Error::new(format!("a label has five fields, this line has {}", fields.len()))
            .found(shown)
            .allowed("class cx cy w h"));
    }
    let class = class.parse::<i64>().map_err(|_| {
        Error::new("the class of a label must be a whole number")
            .found(*class)
            .allowed(format!("0 to {}", classes - 1))
    })?;
    let class = usize::try_from(class).ok().filter(|&class| class < classes).ok_or_else(|| {
        Error::new("class out of range")
            .found(format!("class {class}"))
            .allowed(format!("0 to {} ({classes} classes)", classes - 1))
            .help("check that labels, names and network belong together")
    })?;
    let mut values = [0.0_f32; 4];
    for ((value, text), name) in values.iter_mut().zip(numbers).zip(["cx", "cy", "w", "h"]) {
        *value = text.parse().map_err(|_| {
            Error::new(format!("{name} of a label must be a number")).found(*text).allowed("class cx cy w h")
        })?;
        let lowest = if matches!(name, "w" | "h") { 0.0 } else { -MAX_RELATIVE };
        if !(lowest..=MAX_RELATIVE).contains(value) {
            return Err(Error::new(format!("{name} of a label is out of range"))
                .found(*text)
                .allowed("0 to 1, as a share of the image's width or height")
                .help("divide pixel coordinates by the image's size"));
        }
    }
    let [x, y, w, h] = values;
    Ok(Truth { class, bbox: BBox { x, y, w, h } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_darknets_form() {
        let truths = parse_labels(b"3 0.5 0.25 1e-1 .2\r\n\n0 0 0 0 0\n", 4).unwrap();
        assert_eq!(truths.len(), 2);
        assert_eq!(truths[0], Truth { class: 3, bbox: BBox { x: 0.5, y: 0.25, w: 0.1, h: 0.2 } });
        assert!(parse_labels(b"", 4).unwrap().is_empty());
    }

    #[test]
    fn bad_labels_name_the_line() {
        for (text, message) in [
            ("0 .1 .1 .1 .1\n4 .1 .1 .1 .1", "class out of range"),
            ("\n-1 .1 .1 .1 .1", "class out of range"),
            ("\n99999999999999999999 .1 .1 .1 .1", "whole number"),
            ("\n1.5 .1 .1 .1 .1", "whole number"),
            ("\n0 nan .1 .1 .1", "cx of a label is out of range"),
            ("\n0 .1 .1 inf .1", "w of a label is out of range"),
            ("\n0 .1 .1 .1 -.1", "h of a label is out of range"),
            ("\n0 320 .1 .1 .1", "cx of a label is out of range"),
            ("\n0 .1 .1 .1", "five fields"),
            ("\n0 .1 .1 .1 .1 .1", "five fields"),
            ("\n0 .1 x .1 .1", "must be a number"),
        ] {
            let error = parse_labels(text.as_bytes(), 4).unwrap_err();
            assert!(error.what().contains(message), "{text:?}: {error}");
            assert_eq!(error.at_line(), Some(2), "{text:?}");
        }
        assert!(parse_labels(b"\xff\xfe 1 1 1 1", 4).unwrap_err().what().contains("not text"));
    }

    #[test]
    fn labels_lie_in_the_folder_of_the_same_kind() {
        assert_eq!(label_path(Path::new("/d/images/val/a.b.jpg")), Path::new("/d/labels/val/a.b.txt"));
        assert_eq!(label_path(Path::new("/images/x/images/a.png")), Path::new("/images/x/labels/a.txt"));
        assert_eq!(label_path(Path::new("VOC/JPEGImages/a.JPG")), Path::new("VOC/labels/a.txt"));
        assert_eq!(label_path(Path::new("here/a.jpg")), Path::new("here/a.txt"));
    }
}
