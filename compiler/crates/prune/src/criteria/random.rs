//! Random order.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Criterion, Inputs, Scores};

/// A seeded shuffle: the control that every other criterion has to beat.
pub struct Random;

impl Criterion for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn help(&self) -> &'static str {
        "A seeded shuffle: the control that every other criterion has to beat"
    }

    /// The turn of each unit. Every group draws from a stream of its own.
    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        let mut rng = ChaCha8Rng::seed_from_u64(inputs.seed);
        rng.set_stream(group as u64);
        let mut order: Vec<usize> = (0..inputs.units.groups()[group].units).collect();
        order.shuffle(&mut rng);
        let mut turns = vec![0.0; order.len()];
        order.into_iter().enumerate().for_each(|(turn, unit)| turns[unit] = turn as f64);
        Scores::of(turns)
    }
}
