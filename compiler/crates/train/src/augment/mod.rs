//! Darknet's augmentations: random crops, colours, flips and mixtures of training images, with labels that follow.
//!
//! Behaviour after AlexeyAB's data.c and image.c. Detectors follow the path without OpenCV (a crop beyond the image
//! repeats its edge); mosaic, blur and noise, which Darknet
//! has with OpenCV only, follow the path with it. What is random has
//! Darknet's distributions, not its sequence: all numbers come from the caller's generator, so that an example depends
//! on that generator's seed alone. A mixture is drawn for each example, where Darknet draws it for each of its loading
//! threads.

mod blur;
mod boxes;
mod colour;
mod crop;
mod mosaic;
mod noise;
mod rotate;
#[cfg(test)]
mod tests;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use secateur_base::{Error, Result};
use secateur_data::{Image, Truth};
use secateur_ir::Shape;
use secateur_ir::training::{Augmentation, Mix};

use colour::Distortion;
use crop::Window;
use rotate::RotatedCrop;

/// A decoded image: bytes `[h][w][c]` with one (grey) or three (red, green, blue) channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    pub shape: Shape,
    pub bytes: Vec<u8>,
}

impl Pixels {
    pub fn from_image(image: &Image) -> Self {
        Self { shape: image.shape, bytes: image.to_bytes() }
    }
}

/// An image with its labels: boxes `[Truth]` of a detector, or a classifier's target `[f32]`, one value for each class.
#[derive(Debug)]
pub struct Source<'a, L: ?Sized> {
    pub pixels: &'a Pixels,
    pub labels: &'a L,
}

/// How the images of one example are mixed: what was drawn of the cfg's [`Mix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixture {
    /// One image.
    Single,
    /// The mean of two images.
    MixUp,
    /// A rectangle of a second image laid over the first.
    CutMix,
    /// Four images around a random point.
    Mosaic,
}

impl Mixture {
    /// Number of images that the mixture takes.
    pub fn images(self) -> usize {
        match self {
            Self::Single => 1,
            Self::MixUp | Self::CutMix => 2,
            Self::Mosaic => 4,
        }
    }
}

/// What a network learns, which decides how its images are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Detection,
    Classification,
}

/// Makes examples for a network out of decoded images and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmenter {
    keys: Augmentation,
    task: Task,
    /// Greatest number of boxes in an example; others are left out at random.
    max_boxes: usize,
}

/// Changes nothing: a detector's images are stretched to `input`, of a classifier's the middle is cut out.
pub fn no_augmentation(input: Shape) -> Augmentation {
    Augmentation {
        angle: 0.0,
        aspect: 1.0,
        crop: [input.w; 2],
        saturation: 1.0,
        exposure: 1.0,
        hue: 0.0,
        flip: false,
        blur: 0,
        gaussian_noise: 0,
        mix: Mix::None,
        mosaic_bound: false,
        letter_box: false,
        jitter: 0.0,
        resize: 1.0,
        multi_scale: None,
        resize_step: 32,
        label_smooth_eps: 0.0,
    }
}

impl Augmenter {
    /// Takes what a cfg says, and the greatest number of boxes that its heads take of an image (key `max`).
    ///
    /// # Errors
    /// Names the first key that has no meaning here or that Darknet refuses, what it holds and what it may hold.
    pub fn new(keys: Augmentation, task: Task, max_boxes: usize) -> Result<Self> {
        let refuse = |key: &str, found: f32, allowed: &str| {
            Err(Error::new(format!("{key} is out of range")).found(format!("{key}={found}")).allowed(allowed))
        };
        if !(0.0..1.0).contains(&keys.jitter) {
            return refuse("jitter", keys.jitter, "0 to below 1");
        }
        if !(keys.resize > 0.0 && keys.resize.is_finite()) {
            return refuse("resize", keys.resize, "above 0");
        }
        if !(0.0..=1.0).contains(&keys.hue) {
            return refuse("hue", keys.hue, "0 to 1");
        }
        let factors = [("saturation", keys.saturation), ("exposure", keys.exposure), ("aspect", keys.aspect)];
        for (key, value) in factors {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, value, "above 0");
            }
        }
        if !keys.angle.is_finite() {
            return refuse("angle", keys.angle, "degrees");
        }
        if task == Task::Detection && keys.letter_box && matches!(keys.mix, Mix::Mosaic | Mix::CutmixOrMosaic)
        {
            return Err(Error::new("letter_box=1 and mosaic=1 exclude each other")
                .help("Darknet does not train so either: set one of them to 0"));
        }
        Ok(Self { keys, task, max_boxes })
    }

    /// Draws the mixture of an example: none in half of the cases, else the one that the keys ask for.
    ///
    /// Cutmix is of classifiers alone. A detector's `cutmix=1` has no effect, and `mosaic=1` beside it always one.
    pub fn draw_mixture(&self, rng: &mut ChaCha8Rng) -> Mixture {
        let mixed = coin(rng);
        match (self.keys.mix, self.task) {
            _ if !mixed => Mixture::Single,
            (Mix::None, _) | (Mix::Cutmix, Task::Detection) => Mixture::Single,
            (Mix::Mixup, _) => Mixture::MixUp,
            (Mix::Cutmix, Task::Classification) => Mixture::CutMix,
            (Mix::CutmixOrMosaic, Task::Classification) if coin(rng) => Mixture::CutMix,
            (Mix::Mosaic | Mix::CutmixOrMosaic, _) => Mixture::Mosaic,
        }
    }

    /// Writes an example for a detector into `out` (`[c][h][w]` of `input`, 0..1) and returns its labels.
    ///
    /// Labels are relative to the input, clipped to it, at least a pixel wide and high, in random order.
    ///
    /// # Panics
    /// If `sources` are not as many as `mixture` takes, have other channels than `input`, or `out` has another length.
    pub fn detection(
        &self,
        mixture: Mixture,
        sources: &[Source<'_, [Truth]>],
        rng: &mut ChaCha8Rng,
        input: Shape,
        out: &mut [f32],
    ) -> Vec<Truth> {
        assert_eq!((sources.len(), out.len()), (mixture.images(), input.len()));
        let full = Patch::full(input);
        match mixture {
            Mixture::Mosaic => self.mosaic(sources, rng, input, out),
            // Cutmix is a mixture of classifiers: a detector's labels would outlive their covered objects.
            Mixture::Single | Mixture::CutMix => {
                let view = self.draw_view(&sources[0], None, rng, input);
                out.copy_from_slice(&view.render(full));
                view.truths
            }
            Mixture::MixUp => {
                let [first, second] = [0, 1].map(|index| self.draw_view(&sources[index], None, rng, input));
                mean(&first.render(full), &second.render(full), out);
                let mut truths = first.truths;
                truths.extend(second.truths);
                truths.truncate(self.max_boxes);
                truths
            }
        }
    }

    /// Writes an example for a classifier into `out` (`[c][h][w]` of `input`, 0..1) and returns its target, the mean
    /// of the sources' targets weighted by their visible areas.
    ///
    /// # Panics
    /// As [`Augmenter::detection`].
    pub fn classification(
        &self,
        mixture: Mixture,
        sources: &[Source<'_, [f32]>],
        rng: &mut ChaCha8Rng,
        input: Shape,
        out: &mut [f32],
    ) -> Vec<f32> {
        assert_eq!((sources.len(), out.len()), (mixture.images(), input.len()));
        let views: Vec<(RotatedCrop, Distortion)> =
            sources.iter().map(|source| self.draw_rotated(source.pixels.shape, rng, input)).collect();
        let render = |index: usize, patch: Patch| {
            let (view, distortion) = &views[index];
            view.render(sources[index].pixels, distortion, input, patch)
        };
        let full = Patch::full(input);
        let weights: Vec<f32> = match mixture {
            Mixture::Single => {
                out.copy_from_slice(&render(0, full));
                vec![1.0]
            }
            Mixture::MixUp => {
                mean(&render(0, full), &render(1, full), out);
                vec![0.5; 2]
            }
            Mixture::CutMix => {
                out.copy_from_slice(&render(0, full));
                let patch = draw_cut(rng, input);
                patch.paste(&render(1, patch), out, input);
                vec![1.0 - patch.fraction(input), patch.fraction(input)]
            }
            Mixture::Mosaic => {
                let patches = mosaic::quarters(mosaic::draw_centre(rng, input), input);
                for (index, patch) in patches.iter().enumerate() {
                    patch.paste(&render(index, *patch), out, input);
                }
                patches.iter().map(|patch| patch.fraction(input)).collect()
            }
        };
        if self.keys.blur > 0 && rng.random_range(0..4) == 0 {
            let width = if self.keys.blur == 1 { blur::CLASSIFIER_WIDTH } else { self.keys.blur };
            blur::blur(out, input, width);
        }
        let target = |class| weights.iter().zip(sources).map(|(weight, s)| weight * s.labels[class]).sum();
        (0..sources[0].labels.len()).map(target).collect()
    }

    fn draw_rotated(&self, image: Shape, rng: &mut ChaCha8Rng, input: Shape) -> (RotatedCrop, Distortion) {
        let crop = RotatedCrop::draw(&self.keys, image, rng, input);
        (crop, Distortion::draw(&self.keys, rng))
    }

    /// Draws how a detector sees one image, as a part of a mosaic if `corner` (0 to 3) is given.
    fn draw_view<'a>(
        &self,
        source: &Source<'a, [Truth]>,
        corner: Option<usize>,
        rng: &mut ChaCha8Rng,
        input: Shape,
    ) -> View<'a> {
        let flip = self.keys.flip && coin(rng);
        let window = Window::draw(&self.keys, source.pixels.shape, input, flip, corner, rng);
        let distortion = Distortion::draw(&self.keys, rng);
        let truths = boxes::place(source.labels, &window, input, self.max_boxes, rng);
        let blur = blur::Blur::draw(self.keys.blur, &truths, input, rng);
        let noise = noise::Noise::draw(self.keys.gaussian_noise, rng);
        View { pixels: source.pixels, window, distortion, blur, noise, truths, input }
    }
}

/// How a detector sees one image.
struct View<'a> {
    pixels: &'a Pixels,
    window: Window,
    distortion: Distortion,
    blur: blur::Blur,
    noise: Option<noise::Noise>,
    /// Labels, relative to the input.
    truths: Vec<Truth>,
    input: Shape,
}

impl View<'_> {
    /// Renders the part of the view that `patch` names: `[c][patch.size]`.
    fn render(&self, patch: Patch) -> Vec<f32> {
        let mut part = crop::render(self.pixels, &self.window, &self.distortion, self.input, patch);
        self.blur.apply(&mut part, &self.truths, self.input, patch);
        if let Some(noise) = &self.noise {
            noise.add(&mut part);
        }
        part
    }
}

/// A rectangle of a view and its place in an example, both in pixels of the network's input, x before y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patch {
    from: [usize; 2],
    to: [usize; 2],
    size: [usize; 2],
}

impl Patch {
    fn full(input: Shape) -> Self {
        Self { from: [0; 2], to: [0; 2], size: [input.w, input.h] }
    }

    /// The shape of the patch's pixels.
    fn shape(self, channels: usize) -> Shape {
        Shape::new(channels, self.size[1], self.size[0])
    }

    /// The fraction of the input that it covers.
    fn fraction(self, input: Shape) -> f32 {
        (self.size[0] * self.size[1]) as f32 / input.plane() as f32
    }

    /// Copies the patch's pixels `[c][h][w]` to its place in an example.
    fn paste(self, part: &[f32], example: &mut [f32], input: Shape) {
        let [w, h] = self.size;
        if w * h == 0 {
            return;
        }
        for (plane, source) in example.chunks_exact_mut(input.plane()).zip(part.chunks_exact(w * h)) {
            for (y, row) in source.chunks_exact(w).enumerate() {
                plane[(self.to[1] + y) * input.w + self.to[0]..][..w].copy_from_slice(row);
            }
        }
    }
}

/// The rectangle that cutmix takes: 30 to 80 % of each side, anywhere.
fn draw_cut(rng: &mut ChaCha8Rng, input: Shape) -> Patch {
    let mut along = |side: usize| {
        let length = draw_between(rng, (side as f32 * 0.3) as usize, (side as f32 * 0.8) as usize);
        (draw_between(rng, 0, side.saturating_sub(length + 1)), length)
    };
    let ((x, w), (y, h)) = (along(input.w), along(input.h));
    Patch { from: [x, y], to: [x, y], size: [w, h] }
}

fn mean(a: &[f32], b: &[f32], out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = (a + b) / 2.0;
    }
}

fn coin(rng: &mut impl Rng) -> bool {
    rng.next_u32() & 1 == 1
}

/// A whole number from `low` to `high`, both included.
fn draw_between(rng: &mut ChaCha8Rng, low: usize, high: usize) -> usize {
    // 32 bits on every platform.
    rng.random_range(low as u32..=high.max(low) as u32) as usize
}

/// A number between `low` and `high`.
fn draw_uniform(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + rng.random::<f32>() * (high - low)
}

/// A factor between 1 and `limit`, or the inverse of one (Darknet's `rand_scale`); a limit of 0 counts as 1.
pub(crate) fn draw_factor(rng: &mut ChaCha8Rng, limit: f32) -> f32 {
    let limit = if limit == 0.0 { 1.0 } else { limit };
    let factor = draw_uniform(rng, 1.0, limit);
    if coin(rng) { factor } else { 1.0 / factor }
}
