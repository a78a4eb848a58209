//! Classifiers: the best classes, and how often the right one is among them.

use std::path::Path;

use secateur_base::{Error, Result};
use secateur_data::Dataset;

use super::{Detector, Interval, bootstrap_mean, heads_all};

/// Fraction of images whose class is among the `k` best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopK {
    pub k: usize,
    pub accuracy: f64,
    /// 95 % interval over images.
    pub interval: Interval,
}

/// Indices of the `k` greatest values, greatest first; of equal ones the smaller index first.
pub fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(k);
    order
}

/// The class of an image by Darknet's rule: the first name that occurs in its path.
pub fn label_of_path(image: &Path, names: &[String]) -> Option<usize> {
    let path = image.to_string_lossy();
    names.iter().position(|name| !name.is_empty() && path.contains(name.as_str()))
}

/// Top-1 and top-5 accuracy of a classifier.
///
/// # Errors
/// No class name occurs in an image's path, or an image cannot be read.
pub fn top_k_accuracy(detector: &dyn Detector, dataset: &Dataset, seed: u64) -> Result<[TopK; 2]> {
    let label = |image: &std::path::PathBuf| {
        label_of_path(image, &dataset.names).ok_or_else(|| {
            Error::new("no class name occurs in the image's path")
                .file(image)
                .allowed("a path that holds one of the names, as in train/0017_cat.png")
        })
    };
    let labels: Vec<usize> = dataset.images.iter().map(label).collect::<Result<_>>()?;
    let outputs: Vec<Vec<f32>> =
        heads_all(detector, dataset)?.into_iter().map(|mut heads| heads.pop().unwrap_or_default()).collect();
    Ok([1, 5].map(|k| {
        let hits = top_k_hits(&outputs, &labels, k);
        let counted: Vec<(f64, f64)> = hits.iter().map(|&hit| (f64::from(u8::from(hit)), 1.0)).collect();
        let accuracy = counted.iter().map(|&(hit, _)| hit).sum::<f64>() / counted.len() as f64;
        TopK { k, accuracy, interval: bootstrap_mean(&counted, seed) }
    }))
}

/// Returns whether the right class is among the `k` best of every image.
pub fn top_k_hits(outputs: &[Vec<f32>], labels: &[usize], k: usize) -> Vec<bool> {
    outputs.iter().zip(labels).map(|(output, label)| top_k(output, k).contains(label)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first() {
        assert_eq!(top_k(&[0.1, 0.5, 0.3, 0.5], 3), [1, 3, 2]);
        assert_eq!(top_k(&[0.1], 3), [0]);
        assert_eq!(top_k_hits(&[vec![0.1, 0.9], vec![0.9, 0.1]], &[1, 1], 1), [true, false]);
    }

    #[test]
    fn the_path_names_the_class() {
        let names = ["cat".to_owned(), "dog".to_owned()];
        assert_eq!(label_of_path(Path::new("train/17_dog.png"), &names), Some(1));
        assert_eq!(label_of_path(Path::new("train/17_frog.png"), &names), None);
    }
}
