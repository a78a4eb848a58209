//! A folder of scenes as Darknet takes it: images, labels, lists, names and a `.data` file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use secateur_base::limits::MAX_LABEL_BYTES;
use secateur_base::progress::Progress;
use secateur_base::{Error, Result, files};
use secateur_data::{Truth, encode_image, label_path, load_image};
use serde::{Deserialize, Serialize};

use crate::{CLASSES, Options, Scene};

/// Changes whenever a scene's bytes do: folders of another generation are not mixed with this one.
const GENERATION: u32 = 1;
/// The file that says what a folder holds.
pub(crate) const RECORD: &str = "scenes.json";
const NAMES: &str = "scenes.names";
const DATA: &str = "scenes.data";
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
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Png, Self::Jpg];

    /// The extension of its files, by which it is also called.
    pub const fn extension(self) -> &'static str {
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
    /// Most images of a split.
    pub const MOST: u32 = 99_999;

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

    /// An image's path below the folder, as the lists name it.
    fn image_path(&self, split: Split, index: u32) -> String {
        format!("images/{}-{index:05}.{}", split.name(), self.format.extension())
    }

    /// All files that [`Splits::write`] writes.
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let lists = Split::ALL.map(list_name);
        let single =
            lists.iter().map(String::as_str).chain([RECORD, NAMES, DATA]).map(|name| folder.join(name));
        let images = self.images().map(|(split, index)| folder.join(self.image_path(split, index)));
        single.chain(images.flat_map(|image| [label_path(&image), image])).collect()
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
            if self.count(split) > 0 {
                let list: String =
                    (0..self.count(split)).map(|index| self.image_path(split, index) + "\n").collect();
                files::write_bytes(&folder.join(list_name(split)), list.as_bytes())?;
                data += &format!("{key} = {}\n", list_name(split));
            }
        }
        data += &format!("names = {NAMES}\nbackup = backup\n");
        files::write_bytes(&folder.join(NAMES), (CLASSES.join("\n") + "\n").as_bytes())?;
        // It comes last: where it is, the folder is whole.
        let path = folder.join(DATA);
        files::write_bytes(&path, data.as_bytes())?;
        Ok(path)
    }

    /// Writes one image, and then its labels.
    fn write_image(&self, folder: &Path, split: Split, index: u32) -> Result<()> {
        let image = folder.join(self.image_path(split, index));
        let labels = label_path(&image);
        if is_whole(&image, &labels) {
            return Ok(());
        }
        let scene = self.scene(split, index);
        files::write_unsynced(&image, &encode_image(&image, &scene.image)?)?;
        files::write_unsynced(&labels, label_text(&scene.truths).as_bytes())
    }

    /// Takes a folder that is new, empty or of the same scenes.
    fn claim(&self, folder: &Path) -> Result<()> {
        let record = Record { generation: GENERATION, scenes: *self };
        let path = folder.join(RECORD);
        if path.is_file() {
            let bytes = files::read_limited(&path, MAX_RECORD_BYTES)?;
            let found = match serde_json::from_slice::<Record>(&bytes) {
                Ok(found) if found == record => return Ok(()),
                Ok(found) => found.line(),
                Err(error) => error.to_string(),
            };
            return Err(Error::new("the folder holds other scenes")
                .file(path)
                .found(found)
                .allowed(record.line())
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

    /// The record in a line, for messages.
    fn line(&self) -> String {
        serde_json::to_string(self).expect("the record has string keys")
    }
}

fn list_name(split: Split) -> String {
    format!("{}.txt", split.name())
}

/// Tells whether an earlier run has written an image and its labels. After a power failure files may be cut or empty,
/// and what may be so is drawn again.
fn is_whole(image: &Path, labels: &Path) -> bool {
    let has_end = |labels: Vec<u8>| labels.ends_with(b"\n");
    files::read_limited(labels, MAX_LABEL_BYTES).is_ok_and(has_end) && load_image(image).is_ok()
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
