//! Operators that choose, move or mix pixels without weights.

use secateur_ir::{Axis, Coordinates, Resize, ResizeKind, Shape, Slice, Transpose};

/// One or two input positions along an axis and how much of the second counts.
struct Sample {
    low: usize,
    high: usize,
    fraction: f64,
}

impl Sample {
    /// The sample at output position `i` of `out`, on an input of `length` positions.
    fn new(resize: &Resize, i: usize, out: usize, length: usize) -> Self {
        let (at, from, to) = (i as f64, length as f64, out as f64);
        let coordinate = match resize.coordinates {
            Coordinates::Asymmetric => at * from / to,
            Coordinates::HalfPixel => (at + 0.5) * from / to - 0.5,
            Coordinates::AlignCorners if out == 1 => 0.0,
            Coordinates::AlignCorners => at * (from - 1.0) / (to - 1.0),
        };
        let last = length - 1;
        match resize.kind {
            ResizeKind::Nearest => {
                let nearest = match resize.coordinates {
                    Coordinates::AlignCorners => coordinate.round(),
                    // The pixel that the output pixel's centre lies on.
                    Coordinates::HalfPixel => (coordinate + 0.5).floor(),
                    Coordinates::Asymmetric => coordinate.floor(),
                };
                let low = (nearest.max(0.0) as usize).min(last);
                Self { low, high: low, fraction: 0.0 }
            }
            ResizeKind::Bilinear => {
                let coordinate = coordinate.clamp(0.0, last as f64);
                let low = coordinate as usize;
                Self { low, high: (low + 1).min(last), fraction: coordinate - low as f64 }
            }
        }
    }
}

/// Resizes every channel; computes in f64 and rounds once.
pub(crate) fn resize(resize: &Resize, x: &[f32], input: Shape, output: &mut [f32]) {
    let (h, w) = (resize.height, resize.width);
    let rows: Vec<Sample> = (0..h).map(|i| Sample::new(resize, i, h, input.h)).collect();
    let columns: Vec<Sample> = (0..w).map(|i| Sample::new(resize, i, w, input.w)).collect();
    for (plane, out) in x.chunks_exact(input.plane()).zip(output.chunks_exact_mut(h * w)) {
        for (i, y) in out.iter_mut().enumerate() {
            let (row, column) = (&rows[i / w], &columns[i % w]);
            let along = |line: usize| {
                let at = |column: usize| f64::from(plane[line * input.w + column]);
                at(column.low) + (at(column.high) - at(column.low)) * column.fraction
            };
            let (low, high) = (along(row.low), along(row.high));
            *y = (low + (high - low) * row.fraction) as f32;
        }
    }
}

pub(crate) fn slice(slice: &Slice, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    let moved = |axis: Axis, i: usize| if axis == slice.axis { slice.start + i * slice.step } else { i };
    for (i, y) in output.iter_mut().enumerate() {
        let [c, row, column] = position(shape, i);
        let (c, row, column) =
            (moved(Axis::Channels, c), moved(Axis::Rows, row), moved(Axis::Columns, column));
        *y = x[(c * input.h + row) * input.w + column];
    }
}

pub(crate) fn transpose(transpose: &Transpose, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    let stride = |axis: Axis| match axis {
        Axis::Channels => input.plane(),
        Axis::Rows => input.w,
        Axis::Columns => 1,
    };
    let strides = transpose.order.map(stride);
    for (i, y) in output.iter_mut().enumerate() {
        *y = x[position(shape, i).iter().zip(strides).map(|(at, stride)| at * stride).sum::<usize>()];
    }
}

/// Channel, row and column of the element `i` of a feature map.
fn position(shape: Shape, i: usize) -> [usize; 3] {
    [i / shape.plane(), i % shape.plane() / shape.w, i % shape.w]
}
