//! Chroma at the image's resolution, and its conversion to red, green and blue.

use super::{Jpeg, Plane};

/// Interleaved bytes `[h][w][planes]`.
pub(super) fn interleave(jpeg: &Jpeg) -> Vec<u8> {
    let planes: Vec<Vec<u8>> = (0..jpeg.planes.len()).map(|index| plane(jpeg, index)).collect();
    match planes.as_slice() {
        [luma, cb, cr] if !jpeg.rgb => {
            luma.iter().zip(cb).zip(cr).flat_map(|((&y, &cb), &cr)| to_rgb(y, cb, cr)).collect()
        }
        [red, green, blue] => red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]).collect(),
        _ => planes.concat(),
    }
}

/// One plane at the image's resolution, `[h][w]`.
pub(super) fn plane(jpeg: &Jpeg, index: usize) -> Vec<u8> {
    let plane = &jpeg.planes[index];
    let mut out = Vec::with_capacity(jpeg.width * jpeg.height);
    let mut line = Vec::new();
    for y in 0..jpeg.height {
        plane.line(y, jpeg.width, &mut line);
        out.extend_from_slice(&line[..jpeg.width]);
    }
    out
}

impl Plane {
    fn row(&self, y: usize, width: usize) -> &[u8] {
        &self.samples[y.min(self.rows - 1) * self.stride..][..width]
    }

    /// Row `y` of the image: at double resolution a triangle filter, else the nearest sample.
    fn line(&self, y: usize, width: usize, line: &mut Vec<u8>) {
        line.clear();
        let (across, down) = self.step;
        let samples = width.div_ceil(across);
        let near = self.row(y / down, samples);
        // The row on the other side of the sample's middle.
        let far = || self.row(if y % 2 == 1 { y / 2 + 1 } else { (y / 2).saturating_sub(1) }, samples);
        match (across, down) {
            (1, 2) => {
                line.extend(near.iter().zip(far()).map(|(&n, &f)| quarter(3 * u32::from(n) + u32::from(f))))
            }
            (2, 1) => {
                let row: Vec<u32> = near.iter().map(|&n| 4 * u32::from(n)).collect();
                double(&row, line);
                // stb_image swaps the two weights of this one sample.
                if let [.., before, last] = row[..] {
                    line[2 * samples - 2] = ((3 * before + last + 8) / 16) as u8;
                }
            }
            (2, 2) => {
                let row: Vec<u32> =
                    near.iter().zip(far()).map(|(&n, &f)| 3 * u32::from(n) + u32::from(f)).collect();
                double(&row, line);
            }
            _ => line.extend(near.iter().flat_map(|&sample| std::iter::repeat_n(sample, across))),
        }
    }
}

fn quarter(sum: u32) -> u8 {
    ((sum + 2) / 4) as u8
}

/// Doubles a row of samples of 2 fraction bits: 3/4 of the nearer, 1/4 of the farther one.
fn double(row: &[u32], line: &mut Vec<u8>) {
    let (Some(&first), Some(&last)) = (row.first(), row.last()) else { return };
    line.push(quarter(first));
    for pair in row.windows(2) {
        line.push(((3 * pair[0] + pair[1] + 8) / 16) as u8);
        line.push(((3 * pair[1] + pair[0] + 8) / 16) as u8);
    }
    line.push(quarter(last));
}

/// `x` with 12 fraction bits, moved up to 20.
const fn fixed(x: f32) -> i32 {
    ((x * 4096.0 + 0.5) as i32) << 8
}

/// Colour conversion of JFIF, in 20 fraction bits, of which the blue share of green loses 16.
fn to_rgb(luma: u8, cb: u8, cr: u8) -> [u8; 3] {
    let y = (i32::from(luma) << 20) + (1 << 19);
    let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
    let green = (cb * const { -fixed(0.34414) }) & !0xFFFF;
    [
        y + cr * const { fixed(1.402) },
        y + cr * const { -fixed(0.71414) } + green,
        y + cb * const { fixed(1.772) },
    ]
    .map(|value| (value >> 20).clamp(0, 255) as u8)
}
