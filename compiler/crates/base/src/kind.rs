//! A file's kind by its first bytes, for a clear message where another kind was expected.

use std::path::Path;

use crate::{Error, Result};

/// A Darknet cfg, as [`check`]'s `wanted`.
pub const DARKNET_CFG: &str = "a Darknet cfg";
/// Darknet weights, which have no signature.
pub const DARKNET_WEIGHTS: &str = "a Darknet .weights file";
/// Class names, which have no signature.
pub const CLASS_NAMES: &str = "a file of class names";

/// A caffemodel, which has no signature.
pub const CAFFE_MODEL: &str = "a Caffe model";
/// A graph of TensorFlow, which has no signature.
pub const TENSORFLOW_GRAPH: &str = "a TensorFlow graph";

/// How many bytes at a file's start tell its kind.
pub const START_BYTES: usize = 512;

/// Refuses a file that begins as one of another kind than `wanted` does.
///
/// # Errors
/// Names the kind that the file has, and what to do.
pub fn check(path: &Path, bytes: &[u8], wanted: &str) -> Result<()> {
    match recognise(bytes) {
        Some((kind, help)) if kind != wanted => {
            Err(Error::new(format!("this is {kind}, not {wanted}")).file(path).help(help))
        }
        _ => Ok(()),
    }
}

/// Signatures at the very beginning.
const SIGNATURES: &[(&[u8], &str, &str)] = &[
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "the repository holds the file itself elsewhere: run `git lfs pull`, or download the raw file",
    ),
    (b"PK\x03\x04", "a ZIP archive or PyTorch checkpoint", ARCHIVE),
    (b"\x1F\x8B", "a gzip archive", ARCHIVE),
    (b"BZh", "a bzip2 archive", ARCHIVE),
    (b"\xFD7zXZ\0", "an xz archive", ARCHIVE),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive", ARCHIVE),
    (b"Rar!\x1A\x07", "a RAR archive", ARCHIVE),
    (b"\x80\x02", "a Python pickle, as PyTorch writes it", EXPORT),
    (b"\x80\x03", "a Python pickle, as PyTorch writes it", EXPORT),
    (b"\x80\x04", "a Python pickle, as PyTorch writes it", EXPORT),
    (b"\x89HDF\r\n\x1A\n", "an HDF5 file, as Keras writes it", EXPORT),
    (b"\x89PNG\r\n\x1A\n", "a PNG image", IMAGE),
    (b"\xFF\xD8\xFF", "a JPEG image", IMAGE),
    (b"%PDF-", "a PDF document", IMAGE),
    (b"\x93NUMPY", "a NumPy array", IMAGE),
    (b"SECQNET\0", "an int8 network of secateur", IMAGE),
    (b"\x89SCT\r\n\x1A\n", "an artefact of secateur", IMAGE),
];

const ARCHIVE: &str = "unpack an archive first; export a PyTorch checkpoint to Darknet's .cfg and .weights";
const EXPORT: &str = "export the network to Darknet's .cfg and .weights with the tool that trained it";
const IMAGE: &str = "check the order of the files on the command line";

/// The kind of a file that begins with `bytes`, and what to do where it stands in for another.
fn recognise(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let bytes = &bytes[..bytes.len().min(START_BYTES)];
    if let Some(&(_, kind, help)) = SIGNATURES.iter().find(|(signature, _, _)| bytes.starts_with(signature)) {
        return Some((kind, help));
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some(("a TensorFlow Lite model", EXPORT));
    }
    let text = bytes.trim_ascii_start();
    let page = [&b"<!doctype html"[..], b"<html", b"<head", b"<body", b"<?xml"];
    let begins = |tag: &&[u8]| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    if page.iter().any(begins) {
        let help = "the download brought the page about the file: download the raw file itself";
        return Some(("an HTML page", help));
    }
    // Lines of a cfg until its first section.
    let line = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines = line.filter(|line| !matches!(line.first(), None | Some(b'#' | b';')));
    match lines.next() {
        Some(b"[net]" | b"[network]") => Some((DARKNET_CFG, IMAGE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        for (bytes, says) in [
            (&b"<!DOCTYPE html>\n<html>"[..], "an HTML page"),
            (b"\n  <HTML><head>", "an HTML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git lfs pull"),
            (b"PK\x03\x04\x14\0", "PyTorch checkpoint"),
            (b"\x1C\0\0\0TFL3", "TensorFlow Lite"),
            (b"# mine\n\n[net]\nwidth=8\n", "a Darknet cfg"),
            (b"SECQNET\0\x01\0\0\0", "int8 network"),
        ] {
            let error = check(Path::new("x"), bytes, DARKNET_WEIGHTS).expect_err(says);
            assert!(format!("{error:?}").contains(says), "{error:?}");
        }
        check(Path::new("x"), b"[net]\n", DARKNET_CFG).unwrap();
        for weights in [&[0, 0, 0, 0, 2, 0, 0, 0][..], &[], b"<", b"person\nbicycle\n"] {
            check(Path::new("x"), weights, DARKNET_WEIGHTS).unwrap();
        }
    }
}
