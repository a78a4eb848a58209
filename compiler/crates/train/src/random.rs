//! Streams of random numbers, one for each purpose and place in a training.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for: equal seeds and places yield other numbers for another purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The order of an epoch's images; place: epoch, 0.
    Order = 1,
    /// One example's augmentation; place: epoch, position in the epoch.
    Example = 2,
    /// The input's size; place: number of the period of batches, 0.
    Size = 3,
    /// A run of k-means; place: number of the run, 0.
    Anchors = 4,
}

/// The stream of `seed` for a purpose and place. It depends on nothing else, so that threads and resumed trainings
/// draw the same numbers.
pub(crate) fn stream(seed: u64, purpose: Stream, first: u64, second: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    for (part, value) in bytes.chunks_exact_mut(8).zip([seed, purpose as u64, first, second]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}
