//! The small files of a project.

use std::cell::RefCell;
use std::io::{Seek, Write};
use std::path::Path;

use secateur_base::{Error, Result};
use secateur_codegen::target::Target as Processor;
use secateur_data::{DataFile, decode_image, parse_labels, read_list, read_names, read_npy};
use tempfile::NamedTempFile;

use super::outcome;
use crate::{Outcome, Target};

/// An image: refused, or pixels in 0..1 as many as its shape says.
pub(super) const IMAGE: Target =
    Target { name: "image", run: image, words: &[b"\xff\xda", b"\xff\xc4", b"\xff\xc2"] };
/// Labels: refused, or as many boxes as lines.
pub(super) const LABELS: Target = Target {
    name: "labels",
    run: labels,
    words: &[b"0 .5 .5 .1 .1\n", b"nan", b"inf", b"-1", b"1e39", b"\n"],
};
/// Class names, one a line.
pub(super) const NAMES: Target =
    Target { name: "names", run: names, words: &[b"person\n", b"\r\n", b"\xef\xbb\xbf", b"#"] };
/// A list of images.
pub(super) const LIST: Target =
    Target { name: "list", run: list, words: &[b"a.jpg\n", b"/", b"..", b"~", b"#", b"\r\n"] };
/// Darknet's .data file.
pub(super) const DATA_FILE: Target = Target {
    name: "data_file",
    run: data_file,
    words: &[b"classes=2\n", b"train=t.txt\n", b"valid=v.txt\n", b"names=n\n", b"=", b"#"],
};
/// NumPy's .npy file.
pub(super) const ARRAY: Target = Target {
    name: "array",
    run: array,
    words: &[b"{'descr': '<f4', 'fortran_order': False, 'shape': (", b"99999999999, ", b"), }", b"'|O'"],
};
/// The description of a target.
pub(super) const PROCESSOR: Target = Target {
    name: "target",
    run: processor,
    words: &[
        b"align = 16\n",
        b"[accelerator]\n",
        b"[accelerator.memory]\n",
        b"operators = \"all\"\n",
        b" = 4294967295\n",
    ],
};

/// Runs what reads a file on a file of these bytes.
fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    thread_local! {
        static FILE: RefCell<Option<NamedTempFile>> = const { RefCell::new(None) };
    }
    FILE.with_borrow_mut(|slot| {
        let file = match slot {
            Some(file) => file,
            None => slot.insert(NamedTempFile::new().map_err(|e| Error::new(e.to_string()))?),
        };
        let refill = |file: &mut NamedTempFile| {
            file.as_file().set_len(0)?;
            file.rewind()?;
            file.write_all(bytes)
        };
        refill(file).expect("temporary files can be written");
        read(file.path())
    })
}

fn image(bytes: &[u8]) -> Outcome {
    outcome(decode_image(bytes), |image| {
        assert_eq!(image.data.len(), image.shape.len());
        assert!(image.data.iter().all(|value| (0.0..=1.0).contains(value)));
        Outcome::of(&(image.shape.c, image.shape.h.min(8)))
    })
}

fn labels(bytes: &[u8]) -> Outcome {
    outcome(parse_labels(bytes, 20), |truths| {
        assert!(truths.len() <= bytes.len());
        Outcome::of(&truths.len().min(8))
    })
}

fn names(bytes: &[u8]) -> Outcome {
    outcome(with_file(bytes, read_names), |names| {
        assert!(names.iter().all(|name| name.len() <= bytes.len()));
        Outcome::of(&names.len().min(8))
    })
}

fn list(bytes: &[u8]) -> Outcome {
    outcome(with_file(bytes, read_list), |paths| Outcome::of(&paths.len().min(8)))
}

fn data_file(bytes: &[u8]) -> Outcome {
    outcome(with_file(bytes, DataFile::load), |_| Outcome::of(&"read"))
}

fn array(bytes: &[u8]) -> Outcome {
    outcome(with_file(bytes, read_npy), |(shape, values)| {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Outcome::of(&shape.len())
    })
}

fn processor(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::of(&"no text") };
    outcome(Processor::parse(Path::new("fuzz.toml"), text), |target| {
        Outcome::of(&target.accelerator.is_some())
    })
}
