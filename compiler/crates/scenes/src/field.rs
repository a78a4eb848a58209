//! The heights of a scene over the belt, by sample, and which part each sample belongs to.

use crate::layout::Part;

/// The belt's number; part `i` has the number `i + 1`.
pub(crate) const BELT: u8 = 0;

/// Heights and parts of `side × side` samples, seen from straight above.
pub(crate) struct Field {
    pub(crate) side: usize,
    /// Height over the belt in samples.
    pub(crate) heights: Vec<f32>,
    pub(crate) parts: Vec<u8>,
    /// Samples of each part's whole outline, those outside the image and under other parts included.
    pub(crate) areas: Vec<u32>,
    /// The highest point.
    pub(crate) top: f32,
}

/// The heights of one part over the samples of a rectangle, which may reach beyond the image.
struct Tile {
    left: i32,
    top: i32,
    width: usize,
    heights: Vec<f32>,
}

impl Tile {
    fn draw(part: &Part, side: usize) -> Self {
        let scale = side as f32;
        let rects: Vec<[i32; 4]> = part
            .solids
            .iter()
            .map(|solid| {
                let [l, t, r, b] = solid.bounds();
                let corners = [[l, t], [r, t], [l, b], [r, b]].map(|corner| part.to_plane(corner));
                let edge = |axis: usize, pick: fn(f32, f32) -> f32| {
                    scale
                        * (0.5 + corners[1..].iter().map(|corner| corner[axis]).fold(corners[0][axis], pick))
                };
                [
                    edge(0, f32::min).floor() as i32,
                    edge(1, f32::min).floor() as i32,
                    edge(0, f32::max).ceil() as i32,
                    edge(1, f32::max).ceil() as i32,
                ]
            })
            .collect();
        let least = |i: usize| rects.iter().map(|rect| rect[i]).min().unwrap_or(0);
        let most = |i: usize| rects.iter().map(|rect| rect[i]).max().unwrap_or(0);
        let (left, top) = (least(0), least(1));
        let (width, height) = ((most(2) - left) as usize, (most(3) - top) as usize);
        let mut heights = vec![0.0_f32; width * height];
        let unit = part.size * scale;
        for (solid, [l, t, r, b]) in part.solids.iter().zip(&rects) {
            for y in *t..*b {
                let row = &mut heights[(y - top) as usize * width..][..width];
                for x in *l..*r {
                    let point = [(x as f32 + 0.5) / scale - 0.5, (y as f32 + 0.5) / scale - 0.5];
                    let height = unit * solid.height(part.to_own(point));
                    let sample = &mut row[(x - left) as usize];
                    *sample = sample.max(height);
                }
            }
        }
        Self { left, top, width, heights }
    }

    /// Covered samples: index into the tile's and the field's samples, the latter none outside the image.
    fn covered(&self, side: usize) -> impl Iterator<Item = (f32, Option<usize>)> + '_ {
        self.heights.iter().enumerate().filter(|(_, height)| **height > 0.0).map(move |(i, &height)| {
            let (x, y) = (self.left + (i % self.width) as i32, self.top + (i / self.width) as i32);
            let inside = (0..side as i32).contains(&x) && (0..side as i32).contains(&y);
            (height, inside.then(|| y as usize * side + x as usize))
        })
    }
}

impl Field {
    /// Lays the parts down one after the other; a part lies on top of those that it covers.
    pub(crate) fn new(parts: &[Part], side: usize) -> Self {
        let mut field = Self {
            side,
            heights: vec![0.0; side * side],
            parts: vec![BELT; side * side],
            areas: Vec::new(),
            top: 0.0,
        };
        for (part, number) in parts.iter().zip(1..) {
            field.lay(&Tile::draw(part, side), number);
        }
        field
    }

    fn lay(&mut self, tile: &Tile, number: u8) {
        let (mut area, mut support) = (0, 0.0_f32);
        for (_, index) in tile.covered(self.side) {
            area += 1;
            support = index.map_or(support, |index| support.max(self.heights[index]));
        }
        for (height, index) in tile.covered(self.side) {
            if let Some(index) = index {
                self.heights[index] = support + height;
                self.parts[index] = number;
                self.top = self.top.max(support + height);
            }
        }
        self.areas.push(area);
    }

    /// The slopes of a sample's surface along x and y, from neighbours of the same part.
    pub(crate) fn slopes(&self, x: usize, y: usize) -> [f32; 2] {
        let at = y * self.side + x;
        let slope = |before: Option<usize>, after: Option<usize>| {
            let same = |index: &usize| self.parts[*index] == self.parts[at];
            match (before.filter(same), after.filter(same)) {
                (Some(a), Some(b)) => 0.5 * (self.heights[b] - self.heights[a]),
                (Some(a), None) => self.heights[at] - self.heights[a],
                (None, Some(b)) => self.heights[b] - self.heights[at],
                (None, None) => 0.0,
            }
        };
        let last = self.side - 1;
        [
            slope((x > 0).then(|| at - 1), (x < last).then(|| at + 1)),
            slope((y > 0).then(|| at - self.side), (y < last).then(|| at + self.side)),
        ]
    }

    /// The mean height around each sample, over a square of `2 · reach + 1` samples a side (fewer at the border).
    pub(crate) fn mean_heights(&self, reach: usize) -> Vec<f32> {
        let rows = running_means(&self.heights, self.side, reach);
        running_means(&rows, self.side, reach)
    }
}

/// Means along the rows of a square, which it returns transposed.
fn running_means(values: &[f32], side: usize, reach: usize) -> Vec<f32> {
    let mut means = vec![0.0; side * side];
    for (y, row) in values.chunks_exact(side).enumerate() {
        let mut sum: f32 = row[..reach.min(side)].iter().sum();
        for x in 0..side {
            if x + reach < side {
                sum += row[x + reach];
            }
            if x > reach {
                sum -= row[x - reach - 1];
            }
            let count = (x + reach).min(side - 1) - x.saturating_sub(reach) + 1;
            means[x * side + y] = sum / count as f32;
        }
    }
    means
}
