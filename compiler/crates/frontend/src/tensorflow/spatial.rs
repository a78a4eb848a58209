//! Operations with windows: weights to the graph's layout, SAME to explicit pads.

use secateur_base::Result;

use super::graph_def::Node;
use super::import::{Importer, Item, Written};
use secateur_tensor::op::{
    Conv, ConvTranspose, Coordinates, NearestRounding, Pool, PoolKind, PoolRounding, Resize, ResizeKind,
    Window,
};
use secateur_tensor::{Op, Value};

/// Whether the node's maps are `n, c, h, w` in TensorFlow too.
fn is_channels_first(node: &Node) -> bool {
    node.text("data_format", "NHWC") == "NCHW"
}

/// An input as `n, c, h, w`.
fn map(importer: &mut Importer<'_>, node: &Node, inputs: &[Item], at: usize) -> Result<Value> {
    let tensor = importer.tensor(node, inputs, at)?;
    match is_channels_first(node) {
        true => importer.plain(&node.name, tensor),
        false => importer.nchw(node, tensor),
    }
}

/// A result that is `n, c, h, w`.
fn result(node: &Node, value: Value) -> Vec<Item> {
    vec![Item::Tensor(Written { value, is_nchw: !is_channels_first(node) })]
}

/// Height and width of a list by dimension.
fn pair(importer: &Importer<'_>, node: &Node, list: &[i64], name: &str) -> Result<[usize; 2]> {
    let at = if is_channels_first(node) { [2, 3] } else { [1, 2] };
    let others = (0..4).filter(|axis| !at.contains(axis));
    let valid = |value: i64| usize::try_from(value).ok().filter(|value| (1..1 << 24).contains(value));
    let values = match list {
        [] if name == "dilations" => Some([1; 2]),
        [_, _, _, _] if others.map(|axis| list[axis]).all(|value| value == 1) => {
            valid(list[at[0]]).zip(valid(list[at[1]])).map(|(h, w)| [h, w])
        }
        _ => None,
    };
    values.ok_or_else(|| {
        importer
            .error(node, format!("{name} is not read"))
            .found(format!("{list:?}"))
            .allowed("four values from 1, 1 for images and channels")
    })
}

/// `[top, left, bottom, right]`: SAME keeps `ceil(n / stride)` windows, and the odd one of the padding is behind.
fn pads(
    importer: &Importer<'_>,
    node: &Node,
    size: [usize; 2],
    reach: [usize; 2],
    strides: [usize; 2],
) -> Result<[usize; 4]> {
    match node.text("padding", "VALID") {
        "SAME" => {
            let mut pads = [0; 4];
            for axis in 0..2 {
                let count = size[axis].div_ceil(strides[axis]).max(1);
                let total = ((count - 1) * strides[axis] + reach[axis]).saturating_sub(size[axis]);
                pads[axis] = total / 2;
                pads[2 + axis] = total - total / 2;
            }
            Ok(pads)
        }
        "EXPLICIT" => {
            let list = node.integers("explicit_paddings");
            let first = if is_channels_first(node) { 4 } else { 2 };
            let four = list.get(first..first + 4).filter(|_| list.len() == 8);
            let four = four.and_then(|four| {
                four.iter().map(|pad| usize::try_from(*pad).ok()).collect::<Option<Vec<_>>>()
            });
            match four.as_deref() {
                Some(&[top, bottom, left, right]) => Ok([top, left, bottom, right]),
                _ => Err(importer.error(node, "explicit_paddings is not read").found(format!("{list:?}"))),
            }
        }
        "VALID" => Ok([0; 4]),
        other => Err(importer
            .error(node, "padding is not read")
            .found(other.to_owned())
            .allowed("SAME, VALID, EXPLICIT")),
    }
}

fn four(importer: &Importer<'_>, node: &Node, value: Value) -> Result<[usize; 4]> {
    let shape = importer.graph.shape(value);
    <[usize; 4]>::try_from(shape)
        .map_err(|_| importer.error(node, "the operation needs four dimensions").found(format!("{shape:?}")))
}

/// Conv2D: weights `[h][w][in / groups][out]`. DepthwiseConv2dNative: `[h][w][in][multiplier]`, output channel
/// `in · multiplier + k`.
pub(super) fn convolution(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let input = map(importer, node, inputs, 0)?;
    let weights = importer.tensor(node, inputs, 1)?;
    let weights = importer.plain(&node.name, weights)?;
    let [_, channels, h, w] = four(importer, node, input)?;
    let [kh, kw, per_group, outputs] = four(importer, node, weights)?;
    let strides = pair(importer, node, node.integers("strides"), "strides")?;
    let dilations = pair(importer, node, node.integers("dilations"), "dilations")?;
    if [kh, kw, per_group, outputs].contains(&0) || channels % per_group != 0 {
        return Err(importer
            .error(node, "the weights do not fit the channels")
            .found(format!("{per_group} of {channels}")));
    }
    let reach = [(kh - 1) * dilations[0] + 1, (kw - 1) * dilations[1] + 1];
    let pads = pads(importer, node, [h, w], reach, strides)?;
    let (weights, groups) = if node.op == "DepthwiseConv2dNative" {
        let turned = importer.op(node, Op::Transpose(vec![2, 3, 0, 1]), &[weights])?;
        (importer.op(node, Op::Reshape(vec![channels * outputs, 1, kh, kw]), &[turned])?, channels)
    } else {
        (importer.op(node, Op::Transpose(vec![3, 2, 0, 1]), &[weights])?, channels / per_group)
    };
    let window = Window::plane([kh, kw], strides, dilations, pads);
    let value = importer.op(node, Conv { window, groups }, &[input, weights])?;
    Ok(result(node, value))
}

/// Conv2DBackpropInput: sizes of the result, weights `[h][w][out][in]`, the input. The pads are those of the
/// convolution that leads back.
pub(super) fn transposed(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let sizes = importer.integers(node, inputs, 0)?.data;
    let weights = importer.tensor(node, inputs, 1)?;
    let weights = importer.plain(&node.name, weights)?;
    let input = map(importer, node, inputs, 2)?;
    let [kh, kw, _, _] = four(importer, node, weights)?;
    let [_, _, h, w] = four(importer, node, input)?;
    let strides = pair(importer, node, node.integers("strides"), "strides")?;
    let dilations = pair(importer, node, node.integers("dilations"), "dilations")?;
    let at = if is_channels_first(node) { [2, 3] } else { [1, 2] };
    let size = |axis: usize| sizes.get(at[axis]).and_then(|size| usize::try_from(*size).ok());
    let (Some(out_h), Some(out_w), 1..) = (size(0), size(1), kh.min(kw)) else {
        return Err(importer.error(node, "the size of the result is not known").found(format!("{sizes:?}")));
    };
    let reach = [(kh - 1) * dilations[0] + 1, (kw - 1) * dilations[1] + 1];
    let pads = pads(importer, node, [out_h, out_w], reach, strides)?;
    let mut output_padding = [0; 2];
    for (axis, (n, out)) in [(h, out_h), (w, out_w)].into_iter().enumerate() {
        let whole = n.saturating_sub(1).saturating_mul(strides[axis]).saturating_add(reach[axis]);
        let padded = out.saturating_add(pads[axis] + pads[2 + axis]);
        output_padding[axis] =
            padded.checked_sub(whole).filter(|more| *more < strides[axis]).ok_or_else(|| {
                importer
                    .error(node, "the size of the result does not fit the input")
                    .found(format!("{out} from {n}"))
            })?;
    }
    let weights = importer.op(node, Op::Transpose(vec![3, 2, 0, 1]), &[weights])?;
    let window = Window::plane([kh, kw], strides, dilations, pads);
    let conv = ConvTranspose { window, groups: 1, output_padding: output_padding.to_vec() };
    let value = importer.op(node, conv, &[input, weights])?;
    Ok(result(node, value))
}

/// MaxPool and AvgPool: padding is neither a candidate nor counted.
pub(super) fn pooling(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let input = map(importer, node, inputs, 0)?;
    let [_, _, h, w] = four(importer, node, input)?;
    let kernel = pair(importer, node, node.integers("ksize"), "ksize")?;
    let strides = pair(importer, node, node.integers("strides"), "strides")?;
    let pads = pads(importer, node, [h, w], kernel, strides)?;
    let kind = if node.op == "AvgPool" { PoolKind::AverageInside } else { PoolKind::Max };
    let window = Window::plane(kernel, strides, [1; 2], pads);
    let value = importer.op(node, Pool { kind, window, rounding: PoolRounding::Floor }, &[input])?;
    Ok(result(node, value))
}

/// ResizeBilinear and ResizeNearestNeighbor, always of `n, h, w, c`.
pub(super) fn resize(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let tensor = importer.tensor(node, inputs, 0)?;
    let input = importer.nchw(node, tensor)?;
    let sizes = importer.integers(node, inputs, 1)?.data;
    let [n, c, h, w] = four(importer, node, input)?;
    let valid =
        |at: usize| sizes.get(at).and_then(|size| usize::try_from(*size).ok()).filter(|size| *size > 0);
    let (Some(out_h), Some(out_w), 1..) = (valid(0), valid(1), h.min(w)) else {
        return Err(importer.error(node, "the size of the result is not valid").found(format!("{sizes:?}")));
    };
    // TensorFlow's kernels floor half pixels, and round aligned corners.
    let (linear, nearest, rounding) =
        match (node.boolean("align_corners", false), node.boolean("half_pixel_centers", false)) {
            (true, _) => (Coordinates::AlignCorners, Coordinates::AlignCorners, NearestRounding::PreferCeil),
            (false, true) => (Coordinates::HalfPixel, Coordinates::HalfPixelNearest, NearestRounding::Floor),
            (false, false) => (Coordinates::Asymmetric, Coordinates::Asymmetric, NearestRounding::Floor),
        };
    let (kind, coordinates) = match node.op.as_str() {
        "ResizeBilinear" => (ResizeKind::Linear, linear),
        _ => (ResizeKind::Nearest(rounding), nearest),
    };
    let resize = Resize {
        shape: vec![n, c, out_h, out_w],
        scales: vec![1.0, 1.0, out_h as f32 / h as f32, out_w as f32 / w as f32],
        kind,
        coordinates,
        exclude_outside: false,
        antialias: false,
    };
    let value = importer.op(node, resize, &[input])?;
    Ok(vec![Item::Tensor(Written { value, is_nchw: true })])
}
