//! Classifiers: the best classes, and how often the right one is among them.

use std::path::Path;

/// Indices of the `k` greatest values, greatest first; of equal ones the smaller index first.
pub fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(k);
    order
}

/// The class of a picture as Darknet tells it: the first name that occurs in its path.
pub fn label_of_path(picture: &Path, names: &[String]) -> Option<usize> {
    let path = picture.to_string_lossy();
    names.iter().position(|name| !name.is_empty() && path.contains(name.as_str()))
}

/// Whether the right class is among the `k` best of every picture.
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
