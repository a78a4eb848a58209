//! Images with their labels, and their preparation for a network.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{
    DataFile, Fit, Frame, Image, Truth, crop, label_path, letterbox, load_image_as, read_labels, read_list,
    read_names, resize,
};
use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_ir::Shape;

/// A list of labelled images.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub images: Vec<PathBuf>,
    /// Objects of every image.
    pub labels: Vec<Vec<Truth>>,
    pub names: Vec<String>,
}

/// An image as the network takes it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// `[c][h][w]`, 0..1.
    pub input: Vec<f32>,
    pub frame: Frame,
    /// Width and height of the image itself.
    pub size: (usize, usize),
}

impl Dataset {
    /// The list that `.data` names under `split` (`valid` or `train`), with its names.
    pub fn from_data_file(path: &Path, split: &str) -> Result<Self> {
        let (list, names) = source(path, split)?;
        Self::with_names(&list, names)
    }

    /// As [`Dataset::from_data_file`], without reading labels: no image has any.
    pub fn images_of_data_file(path: &Path, split: &str) -> Result<Self> {
        let (list, names) = source(path, split)?;
        Self::without_labels(&list, names)
    }

    /// As [`Dataset::from_list`], without reading labels: no image has any.
    pub fn images_of_list(list: &Path, names: &Path) -> Result<Self> {
        Self::without_labels(list, read_names(names)?)
    }

    fn without_labels(list: &Path, names: Vec<String>) -> Result<Self> {
        let images = read_list(list)?;
        Ok(Self { labels: vec![Vec::new(); images.len()], images, names })
    }

    /// A list of images with labels beside them, and a file of names.
    ///
    /// An image without a label file has no objects (as Darknet takes it, with a warning); a list
    /// where every label file is missing is an error.
    pub fn from_list(list: &Path, names: &Path) -> Result<Self> {
        Self::with_names(list, read_names(names)?)
    }

    /// [`Dataset::from_list`] of names that are at hand; labels must be below their number.
    pub fn with_names(list: &Path, names: Vec<String>) -> Result<Self> {
        let images = read_list(list)?;
        let read: Result<Vec<Option<Vec<Truth>>>> = images
            .par_iter()
            .map(|image| {
                let path = label_path(image);
                if path.exists() { read_labels(&path, names.len()).map(Some) } else { Ok(None) }
            })
            .collect();
        let read = read?;
        let missing = read.iter().filter(|labels| labels.is_none()).count();
        if missing == images.len() {
            return Err(Error::new("no image of the list has a label file")
                .file(list)
                .found(format!("no {}", label_path(&images[0]).display()))
                .help("labels lie beside the images, or in `labels` where those lie in `images` or `JPEGImages`"));
        }
        if missing > 0 {
            tracing::warn!(
                "{missing} of {} images have no label file: taken as without objects",
                images.len()
            );
        }
        let labels = read.into_iter().map(Option::unwrap_or_default).collect();
        Ok(Self { images, labels, names })
    }

    /// The files that were or will be read: images, and labels where they have some.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.images.iter().flat_map(|image| [image.clone(), label_path(image)])
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The first `count` images.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        self.images.truncate(count);
        self.labels.truncate(count);
        self
    }

    /// Decodes and prepares one image for an input of shape `input`.
    pub fn sample(&self, index: usize, input: Shape, fit: Fit) -> Result<Sample> {
        Sample::load(&self.images[index], input, fit)
    }

    /// All images, prepared in parallel and kept in memory (4 bytes an input value and image).
    pub fn load_all(&self, input: Shape, fit: Fit) -> Result<Vec<Sample>> {
        let progress = Progress::new(format!("reading {} images", self.len()), self.len() as u64);
        (0..self.len())
            .into_par_iter()
            .map(|index| {
                let sample = self.sample(index, input, fit);
                progress.advance(1);
                sample
            })
            .collect()
    }
}

/// The list and the class names of a .data file.
fn source(path: &Path, split: &str) -> Result<(PathBuf, Vec<String>)> {
    let data = DataFile::load(path)?;
    let file = data.file("names")?;
    let names = read_names(&file)?;
    match data.classes()? {
        Some(classes) if classes != names.len() => Err(Error::new("classes and names disagree")
            .file(path)
            .found(format!("classes={classes}, {} names in {}", names.len(), file.display()))),
        _ => Ok((data.file(split)?, names)),
    }
}

impl Sample {
    /// Decodes an image, gives it the network's channels and size.
    pub fn load(path: &Path, input: Shape, fit: Fit) -> Result<Self> {
        Self::prepare(load_image_as(path, input.c)?, input, fit).map_err(|error| error.file(path))
    }

    /// As [`Sample::load`], of a decoded image.
    pub fn prepare(image: Image, input: Shape, fit: Fit) -> Result<Self> {
        let size = (image.shape.w, image.shape.h);
        let image = image.with_channels(input.c)?;
        let stretched = Frame::stretched(input);
        let (prepared, frame) = match fit {
            Fit::Stretch => (resize(&image, input.w, input.h), stretched),
            Fit::Letterbox => {
                (letterbox(&image, input.w, input.h), Frame::letterboxed(input, size.0, size.1))
            }
            Fit::Crop => (crop(&image, input.w, input.h), stretched),
        };
        Ok(Self { input: prepared.data, frame, size })
    }
}
