//! The size of the network's input along a training.

use secateur_ir::Shape;

use crate::augment::draw_factor;
use crate::random::{Stream, stream};

/// Batches of one size.
const PERIOD: u64 = 10;
/// The last so many batches have the largest size, so that statistics of batch norm settle on one.
const LAST_BATCHES: u64 = 100;
/// Sizes of the input: that of the cfg, or with `multi_scale` a new one every ten batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// The input of the cfg.
    pub input: Shape,
    /// The greatest factor, and its inverse the smallest, of the sides (key `random` of the last head).
    pub multi_scale: Option<f32>,
    /// Sides are multiples of this.
    pub resize_step: usize,
    pub max_batches: u64,
}

impl Sizes {
    /// The cfg's own size throughout.
    pub fn fixed(input: Shape) -> Self {
        Self { input, multi_scale: None, resize_step: 32, max_batches: 0 }
    }

    /// The input of batch `number` (from 0), a function of it and the seed alone.
    ///
    /// As in Darknet, both sides have the same random factor and one step of `resize_step` more than they would round
    /// to; the first period and the last batches have the largest size.
    pub fn at(&self, number: u64, seed: u64) -> Shape {
        let period = number / PERIOD;
        let Some(limit) = self.multi_scale else { return self.input };
        if period == 0 || period * PERIOD + LAST_BATCHES > self.max_batches {
            return self.max_input();
        }
        let factor = draw_factor(&mut stream(seed, Stream::Size, period, 0), limit);
        let drawn = self.scaled(factor);
        let grows = drawn.w > self.input.w || drawn.h > self.input.h;
        // The step more must not enlarge an input that was to shrink.
        if factor < 1.0 && grows { self.input } else { drawn }
    }

    /// The largest input that [`Sizes::at`] returns.
    pub fn max_input(&self) -> Shape {
        self.multi_scale.map_or(self.input, |limit| self.scaled(limit.max(1.0 / limit)))
    }

    fn scaled(&self, factor: f32) -> Shape {
        let step = self.resize_step as f32;
        let side = |side: usize| (factor * side as f32 / step + 1.0).round() as usize * self.resize_step;
        Shape::new(self.input.c, side(self.input.h), side(self.input.w))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_darknets() {
        let input = Shape::new(3, 320, 416);
        let sizes = Sizes { input, multi_scale: Some(1.4), resize_step: 32, max_batches: 5000 };
        // 1.4 · 416 / 32 + 1 = 19.2, 1.4 · 320 / 32 + 1 = 15.
        assert_eq!(sizes.max_input(), Shape::new(3, 480, 608));
        assert_eq!(sizes.at(0, 1), sizes.max_input());
        assert_eq!(sizes.at(4910, 1), sizes.max_input());
        let drawn: Vec<Shape> = (1..490).map(|period| sizes.at(period * 10, 7)).collect();
        assert!(drawn.iter().all(|size| size.w % 32 == 0 && size.h % 32 == 0));
        // 1 / 1.4 of the sides and one step: 9.3 + 1 and 7.1 + 1 steps.
        let widths: Vec<usize> = drawn.iter().map(|size| size.w).collect();
        assert_eq!((widths.iter().min(), widths.iter().max()), (Some(&320), Some(&608)));
        let smaller = drawn.iter().filter(|size| size.w <= input.w).count();
        assert!((200..290).contains(&smaller), "{smaller} of 489 are no larger than the cfg's");
        for period in 1..20 {
            let of = |batch: u64| sizes.at(period * 10 + batch, 7);
            assert!((0..10).all(|batch| of(batch) == of(0)), "one size for ten batches");
        }
        assert_ne!(drawn, (1..490).map(|period| sizes.at(period * 10, 8)).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_scale_the_size_stays() {
        let sizes = Sizes::fixed(Shape::new(1, 20, 30));
        assert!((0..100).all(|batch| sizes.at(batch, 3) == sizes.input));
        assert_eq!(sizes.max_input(), sizes.input);
    }
}
