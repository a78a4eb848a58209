//! The learning rate at a batch number, in Darknet's arithmetic (its network.c).

use std::f64::consts::PI;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use secateur_ir::training::{Policy, Schedule};

/// Returns the learning rate with which batch `number` (the first one is 1) updates the weights; `seed` is that of the
/// training.
///
/// Darknet counts batches by the images that it has seen, those of a loaded `.weights` file included.
pub fn rate(schedule: &Schedule, number: u64, seed: u64) -> f32 {
    let full = f64::from(schedule.learning_rate);
    let power = |base: f64| (full * libm::pow(base, f64::from(schedule.power))) as f32;
    if number < schedule.burn_in {
        return power(f64::from(number as f32 / schedule.burn_in as f32));
    }
    match &schedule.policy {
        Policy::Constant => schedule.learning_rate,
        Policy::Step { step, scale } => (full * libm::pow(f64::from(*scale), (number / step) as f64)) as f32,
        Policy::Steps(steps) => {
            let reached = steps.iter().take_while(|(step, _)| *step <= number);
            reached.fold(schedule.learning_rate, |rate, (_, scale)| rate * scale)
        }
        Policy::Exp { gamma } => (full * libm::pow(f64::from(*gamma), number as f64)) as f32,
        // After its end the rate stays 0, where Darknet's would rise again.
        Policy::Poly => power(f64::from(1.0 - number as f32 / schedule.max_batches as f32).max(0.0)),
        Policy::Sigmoid { gamma, step } => {
            let exponent = gamma * (number as f32 - *step as f32);
            (full / (1.0 + libm::exp(f64::from(exponent)))) as f32
        }
        Policy::Sgdr { minimum, cycle, factor } => {
            let (into, cycle) = in_cycle(number, *cycle, *factor);
            let low = f64::from(*minimum);
            let cosine = libm::cos(into as f64 * PI / cycle as f64);
            (low + 0.5 * f64::from(schedule.learning_rate - *minimum) * (1.0 + cosine)) as f32
        }
        Policy::Random => {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(number);
            power(f64::from(random.random_range(0.0..1.0_f32)))
        }
    }
}

/// Returns how far batch `number` is into its cycle, and that cycle's length. The batch that ends a cycle belongs to it.
fn in_cycle(number: u64, first: u64, factor: u64) -> (u64, u64) {
    let (mut begin, mut length) = (0_u64, first);
    while begin.saturating_add(length) < number {
        begin += length;
        length = length.saturating_mul(factor);
    }
    (number - begin, length)
}

#[cfg(test)]
mod tests {
    use secateur_frontend::darknet;
    use secateur_testing::data_dir;

    use super::*;

    fn schedule(policy: Policy) -> Schedule {
        Schedule { learning_rate: 0.1, burn_in: 0, power: 2.0, policy, max_batches: 100 }
    }

    #[test]
    fn rates_of_darknet() {
        let Some(data) = data_dir() else { return };
        let cases = std::fs::read_dir(data.join("darknet-training")).expect("the test data are whole");
        let mut compared = 0;
        for case in cases.map(|case| case.unwrap().path()).filter(|case| case.is_dir()) {
            let network = darknet::load(&case.join("model.cfg"), None).unwrap();
            let training = darknet::training(&network.cfg, &network.graph).unwrap();
            for line in std::fs::read_to_string(case.join("log.txt")).unwrap().lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let ["step", _, "rate", expected, "batch_number", number] = words[..] else { continue };
                let expected: f32 = expected.parse().unwrap();
                let found = rate(&training.schedule, number.parse().unwrap(), 0);
                // One unit in the last place: another libm rounds a power or a cosine the other way.
                assert!((found - expected).abs() <= expected * f32::EPSILON, "{case:?}: {line}: {found}");
                compared += 1;
            }
        }
        assert!(compared >= 60, "{compared} rates");
    }

    #[test]
    fn policies_without_a_log() {
        let close = |policy: Policy, number: u64, expected: f32| {
            let found = rate(&schedule(policy.clone()), number, 0);
            assert!((found - expected).abs() <= 1e-7, "{policy:?} at {number}: {found}");
        };
        close(Policy::Constant, 1000, 0.1);
        close(Policy::Step { step: 10, scale: 0.5 }, 9, 0.1);
        close(Policy::Step { step: 10, scale: 0.5 }, 29, 0.025);
        close(Policy::Exp { gamma: 0.5 }, 3, 0.0125);
        close(Policy::Sigmoid { gamma: 1.0, step: 5 }, 5, 0.05);
        close(Policy::Sigmoid { gamma: 1.0, step: 5 }, 6, 0.1 / (1.0 + std::f32::consts::E));
        close(Policy::Poly, 50, 0.025);
        close(Policy::Poly, 101, 0.0);
        // A step that is not reached hides those after it.
        close(Policy::Steps(vec![(5, 0.1), (50, 0.1), (7, 0.1)]), 10, 0.01);
        // Cycles of 4, 8, 16 batches end at 4, 12, 28.
        let sgdr = || Policy::Sgdr { minimum: 0.0, cycle: 4, factor: 2 };
        for (number, expected) in [(4, 0.0), (8, 0.05), (12, 0.0), (20, 0.05), (28, 0.0)] {
            close(sgdr(), number, expected);
        }
    }

    #[test]
    fn random_rates_repeat_and_spread() {
        let random = schedule(Policy::Random);
        let rates: Vec<f32> = (1..=1000).map(|number| rate(&random, number, 7)).collect();
        assert_eq!(rates, (1..=1000).map(|number| rate(&random, number, 7)).collect::<Vec<_>>());
        assert_ne!(rates[0], rate(&random, 1, 8));
        // The mean of u² is a third.
        let mean = rates.iter().sum::<f32>() / 1000.0;
        assert!((0.1 / 3.0 - mean).abs() < 0.004, "{mean}");
        assert!(rates.iter().all(|rate| (0.0..0.1).contains(rate)));
    }

    #[test]
    fn burn_in_comes_before_any_policy() {
        let schedule = Schedule { burn_in: 10, ..schedule(Policy::Steps(vec![(2, 0.1)])) };
        assert!((rate(&schedule, 5, 0) - 0.025).abs() < 1e-8);
        assert!((rate(&schedule, 10, 0) - 0.01).abs() < 1e-8);
    }
}
