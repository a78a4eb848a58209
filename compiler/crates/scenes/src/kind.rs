//! The kinds of parts and their proportions: five classes, and look-alikes that are none of them.

use crate::dice::{Dice, direction};
use crate::solid::{Bar, Gear, Outline, Plate, Section, Solid, wire};
use std::f32::consts::{PI, TAU};

/// Names of the classes, by class number.
pub const CLASSES: [&str; 5] = ["bolt", "nut", "washer", "gear", "spring"];

/// A kind of part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bolt,
    Nut,
    Washer,
    Gear,
    Spring,
    /// A pin without head and thread.
    Rod,
    /// A washer without a hole.
    Disc,
    /// A washer that is cut open.
    OpenRing,
    /// A flat rectangle.
    Tile,
    /// A plate with two holes.
    Link,
    /// A bent wire.
    Hook,
    /// A nut without a hole.
    Blank,
    /// A flat angle.
    Angle,
}

impl Kind {
    pub(crate) const CLASSES: [Self; 5] = [Self::Bolt, Self::Nut, Self::Washer, Self::Gear, Self::Spring];
    pub(crate) const LOOK_ALIKES: [Self; 8] =
        [Self::Rod, Self::Disc, Self::OpenRing, Self::Tile, Self::Link, Self::Hook, Self::Blank, Self::Angle];

    /// The class number; none for a look-alike.
    pub(crate) fn class(self) -> Option<usize> {
        Self::CLASSES.iter().position(|&kind| kind == self)
    }

    /// Smallest size, as a fraction of the image's side, at which its features can be told.
    pub(crate) fn least_size(self) -> f32 {
        match self {
            Self::Nut | Self::Washer | Self::Disc | Self::OpenRing | Self::Tile | Self::Blank => 0.1,
            Self::Gear | Self::Link | Self::Angle => 0.13,
            Self::Bolt | Self::Rod | Self::Hook => 0.16,
            Self::Spring => 0.18,
        }
    }

    /// Draws a part of this kind. `texel` is the side of a sample in the part's unit: no feature that tells
    /// the kind is made finer than what samples can show.
    pub(crate) fn build(self, dice: &mut Dice, texel: f32) -> Vec<Solid> {
        match self {
            Self::Bolt => bolt(dice, texel),
            Self::Nut => nut(dice, texel, true),
            Self::Blank => nut(dice, texel, false),
            Self::Washer => vec![Solid::Plate(washer(dice, texel))],
            Self::OpenRing => {
                let half = dice.between(0.05, 0.1).max(4.0 * texel);
                vec![Solid::Plate(washer(dice, texel).hole([0.4, 0.0], Outline::Box([0.3, half])))]
            }
            Self::Gear => gear(dice, texel),
            Self::Spring => spring(dice, texel),
            Self::Rod => rod(dice),
            Self::Disc => flat(Outline::Disc(0.5), dice.between(0.04, 0.2), dice, texel),
            Self::Tile => {
                let half = [0.5, dice.between(0.25, 0.5)];
                flat(Outline::Box(half), dice.between(0.04, 0.16), dice, texel)
            }
            Self::Link => link(dice, texel),
            Self::Hook => hook(dice, texel),
            Self::Angle => {
                let arm = dice.between(0.3, 0.45);
                let cut = Outline::Box([1.0 - arm, 1.0 - arm]);
                let plate =
                    Plate::new(Outline::Box([0.5, 0.5]), dice.between(0.04, 0.12), 0.02_f32.max(texel));
                vec![Solid::Plate(plate.hole([0.5, 0.5], cut))]
            }
        }
    }
}

fn flat(outline: Outline, top: f32, dice: &mut Dice, texel: f32) -> Vec<Solid> {
    vec![Solid::Plate(Plate::new(outline, top, dice.between(0.012, 0.05).max(1.2 * texel)))]
}

/// A bolt that lies on its side, head at the left: hexagon, socket-cap or button head, a shank, a thread.
fn bolt(dice: &mut Dice, texel: f32) -> Vec<Solid> {
    let radius = dice.between(0.075, 0.13).max(3.0 * texel);
    let (head, length, section, rounding) = match dice.whole(0, 3) {
        0 | 1 => {
            let section = dice.pick(&[Section::HexOnFace, Section::HexOnEdge]);
            (1.9 * radius, 1.35 * radius, section, 0.3 * radius)
        }
        2 => (1.55 * radius, 1.9 * radius, Section::Round, 0.25 * radius),
        _ => (1.9 * radius, 1.2 * radius, Section::Round, 1.1 * radius),
    };
    // The bolt rests on the rim of its head and on its tip.
    let axis = if section == Section::HexOnFace { 0.87 * head } else { head };
    let tilt = radius - axis;
    let from = length - 0.5;
    let plain = dice.between(0.0, 0.4) * (0.5 - from);
    let pitch = (0.38 * radius).max(5.0 * texel);
    let bar = |from: f32, to: f32, radius: f32, section, ends, thread| {
        Solid::Bar(Bar { from, to, radius, section, axis: axis + tilt * (from + 0.5), tilt, ends, thread })
    };
    let tip = 0.35 * radius;
    vec![
        bar(-0.5, from, head, section, [rounding, 0.1 * radius], None),
        bar(from - texel, from + plain + pitch, radius, Section::Round, [0.0, 0.3 * radius], None),
        bar(from + plain, 0.5, 1.04 * radius, Section::Round, [0.0, tip], Some([0.22 * radius, pitch])),
    ]
}

/// A hexagon with a crown, with or without a tapped hole.
fn nut(dice: &mut Dice, texel: f32, tapped: bool) -> Vec<Solid> {
    let apothem = 0.433;
    let top = dice.between(0.22, 0.42);
    let mut plate = Plate::new(Outline::polygon(6, apothem), top, 0.02_f32.max(1.2 * texel));
    plate.crown = dice.between(0.38, 0.43);
    if tapped {
        let radius = dice.between(0.22, 0.27);
        plate.sink = radius + dice.between(0.03, 0.05);
        plate = plate.hole([0.0, 0.0], Outline::Disc(radius));
    }
    vec![Solid::Plate(plate)]
}

fn washer(dice: &mut Dice, texel: f32) -> Plate {
    let plate =
        Plate::new(Outline::Disc(0.5), dice.between(0.04, 0.1), dice.between(0.012, 0.03).max(1.2 * texel));
    plate.hole([0.0, 0.0], Outline::Disc(dice.between(0.2, 0.32)))
}

/// A spur gear: plain, or with a rim, a web and a hub, the web perhaps with holes.
fn gear(dice: &mut Dice, texel: f32) -> Vec<Solid> {
    let teeth = dice.whole(9, 20);
    // A tooth and a gap take 6 samples at least.
    let teeth = teeth.min((TAU * 0.45 / (6.0 * texel)) as u32).max(7);
    let root = 0.5 - 2.1 / (teeth as f32 + 2.0);
    let top = dice.between(0.12, 0.24);
    let edge = dice.between(0.012, 0.03).max(texel);
    let bore = Outline::Disc(dice.between(0.07, 0.14).max(3.0 * texel));
    let outline = Outline::Gear(Gear::new(teeth, root, 0.5, dice.between(0.6, 0.74)));
    let body = |top| Plate::new(outline.clone(), top, edge).hole([0.0, 0.0], bore.clone());
    if dice.chance(0.4) || root < 0.33 {
        let mut plain = body(top);
        if dice.chance(0.4) {
            plain = plain.hole([0.13, 0.0], Outline::Box([0.06, 0.035]));
        }
        return vec![Solid::Plate(plain)];
    }
    let (hub, rim) = (dice.between(0.17, 0.2), root - dice.between(0.05, 0.08));
    let mut web = body(top * dice.between(0.35, 0.7));
    let rim_plate = body(top).hole([0.0, 0.0], Outline::Disc(rim));
    let hub_top = top * dice.between(0.9, 1.35);
    let hub_plate = Plate::new(Outline::Disc(hub), hub_top, edge).hole([0.0, 0.0], bore.clone());
    if dice.chance(0.5) && rim - hub > 7.0 * texel {
        let count = dice.whole(3, 6);
        let (middle, radius) = (0.5 * (hub + rim), 0.42 * (rim - hub));
        for i in 0..count {
            let [c, s] = direction(TAU * i as f32 / count as f32);
            web = web.hole([middle * c, middle * s], Outline::Disc(radius));
        }
    }
    vec![Solid::Plate(web), Solid::Plate(rim_plate), Solid::Plate(hub_plate)]
}

/// A compression spring that lies on its side, its end coils closed.
fn spring(dice: &mut Dice, texel: f32) -> Vec<Solid> {
    const STEPS: u32 = 16;
    let diameter = dice.between(0.24, 0.44).max(12.0 * texel);
    let radius = (diameter * dice.between(0.055, 0.095)).max(1.3 * texel);
    let pitch = (radius * dice.between(3.6, 6.0)).max(6.5 * texel);
    let closed = 2.1 * radius;
    let coils = (((1.0 - 2.0 * closed - 2.0 * radius) / pitch) as u32).max(2);
    let helix = 0.5 * diameter - radius;
    let advance = |turn: f32| {
        // Closed over the first and the last turn, open between.
        let open = (turn - 1.0).clamp(0.0, coils as f32);
        closed * (turn - open) + pitch * open
    };
    let turns = coils + 2;
    let start = 0.5 * advance(turns as f32);
    let points: Vec<[f32; 3]> = (0..=turns * STEPS)
        .map(|step| {
            let turn = step as f32 / STEPS as f32;
            let [c, s] = direction(TAU * (turn - turn.floor()));
            [advance(turn) - start, helix * c, 0.5 * diameter + helix * s]
        })
        .collect();
    wire(&points, radius)
}

fn rod(dice: &mut Dice) -> Vec<Solid> {
    let radius = dice.between(0.05, 0.12);
    let end = radius * dice.pick(&[0.15, 0.4, 1.0]);
    let bar = Bar {
        from: -0.5,
        to: 0.5,
        radius,
        section: dice.pick(&[Section::Round, Section::Round, Section::HexOnFace]),
        axis: radius,
        tilt: 0.0,
        ends: [end, end],
        thread: None,
    };
    vec![Solid::Bar(bar)]
}

/// A round or oblong plate with two holes.
fn link(dice: &mut Dice, texel: f32) -> Vec<Solid> {
    let radius = dice.between(0.16, 0.22);
    let (outline, at) = if dice.chance(0.4) {
        (Outline::Disc(0.5), 0.25)
    } else {
        (Outline::Slot(0.5 - radius, radius), 0.5 - radius)
    };
    let hole = (radius * dice.between(0.45, 0.62)).max(2.5 * texel);
    let plate = Plate::new(outline, dice.between(0.05, 0.14), dice.between(0.012, 0.03).max(1.2 * texel));
    let plate = plate.hole([-at, 0.0], Outline::Disc(hole)).hole([at, 0.0], Outline::Disc(hole));
    vec![Solid::Plate(plate)]
}

/// A bent wire: an S, a staple or an eye with a shank.
fn hook(dice: &mut Dice, texel: f32) -> Vec<Solid> {
    let radius = dice.between(0.03, 0.05).max(1.5 * texel);
    let arc = |centre: [f32; 2], r: f32, from: f32, to: f32| {
        (0..=14).map(move |i| {
            let [c, s] = direction(from + (to - from) * i as f32 / 14.0);
            [centre[0] + r * c, centre[1] + r * s, radius]
        })
    };
    let points: Vec<[f32; 3]> = match dice.whole(0, 2) {
        0 => {
            let r = 0.22;
            let ends = 0.5 - r - radius;
            arc([-ends, 0.0], r, 1.2 * PI, 0.0).chain(arc([ends, 0.0], r, PI, 2.2 * PI)).collect()
        }
        1 => {
            let (x, y) = (0.5 - radius, dice.between(0.1, 0.2));
            vec![[-x, y, radius], [-x, -y, radius], [x, -y, radius], [x, y, radius]]
        }
        _ => {
            let r = dice.between(0.13, 0.18);
            let centre = radius + r - 0.5;
            [[0.5 - radius, 0.0, radius]].into_iter().chain(arc([centre, 0.0], r, 0.0, 1.85 * PI)).collect()
        }
    };
    wire(&points, radius)
}
