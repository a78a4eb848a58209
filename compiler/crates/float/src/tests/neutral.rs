//! Operators that formats other than Darknet's bring, on numbers worked out by hand.

use super::operators::{range, run};
use secateur_ir::{
    Activation, Axis, Conv, Coordinates, Divisor, LayerWeights, Op, Padding, Pool, Resize, ResizeKind, Shape,
    Slice, Softmax, Transpose, infer,
};

/// [`run`] with the shape that inference gives.
fn infer_and_run(op: Op, weights: LayerWeights, input: Shape, x: &[f32]) -> Vec<f32> {
    let shape = infer(&op, &[input]).unwrap();
    run(op, weights, input, shape, x)
}

fn plain(op: Op, input: Shape, x: &[f32]) -> Vec<f32> {
    infer_and_run(op, LayerWeights::default(), input, x)
}

fn close(a: &[f32], b: &[f32]) {
    assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?}, not {b:?}");
}

fn weights(weights: &[f32], bias: &[f32]) -> LayerWeights {
    LayerWeights { weights: weights.to_vec(), bias: bias.to_vec(), batch_norm: None }
}

#[test]
fn prelu_has_a_slope_for_every_channel() {
    let out = infer_and_run(Op::PRelu, weights(&[0.5, -1.0], &[]), Shape::new(2, 1, 2), &[1., -2., 3., -4.]);
    close(&out, &[1.0, -1.0, 3.0, 4.0]);
}

#[test]
fn scale_multiplies_and_adds_by_channel() {
    let numbers = weights(&[2.0, -1.0], &[10.0, 0.5]);
    let out = infer_and_run(Op::Scale, numbers, Shape::new(2, 1, 2), &[1.0, 2.0, 3.0, 4.0]);
    close(&out, &[12.0, 14.0, -2.5, -3.5]);
}

/// SiLU is what Darknet calls swish: x · logistic(x).
#[test]
fn silu_is_swish() {
    let conv = Conv { activation: Activation::Swish, ..Conv::square(1, 1) };
    let out = infer_and_run(Op::Conv(conv), weights(&[1.0], &[0.0]), Shape::new(1, 1, 2), &[1.0, -1.0]);
    close(&out, &[0.731_058_6, -0.268_941_4]);
}

#[test]
fn kernels_may_be_oblong_and_padding_one_sided() {
    let row = Conv { kernel: [1, 2], padding: Padding { right: 1, ..Padding::NONE }, ..Conv::square(1, 1) };
    let out =
        infer_and_run(Op::Conv(row), weights(&[1.0, 10.0], &[0.0]), Shape::new(1, 1, 3), &[1.0, 2.0, 3.0]);
    close(&out, &[21.0, 32.0, 3.0]);
    let above = Conv { kernel: [2, 1], padding: Padding { top: 1, ..Padding::NONE }, ..Conv::square(1, 1) };
    let out =
        infer_and_run(Op::Conv(above), weights(&[1.0, 10.0], &[0.0]), Shape::new(1, 3, 1), &[1., 2., 3.]);
    close(&out, &[10.0, 21.0, 32.0]);
    let input = Shape::new(1, 3, 2);
    let column = Conv { kernel: [3, 1], ..Conv::square(1, 1) };
    let out = infer_and_run(Op::Conv(column), weights(&[1.0, 10.0, 100.0], &[0.0]), input, &range(6));
    close(&out, &[420.0, 531.0]);
    let dilated = Conv { kernel: [2, 1], dilation: [2, 1], ..Conv::square(1, 1) };
    let out = infer_and_run(Op::Conv(dilated), weights(&[1.0, 10.0], &[0.0]), input, &range(6));
    close(&out, &[40.0, 51.0]);
    // Steps of two rows, as TensorFlow pads them: nothing before, one row after.
    let same = Conv {
        kernel: [3, 1],
        stride: [2, 1],
        padding: Padding { bottom: 1, ..Padding::NONE },
        ..Conv::square(1, 1)
    };
    let out =
        infer_and_run(Op::Conv(same), weights(&[1.0, 10.0, 100.0], &[0.0]), Shape::new(1, 4, 1), &range(4));
    close(&out, &[210.0, 32.0]);
}

/// Each of two channels on its own, with an oblong kernel: the depthwise kernel's general path.
#[test]
fn depthwise_kernels_may_be_oblong() {
    let conv = Conv {
        groups: 2,
        kernel: [1, 3],
        padding: Padding { left: 2, ..Padding::NONE },
        ..Conv::square(2, 1)
    };
    let numbers = weights(&[1.0, 10.0, 100.0, 0.0, 0.0, -1.0], &[0.0, 0.5]);
    let out = infer_and_run(Op::Conv(conv), numbers, Shape::new(2, 1, 3), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    close(&out, &[100.0, 210.0, 321.0, -3.5, -4.5, -5.5]);
}

#[test]
fn transposed_convolution_in_groups() {
    let conv = Conv { groups: 2, kernel: [1, 2], ..Conv::square(2, 1) };
    let numbers = weights(&[1.0, 2.0, 3.0, 4.0], &[0.0, 0.0]);
    let out = infer_and_run(Op::Deconv(conv), numbers, Shape::new(2, 1, 1), &[1.0, 10.0]);
    close(&out, &[1.0, 2.0, 30.0, 40.0]);
}

#[test]
fn ceil_mode_counts_the_window_that_hangs_over() {
    let pool = Pool { kernel: [1, 3], stride: [1, 2], ..Pool::square(1, 1) };
    let input = Shape::new(1, 1, 4);
    close(&plain(Op::MaxPool(pool.clone()), input, &range(4)), &[2.0]);
    let ceil = Pool { ceil: true, ..pool };
    close(&plain(Op::MaxPool(ceil.clone()), input, &range(4)), &[2.0, 3.0]);
    close(&plain(Op::LocalAvgPool(ceil.clone()), input, &range(4)), &[1.0, 2.5]);
    // What hangs over is no padding: it never counts.
    let padded = Pool { divisor: Divisor::Padded, ..ceil };
    close(&plain(Op::LocalAvgPool(padded), input, &range(4)), &[1.0, 2.5]);
    // Third window: begins in the far padding, so there is none.
    let far = Pool {
        kernel: [1, 2],
        stride: [1, 2],
        padding: Padding { left: 1, right: 1, ..Padding::NONE },
        ceil: true,
        ..Pool::square(1, 1)
    };
    close(&plain(Op::MaxPool(far), Shape::new(1, 1, 3), &[5.0, 6.0, 7.0]), &[5.0, 7.0]);
}

#[test]
fn an_average_may_count_its_padding() {
    let pool = Pool {
        kernel: [1, 3],
        stride: [1, 2],
        padding: Padding { right: 1, ..Padding::NONE },
        ..Pool::square(1, 1)
    };
    let input = Shape::new(1, 1, 4);
    close(&plain(Op::LocalAvgPool(pool.clone()), input, &range(4)), &[1.0, 2.5]);
    let padded = Pool { divisor: Divisor::Padded, ..pool };
    close(&plain(Op::LocalAvgPool(padded), input, &range(4)), &[1.0, 5.0 / 3.0]);
}

#[test]
fn global_maximum() {
    let out = plain(Op::GlobalMaxPool, Shape::new(2, 1, 3), &[1.0, 3.0, 2.0, -5.0, -4.0, -6.0]);
    close(&out, &[3.0, -4.0]);
}

#[test]
fn softmax_along_any_axis() {
    let soft = |axis| Op::Softmax(Softmax { groups: 1, temperature: 1.0, axis: Some(axis) });
    let (shape, x) = (Shape::new(1, 2, 2), [0.0, 3f32.ln(), 0.0, 0.0]);
    close(&plain(soft(Axis::Columns), shape, &x), &[0.25, 0.75, 0.5, 0.5]);
    close(&plain(soft(Axis::Rows), shape, &x), &[0.5, 0.75, 0.5, 0.25]);
    close(&plain(soft(Axis::Channels), Shape::new(2, 1, 2), &x), &[0.5, 0.75, 0.5, 0.25]);
}

#[test]
fn resized_in_every_way() {
    let resize = |width, kind, coordinates| Op::Resize(Resize { height: 1, width, kind, coordinates });
    let row = |op, x: &[f32]| plain(op, Shape::new(1, 1, x.len()), x);
    let (nearest, linear) = (ResizeKind::Nearest, ResizeKind::Bilinear);
    close(&row(resize(4, nearest, Coordinates::Asymmetric), &[1.0, 2.0]), &[1.0, 1.0, 2.0, 2.0]);
    close(&row(resize(2, nearest, Coordinates::Asymmetric), &[0.0, 1.0, 2.0]), &[0.0, 1.0]);
    close(&row(resize(2, nearest, Coordinates::HalfPixel), &[0.0, 1.0, 2.0]), &[0.0, 2.0]);
    close(&row(resize(3, nearest, Coordinates::AlignCorners), &[0.0, 10.0]), &[0.0, 10.0, 10.0]);
    close(&row(resize(4, linear, Coordinates::HalfPixel), &[0.0, 10.0]), &[0.0, 2.5, 7.5, 10.0]);
    close(&row(resize(4, linear, Coordinates::Asymmetric), &[0.0, 10.0]), &[0.0, 5.0, 10.0, 10.0]);
    close(&row(resize(3, linear, Coordinates::AlignCorners), &[0.0, 10.0]), &[0.0, 5.0, 10.0]);
    let both =
        Op::Resize(Resize { height: 3, width: 3, kind: linear, coordinates: Coordinates::AlignCorners });
    let out = plain(both, Shape::new(1, 2, 2), &[0.0, 2.0, 4.0, 8.0]);
    close(&out, &[0.0, 1.0, 2.0, 2.0, 3.5, 5.0, 4.0, 6.0, 8.0]);
}

#[test]
fn slices_along_any_axis() {
    let slice = |axis, start, end, step| Op::Slice(Slice { axis, start, end, step });
    let input = Shape::new(3, 2, 2);
    let out = plain(slice(Axis::Channels, 1, 3, 1), input, &range(12));
    close(&out, &range(12)[4..]);
    close(&plain(slice(Axis::Rows, 1, 2, 1), input, &range(12)), &[2.0, 3.0, 6.0, 7.0, 10.0, 11.0]);
    let every_second = slice(Axis::Columns, 1, 5, 2);
    close(&plain(every_second, Shape::new(1, 2, 5), &range(10)), &[1.0, 3.0, 6.0, 8.0]);
}

#[test]
fn transposes_and_reshapes() {
    let transpose = Op::Transpose(Transpose { order: [Axis::Columns, Axis::Rows, Axis::Channels] });
    let input = Shape::new(1, 2, 3);
    assert_eq!(infer(&transpose, &[input]).unwrap(), Shape::new(3, 2, 1));
    close(&plain(transpose, input, &range(6)), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    // Channels last: what a flattening TensorFlow layer reads.
    let last = Op::Transpose(Transpose { order: [Axis::Rows, Axis::Columns, Axis::Channels] });
    close(&plain(last, Shape::new(2, 1, 3), &range(6)), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    close(&plain(Op::Reshape(Shape::new(6, 1, 1)), input, &range(6)), &range(6));
}
