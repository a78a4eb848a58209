//! A folder of scenes as Darknet takes it: images, labels, lists, names and a `.data` file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use secateur_base::progress::Progress;
use secateur_base::{Error, Result, files};
use secateur_data::{Truth, label_path, save_image};
use serde::{Deserialize, Serialize};

use crate::{CLASSES, Options, Scene};

/// Changes whenever a scene's bytes do: folders of another generation are not mixed with this one.
const GENERATION: u32 = 1;
/// The file that says what a folder holds.
const RECORD: &str = "scenes.json";
/// Largest record that is read.
const MAX_RECORD_BYTES: u64 = 1 << 16;

/// File format of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Png,
    Jpg,
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
        }
    }
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// The number of the split's image `index` among all scenes of a seed: splits never share a scene, and a longer
    /// split begins with the images of a shorter one.
    pub const fn scene(self, index: u32) -> u64 {
        (self as u64) << 32 | index as u64
    }
}

/// What a folder of scenes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits {
    pub seed: u64,
    #[serde(flatten)]
    pub options: Options,
    pub format: Format,
    /// Numbers of images.
    pub train: u32,
    pub val: u32,
    pub test: u32,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Record {
    generation: u32,
    scenes: Splits,
}

impl Splits {
    /// Number of images of a split.
    pub const fn count(&self, split: Split) -> u32 {
        match split {
            Split::Train => self.train,
            Split::Val => self.val,
            Split::Test => self.test,
        }
    }

    /// Every image: its split and its number there.
    pub fn images(&self) -> impl Iterator<Item = (Split, u32)> + '_ {
        Split::ALL.into_iter().flat_map(|split| (0..self.count(split)).map(move |index| (split, index)))
    }

    /// An image's path below the folder.
    pub fn image_path(&self, split: Split, index: u32) -> PathBuf {
        Path::new("images").join(format!("{}-{index:05}.{}", split.name(), self.format.extension()))
    }

    /// Draws the scene of an image.
    pub fn scene(&self, split: Split, index: u32) -> Scene {
        Scene::generate(self.seed, split.scene(index), &self.options)
    }

    /// Writes the folder, in parallel, and returns its `.data` file. Images that an earlier, killed run has finished
    /// are kept.
    ///
    /// # Errors
    /// The folder holds anything that these scenes do not, or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        self.claim(folder)?;
        let images: Vec<(Split, u32)> = self.images().collect();
        let progress = Progress::new(format!("drawing {} scenes", images.len()), images.len() as u64);
        images.par_iter().try_for_each(|&(split, index)| {
            let result = self.write_image(folder, split, index);
            progress.advance(1);
            result
        })?;
        let mut data = format!("classes = {}\n", CLASSES.len());
        for (split, key) in Split::ALL.into_iter().zip(["train", "valid", "test"]) {
            if self.count(split) == 0 {
                continue;
            }
            let mut list = String::new();
            for index in 0..self.count(split) {
                // Writing to a string cannot fail.
                let _ = writeln!(list, "images/{}-{index:05}.{}", split.name(), self.format.extension());
            }
            let file = format!("{}.txt", split.name());
            files::write_bytes(&folder.join(&file), list.as_bytes())?;
            let _ = writeln!(data, "{key} = {file}");
        }
        files::write_bytes(&folder.join("scenes.names"), (CLASSES.join("\n") + "\n").as_bytes())?;
        data += "names = scenes.names\nbackup = backup\n";
        let path = folder.join("scenes.data");
        files::write_bytes(&path, data.as_bytes())?;
        Ok(path)
    }

    /// Writes one image, and then its labels: where those are, the image is whole.
    fn write_image(&self, folder: &Path, split: Split, index: u32) -> Result<()> {
        let image = folder.join(self.image_path(split, index));
        let labels = folder.join("labels").join(format!("{}-{index:05}.txt", split.name()));
        debug_assert_eq!(label_path(&image), labels);
        if labels.is_file() && image.is_file() {
            return Ok(());
        }
        let scene = self.scene(split, index);
        save_image(&image, &scene.image)?;
        files::write_bytes(&labels, label_text(&scene.truths).as_bytes())
    }

    /// Takes a folder that is new, empty or of the same scenes.
    fn claim(&self, folder: &Path) -> Result<()> {
        let record = Record { generation: GENERATION, scenes: *self };
        let path = folder.join(RECORD);
        if path.is_file() {
            let bytes = files::read_limited(&path, MAX_RECORD_BYTES)?;
            if serde_json::from_slice::<Record>(&bytes).is_ok_and(|found| found == record) {
                return Ok(());
            }
            return Err(Error::new("the folder holds other scenes")
                .file(path)
                .found(String::from_utf8_lossy(&bytes).trim().to_owned())
                .allowed(record.text())
                .help("give another folder, or the same seed, size, format and numbers of images"));
        }
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return files::write_bytes(&path, record.text().as_bytes());
            }
            Err(error) => return Err(Error::io("read", folder, &error)),
        };
        let foreign = entries.flatten().map(|entry| entry.file_name()).find(|name| {
            // A run that was killed at once leaves no more than the record's temporary file.
            !name.as_encoded_bytes().starts_with(files::TEMPORARY_PREFIX.as_bytes())
        });
        match foreign {
            None => files::write_bytes(&path, record.text().as_bytes()),
            Some(name) => Err(Error::new("the folder is not empty")
                .file(folder)
                .found(name.display().to_string())
                .allowed("a new or empty folder, or one that an earlier run of the same command began")),
        }
    }
}

impl Record {
    fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("the record has string keys");
        text + "\n"
    }
}

/// Labels in Darknet's form.
fn label_text(truths: &[Truth]) -> String {
    let mut text = String::new();
    for Truth { class, bbox } in truths {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{class} {:.6} {:.6} {:.6} {:.6}", bbox.x, bbox.y, bbox.w, bbox.h);
    }
    text
}
