//! Decoded images in memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_data::{load_image_as, resize};

use super::Findings;
use crate::augment::Pixels;

/// Decoded images as bytes, within a bound of memory; what does not fit is decoded anew each time.
///
/// An image that is larger than needed on both sides is scaled down until one side is no larger: a photo of 12
/// megapixels would take 36 MB, fill the memory and be read line by line for a crop of 320 × 320. Needed is twice the
/// largest input (or a classifier's greatest crop), so that a crop of half of the image still has a pixel for a pixel. The
/// scaling is the bilinear one of evaluation, without a low-pass filter, so that training sees the grain that
/// evaluation sees. It does not depend on whether the image fits into the cache, and nor does any example.
///
/// Images stay once they are in. In each epoch each image is needed about as often as any other, so nothing is gained
/// by replacing one by another.
pub(super) struct Cache {
    slots: Vec<OnceLock<Arc<Pixels>>>,
    /// Bytes that are left.
    left: AtomicUsize,
    needed: [usize; 2],
}

impl Cache {
    /// An empty cache for `images` images of which `needed` (width, height) pixels are needed.
    pub(super) fn new(images: usize, bytes: usize, needed: [usize; 2]) -> Self {
        let slots = (0..images).map(|_| OnceLock::new()).collect();
        Self { slots, left: AtomicUsize::new(bytes), needed }
    }

    /// Image `index` of the list, which is the file `path`, with one or three channels.
    ///
    /// # Errors
    /// The file cannot be read or decoded.
    pub(super) fn get(&self, index: usize, path: &Path, channels: usize) -> Result<Arc<Pixels>> {
        let slot = &self.slots[index];
        if let Some(pixels) = slot.get() {
            return Ok(Arc::clone(pixels));
        }
        let pixels = Arc::new(self.load(path, channels)?);
        let bytes = pixels.bytes.len();
        let reserve = |left: usize| left.checked_sub(bytes);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok()
            && slot.set(Arc::clone(&pixels)).is_err()
        {
            // Another thread has decoded the same image meanwhile.
            self.left.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(pixels)
    }

    /// Decodes all images once and keeps those that fit; images that cannot be decoded go into `findings`.
    pub(super) fn fill(&self, images: &[PathBuf], channels: usize, findings: &mut Findings) {
        let progress = Progress::new(format!("checking {} images", images.len()), images.len() as u64);
        let failures: Vec<_> = images
            .par_iter()
            .enumerate()
            .map(|(index, path)| {
                let result = self.get(index, path, channels);
                progress.advance(1);
                result.err()
            })
            .collect();
        findings.errors.extend(failures.into_iter().flatten());
    }

    fn load(&self, path: &Path, channels: usize) -> Result<Pixels> {
        let image = load_image_as(path, channels)?;
        let [w, h] = scaled_size([image.shape.w, image.shape.h], self.needed);
        Ok(Pixels::from_image(&resize(&image, w, h)))
    }
}

/// The size of an image once no side is smaller than needed, nor larger on both sides.
fn scaled_size([w, h]: [usize; 2], needed: [usize; 2]) -> [usize; 2] {
    // The side that reaches its need first, as exact fractions.
    let (to, from) = if needed[0] * h >= needed[1] * w { (needed[0], w) } else { (needed[1], h) };
    if to >= from { [w, h] } else { [w, h].map(|side| (side * to).div_ceil(from)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_larger_than_needed_are_scaled() {
        assert_eq!(scaled_size([640, 480], [640, 640]), [640, 480]);
        assert_eq!(scaled_size([1280, 480], [640, 480]), [1280, 480], "one side is needed whole");
        assert_eq!(scaled_size([4000, 3000], [640, 640]), [854, 640]);
        assert_eq!(scaled_size([3000, 4000], [640, 640]), [640, 854]);
        assert_eq!(scaled_size([1, 1], [640, 640]), [1, 1]);
    }

    #[test]
    fn the_bound_holds_and_changes_no_pixel() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..4).map(|i| folder.path().join(format!("{i}.png"))).collect();
        for (index, path) in paths.iter().enumerate() {
            super::super::tests::write_png(path, 30, 20, |x, y| [x as u8, y as u8, index as u8]);
        }
        let bytes = 30 * 20 * 3;
        let (small, large) = (Cache::new(4, 2 * bytes + 7, [99; 2]), Cache::new(4, usize::MAX, [99; 2]));
        let mut findings = Findings::default();
        small.fill(&paths, 3, &mut findings);
        assert!(findings.errors.is_empty());
        assert_eq!(small.slots.iter().filter(|slot| slot.get().is_some()).count(), 2);
        assert_eq!(small.left.load(Ordering::Relaxed), 7);
        for (index, path) in paths.iter().enumerate() {
            let pixels = small.get(index, path, 3).unwrap();
            assert_eq!(pixels, large.get(index, path, 3).unwrap());
            assert_eq!(pixels.bytes[(5 * 30 + 9) * 3..][..3], [9, 5, index as u8]);
        }
    }
}
