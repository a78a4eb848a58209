//! Which parts lie where.

use crate::dice::Dice;
use crate::kind::Kind;
use crate::metal::Metal;
use crate::solid::{Point, Solid, length};

/// Largest part, as a fraction of the image's side.
const LARGEST: f32 = 0.45;
/// Fraction of the parts that are look-alikes.
const LOOK_ALIKES: f32 = 0.2;
/// Places that are tried for a part before it is left out.
const TRIES: u32 = 24;

/// A part on the belt. The plane's unit is the image's side, its origin the image's centre.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The class; none for a look-alike.
    pub(crate) class: Option<usize>,
    pub(crate) solids: Vec<Solid>,
    pub(crate) metal: Metal,
    pub(crate) centre: Point,
    /// Its longer side.
    pub(crate) size: f32,
    /// Cosine and sine of its rotation.
    pub(crate) turn: Point,
    /// Half its width across its longer side, in its own unit.
    half_width: f32,
}

impl Part {
    /// A point of the plane in the part's own frame.
    pub(crate) fn to_own(&self, [x, y]: Point) -> Point {
        let (x, y) = ((x - self.centre[0]) / self.size, (y - self.centre[1]) / self.size);
        [x * self.turn[0] + y * self.turn[1], y * self.turn[0] - x * self.turn[1]]
    }

    /// The opposite of [`Part::to_own`].
    pub(crate) fn to_plane(&self, [x, y]: Point) -> Point {
        let [c, s] = self.turn;
        [self.centre[0] + self.size * (x * c - y * s), self.centre[1] + self.size * (x * s + y * c)]
    }

    /// Circles along the part that cover it about: centre and radius in the plane.
    fn circles(&self) -> impl Iterator<Item = (Point, f32)> + '_ {
        let count = (0.5 / self.half_width).round().max(1.0) as u32;
        let step = if count > 1 { (1.0 - 2.0 * self.half_width) / (count - 1) as f32 } else { 0.0 };
        let first = -0.5 * step * (count - 1) as f32;
        (0..count).map(move |i| (self.to_plane([first + step * i as f32, 0.0]), self.size * self.half_width))
    }

    /// How deep this part and another one overlap, as a fraction of the smaller one's width; negative where apart.
    fn overlap(&self, other: &Self) -> f32 {
        let width = 2.0 * (self.size * self.half_width).min(other.size * other.half_width);
        let depths = self
            .circles()
            .flat_map(|(p, r)| other.circles().map(move |(q, s)| r + s - length([p[0] - q[0], p[1] - q[1]])));
        depths.fold(f32::MIN, f32::max) / width
    }
}

/// Draws the parts of a scene, the lowest first. `samples` is the number of samples along the image's side.
pub(crate) fn draw(dice: &mut Dice, samples: usize) -> Vec<Part> {
    let wanted = dice.whole(1, 10);
    // Parts of one scene are of like size, as a camera sees them; many parts are small ones.
    let largest = (1.1 / (wanted as f32).sqrt()).clamp(0.28, LARGEST);
    let usual = dice.by_ratio(0.16, largest);
    let mut parts: Vec<Part> = Vec::new();
    for _ in 0..wanted {
        let kinds: &[Kind] = if dice.chance(LOOK_ALIKES) { &Kind::LOOK_ALIKES } else { &Kind::CLASSES };
        let kind = dice.pick(kinds);
        let size = (usual * dice.by_ratio(0.6, 1.7)).clamp(kind.least_size(), LARGEST);
        let solids = kind.build(dice, 1.0 / (size * samples as f32));
        let half_width = solids.iter().flat_map(|solid| {
            let [_, top, _, bottom] = solid.bounds();
            [-top, bottom]
        });
        let half_width = half_width.fold(0.02, f32::max).min(0.5);
        let mut part = Part {
            class: kind.class(),
            solids,
            metal: Metal::draw(dice),
            centre: [0.0; 2],
            size,
            turn: dice.direction(),
            half_width,
        };
        let allowed = if dice.chance(0.3) { 0.45 } else { -0.02 };
        // Most parts lie within the image, some are cut by its border.
        let margin = if dice.chance(0.2) { 0.1 * size } else { 0.45 * size };
        for _ in 0..TRIES {
            part.centre =
                [dice.between(margin - 0.5, 0.5 - margin), dice.between(margin - 0.5, 0.5 - margin)];
            if parts.iter().all(|other| part.overlap(other) <= allowed) {
                parts.push(part);
                break;
            }
        }
    }
    parts
}
