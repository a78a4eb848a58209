//! The conveyor belt: its colour at every pixel, with weave, wear, seams, scratches, stains and dust.

use crate::dice::{Dice, direction};
use crate::noise::{octaves, value, wave};
use crate::solid::{Point, length};

/// Linear colours of belts: rubber black, PVC green, grey, blue, white, felt brown, petrol.
const COLOURS: [[f32; 3]; 9] = [
    [0.030, 0.031, 0.034],
    [0.045, 0.046, 0.048],
    [0.035, 0.125, 0.080],
    [0.055, 0.160, 0.095],
    [0.140, 0.145, 0.150],
    [0.035, 0.095, 0.220],
    [0.480, 0.490, 0.460],
    [0.240, 0.180, 0.110],
    [0.030, 0.120, 0.135],
];

/// How the surface is made.
#[derive(Debug, Clone, Copy)]
enum Pattern {
    Smooth,
    /// Threads over and under each other.
    Woven,
    /// Grooves along the belt.
    Ribbed,
    /// Pyramids.
    Rough,
}

/// A belt's colour at each pixel of an image, and how much it shines.
pub(crate) struct Belt {
    side: usize,
    pub(crate) albedo: Vec<[f32; 3]>,
    /// Reflectance of its gloss.
    pub(crate) sheen: f32,
    /// Cosine and sine of its direction of travel.
    pub(crate) travel: Point,
}

impl Belt {
    /// Draws the belt of an image of `side × side` pixels.
    pub(crate) fn draw(dice: &mut Dice, side: usize) -> Self {
        let quarter = dice.pick(&[0.0, 0.5]) * std::f32::consts::PI;
        let travel = direction(quarter + dice.between(-0.12, 0.12));
        let mut belt = Self { side, albedo: Vec::new(), sheen: dice.between(0.0, 0.02), travel };
        belt.weave(dice);
        for _ in 0..dice.whole(0, 3) {
            belt.stain(dice);
        }
        for _ in 0..dice.whole(0, 9) {
            belt.scratch(dice);
        }
        if dice.chance(0.2) {
            belt.seam(dice);
        }
        for _ in 0..(dice.by_ratio(1.0, 160.0) as u32) {
            belt.speck(dice);
        }
        belt
    }

    /// The base: colour, pattern, wear along the belt and blotches.
    fn weave(&mut self, dice: &mut Dice) {
        let shade = dice.between(0.75, 1.25);
        let colour = dice.pick(&COLOURS).map(|c| c * shade * dice.between(0.92, 1.08));
        let pattern =
            dice.pick(&[Pattern::Smooth, Pattern::Woven, Pattern::Woven, Pattern::Ribbed, Pattern::Rough]);
        let period = dice.by_ratio(2.6, 7.0);
        let depth = dice.between(0.06, 0.3);
        let (wear, blotches, grain) =
            (dice.between(0.02, 0.14), dice.between(0.03, 0.16), dice.between(0.02, 0.09));
        let seed = dice.bits();
        let [c, s] = self.travel;
        let unit = 1.0 / self.side as f32;
        for y in 0..self.side {
            for x in 0..self.side {
                let (px, py) = (x as f32, y as f32);
                let (u, v) = (px * c + py * s, py * c - px * s);
                let (fu, fv) = (u / period, v / period);
                let relief = match pattern {
                    Pattern::Smooth => 0.0,
                    Pattern::Woven => wave(fu) * wave(fv) + 0.35 * wave(0.5 * (fu + fv)),
                    Pattern::Ribbed => wave(0.7 * fv),
                    Pattern::Rough => 1.0 - 1.3 * (wave(0.5 * (fu + fv)).abs() + wave(0.5 * (fu - fv)).abs()),
                };
                let streaks = value(3.0 * u * unit, 46.0 * v * unit, seed);
                let clouds = octaves(3.5 * px * unit, 3.5 * py * unit, seed ^ 0x51, 3);
                let fine = value(0.9 * px, 0.9 * py, seed ^ 0xA7);
                let factor = 1.0 + depth * relief + wear * streaks + blotches * clouds + grain * fine;
                self.albedo.push(colour.map(|value| value * factor.max(0.15)));
            }
        }
    }

    /// Changes every pixel of a disc by `paint`, which gets the distance from its centre in pixels.
    fn around(&mut self, [x, y]: Point, radius: f32, mut paint: impl FnMut(Point, &mut [f32; 3])) {
        let range = |centre: f32| {
            let edge = |position: f32| position.clamp(0.0, self.side as f32) as usize;
            edge(centre - radius)..edge(centre + radius + 1.0)
        };
        for row in range(y) {
            for column in range(x) {
                paint(
                    [column as f32 + 0.5 - x, row as f32 + 0.5 - y],
                    &mut self.albedo[row * self.side + column],
                );
            }
        }
    }

    fn anywhere(&self, dice: &mut Dice) -> Point {
        [dice.between(0.0, self.side as f32), dice.between(0.0, self.side as f32)]
    }

    /// An oil stain: darker than the belt, with an uneven edge.
    fn stain(&mut self, dice: &mut Dice) {
        let centre = self.anywhere(dice);
        let radius = self.side as f32 * dice.by_ratio(0.03, 0.22);
        let (strength, soft, seed) = (dice.between(0.1, 0.5), dice.between(0.25, 0.9), dice.bits());
        let tint = [1.0, 0.97, 0.88];
        self.around(centre, 1.6 * radius, |[x, y], colour| {
            let bend = 0.4 * octaves(1.3 * x / radius, 1.3 * y / radius, seed, 4);
            let inside = ((1.0 - length([x, y]) / radius + bend) / soft).clamp(0.0, 1.0);
            let keep = 1.0 - strength * inside * inside * (3.0 - 2.0 * inside);
            for (value, tint) in colour.iter_mut().zip(tint) {
                *value *= keep * (1.0 - (1.0 - tint) * inside);
            }
        });
    }

    /// A fine line, mostly along the belt.
    fn scratch(&mut self, dice: &mut Dice) {
        let centre = self.anywhere(dice);
        let half = 0.5 * self.side as f32 * dice.by_ratio(0.04, 0.6);
        let [a, b] = direction(dice.between(-0.2, 0.2));
        let [c, s] = if dice.chance(0.7) { self.travel } else { dice.direction() };
        let [c, s] = [c * a - s * b, s * a + c * b];
        let (width, bend) = (dice.between(0.4, 1.0), dice.between(-0.0015, 0.0015));
        let strength = if dice.chance(0.75) { dice.between(0.1, 0.6) } else { dice.between(-0.5, -0.2) };
        self.around(centre, half, |[x, y], colour| {
            let (along, across) = (x * c + y * s, y * c - x * s);
            let taper = 1.0 - along.abs() / half;
            let cover = (1.0 - (across - bend * along * along).abs() / width).max(0.0) * taper.max(0.0);
            *colour = colour.map(|value| (value + 0.012) * (1.0 + strength * cover) - 0.012 * (1.0 - cover));
        });
    }

    /// A joint across the belt: a dark line, often with stitches.
    fn seam(&mut self, dice: &mut Dice) {
        let [c, s] = self.travel;
        let [cx, cy] = self.anywhere(dice);
        let slant = dice.pick(&[0.0, 0.0, 0.35]);
        let (width, stitches) = (dice.between(0.8, 1.8), dice.chance(0.5));
        let (gap, strength) = (dice.between(4.0, 7.0), dice.between(0.3, 0.7));
        for (i, colour) in self.albedo.iter_mut().enumerate() {
            let (x, y) = ((i % self.side) as f32 - cx, (i / self.side) as f32 - cy);
            let (along, across) = (x * c + y * s, y * c - x * s);
            let distance = (along + slant * across).abs();
            let mut cover = (1.0 + width - distance).clamp(0.0, 1.0);
            if stitches && (2.0..5.5).contains(&distance) {
                cover = cover.max(0.8 * wave(across / gap).max(0.0));
            }
            *colour = colour.map(|value| value * (1.0 - strength * cover));
        }
    }

    /// A grain of dust, or a dark crumb.
    fn speck(&mut self, dice: &mut Dice) {
        let centre = self.anywhere(dice);
        let radius = dice.by_ratio(0.5, 1.5);
        let light = if dice.chance(0.7) { dice.between(0.05, 0.35) } else { 0.01 };
        let strength = dice.between(0.2, 0.8);
        self.around(centre, radius + 1.0, |offset, colour| {
            let cover = strength * (radius + 0.5 - length(offset)).clamp(0.0, 1.0);
            *colour = colour.map(|value| value + cover * (light - value));
        });
    }
}
