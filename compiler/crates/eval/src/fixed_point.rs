//! Real values of an int8 network's heads: quantised tensors and the device's fixed-point tables.

use secateur_ir::Shape;

/// One unit of Q0.15, in which tables hold scores.
pub const Q15: f32 = 1.0 / 32768.0;
/// One unit of Q16.16, in which tables hold coordinates.
pub const Q16: f32 = 1.0 / 65536.0;

/// Index of a quantised value in a table of 256 entries.
pub fn table_index(q: i8) -> usize {
    usize::from(q.cast_unsigned() ^ 0x80)
}

/// Returns the real values `[c][h][w]` of a tensor of quantised values, of which `quantised(i)` is element `i`
/// of `[h][w][c]`.
pub fn dequantise(shape: Shape, scale: f32, zero_point: i32, quantised: impl Fn(usize) -> i8) -> Vec<f32> {
    let (channels, plane) = (shape.c, shape.plane());
    let value =
        |i: usize| scale * (i32::from(quantised(i % plane * channels + i / plane)) - zero_point) as f32;
    (0..shape.len()).map(value).collect()
}

/// Returns the softmax over quantised values; `exponential(d)` is the table's entry for a distance `d` from the
/// greatest of them.
pub fn softmax(quantised: &[i8], exponential: impl Fn(usize) -> u16) -> Vec<f32> {
    let greatest = quantised.iter().copied().max().unwrap_or(0);
    let entry = |&q: &i8| f32::from(exponential(usize::from(greatest.abs_diff(q))));
    let sum: f32 = quantised.iter().map(entry).sum();
    quantised.iter().map(|q| entry(q) / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_become_channel_major() {
        let quantised = [0i8, 10, 1, 11, 2, 12];
        let real = dequantise(Shape::new(2, 1, 3), 0.5, -2, |i| quantised[i]);
        assert_eq!(real, [1.0, 1.5, 2.0, 6.0, 6.5, 7.0]);
    }

    #[test]
    fn softmax_takes_distances_from_the_greatest() {
        let table = |d: usize| [32768u16, 16384, 8192][d];
        assert_eq!(softmax(&[5, 4, 3], table), [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0]);
        assert_eq!(softmax(&[127, -128], |d| if d == 0 { 32768 } else { 0 }), [1.0, 0.0]);
    }

    #[test]
    fn tables_begin_at_the_least_value() {
        assert_eq!([i8::MIN, -1, 0, i8::MAX].map(table_index), [0, 127, 128, 255]);
    }
}
