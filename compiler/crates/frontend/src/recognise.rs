//! The framework that a network's file is of, by its content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use secateur_base::kind::START_BYTES;

use crate::onnx;
use crate::text_format::Document;

/// The framework of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framework {
    Darknet,
    Onnx,
    Caffe,
    TensorFlow,
}

/// The framework whose file this is; Darknet's where nothing speaks for another one, whose reader then says what is
/// wrong with it.
pub fn framework(path: &Path) -> Framework {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START_BYTES as u64).read_to_end(&mut start));
    if read.is_err() {
        return Framework::Darknet;
    }
    // Binary messages begin with a small field number; in text these two bytes are no letters.
    let is_text = start.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
    match start.first() {
        Some(0x08) if onnx::is_model(path) => return Framework::Onnx,
        Some(0x0a) if !is_text => return Framework::TensorFlow,
        _ if !is_text || begins_with_section(&start) => return Framework::Darknet,
        _ => (),
    }
    let Ok(document) = Document::load(path) else { return Framework::Darknet };
    let root = document.root();
    let has = |name| root.all(name).next().is_some();
    if has("node") {
        Framework::TensorFlow
    } else if has("layer") || has("layers") {
        Framework::Caffe
    } else {
        Framework::Darknet
    }
}

/// Returns whether a `[section]` is the first thing behind comments and empty lines.
fn begins_with_section(start: &[u8]) -> bool {
    let mut lines = start.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_start);
    let first = lines.find(|line| !(line.is_empty() || line.starts_with(b"#") || line.starts_with(b";")));
    first.is_some_and(|line| line.starts_with(b"["))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let cases: [(&[u8], Framework); 7] = [
            (b"# a cfg\n\n[net]\nwidth=8\n", Framework::Darknet),
            (b"nothing in particular", Framework::Darknet),
            (b"", Framework::Darknet),
            (b"name: \"n\" # a net\nlayer { name: \"a\" }\n", Framework::Caffe),
            (b"input: \"x\"\nlayers { name: \"a\" }\n", Framework::Caffe),
            (b"\n# a graph\nnode { name: \"x\" op: \"Placeholder\" }\n", Framework::TensorFlow),
            (b"\x0a\x05\x0a\x01x\x12\x00", Framework::TensorFlow),
        ];
        for (bytes, expected) in cases {
            let path = folder.path().join("network");
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(framework(&path), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(framework(&folder.path().join("missing")), Framework::Darknet);
    }
}
