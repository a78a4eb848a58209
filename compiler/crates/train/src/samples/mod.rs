//! Batches of augmented examples, each a function of the seed and its number alone.

mod cache;
mod labels;
mod sizes;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use secateur_base::Result;
use secateur_data::Truth;
use secateur_ir::Shape;
use secateur_ir::training::Augmentation;

use crate::augment::{Augmenter, Mixture, Source};
use crate::loss::Truths;
use crate::random::{Stream, stream};
use cache::Cache;

pub use labels::{Findings, Labels};
pub use sizes::Sizes;

/// How examples are made from a list of images.
#[derive(Debug, Clone)]
pub struct Options {
    pub augmentation: Augmentation,
    pub sizes: Sizes,
    /// Greatest number of boxes that a head takes of an image.
    pub max_boxes: usize,
    /// Images in a batch.
    pub batch: usize,
    pub seed: u64,
    /// Bytes of memory for decoded images.
    pub cache_bytes: usize,
}

/// Examples of a list of labelled images, in a random order that is new in each epoch.
///
/// Example `i` of batch `b` is number `g = b · batch + i` of the training: position `g mod n` of epoch `g / n`, where
/// `n` is the length of the list. Each epoch is a permutation of the list (Darknet draws with replacement); batches run
/// over the ends of epochs.
pub struct Samples {
    images: Vec<PathBuf>,
    labels: Labels,
    augmenter: Augmenter,
    options: Options,
    cache: Cache,
    /// The epoch that was asked for last, and its order.
    order: Mutex<Option<(u64, Arc<Vec<u32>>)>>,
}

/// Examples that pass through the network together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The network's input.
    pub input: Shape,
    /// `[image][c][h][w]`, 0..1.
    pub values: Vec<f32>,
    pub labels: BatchLabels,
    /// The image of the list that each example shows; of mixtures, the first.
    pub images: Vec<usize>,
}

/// What the network should say of the examples of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchLabels {
    /// Boxes of each example.
    Boxes(Vec<Vec<Truth>>),
    /// Targets, `[example][class]`.
    Targets(Vec<f32>),
}

impl Batch {
    /// The labels as a loss takes them.
    pub fn truths(&self) -> Truths<'_> {
        match &self.labels {
            BatchLabels::Boxes(boxes) => Truths::Boxes(boxes),
            BatchLabels::Targets(targets) => Truths::Targets(targets),
        }
    }
}

impl Samples {
    /// Checks images and labels, and fills the cache while at it. Returns the examples and warnings.
    ///
    /// # Errors
    /// All images that cannot be decoded, with all that `findings` holds of the labels, in one error; values of the
    /// augmentation that have no meaning.
    ///
    /// # Panics
    /// If there are no images or not as many labels, or a batch has no images.
    pub fn new(
        images: Vec<PathBuf>,
        labels: Labels,
        mut findings: Findings,
        options: Options,
    ) -> Result<(Self, Vec<String>)> {
        assert!(!images.is_empty() && images.len() == labels.len(), "every image has labels");
        assert!(options.batch > 0, "a batch has images");
        let augmenter = Augmenter::new(options.augmentation.clone(), labels.task(), options.max_boxes)?;
        let cache = Cache::new(images.len(), options.cache_bytes, options.needed_size());
        let channels = options.sizes.input.c;
        cache.fill(&images, channels, &mut findings);
        let warnings = findings.into_warnings()?;
        Ok((Self { images, labels, augmenter, options, cache, order: Mutex::new(None) }, warnings))
    }

    /// Number of images of the list, which is the number of examples in an epoch.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The files of the images, in the list's order.
    pub fn images(&self) -> &[PathBuf] {
        &self.images
    }

    /// Examples `range` of batch `number`, both counted from 0: a whole batch or one of its subdivisions.
    ///
    /// # Errors
    /// An image can no longer be read.
    pub fn batch(&self, number: u64, range: Range<usize>) -> Result<Batch> {
        let input = self.options.sizes.at(number, self.options.seed);
        let mut values = vec![0.0; range.len() * input.len()];
        let first = number * self.options.batch as u64 + range.start as u64;
        let places: Vec<(u64, u64, usize)> =
            (first..first + range.len() as u64).map(|example| self.place(example)).collect();
        let outputs = values.par_chunks_exact_mut(input.len()).zip(&places);
        let labels = match &self.labels {
            Labels::Boxes(all) => BatchLabels::Boxes(
                outputs
                    .map(|(out, place)| {
                        self.example(*place, all, |mixture, sources, rng| {
                            self.augmenter.detection(mixture, sources, rng, input, out)
                        })
                    })
                    .collect::<Result<_>>()?,
            ),
            Labels::Targets(all) => BatchLabels::Targets(
                outputs
                    .map(|(out, place)| {
                        self.example(*place, all, |mixture, sources, rng| {
                            self.augmenter.classification(mixture, sources, rng, input, out)
                        })
                    })
                    .collect::<Result<Vec<_>>>()?
                    .concat(),
            ),
        };
        let images = places.iter().map(|(_, _, image)| *image).collect();
        Ok(Batch { input, values, labels, images })
    }

    /// Epoch, position in it and image of an example, by its number in the training.
    fn place(&self, example: u64) -> (u64, u64, usize) {
        let (epoch, position) = (example / self.len() as u64, example % self.len() as u64);
        (epoch, position, self.order(epoch)[position as usize] as usize)
    }

    /// The order of an epoch.
    fn order(&self, epoch: u64) -> Arc<Vec<u32>> {
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, order)) if *of == epoch => Arc::clone(order),
            _ => {
                let mut order: Vec<u32> = (0..self.len() as u32).collect();
                order.shuffle(&mut stream(self.options.seed, Stream::Order, epoch, 0));
                let order = Arc::new(order);
                *last = Some((epoch, Arc::clone(&order)));
                order
            }
        }
    }

    /// Draws the mixture of an example, loads its images and hands them to `augment`.
    fn example<L>(
        &self,
        (epoch, position, image): (u64, u64, usize),
        labels: &[Vec<L>],
        augment: impl FnOnce(Mixture, &[Source<'_, [L]>], &mut ChaCha8Rng) -> Vec<L>,
    ) -> Result<Vec<L>> {
        let mut rng = stream(self.options.seed, Stream::Example, epoch, position);
        let mixture = self.augmenter.draw_mixture(&mut rng);
        let mut images = vec![image];
        // As in Darknet, the other images of a mixture are any of the list.
        images.extend((1..mixture.images()).map(|_| rng.random_range(0..self.len() as u32) as usize));
        let channels = self.options.sizes.input.c;
        let pixels: Vec<_> = images
            .iter()
            .map(|&image| self.cache.get(image, &self.images[image], channels))
            .collect::<Result<_>>()?;
        let sources: Vec<Source<'_, [L]>> = pixels
            .iter()
            .zip(&images)
            .map(|(pixels, &image)| Source { pixels, labels: &labels[image][..] })
            .collect();
        Ok(augment(mixture, &sources, &mut rng))
    }
}

impl Options {
    /// Width and height of an image that is large enough for every crop: see [`Cache`].
    fn needed_size(&self) -> [usize; 2] {
        let input = self.sizes.max_input();
        let crop = self.augmentation.crop[1];
        [(2 * input.w).max(crop), (2 * input.h).max(crop)]
    }
}
