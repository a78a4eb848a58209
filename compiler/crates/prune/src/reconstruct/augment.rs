//! More images from few: mirrored and zoomed copies, so that a reconstruction fits more than the set.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use secateur_data::{Image, resize};
use secateur_ir::Shape;

/// Smallest fraction of an image's sides that a zoomed copy shows.
const MIN_ZOOM: f32 = 0.5;

/// `copies` of every input `[c][h][w]`: itself, its mirror image, then seeded crops of half to the
/// whole of its sides, every other one mirrored, brought to the input's size.
pub fn augment(inputs: &[&[f32]], shape: Shape, copies: usize, seed: u64) -> Vec<Vec<f32>> {
    (0..inputs.len() * copies)
        .into_par_iter()
        .map(|index| {
            let (image, copy) = (inputs[index / copies], index % copies);
            let mut data = if copy < 2 { image.to_vec() } else { zoom(image, shape, seed, index) };
            if copy % 2 == 1 {
                data.chunks_exact_mut(shape.w).for_each(<[f32]>::reverse);
            }
            data
        })
        .collect()
}

fn zoom(image: &[f32], shape: Shape, seed: u64, index: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index as u64);
    let fraction: f32 = rng.random_range(MIN_ZOOM..1.0);
    let part = |side: usize| ((side as f32 * fraction) as usize).max(1);
    let (w, h) = (part(shape.w), part(shape.h));
    let (left, top) = (rng.random_range(0..=shape.w - w), rng.random_range(0..=shape.h - h));
    let rows = image
        .chunks_exact(shape.plane())
        .flat_map(|plane| (top..top + h).flat_map(move |row| &plane[row * shape.w + left..][..w]));
    let cropped = Image { shape: Shape::new(shape.c, h, w), data: rows.copied().collect() };
    resize(&cropped, shape.w, shape.h).data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_the_image_its_mirror_and_crops_of_it() {
        let shape = Shape::new(1, 6, 8);
        let image: Vec<f32> = (0..shape.len()).map(|i| i as f32).collect();
        let copies = augment(&[&image, &image], shape, 4, 1);
        assert_eq!(copies.len(), 8);
        assert_eq!(copies[0], image);
        assert_eq!(copies[1][..8], [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
        for copy in &copies {
            assert_eq!(copy.len(), shape.len());
            assert!(copy.iter().all(|v| (0.0..48.0).contains(v)));
        }
        // Left to right the values of a crop rise; of a mirrored one they fall.
        assert!(copies[2][0] < copies[2][7] && copies[3][0] > copies[3][7]);
        assert_ne!(copies[2], copies[6], "other images, other crops");
        assert_eq!(augment(&[&image, &image], shape, 4, 1), copies);
    }
}
