//! Solids that parts are built from, each a height over the plane of its part.
//!
//! Lengths are in the part's own unit: its longer side, or its diameter, is 1. The belt lies at height 0.

/// A point of the plane.
pub(crate) type Point = [f32; 2];

/// A convex or toothed outline around the origin.
#[derive(Debug, Clone)]
pub(crate) enum Outline {
    /// A circle of a radius.
    Disc(f32),
    /// A rectangle, by half its sides.
    Box(Point),
    /// A regular polygon: the directions of its sides and their distance from the centre.
    Polygon(Vec<Point>, f32),
    /// A stadium of half length (without its caps) and radius.
    Slot(f32, f32),
    Gear(Gear),
}

impl Outline {
    /// A regular polygon of `sides` sides at distance `apothem` from the centre.
    pub(crate) fn polygon(sides: u32, apothem: f32) -> Self {
        let side = |i| crate::dice::direction(std::f32::consts::TAU * i as f32 / sides as f32);
        Self::Polygon((0..sides).map(side).collect(), apothem)
    }

    /// Signed distance to the outline, negative inside; inside and near the outline it is exact but for corners.
    fn distance(&self, [x, y]: Point) -> f32 {
        match self {
            Self::Disc(radius) => length([x, y]) - radius,
            Self::Box([w, h]) => (x.abs() - w).max(y.abs() - h),
            Self::Polygon(sides, apothem) => {
                sides.iter().map(|[u, v]| x * u + y * v).fold(f32::MIN, f32::max) - apothem
            }
            Self::Slot(half, radius) => length([(x.abs() - half).max(0.0), y]) - radius,
            Self::Gear(gear) => gear.distance([x, y]),
        }
    }

    /// A radius that the outline stays within.
    fn reach(&self) -> f32 {
        match self {
            Self::Disc(radius) => *radius,
            Self::Box(half) => length(*half),
            Self::Polygon(sides, apothem) => apothem / libm::cosf(std::f32::consts::PI / sides.len() as f32),
            Self::Slot(half, radius) => half + radius,
            Self::Gear(gear) => gear.tip,
        }
    }
}

/// The outline of a spur gear with straight flanks.
#[derive(Debug, Clone)]
pub(crate) struct Gear {
    /// Radius between the teeth, and at their tips.
    root: f32,
    tip: f32,
    /// Half a tooth's width at its root and at its tip.
    widths: Point,
    /// Directions of the teeth.
    teeth: Vec<Point>,
}

impl Gear {
    /// A gear of `teeth` teeth; `fill` is the fraction of the root circle that they cover.
    pub(crate) fn new(teeth: u32, root: f32, tip: f32, fill: f32) -> Self {
        let step = std::f32::consts::TAU / teeth as f32;
        let width = 0.5 * fill * step * root;
        let directions = (0..teeth).map(|i| crate::dice::direction(step * i as f32)).collect();
        Self { root, tip, widths: [width, 0.5 * width], teeth: directions }
    }

    fn distance(&self, [x, y]: Point) -> f32 {
        let radius = length([x, y]);
        if radius > self.tip {
            return radius - self.tip;
        }
        let disc = radius - self.root;
        // Deep inside, the teeth are farther than the root circle is.
        if disc < self.root - self.tip {
            return disc;
        }
        let turn = libm::atan2f(y, x) * (self.teeth.len() as f32 / std::f32::consts::TAU);
        let count = self.teeth.len() as i32;
        let [c, s] = self.teeth[(turn.round() as i32).rem_euclid(count) as usize];
        let (along, across) = (x * c + y * s, (y * c - x * s).abs());
        let rise = (along - self.root) / (self.tip - self.root);
        let flank = across - (self.widths[0] + (self.widths[1] - self.widths[0]) * rise);
        disc.min(flank.max(along - self.tip))
    }
}

/// A flat piece with an even top.
#[derive(Debug, Clone)]
pub(crate) struct Plate {
    pub(crate) outline: Outline,
    /// What is cut out: centre and outline.
    pub(crate) holes: Vec<(Point, Outline)>,
    /// Height of the top.
    pub(crate) top: f32,
    /// Radius of the rounded edge.
    pub(crate) edge: f32,
    /// Beyond this radius the top falls, as the crown of a nut does.
    pub(crate) crown: f32,
    /// Within this radius the top falls towards the centre: the countersink of a hole.
    pub(crate) sink: f32,
}

impl Plate {
    /// A plate without holes.
    pub(crate) fn new(outline: Outline, top: f32, edge: f32) -> Self {
        Self { outline, holes: Vec::new(), top, edge, crown: f32::MAX, sink: 0.0 }
    }

    /// Cuts a hole.
    pub(crate) fn hole(mut self, centre: Point, outline: Outline) -> Self {
        self.holes.push((centre, outline));
        self
    }

    fn height(&self, [x, y]: Point) -> f32 {
        let mut distance = self.outline.distance([x, y]);
        for ([u, v], hole) in &self.holes {
            distance = distance.max(-hole.distance([x - u, y - v]));
        }
        if distance >= 0.0 {
            return 0.0;
        }
        let mut height = self.top;
        if self.crown < f32::MAX || self.sink > 0.0 {
            let radius = length([x, y]);
            height -= 0.55 * (radius - self.crown).max(0.0) + 1.2 * (self.sink - radius).max(0.0);
        }
        let depth = 1.0 + distance / self.edge;
        if depth > 0.0 {
            height -= self.edge.min(0.7 * self.top) * (1.0 - (1.0 - depth * depth).sqrt());
        }
        height.max(0.05 * self.top)
    }
}

/// The cross-section of a bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Section {
    Round,
    /// A hexagon that lies on one of its faces.
    HexOnFace,
    /// A hexagon that stands on an edge.
    HexOnEdge,
}

/// A bar along x that lies on the belt, or hovers where a thicker end holds it up.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// Where it begins and ends.
    pub(crate) from: f32,
    pub(crate) to: f32,
    /// Radius of its (circumscribed) circle.
    pub(crate) radius: f32,
    pub(crate) section: Section,
    /// Height of its axis at `from`, and how it changes along x.
    pub(crate) axis: f32,
    pub(crate) tilt: f32,
    /// Rounding of each end.
    pub(crate) ends: Point,
    /// Depth and pitch of a thread.
    pub(crate) thread: Option<Point>,
}

impl Bar {
    fn height(&self, [x, y]: Point) -> f32 {
        if x <= self.from || x >= self.to || y.abs() >= self.radius {
            return 0.0;
        }
        let mut radius = self.radius;
        for (rounding, inside) in [(self.ends[0], x - self.from), (self.ends[1], self.to - x)] {
            if inside < rounding {
                let depth = rounding - inside;
                radius = radius.min(self.radius - rounding + (rounding * rounding - depth * depth).sqrt());
            }
        }
        if let Some([depth, pitch]) = self.thread {
            // A right-handed thread climbs half a pitch on its way over the top.
            let turns = x / pitch + 0.25 * y / self.radius;
            let phase = turns - turns.floor();
            radius -= depth * (2.0 * phase - 1.0).abs();
        }
        let square = radius * radius - y * y;
        if square <= 0.0 {
            return 0.0;
        }
        let round = square.sqrt();
        const SINE: f32 = 0.866_025_4;
        let over_axis = match self.section {
            Section::Round => round,
            Section::HexOnFace => round.min(SINE * self.radius).min((self.radius - y.abs()) * 2.0 * SINE),
            Section::HexOnEdge => round.min(self.radius - y.abs() / (2.0 * SINE)),
        };
        self.axis + self.tilt * (x - self.from) + over_axis
    }
}

/// A straight piece of wire with round ends.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// Its ends: x, y and the height of the axis.
    pub(crate) ends: [[f32; 3]; 2],
    pub(crate) radius: f32,
}

impl Wire {
    fn height(&self, [x, y]: Point) -> f32 {
        let [a, b] = self.ends;
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let square = dx * dx + dy * dy;
        let along = if square > 0.0 { ((x - a[0]) * dx + (y - a[1]) * dy) / square } else { 0.0 };
        let along = along.clamp(0.0, 1.0);
        let (u, v) = (x - a[0] - along * dx, y - a[1] - along * dy);
        let square = self.radius * self.radius - u * u - v * v;
        if square <= 0.0 { 0.0 } else { a[2] + along * (b[2] - a[2]) + square.sqrt() }
    }
}

/// One piece of a part; where several cover a point, the highest counts.
#[derive(Debug, Clone)]
pub(crate) enum Solid {
    Plate(Plate),
    Bar(Bar),
    Wire(Wire),
}

impl Solid {
    /// The height at a point, 0 where the solid is not.
    pub(crate) fn height(&self, point: Point) -> f32 {
        match self {
            Self::Plate(plate) => plate.height(point),
            Self::Bar(bar) => bar.height(point),
            Self::Wire(wire) => wire.height(point),
        }
    }

    /// A rectangle that holds the solid: left, top, right, bottom.
    pub(crate) fn bounds(&self) -> [f32; 4] {
        match self {
            Self::Plate(plate) => {
                let reach = plate.outline.reach();
                [-reach, -reach, reach, reach]
            }
            Self::Bar(bar) => [bar.from, -bar.radius, bar.to, bar.radius],
            Self::Wire(Wire { ends: [a, b], radius }) => [
                a[0].min(b[0]) - radius,
                a[1].min(b[1]) - radius,
                a[0].max(b[0]) + radius,
                a[1].max(b[1]) + radius,
            ],
        }
    }
}

/// Pieces of wire through `points`.
pub(crate) fn wire(points: &[[f32; 3]], radius: f32) -> Vec<Solid> {
    points.windows(2).map(|ends| Solid::Wire(Wire { ends: [ends[0], ends[1]], radius })).collect()
}

/// Length of a vector.
pub(crate) fn length([x, y]: Point) -> f32 {
    (x * x + y * y).sqrt()
}
