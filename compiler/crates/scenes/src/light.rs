//! Light and the view: what each pixel of the image receives, in linear red, green, blue.

use crate::belt::Belt;
use crate::dice::Dice;
use crate::field::{BELT, Field};
use crate::layout::Part;
use crate::metal::Metal;
use crate::noise::{octaves, value, wave};
use crate::solid::length;

/// Samples along each side of a pixel.
pub(crate) const SAMPLES: usize = 2;
/// Samples along each side of a block; blocks far from all parts are plain belt.
const BLOCK: usize = 8 * SAMPLES;

type Colour = [f32; 3];

/// One lamp with an extent, and light from everywhere.
pub(crate) struct Lighting {
    /// Direction to the lamp, a unit vector; z points up to the camera.
    lamp: [f32; 3],
    lamp_colour: Colour,
    sky_colour: Colour,
    /// Width of the lamp as seen from the belt, as a slope.
    softness: f32,
    /// A second bright patch that mirrors show: its direction.
    window: [f32; 3],
    /// Where the ceiling's bright and dark panels are, as phases.
    panels: [f32; 2],
    /// How fast the lamp's light fades over the image, and from where.
    fade: f32,
    bright_at: [f32; 2],
    /// Where on the image the camera looks straight down, and how far it is above, in image sides.
    foot: [f32; 2],
    distance: f32,
}

fn tinted(dice: &mut Dice, strength: f32) -> Colour {
    let warmth = dice.between(-0.13, 0.13);
    [1.0 + warmth, 1.0 + 0.2 * warmth, 1.0 - warmth].map(|value| value * strength)
}

fn towards(dice: &mut Dice, least_slope: f32, most_slope: f32) -> [f32; 3] {
    let [c, s] = dice.direction();
    let slope = dice.between(least_slope, most_slope);
    let scale = 1.0 / (1.0 + slope * slope).sqrt();
    [c * slope * scale, s * slope * scale, scale]
}

impl Lighting {
    /// Draws the light and the camera's place.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let lamp = dice.between(0.5, 1.5);
        Self {
            lamp: towards(dice, 0.35, 1.5),
            lamp_colour: tinted(dice, lamp),
            sky_colour: tinted(dice, dice_sky(lamp)),
            softness: dice.by_ratio(0.06, 0.6),
            window: towards(dice, 0.5, 2.0),
            panels: [dice.unit(), dice.unit()],
            fade: dice.between(0.0, 0.9),
            bright_at: [dice.between(-0.7, 0.7), dice.between(-0.7, 0.7)],
            foot: [dice.between(-0.35, 0.35), dice.between(-0.35, 0.35)],
            distance: dice.by_ratio(1.3, 4.0),
        }
    }
}

/// Light from everywhere: the weaker the lamp, the more of it.
fn dice_sky(lamp: f32) -> f32 {
    0.3 + 0.35 * (1.5 - lamp)
}

/// A scene that is ready to be seen.
pub(crate) struct View<'a> {
    field: &'a Field,
    parts: &'a [Part],
    belt: &'a Belt,
    lighting: &'a Lighting,
    /// Mean heights around each sample, near and far.
    near: Vec<f32>,
    far: Vec<f32>,
    /// How far samples around a place count for its sky.
    sky_reach: usize,
    /// Offset of a lamp ray's shadow a sample of height.
    ray: [f32; 2],
}

/// What a view ray meets.
struct Hit {
    x: usize,
    y: usize,
    height: f32,
    part: u8,
    /// A vertical face, seen because the camera is not straight above.
    is_wall: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(field: &'a Field, parts: &'a [Part], belt: &'a Belt, lighting: &'a Lighting) -> Self {
        let [x, y, z] = lighting.lamp;
        let sky_reach = field.side / 40;
        Self {
            near: field.mean_heights(sky_reach / 3),
            far: field.mean_heights(sky_reach),
            sky_reach,
            ray: [x / z, y / z],
            field,
            parts,
            belt,
            lighting,
        }
    }

    /// The pixels' colours, and the part that each sample shows.
    pub(crate) fn render(&self) -> (Vec<Colour>, Vec<u8>) {
        let side = self.field.side;
        let pixels = side / SAMPLES;
        // A view ray runs sideways by at most this a sample of height; a lamp ray begins where one ends.
        let view = 1.0 / self.lighting.distance;
        let lamp = length(self.ray) / (1.0 - 0.5 * self.lighting.softness);
        let (in_view, in_reach) = (self.tops(view, 0), self.tops(view + lamp, self.sky_reach));
        let mut shown = vec![BELT; side * side];
        let colours = (0..pixels * pixels).map(|i| {
            let (x, y) = (SAMPLES * (i % pixels), SAMPLES * (i / pixels));
            let block = y / BLOCK * side.div_ceil(BLOCK) + x / BLOCK;
            if in_view[block] > 0.0 {
                self.pixel(x, y, [in_view[block], in_reach[block]], &mut shown)
            } else {
                let seen = self.lamp_seen(x, y, 0.0, in_reach[block]);
                self.belt_colour(x, y, seen * self.lamp_at(self.place(x, y)))
            }
        });
        (colours.collect(), shown)
    }

    /// For each block of samples the highest point of all parts that a ray from it can meet, 0 if there is none. The ray
    /// runs sideways by at most `slope` a sample of height, and by `margin` samples more.
    fn tops(&self, slope: f32, margin: usize) -> Vec<f32> {
        let side = self.field.side;
        let blocks = side.div_ceil(BLOCK);
        let mut own = vec![0.0_f32; blocks * blocks];
        for (y, row) in self.field.heights.chunks_exact(side).enumerate() {
            for (x, &height) in row.iter().enumerate() {
                let top = &mut own[y / BLOCK * blocks + x / BLOCK];
                *top = top.max(height);
            }
        }
        let reach = 1 + ((slope * self.field.top + margin as f32) / BLOCK as f32) as usize;
        let around = |at: usize| at.saturating_sub(reach)..=(at + reach).min(blocks - 1);
        let highest = |i: usize| {
            let near = around(i / blocks).flat_map(|y| around(i % blocks).map(move |x| y * blocks + x));
            near.map(|at| own[at]).fold(0.0, f32::max)
        };
        (0..blocks * blocks).map(highest).collect()
    }

    /// A pixel whose first sample is `(x, y)`: the mean of its samples. View and lamp rays meet parts as high as `tops`.
    fn pixel(&self, x: usize, y: usize, [in_view, top]: [f32; 2], shown: &mut [u8]) -> Colour {
        const COUNT: usize = SAMPLES * SAMPLES;
        let side = self.field.side;
        let eye = self.eye(x, y);
        let hits: [Hit; COUNT] =
            std::array::from_fn(|i| self.trace(x + i % SAMPLES, y + i / SAMPLES, eye, in_view));
        for (i, hit) in hits.iter().enumerate() {
            shown[(y + i / SAMPLES) * side + x + i % SAMPLES] = hit.part;
        }
        // Neighbouring samples of the belt look the same, and those of a part have the same metal.
        let on_belt = hits.iter().filter(|hit| hit.part == BELT).count();
        let mut sum = [0.0; 3];
        if let Some(hit) = hits.iter().find(|hit| hit.part == BELT) {
            let lamp = self.lamp_seen(hit.x, hit.y, 0.0, top) * self.lamp_at(self.place(x, y));
            sum = self.belt_colour(hit.x, hit.y, lamp).map(|value| value * on_belt as f32);
        }
        let mut surface = (BELT, [0.0; 3]);
        for hit in hits.iter().filter(|hit| hit.part != BELT) {
            let part = &self.parts[usize::from(hit.part) - 1];
            if surface.0 != hit.part {
                surface = (hit.part, self.surface(part, self.place(hit.x, hit.y)));
            }
            let colour = self.part_colour(hit, &part.metal, surface.1, eye, top);
            sum.iter_mut().zip(colour).for_each(|(sum, value)| *sum += value);
        }
        sum.map(|value| value * (1.0 / COUNT as f32))
    }

    /// A sample's place in the image, −½..½.
    fn place(&self, x: usize, y: usize) -> [f32; 2] {
        let scale = 1.0 / self.field.side as f32;
        [(x as f32 + 0.5) * scale - 0.5, (y as f32 + 0.5) * scale - 0.5]
    }

    /// How far the view ray through a sample runs sideways a sample of height.
    fn eye(&self, x: usize, y: usize) -> [f32; 2] {
        let ([px, py], Lighting { foot: [u, v], distance, .. }) = (self.place(x, y), self.lighting);
        [(u - px) / distance, (v - py) / distance]
    }

    /// The height and index at a point, in samples; none outside the image.
    fn height_at(&self, x: f32, y: f32) -> Option<(usize, f32)> {
        let side = self.field.side as f32;
        let inside = x >= 0.0 && y >= 0.0 && x < side && y < side;
        inside.then(|| {
            let index = y as usize * self.field.side + x as usize;
            (index, self.field.heights[index])
        })
    }

    /// Follows the view ray of a sample down from `top`.
    fn trace(&self, x: usize, y: usize, [u, v]: [f32; 2], top: f32) -> Hit {
        let side = self.field.side;
        let drift = u.abs().max(v.abs());
        let steps = (drift * top).ceil();
        let mut above = f32::MAX;
        let mut height = steps / drift;
        for _ in 0..steps as usize {
            let (px, py) = (x as f32 + 0.5 + u * height, y as f32 + 0.5 + v * height);
            if let Some((index, there)) = self.height_at(px, py)
                && there >= height
            {
                let is_wall = there > above;
                let height = if is_wall { height } else { there };
                let part = self.field.parts[index];
                return Hit { x: index % side, y: index / side, height, part, is_wall };
            }
            above = height;
            height -= 1.0 / drift;
        }
        // Between the last step and the belt the ray passes less than a sample sideways.
        let index = y * side + x;
        Hit { x, y, height: self.field.heights[index], part: self.field.parts[index], is_wall: false }
    }

    /// How much of the lamp a point sees past parts as high as `top`, 0..1.
    fn lamp_seen(&self, x: usize, y: usize, height: f32, top: f32) -> f32 {
        let reach = self.ray[0].abs().max(self.ray[1].abs());
        let softness = self.lighting.softness;
        let mut seen = 1.0_f32;
        // A step moves two samples sideways.
        let step = 2.0 / reach;
        let mut rise = step;
        // Higher up nothing reaches into the penumbra.
        while height + (1.0 - 0.5 * softness) * rise < top + 0.4 {
            let (px, py) = (x as f32 + 0.5 + self.ray[0] * rise, y as f32 + 0.5 + self.ray[1] * rise);
            let Some((_, there)) = self.height_at(px, py) else { break };
            let over = there - height - rise;
            seen = seen.min(0.5 - over / (softness * rise + 0.8));
            if seen <= 0.0 {
                return 0.0;
            }
            rise += step;
        }
        seen * seen * (3.0 - 2.0 * seen)
    }

    /// How much of the sky a point sees, from how it lies below its surroundings.
    fn sky_seen(&self, index: usize, height: f32) -> f32 {
        let scale = 1.0 / self.field.side as f32;
        let below = |mean: &[f32], reach: f32| ((mean[index] - height) * scale / reach).clamp(0.0, 1.0);
        (1.0 - 0.45 * below(&self.near, 0.03)) * (1.0 - 0.5 * below(&self.far, 0.06))
    }

    /// Brightness of the lamp over a place: it fades away from where it points.
    fn lamp_at(&self, [x, y]: [f32; 2]) -> f32 {
        let [u, v] = self.lighting.bright_at;
        let (dx, dy) = (x - u, y - v);
        1.0 / (1.0 + self.lighting.fade * (dx * dx + dy * dy))
    }

    /// What a sample of the belt sends to the camera under `lamp` of the lamp's light.
    fn belt_colour(&self, x: usize, y: usize, lamp: f32) -> Colour {
        let side = self.field.side;
        let sky = self.sky_seen(y * side + x, 0.0);
        let albedo = self.belt.albedo[y / SAMPLES * (side / SAMPLES) + x / SAMPLES];
        let sheen = self.belt.sheen;
        let Lighting { lamp: [_, _, z], lamp_colour, sky_colour, .. } = self.lighting;
        std::array::from_fn(|c| {
            let (key, fill) = (lamp_colour[c] * lamp * z, sky_colour[c] * sky);
            albedo[c] * (key + fill) + sheen * (key + 0.5 * fill)
        })
    }

    /// What a sample of a part whose surface has the colour `tint` sends to the camera.
    fn part_colour(&self, hit: &Hit, metal: &Metal, tint: Colour, eye: [f32; 2], top: f32) -> Colour {
        let index = hit.y * self.field.side + hit.x;
        let normal = if hit.is_wall { wall_normal(eye) } else { self.normal(hit, metal) };
        let lamp = self.lamp_seen(hit.x, hit.y, hit.height, top) * self.lamp_at(self.place(hit.x, hit.y));
        let sky = self.sky_seen(index, hit.height);
        let mirrored = self.mirrored(normal, eye, metal.gloss, lamp, sky);
        let cosine = dot(normal, self.lighting.lamp).max(0.0);
        std::array::from_fn(|c| {
            let scattered = self.lighting.lamp_colour[c] * cosine * lamp + self.lighting.sky_colour[c] * sky;
            tint[c] * (metal.mirror * mirrored[c] + (1.0 - metal.mirror) * scattered)
        })
    }

    /// The surface's normal, roughened by the metal's grain.
    fn normal(&self, hit: &Hit, metal: &Metal) -> [f32; 3] {
        let [u, v] = self.field.slopes(hit.x, hit.y);
        // No part lies quite level.
        let lean = |shift: u32| ((metal.seed >> shift & 255) as f32 / 255.0 - 0.5) * 0.16;
        unit([lean(0) - u, lean(8) - v, 1.0])
    }

    /// The metal's colour at a place of a part: grain along its own x, dirt in patches.
    fn surface(&self, part: &Part, place: [f32; 2]) -> Colour {
        let metal = &part.metal;
        let [x, y] = part.to_own(place);
        let (size, pixels) = (part.size, (self.field.side / SAMPLES) as f32);
        let grain = value(x * size * pixels * metal.grain_length, y * size * pixels * 0.95, metal.seed);
        let patches = octaves(5.0 * x, 5.0 * y, metal.seed ^ 0x33, 3);
        let dirt = (metal.dirt * (0.25 + 1.3 * patches)).clamp(0.0, 0.85);
        let shade = 1.0 + metal.grain * grain;
        std::array::from_fn(|c| (metal.tint[c] + dirt * (metal.dirt_tint[c] - metal.tint[c])) * shade)
    }

    /// What a polished surface shows: a ceiling, the dark beside the belt, the belt, the lamp and a window.
    fn mirrored(&self, normal: [f32; 3], eye: [f32; 2], gloss: f32, lamp: f32, sky: f32) -> Colour {
        let view = unit([eye[0], eye[1], 1.0]);
        let cosine = dot(normal, view);
        let ray: [f32; 3] = std::array::from_fn(|i| 2.0 * cosine * normal[i] - view[i]);
        let lobe = |direction: [f32; 3], gloss: f32| {
            let off = 1.0 + gloss * (1.0 - dot(ray, direction)).max(0.0);
            1.0 / (off * off)
        };
        let lamp = lamp
            * (0.5 * lobe(self.lighting.lamp, 0.35 * gloss) + 2.2 * lobe(self.lighting.lamp, 4.0 * gloss));
        let window = 0.9 * lobe(self.lighting.window, 0.6 * gloss);
        let up = (ray[2] * 0.6 + 0.5).clamp(0.0, 1.0);
        let panels =
            wave(1.1 * ray[0] + self.lighting.panels[0]) * wave(0.8 * ray[1] + self.lighting.panels[1]);
        let ceiling = (0.18 + 0.95 * up * up * (3.0 - 2.0 * up)) * (1.0 + 0.45 * panels);
        std::array::from_fn(|c| {
            self.lighting.lamp_colour[c] * lamp + self.lighting.sky_colour[c] * sky * (ceiling + window)
        })
    }
}

/// The normal of a vertical face that the camera sees: it faces the camera.
fn wall_normal([u, v]: [f32; 2]) -> [f32; 3] {
    unit([u, v, 0.05])
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn unit([x, y, z]: [f32; 3]) -> [f32; 3] {
    let scale = 1.0 / (x * x + y * y + z * z).sqrt();
    [x * scale, y * scale, z * scale]
}
