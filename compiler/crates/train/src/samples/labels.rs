//! Labels, read and checked before a training starts: every mistake is found at once, not in hour two.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use secateur_base::limits::MAX_LABEL_BYTES;
use secateur_base::{Error, Result, files};
use secateur_data::{Truth, class_name, label_path, parse_labels};

use crate::augment::Task;

/// Annotation tools round; a label may exceed the image by this fraction and is then clipped.
const ROUNDING: f32 = 1e-3;
/// How many errors a message shows.
const SHOWN_ERRORS: usize = 20;
/// How many classes or files a warning names.
const SHOWN_NAMES: usize = 10;

/// What a training learns from each image.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// A detector's boxes.
    Boxes(Vec<Vec<Truth>>),
    /// A classifier's targets, one value for each class.
    Targets(Vec<Vec<f32>>),
}

impl Labels {
    /// Reads the boxes beside the images, for a network with so many classes. Every mistake of every line goes into
    /// `findings`; a file that is missing means that the image has no objects.
    pub fn read_boxes(images: &[PathBuf], classes: usize, names: &[String], findings: &mut Findings) -> Self {
        let read: Vec<ReadLabels> = images.par_iter().map(|image| ReadLabels::read(image, classes)).collect();
        let mut seen = vec![false; classes];
        let mut missing = Vec::new();
        let mut labels = Vec::with_capacity(images.len());
        let mut errors = Vec::new();
        for (image, read) in images.iter().zip(read) {
            if read.is_missing {
                missing.push(image.display().to_string());
            }
            read.truths.iter().for_each(|truth| seen[truth.class] = true);
            errors.extend(read.errors);
            labels.push(read.truths);
        }
        if labels.iter().all(Vec::is_empty) && errors.is_empty() {
            errors.push(no_labels(images));
        } else {
            findings.warn("images without a label file, taken as without objects", &missing);
            findings.warn_of_unseen(&seen, names);
        }
        findings.errors.extend(errors);
        Self::Boxes(labels)
    }

    /// The targets of a classifier's images, after Darknet: 1 for each class whose name occurs in the image's path, 0
    /// for the others; with `smoothing` (key `label_smooth_eps`) 1 − `smoothing`, and `smoothing` divided among the others.
    pub fn of_paths(images: &[PathBuf], names: &[String], smoothing: f32, findings: &mut Findings) -> Self {
        let others = if names.len() > 1 { smoothing / (names.len() - 1) as f32 } else { 0.0 };
        let mut seen = vec![false; names.len()];
        let mut ambiguous = Vec::new();
        let mut targets = Vec::with_capacity(images.len());
        for image in images {
            let path = image.to_string_lossy();
            let named: Vec<bool> =
                names.iter().map(|name| !name.is_empty() && path.contains(name.as_str())).collect();
            match named.iter().filter(|&&named| named).count() {
                0 => findings.errors.push(
                    Error::new("no class name occurs in the image's path")
                        .file(image)
                        .allowed("a path that holds one of the names, as in train/0017_cat.png"),
                ),
                1 => {}
                _ => ambiguous.push(image.display().to_string()),
            }
            seen.iter_mut().zip(&named).for_each(|(seen, named)| *seen |= named);
            targets.push(named.iter().map(|&named| if named { 1.0 - smoothing } else { others }).collect());
        }
        findings.warn("images with several class names in their path, taken as of each class", &ambiguous);
        findings.warn_of_unseen(&seen, names);
        Self::Targets(targets)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Boxes(boxes) => boxes.len(),
            Self::Targets(targets) => targets.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn task(&self) -> Task {
        match self {
            Self::Boxes(_) => Task::Detection,
            Self::Targets(_) => Task::Classification,
        }
    }
}

/// What is wrong with a list of labelled images.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Mistakes that forbid a training, each with its file and line.
    pub errors: Vec<Error>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

impl Findings {
    /// The warnings, where there is no error.
    ///
    /// # Errors
    /// One that lists the first 20 errors and counts the others.
    pub fn into_warnings(self) -> Result<Vec<String>> {
        let count = self.errors.len();
        if count <= 1 {
            return self.errors.into_iter().next().map_or(Ok(self.warnings), Err);
        }
        let mut list: Vec<String> = self.errors.iter().take(SHOWN_ERRORS).map(ToString::to_string).collect();
        if count > SHOWN_ERRORS {
            list.push(format!("and {} more", count - SHOWN_ERRORS));
        }
        Err(Error::new(format!("the training images have {count} mistakes"))
            .found(format!("\n{}", list.join("\n")))
            .help("correct the files, or take the images out of the list"))
    }

    /// Warns with a count and the first names; not where there are none.
    fn warn(&mut self, what: &str, names: &[String]) {
        if !names.is_empty() {
            let more = if names.len() > SHOWN_NAMES { ", …" } else { "" };
            let first = names[..names.len().min(SHOWN_NAMES)].join(", ");
            self.warnings.push(format!("{what}: {} ({first}{more})", names.len()));
        }
    }

    fn warn_of_unseen(&mut self, seen: &[bool], names: &[String]) {
        let unseen: Vec<String> =
            (0..seen.len()).filter(|&class| !seen[class]).map(|class| class_name(names, class)).collect();
        self.warn("classes in no label, which cannot be learnt", &unseen);
    }
}

fn no_labels(images: &[PathBuf]) -> Error {
    let first = images.first().map_or_else(String::new, |image| label_path(image).display().to_string());
    Error::new("no image of the list has a label")
        .found(format!("{} images, the first one's labels would be {first}", images.len()))
        .help("labels are beside the images, or in `labels` where those are in `images` or `JPEGImages`")
}

/// What the label file of one image holds.
#[derive(Default)]
struct ReadLabels {
    truths: Vec<Truth>,
    errors: Vec<Error>,
    is_missing: bool,
}

impl ReadLabels {
    fn read(image: &Path, classes: usize) -> Self {
        let path = label_path(image);
        if !path.exists() {
            return Self { is_missing: true, ..Self::default() };
        }
        match files::read_limited(&path, MAX_LABEL_BYTES) {
            Ok(bytes) => Self::parse(&path, &bytes, classes),
            Err(error) => Self { errors: vec![error], ..Self::default() },
        }
    }

    /// Parses line by line, to find the mistakes of every line.
    fn parse(path: &Path, bytes: &[u8], classes: usize) -> Self {
        let mut read = Self::default();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let truths = parse_labels(line, classes)
                .and_then(|truths| truths.iter().try_for_each(check_range).map(|()| truths));
            match truths {
                Ok(truths) => read.truths.extend(truths),
                Err(error) => read.errors.push(error.file(path).line(index + 1)),
            }
        }
        read
    }
}

/// Refuses a box whose centre or size is outside 0..1. Its edges may be outside: they are clipped.
fn check_range(truth: &Truth) -> Result<()> {
    let bbox = &truth.bbox;
    for (name, value) in [("cx", bbox.x), ("cy", bbox.y), ("w", bbox.w), ("h", bbox.h)] {
        if !(-ROUNDING..=1.0 + ROUNDING).contains(&value) {
            return Err(Error::new(format!("{name} of a label is outside the image"))
                .found(value.to_string())
                .allowed("0 to 1, as a fraction of the image's width or height"));
        }
    }
    Ok(())
}
